"""Convolutions and matrix products. Where backends need different forms, `dnas.maths.backends` chooses."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from dnas.maths.axes import Map, OtherMap
from dnas.maths.backends import by_backend
from dnas.maths.depthwise import shifted


@dataclass(frozen=True)
class Spatial:
    """An operator on a map and weights with all else given; equal ones share one trace (`dnas.maths.mixing`)."""

    form: Callable[..., OtherMap]
    arguments: tuple[int, ...]

    def __init__(self, form: Callable[..., OtherMap], *arguments: int):
        object.__setattr__(self, "form", form)
        object.__setattr__(self, "arguments", arguments)

    def __call__(self, x: Map, w: Array) -> OtherMap:
        return self.form(x, w, *self.arguments)


FEW_GROUPS = 8
"""Up to so many groups a 1x1 convolution is a matrix product each."""


def pointwise(
    x: Float[Array, "*batch I"], w: Float[Array, "I O"], mask: Float[Array, " I"] | None = None
) -> Float[Array, "*batch O"]:
    """1x1 convolution or linear layer, of x times a mask over its channels."""
    return _product(x, w) if mask is None else _masked_product(x, w, mask)


def _product(x: Float[Array, "*batch I"], w: Float[Array, "I O"]) -> Float[Array, "*batch O"]:
    """One matrix product: the 4-D form has a slow weight gradient on CPU."""
    return (x.reshape(-1, x.shape[-1]) @ w).reshape(*x.shape[:-1], w.shape[-1])


@jax.custom_vjp
def _masked_product(x: Float[Array, "*batch I"], w: Float[Array, "I O"], mask: Float[Array, " I"]) -> Array:
    """The mask meets x or the matrix, whichever is smaller."""
    return _product(x * mask, w) if _is_smaller(x, w) else _product(x, w * mask[:, None])


def _is_smaller(x: Array, w: Array) -> bool:
    return x.size < w.size


def _masked_forward(x: Array, w: Array, mask: Array):
    return _masked_product(x, w, mask), (x, w, mask)


def _masked_backward(saved: tuple[Array, Array, Array], ct: Array):
    # What is masked is not kept: the mask meets the product with the factor as it is.
    x, w, mask = saved
    rows, ct_rows = x.reshape(-1, x.shape[-1]), ct.reshape(-1, ct.shape[-1])
    d_x = _product(ct, w.T)
    if _is_smaller(x, w):
        d_mask = jnp.sum(d_x.reshape(rows.shape) * rows, 0)
        return d_x * mask, (rows * mask).T @ ct_rows, d_mask
    d_w = rows.T @ ct_rows
    return d_x * mask, d_w * mask[:, None], jnp.sum(d_w * w, -1)


_masked_product.defvjp(_masked_forward, _masked_backward)


def conv(x: Map, w: Float[Array, "k k _ O"], stride: int, padding: int, groups: int = 1) -> OtherMap:
    """Convolution with equal padding on all sides."""
    if w.shape[0] == 1 and padding == 0 and groups <= FEW_GROUPS:
        x = x[:, ::stride, ::stride] if stride > 1 else x
        parts = zip(jnp.split(x, groups, -1), jnp.split(w[0, 0], groups, -1), strict=True)
        return jnp.concatenate([pointwise(part, own) for part, own in parts], -1)
    return lax.conv_general_dilated(
        x, w, (stride, stride), [(padding, padding)] * 2, dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
    )  # fmt: skip


@functools.partial(jax.jit, static_argnums=(2, 3))
def depthwise(x: Map, w: Float[Array, "k k C"], stride: int, padding: int) -> OtherMap:
    """One k x k kernel a channel."""
    return by_backend(
        functools.partial(shifted, stride=stride, padding=padding),
        lambda x, w: conv(x, w[:, :, None], stride, padding, groups=x.shape[-1]),
        x, w,
    )  # fmt: skip


def mixed_kernels(
    kernels: Sequence[Float[Array, "_ _ ..."]], gates: Sequence[Array], begins: Sequence[int], side: int
) -> Float[Array, "side side ..."]:
    """sum_i g_i pad(w_i): each kernel from row and column `begins` on, zeros around it."""
    total = jnp.zeros((), kernels[0].dtype)
    for w, gate, begin in zip(kernels, gates, begins, strict=True):
        edges = begin, side - len(w) - begin
        total = total + jnp.pad(w, [edges] * 2 + [(0, 0)] * (w.ndim - 2)) * gate
    return total
