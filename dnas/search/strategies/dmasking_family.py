"""DMaskingNAS for a family of budgets: one set of weights, and choices of its own for each budget.

Every step is that of `dnas.search.strategies.dmasking` for all members at once: gates are drawn for each from its own
theta, each learns from its share of the batch (`dnas.search.together`), theta moves and is projected onto the budgets
member by member (a `vmap`). So a family takes about as long as one search. Then each member races candidates of its own
on the shared weights, which settle under all winners.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from dnas.learning.course import Metrics, Phase, State
from dnas.nn.gates import Gates, as_mapping, one_hot, probabilities
from dnas.search import members
from dnas.search.assess import Assessed, accuracies, assessed
from dnas.search.candidates import CandidateScores, as_assessment, compare, compile_comparison, lanes_of
from dnas.search.collapse import Temperature
from dnas.search.compiling import Compiler, Program
from dnas.search.decided import observe
from dnas.search.descent import Weights, compile_update, streams
from dnas.search.learn import Learned, PackedVariables, fed
from dnas.search.members import in_shares, limits_of, members_of
from dnas.search.problem import Problem
from dnas.search.race import begun, halved, race_images, racing, round_ends, still_in, winner
from dnas.search.shortlist import Candidate, shortlist
from dnas.search.strategies import dmasking
from dnas.search.strategies.dmasking import NAME, Arrays, InTurn, Programs, outcome_of, weights_optimizer
from dnas.search.strategy import Member, Outcome, Strategy
from dnas.search.theta import drawing, learning_theta, projecting
from dnas.search.together import EACH, default_lanes, learning_together, told


class FamilyPrograms(NamedTuple):
    """Those of a single search with an axis of members, and what makes rows of their metrics."""

    each: Programs
    told: dict[frozenset[str], Program]
    """By the names of the metrics."""


def check(problem: Problem) -> None:
    """Raises `UserError` for what a family cannot be searched with."""
    members.check(problem, NAME)


def compile_programs(problem: Problem, compiler: Compiler, lanes: int | None = None) -> FamilyPrograms:
    """Every program, each traced once. `lanes` members learn side by side."""
    problem = in_shares(problem)
    state, limits = _start(problem), limits_of(members_of(problem))
    gates = jax.vmap(lambda theta: probabilities(problem.layout, theta))(state.theta)
    batch = fed(problem, streams(problem)[0].alone(0))
    learn = learning_together(problem, lanes or default_lanes(problem))
    learned = _learned_like(problem, state.variables, gates)
    keys, number, real = _keys(problem), np.int32(0), np.float32(0)
    heat, hard = Temperature(real, real), np.bool_(False)
    draw = jax.vmap(drawing(problem), (0, 0, None, None, None, 0))
    move = jax.vmap(learning_theta(problem), (0, 0, 0, 0, 0, 0, None, None))
    project = jax.vmap(projecting(problem))
    moving = state.theta, state.theta_opt, state.projected.logits, learned.loss, gates.values, keys, number, heat
    each = Programs(
        learn=compiler(learn, state.variables, gates, *batch, gives=learned),
        compare=compile_comparison(problem, compiler, variables_of(state.variables, 0), lanes_of(problem, NAME)),
        draw=compiler(_named("draw", draw), state.theta, keys, number, heat, hard, limits),
        update_weights=compile_update(
            problem, compiler, weights_optimizer(problem), Weights(state.variables, state.weights_opt), learned
        ),
        update_theta=compiler(_named("learn_theta", move), *moving),
        project=compiler(_named("project", project), state.theta, state.projected, limits),
    )  # fmt: skip
    metrics = _metrics_like(learned, jax.eval_shape(move, *moving)[2], jax.eval_shape(
        project, state.theta, state.projected, limits
    )[1])  # fmt: skip
    return FamilyPrograms(each, {frozenset(one): compiler(_named("told", told), one) for one in metrics})


def strategy(problem: Problem, programs: FamilyPrograms) -> Strategy:
    """The strategy on a problem with a family; its result is that of the tightest member, with all members beside."""
    asked, problem = problem, in_shares(problem)
    learning = Together(problem, programs)
    plan, ending = learning.plan, Deciding(learning)
    phases = (
        Phase("warm-up", plan.warm_up, learning.told(learning.warm_up), end=learning.rest),
        Phase("search", plan.search, learning.told(learning.search), end=learning.rest),
        Phase("race", plan.race, learning.told(ending.race), begin=ending.begin, end=learning.rest),
        Phase("settle", plan.settle, learning.told(ending.settle), begin=ending.decide, end=learning.rest),
    )
    return Strategy(
        NAME, learning.begin, phases, ending.outcome, learning.observe, batch_size=problem.settings.batch_size,
        notes=members.notes(asked, problem),
    )  # fmt: skip


class Together(InTurn):
    """The steps of weights and theta, for all members at once."""

    def __init__(self, problem: Problem, programs: FamilyPrograms):
        super().__init__(problem, programs.each)
        self.members, self._told = members_of(problem), programs.told
        self.limits, self.key = limits_of(self.members), _keys(problem)

    def first(self) -> Arrays:
        return _start(self.problem)

    def told(self, step: Callable[[State, int], tuple[State, Metrics]]) -> Callable:
        """The step with metrics as rows have them."""

        def take(state: State, n: int) -> tuple[State, Metrics]:
            state, metrics = step(state, n)
            plain = {name: metrics.pop(name) for name in PLAIN if name in metrics}
            return state, self._told[frozenset(metrics)](metrics) | plain

        return take

    def observe(self, state: State) -> dict[str, Any]:
        """The probabilities of the tightest member, and of each."""
        logits = np.asarray(state.arrays.projected.logits)
        each = [observe(m, own)["probabilities"] for m, own in zip(self.members, logits, strict=True)]
        return {"probabilities": each[-1], "probabilities" + EACH: {str(n): p for n, p in enumerate(each)}}


PLAIN = ("theta_step", "racing")
"""Metrics that are the same for all members."""


class Deciding:
    """From the members' theta to a network each: races, their winners, and the weights that settle for all."""

    def __init__(self, learning: Together):
        self.problem, self.plan, self.learning = learning.problem, learning.plan, learning
        self.members, self.program = learning.members, learning.programs.compare

    def begin(self, state: State) -> State:
        """Names the candidates of each member."""
        races = [begun(m, self._candidates(m, own)) for m, own in zip(self.members, _logits(state), strict=True)]
        return state._replace(notes={**state.notes, "races": races})

    def race(self, state: State, n: int) -> tuple[State, Metrics]:
        """A step of the weights under a candidate of each member."""
        races = state.notes["races"]
        gates = self._stacked([racing(m, race, n) for m, race in zip(self.members, races, strict=True)])
        arrays, metrics = self.learning.step_on(state.arrays, gates, self.plan.warm_up + self.plan.search + n)
        races = self._after_round(arrays, races, n)
        state = State(arrays, {**state.notes, "races": races})
        return state, metrics | {"racing": sum(len(race["left"]) for race in races)}

    def decide(self, state: State) -> State:
        """The winner of each race."""
        if "races" not in state.notes:
            state = self.begin(state)
        races = zip(self.members, state.notes["races"], strict=True)
        found = [winner(member, {"race": race}) for member, race in races]
        return state._replace(notes={**state.notes, "assignments": found})

    def settle(self, state: State, n: int) -> tuple[State, Metrics]:
        """A step of the weights under the networks found."""
        gates = self._stacked(state.notes["assignments"])
        arrays, metrics = self.learning.step_on(state.arrays, gates, self.plan.supernet + n)
        return state._replace(arrays=arrays), metrics

    def outcome(self, state: State) -> Outcome:
        """That of the tightest member, with those of all."""
        state = state if "assignments" in state.notes else self.decide(state)
        variables = variables_of(state.arrays.variables, 0)
        shown = race_images(self.problem)
        scores = compare(self.program, self.problem, variables, state.notes["assignments"], shown).accuracy
        found = [
            Member(member, self._outcome(state, n, member, float(scores[n]))) for n, member in enumerate(self.members)
        ]
        return replace(found[-1].outcome, members=tuple(found))

    def _outcome(self, state: State, n: int, member: Problem, on_share: float) -> Outcome:
        """`on_share`: its accuracy on the choices' share, by which the family can be compared with what was raced."""
        arrays, assignment = state.arrays, state.notes["assignments"][n]
        last = self._assessed(member, variables_of(arrays.variables, n), assignment)
        named = accuracies([("settled" if self.plan.settle else "derived", last)])
        acted = jax.tree.map(lambda a: a[n], arrays.acted)
        race = {"race": state.notes["races"][n]}
        found = outcome_of(member, _logits(state)[n], assignment, last, named, acted, race, self.plan)
        return replace(found, summary=found.summary | {"share_accuracy": round(on_share, 6)})

    def _after_round(self, arrays: Arrays, races: list[Any], n: int) -> list[Any]:
        """The races after step `n`, of which a round may have ended: candidates of all members in one comparison."""
        ended = [k for k, race in enumerate(races) if round_ends(self.plan.race, race, n)]
        if not ended:
            return races
        groups = [still_in(self.members[k], races[k]) for k in ended]
        variables = variables_of(arrays.variables, 0)
        networks = [one for group in groups for one in group]
        scores = compare(self.program, self.problem, variables, networks, race_images(self.problem))
        ends = np.cumsum([0, *map(len, groups)])
        races = list(races)
        for k, a, b in zip(ended, ends, ends[1:], strict=False):
            races[k] = halved(races[k], CandidateScores(scores.accuracy[a:b], scores.loss[a:b]))
        return races

    def _candidates(self, member: Problem, logits: Array) -> list[Candidate]:
        """Those that use as much of a budget as the settings ask for, where any does."""
        named = as_mapping(probabilities(member.layout, logits))
        found = shortlist(member, {n: np.asarray(p, np.float64) for n, p in named.items()}, member.settings.finalists)
        used = [max((m.at(c.assignment) / m.budget.limit for m in member.measured), default=1) for c in found]
        enough = [c for c, share in zip(found, used, strict=True) if share >= member.settings.floor]
        return enough or found

    def _stacked(self, assignments: list[dict[str, int]]) -> Gates:
        layout = self.problem.layout
        return Gates(jnp.stack([one_hot(layout, one).values for one in assignments]), layout)

    def _assessed(self, member: Problem, variables: PackedVariables, assignment: dict[str, int]) -> Assessed:
        return assessed(as_assessment(self.program), member, variables, one_hot(member.layout, assignment))


def variables_of(variables: PackedVariables, n: int) -> PackedVariables:
    """The weights of all with the statistics of member `n`."""
    return {"params": variables["params"], "batch_stats": jax.tree.map(lambda a: a[n], variables["batch_stats"])}


def _logits(state: State) -> np.ndarray:
    return np.asarray(state.arrays.projected.logits)


def _keys(problem: Problem) -> Array:
    """Of each member."""
    return jax.random.split(jax.random.key(problem.seed), len(problem.family))


def _start(problem: Problem) -> Arrays:
    """Fresh arrays; all but the weights have an axis of members."""
    one, count = dmasking.start(problem), len(problem.family)

    def each(tree: Any) -> Any:
        return jax.tree.map(lambda a: jnp.broadcast_to(a, (count, *jnp.shape(a))), tree)

    variables = {"params": one.variables["params"], "batch_stats": each(one.variables["batch_stats"])}
    return Arrays(
        variables, one.weights_opt, each(one.theta), each(one.theta_opt), each(one.projected), each(one.acted)
    )


def _learned_like(problem: Problem, variables: PackedVariables, gates: Gates) -> Learned:
    """The structure and the shapes of what a step tells."""
    each = np.zeros(len(problem.family), np.float32)
    terms = {term.name: each for term in problem.terms}
    return Learned(each, each, each, variables["batch_stats"], variables["params"], gates.values, {}, terms)  # pyright: ignore


def _metrics_like(learned: Learned, of_theta: Metrics, of_budgets: Metrics) -> list[Metrics]:
    """Metrics of a step under given gates, of a step under drawn ones, and of one with steps of theta."""
    each = learned.loss
    given = learned.metrics
    drawn = given | {"temperature": each}
    return [given, drawn, drawn | of_theta | of_budgets | {"theta_loss": each, "theta_accuracy": each}]


def _named(name: str, function: Callable) -> Callable:
    """Programs are known by name; what `vmap` makes has none of its own."""

    def named(*arguments: Any) -> Any:
        return function(*arguments)

    named.__name__ = name
    return named
