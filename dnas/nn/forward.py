"""Values of a graph under gates: the forward pass of the supernet, and of the plain network where nothing is chosen.

Operators compute (`dnas.ops`); here is what they read: masks, means and shares of the gates, grids of resolutions, the
mode of norms. With one-hot gates each operator is exactly the plain one on the sliced weights.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from dnas.graph.parts import BlockUse, Branch, Branches, LayerRun, Node, Part, inside
from dnas.maths.axes import resized
from dnas.maths.grids import coverage, joint_probability, pixel_weights
from dnas.maths.mixing import Grids
from dnas.maths.norm import of_parts
from dnas.nn import quantize
from dnas.nn.branches import Inputs, Option, run_largest
from dnas.nn.drops import Drops
from dnas.nn.forms import Forms
from dnas.nn.gates import Gates
from dnas.nn.lookup import Lookup
from dnas.nn.parameters import Own, Parameters, shapes_of
from dnas.nn.rows import largest
from dnas.ops.operator import Held, Parameter
from dnas.ops.tensor import CHANNELS, Axis, Feature, Tensor, Value, leaves, mapped
from dnas.process.devices import Parts
from dnas.process.precision import Precision
from dnas.space.quantity import Quantity

NORM_MOMENTUM = 0.9


Products = Callable[[str, Callable[[Array, Array], Array], Array, Array], Array]
"""`(path, form, x, w) -> form(x, w)`, or of what stands in their place; `form` is linear in both."""


class Switch(NamedTuple):
    """Norms whose mode is decided at run time, so that one program evaluates and estimates statistics.

    `training` 1 normalises with the batch, 0 with the running statistics; `keep` is the weight of the former running
    statistics (1: left alone).
    """

    training: Array
    keep: Array | float


class Forward:
    """A forward pass, part by part; operators read it as their `dnas.ops.operator.Env`.

    `momentum` is the weight of the former running statistics in training mode; `None` means evaluation mode, and a
    `Switch` decides at run time.
    `paper_resolution` keeps FBNetV2's plain sum over grids; otherwise the sum is divided by each pixel's coverage,
    without which uniform gates starve the pixels that only large grids hold. `resolution_paths` evaluates only that
    many resolutions, those of the largest gates.
    `forms` are what a backend has in the place of operators' own mathematics, by the operators' names.
    `taps` are paths of operators and blocks whose results are kept. `drops` leaves parts out at random. `products` has
    the place of every product of two arrays. `parts`: the batch is one of several, of all of which norms take the
    statistics. In `precision` are results of operators and what those read, beside statistics; `Operator.exact` and
    quantised ones compute in float32 between.
    """

    def __init__(
        self, parameters: Parameters, gates: Gates, lookup: Lookup, momentum: float | Switch | None, *,
        paper_resolution: bool = False, resolution_paths: int | None = None, forms: Forms | None = None,
        taps: Sequence[str] = (), drops: Drops | None = None, products: Products | None = None,
        parts: Parts | None = None, precision: Precision = "float32",
    ):  # fmt: skip
        self.parameters, self.gates, self.lookup, self.momentum = parameters, gates, lookup, momentum
        self.paper_resolution, self.resolution_paths = paper_resolution, resolution_paths
        self.forms: Forms = forms or {}
        self.wanted, self.taps, self.drops = frozenset(taps), dict[str, Any](), drops
        self.products, self.parts = products, parts
        self.precision: Precision = precision
        self.at_work: Precision = precision
        """Of the operator that reads."""
        self.values: dict[Tensor, Array] = {}
        self._weights_of: dict[tuple, Array] = {}

    # Parts ----------------------------------------------------------------------------------------------------------

    def run(self, parts: Sequence[Part], x: Value, y: Tensor) -> Array:
        """The array of y, which the parts make of x."""
        return self.run_on({x.tensor: x.array}, parts, y)

    def run_on(self, arrays: Mapping[Tensor, Array], parts: Sequence[Part], y: Feature) -> Any:
        """The array of each tensor of y, which the parts make of these."""
        self.values |= arrays
        for part in parts:
            self.part(part)
        return mapped(self.values.__getitem__, y)

    def part(self, part: Part) -> None:
        match part:
            case Node():
                self._node(part)
            case LayerRun():
                self._run(part)
            case BlockUse() | Branches():
                for inner in inside(part):
                    self.part(inner)
        if not isinstance(part, LayerRun) and part.path in self.wanted:
            self.taps[part.path] = mapped(self.values.__getitem__, part.output)

    def _node(self, node: Node) -> None:
        if node.idle:
            return
        operator = node.operator
        self.at_work = "float32" if operator.exact or node.quantized is not None else self.precision
        arrays = [self.values[tensor].astype(self.at_work) for tensor in node.inputs]
        if self.drops is not None:
            arrays = self.drops.on(node, arrays)
        held = Held(
            {path.removeprefix(f"{node.path}."): self._parameter(path, p) for path, p in node.parameters.items()},
            node.path,
            node.quantized,
        )
        form = self.forms.get(operator.name)
        apply = type(operator).apply if form is None else form.apply
        result = apply(operator, self, held, node.output, *map(Value, node.inputs, arrays))
        self.values[node.output] = quantize.result(held, result).astype(self.precision)
        for name, value in held.after.items():
            self.parameters.update(f"{node.path}.{name}", value)

    def _parameter(self, path: str, parameter: Parameter) -> Array:
        """In the numbers of the operator that reads it; statistics are float32."""
        found = self.parameters.get(path, parameter)
        return found if parameter.statistic else found.astype(self.at_work)

    def _run(self, run: LayerRun) -> None:
        """The blocks of the largest gates alone (`dnas.nn.branches`)."""
        branches, blocks = run.layers[0].branches, self.parameters.blocks(run)
        gates, chosen = largest(jnp.stack([self.gates[choice] for choice in run.choices]), run.count)
        programs = [
            Option(program.steps, program.size, functools.partial(self._alone, run, branch))
            for program, branch in zip(run.programs, branches, strict=True)
        ]
        value, statistics = run_largest(
            programs, [shapes_of(branch.parts) for branch in branches], blocks.rows(chosen), gates, chosen,
            self.inputs(self.values[run.input]),
        )  # fmt: skip
        if self.momentum is not None:
            blocks.ran(chosen, statistics)
        self.values[run.output] = value

    def _alone(
        self, run: LayerRun, branch: Branch, inputs: Inputs, weights: dict[str, Array], statistics: dict[str, Array]
    ) -> tuple[Array, dict[str, Array]]:
        """One block on its own parameters, and its statistics after."""
        inner = self.inside(Own(weights, statistics), inputs)
        y = inner.run(branch.parts, Value(run.input, inputs.x), leaves(branch.output)[0])
        return resized(y, run.output[CHANNELS].length), statistics

    def inputs(self, x: Array) -> Inputs:
        """What a block reads beside its own parameters."""
        return Inputs(x, (self.gates, self.lookup), self.momentum if isinstance(self.momentum, Switch) else None)

    def inside(self, own: Own, inputs: Inputs) -> Forward:
        """A forward pass within a block, on its own parameters and `inputs`."""
        assert self.drops is None, "drops belong to the training of plain networks"
        gates, lookup = inputs.shared
        return Forward(
            own, gates, lookup, inputs.fixed if isinstance(self.momentum, Switch) else self.momentum,
            paper_resolution=self.paper_resolution, resolution_paths=self.resolution_paths, forms=self.forms,
            products=self.products, parts=self.parts, precision=self.precision,
        )  # fmt: skip

    def noted(self, statistics: dict[str, Array]) -> None:
        """Keeps a block's statistics, in the modes that change them."""
        if self.momentum is not None:
            for path, leaf in statistics.items():
                self.parameters.update(path, leaf)

    # What operators read --------------------------------------------------------------------------------------------

    def mean(self, quantity: Quantity) -> Array:
        return self.lookup.mean(quantity).astype(self.at_work)

    def mask(self, axis: Axis) -> Array:
        return self.lookup.mask(axis).astype(self.at_work)

    def pending(self, axis: Axis) -> Array | None:
        return self.mask(axis) if axis.masked else None

    def shares(self, quantity: Quantity) -> Array:
        return self.lookup.shares(quantity).astype(self.at_work)

    def pixels(self, x: Tensor) -> Array | None:
        return None if x.side is None or x.side.is_constant else self._pixel_sums(pixel_weights, x.side)

    def grids(self, x: Tensor, y: Tensor) -> Grids | None:
        assert x.side is not None and y.side is not None
        if x.side.is_constant:
            return None
        # The grids of the input decide coverage of the output: options differ there even where output sides agree.
        out_side = _spread(y.side, x.side)
        sides = zip(x.side.table.reshape(-1).tolist(), out_side.table.reshape(-1).tolist(), strict=True)
        share = None if self.paper_resolution else self._pixel_sums(coverage, out_side)
        return Grids(joint_probability(x.side, self.gates), tuple(sides), share, self.resolution_paths)

    def product(self, held: Held, form: Callable[[Array, Array], Array], x: Array, w: Array) -> Array:
        x, w = quantize.factors(held, x, w)
        return form(x, w) if self.products is None else self.products(held.path, form, x, w)

    @property
    def trains(self) -> bool:
        """Whether norms take the statistics of the batch, whatever comes."""
        return self.momentum is not None and not isinstance(self.momentum, Switch)

    def moments(self, held: Held, of_batch: Callable[[], tuple[Array, Array]]) -> tuple[Array, Array]:
        running, mode = (held["mean"], held["var"]), self.momentum
        if mode is None:
            return running
        found = of_batch()
        if self.parts is not None:
            found = of_parts(*jnp.moveaxis(self.parts.gathered(jnp.stack(found)), 1, 0))
        keep = mode.keep if isinstance(mode, Switch) else mode
        for name, old, new in zip(("mean", "var"), running, found, strict=True):
            held.after[name] = blend(old, jax.lax.stop_gradient(new), keep)
        if not isinstance(mode, Switch):
            return found
        mean, variance = (jnp.where(mode.training, *both) for both in zip(found, running, strict=True))
        return mean, variance

    def _pixel_sums(self, kind: Callable[[Quantity, Gates], Array], side: Quantity) -> Array:
        """Weights of pixels, once for all layers with the same sides."""
        key = (kind, side.over, side.table.tobytes())
        if key not in self._weights_of:
            self._weights_of[key] = kind(side, self.gates)
        return self._weights_of[key]


def blend(old: Array, new: Array, keep: Array | float) -> Array:
    """keep * old + (1 - keep) * new; the new value alone where `keep` is the number 0, the old one where both agree."""
    # Norms of blocks that did not run must stay as they are, without rounding.
    mixed = keep * old + (1 - keep) * new
    return new if isinstance(keep, float) and keep == 0 else jnp.where(old == new, old, mixed)


def _spread(part: Quantity, side: Quantity) -> Quantity:
    """`part` as a table over all the choices of `side`."""
    return Quantity(side.over, np.broadcast_to(part.table_over(side.over), side.table.shape))
