"""`config.json` beside a checkpoint, as timm's models lie on the hub: how pictures reached it, and names of classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from dnas.errors import InputError
from dnas.files import read_document

CONFIG = "config.json"
COLOURS = (1, 3)
"""Channels of pictures that timm's models take."""


class Config(NamedTuple):
    """What the file says; None for what it does not say."""

    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None
    crop: float | None
    interpolation: str | None
    labels: tuple[str, ...]


def config_beside(weights: Path) -> Config | None:
    """The file beside a checkpoint; None where there is none, or another program's.

    Raises:
        InputError: a value of another kind than timm writes.
    """
    path = weights.with_name(CONFIG)
    if not path.is_file():
        return None
    data = read_document(path).data
    known = data.get("pretrained_cfg") if isinstance(data, dict) else None
    if not isinstance(known, dict):
        return None
    labels = data.get("label_names") or known.get("label_names") or []
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise InputError(f"{path}: label_names", "not a list of names", found=labels)
    interpolation = known.get("interpolation")
    return Config(
        _numbers(path, known, "mean", COLOURS, zero=True), _numbers(path, known, "std", COLOURS),
        next(iter(_numbers(path, known, "crop_pct", (1,)) or ()), None),
        interpolation if isinstance(interpolation, str) else None, tuple(labels),
    )  # fmt: skip


def _numbers(
    path: Path, known: dict[str, Any], name: str, counts: tuple[int, ...], zero: bool = False
) -> tuple[float, ...] | None:
    """So many positive numbers, one alone among them; with `zero` also that."""
    value = known.get(name)
    if value is None:
        return None
    listed = value if isinstance(value, list) else [value]
    accepted = all(type(n) in (int, float) and 0 <= n < 1e6 and (n or zero) for n in listed)
    if len(listed) not in counts or not accepted:
        raise InputError(f"{path}: pretrained_cfg.{name}", "not as timm writes it", found=value)
    return tuple(map(float, listed))
