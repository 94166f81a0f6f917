"""Operators in ONNX: a writer for each, by its kind.

Linear layers and layer norms on a map work on its pixels as rows, [N, H * W, C]; a value is turned from one layout to
the other only where an operator needs it, so a run of such blocks stays in rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from dnas.export.onnx_builder import Builder
from dnas.export.trace import (
    Op,
    Value,
    Weights,
    circulant_matrix,
    conv_weight,
    convolution,
    distance_vectors,
    reads,
    spread_distances,
    window_biases,
)
from dnas.ops.norm import EPSILON
from dnas.ops.tensor import HEADS, TOKENS

Folded = tuple[Op, ...]
"""What comes after an operator and moves into its weights."""
Affine = tuple[np.ndarray, np.ndarray]
"""Factor and shift a channel, in float64."""


class Writer(NamedTuple):
    """How ONNX gets an operator."""

    write: Callable[[Builder, Op, Folded], None]
    takes: bool = False
    """Whether what is affine after it can move into its weights."""
    affine: Callable[[Op, Weights], Affine] | None = None
    """Of what can move so, in evaluation mode."""


def folded(ops: Sequence[Op], last: Value) -> list[tuple[Op, Folded]]:
    """Operators in order, each with what is affine and only its result enters, where its writer takes that."""
    read = reads(ops, last)
    pairs: list[tuple[Op, Folded]] = []
    place: dict[int, int] = {}
    for op in ops:
        source, writer = op.inputs[0].index, WRITERS.get(op.kind)
        if writer and writer.affine and source in place and read[source] == 1:
            maker, after = pairs[place[source]]
            pairs[place[source]] = replace(maker, output=op.output), (*after, op)
            place[op.output.index] = place.pop(source)
            continue
        if writer and writer.takes:
            place[op.output.index] = len(pairs)
        pairs.append((op, ()))
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
    (s, v), y = op.inputs, op.output
    rows = made.in_rows(v)
    mixed = made.node("MatMul", [s, made.by_head(v, s.sizes[HEADS], True, "v")], y, "", to=f"attended_{y.index}")
    if y.side is None:
        _merged(made, mixed, y)
        return
    perm = [0, 2, 1, 3] if rows else [0, 1, 3, 2]
    sizes = (0, -1, y.channels) if rows else (0, y.channels, y.side or 0, y.side or 0)
    turned = made.node("Transpose", [mixed], y, "", to=f"merged_{y.index}", perm=perm)
    made.node("Reshape", [turned, made.shape(*sizes)], y, "attend", rows=rows)


def _excite(made: Builder, op: Op, after: Folded) -> None:
    made.node("Mul", list(op.inputs), op.output, "")


def _class_token(made: Builder, op: Op, after: Folded) -> None:
    """Zeros before the tokens, to which the token is added: whatever the batch is, its size stands nowhere."""
    x, y = op.inputs[0], op.output
    count = op.attributes["count"]
    room = made.constant(f"room_for_tokens_{count}", np.array([0, count, 0, 0, 0, 0], np.int64))
    padded = made.node("Pad", [made.read(x, x.side is not None), room], y, "", to=f"room_{y.index}")
    token = np.zeros((1, *y.sizes.values()), np.float32)
    token[:, :count] = op.leaf("token", made.weights)
    made.node("Add", [padded, made.constant(f"{op.path}.token", token)], y, op.path)


def _merged(made: Builder, mixed: str, y: Value) -> None:
    """Heads beside one another: [N, heads, tokens, width] as [N, tokens, channels], with what is around tokens."""
    first = len(y.around) + 1
    perm = [*range(first), first + 1, first, first + 2]
    turned = made.node("Transpose", [mixed], y, "", to=f"merged_{y.index}", perm=perm)
    made.node("Reshape", [turned, made.shape(0, *y.sizes.values())], y, "attend")


def _positions(made: Builder, op: Op, after: Folded) -> None:
    x, table = op.inputs[0], op.leaf("table", made.weights)
    table = table if x.side is None else table.transpose(2, 0, 1)
    made.node("Add", [x, made.constant(f"{op.path}.table", table)], op.output, op.path)


def _first_token(made: Builder, op: Op, after: Folded) -> None:
    x, y = op.inputs[0], op.output
    first = made.constant("first", np.array([0], np.int64))
    alone = made.node("Gather", [x, first], y, "", to=f"first_{y.index}", axis=len(x.around) + 1)
    made.node("Reshape", [alone, made.shape(0, *y.sizes.values())], y, "")


def _token_mean(made: Builder, op: Op, after: Folded) -> None:
    x, y, skip = op.inputs[0], op.output, op.attributes["skip"]
    axes = made.constant(f"axis_{len(x.around) + 1}", np.array([len(x.around) + 1], np.int64))
    ends = [made.constant(f"at_{n}", np.array([n], np.int64)) for n in (skip, x.sizes[TOKENS])]
    left = made.node("Slice", [x, *ends, axes], y, "", to=f"without_{y.index}")
    made.node("ReduceMean", [left, axes], y, "", keepdims=0)


def _relative_scores(made: Builder, op: Op, after: Folded) -> None:
    """A matrix product for each query: its vector with those of the distances of all keys."""
    q, y, table = op.inputs[0], op.output, distance_vectors(op, made.weights)
    heads, queries, keys = y.sizes.values()
    width = table.shape[-1]
    split = made.by_head(q, heads, True, f"r{y.index}")
    alone = made.node("Reshape", [split, made.shape(0, heads, queries, 1, width)], y, "", to=f"queries_{y.index}")
    scaled = made.constant(f"{op.path}.vectors", (table * width**-0.5).transpose(0, 2, 1))
    product = made.node("MatMul", [alone, scaled], y, "", to=f"distances_{y.index}")
    made.node("Reshape", [product, made.shape(0, heads, queries, keys)], y, op.path)


def _relative_values(made: Builder, op: Op, after: Folded) -> None:
    s, y, table = op.inputs[0], op.output, distance_vectors(op, made.weights)
    heads, queries, keys = s.sizes.values()
    alone = made.node("Reshape", [s, made.shape(0, heads, queries, 1, keys)], y, "", to=f"scores_{y.index}")
    vectors = made.constant(f"{op.path}.vectors", table)
    product = made.node("MatMul", [alone, vectors], y, "", to=f"distances_{y.index}")
    rows = made.shape(0, heads, queries, table.shape[-1])
    _merged(made, made.node("Reshape", [product, rows], y, "", to=f"weighted_{y.index}"), y)


def _window_partition(made: Builder, op: Op, after: Folded) -> None:
    x, y, w = op.inputs[0], op.output, op.attributes["side"]
    assert x.side is not None
    across = -(-x.side // w)
    whole = _padded(made, made.read(x), y, across * w - x.side)
    whole = _moved(made, whole, y, across * w, -op.attributes["shift"])
    cut = made.node("Reshape", [whole, made.shape(0, x.channels, across, w, across, w)], y, "", to=f"cut_{y.index}")
    turned = made.node("Transpose", [cut], y, "", to=f"windows_{y.index}", perm=[0, 2, 4, 3, 5, 1])
    made.node("Reshape", [turned, made.shape(0, *y.sizes.values())], y, "")


def _window_merge(made: Builder, op: Op, after: Folded) -> None:
    x, y = op.inputs[0], op.output
    across, w = (round(length**0.5) for length in list(x.sizes.values())[:2])
    cut = made.node("Reshape", [x, made.shape(0, across, across, w, w, y.channels)], y, "", to=f"cut_{y.index}")
    turned = made.node("Transpose", [cut], y, "", to=f"rows_of_{y.index}", perm=[0, 5, 1, 3, 2, 4])
    shape = made.shape(0, y.channels, across * w, across * w)
    whole = made.node("Reshape", [turned, shape], y, "", to=f"whole_{y.index}")
    whole = _moved(made, whole, y, across * w, op.attributes["shift"])
    ends = [made.constant(f"ends_{n}", np.array([n, n], np.int64)) for n in (0, y.side or 0)]
    made.node("Slice", [whole, *ends, made.constant("axes_2_3", np.array([2, 3], np.int64))], y, "")


def _padded(made: Builder, x: str, y: Value, missing: int) -> str:
    """A map with zeros below and on the right."""
    if not missing:
        return x
    room = made.constant(f"room_{missing}", np.array([0, 0, 0, 0, 0, 0, missing, missing], np.int64))
    return made.node("Pad", [x, room], y, "", to=f"padded_{y.index}")


def _moved(made: Builder, x: str, y: Value, side: int, by: int) -> str:
    """A map moved to the right and down, what leaves it coming in on the other side."""
    if not by:
        return x
    index = made.constant(f"moved_{side}_{by}", np.roll(np.arange(side), by).astype(np.int64))
    rows = made.node("Gather", [x, index], y, "", to=f"moved_rows_{y.index}", axis=2)
    return made.node("Gather", [rows, index], y, "", to=f"moved_{y.index}", axis=3)


def _window_bias(made: Builder, op: Op, after: Folded) -> None:
    s, y = op.inputs[0], op.output
    bias = made.constant(f"{op.path}.table", window_biases(op, made.weights))
    made.node("Add", [s, bias], y, op.path)


def _space_to_depth(made: Builder, op: Op, after: Folded) -> None:
    x, y = op.inputs[0], op.output
    assert x.side is not None and y.side is not None
    whole = _padded(made, made.read(x), y, x.side % 2)
    cut = made.node("Reshape", [whole, made.shape(0, x.channels, y.side, 2, y.side, 2)], y, "", to=f"cut_{y.index}")
    turned = made.node("Transpose", [cut], y, "", to=f"neighbours_{y.index}", perm=[0, 5, 3, 1, 2, 4])
    made.node("Reshape", [turned, made.shape(0, y.channels, y.side, y.side)], y, "")


def _word_embed(made: Builder, op: Op, after: Folded) -> None:
    """Patches as images of their own, convolved, and their pixels as words."""
    x, y, a = op.inputs[0], op.output, op.attributes
    assert x.side is not None
    across, p, n = x.side // a["patch"], a["patch"], y.index
    split = made.shape(0, x.channels, across, p, across, p)
    cut = made.node("Reshape", [made.read(x), split], y, "", to=f"cut_{n}")
    turned = made.node("Transpose", [cut], y, "", to=f"patches_{n}", perm=[0, 2, 4, 1, 3, 5])
    images = made.node("Reshape", [turned, made.shape(-1, x.channels, p, p)], y, "", to=f"images_{n}")
    weight = made.constant(f"{op.path}.weight", op.leaf("weight", made.weights).transpose(3, 2, 0, 1))
    bias = made.constant(f"{op.path}.bias", op.leaf("bias", made.weights))
    sizes = {"kernel_shape": [a["kernel"]] * 2, "strides": [a["stride"]] * 2, "pads": [a["padding"]] * 4}
    words = made.node("Conv", [images, weight, bias], y, op.path, to=f"{op.path}_words", **sizes)
    flat = made.node("Reshape", [words, made.shape(-1, across**2, y.channels, y.sizes[TOKENS])], y, "", to=f"flat_{n}")
    made.node("Transpose", [flat], y, "", perm=[0, 1, 3, 2])


def _join_tokens(made: Builder, op: Op, after: Folded) -> None:
    made.node("Reshape", [op.inputs[0], made.shape(0, *op.output.sizes.values())], op.output, "")


def _leading_zeros(made: Builder, op: Op, after: Folded) -> None:
    count = op.attributes["count"]
    room = made.constant(f"room_for_tokens_{count}", np.array([0, count, 0, 0, 0, 0], np.int64))
    made.node("Pad", [op.inputs[0], room], op.output, "")


def _learned_scores(made: Builder, op: Op, after: Folded) -> None:
    table = made.constant(f"{op.path}.table", op.leaf("table", made.weights)[None])
    made.node("Identity", [table], op.output, op.path)


def _circulant(made: Builder, op: Op, after: Folded) -> None:
    weight = made.constant(f"{op.path}.weight", circulant_matrix(op, made.weights))
    y, rows = op.output, op.output.side is not None
    product = made.node("MatMul", [op.inputs[0], weight], y, "", to=f"{op.path}_product", rows=rows)
    bias = made.constant(f"{op.path}.bias", op.leaf("bias", made.weights))
    made.node("Add", [product, bias], y, op.path, rows=rows)


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
    "class_token": Writer(_class_token),
    "positions": Writer(_positions),
    "first_token": Writer(_first_token),
    "token_mean": Writer(_token_mean),
    "relative_scores": Writer(_relative_scores),
    "relative_values": Writer(_relative_values),
    "window_partition": Writer(_window_partition),
    "window_merge": Writer(_window_merge),
    "window_bias": Writer(_window_bias),
    "space_to_depth": Writer(_space_to_depth),
    "word_embed": Writer(_word_embed),
    "join_tokens": Writer(_join_tokens),
    "leading_zeros": Writer(_leading_zeros),
    "learned_scores": Writer(_learned_scores),
    "circulant": Writer(_circulant),
}
