"""PyTorch: one readable file of plain modules, and the weights under its state-dict names."""

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
    distances,
    heads,
    local,
    nothing,
    out,
    own,
    sizes,
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
def attention_scores(q, k, heads):
    """q k^T / sqrt(width of a head): [N, heads, queries, keys]."""
    q, k = (x.flatten(2).unflatten(1, (heads, -1)) for x in (q, k))
    return (q * q.shape[2] ** -0.5).transpose(2, 3) @ k


def attend(scores, v, side):
    """Values weighted by the scores, as a map."""
    v = v.flatten(2).unflatten(1, (scores.shape[1], -1))
    return (v @ scores.transpose(2, 3)).flatten(1, 2).unflatten(2, (side, side))

'''


def source(graph: Graph, *, title: str, weights_file: str, head: Head = PLAIN) -> str:
    """The Python file: `head`, a class for each shape of block, and `network()` with one line a block."""
    shapes = structure(graph, WRITERS, "PyTorch")
    unique = list(dict.fromkeys(id(s) for s in shapes.values()))
    classes = [_class(next(s for s in shapes.values() if id(s) == i)) for i in unique]
    lines = [
        f"        {call(shapes[b.path], b, _literal)},  # {b.path}" if b.ops else f"        nn.Identity(),  # {b.path}"
        for b in graph.blocks
    ]
    used = {op.kind for op in graph.ops}
    helpers = "".join(writer.helper for kind, writer in WRITERS.items() if kind in used)
    return "\n".join(
        [
            f'"""{title}',
            "",
            *usage(head, weights_file),
            '"""',
            "",
            "import torch",
            "from torch import nn",
            "from torch.nn import functional as F",
            head.text,
            helpers,
            *classes,
            "def network():",
            '    """The whole network, from preprocessed images to logits."""',
            "    return nn.Sequential(",
            *lines,
            "    )",
            script(head, weights_file),
        ]
    )


def usage(head: Head, weights_file: str) -> list[str]:
    """The last lines of a file's docstring; timm's are the same."""
    load = ["    model = network()", f'    model.load_state_dict(safetensors.torch.load_file("{weights_file}"))']
    if head.pictures:
        return [*load, "    logits = model.eval()(torch.from_numpy(preprocess(image)))  # of a PIL.Image.Image"]
    return [*load, "    logits = model.eval()(images)                     # float32 [N, C, H, W], preprocessed"]


def script(head: Head, weights_file: str) -> str:
    """The last lines of a file: run with pictures, it names their classes."""
    load = [
        "import safetensors.torch",
        "",
        "model = network().eval()",
        "model.load_state_dict(safetensors.torch.load_file(weights))",
    ]
    return head.script(weights_file, load, "model(torch.from_numpy(PICTURE)).detach()")


def tensors(graph: Graph, weights: Weights) -> dict[str, np.ndarray]:
    """The state dict of `network()`."""
    found: dict[str, np.ndarray] = {}
    for number, block in enumerate(graph.blocks):
        for op in block.ops:
            leaves = writer_of(WRITERS, op, block, "PyTorch").leaves
            if leaves is not None:
                name = f"{number}.{local(op, block)}"
                found |= {f"{name}.{leaf}": np.ascontiguousarray(value) for leaf, value in leaves(op, weights).items()}
    return found


def _class(shape: Shape) -> str:
    block = shape.blocks[0]
    lines = [f"class {shape.name}(nn.Module):", f'    """{shape.about}"""', ""]
    lines += [f"    def __init__(self{''.join(f', {p}' for p in shape.parameters)}):", "        super().__init__()"]
    for op, slot in zip(block.ops, shape.slots, strict=True):
        module = WRITERS[op.kind].module
        if module is not None:
            text = {k: v.name if isinstance(v, Parameter) else repr(v) for k, v in slot.items()}
            name = local(op, block)
            lines.append(f"        self.{name} = {module(Call(op, name, (), slot, text))}")
    kept = [p for p in shape.parameters if p in _read_in_forward(shape)]
    lines += [f"        self.{p} = {p}" for p in kept]

    def render(index: int, op: Op, inputs: list[str]) -> str:
        slot = shape.slots[index]
        text = {k: f"self.{v.name}" if isinstance(v, Parameter) else _literal(v) for k, v in slot.items()}
        return WRITERS[op.kind].expression(Call(op, local(op, block), tuple(inputs), slot, text))

    lines += ["", "    def forward(self, x):"]
    done = list(statements(block, WRITERS, render))
    lines += [f"        {name} = {expression}" for name, expression in done[:-1]]
    lines += [f"        return {done[-1][1]}", "", ""]
    return "\n".join(lines)


def _read_in_forward(shape: Shape) -> set[str]:
    """Parameters that no module holds."""
    slots = zip(shape.blocks[0].ops, shape.slots, strict=True)
    numbers = (v for op, slot in slots if WRITERS[op.kind].module is None for v in slot.values())
    return {v.name for v in numbers if isinstance(v, Parameter)}


def _literal(value: object) -> str:
    return ACTIVATIONS.get(value, repr(value)) if isinstance(value, str) else repr(value)


# Operators ----------------------------------------------------------------------------------------------------------


def _held(call: Call) -> str:
    """A module of the block, called."""
    return f"self.{call.name}({call.inputs[0]})"


def _conv_numbers(op: Op) -> dict[str, Any]:
    return convolution(op) | sizes(op)


def _conv(call: Call) -> str:
    text, slot = call.text, call.numbers
    parts = [text["inputs"], text["out"], text["kernel"]]
    parts += [text["stride"]] if slot["stride"] != 1 else []
    padding = _padding(call)
    parts += [f"padding={padding}"] if padding != "0" else []
    parts += [f"groups={text['groups']}"] if slot["groups"] != 1 else []
    parts += [] if slot["bias"] else ["bias=False"]
    return f"nn.Conv2d({', '.join(parts)})"


def _padding(call: Call) -> str:
    return f"{call.text['kernel']} // 2" if call.numbers["padding"] is None else call.text["padding"]


def _conv_leaves(op: Op, weights: Weights) -> dict[str, np.ndarray]:
    return {"weight": conv_weight(op, weights).transpose(3, 2, 0, 1)} | _bias(op, weights)


def _bias(op: Op, weights: Weights) -> dict[str, np.ndarray]:
    return {"bias": weights(f"{op.path}.bias", (op.output.channels,))} if op.attributes["bias"] else {}


def _linear_numbers(op: Op) -> dict[str, Any]:
    return {"bias": op.attributes["bias"]} | sizes(op)


def _linear(call: Call) -> str:
    text, bias = call.text, "" if call.numbers["bias"] else ", bias=False"
    if call.op.output.side is None:
        return f"nn.Linear({text['inputs']}, {text['out']}{bias})"
    return f"nn.Conv2d({text['inputs']}, {text['out']}, 1{bias})"


def _linear_leaves(op: Op, weights: Weights) -> dict[str, np.ndarray]:
    w = linear_weight(op, weights).T
    return {"weight": w if op.output.side is None else w[:, :, None, None]} | _bias(op, weights)


def _named(**names: str) -> Callable[[Op, Weights], dict[str, np.ndarray]]:
    """Leaves a channel, by their names here."""
    return lambda op, weights: {n: weights(f"{op.path}.{ours}", (op.output.channels,)) for n, ours in names.items()}


def _batch_norm(call: Call) -> str:
    return f"nn.BatchNorm2d({call.text['out']}, eps={EPSILON}, momentum={1 - NORM_MOMENTUM:.3g})"


def _layer_norm(call: Call) -> str:
    kind = "nn.LayerNorm" if call.op.output.side is None else "ChannelNorm"
    return f"{kind}({call.text['out']}, eps={EPSILON})"


def _distance_bias(call: Call) -> str:
    return f"DistanceBias({', '.join(call.text[n] for n in ('heads', 'queries', 'keys', 'stride'))})"


def _mix_heads_leaves(op: Op, weights: Weights) -> dict[str, np.ndarray]:
    w, b = head_weights(op, weights)
    return {"weight": w.T[:, :, None, None], "bias": b}


def _activation(call: Call) -> str:
    name = call.numbers["act"]
    return f"{call.text['act'] if isinstance(name, Parameter) else ACTIVATIONS[name]}({call.inputs[0]})"


def _average_pool(call: Call) -> str:
    window = f"{call.text['kernel']}, {call.text['stride']}, {_padding(call)}"
    return f"F.avg_pool2d({call.inputs[0]}, {window}, count_include_pad=False)"


_CONV = Writer(_conv_numbers, _held, _conv, _conv_leaves)
_NORM = _named(weight="scale", bias="shift", running_mean="mean", running_var="var")
WRITERS: dict[str, Writer] = {
    "conv": _CONV,
    "depthwise": _CONV,
    "pointwise": _CONV,
    "linear": Writer(_linear_numbers, _held, _linear, _linear_leaves),
    "batch_norm": Writer(out, _held, _batch_norm, _NORM),
    "layer_norm": Writer(out, _held, _layer_norm, _named(weight="scale", bias="shift"), CHANNEL_NORM),
    "layer_scale": Writer(out, _held, lambda c: f"Scale({c.text['out']})", _named(weight="scale"), SCALE),
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
    "weighted_sum": Writer(own("factors"), lambda c: weighted_sum(c.numbers["factors"], c.inputs), ends=True),
    "excite": Writer(nothing, lambda c: f"{c.inputs[0]} * {c.inputs[1]}"),
    "attention_scores": Writer(
        own("heads"), lambda c: f"attention_scores({c.inputs[0]}, {c.inputs[1]}, {c.text['heads']})", helper=ATTENTION
    ),
    "distance_bias": Writer(
        distances, _held, _distance_bias, lambda op, w: {"weight": distance_table(op, w)}, DISTANCE_BIAS, ends=True
    ),
    "mix_heads": Writer(
        heads, _held, lambda c: f"nn.Conv2d({c.text['inputs']}, {c.text['out']}, 1)", _mix_heads_leaves
    ),
    "softmax": Writer(nothing, lambda c: f"{c.inputs[0]}.softmax(-1)"),
    "attend": Writer(
        own("queries"), lambda c: f"attend({c.inputs[0]}, {c.inputs[1]}, {c.text['queries']})", ends=True
    ),
}  # fmt: skip
