"""Blocks of CMT, convolutions and attention in turn (Guo et al. 2022)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dnas.blocks.basic import ACTIVATIONS
from dnas.blocks.forms import MAP, MAP_AND_BIAS
from dnas.blocks.kind import Fields, block
from dnas.blocks.shortcuts import SHORTCUTS, augmented
from dnas.errors import UserError
from dnas.ops import (
    Activation,
    Attend,
    AttentionScores,
    BatchNorm,
    Conv,
    Depthwise,
    LayerNorm,
    LearnedScores,
    Linear,
    Residual,
    Softmax,
    Tensor,
    WeightedSum,
)  # fmt: skip
from dnas.ops.tensor import ROWS
from dnas.space.fields import Formula, integer, name, odd, ratio
from dnas.space.quantity import Quantity

if TYPE_CHECKING:
    from dnas.graph import Builder

THREE, EPSILON = Quantity.constant(3), 1e-6
Biased = tuple[Tensor, Tensor]
"""A map, and what a stage adds to the scores of all its blocks."""


@block(
    "conv_act_norm",
    MAP,
    out=integer("output channels"),
    kernel=odd("kernel side", 3),
    stride=integer("stride", 1, searchable=False),
    act=name("activation", ACTIVATIONS, "gelu"),
)
def conv_act_norm(net: Builder, x: Tensor, f: Fields) -> Tensor:
    """Convolution with a bias, activation, batch norm."""
    y = net.add("act", Activation(f.act), net.add("conv", Conv(f.out, f.kernel, f.fixed("stride"), bias=True), x))
    return net.masked(net.add("norm", BatchNorm(), y))


@block(
    "cmt_bias",
    MAP,
    heads=integer("attention heads of the stage"),
    reduction=integer("pixels of a map in a row for one key", 1, searchable=False),
)
def cmt_bias(net: Builder, x: Tensor, f: Fields) -> Biased:
    """The map, and beside it the learned numbers that all blocks of the stage add to their scores."""
    return x, net.add("table", LearnedScores(f.heads, _reduced(x, f.fixed("reduction"))), x)


@block(
    "cmt",
    MAP_AND_BIAS,
    heads=integer("attention heads"),
    head_width=integer("channels of a head", searchable=False),
    reduction=integer("pixels of a map in a row for one key", 1, searchable=False),
    expand=ratio("hidden width over width; `hidden` wins where both stand", 4, written="never"),
    hidden=integer("hidden width of the inverted residual", Formula("int(in * expand)"), written="always"),
    act=name("activation", ACTIVATIONS, "gelu"),
    **SHORTCUTS,
)
def cmt(net: Builder, x: Biased, f: Fields) -> Biased:
    """Depthwise convolution, attention on fewer keys, inverted residual with a depthwise convolution in it; each added
    to its input."""
    y, bias = x
    local = net.add("local", Depthwise(THREE, bias=True), y)
    y = augmented(net, "local_", net.add("local_add", Residual(), y, local), y, f)
    normed = net.add("attention_norm", LayerNorm(EPSILON), y)
    attended = net.add("attention_project", Linear(y.channels), _attended(net, normed, bias, f))
    y = augmented(net, "attention_", net.add("attention_add", Residual(), y, attended), normed, f)
    normed = net.add("mlp_norm", LayerNorm(EPSILON), y)
    y = net.add("mlp_add", Residual(), y, _inverted(net, normed, f))
    return net.masked(augmented(net, "mlp_", y, normed, f)), bias


def _attended(net: Builder, x: Tensor, bias: Tensor, f: Fields) -> Tensor:
    reduction = f.fixed("reduction")
    fewer, side = x, _reduced(x, reduction)
    if reduction > 1:
        kernel = Quantity.constant(reduction)
        fewer = net.add("reduce", Depthwise(kernel, reduction, Quantity.constant(0), bias=True), x)
        fewer = net.add("reduce_norm", BatchNorm(), fewer)
    width = f.heads * f.head_width
    q, k, v = (net.add(n, Linear(width), y) for n, y in (("query", x), ("key", fewer), ("value", fewer)))
    scores = net.add("with_bias", WeightedSum((1, 1)), net.add("scores", AttentionScores(f.heads), q, k), bias)
    return net.add("attend", Attend(x[ROWS].size, Quantity.constant(side)), net.add("softmax", Softmax(), scores), v)


def _inverted(net: Builder, x: Tensor, f: Fields) -> Tensor:
    def normed(part: str, y: Tensor) -> Tensor:
        return net.add(f"{part}_norm", BatchNorm(), net.add(f"{part}_act", Activation(f.act), y))

    y = normed("expand", net.add("expand", Conv(f.hidden, bias=True), x))
    y = normed(
        "depthwise", net.add("depthwise_add", Residual(), y, net.add("depthwise", Depthwise(THREE, bias=True), y))
    )
    return net.add("project_norm", BatchNorm(), net.add("project", Conv(x.channels, bias=True), y))


@block("cmt_out", MAP_AND_BIAS)
def cmt_out(net: Builder, x: Biased, f: Fields) -> Tensor:
    """The map alone."""
    return x[0]


def _reduced(x: Tensor, reduction: int) -> int:
    """Side of the map of keys."""
    side = x[ROWS].size
    if not side.is_constant:
        raise UserError("attention needs a map of one size; it cannot be searched over resolutions")
    if side.value < reduction:
        raise UserError(f"the map of keys vanishes: side {side.value}, reduction {reduction}")
    return side.value // reduction
