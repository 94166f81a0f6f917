"""Operators in flax (linen): a writer for each, by its kind, and the helpers that their texts call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from dnas.export.flax_texts import (
    ATTENTION,
    AVERAGE_POOL,
    CIRCULANT,
    CLASS_TOKEN,
    DISTANCE_BIAS,
    JOIN,
    LEADING,
    LEARNED_SCORES,
    MERGE,
    MIX_HEADS,
    POSITIONS,
    RELATIVE,
    SCALE,
    SHUFFLE,
    UNEVEN,
    UPSAMPLE,
    WINDOW_BIAS,
    WINDOWS,
    WORDS,
)
from dnas.export.python_code import attend, attention_scores, conv_parts, moved, padding_text, weighted_sum
from dnas.export.structure import (
    Call,
    Writer,
    attend_numbers,
    distance_numbers,
    distances_text,
    nothing,
    out,
    own,
    pairs,
    relative_values_numbers,
    taken_numbers,
)
from dnas.export.trace import Op, Weights, conv_weight, convolution, entries_taken, uneven_heads

Leaves = dict[tuple[str, str], np.ndarray]
"""By group and name."""


def _conv_numbers(op: Op) -> dict[str, Any]:
    return convolution(op) | out(op)


def _conv(call: Call) -> str:
    return f"{_conv_module(call)}({call.inputs[0]})"


def _conv_module(call: Call) -> str:
    parts = conv_parts(call, ["out"]) + (["bias=True"] if call.numbers["bias"] else [])
    return f'conv({", ".join(parts)}, name="{call.name}")'


def _conv_leaves(op: Op, weights: Weights) -> Leaves:
    return {("params", "kernel"): conv_weight(op, weights)} | _bias(op, weights)


def _bias(op: Op, weights: Weights) -> Leaves:
    return {("params", "bias"): op.leaf("bias", weights)} if "bias" in op.shapes else {}


def _linear_numbers(op: Op) -> dict[str, Any]:
    return own("bias")(op) | out(op)


def _linear(call: Call) -> str:
    bias = "" if call.numbers["bias"] else ", use_bias=False"
    return f'nn.Dense({call.text["out"]}{bias}, name="{call.name}")({call.inputs[0]})'


def _linear_leaves(op: Op, weights: Weights) -> Leaves:
    return {("params", "kernel"): op.leaf("weight", weights)} | _bias(op, weights)


def _leaves(statistics: tuple[str, ...] = (), **names: str) -> Callable[[Op, Weights], Leaves]:
    """Leaves by their names here; `statistics` have one name."""

    def found(op: Op, weights: Weights) -> Leaves:
        return {("params", name): op.leaf(ours, weights) for name, ours in names.items()} | {
            ("batch_stats", name): op.leaf(name, weights) for name in statistics
        }

    return found


def _module(text: str) -> Callable[[Call], str]:
    """A module without numbers: `Scale(name="{name}")({x})`."""
    return lambda call: text.format(name=call.name, x=call.inputs[0])


def _average_pool(call: Call) -> str:
    return f"average_pool({call.inputs[0]}, {call.text['kernel']}, {call.text['stride']}, {padding_text(call)})"


def _distance_bias(call: Call) -> str:
    numbers = ", ".join(call.text[n] for n in ("queries", "keys", "stride"))
    return f'DistanceBias({numbers}, name="{call.name}")({call.inputs[0]})'


def _layer_norm(call: Call) -> str:
    epsilon = call.text["epsilon"]
    return f'nn.LayerNorm(epsilon={epsilon}, use_fast_variance=False, name="{call.name}")({call.inputs[0]})'


def _class_token(call: Call) -> str:
    count = "" if call.numbers["count"] == 1 else f"{call.text['count']}, "
    return f'ClassToken({count}name="{call.name}")({call.inputs[0]})'


def _window_bias(call: Call) -> str:
    numbers = ", ".join(call.text[n] for n in ("window", "side", "shift"))
    return f'WindowBias({numbers}, name="{call.name}")({call.inputs[0]})'


def _positions(call: Call) -> str:
    inner = "inner=True, " if call.numbers["inner"] else ""
    return f'Positions({inner}name="{call.name}")({call.inputs[0]})'


def _relative(kind: str) -> Callable[[Call], str]:
    def made(call: Call) -> str:
        return f'{kind}({distances_text(call)}, name="{call.name}")({call.inputs[0]})'

    return made


def _select(call: Call) -> str:
    return f"{call.inputs[0]}[{':, ' * entries_taken(call.op)[0]}jnp.array({call.text['entries']}, int)]"


def _circulant(call: Call) -> str:
    bias = "" if call.numbers["bias"] else "bias=False, "
    return f'Circulant({call.text["blocks"]}, {bias}name="{call.name}")({call.inputs[0]})'


_CONV = Writer(_conv_numbers, _conv, leaves=_conv_leaves, ends=True)
WRITERS: dict[str, Writer] = {
    "conv": _CONV,
    "depthwise": _CONV,
    "pointwise": _CONV,
    "linear": Writer(_linear_numbers, _linear, leaves=_linear_leaves),
    "batch_norm": Writer(
        nothing, _module('norm(train, "{name}")({x})'), leaves=_leaves(("mean", "var"), scale="scale", bias="shift")
    ),
    "layer_norm": Writer(own("epsilon"), _layer_norm, leaves=_leaves(scale="scale", bias="shift")),
    "layer_scale": Writer(nothing, _module('Scale(name="{name}")({x})'), leaves=_leaves(scale="scale"), helper=SCALE),
    "activation": Writer(own("act"), lambda c: f"{c.text['act']}({c.inputs[0]})", ends=True),
    "global_pool": Writer(
        own("keep"), lambda c: f"{c.inputs[0]}.mean((1, 2){', keepdims=True' if c.numbers['keep'] else ''})"
    ),
    "average_pool": Writer(own("kernel", "stride", "padding"), _average_pool, helper=AVERAGE_POOL),
    "upsample": Writer(own("factor"), lambda c: f"upsample({c.inputs[0]}, {c.text['factor']})", helper=UPSAMPLE),
    "channel_shuffle": Writer(own("groups"), lambda c: f"shuffle({c.inputs[0]}, {c.text['groups']})", helper=SHUFFLE),
    "select": Writer(taken_numbers, _select, ends=True),
    "residual": Writer(nothing, lambda c: f"{c.inputs[0]} + {c.inputs[1]}", ends=True),
    "weighted_sum": Writer(own("factors"), weighted_sum, ends=True),
    "excite": Writer(nothing, lambda c: f"{c.inputs[0]} * {c.inputs[1]}"),
    "attention_scores": Writer(
        own("heads"), attention_scores, helper=ATTENTION
    ),
    "distance_bias": Writer(
        own("queries", "keys", "stride"), _distance_bias, helper=DISTANCE_BIAS, ends=True,
        leaves=_leaves(table="table"),
    ),
    "mix_heads": Writer(
        nothing, _module('MixHeads(name="{name}")({x})'), leaves=_leaves(kernel="weight", bias="bias"), helper=MIX_HEADS
    ),
    "softmax": Writer(nothing, lambda c: f"nn.softmax({c.inputs[0]})"),
    "attend": Writer(
        attend_numbers, attend, ends=True, helper=lambda op: UNEVEN if uneven_heads(op) else ""
    ),
    "class_token": Writer(
        own("count"), _class_token, leaves=_leaves(token="token"), helper=CLASS_TOKEN, ends=True
    ),
    "positions": Writer(
        own("inner"), _positions, leaves=_leaves(table="table"), helper=POSITIONS
    ),
    "first_token": Writer(own("place"), lambda c: f"{c.inputs[0]}[..., {c.text['place']}, :]"),
    "token_mean": Writer(own("skip"), lambda c: f"{c.inputs[0]}[..., {c.text['skip']}:, :].mean(-2)"),
    "relative_scores": Writer(
        distance_numbers, _relative("RelativeScores"), leaves=_leaves(rows="rows", columns="columns"), helper=RELATIVE
    ),
    "relative_values": Writer(
        relative_values_numbers, _relative("RelativeValues"), leaves=_leaves(rows="rows", columns="columns"),
        helper=RELATIVE, ends=True,
    ),
    "window_partition": Writer(own("side", "shift"), moved("windows"), helper=WINDOWS, ends=True),
    "window_merge": Writer(own("side", "shift"), moved("merged"), helper=WINDOWS, ends=True),
    "window_bias": Writer(
        own("window", "side", "shift"), _window_bias, leaves=_leaves(table="table"), helper=WINDOW_BIAS
    ),
    "space_to_depth": Writer(nothing, lambda c: f"neighbours({c.inputs[0]})", helper=MERGE),
    "word_embed": Writer(
        lambda op: _conv_numbers(op) | own("patch")(op), leaves=_conv_leaves, helper=WORDS, ends=True,
        expression=lambda c: f"words({c.inputs[0]}, {c.text['patch']}, {_conv_module(c)})",
    ),
    "join_tokens": Writer(nothing, lambda c: f"joined({c.inputs[0]})", helper=JOIN),
    "leading_zeros": Writer(
        own("count"), lambda c: f"after_zeros({c.inputs[0]}, {c.text['count']})", helper=LEADING
    ),
    "learned_scores": Writer(
        pairs, lambda c: f'LearnedScores({", ".join(c.text.values())}, name="{c.name}")()',
        leaves=_leaves(table="table"), helper=LEARNED_SCORES,
    ),
    "circulant": Writer(
        own("blocks", "bias"), _circulant, helper=CIRCULANT,
        leaves=lambda op, weights: {("params", "coefficients"): op.leaf("coefficients", weights)} | _bias(op, weights),
    ),
}  # fmt: skip
