"""How the weights of a supernet learn under networks drawn from it, before one of them is chosen.

* `single_path`: each step trains one network, every option equally probable (Guo et al. 2020). The networks share
  entangled weights: a smaller one is a part of a larger one (AutoFormer, Chen et al. 2021).
* `sandwich`: each step trains the largest network, the smallest and some drawn evenly, on one batch with their
  gradients summed (sandwich rule, Yu and Huang 2019).

In-place distillation (US-Nets, Yu and Huang 2019; BigNAS, Yu et al. 2020) belongs to the sandwich: the largest network
learns the labels, the others its probabilities on the same images. Whatever terms a loss has read them as its targets.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from dnas.errors import UserError
from dnas.learning.course import Metrics, Phase, State
from dnas.nn.gates import one_hot
from dnas.search.actions import extreme
from dnas.search.candidates import compile_comparison, lanes_of
from dnas.search.compiling import Compiler, Program
from dnas.search.descent import Learner, Learning, compile_learning, planned, summed
from dnas.search.problem import Problem
from dnas.search.singlepath import Paths, start

Step = Callable[[State, int], tuple[State, Metrics]]


class Programs(NamedTuple):
    """What is compiled."""

    learning: Learning
    compare: Program


class Rule(NamedTuple):
    """One of the ways to learn."""

    steps: Callable[[Problem, Learner], Step]
    summed: bool
    """Whether a step adds up gradients of several networks."""


def check(problem: Problem, preferred: str = "single_path") -> None:
    """Raises `UserError` for distillation in a training without a network to learn from.

    `preferred`, here and below, is the rule of a strategy where the settings name none.
    """
    if problem.settings.distill and not rule_of(problem, preferred).summed:
        raise UserError("--distill: a step of --supernet single_path has no largest network; use --supernet sandwich")


def compile_training(problem: Problem, compiler: Compiler, preferred: str = "single_path") -> Learning:
    """The programs of `training`: one for every network."""
    return compile_learning(problem, compiler, whole=rule_of(problem, preferred).summed)


def compile_programs(problem: Problem, compiler: Compiler, strategy: str, preferred: str = "single_path") -> Programs:
    """Every program of a strategy that compares networks when their weights have learned, each traced once."""
    weights = start(problem)
    learning = compile_training(problem, compiler, preferred)
    return Programs(learning, compile_comparison(problem, compiler, weights.variables, lanes_of(problem, strategy)))


def training(problem: Problem, learner: Learner, preferred: str = "single_path") -> Phase:
    """The phase in which the weights, which are the state's arrays, learn."""
    steps = rule_of(problem, preferred).steps(problem, learner)
    return Phase("supernet", planned(problem).supernet, steps, end=learner.batches.rest)


def rule_of(problem: Problem, preferred: str) -> Rule:
    """The settings' rule."""
    return RULES[problem.settings.supernet or preferred]


def single_path(problem: Problem, learner: Learner) -> Step:
    """Steps that train one network each."""
    draw = Paths(problem)

    def train(state: State, n: int) -> tuple[State, Metrics]:
        weights, metrics = learner.step(state.arrays, one_hot(problem.layout, draw(n)), n)
        return state._replace(arrays=weights), metrics

    return train


def sandwich(problem: Problem, learner: Learner) -> Step:
    """Steps on one batch that the largest network sees first, whose probabilities the others may learn."""
    s, draw = problem.settings, Paths(problem)
    largest, smallest = (one_hot(problem.layout, extreme(problem, sense)) for sense in ("max", "min"))

    def train(state: State, n: int) -> tuple[State, Metrics]:
        drawn = [one_hot(problem.layout, draw(n, stream)) for stream in range(s.sandwich_random)]
        first = learner.gradient(state.arrays, largest, n)
        targets = jax.nn.softmax(first.logits) if s.distill else None
        others = [learner.gradient(state.arrays, gates, n, targets) for gates in (smallest, *drawn)]
        weights = learner.descend(state.arrays, first._replace(params=summed([r.params for r in (first, *others)])))
        labels = problem.devices.batch_of_rows(learner.batches.at(n)[1], s.batch_size)
        right = jnp.mean(jnp.argmax(others[0].logits, -1) == labels)
        smallest_network = {"smallest_loss": others[0].loss, "smallest_accuracy": right}
        return state._replace(arrays=weights), first.metrics | smallest_network

    return train


RULES = {"single_path": Rule(single_path, False), "sandwich": Rule(sandwich, True)}
