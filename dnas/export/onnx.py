"""ONNX: one graph of plain operators, NCHW, dynamic batch, norms folded into the convolution before them.

`dnas.export.onnx_writers` has a writer for each operator.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dnas.errors import UserError
from dnas.export.onnx_builder import INPUT, Builder, names
from dnas.export.onnx_quantize import quantize
from dnas.export.onnx_writers import WRITERS, Writer, folded, macs_of_zeros
from dnas.export.trace import Network, Op, Value, Weights
from dnas.process.extras import need

OUTPUT = "logits"
OPSETS = {"Gelu": 20, "ReduceMean": 18}
INT16_OPSET = 21
OPSET = 17
"""Of a graph without the operators above, which came, or came in the form used here, later."""


def model(
    network: Network, weights: Weights, *, name: str = "dnas", metadata: Mapping[str, str] | None = None,
    full: int | None = None, check: bool = True,
) -> Any:  # fmt: skip
    """The `onnx.ModelProto` of a traced network or block, checked by onnx itself unless that would take too long.

    Input `images` is [N, C, H, W] float32, preprocessed already; output is `logits`. With `full`, images have that
    side, and the graph begins with the rows and columns of the network's own side's grid. A block that reads or gives
    several tensors has further inputs and outputs: `images2`, `logits2`.
    """
    onnx = need("onnx", "onnx")
    made = Builder(onnx, weights, len(network.inputs))
    given = network.inputs if full is None else (made.take_grid(network.input, full),)
    for op, after in folded(network.ops, network.outputs):
        first = len(made.nodes)
        writer(op, network).write(made, op, after)
        quantize(made, op, after, first, WRITERS)
    for name_there, value in zip(names(OUTPUT, network.outputs), network.outputs, strict=True):
        made.give(value, name_there, value in network.inputs)
    onnx_graph = onnx.helper.make_graph(
        made.nodes, name, _infos(onnx, INPUT, given), _infos(onnx, OUTPUT, network.outputs),
        list(made.initializers.values()),
    )  # fmt: skip
    wide = INT16_OPSET if any(i.data_type == onnx.TensorProto.INT16 for i in made.initializers.values()) else OPSET
    opset = max(wide, *(OPSETS.get(node.op_type, OPSET) for node in made.nodes))
    opsets = [onnx.helper.make_opsetid("", opset)]
    result = onnx.helper.make_model(
        onnx_graph, opset_imports=opsets, producer_name="dnas",
        ir_version=onnx.helper.find_min_ir_version_for(opsets),
    )  # fmt: skip
    onnx.helper.set_model_props(result, dict(metadata or {}))
    if check:
        onnx.checker.check_model(result, full_check=True)
    return result


def writer(op: Op, network: Network) -> Writer:
    """Raises `UserError` for an operator that ONNX cannot express."""
    if op.kind not in WRITERS:
        block = next(block.path for block in network.blocks if op in block.ops)
        raise UserError(f"{block}: ONNX cannot express the operator '{op.kind}'")
    return WRITERS[op.kind]


def filled_macs(network: Network) -> int:
    """Multiply-accumulates that the graph has beyond those of `dnas.count`: with zeros, where heads are uneven."""
    return sum(map(macs_of_zeros, network.ops))


def session(model_bytes: bytes, threads: int = 1) -> Any:
    """An onnxruntime session on the CPU."""
    ort = need("onnxruntime", "onnx")
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Without it, integer kernels of CPUs before VNNI add two products of 8 bits in 16, and cut off what is beyond.
    options.add_session_config_entry("session.x64quantprecision", "1")
    return ort.InferenceSession(model_bytes, options, providers=["CPUExecutionProvider"])


def shape(value: Value) -> tuple[int, ...]:
    """Without the batch; a map has its channels first."""
    return tuple(value.sizes.values()) if value.side is None else (value.channels, value.side, value.side)


def _infos(onnx: Any, first: str, values: Sequence[Value]) -> list[Any]:
    kind = onnx.TensorProto.FLOAT
    named = zip(names(first, values), values, strict=True)
    return [onnx.helper.make_tensor_value_info(name, kind, ["N", *shape(value)]) for name, value in named]
