"""The two stages of a joint search (FBNetV3, Dai et al. 2021, section 3).

Coarse: candidates are trained in rounds. The first are spread evenly and trained whole, which says how early later ones
may stop; each later round are the pairs that the predictor, fitted to all trainings before, finds most promising. Fine:
a genetic search by the predictor alone, whose best pairs are trained whole.

What a training gives is asked of a function, so that nothing here knows of files or processes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import NamedTuple

import numpy as np

from dnas.errors import InputError
from dnas.joint import genetic
from dnas.joint.early import Curve, stopping_epoch
from dnas.joint.genetic import searched
from dnas.joint.pairs import Pairs, Row, Rows, distinct
from dnas.joint.pool import pool
from dnas.joint.predictor import Fitted, Predictor

Evaluate = Callable[[Sequence[Row], int | None], list[Curve]]
"""Curves of pairs that are trained for so many epochs of their recipe, or to its end."""
POOL = 4096
BRIEF = genetic.Plan(population=64, parents=16, generations=20, patience=4)
"""Of the genetic searches for the next candidates."""
MOST = 1000
"""Trainings of one search."""


@dataclass(frozen=True)
class Plan:
    """How many trainings each stage has."""

    trainings: int = 24
    """Of one search of one set of budgets, all together."""
    rounds: int = 4
    """Of the coarse stage, after the first candidates."""
    winners: int | None = None
    """Pairs of the fine stage that are trained whole (None: one in ten of all trainings, at least one)."""

    def validated(self) -> Plan:
        """Itself; raises `InputError` for a value out of range, or that is no integer."""
        for name, value in asdict(self).items():
            if not isinstance(value, int | None) or isinstance(value, bool):
                raise InputError(f"--{name}", "not accepted here", found=value, accepted="an integer")
        if not 3 <= self.trainings <= MOST:
            raise InputError("--trainings", "out of range", found=self.trainings, accepted=f"3 to {MOST}")
        if not 0 <= self.rounds <= 100:
            raise InputError("--rounds", "out of range", found=self.rounds, accepted="0 to 100")
        if self.winners is not None and not 1 <= self.winners <= self.trainings - 2:
            accepted = f"1 to {self.trainings - 2}, two fewer than --trainings"
            raise InputError("--winners", "out of range", found=self.winners, accepted=accepted)
        return self

    @property
    def last(self) -> int:
        """Trainings of the fine stage."""
        return max(1, self.trainings // 10) if self.winners is None else self.winners

    @property
    def coarse(self) -> list[int]:
        """Candidates of each round, the first ones first."""
        left = self.trainings - self.last
        first = left if not self.rounds else min(left, max(2, round(0.4 * left)))
        each, more = divmod(left - first, max(1, self.rounds))
        return [first, *(n for n in (each + (r < more) for r in range(self.rounds)) if n)]


class Trained(NamedTuple):
    """A pair, its curve and what the predictor had expected when it was chosen (None of the first ones)."""

    row: Row
    curve: Curve
    expected: float | None


class Coarse(NamedTuple):
    """What the coarse stage has learned."""

    trained: list[Trained]
    epoch: int | None
    """After which trainings stop; None for their end."""
    correlations: list[float]
    """Of the ranks after each epoch with those at the end."""

    def accuracy(self, curve: Curve) -> float:
        """What the predictor learns of a curve."""
        return curve[-1] if self.epoch is None else curve[min(self.epoch, len(curve)) - 1]


class Winner(NamedTuple):
    """A pair that was trained whole, and its predicted accuracy."""

    row: Row
    curve: Curve
    predicted: float
    spread: float
    """Standard deviation of the ensemble."""


def coarse(pairs: Pairs, plan: Plan, predictor: Predictor, evaluate: Evaluate, seed: int) -> Coarse:
    """All rounds; fewer trainings where there are fewer pairs within the budgets."""
    counts = plan.coarse
    candidates = pool(pairs, POOL, seed)
    first = candidates[: counts[0]]
    curves = evaluate(first, None)
    epoch, correlations = stopping_epoch(curves)
    found = Coarse([Trained(r, c, None) for r, c in zip(first, curves, strict=True)], epoch, correlations)
    for number, count in enumerate(counts[1:]):
        fitted = fit(predictor, found)
        keys, turn = [key(seed, number, n) for n in range(count)], sum(counts[1 : number + 1])
        rows, expected = promising(pairs, fitted, found, candidates, keys, turn)
        if not rows:
            break
        more = [Trained(*t) for t in zip(rows, evaluate(rows, epoch), expected, strict=True)]
        found = found._replace(trained=[*found.trained, *more])
    return found


def fit(predictor: Predictor, known: Coarse) -> Fitted:
    """The predictor after all that was trained."""
    return predictor.fit([t.row for t in known.trained], [known.accuracy(t.curve) for t in known.trained])


def key(seed: int, number: int, turn: int) -> int:
    """The seed of the genetic search that names candidate `turn` of round `number`: another one for each of a search,
    since a round has at most `MOST` candidates, and the same one however many candidates a round has."""
    assert 0 <= turn < MOST
    return (seed + number) * MOST + turn


def promising(
    pairs: Pairs, fitted: Fitted, known: Coarse, candidates: list[Row], keys: Sequence[int], first: int = 0
) -> tuple[list[Row], list[float]]:
    """The next pairs to train, one for each key, and what is expected of them: each member of the ensemble names its
    best in turn, beginning with number `first`.

    So pairs about which the members disagree are tried (Thompson sampling). Beside the candidates, which are spread
    evenly, those are looked at that a genetic search finds by each member.
    """
    done = {t.row for t in known.trained}
    begin = _within(pairs, sorted(done)) + candidates
    best: list[Row] = []
    for turn, own in enumerate(keys, first):
        score = partial(fitted.member, turn % fitted.predictor.sizes.members)
        ranked = _ranked(searched(pairs, begin[:256], score, own, BRIEF), begin, score)
        best += next(([row] for row in ranked if row not in done and row not in best), [])
    return best, _means(pairs, fitted, best)


def fine(
    pairs: Pairs, plan: Plan, fitted: Fitted, known: Coarse, evaluate: Evaluate, seed: int
) -> list[Winner]:  # fmt: skip
    """The best pairs that were trained whole, as many as the plan trains at the end, the best by validation first.

    Half of the last trainings are of the best candidates that stopped early, by the mean of what was measured and what
    is predicted; the others are of pairs that were never trained, the best by the predictor. The best of many
    predictions mostly errs upwards, a measurement less. Candidates that ran to their end are compared with all these.
    """
    measured = {t.row: known.accuracy(t.curve) for t in known.trained}
    inside = _within(pairs, list(measured))
    count = plan.coarse[0] if known.epoch is not None else len(known.trained)
    whole = {t.row: t.curve for t in known.trained[:count] if t.row in inside}
    stopped = [row for row in inside if row not in whole]
    expected = dict(zip(stopped, _means(pairs, fitted, stopped), strict=True))
    stopped.sort(key=lambda row: -(measured[row] + expected[row]))
    begin = distinct(np.array([*inside, *pool(pairs, POOL, seed)], int))

    def score(rows: Rows) -> np.ndarray:
        return fitted.predict(rows).mean(axis=0)

    ranked = _ranked(searched(pairs, begin, score, seed), begin, score)
    half, fresh = (plan.last + 1) // 2, [row for row in ranked if row not in measured]
    last = [*stopped[:half], *fresh, *stopped[half:]][: plan.last]
    ended = whole | dict(zip(last, evaluate(last, None), strict=True))
    predicted = fitted.predict(np.array(list(ended), int))
    told = zip(*zip(*ended.items(), strict=True), predicted.mean(axis=0), predicted.std(axis=0), strict=True)
    winners = [Winner(row, curve, float(mean), float(spread)) for row, curve, mean, spread in told]
    return sorted(winners, key=lambda winner: -winner.curve[-1])[: plan.last]


def _ranked(found: list[tuple[Row, float]], begin: list[Row], score: genetic.Score) -> list[Row]:
    """What a genetic search found, then all that it began with, each the best first and named once."""
    order = np.argsort(-score(np.array(begin, int)), kind="stable").tolist()
    return list(dict.fromkeys([*(row for row, _ in found), *(begin[n] for n in order)]))


def _means(pairs: Pairs, fitted: Fitted, rows: list[Row]) -> list[float]:
    """What the ensemble predicts on average."""
    return fitted.predict(np.array(rows, int).reshape(len(rows), len(pairs.sizes))).mean(axis=0).tolist()


def _within(pairs: Pairs, rows: list[Row]) -> list[Row]:
    """Those within the budgets."""
    return [row for row, inside in zip(rows, pairs.within(np.array(rows, int)), strict=True) if inside]
