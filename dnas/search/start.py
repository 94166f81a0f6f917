"""A search that begins at a known design: a published network, or the user's own."""

from __future__ import annotations

from dataclasses import replace

import jax.numpy as jnp
import numpy as np

from dnas.errors import InputError, UserError
from dnas.nn.gates import Layout, Theta, init_theta
from dnas.search.problem import Problem
from dnas.solve.nearest import Neighbourhood
from dnas.space.space import Space


def begun_at(problem: Problem, design: Space) -> Problem:
    """The problem whose search begins at the member of its space that is nearest to `design` within the budgets.

    Raises `InputError` for a design that is a space with choices.
    """
    if not design.is_architecture:
        raise InputError(f"--start {design.source}", "a space with choices", accepted="an architecture")
    costs, limits = [m.cost for m in problem.measured], [m.budget.limit for m in problem.measured]
    around = Neighbourhood(problem.space, problem.walked)
    near = around.nearest(design, costs, limits, fill=problem.settings.aim).assignment
    return replace(problem, start={c.name: near.get(c.name, 0) for c in problem.space.choices})


def first_theta(layout: Layout, start: dict[str, int] | None) -> Theta:
    """Logits of even probabilities; with a start, each of its options is as probable as all others together."""
    if start is None:
        return init_theta(layout)
    theta = np.zeros(layout.shape, np.float32)
    for row, choice in enumerate(layout.choices):
        theta[row, start[choice.name]] = np.log(max(1, len(choice) - 1))
    return jnp.asarray(theta)


def refuse(problem: Problem, strategy: str) -> None:
    """Raises `UserError` where a search was to begin at a design, which `strategy` cannot."""
    if problem.start is not None:
        raise UserError(f"--start: --strategy {strategy} begins at no design; use dmasking")
