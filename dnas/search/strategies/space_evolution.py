"""Space evolution, then evolution in the space found (S3, Chen et al. 2021).

In each space a supernet is trained, networks within the budgets are compared with inherited weights, and the space
moves (`dnas.search.space_update`). After `space_steps` moves an evolution begins among the networks that were drawn
from the last space (`dnas.search.generations`); the best one is found. The weights learn by single paths, or as the
settings say (`dnas.search.supernet`): S3's by the sandwich rule. Each space has weights of its own, drawn anew.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from dnas.errors import UserError
from dnas.grammar.read import space_from_data
from dnas.learning.course import Metrics, Phase, State
from dnas.process import hosts
from dnas.search import singlepath, space_facts, supernet
from dnas.search.budget import check_options
from dnas.search.candidates import ROWS, CandidateScores, compare
from dnas.search.compiling import Compiler
from dnas.search.descent import Learner, planned
from dnas.search.ending import Ending
from dnas.search.generations import Evolution
from dnas.search.problem import Problem, anew, scaled
from dnas.search.sampling import Sampler
from dnas.search.space_update import Measured, measured, updated
from dnas.search.strategies import evolution
from dnas.search.strategy import Around, Outcome, Strategy
from dnas.search.subspaces import subspaces
from dnas.search.supernet import Programs
from dnas.space.space import Space

NAME = "space_evolution"


def check(problem: Problem) -> None:
    """Raises `UserError` for what the strategy cannot do."""
    singlepath.check(problem, NAME)
    supernet.check(problem)
    if hosts.several():
        raise UserError(f"--strategy {NAME}: searches in one process; take --strategy evolution for several")
    if not any(part.numeric for part in subspaces(problem.space, problem.walked).all):
        raise UserError(
            f"--strategy {NAME}: no choice of {problem.space.source} is a list of numbers, so none can move"
        )


def compile_programs(problem: Problem, compiler: Compiler) -> Programs:
    """Every program of the strategy in one space, each traced once."""
    return supernet.compile_programs(problem, compiler, NAME)


def strategy(problem: Problem, programs: Programs) -> Strategy:
    """The strategy in one of its spaces, which is the last one after `space_steps` others."""
    s, plan, learner = problem.settings, planned(problem), Learner(problem, programs.learning)
    here = (supernet.training(problem, learner), comparing(problem, programs))

    def score(state: State, assignments: list[dict[str, int]]) -> CandidateScores:
        return compare(programs.compare, problem, state.arrays.variables, assignments)

    evolution = Evolution(problem, score)
    ending = Ending(problem, plan, learner, programs.compare, evolution.found)
    search = (evolution.phase(), ending.phase())
    one, more = sum(p.steps for p in here), sum(p.steps for p in search)
    number = len(problem.former)
    last = number == s.space_steps or (number > 0 and not space_facts.moved(problem.former[-1]))

    def outcome(state: State) -> Outcome:
        spaces, told = [*problem.former, facts_of(problem, state)], evolution.told(state)
        summary = told["summary"] | {"space_evolution": space_facts.summary(spaces, s)}
        warnings = [*filter(None, [state.notes["note"], space_facts.warning(spaces)]), *told["warnings"]]
        return ending.outcome(state, **{**told, "summary": summary, "warnings": warnings}, spaces=spaces)

    return Strategy(
        NAME, lambda: State(singlepath.start(problem), {}), here + search if last else here, outcome,
        observe=lambda state: {"space": number},
        following=lambda state: None if last else evolved(problem, state),
        around=Around(number * one, 0 if last else (s.space_steps - number) * one + more),
    )  # fmt: skip


def comparing(problem: Problem, programs: Programs) -> Phase:
    """The phase in which networks within the budgets are compared, drawn with every option as probable as any other."""
    s = problem.settings

    def draw(state: State) -> State:
        costs, limits = [m.cost for m in problem.measured], [m.budget.limit for m in problem.measured]
        sampler = Sampler(problem.space, problem.walked, costs, limits, s.floor, by_options=True)
        drawn = sampler.draw(s.samples, [problem.seed, singlepath.SPACES, len(problem.former)])
        rows = [list(a.values()) for a in drawn]
        notes = {**state.notes, "seen": rows, "scores": [], "drawn": len(rows), "note": sampler.note}
        return state._replace(notes=notes)

    def step(state: State, n: int) -> tuple[State, Metrics]:
        part = state.notes["seen"][n * ROWS : (n + 1) * ROWS]
        return singlepath.compared(problem, programs.compare, state, part)

    def done(state: State) -> bool:
        return len(state.notes["scores"]) >= len(state.notes["seen"])

    return Phase("compare", -(-s.samples // ROWS), step, begin=draw, done=done, rows_every=1)


def measurement(problem: Problem, state: State) -> Measured:
    """The problem's space by the networks that were drawn from it, which are the first that were compared."""
    s, notes = problem.settings, state.notes
    rows = np.array(notes["seen"][: notes["drawn"]], int)
    errors = 100 * (1 - np.array(_accuracies(state)))
    gammas = space_facts.gammas(problem.former)
    return measured(problem.space, problem.walked, rows, errors, s.space_tau, s.space_rule, gammas)


def evolved(problem: Problem, state: State) -> Problem:
    """The problem in the space after its moves."""
    found = measurement(problem, state)
    name = f"{re.sub('_step[0-9]+$', '', problem.space.name)}_step{len(problem.former) + 1}"
    accepted: list[Problem] = []

    def accept(data: dict[str, Any], names: Sequence[str]) -> Space:
        # The file names the search that finds networks in it: it has moved already.
        data = {**data, "name": name, **({"strategy": evolution.NAME} if data.get("strategy") == NAME else {})}
        space = space_from_data(data, f"{name}, made of {problem.space.source}")
        accepted.append(anew(problem, space, scaled(problem, space)))
        check_options(accepted[-1].measured, accepted[-1].space, names)
        return accepted[-1].space

    space, moves = updated(problem.space, problem.walked, found, accept)
    made = next((p for p in accepted if p.space is space), problem)
    facts = facts_of(problem, state) | space_facts.moves(moves)
    return replace(made, former=(*problem.former, facts))


def facts_of(problem: Problem, state: State) -> dict[str, Any]:
    """What is recorded of the problem's space."""
    return space_facts.measured(problem.space, measurement(problem, state), _accuracies(state))


def _accuracies(state: State) -> list[float]:
    """Of the networks that were drawn."""
    return [accuracy for accuracy, _ in state.notes["scores"][: state.notes["drawn"]]]
