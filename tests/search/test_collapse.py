"""Choices that settle on skips before the weights tell more: what happens without the remedies, and with them."""

from __future__ import annotations

import jax.numpy as jnp
import pytest

from dnas.data.load import load
from dnas.grammar.read import space_from_data
from dnas.learning.journal import Journal
from dnas.nn.gates import Layout, init_theta
from dnas.search.collapse import Temperature, counted, floored, none_acted, report
from dnas.search.compiling import Compiler
from dnas.search.console import Console
from dnas.search.problem import make_problem
from dnas.search.run import Options, advance
from dnas.search.settings import Settings
from dnas.search.strategies import dmasking
from dnas.space.quantity import Choice

LAYOUT = Layout((Choice("a", (0, 1)), Choice("b", (0, 1, 2))))
BLOCKS = 6
# A block without a residual has to learn before it lets anything through, a skip does not.
TOY = {
    "name": "toy",
    "input": {"channels": 1, "classes": 10, "resolution": 14},
    "trunk": [
        {"conv": {"kernel": 3, "stride": 2, "out": 12, "act": "relu"}},
        {
            "repeat": BLOCKS,
            "one_of": [
                {"label": "block", "mbconv": {"out": 12, "expand": 2, "residual": False}},
                {"label": "skip", "skip": {"out": 12}},
            ],
        },
    ],
    "head": [{"pool": {}}, {"linear": {"out": "$classes"}}],
}


def heat(scheduled: float, left: float) -> Temperature:
    return Temperature(jnp.float32(scheduled), jnp.float32(left))


@pytest.mark.parametrize(
    ("logit", "scheduled", "left", "expected"),
    [
        (0.0, 0.3, 0.9, 0.3),  # undecided: the schedule
        (9.0, 0.3, 0.9, 1.0),  # decided with most of the search to go: the floor
        (9.0, 2.0, 0.9, 2.0),  # the schedule is above the floor
        (9.0, 0.3, 0.0, 0.3),  # at the end it may be decided
    ],
)
def test_the_temperature_stays_up_while_choices_harden_early(logit, scheduled, left, expected):
    theta = init_theta(LAYOUT).at[:, 0].set(logit)
    temperature, held = floored(LAYOUT, theta, heat(scheduled, left), Settings())
    assert float(temperature) == pytest.approx(expected) and bool(held) == (expected > scheduled)


def test_remedies_are_counted():
    acted = none_acted()
    for guard, held in ((0.0, False), (0.5, False), (0.2, True)):
        acted = counted(acted, jnp.float32(guard), jnp.asarray(held))
    assert report(acted, 7) == {"weight_warm_up": 7, "skip_guard": 2, "temperature_floor": 1}


def searched(**settings):
    """Blocks skipped by the network found, its accuracy after settling, and what the remedies did."""
    # Choices that learn fast, weights that learn slowly: the ground on which searches collapse.
    learning = {"epochs": 2, "theta_lr": 0.2, "weights_lr": 0.005}
    chosen = Settings(side=14, norm_batches=4, **learning, **settings)
    problem = make_problem(space_from_data(TOY, "toy"), [], load(None), chosen, 0)
    programs = dmasking.compile_programs(problem, Compiler())
    made, journal = dmasking.strategy(problem, programs), Journal(None, {})
    outcome = made.outcome(advance(made, journal, Options(), Console(quiet=True), problem))
    skipped = sum(problem.space.choice(name).options[n] == "skip" for name, n in outcome.assignment.items())
    return skipped, outcome


@pytest.mark.slow
def test_a_space_that_collapses_does_not_with_the_remedies():
    without, collapsed = searched(warm_up=0.0, skip_limit=1.0, temperature_floor=0.0)
    guarded, kept = searched()
    print(without, collapsed.accuracies, collapsed.warnings, guarded, kept.accuracies, kept.summary)
    assert without > BLOCKS / 2 and any("skip collapse" in text for text in collapsed.warnings)
    assert collapsed.summary["remedies"] == {"weight_warm_up": 0, "skip_guard": 0, "temperature_floor": 0}
    assert guarded <= BLOCKS / 2 and not any("skip collapse" in text for text in kept.warnings)
    assert kept.summary["remedies"]["weight_warm_up"] > 0 and kept.summary["remedies"]["skip_guard"] > 0
    assert kept.accuracies["settled"] > collapsed.accuracies["settled"]
