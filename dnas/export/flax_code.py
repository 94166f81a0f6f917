"""Flax (linen): one readable file of plain modules, and the weights under its variable names."""

from __future__ import annotations

import numpy as np

from dnas.export.structure import Parameter, Shape, call, local, statements, structure
from dnas.export.trace import Graph, Op, Weights, conv_weight, linear_weight
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


def source(graph: Graph, *, title: str, weights_file: str) -> str:
    """The Python file: a class for each shape of block, and `Network` with one line a block."""
    shapes = structure(graph)
    unique = list(dict.fromkeys(id(s) for s in shapes.values()))
    classes = [_class(next(s for s in shapes.values() if id(s) == i)) for i in unique]
    lines = [
        f"        x = {call(shapes[b.path], b, _literal, _read(shapes[b.path]), _named(b.path))}(x, train)"
        for b in graph.blocks
        if b.ops
    ]
    helpers = CONV.format(momentum=NORM_MOMENTUM, epsilon=NORM_EPSILON)
    helpers += SHUFFLE if any(op.kind == "shuffle" for op in graph.ops) else ""
    helpers += GELU if any(op.attributes.get("name") == "gelu" for op in graph.ops) else ""
    return "\n".join(
        [
            f'"""{title}',
            "",
            f'    variables = load("{weights_file}")',
            "    logits = Network().apply(variables, images)       # float32 [N, H, W, C], preprocessed",
            '"""',
            "",
            *(["from typing import Any", ""] if any(": Any\n" in c for c in classes) else []),
            "import flax.linen as nn",
            "import safetensors.numpy",
            "from flax.traverse_util import unflatten_dict",
            "",
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
            "",
        ]
    )


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

    done = list(statements(block, render, ("conv", "act")))
    lines += [f"        {name} = {expression}" for name, expression in done[:-1]]
    lines += [f"        return {done[-1][1]}", "", ""]
    return "\n".join(lines)


def _read(shape: Shape) -> set[str]:
    """Parameters that flax needs: it finds the sizes of inputs itself."""
    slots = zip(shape.blocks[0].ops, shape.slots, strict=True)
    unread = {"conv": ("inputs",), "linear": ("inputs",), "norm": ("inputs", "out")}
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
