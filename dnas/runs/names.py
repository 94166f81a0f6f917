"""How the network found is called in the space: where each block comes from, and which choices it does not depend on.

A result states both. Of results written before that, both follow from the shipped space of the same name, where that
gives the very same network.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec

from dnas.grammar.catalogue import load_space, space_names
from dnas.graph import graph_of
from dnas.graph.architecture import architecture
from dnas.runs.converted import converted
from dnas.solve.relevance import unused
from dnas.space.space import Space


@dataclass(frozen=True)
class Names:
    """`sources` of a block's path is its path in the space."""

    sources: dict[str, str] = field(default_factory=dict)
    unused: frozenset[str] = frozenset()
    options: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    """Choice name -> its options, of a shipped space."""


class _Stated(msgspec.Struct, frozen=True):
    """What a result states."""

    blocks: dict[str, str] = {}
    not_used: tuple[str, ...] = ()


def names_of(search: Any, found: Space, space: str, taken: dict[str, Any], where: str) -> Names:
    """The names of the network found; empty where neither the part `search` of its file nor a shipped space tells."""
    stated = converted(search, _Stated, f"{where}: search")
    if stated.blocks:
        return Names(stated.blocks, frozenset(stated.not_used))
    return _shipped(found, space, taken) if space in space_names() else Names()


def _shipped(found: Space, name: str, taken: dict[str, Any]) -> Names:
    space = load_space(name)
    options = {c.name: c.options for c in space.choices if taken.get(c.name) in c.options}
    if len(options) < len(space.choices):
        return Names(options=options)
    assignment = {c.name: c.options.index(taken[c.name]) for c in space.choices}
    own = architecture(space, assignment)
    if _blocks(own.network) != _blocks(found):
        return Names(options=options)
    return Names(own.sources, unused(space, assignment), options)


def _blocks(network: Space) -> list[tuple[str, str, dict[str, Any]]]:
    """Path, kind and fields of every block."""
    uses = graph_of(network).uses
    return [(use.path, use.kind, {name: q.value for name, q in use.fields.items()}) for use in uses]
