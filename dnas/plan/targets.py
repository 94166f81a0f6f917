"""Devices that need not be here: which there are, what they can do, and the TPUs of a topology.

Jax-free until a topology is asked for.
"""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass
from typing import Any

from dnas.errors import InputError, suggestion
from dnas.process.extras import need
from dnas.process.native import unheard


@dataclass(frozen=True)
class Chip:
    """One chip by its nominal peaks."""

    flops: float
    """Most floating-point operations a second, of bfloat16 products; a multiply-add is two."""
    bytes_per_s: float
    """Most bytes a second from and to its memory."""
    memory: int
    """Bytes."""
    source: str
    """The vendor's page to compare them with."""


_GIB = 1 << 30
CHIPS = {
    "v4": Chip(275e12, 1.2e12, 32 * _GIB, "cloud.google.com/tpu/docs/v4"),
    "v5e": Chip(197e12, 0.819e12, 16 * _GIB, "cloud.google.com/tpu/docs/v5e"),
    "v5p": Chip(459e12, 2.765e12, 95 * _GIB, "cloud.google.com/tpu/docs/v5p"),
    "v6e": Chip(918e12, 1.638e12, 32 * _GIB, "cloud.google.com/tpu/docs/v6e"),
    "tpu7x": Chip(2307e12, 7.38e12, 192 * _GIB, "cloud.google.com/tpu/docs/tpu7x"),
}
"""By the name that a topology begins with: as published, not measured."""
LOWERED = ("cuda", "rocm")
"""Platforms for which programs are lowered and not compiled: their compilers want the device."""
ACCEPTED = f"{', '.join(LOWERED)}, or a TPU topology, KIND:AxB or KIND:AxBxC with {', '.join(CHIPS)}, such as v5e:2x2"


@dataclass(frozen=True)
class Target:
    """What `--target` names."""

    name: str
    platform: str
    """As `jax.export` calls it."""
    chips: int = 1
    chip: Chip | None = None
    """None where nothing is known of it."""


def parse_target(text: str) -> Target:
    """Reads `--target`; raises `InputError` for a word that names no device."""
    if text in LOWERED:
        return Target(text, text)
    kind, _, shape = text.partition(":")
    if kind not in CHIPS:
        near = suggestion(kind, [*LOWERED, *CHIPS])
        raise InputError("--target", f"unknown{near}", found=text, accepted=ACCEPTED)
    if not re.fullmatch(r"[1-9]\d{0,3}(x[1-9]\d{0,3}){1,2}", shape):
        raise InputError("--target", "no topology", found=text, accepted=f"{kind}:AxB or {kind}:AxBxC, such as 2x2")
    return Target(text, "tpu", math.prod(map(int, shape.split("x"))), CHIPS[kind])


def prepare(target: Target) -> None:
    """Before jax is imported: programs are made on the CPU, and libtpu asks no server where it is.

    Raises `MissingExtra` where the compiler for TPUs is not installed.
    """
    os.environ["JAX_PLATFORMS"] = "cpu"
    if target.platform == "tpu":
        os.environ |= {"TPU_SKIP_MDS_QUERY": "1", "TPU_WORKER_HOSTNAMES": "localhost"}
        os.environ["ALLOW_MULTIPLE_LIBTPU_LOAD"] = "1"  # several plans at once: no TPU is touched
        need("libtpu", "tpu")


def devices_of(target: Target) -> list[Any]:
    """The TPUs of a topology, as far as compiling is concerned; raises `InputError` for one that there is none of."""
    from jax.experimental import topologies

    try:
        with unheard():  # libtpu warns that it sits in no TPU
            return list(topologies.get_topology_desc(topology_name=target.name, platform="tpu").devices)
    except Exception as error:  # libtpu's own, of several kinds
        said = " ".join(str(error).split())[:200]
        raise InputError("--target", f"no such topology: {said}", found=target.name, accepted=ACCEPTED) from error
