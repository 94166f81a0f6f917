"""Blocks of EfficientFormer (Li et al. 2022) and EfficientFormerV2 (Li et al. 2023), as their releases build them.

Stems and the plain transitions between stages are `conv` blocks with a bias. Tokens are the pixels of a map: a layer
norm and a linear layer on a map act on the channels of each pixel, so nothing needs to be flattened.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dnas.blocks.basic import ACTIVATIONS, SWITCHABLE
from dnas.blocks.forms import MAP
from dnas.blocks.kind import Fields, block
from dnas.blocks.shortcuts import SHORTCUTS, augmented
from dnas.blocks.transformer import mlp
from dnas.errors import UserError
from dnas.ops import (
    Activation,
    Attend,
    AttentionScores,
    AveragePool,
    BatchNorm,
    Conv,
    Depthwise,
    DistanceBias,
    GlobalPool,
    LayerNorm,
    LayerScale,
    Linear,
    MixHeads,
    Residual,
    Softmax,
    Tensor,
    Upsample,
    WeightedSum,
)  # fmt: skip
from dnas.ops.tensor import ROWS
from dnas.space.fields import Field, Formula, flag, integer, name, odd, ratio
from dnas.space.quantity import Quantity

if TYPE_CHECKING:
    from dnas.graph import Builder

LAYER_SCALE = 1e-5
THREE = Quantity.constant(3)


def _hidden() -> dict[str, Field]:
    return {
        "expand": ratio("hidden width over width; `hidden` wins where both stand", 4, written="never"),
        "hidden": integer("hidden width of the MLP", Formula("int(in * expand)"), written="always"),
        "act": name("activation", ACTIVATIONS, "gelu"),
        "switchable": SWITCHABLE,
        "layer_scale": ratio("start of the learned factors of each branch", LAYER_SCALE, searchable=False, lasts=False),
        **SHORTCUTS,
    }


def _heads(key_width: int, **rest: Any) -> dict[str, Field]:
    return {
        "heads": integer("attention heads", 8, **rest),
        "key_width": integer("queries and keys of one head", key_width, searchable=False, **rest),
        "value_width": integer("values of one head", Formula("4 * key_width"), searchable=False, **rest),
    }


@block("mb4d", MAP, pool=odd("side of the pooling window", 3), **_hidden())
def mb4d(net: Builder, x: Tensor, f: Fields) -> Tensor:
    """Pooling as token mixer, then an MLP of 1x1 convolutions with batch norm, each added to its input."""
    mixed = net.add("mixer", WeightedSum((1, -1)), net.add("pool", AveragePool(f.pool), x), x)
    x = _scaled_residual(net, f, "mixer_scale", x, mixed)
    y = net.add("expand_act", Activation(f.act), _conv_norm(net, f, "expand", x, f.hidden))
    return _scaled_residual(net, f, "mlp_scale", x, _conv_norm(net, f, "project", y, x.channels))


@block("mb3d", MAP, **_hidden(), **_heads(32))
def mb3d(net: Builder, x: Tensor, f: Fields) -> Tensor:
    """Self-attention with a learned bias for each distance, then an MLP; each with a layer norm in front."""
    y = net.add("attention_norm", LayerNorm(), x)
    widths = {"query": f.key_width, "key": f.key_width, "value": f.value_width}
    q, k, v = (net.add(part, Linear(f.heads * width), y) for part, width in widths.items())
    scores = net.add("softmax", Softmax(), _scores(net, q, k, f.heads))
    attended = net.add("attend", Attend(q[ROWS].size, k[ROWS].size), scores, v)
    branch = net.add("attention_project", Linear(x.channels), attended)
    x = _scaled_residual(net, f, "attention_scale", x, branch, y)
    y = net.add("mlp_norm", LayerNorm(), x)
    return _scaled_residual(net, f, "mlp_scale", x, mlp(net, "", y, f.hidden, f.act), y)


@block(
    "conv_ffn",
    MAP,
    kernel=odd("side of the depthwise kernel", 3),
    **_hidden(),
    attention=flag("attention in front", False),
    attention_stride=integer("attention on every n-th pixel", 1, searchable=False, part_of="attention"),
    **_heads(32, part_of="attention"),
)
def conv_ffn(net: Builder, x: Tensor, f: Fields) -> Tensor:
    """1x1, depthwise and 1x1 convolution added to their input (the unified FFN of V2), after attention if asked for."""
    on = Quantity.combine(int, f.attention)

    def attended() -> Tensor:
        return _scaled_residual(net, f, "attention_scale", x, _attention(net, x, f))

    x = net.mixture((on, attended), (1 - on, lambda x=x: x))
    y = net.add("expand_act", Activation(f.act), _conv_norm(net, f, "expand", x, f.hidden))
    y = _norm(net, f, "depthwise_norm", net.add("depthwise", Depthwise(f.kernel, bias=True), y))
    y = _conv_norm(net, f, "project", net.add("depthwise_act", Activation(f.act), y), x.channels)
    return _scaled_residual(net, f, "mlp_scale", x, y)


def _attention(net: Builder, x: Tensor, f: Fields) -> Tensor:
    """Attention with locality (a depthwise convolution of the values) and talking heads; with a stride, on every n-th
    pixel and enlarged again."""
    stride, y = f.fixed("attention_stride"), x
    if stride > 1:
        found = next((side for side in x[ROWS].size.values() if side % stride), None)
        if found is not None:
            raise UserError(f"attention of stride {stride} needs a side that is a multiple of {stride}, not {found}")
        y = _norm(net, f, "stride_norm", net.add("stride", Depthwise(THREE, stride, bias=True), y))
    q = _conv_norm(net, f, "query", y, f.heads * f.key_width)
    k = _conv_norm(net, f, "key", y, f.heads * f.key_width)
    v = _conv_norm(net, f, "value", y, f.heads * f.value_width)
    local = _norm(net, f, "local_norm", net.add("local", Depthwise(THREE, bias=True), v))
    scores = net.add("before_softmax", MixHeads(), _scores(net, q, k, f.heads))
    scores = net.add("after_softmax", MixHeads(), net.add("softmax", Softmax(), scores))
    attended = net.add("attend", Attend(q[ROWS].size, k[ROWS].size), scores, v)
    y = net.add("with_local", WeightedSum((1, 1)), attended, local)
    if stride > 1:
        y = net.add("upsample", Upsample(stride), y)
    return _conv_norm(net, f, "attention_project", net.add("attention_act", Activation(f.act), y), x.channels)


@block(
    "attention_down",
    MAP,
    out=integer("output channels"),
    act=name("activation", ACTIVATIONS, "gelu"),
    switchable=SWITCHABLE,
    **_heads(16),
)
def attention_down(net: Builder, x: Tensor, f: Fields) -> Tensor:
    """Half the side by two paths that are added: a 3x3 convolution, and attention whose queries are every other pixel
    (the dual-path attention downsampling of V2)."""
    plain = _norm(net, f, "conv_norm", net.add("conv", Conv(f.out, THREE, 2, bias=True), x))
    subsampled, picked = (
        net.add("subsample", Depthwise(THREE, 2, bias=True), x),
        net.add("pool", AveragePool(Quantity.constant(1), 2), x),
    )
    every_other = net.add("every_other", WeightedSum((1, 1)), subsampled, picked)
    q = _conv_norm(net, f, "query", every_other, f.heads * f.key_width)
    k = _conv_norm(net, f, "key", x, f.heads * f.key_width)
    v = _conv_norm(net, f, "value", x, f.heads * f.value_width)
    local = _norm(net, f, "local_norm", net.add("local", Depthwise(THREE, 2, bias=True), v))
    scores = net.add("softmax", Softmax(), _scores(net, q, k, f.heads, stride=2))
    attended = net.add("attend", Attend(q[ROWS].size, k[ROWS].size), scores, v)
    y = net.add("with_local", WeightedSum((1, 1)), attended, local)
    y = _conv_norm(net, f, "project", net.add("act", Activation(f.act), y), f.out)
    return net.masked(net.add("both", WeightedSum((1, 1)), plain, y))


@block(
    "norm_head",
    MAP,
    out=integer("classes"),
    norm=name("norm before the mean", ("layer", "batch"), "layer", searchable=False),
    switchable=SWITCHABLE,
    distilled=flag("a second classifier for distillation; the scores are the mean of both", True, searchable=False),
)
def norm_head(net: Builder, x: Tensor, f: Fields) -> Tensor:
    """Norm, mean over the map, linear classifier, and a second one for a teacher (DeiT, Touvron et al. 2021)."""
    y = net.add("norm", LayerNorm(), x) if f.fixed("norm") == "layer" else _norm(net, f, "norm", x)
    y = net.add("pool", GlobalPool("mean"), y)
    heads = ("classifier", "distilled_classifier") if f.fixed("distilled") else ("classifier",)
    scores = [net.add(head, Linear(f.out), y) for head in heads]
    return net.masked(net.add("mean", WeightedSum((1 / len(heads),) * len(heads)), *scores))


def _scores(net: Builder, q: Tensor, k: Tensor, heads: Quantity, stride: int = 1) -> Tensor:
    """Attention scores with a learned bias for each distance."""
    scores = net.add("scores", AttentionScores(heads), q, k)
    return net.add("bias", DistanceBias(q[ROWS].size, k[ROWS].size, stride), scores)


def _scaled_residual(net: Builder, f: Fields, name: str, x: Tensor, y: Tensor, normed: Tensor | None = None) -> Tensor:
    """x + gamma * y; augmented shortcuts read `normed`, if there is any, else x."""
    y = net.add(f"{name}_add", Residual(), x, net.add(name, LayerScale(f.fixed("layer_scale")), y))
    return augmented(net, f"{name}_", y, normed or x, f)


def _conv_norm(net: Builder, f: Fields, part: str, x: Tensor, out: Quantity) -> Tensor:
    """1x1 convolution with a bias, and batch norm."""
    return _norm(net, f, f"{part}_norm", net.add(part, Conv(out, bias=True), x))


def _norm(net: Builder, f: Fields, name: str, x: Tensor) -> Tensor:
    return net.add(name, BatchNorm(switchable=f.fixed("switchable")), x)
