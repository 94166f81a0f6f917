"""The forward pass that keeps little: of each block its input alone, from which the backward pass runs it again.

Memory is then the inputs of all blocks and the inside of one, for a third more arithmetic (Chen et al. 2016, "Training
deep nets with sublinear memory cost", with blocks as segments). Gradients and statistics are those of `Forward`.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import jax
from jaxtyping import Array

from dnas.network import Feature, Network
from dnas.nn.branches import Arrays, Inputs, Run
from dnas.nn.forward import Forward
from dnas.nn.mixing import apart
from dnas.nn.rows import Own
from dnas.space.space import Node, OneOf, Stage


class LowMemory(Forward):
    """`Forward`, block by block."""

    def ahead(self, nodes: Sequence[Node], x: Feature) -> tuple[int, Feature] | None:
        """One block, or all blocks of a choice between them; the blocks of a stage come one by one."""
        node = nodes[0]
        if isinstance(node, Stage) or self.wanted.intersection(_paths(node)):
            return None
        return super().ahead(nodes, x) or (1, self._alone(node, x))

    def _alone(self, node: Node, x: Feature) -> Feature:
        def run(inputs: Inputs, weights: dict[str, Array], statistics: dict[str, Array]):
            network = Network(self.inside(Own(weights, statistics), inputs))
            return network.walk([node], replace(x, value=inputs.x)).value, statistics

        sizes = Network().walk([node], x)
        own = [self.parameters.under(path) for path in _paths(node)]
        weights = {name: leaf for part in own for name, leaf in part.weights.items()}
        before = {name: leaf for part in own for name, leaf in part.statistics.items()}
        found: Any = run_again(run, self.inputs(x), weights, before)
        value, statistics = found
        self.noted(statistics)
        return replace(sizes, value=value)


def _paths(node: Node) -> Iterator[str]:
    """The blocks within a node."""
    match node:
        case OneOf():
            parts = node.branches
        case Stage():
            parts = node.blocks
        case _:
            yield node.path
            return
    for part in parts:
        yield from _paths(part)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def run_again(run: Run, inputs: Inputs, weights: Arrays, statistics: Arrays) -> tuple[Array, dict[str, Array]]:
    """`run(inputs, weights, statistics)`; nothing but its arguments is kept for the gradient."""
    return run(inputs, dict(weights), dict(statistics))


def _forward(run: Run, inputs: Inputs, weights: Arrays, statistics: Arrays):
    return run_again(run, inputs, weights, statistics), (inputs, weights, statistics)


def _backward(run: Run, saved: tuple[Inputs, Arrays, Arrays], cts: tuple[Array, Any]):
    inputs, weights, statistics = saved

    def pull(inputs: Inputs, ct: Array, weights: Arrays, statistics: Arrays):
        def output(x: Array, shared: Any, weights: Arrays) -> Array:
            return run(inputs._replace(x=x, shared=shared), dict(weights), dict(statistics))[0]

        return jax.vjp(output, inputs.x, inputs.shared, weights)[1](ct)

    # Apart: merged with the forward pass, or begun before the cotangent is there, it would keep what it spares.
    d_x, d_shared, d_weights = apart(pull, inputs, cts[0], weights, statistics)
    return Inputs(d_x, d_shared, None), d_weights, None


run_again.defvjp(_forward, _backward)
