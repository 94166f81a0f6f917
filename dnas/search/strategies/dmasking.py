"""DMaskingNAS: weights and theta learn in turn on their own shares of the training data (FBNet V1, V2).

Weights step: cross-entropy under gates drawn from theta; from the middle of the search on under one network drawn from
it that keeps the budgets, as the one found will. Theta step: `dnas.search.objective` under gates drawn anew. Gates are
drawn from the distribution nearest to theta's that keeps the budgets in the mean (`dnas.search.projection`). Then the
most probable networks within the budgets, some drawn from theta and known designs race on the supernet's weights, and
the weights settle under the winner's gates.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from dnas.data.batches import Batch
from dnas.learning.course import Metrics, Phase, State
from dnas.nn.gates import Gates, Theta, as_mapping, one_hot, probabilities
from dnas.search.assess import Assessed, accuracies, assessed
from dnas.search.candidates import CandidateScores, as_assessment, compare, compile_comparison, lanes_of
from dnas.search.collapse import Acted, Temperature, counted, none_acted, report
from dnas.search.compiling import Compiler, Program
from dnas.search.decided import derived, observe, summary, warnings
from dnas.search.descent import Descent, Steps, Update, Weights, compile_update, fresh, optimizer, streams
from dnas.search.learn import Learned, PackedVariables, fed, learned_like, learning
from dnas.search.problem import Problem
from dnas.search.projection import Projected, unconstrained
from dnas.search.race import Race, Racing, race_images, unheld, winner
from dnas.search.race import summary as race_summary
from dnas.search.shortlist import Candidate, shortlist
from dnas.search.start import first_theta
from dnas.search.strategies import race_in_turn
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
    kept: Weights | None = None
    """The weights from which candidates learn in a race; None where there is none, and in a family."""


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
    """Nothing is refused. A family is searched by `dnas.search.strategies.dmasking_family`."""


def schedule(problem: Problem) -> Schedule:
    """Steps of the settings' epochs on this data."""
    s, steps = problem.settings, problem.steps
    warm_up, race, settle = (int(share * steps) for share in (s.warm_up, s.race, s.settle))
    search = steps - warm_up - race - settle
    return Schedule(warm_up, search, race, settle, max(1, int(search / s.theta_every)))


def compile_programs(problem: Problem, compiler: Compiler) -> Programs:
    """Every program of the strategy, each traced once."""
    state = start(problem)
    gates = probabilities(problem.layout, state.theta)
    learn, batch = learning(problem), fed(problem, streams(problem)[0].alone(0))
    learned = learned_like(problem, state.variables, gates)
    key, number, real = jax.random.key(0), np.int32(0), np.float32(0)
    heat = Temperature(real, real)
    # The larger of the two large programs first: while a core waits for parts of it, the other is traced and compiled.
    return Programs(
        learn=compiler(learn, state.variables, gates, *batch, gives=learned),
        compare=compile_comparison(problem, compiler, state.variables, lanes_of(problem, NAME)),
        draw=compiler(drawing(problem), state.theta, key, number, heat, np.bool_(False), problem.limits),
        update_weights=compile_update(
            problem, compiler, weights_optimizer(problem), Weights(state.variables, state.weights_opt), learned
        ),
        update_theta=compiler(
            learning_theta(problem), state.theta, state.theta_opt, state.projected.logits, real, learned.gates, key,
            number, heat,
        ),
        project=compiler(projecting(problem), state.theta, state.projected, problem.limits),
    )  # fmt: skip


def strategy(problem: Problem, programs: Programs) -> Strategy:
    """The strategy on a problem; `programs` may be those of another that differs in data, seed and limits alone."""
    learning = InTurn(problem, programs)
    plan, ending = learning.plan, Deciding(learning)
    phases = (
        Phase("warm-up", plan.warm_up, learning.warm_up, end=learning.rest),
        Phase("search", plan.search, learning.search, end=learning.rest),
        ending.race.phase(ending.soft_accuracy),
        Phase("settle", plan.settle, ending.settle, begin=ending.decide, end=learning.rest),
    )
    return Strategy(NAME, learning.begin, phases, ending.outcome, lambda state: observe(problem, logits_of(state)))


def logits_of(state: State) -> Theta:
    """Of the distribution that gates are drawn from."""
    return state.arrays.projected.logits


class InTurn:
    """The steps of weights and theta."""

    def __init__(self, problem: Problem, programs: Programs):
        self.problem, self.programs, self.plan, self.limits = problem, programs, schedule(problem), problem.limits
        self.key = jax.random.key(problem.seed)
        self.for_weights, self.for_theta = streams(problem, sharing=2)
        self.weights_alone = streams(problem)[0]
        """The same batches as `for_weights`, for steps beside which theta takes none: all readers are theirs."""

    def begin(self) -> State:
        """The state before the first step, with even probabilities moved within the budgets."""
        arrays, project = self.first(), self.programs.project
        for _ in range(FIRST_PROJECTIONS):
            arrays = arrays._replace(projected=project(arrays.theta, arrays.projected, self.limits)[0])
        return State(arrays, {})

    def first(self) -> Arrays:
        """The arrays before the first projection."""
        return start(self.problem)

    def warm_up(self, state: State, n: int) -> tuple[State, Metrics]:
        """A step of the weights."""
        arrays, metrics = self._weights_step(state.arrays, self.weights_alone.at(n), n)
        return state._replace(arrays=arrays), metrics

    def rest(self) -> None:
        """Ends what reads batches ahead, until the next is asked for."""
        for batches in (self.for_weights, self.for_theta, self.weights_alone):
            batches.rest()

    def search(self, state: State, n: int) -> tuple[State, Metrics]:
        """A step of the weights, then the steps of theta that are due.

        All images are read before the first step, so that the state is whole where some cannot be.
        """
        step = self.plan.warm_up + n
        due = [(number, self.for_theta.at(number)) for number in self.plan.theta_due(n)]
        arrays, metrics = self._weights_step(state.arrays, self.for_weights.at(step), step)
        for number, batch in due:
            arrays, more = self._theta_step(arrays, number, batch, step)
            metrics |= more
        return state._replace(arrays=arrays), metrics

    def step_on(self, arrays: Arrays, gates: Gates, n: int) -> tuple[Arrays, Metrics]:
        """A step of the weights alone on batch `n`, under these gates."""
        return self.learn_from(arrays, gates, self.weights_alone.at(n))

    def learn_from(self, arrays: Arrays, gates: Gates, batch: Batch) -> tuple[Arrays, Metrics]:
        """A step of the weights on a batch, under these gates."""
        learned = self._learned(arrays, gates, batch)
        variables, weights_opt = self.programs.update_weights(
            arrays.variables, arrays.weights_opt, learned.params, learned.chosen, learned.statistics
        )
        return arrays._replace(variables=variables, weights_opt=weights_opt), learned.metrics

    def _learned(self, arrays: Arrays, gates: Gates, batch: Batch) -> Learned:
        return self.programs.learn(arrays.variables, gates, *fed(self.problem, batch))

    def _temperature(self, step: int) -> Temperature:
        s, plan = self.problem.settings, self.plan
        scheduled = s.temperature * (s.temperature_end / s.temperature) ** (step / max(1, plan.steps))
        left = 1 - max(0, step - plan.warm_up) / plan.search
        return Temperature(np.float32(scheduled), np.float32(left))

    def _weights_step(self, arrays: Arrays, batch: Batch, step: int) -> tuple[Arrays, Metrics]:
        hard = np.bool_(step - self.plan.warm_up >= self.problem.settings.one_hot_from * self.plan.search)
        draw = self.key, np.int32(2 * step), self._temperature(step)
        gates, drawn_at = self.programs.draw(arrays.projected.logits, *draw, hard, self.limits)
        arrays, metrics = self.learn_from(arrays, gates, batch)
        return arrays, metrics | {"temperature": drawn_at}

    def _theta_step(self, arrays: Arrays, n: int, batch: Batch, step: int) -> tuple[Arrays, Metrics]:
        draw, logits = (self.key, np.int32(2 * n + 1), self._temperature(step)), arrays.projected.logits
        gates, _ = self.programs.draw(logits, *draw, np.bool_(False), self.limits)
        learned = self._learned(arrays, gates, batch)
        theta, theta_opt, metrics = self.programs.update_theta(
            arrays.theta, arrays.theta_opt, logits, learned.loss, learned.gates, *draw
        )
        projected, of_budgets = self.programs.project(theta, arrays.projected, self.limits)
        acted = counted(arrays.acted, of_budgets["skip_guard"], metrics["temperature_floor"])
        metrics |= {"theta_step": n + 1, "theta_loss": learned.loss, "theta_accuracy": learned.accuracy}
        arrays = arrays._replace(theta=theta, theta_opt=theta_opt, projected=projected, acted=acted)
        return arrays, metrics | of_budgets


class Deciding:
    """From theta to one network: the race, its winner, and the weights that settle for it."""

    def __init__(self, learning: InTurn):
        self.problem, self.plan, self.learning = learning.problem, learning.plan, learning
        self.assess = as_assessment(learning.programs.compare)
        before = self.plan.warm_up + self.plan.search
        racing = Racing(
            kept, lambda arrays, step: restored(arrays, before + step),
            lambda order: learning.weights_alone.reordered(before + order), learning.learn_from, self._raced,
        )  # fmt: skip
        self.race = Race(self.problem, self.plan.race, self._candidates, racing)

    def soft_accuracy(self, state: State) -> State:
        """The supernet is assessed as the search leaves it."""
        soft = self._assessed(state, probabilities(self.problem.layout, logits_of(state)))
        return state._replace(notes={**state.notes, "accuracies": accuracies([("soft", soft)])})

    def decide(self, state: State) -> State:
        """The winner of the race, assessed before the weights settle."""
        if "race" not in state.notes:
            state = self.race.begin(self.soft_accuracy(state))
        assignment = winner(self.problem, state.notes)
        found = self._assessed(state, one_hot(self.problem.layout, assignment))
        named = {**state.notes["accuracies"], **accuracies([("derived", found)])}
        return state._replace(notes={**state.notes, "assignment": assignment, "accuracies": named})

    def settle(self, state: State, n: int) -> tuple[State, Metrics]:
        """A step of the weights under the network found."""
        gates = one_hot(self.problem.layout, state.notes["assignment"])
        arrays, metrics = self.learning.step_on(state.arrays, gates, self.plan.supernet + n)
        return state._replace(arrays=arrays), metrics

    def outcome(self, state: State) -> Outcome:
        """What the search ends with."""
        if "assignment" not in state.notes:
            state = self.decide(state)
        assignment, found = state.notes["assignment"], state.notes["accuracies"]
        last = self._assessed(state, one_hot(self.problem.layout, assignment))
        found = found | (accuracies([("settled", last)]) if self.plan.settle else {})
        return outcome_of(self.problem, logits_of(state), assignment, last, found, state.arrays.acted, state.notes,
                          self.plan)  # fmt: skip

    def _raced(self, arrays: Arrays, assignments: list[dict[str, int]]) -> CandidateScores:
        shown = race_images(self.problem)
        return compare(self.learning.programs.compare, self.problem, arrays.variables, assignments, shown)

    def _candidates(self, state: State) -> list[Candidate]:
        named = as_mapping(probabilities(self.problem.layout, logits_of(state)))
        probable = {name: np.asarray(p, np.float64) for name, p in named.items()}
        return shortlist(self.problem, probable, self.problem.settings.finalists)

    def _assessed(self, state: State, gates: Gates) -> Assessed:
        return assessed(self.assess, self.problem, state.arrays.variables, gates)


def kept(arrays: Arrays) -> Arrays:
    """With a copy of the weights: those that learn are written over by each step."""
    weights = Weights(arrays.variables, arrays.weights_opt)
    return arrays if arrays.kept is None else arrays._replace(kept=jax.tree.map(jnp.copy, weights))


def restored(arrays: Arrays, steps: int) -> Arrays:
    """With the weights that were kept, and the rate of learning as after so many steps of the weights."""
    if arrays.kept is None:
        return arrays
    variables, opt = jax.tree.map(jnp.copy, arrays.kept)
    count = jnp.full_like(optax.tree.get(opt, "count"), steps)
    return arrays._replace(variables=variables, weights_opt=optax.tree.set(opt, count=count))


def outcome_of(
    problem: Problem, logits: Theta, assignment: dict[str, int], last: Assessed, found: dict[str, float], acted: Acted,
    notes: dict[str, Any], plan: Schedule,
) -> Outcome:  # fmt: skip
    """What a search ends with whose race is in `notes`; `last` is the network found, `found` what was measured."""
    soft = probabilities(problem.layout, logits)
    said = summary(problem, logits) | {"remedies": report(acted, plan.warm_up)}
    said["race"] = race_summary(problem, notes)
    expected = np.asarray(problem.expected(soft), np.float64).tolist() if problem.measured else []
    costs = tuple(m.at(assignment) for m in problem.measured)
    return Outcome(
        assignment, costs, last.variables, found, last.images, derived(problem, logits), tuple(expected), said,
        unused=_unused(notes), warnings=warnings(problem, logits, assignment),
    )  # fmt: skip


def _unused(notes: dict[str, Any]) -> str:
    """Why no more of a budget is used, where a floor says nothing."""
    taken = "the most probable network within the budgets" if unheld(notes) else "the race's winner"
    return f"{taken} uses no more"


def weights_optimizer(problem: Problem) -> Descent:
    """What the weights descend by."""
    plan = schedule(problem)
    return optimizer(problem.settings, Steps(plan.supernet, plan.settle))


def start(problem: Problem) -> Arrays:
    """Fresh arrays."""
    variables, weights_opt = fresh(problem, weights_optimizer(problem))
    theta = first_theta(problem.layout, problem.start)
    opt, projected = theta_optimizer(problem).init(theta), unconstrained(theta, len(problem.measured) + 1)
    arrays = Arrays(variables, weights_opt, *problem.devices.state((theta, opt, projected, none_acted())))
    if not (schedule(problem).race and race_in_turn(NAME, bool(problem.family))):
        return arrays
    return kept(arrays._replace(kept=Weights(variables, weights_opt)))
