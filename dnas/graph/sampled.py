"""Which choices between blocks a step samples, decided once: the graph with a `LayerRun` in the place of each."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import replace

from dnas.graph.graph import Graph
from dnas.graph.parts import Branches, LayerRun, Part, ProgramKey
from dnas.graph.program import program_key
from dnas.ops.tensor import Tensor, leaves


@functools.lru_cache(maxsize=64)
def sampled(graph: Graph, paths: int | None) -> Graph:
    """Of choices between more than `paths` blocks so many are evaluated (None: all of every choice)."""
    return graph if paths is None else Graph(graph.input, graph.output, _sampled(graph.parts, paths))


def runs_of(parts: Sequence[Part]) -> Iterator[LayerRun]:
    """The runs in their order; those within another belong to it."""
    for part in parts:
        match part:
            case LayerRun():
                yield part
            case Branches():
                for branch in part.branches:
                    yield from runs_of(branch.parts)


def _sampled(parts: Sequence[Part], paths: int) -> tuple[Part, ...]:
    found: list[Part] = []
    open_run: list[Branches] = []
    programs: tuple[ProgramKey, ...] = ()
    for part in parts:
        if not isinstance(part, Branches) or not _is_sampled(part, paths):
            found += [*_closed(open_run, programs, paths), _inside(part, paths)]
            open_run = []
            continue
        assert isinstance(part.input, Tensor)
        own = tuple(program_key(branch.parts, part.input, leaves(branch.output)[0]) for branch in part.branches)
        if open_run and own != programs:
            found += _closed(open_run, programs, paths)
            open_run = []
        open_run.append(_with_branches(part, paths))
        programs = own
    return (*found, *_closed(open_run, programs, paths))


def _is_sampled(part: Branches, paths: int) -> bool:
    """Whole blocks, more than are evaluated; of those that pass several tensors all are."""
    single = isinstance(part.input, Tensor) and isinstance(part.output, Tensor)
    return single and len(part.branches) > paths


def _closed(layers: Sequence[Branches], programs: tuple[ProgramKey, ...], paths: int) -> list[Part]:
    return [LayerRun(tuple(layers), programs, paths)] if layers else []


def _inside(part: Part, paths: int) -> Part:
    return _with_branches(part, paths) if isinstance(part, Branches) else part


def _with_branches(part: Branches, paths: int) -> Branches:
    branches = (replace(branch, parts=_sampled(branch.parts, paths)) for branch in part.branches)
    return replace(part, branches=tuple(branches))
