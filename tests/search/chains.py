"""Tasks of which a network needs one part and not another, and chains that must drop the latter first."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from dnas.cost.budget import parse_budget
from dnas.data import synthetic
from dnas.data.dataset import Dataset
from dnas.data.splits import search_split
from dnas.grammar.read import space_from_data
from dnas.learning.journal import Journal
from dnas.search import strategies
from dnas.search.actions import extreme
from dnas.search.candidates import compare
from dnas.search.compiling import Compiler
from dnas.search.console import Console
from dnas.search.problem import make_problem
from dnas.search.run import Options, advance
from dnas.search.settings import Settings

SETTINGS = Settings(
    epochs=8, batch_size=32, weights_lr=0.1, theta_lr=0.1, warm_up=0.25, settle=0.0, rankings=0, rank_images=None,
    norm_batches=2, check_images=50, rank_by="loss",
)  # fmt: skip


def two_gates() -> Any:
    """Squeeze-excite, of the same size, before and after the only operator that sees more than one pixel."""
    block = {"out": 16, "hidden": 24, "act": "relu", "se": {"choices": [False, True]}, "se_hidden": 16}
    data = {
        "name": "gates",
        "input": {"channels": 1, "classes": 2, "resolution": 24},
        "trunk": [
            {"conv": {"out": 16, "kernel": 1, "act": "relu"}},
            {"mbconv": {"kernel": 1, **block}},
            {"mbconv": {"kernel": 3, **block}},
        ],
        "head": [{"pool": {}}, {"linear": {"out": "$classes"}}],
    }
    return space_from_data(data, "gates")


def two_attentions() -> Any:
    """Attention before and after the only operator that sees more than one pixel, the later one the larger saving.

    Without the later one, what is not global sees windows of at most 5 pixels (the convolution, and the depthwise one
    inside the earlier attention), as many as the gap allows. The earlier one could be put to use in principle, since it
    knows distances; that it is not needed, and that the later one is, the accuracies without either say.
    """
    block = {"kernel": 1, "attention": {"choices": [False, True]}, "heads": 1, "key_width": 4, "layer_scale": 0.5}
    data = {
        "name": "attentions",
        "input": {"channels": 1, "classes": 2, "resolution": 12},
        "trunk": [
            {"conv": {"out": 16, "kernel": 1, "act": "relu"}},
            {"conv_ffn": {"hidden": 32, **block}},
            {"conv": {"out": 32, "kernel": 3, "stride": 2, "act": "relu"}},
            {"conv_ffn": {"hidden": 48, **block}},
        ],
        "head": [{"pool": {}}, {"linear": {"out": "$classes"}}],
    }
    return space_from_data(data, "attentions")


@dataclasses.dataclass(frozen=True)
class Task:
    """Data by seed, a space of two parts on or off, and a budget that one of them has to go for."""

    data: Callable[[int], Dataset]
    space: Any
    budget: str
    useless: str
    needed: str


TASKS = {
    "squeeze-excite": Task(
        synthetic.needs_late_global_statistic, two_gates(), "0.0035Mparams", "trunk.1.se", "trunk.2.se",
    ),
    "attention": Task(
        lambda seed: synthetic.needs_late_global_statistic(seed, side=12, gap=4), two_attentions(), "0.012Mparams",
        "trunk.1.attention", "trunk.3.attention",
    ),
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Dropped:
    """What one chain did, and how accurate the networks without either part are on the choices' share."""

    first: str
    """The choice that it moved first."""
    without_useless: float
    without_needed: float


def dropped(task: Task, name: str, seeds: range, settings: Settings = SETTINGS) -> list[Dropped]:
    """The chains of a strategy, seed by seed. Programs are compiled once."""
    module, console = strategies.load(name), Console(quiet=True)
    first = make_problem(task.space, [parse_budget(task.budget)], task.data(0), settings, 0)
    programs = module.compile_programs(first, Compiler())
    largest = extreme(first, "max")
    found = []
    for seed in seeds:
        data = task.data(seed)
        problem = dataclasses.replace(first, dataset=data, split=search_split(data, seed), seed=seed)
        state = advance(module.strategy(problem, programs), Journal(None, {}), Options(), console, problem)
        variables = getattr(state.arrays, "weights", state.arrays).variables
        without = [{**largest, part: 0} for part in (task.useless, task.needed)]
        accuracy = compare(programs.compare, problem, variables, without).accuracy
        found.append(Dropped(state.notes["chain"][1]["actions"][0]["choice"], *map(float, accuracy)))
    return found
