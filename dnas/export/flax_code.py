"""Flax (linen): one readable file of plain modules, and the weights under its variable names."""

from __future__ import annotations

import numpy as np

from dnas.export.preprocess_code import PLAIN, Head
from dnas.export.structure import ENDS, Parameter, Shape, call, local, statements, structure, weighted_sum
from dnas.export.trace import Graph, Op, Weights, conv_weight, distance_table, gamma_weight, head_weights, linear_weight
from dnas.nn.forward import NORM_EPSILON, NORM_MOMENTUM

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
HELPERS = {
    "shuffle": SHUFFLE, "gamma": SCALE, "average_pool": AVERAGE_POOL, "upsample": UPSAMPLE,
    "distance_bias": DISTANCE_BIAS, "mix_heads": MIX_HEADS, "scores": ATTENTION,
}  # fmt: skip


def source(graph: Graph, *, title: str, weights_file: str, head: Head = PLAIN) -> str:
    """The Python file: `head`, a class for each shape of block, and `Network` with one line a block."""
    shapes = structure(graph)
    unique = list(dict.fromkeys(id(s) for s in shapes.values()))
    classes = [_class(next(s for s in shapes.values() if id(s) == i)) for i in unique]
    lines = [
        f"        x = {call(shapes[b.path], b, _literal, _read(shapes[b.path]), _named(b.path))}(x, train)"
        for b in graph.blocks
        if b.ops
    ]
    helpers = CONV.format(momentum=NORM_MOMENTUM, epsilon=NORM_EPSILON)
    used = {op.kind for op in graph.ops}
    helpers += "".join(text for kind, text in HELPERS.items() if kind in used)
    helpers += GELU if any(op.attributes.get("name") == "gelu" for op in graph.ops) else ""
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
            if op.path:
                place = f"{_name(block.path)}/{local(op, block)}"
                found |= {f"{group}/{place}/{leaf}": v for (group, leaf), v in _leaves(op, weights).items()}
    return found


def _leaves(op: Op, weights: Weights) -> dict[tuple[str, str], np.ndarray]:
    shape = (op.output.channels,)
    if op.kind == "norm":
        params, stats = {"scale": "scale", "bias": "shift"}, {"mean": "mean", "var": "var"}
        return {
            (group, leaf): weights(f"{op.path}.{ours}", shape)
            for group, names in (("params", params), ("batch_stats", stats))
            for leaf, ours in names.items()
        }
    if op.kind == "layer_norm":
        names = {"scale": "scale", "bias": "shift"}
        return {("params", leaf): weights(f"{op.path}.{ours}", shape) for leaf, ours in names.items()}
    if op.kind == "gamma":
        return {("params", "scale"): gamma_weight(op, weights)}
    if op.kind == "distance_bias":
        return {("params", "table"): distance_table(op, weights)}
    if op.kind == "mix_heads":
        return dict(zip((("params", "kernel"), ("params", "bias")), head_weights(op, weights), strict=True))
    kernel = conv_weight(op, weights) if op.kind == "conv" else linear_weight(op, weights)
    bias = {("params", "bias"): weights(f"{op.path}.bias", shape)} if op.attributes["bias"] else {}
    return {("params", "kernel"): kernel, **bias}


def _class(shape: Shape) -> str:
    block = shape.blocks[0]
    lines = [f"class {shape.name}(nn.Module):", f'    """{shape.about}"""', ""]
    first = next(iter(shape.arguments.values()))
    fields = [f"    {p}: {_type(first[p])}" for p in shape.parameters if p in _read(shape)]
    lines += [*fields, *([""] if fields else []), "    @nn.compact", "    def __call__(self, x, train=False):"]

    def render(index: int, op: Op, inputs: list[str]) -> str:
        slot = shape.slots[index]
        text = {k: f"self.{v.name}" if isinstance(v, Parameter) else _literal(v) for k, v in slot.items()}
        name = local(op, block)
        match op.kind:
            case "conv":
                return f"{_conv(slot, text, name)}({inputs[0]})"
            case "linear":
                bias = "" if slot["bias"] else ", use_bias=False"
                return f'nn.Dense({text["out"]}{bias}, name="{name}")({inputs[0]})'
            case "norm":
                return f'norm(train, "{name}")({inputs[0]})'
            case "layer_norm":
                sizes = f"epsilon={NORM_EPSILON}, use_fast_variance=False"
                return f'nn.LayerNorm({sizes}, name="{name}")({inputs[0]})'
            case "gamma":
                return f'Scale(name="{name}")({inputs[0]})'
            case "sum":
                return weighted_sum(slot["factors"], inputs)
            case "average_pool":
                padding = f"{text['kernel']} // 2" if slot["padding"] is None else text["padding"]
                return f"average_pool({inputs[0]}, {text['kernel']}, {text['stride']}, {padding})"
            case "upsample":
                return f"upsample({inputs[0]}, {text['factor']})"
            case "scores":
                return f"attention_scores({inputs[0]}, {inputs[1]}, {text['heads']})"
            case "distance_bias":
                sizes = f"{text['queries']}, {text['keys']}, {text['stride']}"
                return f'DistanceBias({sizes}, name="{name}")({inputs[0]})'
            case "mix_heads":
                return f'MixHeads(name="{name}")({inputs[0]})'
            case "softmax":
                return f"nn.softmax({inputs[0]})"
            case "attend":
                return f"attend({inputs[0]}, {inputs[1]}, {text['side']})"
            case "act":
                return f"{text['name']}({inputs[0]})"
            case "pool":
                return f"{inputs[0]}.mean((1, 2){', keepdims=True' if slot['keep'] else ''})"
            case "shuffle":
                return f"shuffle({inputs[0]}, {text['groups']})"
            case "add":
                return f"{inputs[0]} + {inputs[1]}"
            case "scale":
                return f"{inputs[0]} * {inputs[1]}"
        raise AssertionError(op.kind)

    done = list(statements(block, render, ("conv", *ENDS)))
    lines += [f"        {name} = {expression}" for name, expression in done[:-1]]
    lines += [f"        return {done[-1][1]}", "", ""]
    return "\n".join(lines)


def _read(shape: Shape) -> set[str]:
    """Parameters that flax needs: it finds the sizes of inputs itself."""
    slots = zip(shape.blocks[0].ops, shape.slots, strict=True)
    both = ("inputs", "out")
    unread = {
        "conv": ("inputs",), "linear": ("inputs",), "norm": both, "layer_norm": both, "gamma": both, "mix_heads": both,
        "distance_bias": ("heads",),
    }  # fmt: skip
    return {
        v.name
        for op, slot in slots
        for k, v in slot.items()
        if isinstance(v, Parameter) and k not in unread.get(op.kind, ())
    }


def _conv(slot: dict, text: dict[str, str], name: str) -> str:
    parts = [text["out"], text["kernel"]]
    parts += [text["stride"]] if slot["stride"] != 1 else []
    padding = f"{text['kernel']} // 2" if slot["padding"] is None else text["padding"]
    parts += [f"padding={padding}"] if padding != "0" else []
    parts += [f"groups={text['groups']}"] if slot["groups"] != 1 else []
    parts += ["bias=True"] if slot["bias"] else []
    return f'conv({", ".join(parts)}, name="{name}")'


def _name(path: str) -> str:
    return path.replace(".", "_")


def _named(path: str) -> str:
    return f'name="{_name(path)}"'


def _type(value: object) -> str:
    return "Any" if isinstance(value, str) else type(value).__name__


def _literal(value: object) -> str:
    return ACTIVATIONS.get(value, repr(value)) if isinstance(value, str) else repr(value)
