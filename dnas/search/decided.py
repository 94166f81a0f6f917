"""What the learned distribution over architectures says: how decided it is, its most probable network, warnings."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from dnas.graph.architecture import options_taken
from dnas.nn.gates import Layout, Theta, as_mapping, entropy, probabilities
from dnas.search.problem import Problem
from dnas.solve.derive import Derivation, derive

COLLAPSED = 0.75
"""Share of skipped blocks above which a network is taken for the result of a collapse."""


def derived(problem: Problem, logits: Theta) -> Derivation:
    """The most probable network within the budgets."""
    soft = probabilities(problem.layout, logits)
    log_p = {name: np.log(np.maximum(p, 1e-300)) for name, p in as_mapping(soft).items()}
    return derive(
        problem.space, problem.walked, log_p, [m.cost for m in problem.measured],
        [m.budget.limit for m in problem.measured], fill=problem.settings.floor,
    )  # fmt: skip


def largest_probability(layout: Layout, logits: Theta) -> Float[Array, " choices"]:
    """Each choice's largest probability: 1 when it is decided."""
    return jnp.max(probabilities(layout, logits).values, axis=-1)


def observe(problem: Problem, logits: Theta) -> dict[str, dict[str, list[float]]]:
    """The probabilities of every choice."""
    named = as_mapping(probabilities(problem.layout, logits))
    return {"probabilities": {name: [round(float(v), 4) for v in p] for name, p in named.items()}}


def summary(problem: Problem, logits: Theta) -> dict[str, Any]:
    """How decided the choices are."""
    if not problem.space.choices:
        return {}
    return {
        "mean_largest_probability": round(float(np.mean(largest_probability(problem.layout, logits))), 6),
        "mean_entropy": round(float(np.mean(entropy(problem.layout, logits))), 6),
    }


def warnings(problem: Problem, logits: Theta, assignment: dict[str, int]) -> list[str]:
    """Collapse to skips, a flat theta."""
    notes = []
    taken = options_taken(problem.space, assignment)
    blocks = [c.name for c in problem.space.choices if "skip" in c.options]
    skips = [name for name in blocks if taken[name] == "skip"]
    if blocks and len(skips) > COLLAPSED * len(blocks):
        notes.append(
            f"skip collapse: {len(skips)} of {len(blocks)} blocks are skipped; search longer (--epochs) or set a "
            "lower --skip-limit"
        )
    decided = float(np.mean(largest_probability(problem.layout, logits))) if problem.space.choices else 1.0
    even = float(np.mean([1 / len(c) for c in problem.space.choices])) if problem.space.choices else 1.0
    if decided < even + 0.25 * (1 - even):
        notes.append(
            f"theta is nearly flat (mean largest probability {decided:.2f}): the choices were hardly decided by the "
            "data; search longer or raise --theta-lr"
        )
    return notes
