"""Variables as a few long vectors: one of all that weight decay pulls to zero, one of all other, for each group.

A network has hundreds of parameters. An optimiser that visits each with kernels of its own spends a third of the
compile time on them; packed, they are two leaves: "matrices" are weights, "vectors" are norms, biases and tables.
Blocks of which a step runs a few have two more vectors, from which it takes rows (`dnas.nn.rows`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from dnas.graph import graph_of
from dnas.graph.parts import LayerRun
from dnas.graph.sampled import runs_of, sampled
from dnas.nn.gates import Gates
from dnas.nn.parameters import shapes_of
from dnas.nn.rows import (
    MATRICES,
    STATISTICS,
    VECTORS,
    Rows,
    Shapes,
    Table,
    join,
    largest,
    of_kinds,
    put,
    size_of,
    split,
    tables,
    take,
)
from dnas.nn.supernet import ROWS, ROWS_AFTER, Variables, declared
from dnas.space.space import Space

Leaves = dict[str, Array]
Chosen = dict[str, Int[Array, "layers paths"]]
"""The options that run, by the name of their run of layers."""
BLOCKS = "blocks."
"""Begins the name of a vector that rows are taken from."""
HELD = {
    MATRICES: ("params", BLOCKS + MATRICES),
    VECTORS: ("params", BLOCKS + VECTORS),
    STATISTICS: ("batch_stats", BLOCKS + VECTORS),
}
"""Group and vector of each kind of a block's parameters."""


class Packing:
    """The static plan: which paths share a vector, in which order.

    `paths`: of choices between more blocks than that so many are run in a step (None: all of them).
    """

    def __init__(self, space: Space, paths: int | None = None):
        self.paths, self.runs = paths, list(runs_of(sampled(graph_of(space), paths).parts))
        self.tables: dict[str, dict[str, Table]] = {}
        self.parts: dict[str, dict[str, dict[str, tuple[int, ...]]]] = {}
        self.after: dict[tuple[str, str], int] = {}
        """Zeros behind the last block, so that the longest row can begin anywhere."""
        blocks = [[[shapes_of(b.parts) for b in layer.branches] for layer in run.layers] for run in self.runs]
        every = [shapes for run in blocks for layer in run for shapes in layer]
        elsewhere = {path for shapes in every for leaves in shapes for path in leaves}
        for group, leaves in declared(space).items():
            alone = {path: leaf for path, leaf in leaves.items() if path not in elsewhere}
            self.parts[group] = {
                MATRICES: {path: leaf.lengths for path, leaf in alone.items() if leaf.decays},
                VECTORS: {path: leaf.lengths for path, leaf in alone.items() if not leaf.decays},
            }
        self._lay(blocks, every)

    def _lay(self, blocks: Sequence[Sequence[Sequence[Shapes]]], every: Sequence[Shapes]) -> None:
        """Blocks behind one another, run after run."""
        kinds = [of_kinds(shapes) for shapes in every]
        starts = dict.fromkeys(HELD, 0)
        for run, own in zip(self.runs, blocks, strict=True):
            self.tables[run.name] = found = tables(own, starts)
            starts = {kind: starts[kind] + found[kind].size for kind in HELD}
        for kind, (group, name) in HELD.items():
            self.parts[group][name] = {path: shape for own in kinds for path, shape in own[kind].items()}
            self.after[group, name] = max((found[kind].longest for found in self.tables.values()), default=0)

    # Whole variables ------------------------------------------------------------------------------------------------

    def pack(self, variables: Mapping[str, Any]) -> dict[str, Leaves]:
        """`{group: {path: array}}` as `{group: {"matrices": [n], "vectors": [m]}}`, without those that are empty."""
        return {
            group: {
                name: join([*(leaves[path] for path in shapes), *self._zeros(group, name)])
                for name, shapes in self._filled(group)
            }
            for group, leaves in variables.items()
        }

    def unpack(self, packed: Mapping[str, Leaves]) -> Variables:
        """The inverse of `pack`; differentiable."""
        return {group: self.unpack_group(group, leaves) for group, leaves in packed.items()}

    def unpack_group(self, group: str, leaves: Leaves) -> Leaves:
        unpacked: Leaves = {}
        for name, shapes in self._filled(group):
            unpacked |= zip(shapes, split(leaves[name][: size_of(shapes)], tuple(shapes.values())), strict=True)
        return unpacked

    def _filled(self, group: str, blocks: bool = True) -> list[tuple[str, dict[str, tuple[int, ...]]]]:
        parts = self.parts[group].items()
        return [(name, shapes) for name, shapes in parts if shapes and (blocks or not name.startswith(BLOCKS))]

    def _zeros(self, group: str, name: str) -> Iterator[Float[Array, " after"]]:
        after = self.after.get((group, name), 0)
        if after:
            yield jnp.zeros(after)

    # What a step uses -----------------------------------------------------------------------------------------------

    def chosen(self, gates: Gates) -> Chosen:
        """The blocks that run under gates."""
        return {run.name: self._options(run, gates) for run in self.runs}

    def _options(self, run: LayerRun, gates: Gates) -> Int[Array, "layers paths"]:
        assert self.paths is not None
        return largest(jnp.stack([gates[choice] for choice in run.choices]), self.paths)[1]

    def floats(self, group: str) -> tuple[int, int]:
        """Numbers in the vectors of a group, and in what a step uses of them."""
        alone = sum(size_of(shapes) for _, shapes in self._filled(group, blocks=False))
        blocks, rows = 0, 0
        for kind, (held, name) in HELD.items():
            if held == group:
                blocks += size_of(self.parts[group][name]) + self.after[group, name]
                rows += sum(found[kind].longest * len(found[kind].starts) for found in self.tables.values())
        return alone + blocks, alone + rows * (self.paths or 0)

    def used(self, params: Leaves, chosen: Chosen) -> Leaves:
        """Of packed parameters, or of anything like them, what takes part: all outside of blocks, and a row of each
        block that runs: `{"matrices": [n], ..., "RUN.matrices": [layers, paths, longest], ...}`."""
        found = {name: leaf for name, leaf in params.items() if not name.startswith(BLOCKS)}
        for name, kind, table in self.rows():
            found[f"{name}.{kind}"] = take(params[BLOCKS + kind], table, chosen[name])
        return found

    def with_used(self, params: Leaves, used: Leaves, chosen: Chosen) -> Leaves:
        """`params` with what takes part as in `used`; what does not run stays as it is."""
        found = {name: used.get(name, leaf) for name, leaf in params.items()}
        for name, kind, table in self.rows():
            vector = BLOCKS + kind
            found[vector] = put(found[vector], table, chosen[name], used[f"{name}.{kind}"])
        return found

    def rows(self) -> list[tuple[str, str, Table]]:
        """Name of the run, kind, and table of whatever parameters blocks have."""
        return [
            (name, kind, found[kind])
            for name, found in self.tables.items()
            for kind in (MATRICES, VECTORS)
            if found[kind].longest
        ]

    def opened(self, used: Leaves, statistics: Leaves, chosen: Chosen) -> dict[str, Any]:
        """The variables of a supernet (`dnas.nn.supernet`) that runs the chosen blocks."""
        groups = {"params": used, "batch_stats": statistics}
        variables: dict[str, Any] = {
            group: {
                path: leaf
                for name, shapes in self._filled(group, blocks=False)
                for path, leaf in zip(shapes, split(leaves[name], tuple(shapes.values())), strict=True)
            }
            for group, leaves in groups.items()
        }
        return variables | {ROWS: {run.name: self._rows_of(run.name, used, statistics, chosen) for run in self.runs}}

    def _rows_of(self, run: str, used: Leaves, statistics: Leaves, chosen: Chosen) -> Rows:
        none = jnp.zeros((*chosen[run].shape, 0))
        table = self.tables[run][STATISTICS]
        held = take(statistics[BLOCKS + VECTORS], table, chosen[run]) if table.longest else none
        return Rows(used.get(f"{run}.{MATRICES}", none), used.get(f"{run}.{VECTORS}", none), held)

    def closed(self, statistics: Leaves, updated: Mapping[str, Any], chosen: Chosen) -> Leaves:
        """Packed statistics after such a supernet ran, those of blocks that did not as they were."""
        found = dict(statistics)
        for name, shapes in self._filled("batch_stats", blocks=False):
            found[name] = join([updated["batch_stats"][path] for path in shapes])
        for run, rows in updated.get(ROWS_AFTER, {}).items():
            table, vector = self.tables[run][STATISTICS], BLOCKS + VECTORS
            if table.longest:
                found[vector] = put(found[vector], table, chosen[run], rows)
        return found
