"""ONNX: one graph of plain operators, NCHW, dynamic batch, norms folded into the convolution before them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from dnas.export.extras import need
from dnas.export.trace import Graph, Op, Value, Weights, conv_weight, folded, linear_weight, norm_affine
from dnas.nn.forward import NORM_EPSILON
from dnas.space.space import Space

INPUT, OUTPUT = "images", "logits"
OPSET, GELU_OPSET = 17, 20


def model(
    graph: Graph, weights: Weights, *, name: str = "dnas", metadata: Mapping[str, str] | None = None, check: bool = True
) -> Any:
    """The `onnx.ModelProto` of a traced network or block, checked by onnx itself unless that would take too long.

    Input `images` is [N, C, H, W] float32, preprocessed already; output is `logits`.
    """
    onnx = need("onnx", "onnx")
    made = _Builder(onnx, weights)
    for op, norm in folded(graph.ops, graph.output):
        getattr(made, f"_{op.kind}")(op, norm)
    if not graph.ops:
        made.node("Identity", [graph.input], graph.output, "identity", to=OUTPUT)
    made.rename(graph.output, OUTPUT)
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    onnx_graph = helper.make_graph(
        made.nodes, name,
        [helper.make_tensor_value_info(INPUT, kind, _shape(graph.input))],
        [helper.make_tensor_value_info(OUTPUT, kind, _shape(graph.output))],
        list(made.initializers.values()),
    )  # fmt: skip
    opset = GELU_OPSET if any(node.op_type == "Gelu" for node in made.nodes) else OPSET
    result = helper.make_model(
        onnx_graph, opset_imports=[helper.make_opsetid("", opset)], producer_name="dnas",
        ir_version=helper.find_min_ir_version_for([helper.make_opsetid("", opset)]),
    )  # fmt: skip
    helper.set_model_props(result, dict(metadata or {}))
    if check:
        onnx.checker.check_model(result, full_check=True)
    return result


def metadata_of(space: Space) -> dict[str, str]:
    """What an ONNX file says of itself: name, input, the preprocessing its images need, labels where known."""
    extra = space.extra or {}
    found: dict[str, Any] = {key: extra[key] for key in ("preprocessing", "labels") if key in extra}
    found["input"] = {
        "layout": "NCHW", "channels": space.channels, "resolution": space.resolution.value, "classes": space.classes,
    }  # fmt: skip
    return {"dnas.name": space.name, **{f"dnas.{key}": json.dumps(value) for key, value in found.items()}}


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

    def node(
        self, kind: str, inputs: list[Value | str], output: Value, path: str, to: str = "", **attributes: Any
    ) -> str:
        """One node; `to` names an intermediate result, else the result is `output`."""
        name = to or f"{path or kind.lower()}_{output.index}"
        names = [i if isinstance(i, str) else self.names[i.index] for i in inputs]
        self.nodes.append(self.onnx.helper.make_node(kind, names, [name], name=name, **attributes))
        if not to:
            self.names[output.index] = name
        return name

    def constant(self, name: str, value: np.ndarray) -> str:
        if name not in self.initializers:
            self.initializers[name] = self.onnx.numpy_helper.from_array(np.ascontiguousarray(value), name)
        return name

    def rename(self, value: Value, name: str) -> None:
        old = self.names.get(value.index)
        for node in self.nodes:
            node.output[:] = [name if o == old else o for o in node.output]
            node.input[:] = [name if i == old and old != INPUT else i for i in node.input]

    def _conv(self, op: Op, norm: Op | None) -> None:
        a, c = op.attributes, op.output.channels
        w, b = self._with_norm(conv_weight(op, self.weights), op, norm)
        inputs = [op.inputs[0], self.constant(f"{op.path}.weight", w.transpose(3, 2, 0, 1))]
        if b is not None:
            inputs.append(self.constant(f"{op.path}.bias", b.reshape(c)))
        self.node(
            "Conv", inputs, op.output, op.path, kernel_shape=[a["kernel"]] * 2, strides=[a["stride"]] * 2,
            pads=[a["padding"]] * 4, group=a["groups"],
        )  # fmt: skip

    def _linear(self, op: Op, norm: Op | None) -> None:
        w, b = self._with_norm(linear_weight(op, self.weights), op, norm)
        inputs = [op.inputs[0], self.constant(f"{op.path}.weight", w)]
        if b is not None:
            inputs.append(self.constant(f"{op.path}.bias", b))
        self.node("Gemm", inputs, op.output, op.path)

    def _with_norm(self, w: np.ndarray, op: Op, norm: Op | None) -> tuple[np.ndarray, np.ndarray | None]:
        """Weight and bias with the norm's factor and shift in them."""
        b = self.weights(f"{op.path}.bias", (op.output.channels,)) if op.attributes["bias"] else None
        if norm is None:
            return w, b
        factor, shift = norm_affine(norm, self.weights, NORM_EPSILON)
        shift = shift if b is None else shift + b * factor
        return (w * factor).astype(np.float32), shift.astype(np.float32)

    def _norm(self, op: Op, norm: Op | None) -> None:
        parts = ("scale", "shift", "mean", "var")
        values = [self.constant(f"{op.path}.{n}", self.weights(f"{op.path}.{n}", (op.output.channels,))) for n in parts]
        self.node("BatchNormalization", [op.inputs[0], *values], op.output, op.path, epsilon=NORM_EPSILON)

    def _act(self, op: Op, norm: Op | None) -> None:
        x, y, name = op.inputs[0], op.output, op.attributes["name"]
        match name:
            case "relu6":
                bounds = [self.constant(f"clip_{v}", np.array(v, np.float32)) for v in (0, 6)]
                self.node("Clip", [x, *bounds], y, "")
            case "swish":
                gate = self.node("Sigmoid", [x], y, "", to=f"sigmoid_{y.index}")
                self.node("Mul", [x, gate], y, "")
            case "hsigmoid":
                self.node("HardSigmoid", [x], y, "", alpha=1 / 6, beta=0.5)
            case _:
                kinds = {"relu": "Relu", "hswish": "HardSwish", "gelu": "Gelu", "sigmoid": "Sigmoid"}
                self.node(kinds[name], [x], y, "")

    def _pool(self, op: Op, norm: Op | None) -> None:
        if op.attributes["keep"]:
            self.node("GlobalAveragePool", [op.inputs[0]], op.output, "")
            return
        pooled = self.node("GlobalAveragePool", [op.inputs[0]], op.output, "", to=f"pooled_{op.output.index}")
        self.node("Flatten", [pooled], op.output, "", axis=1)

    def _shuffle(self, op: Op, norm: Op | None) -> None:
        x, y, groups = op.inputs[0], op.output, op.attributes["groups"]
        side, n = y.side, y.index
        split = np.array([0, groups, y.channels // groups, side, side], np.int64)
        parts = self.node("Reshape", [x, self.constant(f"split_{n}", split)], y, "", to=f"split_channels_{n}")
        turned = self.node("Transpose", [parts], y, "", to=f"interleaved_{n}", perm=[0, 2, 1, 3, 4])
        whole = np.array([0, y.channels, side, side], np.int64)
        self.node("Reshape", [turned, self.constant(f"join_{n}", whole)], y, "")

    def _add(self, op: Op, norm: Op | None) -> None:
        self.node("Add", list(op.inputs), op.output, "")

    def _scale(self, op: Op, norm: Op | None) -> None:
        self.node("Mul", list(op.inputs), op.output, "")
