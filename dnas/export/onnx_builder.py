"""The nodes and initializers of an ONNX graph, as they are made."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from dnas.export.trace import Op, Value, Weights
from dnas.maths.grids import grid_index
from dnas.ops.tensor import COLUMNS, ROWS

INPUT = "images"
Folded = tuple[Op, ...]
"""What comes after an operator and moves into its weights."""
Affine = tuple[np.ndarray, np.ndarray]
"""Factor and shift a channel, in float64."""


def names(first: str, values: Sequence[Any]) -> list[str]:
    """Of inputs or outputs: `images`, `images2` and so on."""
    return [f"{first}{n if n > 1 else ''}" for n in range(1, len(values) + 1)]


class Writer(NamedTuple):
    """How ONNX gets an operator."""

    write: Callable[[Builder, Op, Folded], None]
    takes: bool = False
    """Whether what is affine after it can move into its weights."""
    affine: Callable[[Op, Weights], Affine] | None = None
    """Of what can move so, in evaluation mode."""


class Builder:
    """Nodes and initializers."""

    def __init__(self, onnx: Any, weights: Weights, inputs: int = 1):
        self.onnx, self.weights = onnx, weights
        self.nodes: list[Any] = []
        self.initializers: dict[str, Any] = {}
        self.names: dict[int, str] = dict(enumerate(names(INPUT, range(inputs))))
        self.rows: dict[int, str] = {}

    def node(
        self, kind: str, inputs: list[Value | str], output: Value, path: str, to: str = "", rows: bool = False,
        **attributes: Any,
    ) -> str:  # fmt: skip
        """One node; `to` names an intermediate result, else the result is `output`, as a map or in rows."""
        name = to or f"{path or kind.lower()}_{output.index}"
        names = [i if isinstance(i, str) else self.read(i, rows) for i in inputs]
        self.nodes.append(self.onnx.helper.make_node(kind, names, [name], name=name, **attributes))
        if not to:
            (self.rows if rows else self.names)[output.index] = name
        return name

    def take_grid(self, first: Value, full: int) -> Value:
        """The graph's input as a map of side `full`, of which the network's input is a grid."""
        assert first.side is not None
        index = self.constant("grid", grid_index(first.side, full).astype(np.int64))
        rows = self.node("Gather", [INPUT, index], first, "", to="grid_rows", axis=2)
        self.names[first.index] = self.node("Gather", [rows, index], first, "", to="grid_columns", axis=3)
        return replace(first, sizes={**first.sizes, ROWS: full, COLUMNS: full})

    def read(self, value: Value, rows: bool = False) -> str:
        """The name of a value in the layout asked for, turned into it where it has only the other."""
        mine, other = (self.rows, self.names) if rows else (self.names, self.rows)
        if value.index in mine or value.index not in other:
            return mine[value.index]
        x, n, c = other[value.index], value.index, value.channels
        if rows:
            flat = self.node("Reshape", [x, self.shape(0, c, -1)], value, "", to=f"flat_{n}")
            mine[n] = self.node("Transpose", [flat], value, "", to=f"rows_{n}", perm=[0, 2, 1])
        else:
            turned = self.node("Transpose", [x], value, "", to=f"columns_{n}", perm=[0, 2, 1])
            assert value.side is not None
            mine[n] = self.node("Reshape", [turned, self.shape(0, c, value.side, value.side)], value, "", to=f"map_{n}")
        return mine[n]

    def take_channels(self, value: Value, entries: Sequence[int], output: Value, name: str) -> None:
        """The entries of the channels, in that order; one as large as their number is a zero."""
        rows = self.in_rows(value)
        axes = 3 if rows else len(value.sizes) + 1
        axis = 1 if value.side is not None and not rows else axes - 1
        x, index = self.read(value, rows), self.constant(f"{name}.entries", np.array(entries, np.int64))
        if max(entries) == value.channels:
            ends = np.zeros(2 * axes, np.int64)
            ends[axes + axis] = 1
            x = self.node("Pad", [x, self.constant(f"{name}.ends", ends)], output, "", to=f"padded_{output.index}")
        self.node("Gather", [x, index], output, name, rows=rows, axis=axis)

    def in_rows(self, *values: Value) -> bool:
        """Whether all of them are in rows already."""
        return all(v.index in self.rows for v in values)

    def shape(self, *sizes: int) -> str:
        return self.constant("shape_" + "_".join(map(str, sizes)), np.array(sizes, np.int64))

    def constant(self, name: str, value: np.ndarray) -> str:
        """The name that it has in the graph: what is no parameter's (`clip_6`) may be the name of a result as well."""
        name = name if "." in name else f"constant_{name}"
        if name not in self.initializers:
            self.initializers[name] = self.onnx.numpy_helper.from_array(np.ascontiguousarray(value), name)
        return name

    def give(self, value: Value, name: str, handed_on: bool) -> None:
        """Makes a value an output of the graph: `handed_on` where it is one of the inputs."""
        old = self.read(value)
        if handed_on:
            self.node("Identity", [old], value, "", to=name)
            return
        for node in self.nodes:
            node.output[:] = [name if o == old else o for o in node.output]
            node.input[:] = [name if i == old else i for i in node.input]

    def by_head(self, value: Value, heads: int, channels_last: bool, tag: str) -> str:
        """[N, heads, positions, width], or [N, heads, width, positions], of a map, of rows or of tokens."""
        rows, n, width = self.in_rows(value), value.index, value.channels // heads
        if value.side is None:
            return self._tokens_by_head(value, heads, channels_last, tag)
        sizes = (0, -1, heads, width) if rows else (0, heads, width, -1)
        split = self.node("Reshape", [self.read(value, rows), self.shape(*sizes)], value, "", to=f"heads_{tag}_{n}")
        if rows:
            perm = [0, 2, 1, 3] if channels_last else [0, 2, 3, 1]
        elif channels_last:
            perm = [0, 1, 3, 2]
        else:
            return split
        return self.node("Transpose", [split], value, "", to=f"turned_{tag}_{n}", perm=perm)

    def _tokens_by_head(self, value: Value, heads: int, channels_last: bool, tag: str) -> str:
        """The same of tokens, with what is around them before the heads."""
        around, n = value.around, value.index
        sizes = (0, *around, -1, heads, value.channels // heads)
        split = self.node("Reshape", [value, self.shape(*sizes)], value, "", to=f"heads_{tag}_{n}")
        first = len(around) + 1
        last = (first, first + 2) if channels_last else (first + 2, first)
        perm = [*range(first), first + 1, *last]
        return self.node("Transpose", [split], value, "", to=f"turned_{tag}_{n}", perm=perm)
