"""Operators on arrays by themselves: what blocks do with a builder, evaluated under gates."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from dnas.graph import Builder
from dnas.nn.forward import Forward
from dnas.nn.lookup import StackedLookup, requests
from dnas.ops.tensor import Value


class Held:
    """Parameters drawn on first use and kept."""

    def __init__(self, values=None):
        self.values, self.updates, self.rng = dict(values or {}), {}, np.random.default_rng(0)

    def get(self, path, parameter):
        size = parameter.lengths
        if path not in self.values:
            drawn = self.rng.uniform(0.5, 1.5, size) if parameter.statistic else self.rng.normal(size=size)
            self.values[path] = drawn.astype(np.float32)
        return jnp.asarray(self.values[path])

    def update(self, path, value):
        self.updates[path] = value

    def blocks(self, run):
        raise AssertionError("operators by themselves have no blocks")


class Sliced(Held):
    """The leading part of parameters that are held already."""

    def get(self, path, parameter):
        return jnp.asarray(self.values[path][tuple(slice(n) for n in parameter.lengths)])


def evaluated(build, inputs, gates, parameters, momentum=None, forms=None, products=None, precision="float32"):
    """What `build(builder, *tensors)`, a tuple of tensors, is for `inputs`, as `Value`s."""
    builder = Builder()
    outputs = build(builder, *(x.tensor for x in inputs))
    graph = builder.graph(inputs[0].tensor, outputs[0])
    lookup = StackedLookup(requests(graph), gates.layout)(gates)
    forward = Forward(parameters, gates, lookup, momentum, forms=forms, products=products, precision=precision)
    forward.values.update({x.tensor: x.array for x in inputs})
    for part in graph.parts:
        forward.part(part)
    return [Value(y, forward.values[y]) for y in outputs]
