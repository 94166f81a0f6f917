"""Resolution masking: one spatial operator on every resolution option's own grid.

    y = 1/q * sum_r g_r U_r(F(S_r(x)))          (FBNetV2, Wan et al. 2020, section 3.2; q: `dnas.maths.grids.coverage`)

S_r takes the pixels of option r's grid, U_r puts F's result onto the same grid of the output, zeros elsewhere. F is
linear in its weights, so g_r scales the weights and not a map, and the gate's gradient is <w, dL/d(g_r w)>. The
gradients are written out: they keep x and the weights alone and take the grids again, one after another, so that
memory does not grow with the number of options.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int

from dnas.maths.axes import Map, OtherMap
from dnas.maths.backends import by_backend
from dnas.maths.grids import pixel_index, pixel_source

Operator = Callable[[Map, Array], OtherMap]
"""F(x, w), linear in either. Layers whose operators are equal, and maps of one shape, are traced once."""
Sides = tuple[int, int]
"""An option's side of the input and of the output."""

LEAST_COVERAGE = 1e-4


class Grids(NamedTuple):
    """Resolution options, and what gates make of them."""

    gate: Float[Array, " options"]
    sides: Sequence[Sides]
    """Each option's; equal ones share one evaluation."""
    share: Float[Array, "H W"] | None = None
    """The coverage of each pixel of the result, by which it is divided where that is not zero."""
    paths: int | None = None
    """Only so many options, those of the largest gates, are evaluated, on maps of the full side."""

    @property
    def sampled(self) -> bool:
        """Whether there are more than are evaluated: each then lies in the corner of a full map, zeros around it."""
        return self.paths is not None and self.paths < len(set(self.sides))


class Mix(NamedTuple):
    """What is evaluated: options with sides of their own, or those of them that are chosen at run time."""

    pairs: tuple[Sides, ...]
    gates: Sequence[Float[Array, ""]] | Float[Array, " evaluated"]
    chosen: Int[Array, " evaluated"] | None
    inverse: Float[Array, "H W"] | None
    """1 / coverage."""

    @property
    def scales(self) -> Float[Array, " evaluated"]:
        """The gates as one array."""
        return self.gates if self.chosen is not None else jnp.stack(self.gates)  # pyright: ignore

    @property
    def side(self) -> int:
        """Of the result."""
        return max(b for _, b in self.pairs)


def mix_of(grids: Grids) -> Mix:
    """Gates of equal options added up, and the largest of them where few are evaluated."""
    pairs = tuple(dict.fromkeys(grids.sides))
    weights: list[Any] = [sum(grids.gate[n] for n, other in enumerate(grids.sides) if other == pair) for pair in pairs]
    inverse = None if grids.share is None else _inverse(grids.share)
    paths = grids.paths if grids.sampled else None
    if paths is None:
        return Mix(pairs, weights, None, inverse)
    scales = jnp.stack(weights)
    chosen = lax.top_k(lax.stop_gradient(scales), paths)[1]
    # A product and not an index: the gradient of that is a loop on CPU, one for each layer.
    picks = (chosen[:, None] == jnp.arange(len(pairs))).astype(scales.dtype)
    kept = jnp.matmul(picks, scales, precision="highest")
    return Mix(pairs, kept, chosen, inverse)


def on_grids(apply: Operator, x: Map, w: Array, grids: Grids | None) -> OtherMap:
    """sum_r g_r U_r(F(S_r(x), w)) / q, or F(x, w) where there is one resolution."""
    if grids is None:
        return apply(x, w)
    mix = mix_of(grids)
    # Gates are float32, as is all that follows from them, up to where they meet what is in the numbers of x and w.
    inverse = (jnp.ones((mix.side, mix.side)) if mix.inverse is None else mix.inverse).astype(x.dtype)
    if mix.chosen is not None:
        ws = jnp.multiply.outer(mix.scales.astype(w.dtype), w)
        return _sampled(apply, x, ws, inverse, _Moves.of(mix.pairs, mix.chosen))
    return _mixed(apply, mix.pairs, x, tuple(w * gate.astype(w.dtype) for gate in mix.gates), inverse)


def _inverse(share: Float[Array, "H W"]) -> Float[Array, "H W"]:
    # Below the floor a pixel counts for nothing anyway, and 1/share (or its gradient) would overflow.
    held = share > LEAST_COVERAGE
    return jnp.where(held, 1 / jnp.where(held, share, 1), 0)


def _inverse_gradient(y: Map, inverse: Array, ct: Map) -> Array:
    """Of inverse * total, without the total: y = inverse * total is at hand."""
    return jnp.sum(ct * y, axis=(0, 3)) * jnp.where(inverse > 0, 1 / jnp.where(inverse > 0, inverse, 1), 0)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _mixed(apply: Operator, pairs: tuple[Sides, ...], x: Map, ws: tuple[Array, ...], inverse: Array) -> OtherMap:
    return _sum_over_grids(apply, pairs, x, ws, inverse)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _sum_over_grids(
    apply: Operator, pairs: tuple[Sides, ...], x: Map, ws: tuple[Array, ...], inverse: Array
) -> OtherMap:
    out_full = inverse.shape[0]

    def add(total: Map, a: int, x: OtherMap, w: Array, inverse: Array) -> Map:
        return total + _place(apart(apply, _take(x, a), w), out_full) * inverse[:, :, None]

    total = jnp.zeros((x.shape[0], out_full, out_full, jax.eval_shape(apply, x, ws[0]).shape[-1]), x.dtype)
    for (a, _), w in zip(pairs, ws, strict=True):
        total = apart(lambda total, *rest, a=a: add(total, a, *rest), total, x, w, inverse)
    return total


def _grids_forward(apply: Operator, pairs: tuple[Sides, ...], x: Map, ws: tuple[Array, ...], inverse: Array):
    y = _sum_over_grids(apply, pairs, x, ws, inverse)
    return y, (x, ws, inverse, y)


def _grids_backward(apply: Operator, pairs: tuple[Sides, ...], saved: tuple, ct: Map):
    x, ws, inverse, y = saved
    d_inverse = _inverse_gradient(y, inverse, ct)
    ct = ct * inverse[:, :, None]

    def pull(x: Map, w: Array, ct: OtherMap) -> tuple[Map, Array]:
        return jax.vjp(apply, x, w)[1](ct)

    def add(dx: Map, a: int, b: int, x: Map, w: Array, ct: OtherMap) -> tuple[Map, Array]:
        d_small, dw = apart(pull, _take(x, a), w, _take(ct, b))
        return dx + _place(d_small, x.shape[1]), dw

    dx, dws = jnp.zeros_like(x), []
    for (a, b), w in zip(pairs, ws, strict=True):
        dx, dw = apart(lambda dx, *rest, a=a, b=b: add(dx, a, b, *rest), dx, x, w, ct)
        dws.append(dw)
    return dx, tuple(dws), d_inverse


_sum_over_grids.defvjp(_grids_forward, _grids_backward)


def apart(function: Callable[..., Any], *operands: Any) -> Any:
    """function(*operands), apart from what is around it: neither fused with it nor computed earlier than needed.

    The second operand is an array of floats; it is what the rest waits for.

    XLA on CPU drops optimization barriers before it fuses; left alone it computes an operator anew for every pixel
    that a grid moves, and takes the grids of the backward pass already in the forward pass. So there it is a branch,
    always taken, which the compiler cannot know.
    """

    def branch(*operands: Any) -> Any:
        always = ~(operands[1].ravel()[0] > jnp.inf)
        like = jax.eval_shape(function, *operands)
        return lax.cond(
            always, function, lambda *_: jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), like), *operands
        )

    return by_backend(branch, function, *operands)


def _take(x: Map, side: int) -> OtherMap:
    """The pixels of the grid of side `side`."""
    full = x.shape[1]
    return x if side == full else regrid(x, jnp.asarray(pixel_index(side, full, side)), side)


def _place(x: Map, full: int) -> OtherMap:
    """The map of side `full` that holds x on its grid and zeros elsewhere."""
    side = x.shape[1]
    return x if side == full else regrid(x, jnp.asarray(pixel_source(side, full, side)), full)


def regrid(x: Map, source: Int[Array, " pixels"], side: int) -> OtherMap:
    """The map of side `side` whose pixels are those of x at the flat positions `source`, zero past x's end."""
    n, h, w, c = x.shape
    return jnp.take(x.reshape(n, h * w, c), source, axis=1, mode="fill", fill_value=0).reshape(n, side, side, c)


class _Moves(NamedTuple):
    """Indices of `regrid` for a few options chosen at run time, each option's map in the corner of a full one."""

    take: Int[Array, "paths pixels"]
    take_back: Int[Array, "paths pixels"]
    place: Int[Array, "paths out_pixels"]
    place_back: Int[Array, "paths out_pixels"]

    @staticmethod
    def of(pairs: tuple[Sides, ...], chosen: Int[Array, " paths"]) -> _Moves:
        full, out_full = (max(sides) for sides in zip(*pairs, strict=True))
        into = [pixel_index(a, full, full) for a, _ in pairs], [pixel_source(a, full, full) for a, _ in pairs]
        out = (
            [pixel_source(b, out_full, out_full) for _, b in pairs],
            [pixel_index(b, out_full, out_full) for _, b in pairs],
        )
        return _Moves(*(jnp.asarray(np.stack(tables))[chosen] for tables in (*into, *out)))


@functools.partial(jax.jit, static_argnums=0)
def _sampled(apply: Operator, x: Map, ws: Float[Array, "paths ..."], inverse: Array, moves: _Moves) -> OtherMap:
    return _sum_over_paths(apply, x, ws, inverse, moves)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _sum_over_paths(apply: Operator, x: Map, ws: Float[Array, "paths ..."], inverse: Array, moves: _Moves) -> OtherMap:
    """The same sum over options that are known at run time only: a loop whose body is compiled once."""
    out_side = inverse.shape[0]

    def step(total: Map, path: tuple[Array, _Moves]) -> tuple[Map, None]:
        w, move = path
        return total + regrid(apply(regrid(x, move.take, x.shape[1]), w), move.place, out_side), None

    like = jax.eval_shape(apply, x, ws[0])
    return lax.scan(step, jnp.zeros(like.shape, like.dtype), (ws, moves))[0] * inverse[:, :, None]


def _paths_forward(apply: Operator, x: Map, ws: Array, inverse: Array, moves: _Moves):
    y = _sum_over_paths(apply, x, ws, inverse, moves)
    return y, (x, ws, inverse, moves, y)


def _paths_backward(apply: Operator, saved: tuple, ct: Map):
    x, ws, inverse, moves, y = saved
    d_inverse = _inverse_gradient(y, inverse, ct)
    ct = ct * inverse[:, :, None]

    def step(dx: Map, path: tuple[Array, _Moves]) -> tuple[Map, Array]:
        w, move = path
        _, pull = jax.vjp(apply, regrid(x, move.take, x.shape[1]), w)
        d_small, dw = pull(regrid(ct, move.place_back, ct.shape[1]))
        return dx + regrid(d_small, move.take_back, x.shape[1]), dw

    dx, dws = lax.scan(step, jnp.zeros_like(x), (ws, moves))
    return dx, dws, d_inverse, None


_sum_over_paths.defvjp(_paths_forward, _paths_backward)
