"""Quantised products in an ONNX graph: pairs of QuantizeLinear and DequantizeLinear around them (QDQ).

A runtime replaces a product between such pairs by an integer kernel. Whatever a writer made of an operator, its product
is one Conv, Gemm or MatMul, and the factors of that are quantised here.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from dnas.export.onnx_builder import Affine, Builder, Folded, Writer
from dnas.export.trace import Op, Weights
from dnas.space.quantized import FIRST, RESULT, SECOND

PRODUCTS = ("Conv", "Gemm", "MatMul")
MOST_BIAS = 2**30
"""Largest whole number of a bias."""


def quantize(made: Builder, op: Op, after: Folded, first: int, writers: dict[str, Writer]) -> None:
    """Quantises what `op` and what is folded into it made: the nodes from the `first` on."""
    how = op.node.quantized
    if how is not None and how.bits is not None:
        place = next(n for n in range(first, len(made.nodes)) if made.nodes[n].op_type in PRODUCTS)
        _factors(made, op, after, place, how.bits, writers)
    last = (op, *after)[-1]
    if last.result_bits is not None:
        _result(made, op, _step(made, last, RESULT), last.result_bits)


def _factors(made: Builder, op: Op, after: Folded, place: int, bits: int, writers: dict[str, Writer]) -> None:
    node = made.nodes.pop(place)
    later, made.nodes[place:] = made.nodes[place:], []
    by_x, by_w = _moved(op, after, made.weights, writers)
    x_step, w_step = _step(made, op, FIRST) * by_x, _step(made, op, SECOND) * by_w
    node.input[0] = pair(made, node.input[0], x_step, bits, f"{op.node.path}.first")
    if node.input[1] in made.initializers:
        w_step = _weight(made, node, w_step, x_step, bits)
    else:
        node.input[1] = pair(made, node.input[1], w_step, bits, f"{op.node.path}.second")
    if len(node.input) > 2:
        _bias(made, node, x_step * w_step)
    made.nodes += [node, *later]


def _moved(op: Op, after: Folded, weights: Weights, writers: dict[str, Writer]) -> tuple[Any, Any]:
    """By what the writer has multiplied each factor: the root of the width of a head, what is folded into weights."""
    by_x, by_w = 1.0, np.ones(())
    if op.kind == "attention_scores":
        by_x = (op.inputs[0].channels // op.attributes["heads"]) ** -0.5
    elif op.kind == "relative_scores":
        by_w = np.array(op.attributes["width"] ** -0.5)
    for one in after:
        affine = writers[one.kind].affine
        assert affine is not None
        factor: Affine = affine(one, weights)
        by_w = by_w * factor[0]
    return by_x, by_w


def pair(made: Builder, x: str, step: Any, bits: int, name: str) -> str:
    """The name of x on the grid of `bits` bits; what is beyond fewer than 8 is cut off before."""
    scale, zero = made.constant(f"{name}.step", np.array(step, np.float32)), _zero(made, bits)
    half = 2 ** (bits - 1)
    if bits not in (8, 16):
        ends = [made.constant(f"{name}.{end}", np.array(n * step, np.float32)) for end, n in _ends(half)]
        made.nodes.append(made.onnx.helper.make_node("Clip", [x, *ends], [f"{name}.cut"]))
        x = f"{name}.cut"
    for kind, to in (("QuantizeLinear", f"{name}.q"), ("DequantizeLinear", f"{name}.dq")):
        made.nodes.append(made.onnx.helper.make_node(kind, [x, scale, zero], [to]))
        x = to
    return x


def _ends(half: int) -> tuple[tuple[str, int], tuple[str, int]]:
    return ("least", -half), ("most", half - 1)


def _weight(made: Builder, node: Any, step: np.ndarray, x_step: Any, bits: int) -> np.ndarray:
    """Weights as whole numbers, and the steps that they have: those of channels that a norm turns round are positive,
    and no smaller than a bias needs."""
    name, axis = node.input[1], 0 if node.op_type == "Conv" else 1
    w = made.onnx.numpy_helper.to_array(made.initializers.pop(name)).astype(np.float64)
    step = np.abs(step)
    if step.ndim:
        step = np.where(step > 0, step, np.median(step[step > 0]) if (step > 0).any() else 1.0)
        if len(node.input) > 2:
            bias = made.onnx.numpy_helper.to_array(made.initializers[node.input[2]])
            step = np.maximum(step, np.abs(bias) / (x_step * MOST_BIAS))
    half = 2 ** (bits - 1)
    shape = [-1 if n == axis else 1 for n in range(w.ndim)] if step.ndim else []
    integers = np.clip(np.round(w / step.reshape(shape)), -half, half - 1).astype(_kind(bits))
    node.input[1] = _constant(made, name, integers, step, axis)
    return step


def _bias(made: Builder, node: Any, step: np.ndarray) -> None:
    name = node.input[2]
    bias = made.onnx.numpy_helper.to_array(made.initializers.pop(name)).astype(np.float64)
    integers = np.clip(np.round(bias / step), -(2**31), 2**31 - 1).astype(np.int32)
    node.input[2] = _constant(made, name, integers, step, 0)


def _constant(made: Builder, name: str, integers: np.ndarray, step: np.ndarray, axis: int) -> str:
    """Whole numbers times their steps, as they stand in the file."""
    step = np.asarray(step, np.float32)
    inputs = [made.constant(f"{name}.q", integers), made.constant(f"{name}.step", step)]
    if integers.dtype != np.int32:
        inputs.append(made.constant(f"{name}.zero", np.zeros(step.shape, integers.dtype)))
    attributes = {"axis": axis} if step.ndim else {}
    made.nodes.append(made.onnx.helper.make_node("DequantizeLinear", inputs, [name], **attributes))
    return name


def _result(made: Builder, op: Op, step: Any, bits: int) -> None:
    names = made.rows if op.output.index in made.rows else made.names
    names[op.output.index] = pair(made, names[op.output.index], step, bits, f"{op.node.path}.result")


def _step(made: Builder, op: Op, name: str) -> np.ndarray:
    shape = op.node.scales[name].lengths
    return made.weights(f"{op.node.path}.{name}", shape).astype(np.float64)


def _kind(bits: int) -> type:
    return np.int8 if bits <= 8 else np.int16


def _zero(made: Builder, bits: int) -> str:
    """The zero point of what is computed: runtimes want it written out. Constants have their own, which runtimes
    change."""
    zero = np.zeros((), _kind(bits))
    return made.constant(f"zero.{zero.dtype.name}", zero)
