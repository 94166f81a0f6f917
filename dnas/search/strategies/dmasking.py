"""DMaskingNAS: weights and theta learn in turn on their own shares of the training data (FBNet V1, V2).

Weights step: cross-entropy under gates drawn from theta, one-hot from the middle of the search on. Theta step:
`dnas.search.objective` under gates drawn anew. Gates are drawn from the distribution nearest to theta's that keeps the
budgets in the mean (`dnas.search.projection`). Then the most probable networks within the budgets, some drawn from
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
from dnas.search.problem import Problem
from dnas.search.projection import Projected, project, unconstrained
from dnas.search.race import Race, winner
from dnas.search.race import summary as race_summary
from dnas.search.shortlist import Candidate, shortlist
from dnas.search.start import first_theta
from dnas.search.strategy import Outcome, Strategy
from dnas.solve.derive import Derivation, derive

NAME = "dmasking"
FIRST_PROJECTIONS = 30


class Arrays(NamedTuple):
    """The arrays of the state."""

    variables: PackedVariables
    weights_opt: optax.OptState
    theta: Theta
    theta_opt: optax.OptState
    projected: Projected
    acted: Acted


class Programs(NamedTuple):
    """What is compiled: two large programs and four of a few operations."""

    draw: Program
    """`(logits, key, number, temperature, hard) -> (gates, temperature)`"""
    learn: Program
    update_weights: Update
    update_theta: Program
    """`(theta, optimiser, logits, loss, gradient, draw, progress) -> (theta, optimiser, metrics)`"""
    project: Program
    """`(theta, projected, limits) -> (projected, metrics)`"""
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
            _update_theta(problem), state.theta, state.theta_opt, state.projected.logits, real, learned.gates, key,
            number, heat, real,
        ),
        project=compiler(_project(problem), state.theta, state.projected, problem.limits),
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
        gates, drawn_at = programs.draw(arrays.projected.logits, key, np.int32(2 * step), temperature(step), hard)
        arrays, metrics = update(arrays, learn(arrays, gates, for_weights, step))
        return arrays, metrics | {"temperature": drawn_at}

    def theta_step(arrays: Arrays, n: int, step: int) -> tuple[Arrays, Metrics]:
        draw, heat = (key, np.int32(2 * n + 1)), temperature(step)
        logits = arrays.projected.logits
        learned = learn(arrays, programs.draw(logits, *draw, heat, np.bool_(False))[0], for_theta, n)
        progress = np.float32((n + 1) / plan.theta_steps)
        theta, theta_opt, metrics = programs.update_theta(
            arrays.theta, arrays.theta_opt, logits, learned.loss, learned.gates, *draw, heat, progress
        )
        projected, of_budgets = programs.project(theta, arrays.projected, problem.limits)
        acted = counted(arrays.acted, of_budgets["skip_guard"], metrics["temperature_floor"])
        metrics |= {"theta_step": n + 1, "theta_loss": learned.loss, "theta_accuracy": learned.accuracy}
        return Arrays(arrays.variables, arrays.weights_opt, theta, theta_opt, projected, acted), metrics | of_budgets

    def begin() -> State:
        """The first projection is from far away."""
        arrays = _start(problem)
        for _ in range(FIRST_PROJECTIONS):
            arrays = arrays._replace(projected=programs.project(arrays.theta, arrays.projected, problem.limits)[0])
        return State(arrays, {})

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
        named = as_mapping(probabilities(problem.layout, state.arrays.projected.logits))
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
        soft = assessed(
            assess, problem, state.arrays.variables, probabilities(problem.layout, state.arrays.projected.logits)
        )
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
        theta, assignment = state.arrays.projected.logits, state.notes["assignment"]
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
    return Strategy(NAME, begin, phases, outcome, lambda state: observe(problem, state.arrays.projected.logits))


# Programs -------------------------------------------------------------------------------------------------------------


def _draw(problem: Problem):
    s, layout = problem.settings, problem.layout

    def draw(logits: Theta, key: PRNGKeyArray, number: Array, heat: Temperature, hard: Array) -> tuple[Gates, Array]:
        temperature, _ = floored(layout, logits, heat, s)
        gates = gumbel_softmax(layout, logits, jax.random.fold_in(key, number), temperature, noise=s.noise)
        if s.gates == "straight_through":
            gates = straight_through(gates)
        gates = Gates(jnp.where(hard, harden(gates).values, gates.values), layout)
        return kept(problem, gates), temperature

    return draw


def _update_theta(problem: Problem):
    """One step of theta.

    The supernet enters through its loss and d loss / d gates at the gates drawn: loss + <gradient, gates - drawn> has
    the same value and the same gradient there. A change of theta moves the projected logits by as much.
    """
    s, layout, optimizer, draw = problem.settings, problem.layout, _theta_optimizer(problem), _draw(problem)
    latency = next((j for j, m in enumerate(problem.measured) if m.budget.kind == "ms"), 0)

    def total(logits: Theta, loss, gradient, key, number, temperature, progress):
        gates, _ = draw(logits, key, number, temperature, jnp.asarray(False))
        cross_entropy = loss + jnp.sum(gradient * (gates.values - jax.lax.stop_gradient(gates.values)))
        spread, result = entropy(layout, logits), cross_entropy
        if problem.measured:
            drawn = objective.scaled(problem.expected(gates)[latency], problem.measured[latency].smallest)
            # Where the mean cost is held at the budget, the projection says what cost is worth.
            drawn = jax.lax.stop_gradient(drawn) if s.aim > 0 else drawn
            result = objective.combine(cross_entropy, drawn, s.loss_form, s.alpha, s.beta)
        return result + s.decide * progress**2 * jnp.sum(spread), jnp.mean(spread)

    def update_theta(theta: Theta, state: optax.OptState, logits: Theta, loss, gradient, *arguments):
        gradient, spread = jax.grad(total, has_aux=True)(logits, loss, gradient, *arguments)
        p = probabilities(layout, logits).values
        natural = (
            jnp.where(jnp.asarray(layout.real), gradient / jnp.maximum(p, s.least), 0) if s.least < 1 else gradient
        )
        updates, state = optimizer.update(natural, state, theta)
        held = floored(layout, logits, arguments[2], s)[1]
        return optax.apply_updates(theta, updates), state, {"entropy": spread, "temperature_floor": held}

    return update_theta


def _project(problem: Problem):
    """The budgets and the skip guard, the last constraint, kept by the distribution that gates are drawn from."""
    s, layout, skips = problem.settings, problem.layout, skip_options(problem)
    equal = np.array([s.aim > 0] * len(problem.measured) + [False])

    def update(theta: Theta, last: Projected, limits: Array) -> tuple[Projected, Metrics]:
        def constraints(q: Gates) -> Array:
            skipped = jnp.sum(q.values * skips, keepdims=True).reshape(1) - s.skip_limit
            return jnp.concatenate([objective.violations(problem.expected(q), limits), skipped])

        projected, _ = project(layout, theta, last, constraints, equal)
        q = probabilities(layout, projected.logits)
        multipliers = projected.multipliers
        return projected, {
            "expected": problem.expected(q), "skip_share": jnp.sum(q.values * skips),
            "multipliers": multipliers[:-1], "skip_guard": multipliers[-1],
        }  # fmt: skip

    return update


def _weights_optimizer(problem: Problem) -> Descent:
    plan = schedule(problem)
    return optimizer(problem.settings, Steps(plan.supernet, plan.settle))


def _theta_optimizer(problem: Problem) -> optax.GradientTransformation:
    s = problem.settings
    decay = [optax.add_decayed_weights(s.theta_decay)] if s.theta_decay else []
    rule = optax.adam(s.theta_lr, b1=0.5, b2=0.99) if s.theta_rule == "adam" else shared(s.theta_lr)
    return optax.chain(*decay, rule)


class Shared(NamedTuple):
    """The mean square of the steps so far, and their number."""

    square: Array
    count: Array


def shared(rate: float, memory: float = 0.99) -> optax.GradientTransformation:
    """Steps over their root mean square, one number for all choices: each moves in proportion to its evidence."""

    def init(theta: Theta) -> Shared:
        return Shared(jnp.zeros(()), jnp.zeros(()))

    def update(gradient: Theta, state: Shared, theta: Theta | None = None) -> tuple[Theta, Shared]:
        count = state.count + 1
        square = memory * state.square + (1 - memory) * jnp.mean(jnp.square(gradient))
        size = jnp.sqrt(square / (1 - memory**count)) + 1e-12
        return -rate * gradient / size, Shared(square, count)

    return optax.GradientTransformation(init, update)


def _start(problem: Problem) -> Arrays:
    variables, weights_opt = fresh(problem, _weights_optimizer(problem))
    theta = first_theta(problem.layout, problem.start)
    return Arrays(
        variables, weights_opt, theta, _theta_optimizer(problem).init(theta),
        unconstrained(theta, len(problem.measured) + 1), none_acted(),
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
