"""Blocks of EfficientFormer (Li et al. 2022) and EfficientFormerV2 (Li et al. 2023), as their releases build them.

Stems and the plain transitions between stages are `conv` blocks with a bias. Tokens are the pixels of a map: a layer
norm and a linear layer on a map act on the channels of each pixel, so nothing needs to be flattened.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dnas.blocks.basic import ACTIVATIONS, SWITCHABLE
from dnas.blocks.kind import Fields, block
from dnas.errors import UserError
from dnas.space.fields import Field, Formula, flag, integer, name, odd, ratio
from dnas.space.quantity import Quantity

if TYPE_CHECKING:
    from dnas.network import Feature, Network

LAYER_SCALE = 1e-5


def _hidden() -> dict[str, Field]:
    return {
        "expand": ratio("hidden width over width; `hidden` wins where both stand", 4, written="never"),
        "hidden": integer("hidden width of the MLP", Formula("int(in * expand)"), written="always"),
        "act": name("activation", ACTIVATIONS, "gelu"),
        "switchable": SWITCHABLE,
        "layer_scale": ratio("start of the learned factors of each branch", LAYER_SCALE, searchable=False, lasts=False),
    }


def _heads(key_width: int, **rest: Any) -> dict[str, Field]:
    return {
        "heads": integer("attention heads", 8, **rest),
        "key_width": integer("queries and keys of one head", key_width, searchable=False, **rest),
        "value_width": integer("values of one head", Formula("4 * key_width"), searchable=False, **rest),
    }


@block("mb4d", pool=odd("side of the pooling window", 3), **_hidden())
def mb4d(net: Network, x: Feature, f: Fields) -> Feature:
    """Pooling as token mixer, then an MLP of 1x1 convolutions with batch norm, each added to its input."""
    start = f.fixed("layer_scale")
    mixed = net.combine((1, net.average_pool(x, f.pool)), (-1, x))
    x = net.residual(x, net.layer_scale("mixer_scale", mixed, start))
    y = net.activation(_conv_norm(net, f, "expand", x, f.hidden), f.act)
    return net.residual(x, net.layer_scale("mlp_scale", _conv_norm(net, f, "project", y, x.channels), start))


@block("mb3d", **_hidden(), **_heads(32))
def mb3d(net: Network, x: Feature, f: Fields) -> Feature:
    """Self-attention with a learned bias for each distance, then an MLP; each with a layer norm in front."""
    start = f.fixed("layer_scale")
    y = net.layer_norm("attention_norm", x)
    widths = {"query": f.key_width, "key": f.key_width, "value": f.value_width}
    q, k, v = (net.linear(part, y, f.heads * width) for part, width in widths.items())
    scores = net.softmax(net.attention_bias("bias", net.attention_scores("scores", q, k, f.heads)))
    y = net.linear("attention_project", net.attend("attend", scores, v), x.channels)
    x = net.residual(x, net.layer_scale("attention_scale", y, start))
    y = net.activation(net.linear("expand", net.layer_norm("mlp_norm", x), f.hidden), f.act)
    return net.residual(x, net.layer_scale("mlp_scale", net.linear("project", y, x.channels), start))


@block(
    "conv_ffn",
    kernel=odd("side of the depthwise kernel", 3),
    **_hidden(),
    attention=flag("attention in front", False),
    attention_stride=integer("attention on every n-th pixel", 1, searchable=False, part_of="attention"),
    **_heads(32, part_of="attention"),
)
def conv_ffn(net: Network, x: Feature, f: Fields) -> Feature:
    """1x1, depthwise and 1x1 convolution added to their input (the unified FFN of V2), after attention if asked for."""
    start, on = f.fixed("layer_scale"), Quantity.combine(int, f.attention)

    def attended() -> Feature:
        return net.residual(x, net.layer_scale("attention_scale", _attention(net, x, f), start))

    x = net.mixture([(on, attended), (1 - on, lambda x=x: x)])
    y = net.activation(_conv_norm(net, f, "expand", x, f.hidden), f.act)
    y = _norm(net, f, "depthwise_norm", net.depthwise("depthwise", y, f.kernel, bias=True))
    y = _conv_norm(net, f, "project", net.activation(y, f.act), x.channels)
    return net.residual(x, net.layer_scale("mlp_scale", y, start))


def _attention(net: Network, x: Feature, f: Fields) -> Feature:
    """Attention with locality (a depthwise convolution of the values) and talking heads; with a stride, on every n-th
    pixel and enlarged again."""
    stride, y = f.fixed("attention_stride"), x
    if stride > 1:
        if x.side is None or any(side % stride for side in x.side.values()):
            found = "a pooled input" if x.side is None else f"{x.side.values()[0]}"
            raise UserError(f"attention of stride {stride} needs a side that is a multiple of {stride}, not {found}")
        y = _norm(net, f, "stride_norm", net.depthwise("stride", y, 3, stride, bias=True))
    q = _conv_norm(net, f, "query", y, f.heads * f.key_width)
    k = _conv_norm(net, f, "key", y, f.heads * f.key_width)
    v = _conv_norm(net, f, "value", y, f.heads * f.value_width)
    local = _norm(net, f, "local_norm", net.depthwise("local", v, 3, bias=True))
    scores = net.attention_bias("bias", net.attention_scores("scores", q, k, f.heads))
    scores = net.mix_heads("after_softmax", net.softmax(net.mix_heads("before_softmax", scores)))
    y = net.combine((1, net.attend("attend", scores, v)), (1, local))
    if stride > 1:
        y = net.upsample(y, stride)
    return _conv_norm(net, f, "attention_project", net.activation(y, f.act), x.channels)


@block(
    "attention_down",
    out=integer("output channels"),
    act=name("activation", ACTIVATIONS, "gelu"),
    switchable=SWITCHABLE,
    **_heads(16),
)
def attention_down(net: Network, x: Feature, f: Fields) -> Feature:
    """Half the side by two paths that are added: a 3x3 convolution, and attention whose queries are every other pixel
    (the dual-path attention downsampling of V2)."""
    plain = _norm(net, f, "conv_norm", net.conv("conv", x, f.out, 3, 2, bias=True))
    every_other = net.combine((1, net.depthwise("subsample", x, 3, 2, bias=True)), (1, net.average_pool(x, 1, 2)))
    q = _conv_norm(net, f, "query", every_other, f.heads * f.key_width)
    k = _conv_norm(net, f, "key", x, f.heads * f.key_width)
    v = _conv_norm(net, f, "value", x, f.heads * f.value_width)
    local = _norm(net, f, "local_norm", net.depthwise("local", v, 3, 2, bias=True))
    scores = net.attention_bias("bias", net.attention_scores("scores", q, k, f.heads), stride=2)
    y = net.combine((1, net.attend("attend", net.softmax(scores), v)), (1, local))
    return net.masked(net.combine((1, plain), (1, _conv_norm(net, f, "project", net.activation(y, f.act), f.out))))


@block(
    "norm_head",
    out=integer("classes"),
    norm=name("norm before the mean", ("layer", "batch"), "layer", searchable=False),
    switchable=SWITCHABLE,
    distilled=flag("a second classifier for distillation; the scores are the mean of both", True, searchable=False),
)
def norm_head(net: Network, x: Feature, f: Fields) -> Feature:
    """Norm, mean over the map, linear classifier, and a second one for a teacher (DeiT, Touvron et al. 2021)."""
    y = net.layer_norm("norm", x) if f.fixed("norm") == "layer" else _norm(net, f, "norm", x)
    y = net.global_pool(y, kind="mean")
    heads = ("classifier", "distilled_classifier") if f.fixed("distilled") else ("classifier",)
    return net.masked(net.combine(*((1 / len(heads), net.linear(head, y, f.out)) for head in heads)))


def _conv_norm(net: Network, f: Fields, part: str, x: Feature, out: Quantity) -> Feature:
    """1x1 convolution with a bias, and batch norm."""
    return _norm(net, f, f"{part}_norm", net.conv(part, x, out, bias=True))


def _norm(net: Network, f: Fields, name: str, x: Feature) -> Feature:
    return net.batch_norm(name, x, switchable=f.fixed("switchable"))
