"""Expected costs inside a compiled step: a ledger's products, stacked by shape into a few array operations.

A space has hundreds of small products; contracted one by one they would be thousands of tiny kernels to compile.
Numbers are the same as `dnas.cost.ledger.mean` or, as FBNetV2 has it, `dnas.cost.ledger.mean_of_sizes`.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from dnas.cost.factors import factored
from dnas.cost.ledger import Cost
from dnas.nn.gates import Gates, Layout
from dnas.space.quantity import Quantity


class StackedMeans:
    """Means of many numeric quantities at once: `means(gates)` is a vector in the order of `quantities`."""

    def __init__(self, quantities: Sequence[Quantity], layout: Layout):
        self.count = len(quantities)
        shapes: dict[tuple[int, ...], list[int]] = {}
        for position, quantity in enumerate(quantities):
            shapes.setdefault(quantity.table.shape, []).append(position)
        self.groups: list[tuple[np.ndarray, list[np.ndarray]]] = []
        order: list[int] = []
        for members in shapes.values():
            order += members
            tables = np.stack([quantities[m].table.astype(np.float64) for m in members])
            axes = picks([quantities[m] for m in members], layout)
            self.groups.append((tables, axes))
        self.position = np.argsort(order) if order else np.zeros(0, int)

    def __call__(self, gates: Gates) -> Float[Array, " quantities"]:
        parts = []
        for tables, axes in self.groups:
            result = jnp.asarray(tables.astype(np.float32))
            for pick in reversed(axes):
                rows = jnp.matmul(pick, gates.values, precision="highest")[:, : result.shape[-1]]
                result = jnp.einsum("n...k,nk->n...", result, rows, precision="highest")
            parts.append(result)
        return jnp.concatenate(parts)[self.position] if parts else jnp.zeros(0)


def picks(quantities: Sequence[Quantity], layout: Layout) -> list[Float[np.ndarray, "quantities choices"]]:
    """For each axis of equally shaped quantities, the matrix that picks that axis's rows out of the gates.

    A matrix product and not an index: the gradient of an index is a serial scatter on CPU.
    """
    result = []
    for axis in range(quantities[0].table.ndim):
        pick = np.zeros((len(quantities), layout.shape[0]), np.float32)
        for n, quantity in enumerate(quantities):
            pick[n, layout.rows[quantity.over[axis].name]] = 1
        result.append(pick)
    return result


class ExpectedCosts:
    """`expected(gates)` is the mean of each cost, [costs], under independent gates.

    `by_sizes`: the product of effective sizes in its place (Wan et al. 2020, eq. 5 to 10).
    """

    def __init__(self, costs: Sequence[Cost], layout: Layout, by_sizes: bool = False):
        factors, self.coefficients, owner, self.terms = factored(costs, by_sizes)
        self.means = StackedMeans(factors, layout)
        self.sums = np.zeros((len(costs), len(owner)), np.float32)
        self.sums[owner, np.arange(len(owner))] = 1

    def __call__(self, gates: Gates) -> Float[Array, " costs"]:
        means = jnp.concatenate([self.means(gates), jnp.ones(1)])
        values = jnp.asarray(self.coefficients, jnp.float32)
        for column in self.terms.T:
            values = values * means[column]
        return jnp.matmul(self.sums, values, precision="highest")
