"""Tasks on which a part of a network is useless for a reason that can be proved, and chains that must drop it first."""

from __future__ import annotations

import dataclasses
from typing import Any

from dnas.data import synthetic
from dnas.data.splits import search_split
from dnas.search import strategies
from dnas.search.budget import parse_budget
from dnas.search.compiling import Compiler
from dnas.search.console import Console
from dnas.search.journal import Journal
from dnas.search.problem import make_problem
from dnas.search.run import Options, advance
from dnas.search.settings import Settings
from dnas.space.read import space_from_data

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


def first_dropped(name: str, seeds: range, settings: Settings = SETTINGS) -> list[str]:
    """The choice that the chain of a strategy moves first, seed by seed. Programs are compiled once."""
    module, console = strategies.load(name), Console(quiet=True)
    data = synthetic.needs_late_global_statistic(0)
    first = make_problem(two_gates(), [parse_budget("0.0035Mparams")], data, settings, 0)
    programs = module.compile_programs(first, Compiler())
    dropped = []
    for seed in seeds:
        data = synthetic.needs_late_global_statistic(seed)
        problem = dataclasses.replace(first, dataset=data, split=search_split(data, seed), seed=seed)
        state = advance(module.strategy(problem, programs), Journal(None, {}), Options(), console, problem)
        dropped.append(state.notes["chain"][1]["actions"][0]["choice"])
    return dropped
