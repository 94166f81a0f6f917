"""A loss as a weighted sum of terms, each of which says what it reads.

    Term("features", 0.1, Taps(("trunk.3",), ("trunk.5",)), lambda p: jnp.mean((p.student.taps["trunk.3"] - ...) ** 2))
    Term("few gates", 1e-3, Taps(), lambda p: jnp.sum(jnp.abs(p.gates.values)))

A forward pass keeps the values that its terms ask for, and no others. Trainings (`dnas.train.step`) and searches
(`dnas.search.learn`) step on such a sum.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from dnas.errors import InputError, suggestion
from dnas.graph import graph_of
from dnas.nn.gates import Gates
from dnas.space.space import Space


class Taps(NamedTuple):
    """Paths of blocks and operators whose values a term reads."""

    student: tuple[str, ...] = ()
    teacher: tuple[str, ...] = ()


class Outputs(NamedTuple):
    """What a network makes of a batch: its logits, and the values at the paths that were asked for."""

    logits: Float[Array, "N classes"]
    taps: Mapping[str, Array]


class Pass(NamedTuple):
    """One batch through the network that learns, as terms read it."""

    targets: Float[Array, "N classes"]
    """Distributions over the classes."""
    student: Outputs
    gates: Gates
    teacher: Outputs | None = None
    params: Mapping[str, Array] = MappingProxyType({})
    """Parameters of the network that learns, by their paths; of a search none."""
    key: PRNGKeyArray | None = None
    """Of what a term draws at random, another one at each step of a training; None in a search."""


@dataclass(frozen=True)
class Term:
    """A part of a loss: `weight * function(pass)`, under a name of its own.

    `function` gives a scalar and is traced.
    """

    name: str
    weight: float
    taps: Taps
    function: Callable[[Pass], Any]

    def to_json(self) -> list[Any]:
        """What a run's identity holds of it: of its function nothing is known but the name."""
        return [self.name, self.weight, list(self.taps.student), list(self.taps.teacher)]


def taps_of(terms: Iterable[Term]) -> Taps:
    """All that the terms read."""
    read = [term.taps for term in terms]
    return Taps(*(tuple(dict.fromkeys(path for taps in read for path in taps[n])) for n in range(2)))


def check(terms: Sequence[Term], taught: bool) -> None:
    """Raises `InputError` for two terms of one name, or one that reads a teacher where there is none."""
    for term in terms:
        if not isinstance(term, Term):
            raise InputError("terms", "not a term of a loss", found=term, accepted="dnas.learning.terms.Term")
    names = [term.name for term in terms]
    for n, term in enumerate(terms):
        if term.name in names[:n]:
            raise InputError(f"term '{term.name}'", "another term has this name", accepted="a name of its own")
        if term.taps.teacher and not taught:
            raise InputError(f"term '{term.name}'", "it reads a teacher, and there is none", accepted="a teacher")


def outputs(of: Space, logits: Array, values: Mapping[str, Array], wanted: Sequence[str]) -> Outputs:
    """What a network gave; raises `InputError` for a path that is wanted and not among the values."""
    for path in wanted:
        if path not in values:
            near = suggestion(path, [part.path for part in (*graph_of(of).uses, *graph_of(of).nodes)])
            accepted = "the path of a block or an operator that every step evaluates"
            raise InputError(f"tap '{path}'", f"{of.source} has nothing to tap there{near}", accepted=accepted)
    return Outputs(logits, values)


def total(terms: Sequence[Term], p: Pass) -> tuple[Float[Array, ""], dict[str, Array]]:
    """The weighted sum, and the value of each term without its weight."""
    values = {term.name: jnp.asarray(term.function(p)) for term in terms}
    return functools.reduce(operator.add, (term.weight * values[term.name] for term in terms)), values
