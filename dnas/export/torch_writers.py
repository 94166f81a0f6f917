"""Operators in PyTorch: a writer for each, by its kind, and the helpers that their texts call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from dnas.export.python_code import attend, attention_scores, conv_parts, moved, padding_text, weighted_sum
from dnas.export.structure import (
    Call,
    Varying,
    Writer,
    distance_numbers,
    distances,
    heads,
    nothing,
    out,
    own,
    sizes,
    window_numbers,
)
from dnas.export.trace import Op, Weights, conv_weight, convolution
from dnas.nn.forward import NORM_MOMENTUM
from dnas.ops.norm import EPSILON

ACTIVATIONS = {
    "relu": "F.relu", "relu6": "F.relu6", "hswish": "F.hardswish", "swish": "F.silu", "gelu": "F.gelu",
    "hsigmoid": "F.hardsigmoid", "sigmoid": "torch.sigmoid",
}  # fmt: skip
SHUFFLE = '''
def shuffle(x, groups):
    """Channels of the groups interleaved."""
    return x.unflatten(1, (groups, -1)).transpose(1, 2).flatten(1, 2)

'''
CHANNEL_NORM = '''
class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of each pixel."""

    def forward(self, x):
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)

'''
SCALE = '''
class Scale(nn.Module):
    """A factor a channel."""

    def __init__(self, channels):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))

    def forward(self, x):
        return x * self.weight[:, None, None]

'''
DISTANCE_BIAS = '''
class DistanceBias(nn.Module):
    """Adds to the scores [N, heads, queries, keys] a number for each distance (abs(dy), abs(dx)); queries stand at
    every `stride`-th pixel of the keys."""

    def __init__(self, heads, queries, keys, stride):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(heads, keys, keys))
        apart = (stride * torch.arange(queries)[:, None] - torch.arange(keys)).abs()
        self.register_buffer("apart", apart, persistent=False)

    def forward(self, scores):
        bias = self.weight[:, self.apart[:, None, :, None], self.apart[None, :, None, :]]
        return scores + bias.flatten(3).flatten(1, 2)

'''
ATTENTION = '''
def by_head(x, heads, tokens):
    """[..., heads, positions, width] of a map [N, C, H, W], or of tokens [..., positions, C]."""
    x = x if tokens else x.flatten(2).transpose(1, 2)
    return x.unflatten(-1, (heads, -1)).transpose(-3, -2)


def attention_scores(q, k, heads, tokens=False):
    """q k^T / sqrt(width of a head): [N, heads, queries, keys]."""
    q, k = (by_head(x, heads, tokens) for x in (q, k))
    return (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)


def attend(scores, v, side=None):
    """Values weighted by the scores: tokens, or a map of that side."""
    y = (scores @ by_head(v, scores.shape[-3], side is None)).transpose(-3, -2).flatten(-2)
    return y if side is None else y.transpose(1, 2).unflatten(2, (side, side))

'''
CLASS_TOKEN = '''
class ClassToken(nn.Module):
    """A token before those of x; a map [N, C, H, W] gives its pixels, row after row."""

    def __init__(self, channels, count=1):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(count, channels))

    def forward(self, x):
        x = x.flatten(2).transpose(1, 2) if x.dim() == 4 else x
        return torch.cat([self.weight.expand(len(x), -1, -1), x], 1)

'''
POSITIONS = '''
class Positions(nn.Module):
    """Adds a vector at each position."""

    def __init__(self, *sizes):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(sizes))

    def forward(self, x):
        return x + self.weight

'''
RELATIVE = '''
class Distances(nn.Module):
    """Vectors for the distances of pixels, in rows and in columns; entry 0 is for pairs with a token before them."""

    def __init__(self, side, width, reach, before):
        super().__init__()
        self.rows, self.columns = (nn.Parameter(torch.zeros(2 * reach + 2, width)) for _ in range(2))
        place = torch.arange(side * side)
        for name, at in (("row", place // side), ("column", place % side)):
            index = (at[None] - at[:, None]).clamp(-reach, reach) + reach + 1
            self.register_buffer(name, F.pad(index, (before, 0, before, 0)), persistent=False)

    def vectors(self):
        """[queries, keys, width]"""
        return self.rows[self.row] + self.columns[self.column]


class RelativeScores(Distances):
    """What the distances of keys add to the scores of queries [N, tokens, C]."""

    def forward(self, q):
        vectors = self.vectors()
        q = q.unflatten(-1, (-1, vectors.shape[-1]))
        return torch.einsum("nqhd,qkd->nhqk", q * q.shape[-1] ** -0.5, vectors)


class RelativeValues(Distances):
    """Vectors of distances weighted by the scores [N, heads, queries, keys]."""

    def forward(self, scores):
        return torch.einsum("nhqk,qkd->nqhd", scores, self.vectors()).flatten(2)

'''
WINDOWS = '''
def windows(x, side, shift=0):
    """A map [N, C, H, W] as [N, windows, pixels, C], both row after row; zeros fill it up, then it is moved."""
    missing = -x.shape[2] % side
    x = F.pad(x, (0, missing, 0, missing)).roll((-shift, -shift), (2, 3))
    x = x.unflatten(3, (-1, side)).unflatten(2, (-1, side)).permute(0, 2, 4, 3, 5, 1)
    return x.flatten(3, 4).flatten(1, 2)


def merged(x, side, shift=0):
    """The map of that side of which these are the windows."""
    across, window = (round(x.shape[n] ** 0.5) for n in (1, 2))
    x = x.unflatten(2, (window, window)).unflatten(1, (across, across)).permute(0, 5, 1, 3, 2, 4)
    x = x.flatten(4, 5).flatten(2, 3)
    return x.roll((shift, shift), (2, 3))[:, :, :side, :side]

'''
WINDOW_BIAS = '''
class WindowBias(nn.Module):
    """Adds to the scores [N, windows, heads, queries, keys] a number for each distance; of a map that was moved, pixels
    that were no neighbours do not see each other."""

    def __init__(self, heads, window, side, shift=0):
        super().__init__()
        count, place = 2 * window - 1, torch.arange(window * window)
        self.weight = nn.Parameter(torch.zeros(count * count, heads))
        dy, dx = (at[:, None] - at[None] + window - 1 for at in (place // window, place % window))
        self.register_buffer("index", dy * count + dx, persistent=False)
        whole = -(-side // window) * window
        band = torch.bucketize(torch.arange(whole), torch.tensor([whole - window, whole - shift]), right=True)
        part = (3 * band[:, None] + band)[None, None].float()
        part = windows(part, window)[0, :, :, 0]
        apart = (part[:, :, None] != part[:, None]) * -100.0 if shift else torch.zeros(1, 1, 1)
        self.register_buffer("apart", apart[:, None], persistent=False)

    def forward(self, scores):
        return scores + self.weight[self.index].permute(2, 0, 1) + self.apart

'''
MERGE = '''
def neighbours(x):
    """Each 2 x 2 pixels as one of four times the channels, column after column."""
    x = F.pad(x, (0, x.shape[3] % 2, 0, x.shape[2] % 2))
    x = x.unflatten(3, (-1, 2)).unflatten(2, (-1, 2)).permute(0, 5, 3, 1, 2, 4)
    return x.flatten(1, 3)

'''

Leaves = dict[str, np.ndarray]
"""By name in the state dict."""


def _held(call: Call) -> str:
    """A module of the block, called."""
    return f"self.{call.name}({call.inputs[0]})"


def _conv_numbers(op: Op) -> dict[str, Any]:
    return convolution(op) | sizes(op)


def _conv(call: Call) -> str:
    parts = conv_parts(call, ["inputs", "out"]) + ([] if call.numbers["bias"] else ["bias=False"])
    return f"nn.Conv2d({', '.join(parts)})"


def _conv_leaves(op: Op, weights: Weights) -> Leaves:
    return {"weight": conv_weight(op, weights).transpose(3, 2, 0, 1)} | _bias(op, weights)


def _bias(op: Op, weights: Weights) -> Leaves:
    return {"bias": op.leaf("bias", weights)} if "bias" in op.shapes else {}


def _linear_numbers(op: Op) -> dict[str, Any]:
    return own("bias")(op) | sizes(op)


def _linear(call: Call) -> str:
    text, bias = call.text, "" if call.numbers["bias"] else ", bias=False"
    if call.op.output.side is None:
        return f"nn.Linear({text['inputs']}, {text['out']}{bias})"
    return f"nn.Conv2d({text['inputs']}, {text['out']}, 1{bias})"


def _linear_leaves(op: Op, weights: Weights) -> Leaves:
    w = op.leaf("weight", weights).T
    return {"weight": w if op.output.side is None else w[:, :, None, None]} | _bias(op, weights)


def _leaves(**names: str) -> Callable[[Op, Weights], Leaves]:
    """Leaves by their names here."""
    return lambda op, weights: {name: op.leaf(ours, weights) for name, ours in names.items()}


def _batch_norm(call: Call) -> str:
    return f"nn.BatchNorm2d({call.text['out']}, eps={EPSILON}, momentum={1 - NORM_MOMENTUM:.3g})"


def _layer_norm(call: Call) -> str:
    kind = "nn.LayerNorm" if call.op.output.side is None else "ChannelNorm"
    return f"{kind}({call.text['out']}, eps={call.text['epsilon']})"


def _distance_bias(call: Call) -> str:
    return f"DistanceBias({', '.join(call.text[n] for n in ('heads', 'queries', 'keys', 'stride'))})"


def _mix_heads_leaves(op: Op, weights: Weights) -> Leaves:
    return {"weight": op.leaf("weight", weights).T[:, :, None, None], "bias": op.leaf("bias", weights)}


def _activation(call: Call) -> str:
    name = call.numbers["act"]
    return f"{call.text['act'] if isinstance(name, Varying) else ACTIVATIONS[name]}({call.inputs[0]})"


def _average_pool(call: Call) -> str:
    window = f"{call.text['kernel']}, {call.text['stride']}, {padding_text(call)}"
    return f"F.avg_pool2d({call.inputs[0]}, {window}, count_include_pad=False)"


def _norm_numbers(op: Op) -> dict[str, Any]:
    return out(op) | own("epsilon")(op)


def _token_numbers(op: Op) -> dict[str, Any]:
    return out(op) | own("count")(op)


def _class_token(call: Call) -> str:
    more = "" if call.numbers["count"] == 1 else f", {call.text['count']}"
    return f"ClassToken({call.text['out']}{more})"


def _positions(call: Call) -> str:
    x = call.op.inputs[0]
    lengths = call.op.shapes["table"] if x.side is None else (x.channels, x.side, x.side)
    return f"Positions({', '.join(map(str, lengths))})"


def _positions_leaves(op: Op, weights: Weights) -> Leaves:
    table = op.leaf("table", weights)
    return {"weight": table if op.inputs[0].side is None else table.transpose(2, 0, 1)}


def _window_bias(call: Call) -> str:
    return f"WindowBias({', '.join(call.text[n] for n in ('heads', 'window', 'side', 'shift'))})"


def _relative(name: str) -> Callable[[Call], str]:
    return lambda call: f"{name}({', '.join(call.text[n] for n in ('side', 'width', 'reach', 'before'))})"


_DISTANCES = _leaves(rows="rows", columns="columns")
_CONV = Writer(_conv_numbers, _held, _conv, _conv_leaves)
_NORM = _leaves(weight="scale", bias="shift", running_mean="mean", running_var="var")
WRITERS: dict[str, Writer] = {
    "conv": _CONV,
    "depthwise": _CONV,
    "pointwise": _CONV,
    "linear": Writer(_linear_numbers, _held, _linear, _linear_leaves),
    "batch_norm": Writer(out, _held, _batch_norm, _NORM),
    "layer_norm": Writer(_norm_numbers, _held, _layer_norm, _leaves(weight="scale", bias="shift"), CHANNEL_NORM),
    "layer_scale": Writer(out, _held, lambda c: f"Scale({c.text['out']})", _leaves(weight="scale"), SCALE),
    "activation": Writer(own("act"), _activation, ends=True),
    "global_pool": Writer(
        own("keep"), lambda c: f"{c.inputs[0]}.mean((2, 3){', keepdim=True' if c.numbers['keep'] else ''})"
    ),
    "average_pool": Writer(own("kernel", "stride", "padding"), _average_pool),
    "upsample": Writer(
        own("factor"), lambda c: f'F.interpolate({c.inputs[0]}, scale_factor={c.text["factor"]}, mode="bilinear")'
    ),
    "channel_shuffle": Writer(
        own("groups"), lambda c: f"shuffle({c.inputs[0]}, {c.text['groups']})", helper=SHUFFLE
    ),
    "residual": Writer(nothing, lambda c: f"{c.inputs[0]} + {c.inputs[1]}", ends=True),
    "weighted_sum": Writer(own("factors"), weighted_sum, ends=True),
    "excite": Writer(nothing, lambda c: f"{c.inputs[0]} * {c.inputs[1]}"),
    "attention_scores": Writer(
        own("heads"), attention_scores, helper=ATTENTION
    ),
    "distance_bias": Writer(
        distances, _held, _distance_bias, _leaves(weight="table"), DISTANCE_BIAS, ends=True
    ),
    "mix_heads": Writer(
        heads, _held, lambda c: f"nn.Conv2d({c.text['inputs']}, {c.text['out']}, 1)", _mix_heads_leaves
    ),
    "softmax": Writer(nothing, lambda c: f"{c.inputs[0]}.softmax(-1)"),
    "attend": Writer(own("queries"), attend, ends=True),
    "class_token": Writer(
        _token_numbers, _held, _class_token, _leaves(weight="token"), CLASS_TOKEN, ends=True
    ),
    "positions": Writer(nothing, _held, _positions, _positions_leaves, POSITIONS),
    "first_token": Writer(nothing, lambda c: f"{c.inputs[0]}[..., 0, :]"),
    "token_mean": Writer(own("skip"), lambda c: f"{c.inputs[0]}[..., {c.text['skip']}:, :].mean(-2)"),
    "relative_scores": Writer(
        distance_numbers, _held, _relative("RelativeScores"), _DISTANCES, RELATIVE
    ),
    "relative_values": Writer(
        distance_numbers, _held, _relative("RelativeValues"), _DISTANCES, RELATIVE, ends=True
    ),
    "window_partition": Writer(own("side", "shift"), moved("windows"), helper=WINDOWS, ends=True),
    "window_merge": Writer(own("side", "shift"), moved("merged"), helper=WINDOWS, ends=True),
    "window_bias": Writer(window_numbers, _held, _window_bias, _leaves(weight="table"), WINDOW_BIAS),
    "space_to_depth": Writer(nothing, lambda c: f"neighbours({c.inputs[0]})", helper=MERGE),
}  # fmt: skip
