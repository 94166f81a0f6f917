"""PyTorch: one readable file of plain modules, and the weights under its state-dict names."""

from __future__ import annotations

import numpy as np

from dnas.export.preprocess_code import PLAIN, Head
from dnas.export.structure import Parameter, Shape, call, local, statements, structure, weighted_sum
from dnas.export.trace import Graph, Op, Weights, conv_weight, distance_table, gamma_weight, head_weights, linear_weight
from dnas.nn.forward import NORM_EPSILON, NORM_MOMENTUM

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
HELPERS = {
    "shuffle": SHUFFLE, "layer_norm": CHANNEL_NORM, "gamma": SCALE, "distance_bias": DISTANCE_BIAS, "scores": ATTENTION,
}  # fmt: skip


def source(graph: Graph, *, title: str, weights_file: str, head: Head = PLAIN) -> str:
    """The Python file: `head`, a class for each shape of block, and `network()` with one line a block."""
    shapes = structure(graph)
    unique = list(dict.fromkeys(id(s) for s in shapes.values()))
    classes = [_class(next(s for s in shapes.values() if id(s) == i)) for i in unique]
    lines = [
        f"        {call(shapes[b.path], b, _literal)},  # {b.path}" if b.ops else f"        nn.Identity(),  # {b.path}"
        for b in graph.blocks
    ]
    used = {op.kind for op in graph.ops}
    helpers = "".join(text for kind, text in HELPERS.items() if kind in used)
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
            if op.path:
                name = f"{number}.{local(op, block)}"
                found |= {f"{name}.{leaf}": value for leaf, value in _leaves(op, weights).items()}
    return found


def _leaves(op: Op, weights: Weights) -> dict[str, np.ndarray]:
    shape = (op.output.channels,)
    if op.kind == "norm":
        names = {"weight": "scale", "bias": "shift", "running_mean": "mean", "running_var": "var"}
        return {leaf: weights(f"{op.path}.{ours}", shape) for leaf, ours in names.items()}
    if op.kind == "layer_norm":
        return {"weight": weights(f"{op.path}.scale", shape), "bias": weights(f"{op.path}.shift", shape)}
    if op.kind == "gamma":
        return {"weight": gamma_weight(op, weights)}
    if op.kind == "distance_bias":
        return {"weight": distance_table(op, weights)}
    if op.kind == "mix_heads":
        w, b = head_weights(op, weights)
        return {"weight": np.ascontiguousarray(w.T[:, :, None, None]), "bias": b}
    w = conv_weight(op, weights).transpose(3, 2, 0, 1) if op.kind == "conv" else linear_weight(op, weights).T
    w = w[:, :, None, None] if op.kind == "linear" and op.output.side is not None else w
    bias = {"bias": weights(f"{op.path}.bias", shape)} if op.attributes["bias"] else {}
    return {"weight": np.ascontiguousarray(w), **bias}


def _class(shape: Shape) -> str:
    block = shape.blocks[0]
    lines = [f"class {shape.name}(nn.Module):", f'    """{shape.about}"""', ""]
    lines += [f"    def __init__(self{''.join(f', {p}' for p in shape.parameters)}):", "        super().__init__()"]
    for op, slot in zip(block.ops, shape.slots, strict=True):
        if op.path:
            lines.append(f"        self.{local(op, block)} = {_module(op, slot)}")
    kept = [p for p in shape.parameters if p in _read_in_forward(shape)]
    lines += [f"        self.{p} = {p}" for p in kept]

    def render(index: int, op: Op, inputs: list[str]) -> str:
        slot = {k: f"self.{v.name}" if isinstance(v, Parameter) else v for k, v in shape.slots[index].items()}
        match op.kind:
            case "conv" | "linear" | "norm" | "layer_norm" | "gamma" | "distance_bias" | "mix_heads":
                return f"self.{local(op, block)}({inputs[0]})"
            case "act":
                name = slot["name"]
                return f"{ACTIVATIONS.get(name, name)}({inputs[0]})"
            case "pool":
                return f"{inputs[0]}.mean((2, 3){', keepdim=True' if slot['keep'] else ''})"
            case "shuffle":
                return f"shuffle({inputs[0]}, {slot['groups']})"
            case "add":
                return f"{inputs[0]} + {inputs[1]}"
            case "scale":
                return f"{inputs[0]} * {inputs[1]}"
            case "sum":
                return weighted_sum(slot["factors"], inputs)
            case "average_pool":
                sizes = f"{slot['kernel']}, {slot['stride']}, {_padding(slot, str(slot['kernel']))}"
                return f"F.avg_pool2d({inputs[0]}, {sizes}, count_include_pad=False)"
            case "upsample":
                return f'F.interpolate({inputs[0]}, scale_factor={slot["factor"]}, mode="bilinear")'
            case "scores":
                return f"attention_scores({inputs[0]}, {inputs[1]}, {slot['heads']})"
            case "softmax":
                return f"{inputs[0]}.softmax(-1)"
            case "attend":
                return f"attend({inputs[0]}, {inputs[1]}, {slot['side']})"
        raise AssertionError(op.kind)

    lines += ["", "    def forward(self, x):"]
    done = list(statements(block, render))
    lines += [f"        {name} = {expression}" for name, expression in done[:-1]]
    lines += [f"        return {done[-1][1]}", "", ""]
    return "\n".join(lines)


def _read_in_forward(shape: Shape) -> set[str]:
    slots = [s for op, s in zip(shape.blocks[0].ops, shape.slots, strict=True) if not op.path]
    return {v.name for slot in slots for v in slot.values() if isinstance(v, Parameter)}


def _module(op: Op, slot: dict) -> str:
    text = {k: v.name if isinstance(v, Parameter) else repr(v) for k, v in slot.items()}
    if op.kind == "norm":
        return f"nn.BatchNorm2d({text['out']}, eps={NORM_EPSILON}, momentum={1 - NORM_MOMENTUM:.3g})"
    if op.kind == "gamma":
        return f"Scale({text['out']})"
    if op.kind == "distance_bias":
        return f"DistanceBias({text['heads']}, {text['queries']}, {text['keys']}, {text['stride']})"
    if op.kind == "layer_norm":
        kind = "nn.LayerNorm" if op.output.side is None else "ChannelNorm"
        return f"{kind}({text['out']}, eps={NORM_EPSILON})"
    if op.kind == "mix_heads":
        return f"nn.Conv2d({text['inputs']}, {text['out']}, 1)"
    if op.kind == "linear" and op.output.side is not None:
        return f"nn.Conv2d({text['inputs']}, {text['out']}, 1{'' if slot['bias'] else ', bias=False'})"
    if op.kind == "linear":
        return f"nn.Linear({text['inputs']}, {text['out']}{'' if slot['bias'] else ', bias=False'})"
    parts = [text["inputs"], text["out"], text["kernel"]]
    parts += [text["stride"]] if slot["stride"] != 1 else []
    padding = _padding(text | {"padding": text["padding"] if slot["padding"] is not None else None}, text["kernel"])
    parts += [f"padding={padding}"] if padding != "0" else []
    parts += [f"groups={text['groups']}"] if slot["groups"] != 1 else []
    parts += [] if slot["bias"] else ["bias=False"]
    return f"nn.Conv2d({', '.join(parts)})"


def _padding(slot: dict, kernel: str) -> str:
    """None follows from the kernel."""
    return f"{kernel} // 2" if slot["padding"] is None else str(slot["padding"])


def _literal(value: object) -> str:
    return ACTIVATIONS.get(value, repr(value)) if isinstance(value, str) else repr(value)
