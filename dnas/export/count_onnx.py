"""Multiply-accumulates of an ONNX graph, from its own shapes: a second opinion on `dnas.count`.

Knows nothing of dnas: it reads Conv, Gemm and MatMul nodes and the shapes that ONNX infers. A dynamic batch counts
as 1.
"""

from __future__ import annotations

import math
from typing import Any

from dnas.process.extras import need


def macs(model: Any) -> int:
    """MACs of an `onnx.ModelProto`."""
    onnx = need("onnx", "onnx")
    one = onnx.ModelProto()
    one.CopyFrom(model)
    for info in one.graph.input:
        for d in info.type.tensor_type.shape.dim:
            if not d.HasField("dim_value"):
                d.dim_value = 1
    graph = onnx.shape_inference.infer_shapes(one, strict_mode=True, data_prop=True).graph
    shapes = {i.name: tuple(i.dims) for i in graph.initializer}
    for info in (*graph.input, *graph.output, *graph.value_info):
        dims = info.type.tensor_type.shape.dim
        shapes[info.name] = tuple(d.dim_value if d.HasField("dim_value") else 1 for d in dims)
    total = 0
    for node in graph.node:
        attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        match node.op_type:
            case "Conv":
                # Weight is [out, in / groups, *kernel]: each output element takes one product a weight of its channel.
                total += math.prod(shapes[node.output[0]]) * math.prod(shapes[node.input[1]][1:])
            case "Gemm":
                a = shapes[node.input[0]]
                total += math.prod(shapes[node.output[0]]) * a[0 if attributes.get("transA") else 1]
            case "MatMul":
                total += math.prod(shapes[node.output[0]]) * shapes[node.input[0]][-1]
    return total
