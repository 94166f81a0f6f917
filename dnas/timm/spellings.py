"""Checkpoints of the papers' authors, which timm reads too: their names in timm's spelling."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import NamedTuple


class Spelling(NamedTuple):
    """How a family's checkpoints were written elsewhere."""

    told_by: str
    """A tensor that is there in this spelling alone."""
    changes: tuple[tuple[str, str], ...]
    """Patterns, and what is written instead; one after another."""


SWIN = Spelling(
    "layers.0.downsample.reduction.weight",
    (
        *((rf"^layers\.{n}\.downsample\.", f"layers.{n + 1}.downsample.") for n in (2, 1, 0)),
        (r"^head\.(weight|bias)$", r"head.fc.\1"),
    ),
)
"""Stages end with what halves the side, where timm's begin with it."""
TNT = Spelling(
    "outer_pos",
    (
        ("^outer_pos$", "patch_pos"), ("^inner_pos$", "pixel_pos"), (r"^patch_embed\.", "pixel_embed."),
        ("proj_norm1", "norm1_proj"), ("proj_norm2", "norm2_proj"), ("inner_norm1", "norm_in"),
        ("inner_attn", "attn_in"), ("inner_norm2", "norm_mlp_in"), ("inner_mlp", "mlp_in"),
        ("outer_norm1", "norm_out"), ("outer_attn", "attn_out"), ("outer_norm2", "norm_mlp"), ("outer_mlp", "mlp"),
    ),
)  # fmt: skip
SPELLINGS = (SWIN, TNT)


def spelled(names: Collection[str]) -> dict[str, str]:
    """Each name in timm's spelling; the same where it is that already."""
    changes = next((s.changes for s in SPELLINGS if s.told_by in names), ())
    return {name: _changed(name, changes) for name in names}


def _changed(name: str, changes: Sequence[tuple[str, str]]) -> str:
    for pattern, instead in changes:
        name = re.sub(pattern, instead, name)
    return name
