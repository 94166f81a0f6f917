"""The forward pass that keeps little: of each block its input alone, from which the backward pass runs it again.

Memory is then the inputs of all blocks and the inside of one, for a third more arithmetic (Chen et al. 2016, "Training
deep nets with sublinear memory cost", with blocks as segments). Gradients and statistics are those of `Forward`.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
from jaxtyping import Array

from dnas.graph.parts import BlockUse, Branches, LayerRun, Part, every
from dnas.maths.mixing import apart
from dnas.nn.branches import Arrays, BlockFunction, Inputs
from dnas.nn.forward import Forward
from dnas.nn.parameters import Own, own_of
from dnas.ops.tensor import Tensor, Value


class LowMemory(Forward):
    """`Forward`, block by block."""

    def part(self, part: Part) -> None:
        """A block, or all blocks of a choice between them; the blocks of a stage come one by one."""
        match part:
            case BlockUse() | Branches() if self._is_kept(part):
                self._again(part)
            case _:
                super().part(part)

    def _is_kept(self, part: BlockUse | Branches) -> bool:
        """Whether a part is run again from its input."""
        tapped = self.wanted.intersection(inner.path for inner in every([part]) if not isinstance(inner, LayerRun))
        single = isinstance(part.input, Tensor) and isinstance(part.output, Tensor)
        return single and not tapped

    def _again(self, part: BlockUse | Branches) -> None:
        x, y = part.input, part.output
        assert isinstance(x, Tensor) and isinstance(y, Tensor)

        def run(inputs: Inputs, weights: dict[str, Array], statistics: dict[str, Array]):
            return self.inside(Own(weights, statistics), inputs).run([part], Value(x, inputs.x), y), statistics

        own = own_of(self.parameters, [part])
        found: Any = run_again(run, self.inputs(self.values[x]), *own)
        self.values[y], statistics = found
        self.noted(statistics)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def run_again(
    run: BlockFunction, inputs: Inputs, weights: Arrays, statistics: Arrays
) -> tuple[Array, dict[str, Array]]:
    """`run(inputs, weights, statistics)`; nothing but its arguments is kept for the gradient."""
    return run(inputs, dict(weights), dict(statistics))


def _forward(run: BlockFunction, inputs: Inputs, weights: Arrays, statistics: Arrays):
    return run_again(run, inputs, weights, statistics), (inputs, weights, statistics)


def _backward(run: BlockFunction, saved: tuple[Inputs, Arrays, Arrays], cts: tuple[Array, Any]):
    inputs, weights, statistics = saved

    def pull(inputs: Inputs, ct: Array, weights: Arrays, statistics: Arrays):
        def output(x: Array, shared: Any, weights: Arrays) -> Array:
            return run(inputs._replace(x=x, shared=shared), dict(weights), dict(statistics))[0]

        return jax.vjp(output, inputs.x, inputs.shared, weights)[1](ct)

    # Apart: merged with the forward pass, or begun before the cotangent is there, it would keep what it spares.
    d_x, d_shared, d_weights = apart(pull, inputs, cts[0], weights, statistics)
    return Inputs(d_x, d_shared, None), d_weights, None


run_again.defvjp(_forward, _backward)
