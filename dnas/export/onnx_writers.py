"""Operators in ONNX: a writer for each, by its kind.

Linear layers and layer norms on a map work on its pixels as rows, [N, H * W, C]; a value is turned from one layout to
the other only where an operator needs it, so a run of such blocks stays in rows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from dnas.export.onnx_builder import Affine, Builder, Folded, Writer
from dnas.export.onnx_tokens import TOKENS, merged
from dnas.export.trace import (
    Op,
    Value,
    Weights,
    conv_weight,
    convolution,
    entries_taken,
    reads,
    spread_distances,
    uneven_heads,
)
from dnas.ops.norm import EPSILON
from dnas.ops.tensor import CHANNELS, HEADS


def folded(ops: Sequence[Op], outputs: Sequence[Value]) -> list[tuple[Op, Folded]]:
    """Operators in order, each with what is affine and only its result enters, where its writer takes that; not across
    a result that is quantised."""
    read = reads(ops, outputs)
    pairs: list[tuple[Op, Folded]] = []
    place: dict[int, int] = {}
    for op in ops:
        source, writer = op.inputs[0].index, WRITERS.get(op.kind)
        if writer and writer.affine and source in place and read[source] == 1:
            maker, after = pairs[place[source]]
            pairs[place[source]] = replace(maker, output=op.output), (*after, op)
            place[op.output.index] = place.pop(source)
        else:
            if writer and writer.takes:
                place[op.output.index] = len(pairs)
            pairs.append((op, ()))
        if op.result_bits is not None:
            place.pop(op.output.index, None)
    return pairs


def _conv(made: Builder, op: Op, after: Folded) -> None:
    a, c = convolution(op), op.output.channels
    w, b = _with_affine(made, conv_weight(op, made.weights), op, after)
    inputs = [op.inputs[0], made.constant(f"{op.path}.weight", w.transpose(3, 2, 0, 1))]
    if b is not None:
        inputs.append(made.constant(f"{op.path}.bias", b.reshape(c)))
    made.node(
        "Conv", inputs, op.output, op.path, kernel_shape=[a["kernel"]] * 2, strides=[a["stride"]] * 2,
        pads=[a["padding"]] * 4, group=a["groups"],
    )  # fmt: skip


def _linear(made: Builder, op: Op, after: Folded) -> None:
    w, b = _with_affine(made, op.leaf("weight", made.weights), op, after)
    weight, y = made.constant(f"{op.path}.weight", w), op.output
    bias = [] if b is None else [made.constant(f"{op.path}.bias", b)]
    rows = y.side is not None
    if y.is_vector:
        made.node("Gemm", [op.inputs[0], weight, *bias], y, op.path)
    elif bias:
        product = made.node("MatMul", [op.inputs[0], weight], y, "", to=f"{op.path}_product", rows=rows)
        made.node("Add", [product, *bias], y, op.path, rows=rows)
    else:
        made.node("MatMul", [op.inputs[0], weight], y, op.path, rows=rows)


def _with_affine(made: Builder, w: np.ndarray, op: Op, after: Folded) -> tuple[np.ndarray, np.ndarray | None]:
    """Weight and bias with the factors and shifts of what comes after in them."""
    b = op.leaf("bias", made.weights) if "bias" in op.shapes else None
    for one in after:
        affine = WRITERS[one.kind].affine
        assert affine is not None
        factor, shift = affine(one, made.weights)
        w, b = w * factor, shift if b is None else shift + b * factor
    return w.astype(np.float32), None if b is None else b.astype(np.float32)


def _norm_affine(op: Op, weights: Weights) -> Affine:
    scale, shift, mean, var = (op.leaf(n, weights).astype(np.float64) for n in ("scale", "shift", "mean", "var"))
    factor = scale / np.sqrt(var + EPSILON)
    return factor, shift - mean * factor


def _scale_affine(op: Op, weights: Weights) -> Affine:
    scale = op.leaf("scale", weights).astype(np.float64)
    return scale, np.zeros_like(scale)


def _batch_norm(made: Builder, op: Op, after: Folded) -> None:
    parts = ("scale", "shift", "mean", "var")
    values = [made.constant(f"{op.path}.{n}", op.leaf(n, made.weights)) for n in parts]
    made.node("BatchNormalization", [op.inputs[0], *values], op.output, op.path, epsilon=EPSILON)


def _layer_norm(made: Builder, op: Op, after: Folded) -> None:
    rows = op.output.side is not None
    parts = [made.constant(f"{op.path}.{n}", op.leaf(n, made.weights)) for n in ("scale", "shift")]
    inputs = [op.inputs[0], *parts]
    made.node("LayerNormalization", inputs, op.output, op.path, rows=rows, axis=-1, epsilon=op.attributes["epsilon"])


def _layer_scale(made: Builder, op: Op, after: Folded) -> None:
    x, rows = op.inputs[0], made.in_rows(op.inputs[0])
    shape = (-1,) if rows or x.side is None else (-1, 1, 1)
    factor = made.constant(f"{op.path}.scale", op.leaf("scale", made.weights).reshape(shape))
    made.node("Mul", [x, factor], op.output, op.path, rows=rows)


def _activation(made: Builder, op: Op, after: Folded) -> None:
    x, y, name, rows = op.inputs[0], op.output, op.attributes["act"], made.in_rows(op.inputs[0])
    match name:
        case "relu6":
            bounds = [made.constant(f"clip_{v}", np.array(v, np.float32)) for v in (0, 6)]
            made.node("Clip", [x, *bounds], y, "", rows=rows)
        case "swish":
            gate = made.node("Sigmoid", [x], y, "", to=f"sigmoid_{y.index}", rows=rows)
            made.node("Mul", [x, gate], y, "", rows=rows)
        case "hsigmoid":
            made.node("HardSigmoid", [x], y, "", rows=rows, alpha=1 / 6, beta=0.5)
        case _:
            kinds = {"relu": "Relu", "hswish": "HardSwish", "gelu": "Gelu", "sigmoid": "Sigmoid"}
            made.node(kinds[name], [x], y, "", rows=rows)


def _global_pool(made: Builder, op: Op, after: Folded) -> None:
    if made.in_rows(op.inputs[0]) and not op.attributes["keep"]:
        axes = made.constant("axis_1", np.array([1], np.int64))
        made.node("ReduceMean", [made.read(op.inputs[0], True), axes], op.output, "", keepdims=0)
        return
    if op.attributes["keep"]:
        made.node("GlobalAveragePool", [op.inputs[0]], op.output, "")
        return
    pooled = made.node("GlobalAveragePool", [op.inputs[0]], op.output, "", to=f"pooled_{op.output.index}")
    made.node("Flatten", [pooled], op.output, "", axis=1)


def _channel_shuffle(made: Builder, op: Op, after: Folded) -> None:
    x, y, groups = op.inputs[0], op.output, op.attributes["groups"]
    side, n = y.side, y.index
    split = np.array([0, groups, y.channels // groups, side, side], np.int64)
    parts = made.node("Reshape", [x, made.constant(f"split_{n}", split)], y, "", to=f"split_channels_{n}")
    turned = made.node("Transpose", [parts], y, "", to=f"interleaved_{n}", perm=[0, 2, 1, 3, 4])
    whole = np.array([0, y.channels, side, side], np.int64)
    made.node("Reshape", [turned, made.constant(f"join_{n}", whole)], y, "")


def _residual(made: Builder, op: Op, after: Folded) -> None:
    made.node("Add", list(op.inputs), op.output, "", rows=made.in_rows(*op.inputs))


def _weighted_sum(made: Builder, op: Op, after: Folded) -> None:
    rows, y, factors = made.in_rows(*op.inputs), op.output, op.attributes["factors"]
    terms = [made.read(x, rows) for x in op.inputs]
    if factors == (1, 1):
        made.node("Add", list(op.inputs), y, "", rows=rows)
        return
    if factors == (1, -1):
        made.node("Sub", list(terms), y, "", rows=rows)
        return
    for n, factor in enumerate(factors):
        if factor != 1:
            constant = made.constant(f"factor_{factor}", np.array(factor, np.float32))
            terms[n] = made.node("Mul", [terms[n], constant], y, "", to=f"term_{y.index}_{n}")
    made.node("Sum", list(terms), y, "", rows=rows)


def _average_pool(made: Builder, op: Op, after: Folded) -> None:
    a = op.attributes
    made.node(
        "AveragePool", [op.inputs[0]], op.output, "", kernel_shape=[a["kernel"]] * 2, strides=[a["stride"]] * 2,
        pads=[a["padding"]] * 4, count_include_pad=0,
    )  # fmt: skip


def _upsample(made: Builder, op: Op, after: Folded) -> None:
    factor = op.attributes["factor"]
    scales = made.constant(f"scales_{factor}", np.array([1, 1, factor, factor], np.float32))
    made.node(
        "Resize", [op.inputs[0], "", scales], op.output, "", mode="linear",
        coordinate_transformation_mode="half_pixel",
    )  # fmt: skip


def _attention_scores(made: Builder, op: Op, after: Folded) -> None:
    (q, k), heads, y = op.inputs, op.attributes["heads"], op.output
    scale = made.constant(f"scale_{q.channels // heads}", np.array((q.channels // heads) ** -0.5, np.float32))
    queries = made.node("Mul", [made.by_head(q, heads, True, "q"), scale], y, "", to=f"scaled_{y.index}")
    made.node("MatMul", [queries, made.by_head(k, heads, False, "k")], y, "scores")


def _distance_bias(made: Builder, op: Op, after: Folded) -> None:
    bias = spread_distances(op, op.leaf("table", made.weights))
    made.node("Add", [op.inputs[0], made.constant(f"{op.path}.table", bias)], op.output, op.path)


def _mix_heads(made: Builder, op: Op, after: Folded) -> None:
    weight = made.constant(f"{op.path}.weight", op.leaf("weight", made.weights).T[:, :, None, None])
    bias = made.constant(f"{op.path}.bias", op.leaf("bias", made.weights))
    made.node("Conv", [op.inputs[0], weight, bias], op.output, op.path)


def _softmax(made: Builder, op: Op, after: Folded) -> None:
    made.node("Softmax", [op.inputs[0]], op.output, "", axis=-1)


def _attend(made: Builder, op: Op, after: Folded) -> None:
    uneven = uneven_heads(op)
    if uneven is None:
        return _attend_evenly(made, op.inputs[0], op.inputs[1], op.output)
    # As if all heads were as wide as the widest: zeros where a channel is missing.
    (s, v), y, width = op.inputs, op.output, uneven.width * op.inputs[0].sizes[HEADS]
    wide_v, wide_y = (replace(x, index=-x.index, sizes={**x.sizes, CHANNELS: width}) for x in (v, y))
    spread = [uneven.places.index(place) if place in uneven.places else v.channels for place in range(width)]
    made.take_channels(v, spread, wide_v, f"{op.node.path}.spread")
    _attend_evenly(made, s, wide_v, wide_y)
    made.take_channels(wide_y, uneven.places, y, f"{op.node.path}.taken")


def macs_of_zeros(op: Op) -> int:
    """Multiply-accumulates of an operator with the zeros that make all heads as wide as the widest: queries times keys
    for each such channel, in each window; `dnas.count` has none of them."""
    uneven = uneven_heads(op) if op.kind == "attend" else None
    if uneven is None:
        return 0
    s, v = op.inputs
    heads = s.sizes[HEADS]
    return math.prod(s.sizes.values()) // heads * (heads * uneven.width - v.channels)


def _attend_evenly(made: Builder, s: Value, v: Value, y: Value) -> None:
    rows = made.in_rows(v)
    mixed = made.node("MatMul", [s, made.by_head(v, s.sizes[HEADS], True, "v")], y, "", to=f"attended_{y.index}")
    if y.side is None:
        merged(made, mixed, y)
        return
    perm = [0, 2, 1, 3] if rows else [0, 1, 3, 2]
    sizes = (0, -1, y.channels) if rows else (0, y.channels, y.side or 0, y.side or 0)
    turned = made.node("Transpose", [mixed], y, "", to=f"merged_{y.index}", perm=perm)
    made.node("Reshape", [turned, made.shape(*sizes)], y, "attend", rows=rows)


def _select(made: Builder, op: Op, after: Folded) -> None:
    (axis, entries), x = entries_taken(op), op.inputs[0]
    if op.attributes["axis"] == CHANNELS:
        made.take_channels(x, entries, op.output, op.node.path)
        return
    index = made.constant(f"{op.node.path}.entries", np.array(entries, np.int64))
    made.node("Gather", [x, index], op.output, op.node.path, axis=axis)


def _excite(made: Builder, op: Op, after: Folded) -> None:
    made.node("Mul", list(op.inputs), op.output, "")


WRITERS: dict[str, Writer] = {
    "conv": Writer(_conv, takes=True),
    "depthwise": Writer(_conv, takes=True),
    "pointwise": Writer(_conv, takes=True),
    "linear": Writer(_linear, takes=True),
    "batch_norm": Writer(_batch_norm, affine=_norm_affine),
    "layer_norm": Writer(_layer_norm),
    "layer_scale": Writer(_layer_scale, affine=_scale_affine),
    "activation": Writer(_activation),
    "global_pool": Writer(_global_pool),
    "average_pool": Writer(_average_pool),
    "upsample": Writer(_upsample),
    "channel_shuffle": Writer(_channel_shuffle),
    "residual": Writer(_residual),
    "weighted_sum": Writer(_weighted_sum),
    "excite": Writer(_excite),
    "attention_scores": Writer(_attention_scores),
    "distance_bias": Writer(_distance_bias),
    "mix_heads": Writer(_mix_heads),
    "softmax": Writer(_softmax),
    "attend": Writer(_attend),
    "select": Writer(_select),
    **TOKENS,
}
