"""Tasks with a known answer, and searches that must find it; used by `test_planted.py`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from dnas.cost.budget import parse_budget, parse_family
from dnas.data import synthetic
from dnas.data.dataset import Dataset
from dnas.data.splits import search_split
from dnas.grammar.read import space_from_data
from dnas.graph.architecture import options_taken
from dnas.learning.journal import Journal
from dnas.search import strategies
from dnas.search.compiling import Compiler
from dnas.search.console import Console
from dnas.search.problem import make_problem
from dnas.search.run import Options, advance
from dnas.search.settings import Settings

SETTINGS = Settings(
    epochs=6, batch_size=32, theta_every=1.5, warm_up=0.25, weights_lr=0.1, theta_lr=0.1, check_images=200,
    norm_batches=4,
)  # fmt: skip


def space(block: dict[str, Any], *, side: Any, kernel: int = 1, stride: int = 1) -> Any:
    """A stem, one inverted residual with the given choices, pooling, a classifier."""
    data = {
        "name": "planted",
        "input": {"channels": 1, "classes": 2, "resolution": side},
        "trunk": [
            {"conv": {"out": 12, "kernel": kernel, "stride": stride, "act": "relu"}},
            {"mbconv": {"out": 16, "expand": 2, "act": {"choices": ["relu", "hswish"]}, **block}},
        ],
        "head": [{"pool": {}}, {"linear": {"out": "$classes"}}],
    }
    return space_from_data(data, "planted")


@dataclasses.dataclass(frozen=True)
class Planted:
    """A task: its data by seed, its space, the choice that matters and the options that are right."""

    data: Callable[[int], Dataset]
    space: Any
    choice: str
    right: tuple[Any, ...]
    budgets: tuple[str, ...] = ()
    settings: Settings = SETTINGS


TASKS = {
    "kernel": Planted(
        lambda seed: synthetic.needs_large_kernel(seed),
        space({"kernel": {"choices": [3, 5]}}, side=16), "trunk.1.kernel", (5,),
    ),
    "resolution": Planted(
        lambda seed: synthetic.needs_high_resolution(seed, side=24, smaller=(12, 18)),
        space({"kernel": 3}, side={"choices": [12, 18, 24]}), "resolution", (24,),
    ),
    "squeeze-excite": Planted(
        lambda seed: synthetic.needs_global_statistic(seed, side=24),
        space({"kernel": 3, "se": {"choices": [False, True]}}, side=24, kernel=3), "trunk.1.se", (True,),
    ),
    # The kernel is needed and the width is not; the budget pays for 5x5 and 8 channels or for 3x3 and all 24.
    "width": Planted(
        lambda seed: synthetic.needs_large_kernel(seed),
        space({"kernel": {"choices": [3, 5]}, "out": {"range": [4, 24, 4]}}, side=16), "trunk.1.out", (4, 8),
        ("0.282MFLOPs",),
    ),
}  # fmt: skip


FAMILIES = {
    # Both kernels fit either budget, 3x3 with more channels than 5x5.
    "kernel": (dataclasses.replace(TASKS["width"], choice="trunk.1.kernel", right=(5,)), "0.282MFLOPs,0.257MFLOPs"),
    # Every resolution has as many parameters.
    "resolution": (TASKS["resolution"], "1.09kparams,1.1kparams"),
    # The budgets are met with squeeze-excite and without.
    "squeeze-excite": (TASKS["squeeze-excite"], "0.575MFLOPs,0.58MFLOPs"),
}
"""Tasks, and budgets of a family under which the planted choice is free."""


def options_of_members(task: Planted, family: str, seeds: range) -> list[list[Any]]:
    """The options that the members of a family take for the planted choice, seed by seed."""
    module, console = strategies.load("dmasking", family=True), Console(quiet=True)
    first = make_problem(task.space, [], task.data(0), task.settings, 0, parse_family(family))
    programs = module.compile_programs(first, Compiler())
    taken = []
    for seed in seeds:
        data = task.data(seed)
        problem = dataclasses.replace(first, dataset=data, split=search_split(data, seed), seed=seed)
        strategy = module.strategy(problem, programs)
        state = advance(strategy, Journal(None, {}), Options(), console, problem)
        members = strategy.outcome(state).members
        taken.append([options_taken(task.space, m.outcome.assignment)[task.choice] for m in members])
    return taken


def options_found(task: Planted, seeds: range, name: str = "dmasking") -> list[Any]:
    """The option that a strategy takes for the planted choice, seed by seed. Programs are compiled once."""
    module, console = strategies.load(name), Console(quiet=True)
    first = make_problem(task.space, [parse_budget(b) for b in task.budgets], task.data(0), task.settings, 0)
    programs = module.compile_programs(first, Compiler())
    taken = []
    for seed in seeds:
        data = task.data(seed)
        problem = dataclasses.replace(first, dataset=data, split=search_split(data, seed), seed=seed)
        strategy = module.strategy(problem, programs)
        state = advance(strategy, Journal(None, {}), Options(), console, problem)
        taken.append(options_taken(task.space, strategy.outcome(state).assignment)[task.choice])
    return taken
