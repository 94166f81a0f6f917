"""Operators on tokens, windows and patches in ONNX: a writer for each, by its kind."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dnas.export.onnx_builder import Builder, Folded, Writer
from dnas.export.trace import Op, Value, circulant_matrix, distance_vectors, window_biases
from dnas.ops import tensor
from dnas.ops.tensor import CHANNELS


def _class_token(made: Builder, op: Op, after: Folded) -> None:
    """Zeros before the tokens, to which the token is added: whatever the batch is, its size stands nowhere.

    The zeros after the token are made where the file is loaded: in the file they would be as large as all positions.
    """
    x, y = op.inputs[0], op.output
    count = op.attributes["count"]
    room = made.constant(f"room_for_tokens_{count}", np.array([0, count, 0, 0, 0, 0], np.int64))
    padded = made.node("Pad", [made.read(x, x.side is not None), room], y, "", to=f"room_{y.index}")
    token = made.constant(f"{op.path}.token", op.leaf("token", made.weights)[None])
    others = made.constant(f"others_{y.index}", np.array([0, 0, 0, 0, y.sizes[tensor.TOKENS] - count, 0], np.int64))
    alone = made.node("Pad", [token, others], y, "", to=f"token_{y.index}")
    made.node("Add", [padded, alone], y, op.path)


def merged(made: Builder, mixed: str, y: Value) -> None:
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
    place = op.attributes["place"]
    which = made.constant(f"token_{place}", np.array([place], np.int64))
    alone = made.node("Gather", [x, which], y, "", to=f"alone_{y.index}", axis=len(x.around) + 1)
    made.node("Reshape", [alone, made.shape(0, *y.sizes.values())], y, "")


def _token_mean(made: Builder, op: Op, after: Folded) -> None:
    x, y, skip = op.inputs[0], op.output, op.attributes["skip"]
    axes = made.constant(f"axis_{len(x.around) + 1}", np.array([len(x.around) + 1], np.int64))
    ends = [made.constant(f"at_{n}", np.array([n], np.int64)) for n in (skip, x.sizes[tensor.TOKENS])]
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
    shape = made.shape(0, heads, queries, table.shape[-1])
    weighted = made.node("Reshape", [product, shape], y, "", to=f"weighted_{y.index}")
    whole = replace(y, index=-y.index, sizes={**y.sizes, CHANNELS: heads * table.shape[-1]})
    if whole.channels == y.channels:
        return merged(made, weighted, y)
    merged(made, weighted, whole)
    made.take_channels(whole, op.attributes["entries"], y, f"{op.node.path}.taken")


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
    words = made.node(
        "Conv", [images, weight, bias], y, op.path, to=f"{op.path}_words", kernel_shape=[a["kernel"]] * 2,
        strides=[a["stride"]] * 2, pads=[a["padding"]] * 4,
    )  # fmt: skip
    flat = made.node(
        "Reshape", [words, made.shape(-1, across**2, y.channels, y.sizes[tensor.TOKENS])], y, "", to=f"flat_{n}"
    )
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


TOKENS: dict[str, Writer] = {
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
