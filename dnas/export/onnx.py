"""ONNX: one graph of plain operators, NCHW, dynamic batch, norms folded into the convolution before them.

Linear layers and layer norms on a map work on its pixels as rows, [N, H * W, C]; a value is turned from one layout to
the other only where an operator needs it, so a run of such blocks stays in rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from dnas.export.trace import (
    Graph,
    Op,
    Value,
    Weights,
    affine,
    conv_weight,
    distance_table,
    folded,
    gamma_weight,
    head_weights,
    linear_weight,
    spread_distances,
)  # fmt: skip
from dnas.nn.forward import NORM_EPSILON
from dnas.nn.grids import grid_index
from dnas.process.extras import need

INPUT, OUTPUT = "images", "logits"
OPSETS = {"Gelu": 20, "ReduceMean": 18}
OPSET = 17
"""Of a graph without the operators above, which came, or came in the form used here, later."""


def model(
    graph: Graph, weights: Weights, *, name: str = "dnas", metadata: Mapping[str, str] | None = None,
    full: int | None = None, check: bool = True,
) -> Any:  # fmt: skip
    """The `onnx.ModelProto` of a traced network or block, checked by onnx itself unless that would take too long.

    Input `images` is [N, C, H, W] float32, preprocessed already; output is `logits`. With `full`, images have that
    side, and the graph begins with the rows and columns of the network's own side's grid.
    """
    onnx = need("onnx", "onnx")
    made = _Builder(onnx, weights)
    given = graph.input if full is None else made.take_grid(graph.input, full)
    for op, after in folded(graph.ops, graph.output):
        getattr(made, f"_{op.kind}")(op, after)
    if not graph.ops:
        made.node("Identity", [graph.input], graph.output, "identity", to=OUTPUT)
    made.read(graph.output)
    made.rename(graph.output, OUTPUT)
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    onnx_graph = helper.make_graph(
        made.nodes, name,
        [helper.make_tensor_value_info(INPUT, kind, _shape(given))],
        [helper.make_tensor_value_info(OUTPUT, kind, _shape(graph.output))],
        list(made.initializers.values()),
    )  # fmt: skip
    opset = max(OPSETS.get(node.op_type, OPSET) for node in made.nodes)
    result = helper.make_model(
        onnx_graph, opset_imports=[helper.make_opsetid("", opset)], producer_name="dnas",
        ir_version=helper.find_min_ir_version_for([helper.make_opsetid("", opset)]),
    )  # fmt: skip
    helper.set_model_props(result, dict(metadata or {}))
    if check:
        onnx.checker.check_model(result, full_check=True)
    return result


def session(model_bytes: bytes, threads: int = 1) -> Any:
    """An onnxruntime session on the CPU."""
    ort = need("onnxruntime", "onnx")
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return ort.InferenceSession(model_bytes, options, providers=["CPUExecutionProvider"])


def _shape(value: Value) -> list[Any]:
    return ["N", value.channels] if value.side is None else ["N", value.channels, value.side, value.side]


class _Builder:
    """Nodes and initializers; one method an operator kind of `dnas.export.trace`."""

    def __init__(self, onnx: Any, weights: Weights):
        self.onnx, self.weights = onnx, weights
        self.nodes: list[Any] = []
        self.initializers: dict[str, Any] = {}
        self.names: dict[int, str] = {0: INPUT}
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
        return replace(first, side=full)

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

    def in_rows(self, *values: Value) -> bool:
        """Whether all of them are in rows already."""
        return all(v.index in self.rows for v in values)

    def shape(self, *sizes: int) -> str:
        return self.constant("shape_" + "_".join(map(str, sizes)), np.array(sizes, np.int64))

    def constant(self, name: str, value: np.ndarray) -> str:
        if name not in self.initializers:
            self.initializers[name] = self.onnx.numpy_helper.from_array(np.ascontiguousarray(value), name)
        return name

    def rename(self, value: Value, name: str) -> None:
        old = self.names.get(value.index)
        for node in self.nodes:
            node.output[:] = [name if o == old else o for o in node.output]
            node.input[:] = [name if i == old and old != INPUT else i for i in node.input]

    def _conv(self, op: Op, after: tuple[Op, ...]) -> None:
        a, c = op.attributes, op.output.channels
        w, b = self._with_norm(conv_weight(op, self.weights), op, after)
        inputs = [op.inputs[0], self.constant(f"{op.path}.weight", w.transpose(3, 2, 0, 1))]
        if b is not None:
            inputs.append(self.constant(f"{op.path}.bias", b.reshape(c)))
        self.node(
            "Conv", inputs, op.output, op.path, kernel_shape=[a["kernel"]] * 2, strides=[a["stride"]] * 2,
            pads=[a["padding"]] * 4, group=a["groups"],
        )  # fmt: skip

    def _linear(self, op: Op, after: tuple[Op, ...]) -> None:
        w, b = self._with_norm(linear_weight(op, self.weights), op, after)
        weight, y = self.constant(f"{op.path}.weight", w), op.output
        bias = [] if b is None else [self.constant(f"{op.path}.bias", b)]
        if y.side is None:
            self.node("Gemm", [op.inputs[0], weight, *bias], y, op.path)
        elif bias:
            product = self.node("MatMul", [op.inputs[0], weight], y, "", to=f"{op.path}_product", rows=True)
            self.node("Add", [product, *bias], y, op.path, rows=True)
        else:
            self.node("MatMul", [op.inputs[0], weight], y, op.path, rows=True)

    def _with_norm(self, w: np.ndarray, op: Op, after: tuple[Op, ...]) -> tuple[np.ndarray, np.ndarray | None]:
        """Weight and bias with the factors and shifts of what comes after in them."""
        b = self.weights(f"{op.path}.bias", (op.output.channels,)) if op.attributes["bias"] else None
        for one in after:
            factor, shift = affine(one, self.weights, NORM_EPSILON)
            w, b = w * factor, shift if b is None else shift + b * factor
        return w.astype(np.float32), None if b is None else b.astype(np.float32)

    def _norm(self, op: Op, after: tuple[Op, ...]) -> None:
        parts = ("scale", "shift", "mean", "var")
        values = [self.constant(f"{op.path}.{n}", self.weights(f"{op.path}.{n}", (op.output.channels,))) for n in parts]
        self.node("BatchNormalization", [op.inputs[0], *values], op.output, op.path, epsilon=NORM_EPSILON)

    def _layer_norm(self, op: Op, after: tuple[Op, ...]) -> None:
        c, rows = op.output.channels, op.output.side is not None
        parts = [self.constant(f"{op.path}.{n}", self.weights(f"{op.path}.{n}", (c,))) for n in ("scale", "shift")]
        inputs = [op.inputs[0], *parts]
        self.node("LayerNormalization", inputs, op.output, op.path, rows=rows, axis=-1, epsilon=NORM_EPSILON)

    def _gamma(self, op: Op, after: tuple[Op, ...]) -> None:
        x, rows = op.inputs[0], self.in_rows(op.inputs[0])
        shape = (-1,) if rows or x.side is None else (-1, 1, 1)
        factor = self.constant(f"{op.path}.scale", gamma_weight(op, self.weights).reshape(shape))
        self.node("Mul", [x, factor], op.output, op.path, rows=rows)

    def _act(self, op: Op, after: tuple[Op, ...]) -> None:
        x, y, name, rows = op.inputs[0], op.output, op.attributes["name"], self.in_rows(op.inputs[0])
        match name:
            case "relu6":
                bounds = [self.constant(f"clip_{v}", np.array(v, np.float32)) for v in (0, 6)]
                self.node("Clip", [x, *bounds], y, "", rows=rows)
            case "swish":
                gate = self.node("Sigmoid", [x], y, "", to=f"sigmoid_{y.index}", rows=rows)
                self.node("Mul", [x, gate], y, "", rows=rows)
            case "hsigmoid":
                self.node("HardSigmoid", [x], y, "", rows=rows, alpha=1 / 6, beta=0.5)
            case _:
                kinds = {"relu": "Relu", "hswish": "HardSwish", "gelu": "Gelu", "sigmoid": "Sigmoid"}
                self.node(kinds[name], [x], y, "", rows=rows)

    def _pool(self, op: Op, after: tuple[Op, ...]) -> None:
        if self.in_rows(op.inputs[0]) and not op.attributes["keep"]:
            axes = self.constant("axis_1", np.array([1], np.int64))
            self.node("ReduceMean", [self.read(op.inputs[0], True), axes], op.output, "", keepdims=0)
            return
        if op.attributes["keep"]:
            self.node("GlobalAveragePool", [op.inputs[0]], op.output, "")
            return
        pooled = self.node("GlobalAveragePool", [op.inputs[0]], op.output, "", to=f"pooled_{op.output.index}")
        self.node("Flatten", [pooled], op.output, "", axis=1)

    def _shuffle(self, op: Op, after: tuple[Op, ...]) -> None:
        x, y, groups = op.inputs[0], op.output, op.attributes["groups"]
        side, n = y.side, y.index
        split = np.array([0, groups, y.channels // groups, side, side], np.int64)
        parts = self.node("Reshape", [x, self.constant(f"split_{n}", split)], y, "", to=f"split_channels_{n}")
        turned = self.node("Transpose", [parts], y, "", to=f"interleaved_{n}", perm=[0, 2, 1, 3, 4])
        whole = np.array([0, y.channels, side, side], np.int64)
        self.node("Reshape", [turned, self.constant(f"join_{n}", whole)], y, "")

    def _add(self, op: Op, after: tuple[Op, ...]) -> None:
        self.node("Add", list(op.inputs), op.output, "", rows=self.in_rows(*op.inputs))

    def _sum(self, op: Op, after: tuple[Op, ...]) -> None:
        rows, y, factors = self.in_rows(*op.inputs), op.output, op.attributes["factors"]
        terms = [self.read(x, rows) for x in op.inputs]
        if factors == (1, -1):
            self.node("Sub", list(terms), y, "", rows=rows)
            return
        for n, factor in enumerate(factors):
            if factor != 1:
                constant = self.constant(f"factor_{factor}", np.array(factor, np.float32))
                terms[n] = self.node("Mul", [terms[n], constant], y, "", to=f"term_{y.index}_{n}")
        self.node("Sum", list(terms), y, "", rows=rows)

    def _average_pool(self, op: Op, after: tuple[Op, ...]) -> None:
        a = op.attributes
        self.node(
            "AveragePool", [op.inputs[0]], op.output, "", kernel_shape=[a["kernel"]] * 2, strides=[a["stride"]] * 2,
            pads=[a["padding"]] * 4, count_include_pad=0,
        )  # fmt: skip

    def _upsample(self, op: Op, after: tuple[Op, ...]) -> None:
        factor = op.attributes["factor"]
        scales = self.constant(f"scales_{factor}", np.array([1, 1, factor, factor], np.float32))
        self.node(
            "Resize", [op.inputs[0], "", scales], op.output, "", mode="linear",
            coordinate_transformation_mode="half_pixel",
        )  # fmt: skip

    def by_head(self, value: Value, heads: int, channels_last: bool, tag: str) -> str:
        """[N, heads, pixels, width], or [N, heads, width, pixels], of a map or of rows."""
        rows, n, width = self.in_rows(value), value.index, value.channels // heads
        sizes = (0, -1, heads, width) if rows else (0, heads, width, -1)
        split = self.node("Reshape", [self.read(value, rows), self.shape(*sizes)], value, "", to=f"heads_{tag}_{n}")
        if rows:
            perm = [0, 2, 1, 3] if channels_last else [0, 2, 3, 1]
        elif channels_last:
            perm = [0, 1, 3, 2]
        else:
            return split
        return self.node("Transpose", [split], value, "", to=f"turned_{tag}_{n}", perm=perm)

    def _scores(self, op: Op, after: tuple[Op, ...]) -> None:
        (q, k), heads, y = op.inputs, op.attributes["heads"], op.output
        scale = self.constant(f"scale_{q.channels // heads}", np.array((q.channels // heads) ** -0.5, np.float32))
        queries = self.node("Mul", [self.by_head(q, heads, True, "q"), scale], y, "", to=f"scaled_{y.index}")
        self.node("MatMul", [queries, self.by_head(k, heads, False, "k")], y, "scores")

    def _distance_bias(self, op: Op, after: tuple[Op, ...]) -> None:
        bias = spread_distances(op, distance_table(op, self.weights))
        self.node("Add", [op.inputs[0], self.constant(f"{op.path}.table", bias)], op.output, op.path)

    def _mix_heads(self, op: Op, after: tuple[Op, ...]) -> None:
        w, b = head_weights(op, self.weights)
        weight = self.constant(f"{op.path}.weight", w.T[:, :, None, None])
        self.node("Conv", [op.inputs[0], weight, self.constant(f"{op.path}.bias", b)], op.output, op.path)

    def _softmax(self, op: Op, after: tuple[Op, ...]) -> None:
        self.node("Softmax", [op.inputs[0]], op.output, "", axis=-1)

    def _attend(self, op: Op, after: tuple[Op, ...]) -> None:
        (s, v), y = op.inputs, op.output
        rows = self.in_rows(v)
        mixed = self.node("MatMul", [s, self.by_head(v, s.channels, True, "v")], y, "", to=f"attended_{y.index}")
        perm = [0, 2, 1, 3] if rows else [0, 1, 3, 2]
        sizes = (0, -1, y.channels) if rows else (0, y.channels, y.side or 0, y.side or 0)
        turned = self.node("Transpose", [mixed], y, "", to=f"merged_{y.index}", perm=perm)
        self.node("Reshape", [turned, self.shape(*sizes)], y, "attend", rows=rows)

    def _scale(self, op: Op, after: tuple[Op, ...]) -> None:
        self.node("Mul", list(op.inputs), op.output, "")
