"""How the weights of a supernet learn: the optimiser, and the program that takes a step with a gradient."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, ArrayLike

from dnas.data.batches import Batches
from dnas.learning.course import Metrics
from dnas.nn.gates import Gates, uniform
from dnas.nn.packing import BLOCKS, MATRICES, Chosen, Leaves, Packing
from dnas.nn.supernet import init
from dnas.nn.wing import RowForms, wing
from dnas.search.compiling import Compiler, Program
from dnas.search.learn import Learned, PackedVariables, fed, learned_like, learning, packing_of
from dnas.search.problem import Problem
from dnas.search.settings import Settings


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
    settle = int(problem.settings.settle * problem.steps)
    return Steps(problem.steps - settle, settle)


class Descent(NamedTuple):
    """SGD with momentum, decay and a limit to the gradient's norm; as optax has it by `init` and `update`."""

    init: Callable
    update: Callable
    rate: optax.Schedule
    decay: float
    clip: float
    momentum: float


def optimizer(s: Settings, steps: Steps) -> Descent:
    """The rate warms up, falls as a cosine, and starts anew for the network found."""
    warm = max(1, min(steps.supernet // 20, 200))
    searching = optax.warmup_cosine_decay_schedule(
        s.weights_lr / warm, s.weights_lr, warm, max(steps.supernet, warm + 1), end_value=0.2 * s.weights_lr
    )
    # The network found starts to learn anew: what it inherits was learned under other gates.
    settling = optax.cosine_decay_schedule(s.weights_lr, max(1, steps.settle))
    rate = optax.join_schedules([searching, settling], [steps.supernet])

    def at(step: ArrayLike) -> Any:
        return rate(jnp.asarray(step, jnp.float32))

    return descent(at, s.weight_decay, s.clip, s.weights_momentum)


def descent(rate: optax.Schedule, decay: float, clip: float, momentum: float) -> Descent:
    """Momentum under a rate, with decay of matrices and clipped gradients."""
    rule = optax.chain(
        optax.add_decayed_weights(decay, mask=_decayed), optax.clip_by_global_norm(clip), optax.sgd(rate, momentum)
    )
    return Descent(rule.init, rule.update, rate, decay, clip, momentum)


def _decayed(params: Leaves) -> dict[str, bool]:
    """Norms, biases and tables, which are the vectors, are not pulled to zero."""
    return {name: name.endswith(MATRICES) for name in params}


Update = Callable[[PackedVariables, optax.OptState, Leaves, Chosen, Leaves], tuple[PackedVariables, optax.OptState]]
"""`(variables, opt, gradient, chosen, statistics) -> (variables, opt)`; the first two are donated."""


def compile_update(
    problem: Problem,
    compiler: Callable[..., Program],
    rule: Descent | optax.GradientTransformation,
    weights: Weights,
    learned: Learned,
) -> Update:
    """What takes a step with a gradient.

    Blocks that did not run are left alone, as are their momentum and their decay (as PyTorch's optimisers leave
    parameters without a gradient).
    """
    found = learned.params, learned.chosen
    if not learned.chosen:
        return compiler(updating(rule), *weights, *found, learned.statistics, donate=(0, 1))
    packing, (variables, opt) = packing_of(problem), weights
    if isinstance(rule, Descent) and (forms := wing(problem.devices).rows) is not None:
        return compiler(descending(rule, packing, forms), *weights, *found, learned.statistics, donate=(0, 1))
    step = stepping(rule, packing)
    changed = jax.eval_shape(step, variables["params"], opt, *found)
    # Two programs: one that read and wrote the vectors of all blocks would copy them.
    step = compiler(step, variables["params"], opt, *found)
    write = compiler(writing(packing), *weights, changed, learned.chosen, learned.statistics, donate=(0, 1))

    def update(variables, opt, gradient, chosen, statistics):
        return write(variables, opt, step(variables["params"], opt, gradient, chosen), chosen, statistics)

    return update


def updating(rule: Descent | optax.GradientTransformation) -> Update:
    """With a gradient of all parameters."""

    def update_weights(variables: PackedVariables, state: optax.OptState, gradient: Leaves, _: Chosen, statistics):
        updates, state = rule.update(gradient, state, variables["params"])
        return {"params": optax.apply_updates(variables["params"], updates), "batch_stats": statistics}, state

    return update_weights  # pyright: ignore


def descending(rule: Descent, packing: Packing, forms: RowForms) -> Update:
    """With a gradient of what takes part: the blocks' parameters are changed where they are."""

    def update_weights(variables: PackedVariables, state: optax.OptState, gradient: Leaves, chosen: Chosen, statistics):
        params, moving = dict(variables["params"]), dict(optax.tree.get(state, "trace"))
        rows = [(f"{run}.{kind}", BLOCKS + kind, table, chosen[run]) for run, kind, table in packing.rows()]
        decay = {name: rule.decay if decays else 0.0 for name, decays in _decayed(params).items()}
        of_rest = {name: leaf for name, leaf in gradient.items() if name in params}
        squares = [jnp.sum(jnp.square(leaf + decay[name] * params[name])) for name, leaf in of_rest.items()]
        squares += [forms.squared(params[v], table, at, gradient[row], decay[v]) for row, v, table, at in rows]
        norm = jnp.sqrt(functools.reduce(operator.add, squares))
        factor, rate = jnp.where(norm < rule.clip, 1.0, rule.clip / norm), rule.rate(optax.tree.get(state, "count"))
        for name, leaf in of_rest.items():
            moving[name] = rule.momentum * moving[name] + factor * (leaf + decay[name] * params[name])
            params[name] = params[name] - rate * moving[name]
        for row, name, table, at in rows:
            coefficients = rule.momentum, factor, decay[name], rate
            own = params[name], moving[name]
            params[name], moving[name] = forms.descended(*own, table, at, gradient[row], coefficients)
        state = optax.tree.set(state, trace=moving, count=optax.safe_increment(optax.tree.get(state, "count")))
        return {"params": params, "batch_stats": statistics}, state

    return update_weights  # pyright: ignore


def stepping(rule: Descent | optax.GradientTransformation, packing: Packing) -> Callable:
    """`(params, opt, gradient, chosen) -> (used, used opt)`: what takes part, and the optimiser's state of it, after a
    step."""

    def step_used(params: Leaves, state: optax.OptState, gradient: Leaves, chosen: Chosen):
        used = packing.used(params, chosen)
        state = _like_params(lambda leaves: packing.used(leaves, chosen), state)
        updates, state = rule.update(gradient, state, used)
        return optax.apply_updates(used, updates), state

    return step_used


def writing(packing: Packing) -> Callable:
    """`(variables, opt, (used, used opt), chosen, statistics) -> (variables, opt)`."""

    def write_used(variables: PackedVariables, state: optax.OptState, after: tuple, chosen: Chosen, statistics: Leaves):
        put = functools.partial(packing.with_used, chosen=chosen)
        variables = {"params": put(variables["params"], after[0]), "batch_stats": statistics}
        return variables, _like_params(put, state, after[1])

    return write_used


def _like_params(change: Callable, *states: optax.OptState) -> Any:
    """`change` of all parts of an optimiser's state that are like the parameters, which are dicts; the last state's
    other parts as they are."""
    return jax.tree.map(
        lambda *parts: change(*parts) if isinstance(parts[0], dict) else parts[-1], *states,
        is_leaf=lambda part: isinstance(part, dict),
    )  # fmt: skip


def fresh(problem: Problem, rule: Descent | optax.GradientTransformation) -> Weights:
    """Weights drawn from the problem's seed."""
    variables = packing_of(problem).pack(init(problem.proxy, jax.random.key(problem.seed)))
    return problem.devices.state(Weights(variables, rule.init(variables["params"])))


def streams(problem: Problem, sharing: int = 1) -> tuple[Batches, Batches]:
    """The batches for weights and for the choices, of which this host reads what its devices take.

    `sharing` of them are read side by side.
    """
    data, split, size = problem.dataset, problem.split, problem.settings.batch_size
    own = problem.devices.own_rows(size)
    return (
        Batches(data.train_images, data.train_labels, split.weights_index, size, problem.seed, own, sharing),
        Batches(data.train_images, data.train_labels, split.theta_index, size, problem.seed + 1, own, sharing),
    )


def summed(gradients: list[Leaves]) -> Leaves:
    """The sum of gradients of several networks."""
    return jax.tree.map(lambda *parts: sum(parts[1:], jnp.asarray(parts[0])), *gradients)


class Learning(NamedTuple):
    """The programs with which the weights of a supernet learn under any gates."""

    learn: Program
    """`(variables, gates, images, targets) -> Learned`"""
    update: Update


def compile_learning(problem: Problem, compiler: Compiler, whole: bool = False) -> Learning:
    """`whole`: with gradients that can be added up (`dnas.search.learn.learning`)."""
    rule = optimizer(problem.settings, planned(problem))
    variables, opt = fresh(problem, rule)
    gates = uniform(problem.layout)
    learn, batch = learning(problem, whole), fed(problem, streams(problem)[0].alone(0))
    learned = learned_like(problem, variables, gates, whole)
    return Learning(
        compiler(learn, variables, gates, *batch, gives=learned),
        compile_update(problem, compiler, rule, Weights(variables, opt), learned),
    )


class Learner:
    """Steps of the weights of one problem."""

    def __init__(self, problem: Problem, programs: Learning, batches: Batches | None = None):
        self.problem, self.programs = problem, programs
        self.batches = batches or streams(problem)[0]

    def gradient(self, weights: Weights, gates: Gates, n: int, targets: np.ndarray | Array | None = None) -> Learned:
        """What batch `n` tells under gates; `targets` in place of its labels."""
        return self.programs.learn(weights.variables, gates, *fed(self.problem, self.batches.at(n), targets))

    def step(self, weights: Weights, gates: Gates, n: int) -> tuple[Weights, Metrics]:
        """One step of descent on batch `n` under gates."""
        learned = self.gradient(weights, gates, n)
        return self.descend(weights, learned), learned.metrics

    def descend(self, weights: Weights, learned: Learned) -> Weights:
        """The weights after a step along a gradient, and the norms' statistics."""
        taken = learned.params, learned.chosen, learned.statistics
        return Weights(*self.programs.update(weights.variables, weights.opt, *taken))
