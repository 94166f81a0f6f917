"""The blocks of a network that work on tokens, each with the one that follows: run, tuned and measured under masks.

All tokens are there and masks say which go on, so that one program serves every number of tokens, and blocks of like
shape share it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from dnas.compress.significance import mean_attention, row_norms
from dnas.errors import InputError
from dnas.graph.build import masked_graph
from dnas.graph.graph import Graph
from dnas.graph.parts import BlockUse, Part, nodes_of
from dnas.graph.program import program_key
from dnas.nn.forward import Forward
from dnas.nn.gates import Layout, one_hot
from dnas.nn.lookup import StackedLookup, requests
from dnas.nn.parameters import Own
from dnas.nn.supernet import Variables
from dnas.ops import ClassToken, Softmax
from dnas.ops.tensor import QUERIES, TOKENS, Tensor, leaves
from dnas.space.entries import Given
from dnas.space.space import Space

RATE = 1e-4
"""Of Adam, where a block is tuned."""
NONE = Layout(())

Masks = Mapping[str, Any]
"""Path of a block -> [tokens], 1 for those that go on after it."""


def forward(graph: Graph, parts: Sequence[Part], values: Mapping[str, Array], arrays: Mapping[Tensor, Array],
            masks: Masks) -> dict[Tensor, Array]:  # fmt: skip
    """Every value that the parts make of some arrays, in evaluation mode; `values` are parameters by path."""
    gates = one_hot(NONE, {})
    lookup = StackedLookup(requests(Graph(graph.input, graph.output, tuple(parts))), NONE)(gates, masks)
    run = Forward(Own(dict(values), dict(values)), gates, lookup, None)
    run.run_on(arrays, parts, ())
    return run.values


@dataclass(frozen=True, eq=False)
class Layer:
    """A block on tokens, and the parts from it up to what its error is measured on."""

    use: BlockUse
    attention: Tensor
    """[heads, queries, keys] of all tokens."""
    parts: tuple[Part, ...]
    result: Tensor
    """Of the block that follows; the class scores after the last one."""
    rows: str | None
    """The mask of the tokens of the result, by its path."""

    @property
    def path(self) -> str:
        return self.use.path

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        return leaves(self.use.input)

    @cached_property
    def parameters(self) -> dict[str, bool]:
        """By path, whether it is tuned: the block's own, but no statistic."""
        nodes = nodes_of(self.parts)
        found = {path: parameter for node in nodes for path, parameter in node.parameters.items()}
        return {path: path.startswith(f"{self.path}.") and not p.statistic for path, p in found.items()}

    @cached_property
    def masks(self) -> tuple[str, ...]:
        """By path, in the order in which they are met."""
        sizes = (axis.size for node in nodes_of(self.parts) for x in (*node.inputs, node.output) for axis in x.axes)
        return tuple(dict.fromkeys(size.name for size in sizes if isinstance(size, Given)))


class Seen(NamedTuple):
    """What images become in a layer of the network of which nothing more is dropped."""

    inputs: tuple[Array, ...]
    result: Array
    attention: Float[Array, "N T T"]
    """Mean over the heads."""
    norms: Float[Array, "N T"]
    """Of what each token gathers."""


class Tokens:
    """A network whose blocks can hand on fewer tokens.

    Raises `InputError` for one without such a block.
    """

    def __init__(self, space: Space):
        self.space = space
        self.graph, paths = masked_graph(space)
        if not paths:
            raise InputError(space.source, "no block works on tokens", accepted="a vision transformer")
        uses = [part for part in self.graph.parts if isinstance(part, BlockUse) and part.path in paths]
        self.layers = [self._layer(n, uses) for n in range(len(uses))]
        self.count = next(axis.size.value for axis in self.layers[0].inputs[0].axes if axis.name == TOKENS)
        made = (node.operator for node in self.graph.nodes)
        self.learned = sum(operator.count for operator in made if isinstance(operator, ClassToken))
        self._programs: dict[Any, Program] = {}

    def _layer(self, n: int, uses: Sequence[BlockUse]) -> Layer:
        use, parts = uses[n], self.graph.parts
        following = uses[n + 1] if n + 1 < len(uses) else None
        end = len(parts) if following is None else parts.index(following) + 1
        scores = (node.output for node in nodes_of(use.parts) if isinstance(node.operator, Softmax))
        attention = next(x for x in scores if isinstance(size := x[QUERIES].size, Given) and size.name == use.path)
        result = self.graph.output if following is None else leaves(following.out)[0]
        part = tuple(parts[parts.index(use) : end])
        return Layer(use, attention, part, result, None if following is None else following.path)

    def kept(self) -> dict[str, np.ndarray]:
        """The masks of the network as it is: tokens that were dropped before stay away."""
        mask, found = np.ones(self.count, np.float32), {}
        for layer in self.layers:
            entries = self.space.keep_tokens.get(layer.path)
            mask = mask if entries is None else np.isin(np.arange(self.count), entries).astype(np.float32)
            found[layer.path] = mask
        return found

    @functools.cached_property
    def seen(self) -> Callable[[Mapping[str, Array], Array, Masks], list[Seen]]:
        """`(values, images, masks) -> ` what every layer sees, compiled once."""

        @jax.jit
        def run(values: Mapping[str, Array], images: Array, masks: Masks) -> list[Seen]:
            found = forward(self.graph, self.graph.parts, values, {self.graph.input: images}, masks)
            attention = [mean_attention(found[layer.attention]) for layer in self.layers]
            norms = [row_norms(p, found[layer.inputs[0]]) for p, layer in zip(attention, self.layers, strict=True)]
            return [
                Seen(tuple(found[x] for x in layer.inputs), found[layer.result], *rest)
                for layer, *rest in zip(self.layers, attention, norms, strict=True)
            ]

        return run

    @functools.cached_property
    def read(self) -> Callable[[Mapping[str, Array], Array, Masks], Array]:
        """`(values, images, masks) -> ` whether the class scores depend on each token after the last block, [tokens],
        compiled once."""
        last = leaves(self.layers[-1].use.out)
        after = self.graph.parts[self.graph.parts.index(self.layers[-1].use) + 1 :]

        @jax.jit
        def run(values: Mapping[str, Array], images: Array, masks: Masks) -> Array:
            made = forward(self.graph, self.graph.parts, values, {self.graph.input: images}, masks)

            def scores(tokens: Array) -> Array:
                arrays = {**{x: made[x] for x in last}, last[0]: tokens}
                return jnp.sum(forward(self.graph, after, values, arrays, masks)[self.graph.output] ** 2)

            return jnp.any(jax.grad(scores)(made[last[0]]) != 0, axis=(0, 2))

        return run

    def program(self, layer: Layer) -> Program:
        """That of a layer, shared by those of like shape."""
        rows = None if layer.rows is None else layer.masks.index(layer.rows)
        key = program_key(layer.parts, layer.use.input, layer.result), tuple(layer.parameters.values()), rows
        if key not in self._programs:
            self._programs[key] = Program(self.graph, layer, rows)
        return self._programs[key]


class Program:
    """Error and tuning of a layer, compiled once for all of its shape: parameters and masks by their order."""

    def __init__(self, graph: Graph, layer: Layer, rows: int | None):
        self.graph, self.layer, self.rows = graph, layer, rows
        self.optimizer = optax.adam(RATE)
        self.errors, self.step = jax.jit(self._errors), jax.jit(self._step)

    def _errors(
        self, values: list[Array], x: Sequence[Array], wanted: Array, masks: list[Array]
    ) -> tuple[Array, Array]:
        """Sums of squares of the difference and of what is wanted, over the tokens that are left."""
        layer = self.layer
        found = forward(
            self.graph, layer.parts, dict(zip(layer.parameters, values, strict=True)),
            dict(zip(layer.inputs, x, strict=True)), dict(zip(layer.masks, masks, strict=True)),
        )[layer.result]  # fmt: skip
        weight = jnp.ones(()) if self.rows is None else masks[self.rows][:, None]
        return jnp.sum(weight * (found - wanted) ** 2), jnp.sum(weight * wanted**2)

    def _step(
        self, values: list[Array], state: optax.OptState, x: Sequence[Array], wanted: Array, masks: list[Array]
    ) -> tuple[list[Array], optax.OptState]:
        """One step of tuning on the relative error."""
        tuned = list(self.layer.parameters.values())

        def loss(own: list[Array]) -> Array:
            mine = iter(own)
            every = [next(mine) if is_own else value for is_own, value in zip(tuned, values, strict=True)]
            off, size = self._errors(every, x, wanted, masks)
            return off / size

        own = [value for is_own, value in zip(tuned, values, strict=True) if is_own]
        updates, state = self.optimizer.update(jax.grad(loss)(own), state, own)
        after = iter(jax.tree.leaves(optax.apply_updates(own, updates)))
        return [next(after) if is_own else value for is_own, value in zip(tuned, values, strict=True)], state

    def begin(self, layer: Layer, values: Sequence[Array]) -> optax.OptState:
        """The optimiser's state before the first step."""
        return self.optimizer.init([v for own, v in zip(layer.parameters.values(), values, strict=True) if own])


def values_of(variables: Variables) -> dict[str, Array]:
    """Parameters and statistics together, by path."""
    return {path: jnp.asarray(value) for group in variables.values() for path, value in group.items()}
