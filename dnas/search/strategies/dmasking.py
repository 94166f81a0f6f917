"""DMaskingNAS: weights and theta learn in turn on their own shares of the training data (FBNet V1, V2).

Weights step: cross-entropy under gates drawn from theta, one-hot from the middle of the search on. Theta step:
`dnas.search.objective` under gates drawn anew. Then the most probable networks within the budgets, some drawn from
theta and known designs race on the supernet's weights, and the weights settle under the winner's gates.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, PRNGKeyArray

from dnas.data.batches import Batches, steps_per_epoch
from dnas.errors import UserError
from dnas.graph.architecture import options_taken
from dnas.learning.course import Metrics, Phase, State
from dnas.nn.gates import (
    Gates,
    Layout,
    Theta,
    as_mapping,
    entropy,
    gumbel_softmax,
    harden,
    one_hot,
    probabilities,
    straight_through,
)
from dnas.search import objective
from dnas.search.assess import accuracies, assessed
from dnas.search.candidates import as_assessment, compare, compile_comparison
from dnas.search.collapse import Acted, Temperature, counted, floored, none_acted, report
from dnas.search.compiling import Compiler, Program
from dnas.search.descent import Descent, Steps, Update, Weights, compile_update, fresh, optimizer, streams
from dnas.search.learn import Learned, PackedVariables, as_targets, kept, learned_like, learning
from dnas.search.objective import Multipliers
from dnas.search.problem import Problem
from dnas.search.race import Race, winner
from dnas.search.race import summary as race_summary
from dnas.search.shortlist import Candidate, shortlist
from dnas.search.start import first_theta
from dnas.search.strategy import Outcome, Strategy
from dnas.solve.derive import Derivation, derive

NAME = "dmasking"


class Arrays(NamedTuple):
    """The arrays of the state."""

    variables: PackedVariables
    weights_opt: optax.OptState
    theta: Theta
    theta_opt: optax.OptState
    multipliers: Multipliers
    acted: Acted


class Programs(NamedTuple):
    """What is compiled: two large programs and three of a few operations."""

    draw: Program
    """`(theta, key, number, temperature, hard) -> (gates, temperature)`"""
    learn: Program
    update_weights: Update
    update_theta: Program
    compare: Program


class Schedule(NamedTuple):
    """How many steps a search takes: weights alone, weights and theta, weights of the finalists, of the one found."""

    warm_up: int
    search: int
    race: int
    settle: int
    theta_steps: int

    @property
    def supernet(self) -> int:
        """Steps before the weights settle for one network."""
        return self.warm_up + self.search + self.race

    @property
    def steps(self) -> int:
        return self.supernet + self.settle

    def theta_due(self, n: int) -> range:
        """Numbers of the theta steps after step `n` of the search: spread evenly, the last after the last."""
        return range(self.theta_steps * n // self.search, self.theta_steps * (n + 1) // self.search)


def check(problem: Problem) -> None:
    """Raises `UserError` for a family of budgets: theta is learned for one set of budgets."""
    if problem.family:
        raise UserError(f"--family: --strategy {NAME} searches for one set of budgets; use slimming or sandwich")


def schedule(problem: Problem) -> Schedule:
    """Steps of the settings' epochs on this data."""
    s = problem.settings
    steps = max(2, math.ceil(s.epochs * steps_per_epoch(len(problem.split.weights_index), s.batch_size)))
    warm_up, race, settle = (int(share * steps) for share in (s.warm_up, s.race, s.settle))
    search = steps - warm_up - race - settle
    return Schedule(warm_up, search, race, settle, max(1, int(search / s.theta_every)))


def compile_programs(problem: Problem, compiler: Compiler) -> Programs:
    """Every program of the strategy, each traced once."""
    state = _start(problem)
    gates = probabilities(problem.layout, state.theta)
    images, labels = streams(problem)[0].at(0)
    learn, targets = learning(problem), as_targets(labels, problem.dataset.classes)
    learned = learned_like(problem, state.variables, gates)
    key, number, real = jax.random.key(0), np.int32(0), np.float32(0)
    heat = Temperature(real, real)
    # The larger of the two large programs first: while a core waits for parts of it, the other is traced and compiled.
    return Programs(
        learn=compiler(learn, state.variables, gates, images, targets, gives=learned),
        compare=compile_comparison(problem, compiler, state.variables),
        draw=compiler(_draw(problem), state.theta, key, number, heat, np.bool_(False)),
        update_weights=compile_update(
            problem, compiler, _weights_optimizer(problem), Weights(state.variables, state.weights_opt), learned
        ),
        update_theta=compiler(
            _update_theta(problem), state.theta, state.theta_opt, state.multipliers, state.acted, real,
            learned.gates, key, number, heat, real, problem.limits,
        ),
    )  # fmt: skip


def strategy(problem: Problem, programs: Programs) -> Strategy:
    """The strategy on a problem; `programs` may be those of another that differs in data, seed and limits alone."""
    plan, key = schedule(problem), jax.random.key(problem.seed)
    for_weights, for_theta = streams(problem)
    classes, s = problem.dataset.classes, problem.settings
    assess = as_assessment(programs.compare)

    def learn(arrays: Arrays, gates: Gates, batches: Batches, n: int) -> Learned:
        images, labels = batches.at(n)
        return programs.learn(arrays.variables, gates, images, as_targets(labels, classes))

    def temperature(step: int) -> Temperature:
        scheduled = s.temperature * (s.temperature_end / s.temperature) ** (step / max(1, plan.steps))
        left = 1 - max(0, step - plan.warm_up) / plan.search
        return Temperature(np.float32(scheduled), np.float32(left))

    def update(arrays: Arrays, learned: Learned) -> tuple[Arrays, Metrics]:
        variables, weights_opt = programs.update_weights(
            arrays.variables, arrays.weights_opt, learned.params, learned.chosen, learned.statistics
        )
        metrics = {"loss": learned.loss, "accuracy": learned.accuracy}
        return arrays._replace(variables=variables, weights_opt=weights_opt), metrics

    def weights_step(arrays: Arrays, step: int) -> tuple[Arrays, Metrics]:
        hard = np.bool_(step - plan.warm_up >= s.one_hot_from * plan.search)
        gates, drawn_at = programs.draw(arrays.theta, key, np.int32(2 * step), temperature(step), hard)
        arrays, metrics = update(arrays, learn(arrays, gates, for_weights, step))
        return arrays, metrics | {"temperature": drawn_at}

    def theta_step(arrays: Arrays, n: int, step: int) -> tuple[Arrays, Metrics]:
        draw = key, np.int32(2 * n + 1), temperature(step)
        learned = learn(arrays, programs.draw(arrays.theta, *draw, np.bool_(False))[0], for_theta, n)
        progress = np.float32((n + 1) / plan.theta_steps)
        theta, theta_opt, multipliers, acted, metrics = programs.update_theta(
            arrays.theta, arrays.theta_opt, arrays.multipliers, arrays.acted, learned.loss, learned.gates, *draw,
            progress, problem.limits,
        )  # fmt: skip
        metrics |= {"theta_step": n + 1, "theta_loss": learned.loss, "theta_accuracy": learned.accuracy}
        return arrays._replace(theta=theta, theta_opt=theta_opt, multipliers=multipliers, acted=acted), metrics

    def warm_up(state: State, n: int) -> tuple[State, Metrics]:
        arrays, metrics = weights_step(state.arrays, n)
        return state._replace(arrays=arrays), metrics

    def search(state: State, n: int) -> tuple[State, Metrics]:
        step = plan.warm_up + n
        arrays, metrics = weights_step(state.arrays, step)
        for number in plan.theta_due(n):
            arrays, more = theta_step(arrays, number, step)
            metrics |= more
        return state._replace(arrays=arrays), metrics

    def candidates(state: State) -> list[Candidate]:
        named = as_mapping(probabilities(problem.layout, state.arrays.theta))
        return shortlist(problem, {name: np.asarray(p, np.float64) for name, p in named.items()}, s.finalists)

    def learn_under(arrays: Arrays, gates: Gates, n: int) -> tuple[Arrays, Metrics]:
        return update(arrays, learn(arrays, gates, for_weights, n))

    race = Race(
        problem, plan.race, candidates,
        learn=lambda arrays, gates, n: learn_under(arrays, gates, plan.warm_up + plan.search + n),
        compare=lambda arrays, assignments: compare(programs.compare, problem, arrays.variables, assignments),
    )  # fmt: skip

    def soft_accuracy(state: State) -> State:
        """The supernet is assessed as the search leaves it."""
        soft = assessed(assess, problem, state.arrays.variables, probabilities(problem.layout, state.arrays.theta))
        return state._replace(notes={**state.notes, "accuracies": accuracies([("soft", soft)])})

    def decide(state: State) -> State:
        """The winner of the race, assessed before the weights settle."""
        if "race" not in state.notes:
            state = race.begin(soft_accuracy(state))
        assignment = winner(problem, state.notes)
        found = assessed(assess, problem, state.arrays.variables, one_hot(problem.layout, assignment))
        named = {**state.notes["accuracies"], **accuracies([("derived", found)])}
        return state._replace(notes={**state.notes, "assignment": assignment, "accuracies": named})

    def settle(state: State, n: int) -> tuple[State, Metrics]:
        gates = one_hot(problem.layout, state.notes["assignment"])
        arrays, metrics = learn_under(state.arrays, gates, plan.supernet + n)
        return state._replace(arrays=arrays), metrics

    def outcome(state: State) -> Outcome:
        if "assignment" not in state.notes:
            state = decide(state)
        theta, assignment = state.arrays.theta, state.notes["assignment"]
        derivation = derived(problem, theta)
        last = assessed(assess, problem, state.arrays.variables, one_hot(problem.layout, assignment))
        found = dict(state.notes["accuracies"])
        if plan.settle:
            found |= accuracies([("settled", last)])
        soft = probabilities(problem.layout, theta)
        said = summary(problem, theta) | {"remedies": report(state.arrays.acted, plan.warm_up)}
        said["race"] = race_summary(problem, state.notes)
        expected = np.asarray(problem.expected(soft), np.float64).tolist() if problem.measured else []
        costs = tuple(m.at(assignment) for m in problem.measured)
        return Outcome(
            assignment, costs, last.variables, found, last.images, derivation, tuple(expected), said,
            unused="the race's winner uses no more", warnings=warnings(problem, theta, assignment),
        )  # fmt: skip

    phases = (
        Phase("warm-up", plan.warm_up, warm_up),
        Phase("search", plan.search, search),
        race.phase(soft_accuracy),
        Phase("settle", plan.settle, settle, begin=decide),
    )
    return Strategy(
        NAME, lambda: State(_start(problem), {}), phases, outcome, lambda state: observe(problem, state.arrays.theta)
    )


# Programs -------------------------------------------------------------------------------------------------------------


def _draw(problem: Problem):
    s, layout = problem.settings, problem.layout

    def draw(theta: Theta, key: PRNGKeyArray, number: Array, heat: Temperature, hard: Array) -> tuple[Gates, Array]:
        temperature, _ = floored(layout, theta, heat, s)
        gates = gumbel_softmax(layout, theta, jax.random.fold_in(key, number), temperature, noise=s.noise)
        if s.gates == "straight_through":
            gates = straight_through(gates)
        gates = Gates(jnp.where(hard, harden(gates).values, gates.values), layout)
        return kept(problem, gates), temperature

    return draw


def _update_theta(problem: Problem):
    """One step of theta and the multipliers.

    The supernet enters through its loss and d loss / d gates at the gates drawn: loss + <gradient, gates - drawn> has
    the same value and the same gradient there.
    """
    s, layout, optimizer, draw = problem.settings, problem.layout, _theta_optimizer(problem), _draw(problem)
    latency = next((j for j, m in enumerate(problem.measured) if m.budget.kind == "ms"), 0)
    skips = skip_options(problem)

    def total(theta: Theta, multipliers: Multipliers, loss, gradient, key, number, temperature, progress, limits):
        gates, _ = draw(theta, key, number, temperature, jnp.asarray(False))
        cross_entropy = loss + jnp.sum(gradient * (gates.values - jax.lax.stop_gradient(gates.values)))
        p = probabilities(layout, theta)
        spread, skipped = entropy(layout, theta), jnp.sum(p.values * skips)
        result, expected, u = cross_entropy, jnp.zeros(0), jnp.zeros(0)
        penalty = s.penalty * (1 + s.tighten * progress)
        if problem.measured:
            drawn = objective.scaled(problem.expected(gates)[latency], problem.measured[latency].smallest)
            result = objective.combine(cross_entropy, drawn, s.loss_form, s.alpha, s.beta)
            expected = problem.expected(p)
            u = objective.violations(expected, limits)
            result = result + objective.budget_term(u, multipliers, penalty, s.aim > 0)
        result = result + objective.guard_term(skipped - s.skip_limit, multipliers, penalty)
        result = result + s.decide * progress**2 * jnp.sum(spread)
        return result, (expected, u, jnp.mean(spread), skipped)

    def update_theta(
        theta: Theta, state: optax.OptState, multipliers: Multipliers, acted: Acted, loss, gradient, *arguments
    ):  # fmt: skip
        gradient, (expected, u, spread, skipped) = jax.grad(total, has_aux=True)(
            theta, multipliers, loss, gradient, *arguments
        )
        updates, state = optimizer.update(gradient, state, theta)
        multipliers = objective.ascend(u, skipped - s.skip_limit, multipliers, s.multiplier_lr, s.aim > 0)
        held = floored(layout, theta, arguments[2], s)[1]
        acted = counted(acted, multipliers, held)
        metrics = {
            "entropy": spread, "expected": expected, "skip_share": skipped, "multipliers": multipliers.down,
            "push_up": multipliers.up, "skip_guard": multipliers.guard, "temperature_floor": held,
        }  # fmt: skip
        return optax.apply_updates(theta, updates), state, multipliers, acted, metrics

    return update_theta


def _weights_optimizer(problem: Problem) -> Descent:
    plan = schedule(problem)
    return optimizer(problem.settings, Steps(plan.supernet, plan.settle))


def _theta_optimizer(problem: Problem) -> optax.GradientTransformation:
    s = problem.settings
    decay = [optax.add_decayed_weights(s.theta_decay)] if s.theta_decay else []
    return optax.chain(*decay, optax.adam(s.theta_lr, b1=0.5, b2=0.99, eps=s.theta_epsilon))


def _start(problem: Problem) -> Arrays:
    variables, weights_opt = fresh(problem, _weights_optimizer(problem))
    theta = first_theta(problem.layout, problem.start)
    return Arrays(
        variables, weights_opt, theta, _theta_optimizer(problem).init(theta),
        Multipliers(jnp.zeros(len(problem.measured)), jnp.zeros(()), jnp.zeros(())), none_acted(),
    )  # fmt: skip


# What theta says ------------------------------------------------------------------------------------------------------


def derived(problem: Problem, theta: Theta) -> Derivation:
    """The most probable network within the budgets."""
    soft = probabilities(problem.layout, theta)
    logits = {name: np.log(np.maximum(p, 1e-300)) for name, p in as_mapping(soft).items()}
    return derive(
        problem.space, problem.walked, logits, [m.cost for m in problem.measured],
        [m.budget.limit for m in problem.measured], fill=problem.settings.floor,
    )  # fmt: skip


def skip_options(problem: Problem) -> Float[np.ndarray, "choices options"]:
    """Weights with which probabilities add up to the share of blocks skipped, where skipping is an option."""
    layout = problem.layout
    weights = np.zeros(layout.shape, np.float32)
    for row, choice in enumerate(layout.choices):
        if "skip" in choice.options:
            weights[row, choice.options.index("skip")] = 1
    return weights / max(1.0, weights.sum())


def largest_probability(layout: Layout, theta: Theta) -> Float[Array, " choices"]:
    """Each choice's largest probability: 1 when it is decided."""
    return jnp.max(probabilities(layout, theta).values, axis=-1)


def observe(problem: Problem, theta: Theta) -> dict[str, dict[str, list[float]]]:
    """The probabilities of every choice."""
    named = as_mapping(probabilities(problem.layout, theta))
    return {"probabilities": {name: [round(float(v), 4) for v in p] for name, p in named.items()}}


def summary(problem: Problem, theta: Theta) -> dict[str, Any]:
    """How decided theta is."""
    if not problem.space.choices:
        return {}
    return {
        "mean_largest_probability": round(float(np.mean(largest_probability(problem.layout, theta))), 6),
        "mean_entropy": round(float(np.mean(entropy(problem.layout, theta))), 6),
    }


def warnings(problem: Problem, theta: Theta, assignment: dict[str, int]) -> list[str]:
    """Collapse to skips, a flat theta."""
    notes = []
    taken = options_taken(problem.space, assignment)
    blocks = [c.name for c in problem.space.choices if "skip" in c.options]
    skips = [name for name in blocks if taken[name] == "skip"]
    if blocks and len(skips) > 0.5 * len(blocks):
        notes.append(
            f"skip collapse: {len(skips)} of {len(blocks)} blocks are skipped; search longer, warm up longer or set a "
            "lower --skip-limit"
        )
    decided = float(np.mean(largest_probability(problem.layout, theta))) if problem.space.choices else 1.0
    even = float(np.mean([1 / len(c) for c in problem.space.choices])) if problem.space.choices else 1.0
    if decided < even + 0.25 * (1 - even):
        notes.append(
            f"theta is nearly flat (mean largest probability {decided:.2f}): the choices were hardly decided by the "
            "data; search longer or raise --theta-lr"
        )
    return notes
