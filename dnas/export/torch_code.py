"""PyTorch: one readable file of plain modules, and the weights under its state-dict names."""

from __future__ import annotations

import numpy as np

from dnas.export.preprocess_code import PLAIN, Head
from dnas.export.python_code import Target, documented, literal
from dnas.export.structure import BlockClass, Call, Varying, local
from dnas.export.torch_writers import ACTIVATIONS, WRITERS
from dnas.export.trace import Network, Weights


def source(network: Network, *, title: str, weights_file: str, head: Head = PLAIN) -> str:
    """The Python file: `head`, a class for each shape of block, and `network()` with one line a block."""
    of_blocks, classes = TORCH.classes(network)
    lines = [
        f"        {TORCH.call(of_blocks[b.path], b) if b.path in of_blocks else 'nn.Identity()'},  # {b.path}"
        for b in network.blocks
    ]
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
            TORCH.helpers(network),
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
    load = [
        "    model = network()",
        f"    model.load_state_dict(safetensors.torch.load_file({documented(literal(weights_file))}))",
    ]
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


def tensors(network: Network, weights: Weights) -> dict[str, np.ndarray]:
    """The state dict of `network()`."""
    found: dict[str, np.ndarray] = {}
    for number, block, op, leaves in TORCH.leaves(network, weights):
        name = f"{number}.{local(op, block)}"
        found |= {f"{name}.{leaf}": np.ascontiguousarray(value) for leaf, value in leaves.items()}
    return found


def _class(target: Target, made: BlockClass) -> str:
    block = made.blocks[0]
    lines = [f"class {made.name}(nn.Module):", f'    """{made.about}"""', ""]
    lines += [f"    def __init__(self{''.join(f', {p}' for p in made.parameters)}):", "        super().__init__()"]
    for op, slot in zip(block.ops, made.slots, strict=True):
        module = target.writers[op.kind].module
        if module is not None:
            text = {k: v.name if isinstance(v, Varying) else repr(v) for k, v in slot.items()}
            name = local(op, block)
            lines.append(f"        self.{name} = {module(Call(op, name, (), slot, text))}")
    lines += [f"        self.{p} = {p}" for p in made.parameters if p in _read_in_forward(target, made)]
    return "\n".join([*lines, "", "    def forward(self, x):", *target.body(made)])


def _read_in_forward(target: Target, made: BlockClass) -> set[str]:
    """Parameters that no module holds."""
    slots = zip(made.blocks[0].ops, made.slots, strict=True)
    numbers = (v for op, slot in slots if target.writers[op.kind].module is None for v in slot.values())
    return {v.name for v in numbers if isinstance(v, Varying)}


TORCH = Target("PyTorch", WRITERS, ACTIVATIONS, _class)
