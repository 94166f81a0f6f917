"""Augmented shortcuts (Tang et al. 2021): fields and operators of every kind of block that adds to its input."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dnas.blocks.basic import ACTIVATIONS
from dnas.blocks.kind import Fields
from dnas.errors import UserError
from dnas.ops import Activation, Circulant, Linear, Tensor, WeightedSum
from dnas.space.fields import integer, name, ratio

if TYPE_CHECKING:
    from dnas.graph import Builder

SHORTCUTS = {
    "shortcuts": integer("augmented shortcuts beside each residual one", 0, least=0, searchable=False),
    "shortcut_blocks": integer(
        "circulant matrices in a row of a shortcut's; 0 has a dense one", 4, least=0, searchable=False,
        part_of="shortcuts",
    ),
    "shortcut_act": name(
        "activation of augmented shortcuts", ACTIVATIONS, "gelu", searchable=False, part_of="shortcuts"
    ),
    "shortcut_factor": ratio("of the sum with augmented shortcuts", 0.75, searchable=False, part_of="shortcuts"),
}  # fmt: skip


def augmented(net: Builder, prefix: str, total: Tensor, x: Tensor, f: Fields) -> Tensor:
    """factor * (total + sum_i act(x Theta_i)) (eq. 5); the total alone where the block has no augmented shortcuts.

    `total` is the sum of a branch and its input, x that input, after the norm in front of the branch if it has one.
    Raises `UserError` where the branch may have no residual.
    """
    count, blocks, factor = f.fixed("shortcuts"), f.fixed("shortcut_blocks"), f.fixed("shortcut_factor")
    if not count:
        return total
    if not total.same_size(x):
        raise UserError("augmented shortcuts need a block whose input is always added to its result")
    paths = []
    for n in range(count):
        own = Circulant(blocks) if blocks else Linear(x.channels)
        y = net.add(f"{prefix}shortcut{n}", own, x)
        paths.append(net.add(f"{prefix}shortcut{n}_act", Activation(f.shortcut_act), y))
    return net.add(f"{prefix}augmented", WeightedSum((factor,) * (count + 1)), total, *paths)
