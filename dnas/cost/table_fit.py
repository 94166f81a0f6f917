"""A latency table from whole networks: an additive model of measured totals, robust to outliers and drift.

    total(network) = base + sum over its blocks of entry(block)

Measurements are not independent draws of a bell curve. Phones report whole milliseconds, halve their clock for a
while (neighbouring rows err together) and now and then take twice as long. So the entries minimise Huber's loss
(least squares near, absolute error far away), of measurements from which a running median of the residuals of their
neighbours in the file is taken off, where that helps; and `base` is then a Huber mean of what is left. How far "near"
reaches, and whether to follow the drift, is chosen by cross-validation within the measurements given: the smallest
product of mean squared and mean absolute error, since the first alone would always choose least squares and the
second alone always the median, whatever the noise.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import product
from typing import NamedTuple

import numpy as np

from dnas.cost.latency_table import Entry, Fit, LatencyTable
from dnas.cost.measurements import Measurements, design
from dnas.errors import InputError
from dnas.space.space import Space

WINDOW = 3
"""Neighbours on each side whose running median is the drift."""
FOLDS = 4
NEAR = (1.345, 3.0, math.inf)
"""Candidates for where Huber's loss turns linear, in standard deviations; 1.345 has 95 % efficiency on normal noise."""
NEAR_BASE = (1.345, 2.5, 4.0, math.inf)


class Method(NamedTuple):
    """How the entries and the base are fitted."""

    drift: bool = False
    near: float = 1.345
    near_base: float = 1.345

    def __str__(self) -> str:
        drift = f"running median of {2 * WINDOW} neighbours taken off, " if self.drift else ""
        return f"{drift}Huber loss to {self.near:g} sd, base to {self.near_base:g} sd"


LEAST_SQUARES = Method(False, math.inf, math.inf)


class FitQuality(NamedTuple):
    """How well totals are predicted."""

    r2: float
    mae_ms: float
    spearman: float


class Additive(NamedTuple):
    """Milliseconds of each block, and the base."""

    entries: np.ndarray
    base: float

    def __call__(self, counts: np.ndarray) -> np.ndarray:
        return counts @ self.entries + self.base


def fit_additive(counts: np.ndarray, ms: np.ndarray, method: Method | None = None) -> tuple[Additive, Method]:
    """The additive model of measurements in the order in which they were made; the method by cross-validation."""
    method = method or _chosen(counts, ms)
    entries = _entries(counts, ms, method)
    return Additive(entries, _location(ms - counts @ entries, method.near_base)), method


def _chosen(counts: np.ndarray, ms: np.ndarray) -> Method:
    if len(ms) < 2 * FOLDS + counts.shape[1]:
        return Method()
    fold = np.random.default_rng(0).permutation(len(ms)) % FOLDS
    errors: dict[Method, list[np.ndarray]] = {}
    for drift, near in product((False, True), NEAR):
        for n in range(FOLDS):
            there, here = fold != n, fold == n
            entries = _entries(counts[there], ms[there], Method(drift, near))
            left = ms[there] - counts[there] @ entries
            error = ms[here] - counts[here] @ entries
            for base in NEAR_BASE:
                errors.setdefault(Method(drift, near, base), []).append(error - _location(left, base))

    def badness(method: Method) -> float:
        error = np.concatenate(errors[method])
        return float(np.mean(error**2) * np.mean(np.abs(error)))

    return min(errors, key=badness)


def _entries(counts: np.ndarray, ms: np.ndarray, method: Method) -> np.ndarray:
    design = np.concatenate([counts, np.ones((len(counts), 1))], axis=1)
    ridge = 1e-9 * np.trace(design.T @ design) / design.shape[1] * np.eye(design.shape[1])
    weight, drift = np.ones(len(ms)), np.zeros(len(ms))
    found = np.zeros(design.shape[1])
    for _ in range(14 if method.drift or math.isfinite(method.near) else 1):
        weighted = design * weight[:, None]
        found = np.linalg.solve(weighted.T @ design + ridge, weighted.T @ (ms - drift))
        left = ms - design @ found
        if method.drift:
            drift = _running_median(left)
            drift -= np.median(drift)
        left = left - drift
        left -= np.median(left)
        weight = _huber_weights(left, method.near)
    return found[:-1]


def _huber_weights(error: np.ndarray, near: float) -> np.ndarray:
    limit = near * 1.4826 * np.median(np.abs(error - np.median(error)))
    return np.minimum(1.0, limit / np.maximum(np.abs(error), 1e-300)) if 0 < limit < math.inf else np.ones(len(error))


def _location(values: np.ndarray, near: float) -> float:
    """Huber's mean: of everything within `near` standard deviations, and bounded pulls of the rest."""
    if not math.isfinite(near):
        return float(values.mean())
    at = float(np.median(values))
    scale = 1.4826 * float(np.median(np.abs(values - at)))
    for _ in range(50):
        weight = np.minimum(1.0, near * scale / np.maximum(np.abs(values - at), 1e-300)) if scale else np.ones(1)
        at = float((weight * values).sum() / weight.sum()) if scale else at
    return at


def _running_median(values: np.ndarray) -> np.ndarray:
    """For each value the median of its neighbours, itself left out."""
    padded = np.pad(values, WINDOW, constant_values=np.nan)
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * WINDOW + 1)
    around = np.delete(windows, WINDOW, axis=1)
    return np.nanmedian(around, axis=1)


def scores(measured: np.ndarray, predicted: np.ndarray) -> FitQuality:
    """R2, mean absolute error in ms and Spearman's rank correlation (ties at their mean rank)."""
    error = measured - predicted
    total = np.sum((measured - measured.mean()) ** 2)
    r2 = float(1 - np.sum(error**2) / total) if total else math.nan
    ranks = np.stack([_ranks(v) for v in (measured, predicted)])
    flat = not np.all(np.ptp(ranks, axis=1))
    return FitQuality(r2, float(np.mean(np.abs(error))), math.nan if flat else float(np.corrcoef(ranks)[0, 1]))


def _ranks(values: np.ndarray) -> np.ndarray:
    _, inverse, count = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(count) - (count - 1) / 2)[inverse]


def left_out(
    counts: np.ndarray, ms: np.ndarray, held_out: int, splits: int, seed: int = 0,
    told: Callable[[int], None] = lambda done: None,
) -> tuple[FitQuality, FitQuality, list[tuple[FitQuality, FitQuality]]]:  # fmt: skip
    """Quality on networks left out: medians over seeded splits for this fit and for least squares, then each split's.

    `told` is called with the number of splits done.
    """
    each = []
    for n in range(splits):
        order = np.random.default_rng(seed + n).permutation(len(ms))
        # Kept in the order of measurement, or there would be no drift to see.
        there, here = np.sort(order[held_out:]), order[:held_out]
        pair = [
            scores(ms[here], fit_additive(counts[there], ms[there], method)[0](counts[here]))
            for method in (None, LEAST_SQUARES)
        ]
        each.append((pair[0], pair[1]))
        told(n + 1)
    medians = np.median(np.array(each), axis=0)
    return FitQuality(*medians[0].tolist()), FitQuality(*medians[1].tolist()), each


def fitted_table(
    space: Space, measured: Measurements, *, name: str, device: str, runtime: str = "not stated",
    splits: int = 10, held_out: int | None = None, seed: int = 0, told: Callable[[int], None] = lambda done: None,
) -> LatencyTable:  # fmt: skip
    """A table relative to skip, fitted to all measurements; its record has the scores on networks left out.

    `told` is called with the number of fits done, of `splits` and one.
    """
    made = design(space, measured.options)
    held_out = len(measured.ms) // 5 if held_out is None else held_out
    if splits and not 2 <= held_out <= len(measured.ms) - made.counts.shape[1] - 1:
        most = len(measured.ms) - made.counts.shape[1] - 1
        raise InputError("--held-out", "not accepted here", found=held_out, accepted=f"2 to {most:,}, or --splits 0")
    ours, plain, _ = left_out(made.counts, measured.ms, held_out, splits, seed, told) if splits else (None, None, [])
    model, method = fit_additive(made.counts, measured.ms)
    told(splits + 1)
    fit = Fit(networks=len(measured.ms), column=measured.column, method=str(method))
    if ours and plain:
        fit = Fit(
            fit.networks, fit.column, fit.method, splits, held_out, *(_score(v) for v in ours),
            least_squares={n: _score(v) for n, v in zip(FitQuality._fields, plain, strict=True)},
        )  # fmt: skip
    searched = {key.split(" ", 1)[0] for key in made.keys}
    entries: dict[str, float | Entry] = dict(zip(made.keys, map(_short, model.entries.tolist()), strict=True))
    entries |= {key: 0.0 for key in made.always if key.split(" ", 1)[0] in searched}
    return LatencyTable(
        name=name, device=device, runtime=runtime, unit="ms",
        about=f"fitted to {len(measured.ms):,} whole networks of {space.name}",
        entries=entries,
        base=_short(model.base), relative_to_skip=True, space=space.name, fit=fit,
        in_base=tuple(dict.fromkeys(k.split(" ", 1)[0] for k in made.always if k.split(" ", 1)[0] not in searched)),
    )  # fmt: skip


def _short(value: float) -> float:
    return float(f"{value:.9g}")


def _score(value: float) -> float | None:
    """None for a score that is not defined: where all networks take the same time."""
    return None if math.isnan(value) else _short(value)
