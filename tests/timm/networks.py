"""Small networks of every family of timm, and weights of them under timm's names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import safetensors.numpy

from dnas.export.trace import weights_of
from dnas.grammar.read import space_from_data
from dnas.graph import graph_of
from dnas.nn.supernet import Variables, abstract_variables
from dnas.space.space import Space
from dnas.timm.checkpoint import VARIANCE, written
from dnas.timm.layouts import names_of

HEADS = {"heads": 2, "head_width": 4, "expand": 2}
WINDOWS = {**HEADS, "window": 4}
ATTENTION = {"attention": True, "heads": 2, "key_width": 4}
FAMILIES = {
    "mobile": (16, [
        {"conv": {"kernel": 3, "stride": 2, "out": 8, "act": "hswish"}},
        {"mbconv": {"expand_conv": False, "out": 8, "act": "hswish"}},
        {"mbconv": {"stride": 2, "hidden": 16, "out": 12, "act": "hswish", "se": True}},
        {"mbconv": {"hidden": 24, "out": 12, "act": "hswish", "bias": True}},
    ], [{"pool_head": {"hidden": 16, "out": 12}}, {"linear": {"out": "$classes"}}]),
    "efficientnet": (16, [
        {"conv": {"kernel": 3, "stride": 2, "out": 8, "act": "relu", "bias": True}},
        {"skip": {"out": 8}},
        {"mbconv": {"hidden": 16, "out": 8}},
        {"conv": {"out": 8, "act": "relu"}},
    ], [{"conv": {"out": 16, "act": "relu"}}, {"pool": {}}, {"linear": {"out": "$classes"}}]),
    "efficientformer": (64, [
        *({"conv": {"kernel": 3, "stride": 2, "out": 8, "bias": True, "act": "relu"}} for _ in range(2)), {"mb4d": {}},
        {"conv": {"kernel": 3, "stride": 2, "out": 12, "bias": True}}, {"mb4d": {}},
        {"mb3d": {"heads": 2, "key_width": 4, "repeat": 2}},
    ], [{"norm_head": {"out": "$classes"}}]),
    "efficientformer_v2": (64, [
        *({"conv": {"kernel": 3, "stride": 2, "out": 8, "bias": True, "act": "gelu"}} for _ in range(2)),
        {"conv_ffn": {}}, {"conv": {"kernel": 3, "stride": 2, "out": 12, "bias": True}},
        {"conv_ffn": {**ATTENTION, "attention_stride": 2}}, {"attention_down": {"out": 16, "heads": 2, "key_width": 4}},
        {"conv_ffn": ATTENTION},
    ], [{"norm_head": {"out": "$classes", "norm": "batch"}}]),
    "deit": (16, [{"patch_embed": {"out": 8, "kernel": 4}}, {"tokens": {}}, {"transformer": {**HEADS, "repeat": 2}}],
             [{"token_head": {"out": "$classes"}}]),
    "distilled": (16, [
        {"patch_embed": {"out": 8, "kernel": 4}}, {"tokens": {"count": 2}}, {"transformer": HEADS},
    ], [{"token_head": {"out": "$classes", "distilled": True}}]),
    "swin": (16, [
        {"patch_embed": {"out": 8, "kernel": 2, "norm": True}}, {"window_transformer": WINDOWS},
        {"window_transformer": {**WINDOWS, "shifted": True}}, {"patch_merge": {"out": 12}},
        {"window_transformer": {**WINDOWS, "window": 2}},
    ], [{"norm_head": {"out": "$classes", "distilled": False}}]),
    "tnt": (16, [
        {"tnt_embed": {"out": 8, "inner": 4, "patch": 8, "kernel": 3, "stride": 2, "padding": 1}},
        {"tnt": {**HEADS, "inner_heads": 2, "inner_head_width": 2, "repeat": 2}}, {"tnt_out": {}},
    ], [{"token_head": {"out": "$classes"}}]),
}  # fmt: skip


def network(family: str, classes: int = 5) -> Space:
    side, trunk, head = FAMILIES[family]
    size = {"channels": 3, "classes": classes, "resolution": side}
    return space_from_data({"name": family, "input": size, "trunk": trunk, "head": head}, family)


def drawn(space: Space, seed: int = 0) -> Variables:
    """Variables of which no two numbers are equal, and no variance is below 0."""
    generator = np.random.default_rng(seed)

    def numbers(name: str, shape: tuple[int, ...]) -> np.ndarray:
        found = generator.normal(size=shape).astype(np.float32)
        return np.abs(found) if name.endswith(VARIANCE) else found

    return {
        group: {name: numbers(name, leaf.shape) for name, leaf in leaves.items()}
        for group, leaves in abstract_variables(space).items()
    }


def checkpoint(space: Space, variables: Variables) -> dict[str, np.ndarray]:
    """Timm's tensors."""
    return written(names_of(graph_of(space).uses, space.name), weights_of(variables))


def saved(path: Path, tensors: dict[str, np.ndarray], metadata: dict[str, str] | None = None) -> Path:
    """A file as timm's users have it."""
    safetensors.numpy.save_file(tensors, path, metadata)
    return path
