"""The distinct blocks of a space: every block, at every joint option of the choices its fields depend on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dnas.blocks import KINDS
from dnas.cost.interpolate import is_size
from dnas.cost.keys import Walked, key_at, walk
from dnas.network import BlockUse, Feature, Network, evaluated_fields, shapes
from dnas.space.quantity import Quantity, shape_of, union
from dnas.space.space import Block, Space

IN, SIDE = "in", "side"


@dataclass(frozen=True, order=True)
class BlockSpec:
    """One block without choices: kind, fields (sorted), and the size of its input."""

    kind: str
    channels: int
    side: int | None
    fields: tuple[tuple[str, Any], ...]

    @property
    def block(self) -> Block:
        """The same as a node of a space."""
        fields = {name: Quantity.constant(v) for name, v in self.fields}
        return Block("block", self.kind, fields, {}, f"block {self.kind}")

    def input(self, value: Any = None) -> Feature:
        side = None if self.side is None else Quantity.constant(self.side)
        return Feature(value, Quantity.constant(self.channels), side)

    def walked(self) -> Walked:
        """The block by itself, with the operators it has."""
        x = self.input()
        return walk(BlockUse("block", self.kind, evaluated_fields(self.block, x), x.channels, x.side, Network.always, x))

    @property
    def key(self) -> str:
        """Its name in latency tables."""
        return key_at(self.walked().use, {})

    @property
    def macs(self) -> int:
        return sum((r.given * r.macs).at({}) for r in self.walked().records)

    def widths(self) -> tuple[int, ...]:
        """The sizes that may be interpolated over: input channels and the kind's width fields."""
        known = dict(self.fields)
        return (self.channels, *(known[n] for n in width_fields(self.kind) if known.get(n) is not None))

    def group(self) -> tuple:
        """Everything else but the side: blocks of one group differ in widths and side only."""
        widths = set(width_fields(self.kind))
        return self.kind, tuple((n, v) for n, v in self.fields if n not in widths)


def width_fields(kind: str) -> tuple[str, ...]:
    """Fields over which times are smooth, as interpolation takes them."""
    return tuple(name for name, field in KINDS[kind].fields.items() if is_size(field))


def distinct_blocks(space: Space) -> list[BlockSpec]:
    """All distinct blocks of a space, in a fixed order."""
    network, _ = shapes(space)
    seen: set[Any] = set()
    found: set[BlockSpec] = set()
    for use in network.uses:
        signature = _signature(use)
        if signature not in seen:
            seen.add(signature)
            found.update(_options(use))
    return sorted(found, key=repr)


def blocks_of(space: Space) -> list[BlockSpec]:
    """The blocks of an architecture in network order."""
    network, _ = shapes(space)
    return [next(iter(_options(use))) for use in network.uses]


def _columns(use: BlockUse) -> dict[str, Quantity]:
    kind = KINDS[use.kind]
    columns = {name: q for name, q in use.fields.items() if kind.fields[name].written != "never"}
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


def _options(use: BlockUse) -> list[BlockSpec]:
    columns = _columns(use)
    over = union(columns.values())
    size = shape_of(over)
    values = {name: q.values() for name, q in columns.items()}
    codes = [_codes(columns[name], values[name], over, size) for name in columns]
    rows = np.unique(np.stack(codes, -1).reshape(-1, len(codes)), axis=0) if over else np.zeros((1, len(codes)), int)
    names = list(columns)
    return list({_spec(use.kind, {n: values[n][code] for n, code in zip(names, row, strict=True)}) for row in rows.tolist()})


def _codes(quantity: Quantity, values: Sequence[Any], over: tuple, size: tuple[int, ...]) -> np.ndarray:
    index = {value: n for n, value in enumerate(values)}
    table = quantity.table_over(over)
    codes = np.array([index[v] for v in table.reshape(-1).tolist()]).reshape(table.shape)
    return np.broadcast_to(codes, size)


def _spec(kind: str, row: dict[str, Any]) -> BlockSpec:
    """Fields that mean nothing without a flag that is off are left out."""
    fields = KINDS[kind].fields
    kept = {
        name: value
        for name, value in row.items()
        if name in fields and ((flag := fields[name].part_of) is None or row[flag])
    }
    return BlockSpec(kind, row[IN], row.get(SIDE), tuple(sorted(kept.items())))
