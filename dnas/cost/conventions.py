"""How others count: what their tools would print for the same network, as functions over ledger records.

`dnas` is the convention of this project (see `dnas.cost.ledger`); every other one is here so that a published figure
can be compared to the unit. Each function gives the convention's operation count and its parameter count.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from dnas.cost.ledger import Cost, Record, macs, params
from dnas.space.quantity import Product

Records = Iterable[Record]
NORMS = ("batch_norm",)
POOLS = ("pool", "squeeze")
"""Global average pooling before a classifier, and the mean inside squeeze-excite."""


@dataclass(frozen=True)
class Counts:
    """Operations and parameters under one convention; both are costs, so they also work on spaces."""

    operations: Cost
    params: Cost


def dnas(records: Records) -> Counts:
    """MACs of convolution, linear and attention products; params = weights, biases, norm scale and shift."""
    records = list(records)
    return Counts(macs(records), params(records))


def zoo(records: Records) -> Counts:
    """mobile-vision model zoo: MACs + 1 per input element of every average pool; params = weights alone."""
    records = list(records)
    return Counts(macs(records) + _inputs(records, POOLS), _each(records, lambda r: r.weights))


def fvcore(records: Records) -> Counts:
    """fvcore FlopCountAnalysis, eval: MACs + 2 a batch-norm, 5 a layer-norm, 4 an upsampled element + input elements of
    every global average pool."""
    records = list(records)
    return Counts(macs(records) + _elementwise(records) + _inputs(records, POOLS), params(records))


def timm(records: Records) -> Counts:
    """timm (fvcore on timm's modules): as fvcore, but squeeze-excite means are plain reductions and not seen."""
    records = list(records)
    return Counts(macs(records) + _elementwise(records) + _inputs(records, ("pool",)), params(records))


def thop(records: Records) -> Counts:
    """thop 0.1.1, all pools as modules: MACs + 4 per batch-norm element + inputs and outputs of every average pool."""
    records = list(records)
    pools = _inputs(records, POOLS) + _each(_of(records, POOLS), lambda r: r.outputs)
    return Counts(macs(records) + _inputs(records, NORMS, 4) + pools, params(records))


def snap(records: Records) -> Counts:
    """EfficientFormer's profiler: MACs + GELU (of maps only channels x height) + 2 per layer-norm element + k x k per
    pooled element; params without norms' scales and tables, a convolution's bias as its input channels per group."""
    records = list(records)
    pools = _inputs(records, ("average_pool",)) + _inputs(records, ("layer_norm",), 2)
    weights = _each(_of(records, ("conv", "linear")), lambda r: r.weights)
    biases = _each(_of(records, ("conv",)), lambda r: r.fan_of_bias)
    norms = _each(_of(records, ("layer_norm",)), lambda r: r.affine)
    biases += _each(_of(records, ("linear",)), lambda r: r.biases)
    return Counts(macs(records) + pools + _gelu(records), weights + biases + norms)


CONVENTIONS: dict[str, Callable[[Records], Counts]] = {c.__name__: c for c in (dnas, zoo, fvcore, timm, thop, snap)}


def statement(name: str) -> str:
    """The convention in one line."""
    return " ".join((CONVENTIONS[name].__doc__ or "").split())


def _elementwise(records: Records) -> Cost:
    """What fvcore adds for norms and enlargements."""
    records = list(records)
    enlarged = _each(_of(records, ("upsample",)), lambda r: r.outputs * 4)
    return _inputs(records, NORMS, 2) + _inputs(records, ("layer_norm",), 5) + enlarged


def _gelu(records: Sequence[Record]) -> Cost:
    """All elements where tokens are rows of a matrix (after a linear layer), else one line of each channel's map."""
    cost: list[Product] = []
    tokens = False
    for r in records:
        tokens = r.kind == "linear" if r.kind in ("linear", "conv", "matmul") else tokens
        if r.detail == "gelu":
            cost.append(r.given * (r.inputs if tokens else r.line))
    return tuple(cost)


def _of(records: Records, kinds: tuple[str, ...]) -> list[Record]:
    return [r for r in records if r.kind in kinds]


def _inputs(records: Records, kinds: tuple[str, ...], each: int = 1) -> Cost:
    return _each(_of(records, kinds), lambda r: r.inputs * each)


def _each(records: Records, part: Callable[[Record], Product]) -> Cost:
    return tuple(r.given * part(r) for r in records)
