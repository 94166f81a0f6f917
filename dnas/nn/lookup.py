"""What a forward pass reads from its gates - means of quantities and channel masks - worked out all at once.

A space asks for a few hundred scalars and a hundred masks, most of them of a few shapes. Every operator says what it
will read (`dnas.ops.operator.Operator.reads`); what is made from that computes everything in a handful of array
operations, and the forward pass picks its values out. Compiling is several times faster than with one small kernel for
each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from dnas.graph import Graph
from dnas.nn.expected import StackedMeans, picks
from dnas.nn.gates import Gates, Layout
from dnas.nn.pytree import pytree
from dnas.ops.tensor import Axis
from dnas.space.entries import Given
from dnas.space.quantity import Quantity


@runtime_checkable
class Lookup(Protocol):
    """Means and masks under the gates of one forward pass."""

    def mean(self, quantity: Quantity) -> Float[Array, ""]: ...
    def mask(self, axis: Axis) -> Float[Array, " axis"]: ...
    def shares(self, width: Quantity) -> Float[Array, " values"]:
        """The probability of each of its values, in ascending order."""
        ...


class Requests:
    """What operators read (`dnas.ops.operator.Reads`)."""

    def __init__(self) -> None:
        self.means: dict[tuple, Quantity] = {}
        self.masks: dict[tuple, Quantity] = {}
        """Sizes whose masks follow from gates; given ones come with the gates."""
        self.widths: dict[tuple, Quantity] = {}

    def mean(self, quantity: Quantity) -> None:
        self.means[quantity.identity] = quantity

    def mask(self, axis: Axis) -> None:
        if not isinstance(axis.size, Given):
            self.masks[axis.size.identity] = axis.size

    def shares(self, quantity: Quantity) -> None:
        self.widths[quantity.identity] = quantity


def requests(graph: Graph) -> Requests:
    """What a forward pass of a graph reads."""
    found = Requests()
    for node in graph.nodes:
        node.operator.reads(found, node.output, *node.inputs)
    return found


class StackedLookup:
    """Answers requests: `stacked(gates, given)` is a `Lookup`; `given` are masks by name (`dnas.space.entries`)."""

    def __init__(self, requests: Requests, layout: Layout):
        self.means = StackedMeans(list(requests.means.values()), layout)
        self.mean_index = {key: n for n, key in enumerate(requests.means)}
        groups: dict[tuple, list[tuple]] = {}
        for key, size in requests.masks.items():
            groups.setdefault((size.nested, size.table.shape, size.length), []).append(key)
        self.mask_groups: list[_PrefixMasks | _SetMasks] = []
        self.mask_index: dict[tuple, tuple[int, int]] = {}
        for number, ((nested, _, _), keys) in enumerate(groups.items()):
            sizes = [requests.masks[key] for key in keys]
            self.mask_groups.append((_PrefixMasks if nested else _SetMasks)(sizes, layout))
            self.mask_index |= {key: (number, n) for n, key in enumerate(keys)}
        same: dict[tuple, list[tuple]] = {}
        for key, width in requests.widths.items():
            same.setdefault((width.table.shape, len(width.values())), []).append(key)
        self.share_groups = [_ShareGroup([requests.widths[key] for key in keys], layout) for keys in same.values()]
        self.share_index = {key: (g, n) for g, keys in enumerate(same.values()) for n, key in enumerate(keys)}

    def __call__(self, gates: Gates, given: Mapping[str, Array] | None = None) -> Lookup:
        masks, shares = ([group(gates) for group in groups] for groups in (self.mask_groups, self.share_groups))
        return _Answers(self, self.means(gates), masks, shares, dict(given or {}))


@pytree("means", "masks", "widths", "given", static="stacked")
@dataclass(frozen=True)
class _Answers:
    stacked: StackedLookup
    means: Array
    masks: list[Array]
    widths: list[Array]
    given: dict[str, Array]

    def mean(self, quantity: Quantity) -> Array:
        return self.means[self.stacked.mean_index[quantity.identity]]

    def mask(self, axis: Axis) -> Array:
        if isinstance(axis.size, Given):
            return self.given[axis.size.name]
        group, n = self.stacked.mask_index[axis.size.identity]
        return self.masks[group][n]

    def shares(self, width: Quantity) -> Array:
        group, n = self.stacked.share_index[width.identity]
        return self.widths[group][n]


class _JointGates:
    """Probabilities of the joint options of quantities whose tables have one shape."""

    def __init__(self, quantities: Sequence[Quantity], layout: Layout):
        self.count, self.options = len(quantities), quantities[0].table.shape
        self.picks = picks(quantities, layout)

    def __call__(self, gates: Gates) -> Float[Array, "quantities options"]:
        p = jnp.ones((self.count, 1))
        for count, pick in zip(self.options, self.picks, strict=True):
            rows = jnp.matmul(pick, gates.values, precision="highest")[:, :count]
            p = (p[:, :, None] * rows[:, None, :]).reshape(self.count, -1)
        return p


class _PrefixMasks:
    """Masks of one length over tables of one shape: M[c] = probability that channel c is below the width."""

    def __init__(self, widths: Sequence[Quantity], layout: Layout):
        self.size, self.joint = widths[0].length, _JointGates(widths, layout)
        self.tables = np.stack([w.table.reshape(-1).astype(np.int32) for w in widths])

    def __call__(self, gates: Gates) -> Float[Array, "widths channels"]:
        kept = jnp.asarray(self.tables)[:, :, None] > jnp.arange(self.size)
        return jnp.sum(jnp.where(kept, self.joint(gates)[:, :, None], 0), axis=1)


class _SetMasks:
    """The same of sets of entries: M[c] = probability that entry c is kept."""

    def __init__(self, sizes: Sequence[Quantity], layout: Layout):
        self.joint, self.members = _JointGates(sizes, layout), np.stack([size.members() for size in sizes])

    def __call__(self, gates: Gates) -> Float[Array, "sizes entries"]:
        return jnp.einsum("no,noc->nc", self.joint(gates), self.members.astype(np.float32), precision="highest")


class _ShareGroup:
    """Probabilities of the values of widths whose tables have one shape and as many values."""

    def __init__(self, widths: list[Quantity], layout: Layout):
        self.joint = _JointGates(widths, layout)
        rows = [np.unique(w.table.reshape(-1), return_inverse=True)[1].reshape(-1) for w in widths]
        self.which = np.stack([row[:, None] == np.arange(row.max() + 1) for row in rows]).astype(np.float32)

    def __call__(self, gates: Gates) -> Float[Array, "widths values"]:
        return jnp.einsum("no,nov->nv", self.joint(gates), self.which, precision="highest")
