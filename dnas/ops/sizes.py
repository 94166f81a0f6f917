"""The sizes of what flows into a block by names, and back: the words that keys of latency tables begin with.

side=14 in=32                              a map
in=64                                      a vector
tokens=50 in=32                            tokens
tokens=50 in=32 patches2=49 tokens2=16 in2=8        tokens, and beside them a second tensor
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from dnas.errors import UserError
from dnas.ops.tensor import (
    CHANNELS,
    COLUMNS,
    HEADS,
    KEYS,
    PATCHES,
    QUERIES,
    ROWS,
    TOKENS,
    WINDOWS,
    Axis,
    Feature,
    Tensor,
    leaves,
)  # fmt: skip
from dnas.space.quantity import Quantity

SIDE, IN = "side", "in"
_NAMES = {
    PATCHES: PATCHES, WINDOWS: WINDOWS, HEADS: HEADS, QUERIES: QUERIES, KEYS: KEYS, ROWS: SIDE, TOKENS: TOKENS,
    CHANNELS: IN,
}  # fmt: skip
"""Axes in the order in which a tensor has them. Columns are as many as rows."""
FIRST = tuple(name for axis, name in _NAMES.items() if axis not in (HEADS, QUERIES, KEYS))
"""Names of the first tensor, which has channels."""
_LATER = re.compile(f"({'|'.join(_NAMES.values())})([2-9])")


def sizes_of(feature: Feature) -> dict[str, Quantity]:
    """The sizes of each tensor in the order of its axes, by name; those of the second end in 2, and so on."""
    return {
        f"{_NAMES[axis.name]}{number if number > 1 else ''}": axis.size
        for number, tensor in enumerate(leaves(feature), 1)
        for axis in tensor.axes
        if axis.name != COLUMNS
    }


def is_size(name: str) -> bool:
    """Whether a name is that of a size."""
    return name in FIRST or bool(_LATER.fullmatch(name))


def is_width(name: str) -> bool:
    """Whether a size is one of channels."""
    return name.rstrip("23456789") == IN


def feature_of(sizes: Mapping[str, Quantity]) -> Feature:
    """What has these sizes, with no mask to be applied; raises `UserError` where a tensor between two is missing."""
    tensors: dict[int, dict[str, Quantity]] = {}
    for name, size in sizes.items():
        later = _LATER.fullmatch(name)
        number, own = (int(later[2]), later[1]) if later else (1, name)
        tensors.setdefault(number, {})[own] = size
    if set(tensors) != set(range(1, len(tensors) + 1)):
        raise UserError(f"sizes of tensors {', '.join(map(str, sorted(tensors)))}, and none of those between")
    found = [_tensor(tensors[number]) for number in sorted(tensors)]
    return found[0] if len(found) == 1 else tuple(found)


def _tensor(sizes: Mapping[str, Quantity]) -> Tensor:
    axes = []
    for axis, name in _NAMES.items():
        if name in sizes:
            axes += [Axis(one, sizes[name]) for one in ((ROWS, COLUMNS) if axis == ROWS else (axis,))]
    return Tensor(tuple(axes))
