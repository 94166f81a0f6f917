"""Flax (linen): one readable file of plain modules, and the weights under its variable names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from dnas.export.preprocess_code import PLAIN, Head
from dnas.export.structure import (
    Call,
    Parameter,
    Shape,
    Writer,
    call,
    local,
    nothing,
    out,
    own,
    statements,
    structure,
    weighted_sum,
    writer_of,
)  # fmt: skip
from dnas.export.trace import (
    Graph,
    Op,
    Weights,
    conv_weight,
    convolution,
    distance_table,
    head_weights,
    linear_weight,
)  # fmt: skip
from dnas.nn.forward import NORM_MOMENTUM
from dnas.ops.norm import EPSILON

ACTIVATIONS = {
    "relu": "nn.relu", "relu6": "nn.relu6", "hswish": "nn.hard_swish", "swish": "nn.silu", "gelu": "gelu",
    "hsigmoid": "nn.hard_sigmoid", "sigmoid": "nn.sigmoid",
}  # fmt: skip
CONV = '''
def conv(out, kernel, stride=1, padding=0, groups=1, bias=False, name=None):
    """Convolution with equal padding on all sides."""
    pads = [(padding, padding)] * 2
    sizes = (kernel, kernel), (stride, stride)
    return nn.Conv(out, *sizes, pads, feature_group_count=groups, use_bias=bias, name=name)


def norm(train, name):
    return nn.BatchNorm(use_running_average=not train, momentum={momentum}, epsilon={epsilon}, name=name)

'''
GELU = """
def gelu(x):
    return nn.gelu(x, approximate=False)

"""
SHUFFLE = '''
def shuffle(x, groups):
    """Channels of the groups interleaved."""
    *lead, c = x.shape
    return x.reshape(*lead, groups, c // groups).swapaxes(-1, -2).reshape(*lead, c)

'''
SCALE = '''
class Scale(nn.Module):
    """A factor a channel."""

    @nn.compact
    def __call__(self, x):
        return x * self.param("scale", nn.initializers.ones, x.shape[-1:])

'''
AVERAGE_POOL = '''
def average_pool(x, kernel, stride, padding):
    """Means over windows; cells outside the map do not count."""
    pads = [(padding, padding)] * 2
    return nn.avg_pool(x, (kernel, kernel), (stride, stride), pads, count_include_pad=False)

'''
UPSAMPLE = """
def upsample(x, factor):
    n, h, w, c = x.shape
    return jax.image.resize(x, (n, h * factor, w * factor, c), "bilinear")

"""
DISTANCE_BIAS = '''
class DistanceBias(nn.Module):
    """Adds to the scores [N, heads, queries, keys] a number for each distance (abs(dy), abs(dx)); queries stand at
    every `stride`-th pixel of the keys."""

    queries: int
    keys: int
    stride: int

    @nn.compact
    def __call__(self, scores):
        heads = scores.shape[1]
        table = self.param("table", nn.initializers.zeros, (heads, self.keys, self.keys))
        apart = abs(self.stride * jnp.arange(self.queries)[:, None] - jnp.arange(self.keys))
        bias = jnp.asarray(table)[:, apart[:, None, :, None], apart[None, :, None, :]]
        return scores + bias.reshape(heads, *scores.shape[2:])

'''
MIX_HEADS = '''
class MixHeads(nn.Module):
    """A linear layer over the heads of scores [N, heads, queries, keys]."""

    @nn.compact
    def __call__(self, scores):
        heads = scores.shape[1]
        kernel = self.param("kernel", nn.initializers.lecun_normal(), (heads, heads))
        bias = self.param("bias", nn.initializers.zeros, (heads,))
        return jnp.einsum("nhqk,hg->ngqk", scores, kernel) + bias[:, None, None]

'''
ATTENTION = '''
def by_head(x, heads):
    n, h, w, c = x.shape
    return x.reshape(n, h * w, heads, c // heads)


def attention_scores(q, k, heads):
    """q k^T / sqrt(width of a head): [N, heads, queries, keys]."""
    q, k = by_head(q, heads), by_head(k, heads)
    return jnp.einsum("nqhd,nkhd->nhqk", q * q.shape[-1] ** -0.5, k)


def attend(scores, v, side):
    """Values weighted by the scores, as a map."""
    mixed = jnp.einsum("nhqk,nkhd->nqhd", scores, by_head(v, scores.shape[1]))
    return mixed.reshape(v.shape[0], side, side, v.shape[-1])

'''


def source(graph: Graph, *, title: str, weights_file: str, head: Head = PLAIN) -> str:
    """The Python file: `head`, a class for each shape of block, and `Network` with one line a block."""
    shapes = structure(graph, WRITERS, "flax")
    unique = list(dict.fromkeys(id(s) for s in shapes.values()))
    classes = [_class(next(s for s in shapes.values() if id(s) == i)) for i in unique]
    lines = [
        f"        x = {call(shapes[b.path], b, _literal, _named(b.path))}(x, train)" for b in graph.blocks if b.ops
    ]
    helpers = CONV.format(momentum=NORM_MOMENTUM, epsilon=EPSILON)
    used = {op.kind for op in graph.ops}
    helpers += "".join(writer.helper for kind, writer in WRITERS.items() if kind in used)
    helpers += GELU if any(op.attributes.get("act") == "gelu" for op in graph.ops) else ""
    return "\n".join(
        [
            f'"""{title}',
            "",
            f'    variables = load("{weights_file}")',
            _usage(head),
            '"""',
            "",
            *(["from typing import Any", ""] if any(": Any\n" in c for c in classes) else []),
            "import flax.linen as nn",
            *(["import jax"] if "jax.image" in helpers or "jax.nn" in "".join(classes) else []),
            *(["import jax.numpy as jnp"] if "jnp." in helpers else []),
            "import safetensors.numpy",
            "from flax.traverse_util import unflatten_dict",
            head.text,
            helpers,
            *classes,
            "class Network(nn.Module):",
            '    """The whole network, from preprocessed images to logits."""',
            "",
            "    @nn.compact",
            "    def __call__(self, x, train=False):",
            *lines,
            "        return x",
            "",
            "",
            "def load(path):",
            '    """The variables of `Network` from a safetensors file."""',
            '    return unflatten_dict(safetensors.numpy.load_file(path), sep="/")',
            head.script(weights_file, ["variables = load(weights)"], "Network().apply(variables, PICTURE)"),
        ]
    )


def _usage(head: Head) -> str:
    if head.pictures:
        return "    logits = Network().apply(variables, preprocess(image))  # of a PIL.Image.Image"
    return "    logits = Network().apply(variables, images)       # float32 [N, H, W, C], preprocessed"


def tensors(graph: Graph, weights: Weights) -> dict[str, np.ndarray]:
    """The variables of `Network`, by path."""
    found: dict[str, np.ndarray] = {}
    for block in graph.blocks:
        for op in block.ops:
            leaves = writer_of(WRITERS, op, block, "flax").leaves
            if leaves is not None:
                place = f"{_name(block.path)}/{local(op, block)}"
                found |= {f"{group}/{place}/{leaf}": v for (group, leaf), v in leaves(op, weights).items()}
    return found


def _class(shape: Shape) -> str:
    block = shape.blocks[0]
    lines = [f"class {shape.name}(nn.Module):", f'    """{shape.about}"""', ""]
    first = next(iter(shape.arguments.values()))
    fields = [f"    {p}: {_type(first[p])}" for p in shape.parameters]
    lines += [*fields, *([""] if fields else []), "    @nn.compact", "    def __call__(self, x, train=False):"]

    def render(index: int, op: Op, inputs: list[str]) -> str:
        slot = shape.slots[index]
        text = {k: f"self.{v.name}" if isinstance(v, Parameter) else _literal(v) for k, v in slot.items()}
        return WRITERS[op.kind].expression(Call(op, local(op, block), tuple(inputs), slot, text))

    done = list(statements(block, WRITERS, render))
    lines += [f"        {name} = {expression}" for name, expression in done[:-1]]
    lines += [f"        return {done[-1][1]}", "", ""]
    return "\n".join(lines)


def _name(path: str) -> str:
    return path.replace(".", "_")


def _named(path: str) -> str:
    return f'name="{_name(path)}"'


def _type(value: object) -> str:
    return "Any" if isinstance(value, str) else type(value).__name__


def _literal(value: object) -> str:
    return ACTIVATIONS.get(value, repr(value)) if isinstance(value, str) else repr(value)


# Operators ----------------------------------------------------------------------------------------------------------

Leaves = dict[tuple[str, str], np.ndarray]
"""By group and name."""


def _conv_numbers(op: Op) -> dict[str, Any]:
    return convolution(op) | out(op)


def _conv(call: Call) -> str:
    text, slot = call.text, call.numbers
    parts = [text["out"], text["kernel"]]
    parts += [text["stride"]] if slot["stride"] != 1 else []
    padding = _padding(call)
    parts += [f"padding={padding}"] if padding != "0" else []
    parts += [f"groups={text['groups']}"] if slot["groups"] != 1 else []
    parts += ["bias=True"] if slot["bias"] else []
    return f'conv({", ".join(parts)}, name="{call.name}")({call.inputs[0]})'


def _padding(call: Call) -> str:
    return f"{call.text['kernel']} // 2" if call.numbers["padding"] is None else call.text["padding"]


def _conv_leaves(op: Op, weights: Weights) -> Leaves:
    return {("params", "kernel"): conv_weight(op, weights)} | _bias(op, weights)


def _bias(op: Op, weights: Weights) -> Leaves:
    return {("params", "bias"): weights(f"{op.path}.bias", (op.output.channels,))} if op.attributes["bias"] else {}


def _linear_numbers(op: Op) -> dict[str, Any]:
    return {"bias": op.attributes["bias"]} | out(op)


def _linear(call: Call) -> str:
    bias = "" if call.numbers["bias"] else ", use_bias=False"
    return f'nn.Dense({call.text["out"]}{bias}, name="{call.name}")({call.inputs[0]})'


def _linear_leaves(op: Op, weights: Weights) -> Leaves:
    return {("params", "kernel"): linear_weight(op, weights)} | _bias(op, weights)


def _leaves(statistics: tuple[str, ...] = (), **names: str) -> Callable[[Op, Weights], Leaves]:
    """Leaves a channel, by their names here; `statistics` have one name."""

    def found(op: Op, weights: Weights) -> Leaves:
        size = (op.output.channels,)
        return {("params", name): weights(f"{op.path}.{ours}", size) for name, ours in names.items()} | {
            ("batch_stats", name): weights(f"{op.path}.{name}", size) for name in statistics
        }

    return found


def _module(text: str) -> Callable[[Call], str]:
    """A module without numbers: `Scale(name="{name}")({x})`."""
    return lambda call: text.format(name=call.name, x=call.inputs[0])


def _average_pool(call: Call) -> str:
    return f"average_pool({call.inputs[0]}, {call.text['kernel']}, {call.text['stride']}, {_padding(call)})"


def _distance_bias(call: Call) -> str:
    numbers = ", ".join(call.text[n] for n in ("queries", "keys", "stride"))
    return f'DistanceBias({numbers}, name="{call.name}")({call.inputs[0]})'


def _mix_heads_leaves(op: Op, weights: Weights) -> Leaves:
    return dict(zip((("params", "kernel"), ("params", "bias")), head_weights(op, weights), strict=True))


_CONV = Writer(_conv_numbers, _conv, leaves=_conv_leaves, ends=True)
_LAYER_NORM = f'nn.LayerNorm(epsilon={EPSILON}, use_fast_variance=False, name="{{name}}")({{x}})'
WRITERS: dict[str, Writer] = {
    "conv": _CONV,
    "depthwise": _CONV,
    "pointwise": _CONV,
    "linear": Writer(_linear_numbers, _linear, leaves=_linear_leaves),
    "batch_norm": Writer(
        nothing, _module('norm(train, "{name}")({x})'), leaves=_leaves(("mean", "var"), scale="scale", bias="shift")
    ),
    "layer_norm": Writer(nothing, _module(_LAYER_NORM), leaves=_leaves(scale="scale", bias="shift")),
    "layer_scale": Writer(nothing, _module('Scale(name="{name}")({x})'), leaves=_leaves(scale="scale"), helper=SCALE),
    "activation": Writer(own("act"), lambda c: f"{c.text['act']}({c.inputs[0]})", ends=True),
    "global_pool": Writer(
        own("keep"), lambda c: f"{c.inputs[0]}.mean((1, 2){', keepdims=True' if c.numbers['keep'] else ''})"
    ),
    "average_pool": Writer(own("kernel", "stride", "padding"), _average_pool, helper=AVERAGE_POOL),
    "upsample": Writer(own("factor"), lambda c: f"upsample({c.inputs[0]}, {c.text['factor']})", helper=UPSAMPLE),
    "channel_shuffle": Writer(own("groups"), lambda c: f"shuffle({c.inputs[0]}, {c.text['groups']})", helper=SHUFFLE),
    "residual": Writer(nothing, lambda c: f"{c.inputs[0]} + {c.inputs[1]}", ends=True),
    "weighted_sum": Writer(own("factors"), lambda c: weighted_sum(c.numbers["factors"], c.inputs), ends=True),
    "excite": Writer(nothing, lambda c: f"{c.inputs[0]} * {c.inputs[1]}"),
    "attention_scores": Writer(
        own("heads"), lambda c: f"attention_scores({c.inputs[0]}, {c.inputs[1]}, {c.text['heads']})", helper=ATTENTION
    ),
    "distance_bias": Writer(
        own("queries", "keys", "stride"), _distance_bias, helper=DISTANCE_BIAS, ends=True,
        leaves=lambda op, weights: {("params", "table"): distance_table(op, weights)},
    ),
    "mix_heads": Writer(nothing, _module('MixHeads(name="{name}")({x})'), leaves=_mix_heads_leaves, helper=MIX_HEADS),
    "softmax": Writer(nothing, lambda c: f"nn.softmax({c.inputs[0]})"),
    "attend": Writer(
        own("queries"), lambda c: f"attend({c.inputs[0]}, {c.inputs[1]}, {c.text['queries']})", ends=True
    ),
}  # fmt: skip
