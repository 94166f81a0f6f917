"""Expected latency of a space from a table: the table's entries contracted with the gates.

For every block the joint table over all choices that its key depends on (input width and side, width, expansion,
kernel, ...) is filled with the entries of a latency table, in milliseconds, and multiplied by the condition under
which the block exists. The sum of those products is a `Cost` as any other (`dnas.cost.ledger`): at one-hot gates it
is the plain sum of the table, under probabilities the exact mean over sampled networks - never the table read at
effective widths - and it is linear in every choice's gates, so its gradient is that of the paper's
LAT = sum_l sum_i m_li LAT(b_li) (FBNet, Wu et al. 2019, eq. 3-5).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dnas.cost.interpolate import Blocks, Interpolator, described, joined, over_of
from dnas.cost.keys import Walked, block_keys, walk, walked_keys
from dnas.cost.latency_table import Crossed, LatencyTable
from dnas.cost.ledger import Cost, merged
from dnas.cost.table_check import Described, unusable
from dnas.errors import UserError
from dnas.graph import BlockUse, Graph, graph_of
from dnas.space.quantity import Product, Quantity, shape_of, union
from dnas.space.space import Space

STATES = ("exact", "interpolated", "nothing", "in_base")
EXACT, INTERPOLATED, NOTHING, IN_BASE = range(4)


@dataclass
class Coverage:
    """How a space's distinct blocks were found in a table, by block kind."""

    kinds: dict[str, dict[str, int]] = field(default_factory=dict)
    """Kind -> state -> distinct blocks. `exact` has an entry; `interpolated` has none; `nothing` is an identity, or a
    skip in a table relative to skip; `in_base` is part of the table's base."""
    beyond: int = 0
    """Of the interpolated ones, those larger or smaller than anything measured."""
    borrowed: int = 0
    """Of the interpolated ones, those whose kernel, stride, flags or activation no entry has."""
    error: dict[str, Crossed] = field(default_factory=dict)
    """Kind -> the interpolation's cross-validated error, where it was used."""
    missing: list[str] = field(default_factory=list)
    """Some interpolated keys, for messages."""

    def count(self, state: str) -> int:
        return sum(states.get(state, 0) for states in self.kinds.values())

    def summary(self) -> str:
        """One line for people."""
        parts = [f"{self.count('exact'):,} blocks from the table", f"{self.count('interpolated'):,} interpolated"]
        if self.beyond:
            parts.append(f"{self.beyond:,} of them beyond the measured sizes")
        if self.borrowed:
            parts.append(f"{self.borrowed:,} with fields no entry has")
        if self.count("in_base"):
            parts.append(f"{self.count('in_base'):,} in the base")
        errors = [e.median_error for e in self.error.values() if e.median_error is not None]
        if errors:
            parts.append(f"interpolation off by {max(errors):.1%} (median, entries left out)")
        return ", ".join(parts)

    def to_data(self) -> dict[str, Any]:
        """For JSON results."""
        return {
            **{state: self.count(state) for state in STATES},
            "beyond_measured_sizes": self.beyond,
            "with_fields_no_entry_has": self.borrowed,
            "kinds": self.kinds,
            "interpolation": {
                kind: {"median_error": e.median_error, "p90_error": e.p90_error, "method": e.method}
                for kind, e in self.error.items()
            },
        }


@dataclass(frozen=True, eq=False)
class LatencyCost:
    """Latency of a space in milliseconds, and how much of it was in the table."""

    cost: Cost
    coverage: Coverage
    notes: tuple[str, ...] = ()
    unit: str = "ms"


def latency_cost(
    space: Space, table: LatencyTable, *, strict: bool = False, network: Graph | None = None
) -> LatencyCost:
    """The latency of every network of a space, as a cost.

    Args:
        space: a space or an architecture.
        table: as `dnas.cost.latency_table.read_table` gives it.
        strict: refuse interpolation.
        network: the walk of `space`, if there is one already.

    Raises `UserError` naming the block kinds of the space that the table lacks, an entry that must be in another unit
    (`dnas.cost.table_check`), or with `strict` a missing block.
    """
    network = network or graph_of(space)
    uses = [use for use in network.uses if use.given.max()]
    lookup = Lookup(table)
    lookup.require(uses, space.name)
    products = [Product(table.base)] if table.base else []
    for use in uses:
        ms = lookup.times(use)
        if not (ms.is_constant and ms.value == 0):
            products.append(Product(use.given, ms))
    coverage = lookup.coverage
    if strict and coverage.missing:
        more = f" and {coverage.count('interpolated') - 1:,} more" if coverage.count("interpolated") > 1 else ""
        raise UserError(f"table {table.name}: no entry for '{coverage.missing[0]}'{more} of space {space.name}")
    notes = []
    if table.space not in (None, space.name) and table.base and not space.is_architecture:
        notes.append(f"the base of table {table.name} belongs to space {table.space}, not to {space.name}")
    return LatencyCost(merged(tuple(products)), coverage, (*notes, *of_smaller_blocks(space)))


def of_smaller_blocks(space: Space) -> list[str]:
    """What is said of the latency of a network that was made smaller, of which a table knows the whole blocks."""
    if space.keep or space.keep_tokens or space.quantization:
        return [f"tables hold whole blocks, and those of {space.name} were made smaller: its time is shorter"]
    return []


class Lookup:
    """Times of blocks from one table: entries, and estimates where there are none; keeps count of both."""

    def __init__(self, table: LatencyTable):
        self.table = table
        self.values = {key: table.ms(key) for key in table.entries}
        self.entry_kinds = {key.split(" ", 1)[0] for key in self.values}
        self.coverage = Coverage()
        self._described: Described = {}
        self._known: dict[str, tuple[float, int]] = {}
        self._interpolators: dict[str, Interpolator] = {}

    def require(self, uses: list[BlockUse], space: str) -> None:
        """Raises `UserError` where a block kind of the uses is in no entry, or an entry is in the wrong unit."""
        lacking = []
        for kind in dict.fromkeys(use.kind for use in uses):
            if kind in self.entry_kinds or kind in self.table.in_base:
                continue
            if self.table.relative_to_skip and kind == "skip":
                continue
            if all(walk(u).operators.max() == 0 for u in uses if u.kind == kind):
                continue
            lacking.append(kind)
        if lacking:
            listed = ", ".join(f"'{kind}'" for kind in lacking)
            there = ", ".join(sorted(self.entry_kinds)) or "none"
            raise UserError(
                f"table {self.table.name}: no entries of block kind {listed}, which {space} has (its entries: {there})"
            )
        kinds = dict.fromkeys(use.kind for use in uses)
        self._described = entries_by_kind(self.table, list(kinds))
        wrong = unusable(self.table, self._described)
        if wrong:
            more = f" (and {len(wrong) - 1:,} more)" if len(wrong) > 1 else ""
            raise UserError(f"table {self.table.name}: {wrong[0]}{more}")

    def times(self, use: BlockUse) -> Quantity:
        """Milliseconds of a block for every joint option of the choices its key depends on."""
        keys = block_keys(use)
        flat = keys.table.reshape(-1).tolist()
        codes: dict[str, int] = {}
        index = np.array([codes.setdefault(key, len(codes)) for key in flat])
        new = [key for key in codes if key not in self._known]
        if new:
            first = np.unique(index, return_index=True)[1]
            self._learn(use, keys, new, first[[codes[key] for key in new]])
        values = np.array([self._known[key][0] for key in codes])
        return Quantity(keys.over, values[index].reshape(keys.table.shape)).simplify()

    def _learn(self, use: BlockUse, keys: Quantity, new: list[str], rows: np.ndarray) -> None:
        """Finds the times of keys met for the first time; `rows` are their positions in the flat table of keys."""
        states = self.coverage.kinds.setdefault(use.kind, {})
        walked = walk(use)
        idle = _at(walked.operators, keys, rows) == 0
        absent = []
        for n, key in enumerate(new):
            if key in self.values:
                self._known[key] = self.values[key], EXACT
            elif idle[n] or (self.table.relative_to_skip and use.kind == "skip"):
                self._known[key] = 0.0, NOTHING
            elif use.kind in self.table.in_base:
                self._known[key] = 0.0, IN_BASE
            else:
                absent.append(n)
        if absent:
            self._estimate(walked, keys, [new[n] for n in absent], rows[absent])
        for key in new:
            state = STATES[self._known[key][1]]
            states[state] = states.get(state, 0) + 1

    def _estimate(self, walked: Walked, keys: Quantity, names: list[str], rows: np.ndarray) -> None:
        over = union([keys, *(Quantity((c,), np.arange(len(c))) for c in over_of(walked))])
        wide = np.broadcast_to(np.arange(keys.table.size).reshape(keys.table.shape), shape_of(keys.over))
        if over != keys.over:
            # Something that the key does not show moves with more choices: any of their options stands for all.
            padded = wide.reshape([*wide.shape, *[1] * (len(over) - len(keys.over))])
            sizes = [len(c) for c in over]
            position = np.unravel_index(rows, padded.shape)
            rows = np.ravel_multi_index(position, sizes)
        blocks = described(walked, over, rows)
        interpolator = self._interpolator(walked.use.kind, names[0])
        estimate = interpolator(blocks)
        self.coverage.beyond += int(estimate.beyond.sum())
        self.coverage.borrowed += int(estimate.borrowed.sum())
        self.coverage.missing += names[: max(0, 20 - len(self.coverage.missing))]
        self.coverage.error[walked.use.kind] = interpolator.record
        for key, ms in zip(names, estimate.ms.tolist(), strict=True):
            self._known[key] = ms, INTERPOLATED

    def _interpolator(self, kind: str, asked: str) -> Interpolator:
        """The estimates of a block kind; raises `UserError` where the table has nothing to go by."""
        if kind not in self._interpolators:
            found = None
            if kind in self._described:
                blocks, ms, _ = self._described[kind]
                found = Interpolator(blocks, ms, relative=self.table.relative_to_skip)
            if found is None or not found.record.entries:
                working = f"no entry of block kind '{kind}' that does any work, as '{asked}' does"
                raise UserError(f"table {self.table.name}: {working}")
            self._interpolators[kind] = found
        return self._interpolators[kind]


def entries_by_kind(table: LatencyTable, kinds: list[str] | None = None) -> Described:
    """Kind -> its entries that do work: as numbers, their times in ms, their keys."""
    keys = [k for k in table.entries if kinds is None or k.split(" ", 1)[0] in kinds]
    lots: dict[str, list[tuple[Blocks, list[str]]]] = {}
    for positions, walked in walked_keys(keys, f"table {table.name}: entries"):
        over = over_of(walked)
        count = len(positions)
        rows = np.arange(count) if over else np.zeros(count, int)
        working = np.flatnonzero(np.broadcast_to(walked.operators.table.reshape(-1), count) > 0)
        if len(working):
            blocks = described(walked, over, rows[working])
            lots.setdefault(walked.use.kind, []).append((blocks, [keys[p] for p in positions[working]]))
    result = {}
    for kind, parts in lots.items():
        names = [key for _, part in parts for key in part]
        result[kind] = joined(b for b, _ in parts), np.array([table.ms(n) for n in names]), names
    return result


def _at(quantity: Quantity, keys: Quantity, rows: np.ndarray) -> np.ndarray:
    """The quantity's values at flat positions of the table of keys, whose choices include the quantity's."""
    extra = [c for c in quantity.over if c not in keys.over]
    if extra:
        quantity = quantity.fix({c.name: 0 for c in extra})
    return np.broadcast_to(quantity.table_over(keys.over), shape_of(keys.over)).reshape(-1)[rows]
