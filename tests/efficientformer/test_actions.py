"""The three actions of EfficientFormer's slimming and their importance (Li et al. 2022, section 4.2), by hand."""

from __future__ import annotations

import numpy as np
import pytest

from dnas.cost.budget import parse_budget
from dnas.data.load import load
from dnas.grammar.catalogue import load_space
from dnas.search.actions import Actions, extreme, path_choices
from dnas.search.problem import make_problem
from dnas.search.settings import with_overrides
from dnas.search.strategies.slimming import importance, shaped_paths

STAGES = {"c1": "trunk.1.", "c2": "trunk.3.", "c3": "trunk.5.", "c4": "trunk.7."}


@pytest.fixture(scope="module")
def problem():
    budget = [parse_budget("1MFLOPs")]
    return make_problem(load_space("efficientformer_tiny"), budget, load(None), with_overrides("smoke"), 0)


@pytest.fixture(scope="module")
def frontier(problem):
    """Of the network whose blocks are attention throughout the last two stages, the largest."""
    return {
        (r.action.choice, problem.space.choice(r.action.choice).options[r.action.after])
        for r in Actions(problem).frontier(extreme(problem, "max"))
    }


def test_leave_out_a_block_replace_the_first_attention_of_a_stage_or_narrow_a_stage(problem, frontier):
    blocks = [c.name for c in problem.space.block_choices()]
    leave_out = {(name, "skip") for name in blocks}
    # Attention comes last in a stage: of a stage's, only the first may become pooling.
    replace = {("trunk.5.0.one_of", "mb4d"), ("trunk.7.0.one_of", "mb4d")}
    narrow = {("c1", 16), ("c2", 32), ("c3", 48), ("c4", 80)}
    assert frontier == leave_out | replace | narrow


def test_importance_of_a_block_and_of_a_stage(problem):
    """(p_3D + p_4D) / p_I, p_4D / p_I where there is no attention; of a width, the sum over its stage's blocks."""
    random = np.random.default_rng(0)
    scores = {c.name: random.dirichlet(np.ones(len(c))) for c in path_choices(problem)}
    shaped = shaped_paths(problem)
    by_hand = {name: (p[:-1].sum()) / p[-1] for name, p in scores.items()}
    for reachable in Actions(problem).frontier(extreme(problem, "max")):
        action = reachable.action
        found = importance(action, scores, shaped)
        if action.choice in STAGES:
            wanted = sum(v for name, v in by_hand.items() if name.startswith(STAGES[action.choice]))
        elif problem.space.choice(action.choice).options[action.after] == "skip":
            wanted = by_hand[action.choice]
        else:
            p = scores[action.choice]
            wanted = (1 - p[action.after]) / p[action.after]
        assert found == pytest.approx(wanted, rel=1e-9), action
