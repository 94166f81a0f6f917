"""What comes after a chain of networks has met its budgets: its last actions saved more than was needed, and some of it
is put back.

First single actions are taken back while they fit (the chain's are the least harmful ones, not the smallest ones). Then
one choice is made costlier while another is made cheaper; then the exact solver is asked for a network near the present
one that uses a budget. An exchange is taken only where the network is not measurably less accurate on the choices'
share: to use a budget is an aim, to be accurate the purpose.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from dnas.search.actions import Action, Actions, Exchange
from dnas.search.candidates import ROWS, compared_images
from dnas.search.problem import Problem
from dnas.solve.derive import derive
from dnas.space import units

PREFERENCE = 4.0
"""Nats by which the solver prefers an option already taken."""


class Offered(NamedTuple):
    """Networks within the budgets that use more than the present one."""

    networks: list[Exchange]
    exchanged: bool
    """Whether something was made smaller for them: they may be worse."""
    note: str
    """Why there are none."""


def candidates(problem: Problem, actions: Actions, state: dict[str, int]) -> Offered:
    """Single actions back; without any, exchanges and what the solver finds, those that use enough where some do."""
    back = [Exchange((r.action,), r.assignment, r.costs) for r in actions.back(state)]
    if back:
        return Offered(back, False, "")
    fill = problem.settings.aim
    found = actions.exchanges(state, ROWS - 1)
    solved, note = near(problem, state, fill)
    costs = actions.cost_of(solved)
    now, then = actions.used(np.array([actions.cost_of(state), costs]))
    if then > now + 1e-12:
        moved = tuple(Action(name, state[name], option) for name, option in solved.items() if state[name] != option)
        found = [Exchange(moved, solved, costs), *found]
    enough = [e for e in found if actions.used(np.array([e.costs]))[0] >= fill]
    return Offered(enough or found, True, note or "no exchange of two choices and no network near this one uses more")


def near(problem: Problem, state: Mapping[str, int], fill: float) -> tuple[dict[str, int], str]:
    """A network within the budgets that differs from `state` in few choices and uses `fill` of a budget; a note where
    none does."""
    wish = {c.name: np.where(np.arange(len(c)) == state[c.name], 0.0, -PREFERENCE) for c in problem.space.choices}
    costs, limits = [m.cost for m in problem.measured], [m.budget.limit for m in problem.measured]
    found = derive(problem.space, problem.walked, wish, costs, limits, fill=fill)
    # The solver also names the states of the space's constraints, which are no choices.
    return {name: found.assignment.get(name, option) for name, option in state.items()}, found.note


def worse_than(problem: Problem, chain: Sequence[Mapping[str, Any]], accuracy: float) -> str:
    """What to say where a network is less accurate than the best of the chain within the budgets by more than the
    standard error; empty otherwise."""
    best = max(entry["accuracy"] for entry in chain if max(entry["shares"]) <= 1)
    if accuracy >= best - units.standard_error(best, len(compared_images(problem))):
        return ""
    return (
        f"networks that use more were compared and are less accurate, {units.share(accuracy)} at best against "
        f"{units.share(best)} on the choices' share"
    )
