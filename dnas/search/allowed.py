"""Networks drawn from theta that the space's constraints allow: exact, in a compiled step."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from dnas.nn.gates import Theta
from dnas.search.problem import Problem
from dnas.solve.elimination import Conditional, conditionals, log_indicator

OneHot = Float[Array, "choices options"]


def allowing(problem: Problem) -> Callable[[Theta], Callable[[OneHot, PRNGKeyArray], OneHot]]:
    """`allowing(problem)(logits)(drawn, key)`: `drawn`, with the choices that constraints mention drawn anew.

    Those are drawn together, from softmax(logits) among what the constraints allow (`dnas.solve.elimination`).
    """
    layout = problem.layout
    fixed = [(over, np.float32(table)) for over, table in map(log_indicator, problem.space.constraints)]
    tied = tuple(dict.fromkeys(c for over, _ in fixed for c in over if c.name in layout.rows))
    rows = np.array([layout.rows[c.name] for c in tied], np.int32)

    def among(logits: Theta) -> Callable[[OneHot, PRNGKeyArray], OneHot]:
        own = [((c,), jax.nn.log_softmax(logits[row, : len(c)])) for c, row in zip(tied, rows.tolist(), strict=True)]
        trace, _ = conditionals([*fixed, *own], lambda joint: jax.nn.logsumexp(joint, axis=-1))

        def draw(drawn: OneHot, key: PRNGKeyArray) -> OneHot:
            taken = _backwards(trace, key)
            options = jnp.stack([taken[c.name] for c in tied])
            return drawn.at[rows].set(jax.nn.one_hot(options, layout.shape[1], dtype=drawn.dtype))

        return draw

    return among if tied else lambda _: lambda drawn, _: drawn


def _backwards(trace: list[Conditional], key: PRNGKeyArray) -> dict[str, Array]:
    """An option of every choice, the last that was eliminated first; each by the largest of Gumbel's and its logarithm.

    (Gumbel-max: that is a draw by the probabilities. All noise is drawn at once, for XLA compiles each draw anew.)
    """
    noise = jax.random.gumbel(key, (len(trace), max(len(choice) for choice, _, _ in trace)))
    taken: dict[str, Array] = {}
    for own, (choice, rest, joint) in zip(noise, reversed(trace), strict=True):
        logs = joint[tuple(taken[c.name] for c in rest)]
        taken[choice.name] = jnp.argmax(logs + own[: len(choice)])
    return taken
