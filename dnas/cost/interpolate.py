"""Times of blocks that a table does not have, from those of the same kind that it has.

Two steps, fitted in relative error: a sum of non-negative rates over what the block does (multiply-adds of each of its
operators, weights, elements its norms and pools read, number of operators) - a model that cannot go negative, grows
with every size and extrapolates like the block's work does - and then a correction, the mean ratio of entry to model
over the nearest entries (in the logarithms of side and widths) of the same category: kernel, stride, groups,
squeeze-excite and activation. Where a category has no entry the most similar one lends its correction. How many
neighbours, and whether the rates are the kind's or the category's own, is what cross-validation finds best.

Tables relative to skip have entries of both signs: there rates may be negative and corrections are differences.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import numpy as np

from dnas.blocks import KINDS
from dnas.cost.keys import Walked
from dnas.cost.latency_table import Crossed
from dnas.space.fields import Field
from dnas.space.quantity import Choice, Quantity, union

FOLDS = 5
MOST_CROSSED = 3000
LEAST = 0.5
"""Sizes are at least so large, as far as their logarithms go."""
NEIGHBOURS = (0, 2, 6, 16)
"""Candidates; 0 stands for the median of the whole category."""


@dataclass(frozen=True)
class Blocks:
    """Blocks of one kind, as numbers: rows are blocks."""

    features: dict[str, np.ndarray]
    logs: dict[str, np.ndarray]
    """Logarithms of sizes."""
    categories: list[tuple]

    def take(self, rows: np.ndarray) -> Blocks:
        features, logs = ({n: v[rows] for n, v in part.items()} for part in (self.features, self.logs))
        return Blocks(features, logs, [self.categories[r] for r in rows])

    def matrix(self, names: Sequence[str]) -> np.ndarray:
        """Features; 0 for what a block does not do."""
        return _columns(self.features, names, len(self.categories), 0)

    def sizes(self, names: Sequence[str]) -> np.ndarray:
        """Logarithms of sizes; that of `LEAST` for one that a block does not have."""
        return _columns(self.logs, names, len(self.categories), np.log(LEAST))


def _columns(found: dict[str, np.ndarray], names: Sequence[str], rows: int, missing: float) -> np.ndarray:
    return np.stack([found.get(n, np.full(rows, missing)) for n in names], axis=1)


def described(walked: Walked, over: tuple[Choice, ...], rows: np.ndarray) -> Blocks:
    """The blocks at the given flat positions of the joint options of `over`."""
    shape = tuple(len(c) for c in over)

    def at(quantity: Quantity) -> np.ndarray:
        index = np.unravel_index(rows, shape) if shape else ()
        part = tuple(index[over.index(c)] for c in quantity.over)
        return quantity.table[part] if part else np.full(len(rows), quantity.table[()])

    use = walked.use
    values = {name: at(use.fields[name]) for name in use.fields}
    sizes = {name: at(size) for name, size in use.sizes_in.items()}
    form, categories = [tuple(sizes)] * len(rows), list[np.ndarray]()
    for name, field in KINDS[use.kind].fields.items():
        if field.written == "never":
            continue
        column = values[name]
        if field.part_of is not None:
            column = np.where(values[field.part_of], column, 0 if is_size(field) else "")
        if is_size(field):
            sizes[name] = column
        else:
            categories.append(column)
    logs = {name: np.log(np.maximum(column.astype(np.float64), LEAST)) for name, column in sizes.items()}
    features = {name: at(q).astype(np.float64) for name, q in work(walked).items()}
    return Blocks(features, logs, list(zip(form, *(c.tolist() for c in categories), strict=True)))


def is_size(field: Field) -> bool:
    """Whether a field is a width or the like, over which times are smooth; kernels, strides and flags are not."""
    return field.searchable and field.accepts.startswith("an integer")


def work(walked: Walked) -> dict[str, Quantity]:
    """What a block does: operators, multiply-adds of each operator, weights, and elements norms and pools read."""
    zero = Quantity.constant(0)
    result = {"operators": walked.operators}
    for record in filter(lambda r: r.works, walked.records):
        for name, part in ((record.path, record.macs), ("weights", record.weights), ("elements", record.inputs)):
            amount = (record.given * part).joint()
            if not (amount.is_constant and amount.value == 0):
                result[name] = result.get(name, zero) + amount
    return result


def over_of(walked: Walked) -> tuple[Choice, ...]:
    """The choices that anything about the block depends on."""
    use = walked.use
    return union([*use.sizes_in.values(), *use.fields.values(), *work(walked).values()])


def joined(parts: Iterable[Blocks]) -> Blocks:
    """Several lots of one kind as one."""
    parts = list(parts)
    features, logs = _names(p.features for p in parts), _names(p.logs for p in parts)
    matrix, sizes = np.concatenate([p.matrix(features) for p in parts]), np.concatenate([p.sizes(logs) for p in parts])
    done, alike = dict(zip(features, matrix.T, strict=True)), dict(zip(logs, sizes.T, strict=True))
    return Blocks(done, alike, [c for p in parts for c in p.categories])


def _names(parts: Iterable[dict[str, np.ndarray]]) -> list[str]:
    return list(dict.fromkeys(name for part in parts for name in part))


class Estimate(NamedTuple):
    """Times in ms, and how they were come by: beyond the measured sizes, or with another category's correction."""

    ms: np.ndarray
    beyond: np.ndarray
    borrowed: np.ndarray


class Method(NamedTuple):
    """How blocks are estimated: whose rates, and how many neighbours correct them."""

    own_rates: bool
    neighbours: int

    def __str__(self) -> str:
        rates = "rates of the category" if self.own_rates else "rates of the kind"
        near = f"{self.neighbours} nearest entries" if self.neighbours else "median of the category"
        return f"{rates}, {near}"


class Interpolator:
    """Estimates for one block kind from its entries; `record` says how well it does on entries left out."""

    def __init__(self, blocks: Blocks, ms: np.ndarray, *, relative: bool, method: Method | None = None):
        self.relative = relative
        kept = np.arange(len(ms)) if relative else np.flatnonzero(ms > 0)
        self.blocks, self.ms = blocks.take(kept), ms[kept]
        errors = {}
        if method is None:
            methods = [Method(own, k) for own, k in product((False, True), NEIGHBOURS)]
            if len(self.ms) >= 2 * FOLDS:
                errors = {m: self._crossed(m) for m in methods}
                method = min(errors, key=lambda m: float(np.mean(np.minimum(errors[m], 1))))
            else:
                method = Method(False, 2)
        self.method = method
        found = errors.get(method)
        median, p90 = (None, None) if found is None else (float(q) for q in np.quantile(found, (0.5, 0.9)))
        self.record = Crossed(len(self.ms), str(method), median, p90)
        self._fitted = _Fitted(self.blocks, self.ms, method, relative) if len(self.ms) else None

    def __call__(self, blocks: Blocks) -> Estimate:
        assert self._fitted is not None
        return self._fitted(blocks)

    def left_out(self) -> np.ndarray:
        """Each entry's estimate from the others (by folds), in the order of the positive entries."""
        return _left_out(self.blocks, self.ms, self.method, self.relative)

    def _crossed(self, method: Method) -> np.ndarray:
        """Relative errors on entries left out; of a large table, on a fixed sample of it."""
        blocks, ms = self.blocks, self.ms
        if len(ms) > MOST_CROSSED:
            rows = np.sort(np.random.default_rng(0).permutation(len(ms))[:MOST_CROSSED])
            blocks, ms = blocks.take(rows), ms[rows]
        scale = np.mean(np.abs(ms)) if self.relative else ms
        return np.abs(_left_out(blocks, ms, method, self.relative) - ms) / np.maximum(scale, 1e-12)


def _left_out(blocks: Blocks, ms: np.ndarray, method: Method, relative: bool) -> np.ndarray:
    fold = np.random.default_rng(0).permutation(len(ms)) % FOLDS
    estimates = np.zeros(len(ms))
    for n in range(FOLDS):
        there, here = np.flatnonzero(fold != n), np.flatnonzero(fold == n)
        if len(here):
            fitted = _Fitted(blocks.take(there), ms[there], method, relative)
            estimates[here] = fitted(blocks.take(here)).ms
    return estimates


class _Fitted:
    def __init__(self, blocks: Blocks, ms: np.ndarray, method: Method, relative: bool):
        self.blocks, self.ms, self.method, self.relative = blocks, ms, method, relative
        self.names, self.sized = list(blocks.features), list(blocks.logs)
        self.members = _grouped(blocks.categories)
        self.matrix = matrix = blocks.matrix(self.names)
        self.rates = fitted_rates(matrix, ms, relative)
        self.own = {
            c: fitted_rates(matrix[rows], ms[rows], relative)
            for c, rows in self.members.items()
            if method.own_rates and len(rows) > len(self.names)
        }

    def __call__(self, blocks: Blocks) -> Estimate:
        n, sizes = len(blocks.categories), blocks.sizes(self.sized)
        ms, beyond, borrowed = np.zeros(n), np.zeros(n, bool), np.zeros(n, bool)
        matrix = blocks.matrix(self.names)
        for category, rows in _grouped(blocks.categories).items():
            lender = self._lender(category)
            estimate, beyond[rows] = self._of_category(lender, matrix[rows], sizes[rows])
            ms[rows] = _significant(estimate)
            borrowed[rows] = lender != category
        return Estimate(ms, beyond, borrowed)

    def _lender(self, category: tuple) -> tuple:
        """The category itself, else the one that differs in the fewest fields (of those, the best measured)."""
        if category in self.members:
            return category

        def unlike(other: tuple) -> tuple[int, int]:
            return sum(a != b for a, b in zip(category, other, strict=True)), -len(self.members[other])

        return min(self.members, key=unlike)

    def _of_category(self, category: tuple, matrix: np.ndarray, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        rows = self.members[category]
        rates = self.own.get(category, self.rates)
        known, there = self.blocks.sizes(self.sized)[rows], self.matrix[rows] @ rates
        model = (matrix * rates).sum(1)
        beyond = np.any((sizes < known.min(0) - 1e-9) | (sizes > known.max(0) + 1e-9), axis=1)
        if self.relative:
            return model + self._correction(sizes, known, self.ms[rows] - there), beyond
        floor = 1e-12 + 1e-6 * np.median(self.ms)
        ratio = np.log(self.ms[rows] / np.maximum(there, floor))
        return np.maximum(model, floor) * np.exp(self._correction(sizes, known, ratio)), beyond

    def _correction(self, sizes: np.ndarray, known: np.ndarray, error: np.ndarray) -> np.ndarray:
        k = min(self.method.neighbours, len(known))
        if not k:
            return np.full(len(sizes), np.median(error))
        result = np.empty(len(sizes))
        step = max(1, 4_000_000 // known.size)
        for start in range(0, len(sizes), step):
            part = sizes[start : start + step]
            # Rounded, so that equally near entries stay so whatever else is asked for at the same time.
            distance = ((part[:, None, :] - known[None]) ** 2).sum(-1).round(9)
            near = np.argpartition(distance, k - 1, axis=1)[:, :k]
            weight = 1 / (np.take_along_axis(distance, near, 1) + 1e-3)
            result[start : start + step] = (weight * error[near]).sum(1) / weight.sum(1)
        return result


def _grouped(categories: Sequence[tuple]) -> dict[tuple, np.ndarray]:
    """Category -> rows."""
    rows: dict[tuple, list[int]] = {}
    for row, category in enumerate(categories):
        rows.setdefault(category, []).append(row)
    return {category: np.array(found) for category, found in rows.items()}


def _significant(values: np.ndarray, digits: int = 9) -> np.ndarray:
    """Rounded, so that one block gets one time, bit for bit, in whatever company it is asked for."""
    with np.errstate(divide="ignore"):
        power = np.where(values == 0, 0, np.floor(np.log10(np.abs(values))))
    scale = 10.0 ** (digits - 1 - power)
    return np.rint(values * scale) / scale


def fitted_rates(matrix: np.ndarray, ms: np.ndarray, relative: bool = False) -> np.ndarray:
    """Rates of least relative squared error, none below 0; plain ridge regression for a relative table."""
    scale = np.maximum(np.abs(matrix).max(0), 1e-12)
    design = matrix / scale
    if relative:
        gram = design.T @ design + 1e-3 * np.eye(design.shape[1])
        return np.linalg.solve(gram, design.T @ ms) / scale
    design = design / ms[:, None]
    column = np.maximum(np.linalg.norm(design, axis=0), 1e-12)
    design = design / column
    gram, target = design.T @ design + 1e-6 * np.eye(design.shape[1]), design.T @ np.ones(len(ms))
    rates = np.zeros(len(target))
    for _ in range(300):
        for j in range(len(rates)):
            rates[j] = max(0.0, rates[j] + (target[j] - gram[j] @ rates) / gram[j, j])
    return rates / column / scale
