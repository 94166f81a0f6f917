"""The distinct blocks of a space: every block, at every joint option of the choices its fields depend on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dnas.blocks import KINDS
from dnas.cost.interpolate import is_size
from dnas.cost.keys import block_keys, walk
from dnas.graph import BlockUse, graph_of
from dnas.ops.sizes import feature_of, is_width
from dnas.ops.tensor import Feature
from dnas.space.quantity import Quantity, shape_of, union
from dnas.space.space import Block, Space

Places = tuple[tuple[str, int], ...]
"""The sizes of an input without its channels, by name."""


@dataclass(frozen=True)
class BlockSpec:
    """One block without choices: its key in latency tables, what it is, the sizes of its input, and its MACs."""

    key: str
    kind: str = field(compare=False)
    sizes: tuple[tuple[str, int], ...] = field(compare=False)
    """Of the input, by the names of `dnas.ops.sizes`."""
    fields: tuple[tuple[str, Any], ...] = field(compare=False)
    macs: int = field(compare=False)

    @property
    def block(self) -> Block:
        """The same as a node of a space."""
        return Block("block", self.kind, {n: Quantity.constant(v) for n, v in self.fields}, {}, self.key)

    @property
    def input(self) -> Feature:
        """What it is given."""
        return feature_of({name: Quantity.constant(size) for name, size in self.sizes})

    def widths(self) -> tuple[int, ...]:
        """The sizes that are interpolated over: input channels and the kind's width fields."""
        own = width_fields(self.kind)
        channels = (size for name, size in self.sizes if is_width(name))
        return (*channels, *(v for n, v in self.fields if n in own))

    def group(self) -> tuple[str, Places, tuple[tuple[str, Any], ...]]:
        """Everything else: blocks of one group differ in widths only."""
        own = width_fields(self.kind)
        places = tuple((name, size) for name, size in self.sizes if not is_width(name))
        return self.kind, places, tuple((n, v) for n, v in self.fields if n not in own)


def width_fields(kind: str) -> frozenset[str]:
    """Fields over which times are smooth, as interpolation takes them."""
    return frozenset(name for name, f in KINDS[kind].fields.items() if is_size(f))


def distinct_blocks(space: Space) -> list[BlockSpec]:
    """All distinct blocks of a space that do any work (an identity takes no time), in a fixed order."""
    seen: set[Any] = set()
    found: dict[BlockSpec, None] = {}
    for use in graph_of(space).uses:
        signature = _signature(use)
        if signature not in seen:
            seen.add(signature)
            found.update(dict.fromkeys(_options(use)))
    return sorted(found, key=lambda b: b.key)


def blocks_of(space: Space) -> list[BlockSpec]:
    """The blocks of an architecture that do any work, in network order."""
    return [block for use in graph_of(space).uses for block in _options(use)]


def _columns(use: BlockUse) -> dict[str, Quantity]:
    kind = KINDS[use.kind]
    named = {name for name, field in kind.fields.items() if field.written != "never" and field.lasts}
    return {name: q for name, q in use.fields.items() if name in named} | use.sizes_in


def _signature(use: BlockUse) -> Any:
    """Equal for blocks whose fields take the same values together, under choices of other names."""
    columns = _columns(use)
    order = {choice: n for n, choice in enumerate(union(columns.values()))}
    tables = tuple(
        (name, tuple(order[c] for c in q.over), q.table.shape, tuple(q.table.reshape(-1).tolist()))
        for name, q in columns.items()
    )
    return use.kind, tables


def _options(use: BlockUse) -> Iterator[BlockSpec]:
    """The blocks that a use can become, each once."""
    columns, walked = _columns(use), walk(use)
    macs = Quantity.constant(0)
    for record in walked.records:
        macs = macs + (record.given * record.macs).joint()
    asked = {**columns, " key": block_keys(use), " macs": macs, " operators": walked.operators}
    over = union(columns.values())
    tables = {name: _over(q, over) for name, q in asked.items()}
    _, first = np.unique(tables[" key"].astype(str), return_index=True)
    rows = zip(*(table[first].tolist() for table in tables.values()), strict=True)
    for row in rows:
        values = dict(zip(tables, row, strict=True))
        if values[" operators"]:
            sizes, fields = [], []
            for name in columns:
                (sizes if name in use.sizes_in else fields).append((name, values[name]))
            yield BlockSpec(values[" key"], use.kind, tuple(sizes), tuple(fields), int(values[" macs"]))


def _over(quantity: Quantity, over: Sequence[Any]) -> np.ndarray:
    """The quantity's values at every joint option of `over`, flat; other choices of it make no difference."""
    quantity = quantity.fix({c.name: 0 for c in quantity.over if c not in over})
    return np.broadcast_to(quantity.table_over(tuple(over)), shape_of(over)).reshape(-1)
