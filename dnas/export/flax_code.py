"""Flax (linen): one readable file of plain modules, and the weights under its variable names."""

from __future__ import annotations

import numpy as np

from dnas.export.flax_texts import CONV, GELU
from dnas.export.flax_writers import WRITERS
from dnas.export.preprocess_code import PLAIN, Head
from dnas.export.python_code import Target, documented, literal
from dnas.export.structure import BlockClass, local
from dnas.export.trace import Network, Weights
from dnas.nn.forward import NORM_MOMENTUM
from dnas.ops.norm import EPSILON

ACTIVATIONS = {
    "relu": "nn.relu", "relu6": "nn.relu6", "hswish": "nn.hard_swish", "swish": "nn.silu", "gelu": "gelu",
    "hsigmoid": "nn.hard_sigmoid", "sigmoid": "nn.sigmoid",
}  # fmt: skip


def source(network: Network, *, title: str, weights_file: str, head: Head = PLAIN) -> str:
    """The Python file: `head`, a class for each shape of block, and `Network` with one line a block."""
    of_blocks, classes = FLAX.classes(network)
    lines = [
        f"        x = {FLAX.call(of_blocks[b.path], b, _named(b.path))}(x, train)"
        for b in network.blocks
        if b.path in of_blocks
    ]
    helpers = CONV.format(momentum=NORM_MOMENTUM, epsilon=EPSILON) + FLAX.helpers(network)
    helpers += GELU if any(op.attributes.get("act") == "gelu" for op in network.ops) else ""
    return "\n".join(
        [
            f'"""{title}',
            "",
            f"    variables = load({documented(literal(weights_file))})",
            _usage(head),
            '"""',
            "",
            *_imports(helpers, "".join(classes)),
            head.text,
            helpers,
            *classes,
            *_network(lines),
            head.script(weights_file, ["variables = load(weights)"], "Network().apply(variables, PICTURE)"),
        ]
    )


def _imports(helpers: str, classes: str) -> list[str]:
    return [
        *(["from typing import Any", ""] if ": Any\n" in classes else []),
        "import flax.linen as nn",
        *(["import jax"] if "jax.image" in helpers or "jax.nn" in classes else []),
        *(["import jax.numpy as jnp"] if "jnp." in helpers or "jnp." in classes else []),
        "import safetensors.numpy",
        "from flax.traverse_util import unflatten_dict",
    ]


def _network(lines: list[str]) -> list[str]:
    """The class `Network`, one line a block, and what loads its variables."""
    return [
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
    ]


def _usage(head: Head) -> str:
    if head.pictures:
        return "    logits = Network().apply(variables, preprocess(image))  # of a PIL.Image.Image"
    return "    logits = Network().apply(variables, images)       # float32 [N, H, W, C], preprocessed"


def tensors(network: Network, weights: Weights) -> dict[str, np.ndarray]:
    """The variables of `Network`, by path."""
    found: dict[str, np.ndarray] = {}
    for _, block, op, leaves in FLAX.leaves(network, weights):
        place = f"{_name(block.path)}/{local(op, block)}"
        found |= {f"{group}/{place}/{leaf}": value for (group, leaf), value in leaves.items()}
    return found


def _class(target: Target, made: BlockClass) -> str:
    lines = [f"class {made.name}(nn.Module):", f'    """{made.about}"""', ""]
    first = next(iter(made.arguments.values()))
    fields = [f"    {p}: {_type(first[p])}" for p in made.parameters]
    lines += [*fields, *([""] if fields else []), "    @nn.compact", "    def __call__(self, x, train=False):"]
    return "\n".join([*lines, *target.body(made)])


def _name(path: str) -> str:
    return path.replace(".", "_")


def _named(path: str) -> str:
    return f'name="{_name(path)}"'


def _type(value: object) -> str:
    return type(value).__name__ if isinstance(value, bool | int | float) else "Any"


FLAX = Target("flax", WRITERS, ACTIVATIONS, _class)
