"""DMaskingNAS: weights and theta learn in turn on their own shares of the training data (FBNet V1, V2).

Weights step: cross-entropy under gates drawn from theta, one-hot from the middle of the search on. Theta step:
`dnas.search.objective` under gates drawn anew. Gates are drawn from the distribution nearest to theta's that keeps the
budgets in the mean (`dnas.search.projection`). Then the most probable networks within the budgets, some drawn from
theta and known designs race on the supernet's weights, and the weights settle under the winner's gates.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import numpy as np
import optax

from dnas.data.batches import Batches, steps_per_epoch
from dnas.errors import UserError
from dnas.learning.course import Metrics, Phase, State
from dnas.nn.gates import Gates, Theta, as_mapping, one_hot, probabilities
from dnas.search.assess import accuracies, assessed
from dnas.search.candidates import as_assessment, compare, compile_comparison
from dnas.search.collapse import Acted, Temperature, counted, none_acted, report
from dnas.search.compiling import Compiler, Program
from dnas.search.decided import derived, observe, summary, warnings
from dnas.search.descent import Descent, Steps, Update, Weights, compile_update, fresh, optimizer, streams
from dnas.search.learn import Learned, PackedVariables, as_targets, learned_like, learning
from dnas.search.problem import Problem
from dnas.search.projection import Projected, unconstrained
from dnas.search.race import Race, winner
from dnas.search.race import summary as race_summary
from dnas.search.shortlist import Candidate, shortlist
from dnas.search.start import first_theta
from dnas.search.strategy import Outcome, Strategy
from dnas.search.theta import drawing, learning_theta, projecting
from dnas.search.theta import optimizer as theta_optimizer

NAME = "dmasking"
FIRST_PROJECTIONS = 30
"""Before the first step: even probabilities may be far from the budgets."""


class Arrays(NamedTuple):
    """The arrays of the state."""

    variables: PackedVariables
    weights_opt: optax.OptState
    theta: Theta
    theta_opt: optax.OptState
    projected: Projected
    acted: Acted


class Programs(NamedTuple):
    """What is compiled: two large programs and four of a few operations (`dnas.search.theta`)."""

    draw: Program
    learn: Program
    update_weights: Update
    update_theta: Program
    project: Program
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
        draw=compiler(drawing(problem), state.theta, key, number, heat, np.bool_(False)),
        update_weights=compile_update(
            problem, compiler, _weights_optimizer(problem), Weights(state.variables, state.weights_opt), learned
        ),
        update_theta=compiler(
            learning_theta(problem), state.theta, state.theta_opt, state.projected.logits, real, learned.gates, key,
            number, heat,
        ),
        project=compiler(projecting(problem), state.theta, state.projected, problem.limits),
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
        return arrays._replace(variables=variables, weights_opt=weights_opt), learned.metrics

    def weights_step(arrays: Arrays, step: int) -> tuple[Arrays, Metrics]:
        hard = np.bool_(step - plan.warm_up >= s.one_hot_from * plan.search)
        gates, drawn_at = programs.draw(arrays.projected.logits, key, np.int32(2 * step), temperature(step), hard)
        arrays, metrics = update(arrays, learn(arrays, gates, for_weights, step))
        return arrays, metrics | {"temperature": drawn_at}

    def theta_step(arrays: Arrays, n: int, step: int) -> tuple[Arrays, Metrics]:
        draw, logits = (key, np.int32(2 * n + 1), temperature(step)), arrays.projected.logits
        learned = learn(arrays, programs.draw(logits, *draw, np.bool_(False))[0], for_theta, n)
        theta, theta_opt, metrics = programs.update_theta(
            arrays.theta, arrays.theta_opt, logits, learned.loss, learned.gates, *draw
        )
        projected, of_budgets = programs.project(theta, arrays.projected, problem.limits)
        acted = counted(arrays.acted, of_budgets["skip_guard"], metrics["temperature_floor"])
        metrics |= {"theta_step": n + 1, "theta_loss": learned.loss, "theta_accuracy": learned.accuracy}
        return Arrays(arrays.variables, arrays.weights_opt, theta, theta_opt, projected, acted), metrics | of_budgets

    def begin() -> State:
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
        logits, assignment = state.arrays.projected.logits, state.notes["assignment"]
        derivation = derived(problem, logits)
        last = assessed(assess, problem, state.arrays.variables, one_hot(problem.layout, assignment))
        found = dict(state.notes["accuracies"])
        if plan.settle:
            found |= accuracies([("settled", last)])
        soft = probabilities(problem.layout, logits)
        said = summary(problem, logits) | {"remedies": report(state.arrays.acted, plan.warm_up)}
        said["race"] = race_summary(problem, state.notes)
        expected = np.asarray(problem.expected(soft), np.float64).tolist() if problem.measured else []
        costs = tuple(m.at(assignment) for m in problem.measured)
        return Outcome(
            assignment, costs, last.variables, found, last.images, derivation, tuple(expected), said,
            unused="the race's winner uses no more", warnings=warnings(problem, logits, assignment),
        )  # fmt: skip

    phases = (
        Phase("warm-up", plan.warm_up, warm_up),
        Phase("search", plan.search, search),
        race.phase(soft_accuracy),
        Phase("settle", plan.settle, settle, begin=decide),
    )
    return Strategy(NAME, begin, phases, outcome, lambda state: observe(problem, state.arrays.projected.logits))


def _weights_optimizer(problem: Problem) -> Descent:
    plan = schedule(problem)
    return optimizer(problem.settings, Steps(plan.supernet, plan.settle))


def _start(problem: Problem) -> Arrays:
    variables, weights_opt = fresh(problem, _weights_optimizer(problem))
    theta = first_theta(problem.layout, problem.start)
    return Arrays(
        variables, weights_opt, theta, theta_optimizer(problem).init(theta),
        unconstrained(theta, len(problem.measured) + 1), none_acted(),
    )  # fmt: skip
