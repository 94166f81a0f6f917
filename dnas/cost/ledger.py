"""What a network costs: functions over the records of its graph (`dnas.graph.Graph.ledger`), one an operator.

Counting convention, stated here once and referred to everywhere else:

* **MACs** are multiply-accumulates of convolutions, linear layers and the two products of attention:
  `out_h * out_w * out * (in / groups) * k * k` for a convolution, `in * out` for a linear layer. Squeeze-excite and
  classifier are included. Biases, norms, activations, pooling, resizing and additions are not. Batch 1.
  "FLOPs" on the command line means MACs, as in the FBNet papers.
* **params** are all trainable numbers: weights, biases and the scale and shift of norms; running statistics are not.

Every number in a record is a `Product` of quantities, so the same ledger gives the exact integers of one architecture
(`at`), the exact mean over sampled architectures (`mean`, under probabilities) and its gradient.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from dnas.graph import Record
from dnas.space.quantity import Assignment, Gates, Product

Cost = tuple[Product, ...]
"""A sum of products: multilinear in the gates."""


def macs(records: Iterable[Record]) -> Cost:
    """Multiply-accumulates of the records."""
    return _existing(r.given * r.macs for r in records)


def params(records: Iterable[Record]) -> Cost:
    """Trainable numbers of the records."""
    return _existing(r.given * part for r in records for part in (r.weights, r.biases, r.affine))


COSTS = {"MACs": macs, "params": params}


def _existing(products: Iterable[Product]) -> Cost:
    return tuple(p for p in products if not any(q.is_constant and q.value == 0 for q in p.factors))


def at(cost: Cost, assignment: Assignment) -> Any:
    """Exact cost of one architecture."""
    return sum(product.at(assignment) for product in cost)


def mean(cost: Cost, gates: Gates) -> Any:
    """Cost under gates: the exact mean over architectures drawn from independent probabilities."""
    return sum(product.mean(gates) for product in cost)


def mean_of_sizes(cost: Cost, gates: Gates) -> Any:
    """The product of effective sizes (Wan et al. 2020, eq. 5 to 10); no mean where one choice decides two sizes."""
    return sum(product.mean_of_sizes(gates) for product in cost)


def merged(cost: Cost, limit: int = 4096) -> Cost:
    """The same cost with fewer terms: products over the same few choices become one joint table.

    Only for speed of compilation and evaluation; `limit` bounds the entries of a joint table.
    """
    groups: list[tuple[set, Product]] = []
    for product in cost:
        over = set(product.over)
        for index, (names, other) in enumerate(groups):
            joined = names | over
            size = 1
            for choice in joined:
                size *= len(choice)
            if (names <= over or over <= names) and size <= limit:
                groups[index] = (joined, Product(product.joint() + other.joint()))
                break
        else:
            groups.append((over, product))
    return tuple(product for _, product in groups)


def by_block(records: Sequence[Record], paths: Sequence[str]) -> dict[str, list[Record]]:
    """The records under each block's path."""
    found: dict[str, list[Record]] = {path: [] for path in paths}
    for record in records:
        parts = record.path.split(".")
        for length in range(1, len(parts) + 1):
            found.get(".".join(parts[:length]), []).append(record)
    return found
