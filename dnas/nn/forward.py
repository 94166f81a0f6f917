"""Values of a walk under gates: the forward pass of the supernet, and of the plain network where nothing is chosen.

Every method mixes a choice where it acts: kernels before the convolution, squeeze-excite in its gate, activations
elementwise, widths as masks folded into the next weights or into a norm's scale and shift, resolutions at spatial
operators. With one-hot gates each is exactly the plain operator on the sliced weights.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from dnas.network import Feature, Network, Scores
from dnas.nn import norm_loop
from dnas.nn import primitives as P
from dnas.nn.activations import ACTIVATIONS, mixed
from dnas.nn.branches import Branch, Inputs, run_largest
from dnas.nn.depthwise_loop import FEW_CHANNELS, Depthwise, Stem
from dnas.nn.drops import Drops
from dnas.nn.gates import Gates
from dnas.nn.grids import coverage, joint_probability, pixel_weights
from dnas.nn.lookup import Lookup
from dnas.nn.mixing import mix_grids
from dnas.nn.program import same_layers
from dnas.nn.rows import Blocks, Own, largest
from dnas.space.quantity import Quantity
from dnas.space.space import Node, OneOf

NORM_EPSILON = 1e-5
NORM_MOMENTUM = 0.9
OF_WIDTH = "_of_width"
"""Ends the name of a parameter that holds, width after width, what each adds to the one without it."""


class Switch(NamedTuple):
    """Norms whose mode is decided at run time, so that one program evaluates and estimates statistics.

    `training` 1 normalises with the batch, 0 with the running statistics; `keep` is the weight of the former running
    statistics (1: left alone).
    """

    training: Array
    keep: Array | float


class Parameters(Protocol):
    """Where parameters and running statistics live (flax, in `dnas.nn.supernet`)."""

    def weight(self, path: str, shape: tuple[int, ...], start: float | None = None) -> Array: ...
    def statistic(self, path: str, start: float, shape: tuple[int, ...]) -> Array: ...
    def update(self, path: str, value: Array) -> None: ...
    def under(self, path: str) -> Own: ...
    def blocks(self, branches: Sequence[Sequence[str]]) -> Blocks: ...


class Forward:
    """Arithmetic behind `dnas.network.Network`'s primitives; see `dnas.network.Values` for each method's part.

    `momentum` is the weight of the former running statistics in training mode; `None` means evaluation mode, and a
    `Switch` decides at run time.
    `paper_resolution` keeps FBNetV2's plain sum over grids; otherwise the sum is divided by each pixel's coverage,
    without which uniform gates starve the pixels that only large grids hold. `resolution_paths` evaluates only that
    many resolutions, those of the largest gates, and `paths` only that many blocks of a choice between whole blocks.
    `kernels` takes depthwise convolutions and norms by the loops of `dnas.nn.loops`, which only this process has.
    `drops` leaves residual branches and classifier inputs out at random.
    """

    def __init__(
        self, parameters: Parameters, gates: Gates, lookup: Lookup, momentum: float | Switch | None, *,
        paper_resolution: bool = False, resolution_paths: int | None = None, paths: int | None = None,
        kernels: bool = False, taps: Sequence[str] = (), drops: Drops | None = None,
    ):  # fmt: skip
        self.parameters, self.gates, self.lookup, self.momentum = parameters, gates, lookup, momentum
        self.paper_resolution, self.resolution_paths, self.paths = paper_resolution, resolution_paths, paths
        self.kernels = kernels
        self._weights_of: dict[tuple, Array] = {}
        self.wanted, self.taps = frozenset(taps), {}
        self.drops, self._residuals = drops, 0

    # Convolutions ---------------------------------------------------------------------------------------------------

    def conv(self, path, x: Feature, y: Feature, kernel: Quantity, stride, padding: Quantity, groups, bias) -> Array:
        shape = (x.width // groups, y.width)
        w = self._mixed_kernel(path, kernel, shape)
        pixelwise, pad = kernel.max() == 1 and stride == 1, padding.max()
        if pixelwise and groups == 1 and not pad:
            out = self._pointwise(x, w[0, 0])
        else:
            masked = _is_masked(x) and groups == 1  # groups have fixed widths
            w = w * self._mask(x.channels, x.width)[:, None] if masked else w
            few = self.kernels and groups == 1 and x.width <= FEW_CHANNELS
            operator = Stem(stride, pad) if few else P.Spatial(P.conv, stride, pad, groups)
            out = self._spatial(operator, x, y, w, pixelwise)
        return self._biased(path, out, bias)

    def depthwise(self, path, x: Feature, y: Feature, kernel: Quantity, stride, padding: Quantity, bias) -> Array:
        w = self._mixed_kernel(path, kernel, (x.width,))
        pad = padding.max()
        operator = Depthwise(stride, pad) if self.kernels else P.Spatial(P.depthwise, stride, pad)
        out = self._spatial(operator, x, y, w)
        return self._biased(path, out, bias)

    def linear(self, path, x: Feature, y: Feature, bias) -> Array:
        w = self.parameters.weight(f"{path}.weight", (x.width, y.width))
        if self.drops is not None:
            x = replace(x, value=self.drops.of_classifier(x.value, path))
        return self._biased(path, self._pointwise(x, w), bias)

    def _pointwise(self, x: Feature, w: Array) -> Array:
        if not _is_masked(x):
            return P.pointwise(x.value, w)
        return P.masked_pointwise(x.value, w, self._mask(x.channels, x.width))

    def _mixed_kernel(self, path: str, kernel: Quantity, channels: tuple[int, ...]) -> Array:
        """sum_i g_i pad(w_i) to the largest kernel, which goes with the largest padding.

        conv(x, w_i) with padding p_i equals conv(x, pad(w_i)) with padding p_i + (K - k_i) / 2, and that is the same
        for all options, since they give equal sides.
        """
        sizes, largest = kernel.values(), kernel.max()
        if len(sizes) == 1:
            return self.parameters.weight(f"{path}.weight", (largest, largest, *channels))
        total = jnp.zeros(())
        for size in sizes:
            w = self.parameters.weight(f"{path}.weight_k{size}", (size, size, *channels))
            edge = (largest - size) // 2
            padded = jnp.pad(w, [(edge, edge)] * 2 + [(0, 0)] * len(channels))
            total = total + padded * self.lookup.mean(kernel.equals(size))
        return total

    def _spatial(self, apply, x: Feature, y: Feature, w: Array, pixelwise: bool = False) -> Array:
        """`apply` on each resolution option's own grid."""
        side = x.side
        assert side is not None and y.side is not None
        if pixelwise or side.is_constant:
            return apply(x.value, w)
        # The grids of the input decide coverage of the output: options differ there even where output sides agree.
        out_side = _spread(y.side, side)
        sides = list(zip(side.table.reshape(-1).tolist(), out_side.table.reshape(-1).tolist(), strict=True))
        share = None if self.paper_resolution else self._pixel_sums(coverage, out_side)
        return mix_grids(apply, x.value, w, joint_probability(side, self.gates), sides, share, self.resolution_paths)

    def _biased(self, path: str, y: Array, bias: bool) -> Array:
        return y + self.parameters.weight(f"{path}.bias", y.shape[-1:], 0.0) if bias else y

    # Norm, activation, squeeze-excite -------------------------------------------------------------------------------

    def batch_norm(self, path, x: Feature, masked: bool, start: float, switched: bool) -> Array:
        size = (x.width,)
        scale = self.parameters.weight(f"{path}.scale", size, start)
        shift = self.parameters.weight(f"{path}.shift", size, 0.0)
        old_mean = self.parameters.statistic(f"{path}.mean", 0.0, size)
        old_var = self.parameters.statistic(f"{path}.var", 1.0, size)
        if masked and not x.channels.is_constant:
            mask = self._mask(x.channels, x.width)
            scale, shift = scale * mask, shift * mask
        if switched:
            scale, shift = (
                v + self._of_width(f"{path}.{k}", x, masked) for k, v in (("scale", scale), ("shift", shift))
            )
        if self.momentum is None:
            return P.normalised(x.value, old_mean, old_var, scale, shift, NORM_EPSILON)
        switch = self.momentum
        keep = switch.keep if isinstance(switch, Switch) else switch
        if isinstance(switch, Switch):
            centre, variance = (norm_loop.moments if self.kernels else P.moments)(x.value, self._pixels(x))
            means = [jnp.where(switch.training, *both) for both in ((centre, old_mean), (variance, old_var))]
            y = P.normalised(x.value, *means, scale, shift, NORM_EPSILON)
        elif self.kernels:
            y, centre, variance = norm_loop.batch_normalised(x.value, self._pixels(x), scale, shift, NORM_EPSILON)
        else:
            centre, variance = P.moments(x.value, self._pixels(x))
            y = P.normalised(x.value, centre, variance, scale, shift, NORM_EPSILON)
        self.parameters.update(f"{path}.mean", blend(old_mean, jax.lax.stop_gradient(centre), keep))
        self.parameters.update(f"{path}.var", blend(old_var, jax.lax.stop_gradient(variance), keep))
        return y

    def _of_width(self, path: str, x: Feature, masked: bool) -> Array:
        """What each width adds to a parameter that all share: sum_w P(w) d_w, masked for w where the norm masks.

        The parameter of width w is shared + d_w, which is as free as one of its own; but a width that is drawn rarely
        begins from what the others have learned. Statistics need no such table: they are estimated again for every
        network that is compared or kept.
        """
        widths = sorted(x.channels.values())
        # Flat, as every scale and shift is: what has several axes is decayed.
        table = self.parameters.weight(path + OF_WIDTH, (len(widths) * x.width,), 0.0).reshape(len(widths), x.width)
        if masked:
            table = jnp.where(np.arange(x.width) < np.array(widths)[:, None], table, 0)
        return self.lookup.shares(x.channels) @ table

    def layer_norm(self, path, x: Feature) -> Array:
        scale = self.parameters.weight(f"{path}.scale", (x.width,), 1.0)
        shift = self.parameters.weight(f"{path}.shift", (x.width,), 0.0)
        if x.channels.is_constant:
            return P.layer_norm(x.value, None, NORM_EPSILON) * scale + shift
        mask = self._mask(x.channels, x.width)
        value = x.value * mask if x.pending else x.value
        return P.layer_norm(value, mask, NORM_EPSILON) * scale + shift

    def layer_scale(self, path, x: Feature, start: float) -> Array:
        return x.value * self.parameters.weight(f"{path}.scale", (x.width,), start)

    def activation(self, x: Feature, act: Quantity) -> Array:
        names = act.values()
        if len(names) == 1:
            return ACTIVATIONS[names[0]](x.value)
        gates = jnp.stack([self.lookup.mean(act.equals(name)) for name in names])
        return mixed(tuple(names), x.value, gates, self.kernels)

    def squeeze_excite(self, path, x: Feature, hidden: Quantity, act: Quantity, on: Quantity) -> Array:
        wide, narrow = x.width, hidden.max()
        reduce = self.parameters.weight(f"{path}.reduce.weight", (wide, narrow))
        expand = self.parameters.weight(f"{path}.expand.weight", (narrow, wide))
        pooled = replace(x, value=P.spatial_mean(x.value, self._pixels(x)))
        reduced = self._pointwise(pooled, reduce)
        inner = Feature(self._biased(f"{path}.reduce", reduced, True), hidden, None, pending=True)
        inner = replace(inner, value=self.activation(inner, act))
        expanded = self._pointwise(inner, expand)
        gate = jax.nn.hard_sigmoid(self._biased(f"{path}.expand", expanded, True))
        if not on.is_constant:
            share = self.lookup.mean(on)
            gate = 1 - share + share * gate
        if _is_masked(x):
            gate = gate * self._mask(x.channels, wide)
        return x.value * gate[:, None, None, :]

    def global_pool(self, x: Feature) -> Array:
        return P.spatial_mean(x.value, self._pixels(x))

    def average_pool(self, x: Feature, y: Feature, kernel: Quantity, stride, padding: Quantity) -> Array:
        sizes = kernel.values()
        if len(sizes) == 1:
            return self._pooled(x, y, sizes[0], stride, padding.max())
        mixed = [  # the padding that gives the same side as the largest window's
            self.lookup.mean(kernel.equals(k)) * self._pooled(x, y, k, stride, padding.max() - (max(sizes) - k) // 2)
            for k in sizes
        ]
        return functools.reduce(operator.add, mixed)

    def _pooled(self, x: Feature, y: Feature, kernel: int, stride: int, padding: int) -> Array:
        return self._spatial(P.Spatial(P.scaled_pool, kernel, stride, padding), x, y, jnp.ones(()))

    def upsample(self, x: Feature, y: Feature) -> Array:
        factor = y.side.max() // x.side.max()  # type: ignore[union-attr]
        return self._spatial(P.Spatial(P.scaled_upsample, factor), x, y, jnp.ones(()))

    def combine(self, parts: Sequence[tuple[float, Feature]]) -> Array:
        terms = [x.value if factor == 1 else factor * x.value for factor, x in parts]
        return functools.reduce(operator.add, terms)

    def channel_shuffle(self, x: Feature, groups: int) -> Array:
        *lead, c = x.value.shape
        return x.value.reshape(*lead, groups, c // groups).swapaxes(-1, -2).reshape(*lead, c)

    # Attention ------------------------------------------------------------------------------------------------------

    # Widths of heads are fixed, so a mask on queries, keys and values is a mask over heads: nothing mixes heads but
    # `mix_heads`, which takes it into its weights, and what comes after `attend`, whose result is still to be masked.

    def attention_scores(self, q: Feature, k: Feature, s: Scores) -> Array:
        return P.attention_scores(q.value, k.value, s.heads.max())

    def attention_bias(self, path, s: Scores, stride: int) -> Array:
        side = s.keys.max()
        table = self.parameters.weight(f"{path}.table", (s.heads.max(), side, side), 0.0)
        return s.value + P.distance_bias(table, s.queries.max(), stride)

    def mix_heads(self, path, s: Scores) -> Array:
        heads = s.heads.max()
        w = self.parameters.weight(f"{path}.weight", (heads, heads))
        if s.pending and not s.heads.is_constant:
            w = w * self._mask(s.heads, heads)[:, None]
        bias = self.parameters.weight(f"{path}.bias", (heads,), 0.0)
        return jnp.einsum("nhqk,hg->ngqk", s.value, w) + bias[:, None, None]

    def softmax(self, s: Scores) -> Array:
        return jax.nn.softmax(s.value, axis=-1)

    def attend(self, s: Scores, v: Feature, y: Feature) -> Array:
        return P.attend(s.value, v.value, y.side.max())  # type: ignore[union-attr]

    # Masks and mixtures ---------------------------------------------------------------------------------------------

    def mask(self, x: Feature) -> Array:
        return x.value if x.channels.is_constant else x.value * self._mask(x.channels, x.width)

    def residual(self, x: Feature, y: Feature, agree: Quantity) -> Array:
        value, branch = _resized(x.value, y.width), y.value
        if self.drops is not None:
            branch = self.drops.of_branch(branch, self._residuals)
            self._residuals += 1
        return branch + (value if agree.is_constant else self.lookup.mean(agree) * value)

    def mixture(self, parts: Sequence[tuple[Quantity, Feature]], y: Feature) -> Array:
        mixed = [self.lookup.mean(condition) * _resized(part.value, y.width) for condition, part in parts]
        return functools.reduce(operator.add, mixed)

    def ahead(self, nodes: Sequence[Node], x: Feature) -> tuple[int, Feature] | None:
        """A run of choices between the same blocks, of which only a few are evaluated (`dnas.nn.branches`)."""
        node = nodes[0]
        if self.paths is None or not isinstance(node, OneOf) or len(node.branches) <= self.paths:
            return None
        layers, programs, y = same_layers(nodes, x)

        def run(branch: Node, inputs: Inputs, weights: dict[str, Array], statistics: dict[str, Array]):
            network = Network(self.inside(Own(weights, statistics), inputs))
            after = network.masked(network.walk([branch], replace(x, value=inputs.x)))
            return _resized(after.value, y.width), statistics

        blocks = self.parameters.blocks([[branch.path for branch in layer.branches] for layer in layers])
        gates, chosen = largest(jnp.stack([self.gates[layer.choice.name] for layer in layers]), self.paths)
        value, statistics = run_largest(
            [Branch(p.steps, p.size, functools.partial(run, b)) for p, b in zip(programs, node.branches, strict=True)],
            blocks.shapes(), blocks.rows(chosen), gates, chosen, self.inputs(x),
        )  # fmt: skip
        if self.momentum is not None:
            blocks.ran(chosen, statistics)
        return len(layers), replace(y, value=value)

    def inputs(self, x: Feature) -> Inputs:
        """What a block reads beside its own parameters."""
        return Inputs(x.value, (self.gates, self.lookup), self.momentum if isinstance(self.momentum, Switch) else None)

    def inside(self, own: Own, inputs: Inputs) -> Forward:
        """The same arithmetic within a block, on its own parameters and `inputs`."""
        assert self.drops is None, "drops belong to the training of plain networks"
        gates, lookup = inputs.shared
        return Forward(
            own, gates, lookup, inputs.fixed if isinstance(self.momentum, Switch) else self.momentum,
            paper_resolution=self.paper_resolution, resolution_paths=self.resolution_paths, paths=self.paths,
            kernels=self.kernels,
        )  # fmt: skip

    def noted(self, statistics: dict[str, Array]) -> None:
        """Keeps a block's statistics, in the modes that change them."""
        if self.momentum is not None:
            for path, leaf in statistics.items():
                self.parameters.update(path, leaf)

    def tap(self, path: str, x: Feature) -> None:
        if path in self.wanted:
            self.taps[path] = x.value

    def _mask(self, channels: Quantity, size: int) -> Array:
        return jnp.ones(size) if channels.is_constant else self.lookup.mask(channels, size)

    def _pixels(self, x: Feature) -> Array | None:
        return None if x.side is None or x.side.is_constant else self._pixel_sums(pixel_weights, x.side)

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


def _is_masked(x: Feature) -> bool:
    """Whether a mask over its channels is still to be applied."""
    return x.pending and not x.channels.is_constant


def _spread(part: Quantity, side: Quantity) -> Quantity:
    """`part` as a table over all the choices of `side`."""
    return Quantity(side.over, np.broadcast_to(part.table_over(side.over), side.table.shape))


def _resized(x: Array, width: int) -> Array:
    """x with its channels padded with zeros, or cut, to `width`."""
    missing = width - x.shape[-1]
    if missing > 0:
        return jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, missing)])
    return x[..., :width]
