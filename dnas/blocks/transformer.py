"""Blocks of vision transformers (Dosovitskiy et al. 2021): patches, tokens, pre-norm blocks, heads on tokens."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from dnas.blocks.basic import ACTIVATIONS
from dnas.blocks.forms import MAP, SEQUENCE
from dnas.blocks.kind import Fields, block
from dnas.blocks.shortcuts import SHORTCUTS, augmented
from dnas.errors import UserError
from dnas.ops import (
    Activation,
    Attend,
    AttentionScores,
    ClassToken,
    Conv,
    FirstToken,
    LayerNorm,
    Linear,
    Positions,
    RelativeScores,
    RelativeValues,
    Residual,
    Select,
    Softmax,
    SpaceToDepth,
    Tensor,
    TokenMean,
    WeightedSum,
    WindowBias,
    WindowMerge,
    WindowPartition,
)  # fmt: skip
from dnas.ops.norm import EPSILON as DEFAULT_EPSILON
from dnas.ops.tensor import ROWS, TOKENS
from dnas.space.entries import whole
from dnas.space.fields import Formula, flag, integer, name, ratio
from dnas.space.quantity import Quantity

if TYPE_CHECKING:
    from dnas.graph import Builder


@block(
    "patch_embed",
    MAP,
    out=integer("width"),
    kernel=integer("side of a patch", searchable=False),
    stride=integer("pixels from one patch to the next", Formula("kernel"), searchable=False),
    padding=integer("zeros added on each side", 0, least=0, searchable=False),
    norm=flag("whether a layer norm follows", False, searchable=False),
)
def patch_embed(net: Builder, x: Tensor, f: Fields) -> Tensor:
    """A convolution with a bias that makes a pixel of each patch."""
    y = net.add("conv", Conv(f.out, f.kernel, f.fixed("stride"), f.padding, bias=True), x)
    return net.masked(net.add("norm", LayerNorm(), y) if f.fixed("norm") else y)


@block(
    "tokens",
    MAP,
    SEQUENCE,
    count=integer("learned tokens before those of the map", 1, searchable=False),
    positions=flag("whether a learned vector is added at each position", True, searchable=False),
)
def tokens(net: Builder, x: Tensor, f: Fields) -> Tensor:
    """The pixels of a map as tokens, learned ones (a class token) before them, and learned positions."""
    y = net.add("class_token", ClassToken(f.fixed("count")), x)
    return net.masked(net.add("positions", Positions(), y) if f.fixed("positions") else y)


EPSILON = ratio("added to variances by the layer norms", DEFAULT_EPSILON, searchable=False, lasts=False)


@block(
    "transformer",
    SEQUENCE,
    heads=integer("attention heads"),
    head_width=integer("channels of a head", 64, searchable=False),
    expand=ratio("hidden width over width; `hidden` wins where both stand", 4, written="never"),
    hidden=integer("hidden width of the MLP", Formula("int(in * expand)"), written="always"),
    act=name("activation", ACTIVATIONS, "gelu"),
    bias=flag("whether queries, keys and values have a bias", True, searchable=False),
    epsilon=EPSILON,
    relative=integer(
        "distance up to which relative positions are told apart; 0 has none", 0, least=0, searchable=False
    ),
    **SHORTCUTS,
)
def transformer(net: Builder, x: Tensor, f: Fields) -> Tensor:
    """Self-attention, then an MLP, each after a layer norm and added to its input.

    `relative` adds the vectors of distances of AutoFormer (Chen et al. 2021, section 3.1) to keys and values.
    """
    y, kept = net.add("attention_norm", LayerNorm(f.fixed("epsilon")), x), net.kept_tokens(x)
    x, rows = net.add("kept_tokens", Select(kept, TOKENS), x), net.add("kept_rows", Select(kept, TOKENS), y)
    q, k, v = queries_keys_values(net, "", rows, y, f.heads * f.head_width, f.fixed("bias"))
    branch = net.add("attention_project", Linear(x.channels), _attended(net, q, k, v, f))
    x = augmented(net, "attention_", net.add("attention_add", Residual(), x, branch), rows, f)
    y = net.add("mlp_norm", LayerNorm(f.fixed("epsilon")), x)
    branch = mlp(net, "", y, f.hidden, f.act)
    return augmented(net, "mlp_", net.add("mlp_add", Residual(), x, branch), y, f)


def queries_keys_values(
    net: Builder, prefix: str, rows: Tensor, x: Tensor, width: Quantity, bias: bool
) -> list[Tensor]:
    """Of one width: queries from `rows`, keys and values from x."""
    parts = (("query", rows), ("key", x), ("value", x))
    return [net.add(f"{prefix}{part}", Linear(width, bias), source) for part, source in parts]


def mlp(net: Builder, prefix: str, x: Tensor, hidden: Quantity, act: Quantity) -> Tensor:
    """Two linear layers with an activation between them, back to the width of x."""
    y = net.add(f"{prefix}expand_act", Activation(act), net.add(f"{prefix}expand", Linear(hidden), x))
    return net.add(f"{prefix}project", Linear(x.channels), y)


def attend(net: Builder, prefix: str, q: Tensor, k: Tensor, v: Tensor, heads: Quantity) -> Tensor:
    """Plain attention on tokens."""
    scores = net.add(f"{prefix}scores", AttentionScores(heads), q, k)
    return net.add(f"{prefix}attend", Attend(), net.add(f"{prefix}softmax", Softmax(), scores), v)


def _attended(net: Builder, q: Tensor, k: Tensor, v: Tensor, f: Fields) -> Tensor:
    reach = f.fixed("relative")
    if not reach:
        return attend(net, "", q, k, v, f.heads)
    scores = net.add("scores", AttentionScores(f.heads), q, k)
    tokens = k[TOKENS].size
    distances = int((whole(tokens) - 1) ** 0.5), f.fixed("head_width"), reach
    added = net.add("relative_scores", RelativeScores(f.heads, *distances, keys=tokens), q)
    scores = net.add("softmax", Softmax(), net.add("with_relative_scores", WeightedSum((1, 1)), scores, added))
    added = net.add("relative_values", RelativeValues(v.channels, *distances), scores)
    return net.add("with_relative_values", WeightedSum((1, 1)), net.add("attend", Attend(), scores, v), added)


@block(
    "window_transformer",
    MAP,
    heads=integer("attention heads"),
    head_width=integer("channels of a head", 32, searchable=False),
    window=integer("side of the windows; that of the map where it is smaller", 7, tiles=True),
    shifted=flag("whether windows lie half a window further", False, searchable=False),
    expand=ratio("hidden width over width; `hidden` wins where both stand", 4, written="never"),
    hidden=integer("hidden width of the MLP", Formula("int(in * expand)"), written="always"),
    act=name("activation", ACTIVATIONS, "gelu"),
    bias=flag("whether queries, keys and values have a bias", True, searchable=False),
    epsilon=EPSILON,
    **SHORTCUTS,
)
def window_transformer(net: Builder, x: Tensor, f: Fields) -> Tensor:
    """Self-attention within windows of a map, then an MLP, each after a layer norm and added to its input (Swin, Liu et
    al. 2021). Windows of all sides that are a choice share their weights, but for the bias of distances."""
    if not x[ROWS].size.is_constant:
        raise UserError("windows need a map of one size; they cannot be searched over resolutions")
    side, y = x[ROWS].size.value, net.add("attention_norm", LayerNorm(f.fixed("epsilon")), x)
    sides = sorted(f.window.values())
    options = ((f.window.equals(w), functools.partial(_in_windows, net, y, f, side, w)) for w in sides)
    x = augmented(net, "attention_", net.add("attention_add", Residual(), x, net.mixture(*options)), y, f)
    y = net.add("mlp_norm", LayerNorm(f.fixed("epsilon")), x)
    return augmented(net, "mlp_", net.add("mlp_add", Residual(), x, mlp(net, "", y, f.hidden, f.act)), y, f)


def _in_windows(net: Builder, x: Tensor, f: Fields, side: int, window: int) -> Tensor:
    shift = window // 2 if f.fixed("shifted") and side > window else 0
    y = net.add("partition", WindowPartition(window, shift), x)
    q, k, v = queries_keys_values(net, "", y, y, f.heads * f.head_width, f.fixed("bias"))
    scores = net.add("scores", AttentionScores(f.heads), q, k)
    scores = net.add("softmax", Softmax(), net.add(f"bias_{window}", WindowBias(window, side, shift), scores))
    y = net.add("attention_project", Linear(x.channels), net.add("attend", Attend(), scores, v))
    return net.add("merge", WindowMerge(side, shift), y)


@block("patch_merge", MAP, out=integer("output channels"))
def patch_merge(net: Builder, x: Tensor, f: Fields) -> Tensor:
    """Half the side: layer norm and linear layer on each 2 x 2 pixels together (Swin, Liu et al. 2021, section 3.1)."""
    y = net.add("norm", LayerNorm(), net.add("neighbours", SpaceToDepth(), x))
    return net.masked(net.add("reduce", Linear(f.out, bias=False), y))


@block(
    "token_head",
    SEQUENCE,
    out=integer("classes"),
    pool=name("what the classifier reads", ("token", "mean"), "token", searchable=False),
    distilled=flag(
        "a second classifier, on the second token, for distillation; the scores are the mean of both",
        False,
        searchable=False,
    ),
    epsilon=EPSILON,
)
def token_head(net: Builder, x: Tensor, f: Fields) -> Tensor:
    """Layer norm, then a linear classifier on the class token, or on the mean of all tokens after it; `distilled` has
    two (DeiT, Touvron et al. 2021)."""
    by_token, distilled = f.fixed("pool") == "token", f.fixed("distilled")
    if distilled and not (by_token and x[TOKENS].size.min() > 1):
        raise UserError("two classifiers read the first two tokens: 'tokens: {count: 2}', and no mean")
    y = net.add("norm", LayerNorm(f.fixed("epsilon")), x)
    scores = net.add("classifier", Linear(f.out), net.add("pool", FirstToken() if by_token else TokenMean(1), y))
    if distilled:
        second = net.add("distilled_classifier", Linear(f.out), net.add("distilled_pool", FirstToken(1), y))
        scores = net.add("mean", WeightedSum((1 / 2, 1 / 2)), scores, second)
    return net.masked(scores)
