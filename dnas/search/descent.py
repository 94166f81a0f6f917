"""How the weights of a supernet learn: the optimiser, and the program that takes a step with a gradient."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array

from dnas.data.batches import Batches, steps_per_epoch
from dnas.nn.gates import Gates, uniform
from dnas.nn.packing import MATRICES, Leaves, Packing
from dnas.nn.supernet import init
from dnas.search.compiling import Compiler, Program
from dnas.search.learn import Learned, PackedVariables, as_targets, learned_like, learning
from dnas.search.problem import Problem
from dnas.search.settings import Settings
from dnas.search.strategy import Metrics


class Weights(NamedTuple):
    """What the weights are and how they move."""

    variables: PackedVariables
    opt: optax.OptState


class Steps(NamedTuple):
    """Steps on the weights: of the supernet, then of the network found."""

    supernet: int
    settle: int


def planned(problem: Problem) -> Steps:
    """Steps of the settings' epochs on this data."""
    s = problem.settings
    steps = max(2, math.ceil(s.epochs * steps_per_epoch(len(problem.split.weights_index), s.batch_size)))
    settle = int(s.settle * steps)
    return Steps(steps - settle, settle)


def optimizer(s: Settings, steps: Steps) -> optax.GradientTransformation:
    """SGD with momentum; the rate warms up, falls as a cosine, and starts anew for the network found."""
    warm = max(1, min(steps.supernet // 20, 200))
    searching = optax.warmup_cosine_decay_schedule(
        s.weights_lr / warm, s.weights_lr, warm, max(steps.supernet, warm + 1), end_value=0.2 * s.weights_lr
    )
    # The network found starts to learn anew: what it inherits was learned under other gates.
    settling = optax.cosine_decay_schedule(s.weights_lr, max(1, steps.settle))
    rate = optax.join_schedules([searching, settling], [steps.supernet])

    def decayed(params: Leaves) -> dict[str, bool]:
        # Norms and biases, which are the vectors, are not pulled to zero.
        return {name: name == MATRICES for name in params}

    return optax.chain(
        optax.add_decayed_weights(s.weight_decay, mask=decayed),
        optax.clip_by_global_norm(s.clip),
        optax.sgd(rate, s.weights_momentum),
    )


def updating(rule: optax.GradientTransformation) -> Callable:
    """`(variables, opt, gradient, statistics) -> (variables, opt)`."""

    def update_weights(variables: PackedVariables, state: optax.OptState, gradient: Leaves, statistics: Leaves):
        updates, state = rule.update(gradient, state, variables["params"])
        return {"params": optax.apply_updates(variables["params"], updates), "batch_stats": statistics}, state

    return update_weights


def fresh(problem: Problem, rule: optax.GradientTransformation) -> Weights:
    """Weights drawn from the problem's seed."""
    variables = Packing(problem.proxy).pack(init(problem.proxy, jax.random.key(problem.seed)))
    return Weights(variables, rule.init(variables["params"]))


def streams(problem: Problem) -> tuple[Batches, Batches]:
    """The batches for weights and for the choices."""
    data, split, size = problem.dataset, problem.split, problem.settings.batch_size
    return (
        Batches(data.train_images, data.train_labels, split.weights_index, size, problem.seed),
        Batches(data.train_images, data.train_labels, split.theta_index, size, problem.seed + 1),
    )


def summed(gradients: list[Leaves]) -> Leaves:
    """The sum of gradients of several networks."""
    return jax.tree.map(lambda *parts: sum(parts[1:], jnp.asarray(parts[0])), *gradients)


class Learning(NamedTuple):
    """The programs with which the weights of a supernet learn under any gates."""

    learn: Program
    """`(variables, gates, images, targets) -> Learned`"""
    update: Program
    """`(variables, opt, gradient, statistics) -> (variables, opt)`"""


def compile_learning(problem: Problem, compiler: Compiler) -> Learning:
    rule = optimizer(problem.settings, planned(problem))
    variables, opt = fresh(problem, rule)
    gates = uniform(problem.layout)
    images, labels = streams(problem)[0].at(0)
    learn, targets = learning(problem), as_targets(labels, problem.dataset.classes)
    learned = learned_like(variables, gates)
    return Learning(
        compiler(learn, variables, gates, images, targets, gives=learned),
        compiler(updating(rule), variables, opt, learned.params, learned.statistics, donate=(0, 1)),
    )


class Learner:
    """Steps of the weights of one problem."""

    def __init__(self, problem: Problem, programs: Learning):
        self.problem, self.programs = problem, programs
        self.batches, self.classes = streams(problem)[0], problem.dataset.classes

    def gradient(self, weights: Weights, gates: Gates, n: int, targets: np.ndarray | Array | None = None) -> Learned:
        """What batch `n` tells under gates; `targets` in place of its labels."""
        images, labels = self.batches.at(n)
        targets = as_targets(labels, self.classes) if targets is None else targets
        return self.programs.learn(weights.variables, gates, images, targets)

    def step(self, weights: Weights, gates: Gates, n: int) -> tuple[Weights, Metrics]:
        """One step of descent on batch `n` under gates."""
        learned = self.gradient(weights, gates, n)
        return self.descend(weights, learned.params, learned), {"loss": learned.loss, "accuracy": learned.accuracy}

    def descend(self, weights: Weights, gradient: Leaves, learned: Learned) -> Weights:
        """The weights after a step along a gradient, with the norms' statistics of `learned`."""
        return Weights(*self.programs.update(weights.variables, weights.opt, gradient, learned.statistics))
