"""A made truth over a small space and its recipes: the best recipe depends on the architecture."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from dnas.cost.budget import parse_budget
from dnas.grammar.read import space_from_data
from dnas.graph import graph_of
from dnas.graph.architecture import architecture
from dnas.joint.pairs import Pairs
from dnas.joint.predictor import Predictor, Sizes
from dnas.joint.stages import Coarse, Plan, Winner, coarse, fine, fit
from dnas.search.budget import measure
from dnas.space.quantity import Choice

WIDTH, KERNEL = {"range": [4, 16, 2]}, {"choices": [1, 3, 5]}
DATA = {
    "name": "made",
    "input": {"channels": 1, "classes": 3, "resolution": 8},
    "trunk": [
        {"conv": {"out": WIDTH, "kernel": KERNEL, "act": {"choices": ["relu", "hswish"]}}},
        {"conv": {"out": WIDTH, "stride": 2, "kernel": KERNEL}},
    ],
    "head": [{"pool": {}}, {"linear": {"out": "$classes"}}],
}  # fmt: skip
SPACE = space_from_data(DATA, "made")
RECIPES = (
    Choice("recipe.lr", tuple(np.geomspace(0.01, 1, 9).round(4).tolist())),
    Choice("recipe.mixup", (0.0, 0.1, 0.2, 0.3, 0.4)),
    Choice("recipe.optimizer", ("sgd", "adamw")),
)
WHOLE = Sizes()
SMALL = Sizes(members=3, hidden=24, embedding=8, counted=256, pretraining=60, head=60, all=160)


def pairs_of(space=SPACE, recipes=RECIPES, budget: str | None = "60kMACs") -> Pairs:
    graph = graph_of(space)
    budgets = () if budget is None else (measure(parse_budget(budget), graph, space),)
    return Pairs(space, graph, recipes, budgets)


class Truth:
    """Accuracy of every pair: it grows with width, less and less; the rate that is best grows with width, and is
    another for each optimizer."""

    def __init__(self, budget: str | None = "60kMACs"):
        self.pairs = pairs_of(budget=budget)

    def __call__(self, rows) -> np.ndarray:
        out1, k1, act, out2, k2, rate, mixup, adam = (np.asarray(rows, float) / (self.pairs.sizes - 1)).T
        width = (out1 + out2) / 2
        able = 0.75 + 0.08 * np.sqrt(width) + 0.03 * k1 * (1 - 0.4 * k1) + 0.02 * act * (k2 > 0.4)
        trained = 0.12 * (rate - 0.55 - 0.5 * width + 0.3 * adam) ** 2 + 0.05 * (mixup - 0.8 * width) ** 2
        return able - trained + 0.02 * adam * (act < 0.5) - 0.01 * adam

    @cached_property
    def all(self) -> np.ndarray:
        """Of every pair within the budget, rising."""
        rows = np.indices(tuple(self.pairs.sizes)).reshape(len(self.pairs.sizes), -1).T
        return np.sort(self(rows[self.pairs.within(rows)]))

    @property
    def top(self) -> float:
        """What one pair in a hundred reaches."""
        return float(self.all[int(0.99 * len(self.all))])


class Asked:
    """Trainings of the truth; remembers what was asked for."""

    def __init__(self, accuracy, epochs: int = 1, noise: float = 0.0):
        self.accuracy, self.epochs, self.noise, self.asked = accuracy, epochs, noise, []

    def __call__(self, rows, until):
        """Each epoch is nearer to the end; early ones are off by a little that the pair alone decides."""
        self.asked += [(tuple(row), until) for row in rows]
        curves = []
        for row, end in zip(rows, self.accuracy(rows), strict=True):
            random = np.random.default_rng(list(row))
            off = self.noise * random.normal(size=self.epochs) * (1 - np.arange(1, self.epochs + 1) / self.epochs)
            share = np.linspace(0.5, 1, self.epochs) if self.epochs > 1 else np.ones(1)
            curves.append(tuple(float(v) for v in np.maximum.accumulate(end * share + off)[:until]))
        return curves


def searched(pairs: Pairs, plan: Plan, asked, seed: int, sizes: Sizes = WHOLE) -> tuple[Coarse, list[Winner]]:
    predictor = Predictor(pairs, seed, plan.trainings, sizes)
    known = coarse(pairs, plan, predictor, asked, seed)
    return known, fine(pairs, plan, fit(predictor, known), known, asked, seed)


def one_after_the_other(truth: Truth, plan: Plan, seed: int) -> float:
    """The best architecture with a middling recipe, then the best recipe for it; half of the trainings each."""
    half, middle = Plan(plan.trainings // 2), [4, 2, 0]
    bare = pairs_of(recipes=())
    _, winners = searched(bare, half, Asked(lambda rows: truth([[*row, *middle] for row in rows])), seed)
    first = winners[0].row
    network = architecture(SPACE, bare.architecture(first)).network
    fixed = pairs_of(network, budget=None)
    _, winners = searched(fixed, half, Asked(lambda rows: truth([[*first, *row] for row in rows])), seed)
    return winners[0].curve[-1]
