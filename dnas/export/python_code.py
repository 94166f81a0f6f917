"""What generators of Python files share: classes for blocks, statements, and text for numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dnas.export.structure import ORDER, BlockClass, Call, Varying, Writers, local, structure, writer_of
from dnas.export.trace import Network, NetworkBlock, Op, Weights, reads

Statement = tuple[str, str]
"""Variable and expression."""
Render = Callable[[int, Op, list[str]], str]
"""`(op index, op, input expressions)` to the operator's expression."""


@dataclass(frozen=True)
class Target:
    """A framework that a file is written for."""

    name: str
    writers: Writers
    activations: Mapping[str, str]
    """The framework's functions by our names."""
    write_class: Callable[[Target, BlockClass], str]

    def classes(self, network: Network) -> tuple[dict[str, BlockClass], list[str]]:
        """The class of each block by its path, and the text of every class, each once.

        Raises `UserError` for an operator without a writer.
        """
        classes = structure(network, self.writers, self.name)
        distinct = {id(made): made for made in classes.values()}
        return classes, [self.write_class(self, made) for made in distinct.values()]

    def helpers(self, network: Network) -> str:
        """Functions and modules that the writers in use call."""
        ops = ((op, writer.helper) for kind, writer in self.writers.items() for op in network.ops if op.kind == kind)
        return "".join(dict.fromkeys(helper if isinstance(helper, str) else helper(op) for op, helper in ops))

    def leaves(
        self, network: Network, weights: Weights
    ) -> Iterator[tuple[int, NetworkBlock, Op, dict[Any, np.ndarray]]]:
        """The parameters of every operator that has some: number of its block, block, operator, arrays by name."""
        for number, block in enumerate(network.blocks):
            for op in block.ops:
                leaves = writer_of(self.writers, op, block, self.name).leaves
                if leaves is not None:
                    yield number, block, op, leaves(op, weights)

    def literal(self, value: object) -> str:
        """As text; activations by the framework's names."""
        return self.activations.get(value, repr(value)) if isinstance(value, str) else repr(value)

    def body(self, made: BlockClass) -> list[str]:
        """The statements of a class's forward function, with parameters as attributes of `self`."""
        block = made.blocks[0]

        def render(index: int, op: Op, inputs: list[str]) -> str:
            slot = made.slots[index]
            text = {k: f"self.{v.name}" if isinstance(v, Varying) else self.literal(v) for k, v in slot.items()}
            return self.writers[op.kind].expression(Call(op, local(op, block), tuple(inputs), slot, text))

        done, results = statements(block, self.writers, render)
        if len(results) == 1 and done:  # the last variable needs no name
            *done, (_, results[0]) = done
        given = [f"        {', '.join(_inputs(block))} = x"] if len(block.inputs) > 1 else []
        lines = [f"        {name} = {expression}" for name, expression in done]
        return [*given, *lines, f"        return {', '.join(results)}", "", ""]

    def call(self, made: BlockClass, block: NetworkBlock, last: str = "") -> str:
        """`Mbconv(16, 48, 16, kernel=3)`: the call that makes one block.

        Widths go by position. `last` is a further argument.
        """
        parts = [
            self.literal(value) if parameter in ORDER[:3] else f"{parameter}={self.literal(value)}"
            for parameter, value in made.arguments[block.path].items()
        ]
        return f"{made.name}({', '.join([*parts, *([last] if last else [])])})"


def _inputs(block: NetworkBlock) -> list[str]:
    """The names of what a block reads."""
    return [f"x{n if n > 1 else ''}" for n in range(1, len(block.inputs) + 1)]


def statements(block: NetworkBlock, writers: Writers, render: Render) -> tuple[list[Statement], list[str]]:
    """The statements of a block's forward function, and the variables of what it gives.

    A result that is read once goes straight into the expression that reads it, unless its writer `ends` a statement.
    """
    read, given = reads(block.ops, block.outputs), {value.index for value in block.outputs}
    holders = {name: value.index for name, value in zip(_inputs(block), block.inputs, strict=True)}
    expressions = {index: name for name, index in holders.items()}
    within = {index: {index} for index in holders.values()}  # variables in an expression, by value
    left = dict(read)  # how many reads of a variable no statement holds yet
    found: list[Statement] = []
    for index, op in enumerate(block.ops):
        expression = render(index, op, [expressions[v.index] for v in op.inputs])
        inside = [variable for value in op.inputs for variable in within[value.index]]
        if not writers[op.kind].ends and read[op.output.index] == 1 and op.output.index not in given:
            expressions[op.output.index], within[op.output.index] = expression, set(inside)
            for variable in inside:  # read later, and once however often it stands there
                left[variable] -= 1
            for variable in set(inside):
                left[variable] += 1
            continue
        for variable in inside:
            left[variable] -= 1
        name = next(n for n in ("y", "s", "z", *(f"v{i}" for i in range(99))) if left.get(holders.get(n, -1), 0) == 0)
        holders[name] = op.output.index
        expressions[op.output.index], within[op.output.index] = name, {op.output.index}
        found.append((name, expression))
    return found, [expressions[value.index] for value in block.outputs]


# Text of names -------------------------------------------------------------------------------------------------------


def literal(name: str) -> str:
    """A name as Python has it, whatever it holds: between double quotes where none are in it."""
    text = ascii(name)
    return text if '"' in name else f'"{text[1:-1]}"'


def documented(text: str) -> str:
    """Text as it stands in a docstring."""
    return text.replace("\\", "\\\\").replace('"""', '\\"\\"\\"')


# Text of operators that targets share -------------------------------------------------------------------------------


def conv_parts(call: Call, sizes: Sequence[str]) -> list[str]:
    """Arguments of a convolution, after its widths: kernel, and whatever is not as a convolution has it by itself."""
    text, numbers, padding = call.text, call.numbers, padding_text(call)
    parts = [*(text[name] for name in sizes), text["kernel"]]
    parts += [text["stride"]] if numbers["stride"] != 1 else []
    parts += [f"padding={padding}"] if padding != "0" else []
    return parts + ([f"groups={text['groups']}"] if numbers["groups"] != 1 else [])


def padding_text(call: Call) -> str:
    """A number, a parameter, or half of the kernel."""
    return f"{call.text['kernel']} // 2" if call.numbers["padding"] is None else call.text["padding"]


def weighted_sum(call: Call) -> str:
    """`0.5 * a + 0.5 * b`, `a - b`: a statement of its own, as its kind ends one."""
    factors = call.numbers["factors"]
    signs = ["" if n == 0 and f > 0 else "-" if n == 0 else " + " if f > 0 else " - " for n, f in enumerate(factors)]
    sizes = ["" if abs(f) == 1 else f"{abs(f)!r} * " for f in factors]
    return "".join(f"{a}{b}{c}" for a, b, c in zip(signs, sizes, call.inputs, strict=True))


def attention_scores(call: Call) -> str:
    """Of maps, or of tokens."""
    tokens = ", tokens=True" if call.op.inputs[0].side is None else ""
    return f"attention_scores({call.inputs[0]}, {call.inputs[1]}, {call.text['heads']}{tokens})"


def attend(call: Call) -> str:
    """To a map of a side, or to tokens; heads may be uneven."""
    uneven = call.numbers["uneven"]
    arguments = [*call.inputs, *([call.text["width"], call.text["places"]] if uneven else [])]
    if call.numbers["queries"] is not None or call.op.output.side is not None:
        arguments.append(call.text["queries"])
    listed = ", ".join(arguments)
    return f"attend_uneven({listed})" if uneven else f"attend({listed})"


def moved(function: str) -> Callable[[Call], str]:
    """A function of a map, a side, and how far the map is moved where it is."""

    def text(call: Call) -> str:
        shift = "" if call.numbers["shift"] == 0 else f", {call.text['shift']}"
        return f"{function}({call.inputs[0]}, {call.text['side']}{shift})"

    return text
