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
from dnas.ops.tensor import Tensor, on
from dnas.space.quantity import Quantity, shape_of, union
from dnas.space.space import Block, Space

IN, SIDE = "in", "side"


@dataclass(frozen=True)
class BlockSpec:
    """One block without choices: its key in latency tables, what it is, the size of its input, and its MACs."""

    key: str
    kind: str = field(compare=False)
    channels: int = field(compare=False)
    side: int | None = field(compare=False)
    fields: tuple[tuple[str, Any], ...] = field(compare=False)
    macs: int = field(compare=False)

    @property
    def block(self) -> Block:
        """The same as a node of a space."""
        return Block("block", self.kind, {n: Quantity.constant(v) for n, v in self.fields}, {}, self.key)

    @property
    def input(self) -> Tensor:
        """Sizes of the input."""
        return on(None if self.side is None else Quantity.constant(self.side), Quantity.constant(self.channels))

    def widths(self) -> tuple[int, ...]:
        """The sizes that are interpolated over: input channels and the kind's width fields."""
        sizes = width_fields(self.kind)
        return (self.channels, *(v for n, v in self.fields if n in sizes))

    def group(self) -> tuple:
        """Everything else: blocks of one group differ in widths only."""
        sizes = width_fields(self.kind)
        return self.kind, self.side, tuple((n, v) for n, v in self.fields if n not in sizes)


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
    columns = {name: q for name, q in use.fields.items() if name in named}
    columns[IN] = use.channels_in
    if use.side_in is not None:
        columns[SIDE] = use.side_in
    return columns


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
            fields = tuple((name, values[name]) for name in columns if name not in (IN, SIDE))
            yield BlockSpec(values[" key"], use.kind, values[IN], values.get(SIDE), fields, int(values[" macs"]))


def _over(quantity: Quantity, over: Sequence[Any]) -> np.ndarray:
    """The quantity's values at every joint option of `over`, flat; other choices of it make no difference."""
    quantity = quantity.fix({c.name: 0 for c in quantity.over if c not in over})
    return np.broadcast_to(quantity.table_over(tuple(over)), shape_of(over)).reshape(-1)
