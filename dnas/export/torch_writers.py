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
    attend_numbers,
    distance_numbers,
    distances,
    distances_text,
    heads,
    nothing,
    out,
    own,
    pairs,
    relative_values_numbers,
    sizes,
    taken_numbers,
    window_numbers,
)
from dnas.export.torch_texts import (
    ATTENTION,
    CHANNEL_NORM,
    CIRCULANT,
    CLASS_TOKEN,
    DISTANCE_BIAS,
    LEARNED_SCORES,
    MERGE,
    POSITIONS,
    RELATIVE,
    SCALE,
    SHUFFLE,
    UNEVEN,
    WINDOW_BIAS,
    WINDOWS,
    WORDS,
)
from dnas.export.trace import Op, Weights, conv_weight, convolution, entries_taken, uneven_heads
from dnas.nn.forward import NORM_MOMENTUM
from dnas.ops.norm import EPSILON

ACTIVATIONS = {
    "relu": "F.relu", "relu6": "F.relu6", "hswish": "F.hardswish", "swish": "F.silu", "gelu": "F.gelu",
    "hsigmoid": "F.hardsigmoid", "sigmoid": "torch.sigmoid",
}  # fmt: skip

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
    return lambda call: f"{name}({distances_text(call)})"


def _select(call: Call) -> str:
    """A map has its channels first."""
    x, (axis, _) = call.op.inputs[0], entries_taken(call.op)
    return f"{call.inputs[0]}[{':, ' * (axis if x.side is None else 1)}{call.text['entries']}]"


def _circulant(call: Call) -> str:
    bias = "" if call.numbers["bias"] else ", bias=False"
    return f"Circulant({call.text['out']}, {call.text['blocks']}{bias})"


def _on_last(call: Call) -> str:
    """A module that takes channels last, as tokens have them."""
    if call.op.output.side is None:
        return _held(call)
    return f"self.{call.name}({call.inputs[0]}.movedim(1, -1)).movedim(-1, 1)"


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
    "select": Writer(taken_numbers, _select, ends=True),
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
    "attend": Writer(
        attend_numbers, attend, ends=True, helper=lambda op: UNEVEN if uneven_heads(op) else ""
    ),
    "class_token": Writer(
        _token_numbers, _held, _class_token, _leaves(weight="token"), CLASS_TOKEN, ends=True
    ),
    "positions": Writer(nothing, _held, _positions, _positions_leaves, POSITIONS),
    "first_token": Writer(own("place"), lambda c: f"{c.inputs[0]}[..., {c.text['place']}, :]"),
    "token_mean": Writer(own("skip"), lambda c: f"{c.inputs[0]}[..., {c.text['skip']}:, :].mean(-2)"),
    "relative_scores": Writer(
        distance_numbers, _held, _relative("RelativeScores"), _DISTANCES, RELATIVE
    ),
    "relative_values": Writer(
        relative_values_numbers, _held, _relative("RelativeValues"), _DISTANCES, RELATIVE, ends=True
    ),
    "window_partition": Writer(own("side", "shift"), moved("windows"), helper=WINDOWS, ends=True),
    "window_merge": Writer(own("side", "shift"), moved("merged"), helper=WINDOWS, ends=True),
    "window_bias": Writer(window_numbers, _held, _window_bias, _leaves(weight="table"), WINDOW_BIAS),
    "space_to_depth": Writer(nothing, lambda c: f"neighbours({c.inputs[0]})", helper=MERGE),
    "word_embed": Writer(
        lambda op: _conv_numbers(op) | own("patch")(op),
        lambda c: f"words({c.inputs[0]}, {c.text['patch']}, self.{c.name})", _conv, _conv_leaves, WORDS,
    ),
    "join_tokens": Writer(nothing, lambda c: f"{c.inputs[0]}.flatten(2)"),
    "leading_zeros": Writer(own("count"), lambda c: f"F.pad({c.inputs[0]}, (0, 0, {c.text['count']}, 0))"),
    "learned_scores": Writer(
        pairs, _held, lambda c: f"LearnedScores({', '.join(c.text.values())})",
        lambda op, weights: {"weight": op.leaf("table", weights)[None]}, LEARNED_SCORES,
    ),
    "circulant": Writer(
        lambda op: out(op) | own("blocks", "bias")(op), _on_last, _circulant,
        lambda op, weights: {"coefficients": op.leaf("coefficients", weights)} | _bias(op, weights), CIRCULANT,
    ),
}  # fmt: skip
