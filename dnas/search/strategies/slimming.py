"""Slimming after a search for path scores (EfficientFormer, Li et al. 2022, section 4.2).

Weights and theta learn in turn on their own shares of the training data, under Gumbel-softmax gates. Theta covers the
paths alone: choices of what there is (blocks, depth, a part on or off). Sizes stay at their largest; only slimming
moves them. Then, action by action, the largest network is slimmed until all budgets hold (`dnas.search.chain`):
theta's scores say which actions are compared, and accuracy lost for the cost saved says which is taken.

With p = softmax(theta), the importance of a move to option t is (1 - p_t) / p_t, the odds against it: for a block among
attention, pooling and nothing that is the published (p_3D + p_4D) / p_I. The importance of a size is the sum of the
odds against leaving out each path whose operators it shapes: of a stage's width, the sum over the stage's blocks.
Published are three kinds of action, compared one of each at a time: the least important path left out, the earliest
attention replaced by pooling, the least important stage narrowed. Here a kind is: leaving out a block or a part,
replacing a block by another, and each field whose size is narrowed; of each the least important action is compared, and
of replacements the earliest beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, PRNGKeyArray

from dnas.data.batches import Batch
from dnas.learning.course import Metrics, Phase, State
from dnas.nn.gates import Gates, Theta, as_mapping, gumbel_softmax, init_theta, one_hot, probabilities
from dnas.search import chain
from dnas.search.actions import Action, Reachable, extreme, path_choices
from dnas.search.candidates import compile_comparison, lanes_of
from dnas.search.chain import Slimming
from dnas.search.compiling import Compiler, Program
from dnas.search.descent import Learner, Learning, Weights, compile_learning, fresh, optimizer, planned, streams
from dnas.search.ending import Ending
from dnas.search.learn import fed
from dnas.search.problem import Problem
from dnas.search.strategy import Outcome, Strategy

NAME = "slimming"


class Arrays(NamedTuple):
    """The arrays of the state."""

    weights: Weights
    theta: Theta
    theta_opt: optax.OptState


class Programs(NamedTuple):
    """What is compiled."""

    learning: Learning
    draw: Program
    """`(theta, key, number, temperature) -> gates`"""
    update_theta: Program
    compare: Program


def check(problem: Problem) -> None:
    """Raises `UserError` for what the strategy cannot do."""
    chain.check(problem, NAME)


def compile_programs(problem: Problem, compiler: Compiler) -> Programs:
    """Every program of the strategy, each traced once."""
    arrays = _start(problem)
    draw = arrays.theta, jax.random.key(0), np.int32(0), np.float32(0)
    return Programs(
        learning=compile_learning(problem, compiler),
        draw=compiler(_draw(problem), *draw),
        update_theta=compiler(_update_theta(problem), arrays.theta, arrays.theta_opt, arrays.theta, *draw[1:]),
        compare=compile_comparison(problem, compiler, arrays.weights.variables, lanes_of(problem, NAME)),
    )


def strategy(problem: Problem, programs: Programs) -> Strategy:
    """The strategy on a problem; `programs` may be those of another problem that differs in data and seed alone."""
    scores = PathScores(problem, programs)
    slimming = Slimming(
        problem, programs.compare, lambda before, after: _saved(problem, before, after), scores.largest,
        lambda state: state.arrays.weights.variables, shortlist_of(problem),
    )  # fmt: skip
    ending = Ending(
        problem, scores.plan, scores.alone, programs.compare, slimming.found, lambda arrays: arrays.weights,
        lambda arrays, weights: arrays._replace(weights=weights),
    )  # fmt: skip

    def outcome(state: State) -> Outcome:
        return ending.outcome(state, **slimming.told(state))

    phases = (
        Phase("search", scores.plan.supernet, scores.search, end=scores.rest),
        slimming.phase(), slimming.filling(), ending.phase(),
    )  # fmt: skip
    return Strategy(NAME, lambda: State(_start(problem), {}), phases, outcome, scores.observe)


class PathScores:
    """The steps in which the weights and theta, whose probabilities are the paths' scores, learn in turn."""

    def __init__(self, problem: Problem, programs: Programs):
        self.problem, self.programs, self.plan = problem, programs, planned(problem)
        for_weights, self.for_theta = streams(problem, sharing=2)
        self.learner, self.alone = Learner(problem, programs.learning, for_weights), Learner(problem, programs.learning)
        """Beside theta's steps, and where theta takes none: there all readers are the weights'."""
        self.key = jax.random.key(problem.seed)
        self.warm_up = int(problem.settings.warm_up * (self.plan.supernet + self.plan.settle))
        self.searched = max(1, self.plan.supernet - self.warm_up)
        self.theta_steps = max(1, int(self.searched / problem.settings.theta_every))

    def search(self, state: State, n: int) -> tuple[State, Metrics]:
        """A step of the weights and, after the warm-up, the steps of theta that are due.

        All images are read before the first step, so that the state is whole where some cannot be.
        """
        arrays: Arrays = state.arrays
        numbers = self._due(n - self.warm_up) if n >= self.warm_up else ()
        due = [(number, self.for_theta.at(number)) for number in numbers]
        gates = self.programs.draw(arrays.theta, self.key, np.int32(2 * n), self._temperature(n))
        weights, metrics = (self.learner if n >= self.warm_up else self.alone).step(arrays.weights, gates, n)
        if n + 1 == self.warm_up:
            self.alone.batches.rest()
        arrays = arrays._replace(weights=weights)
        for number, batch in due:
            arrays, more = self._theta_step(arrays, number, batch, n)
            metrics |= more
        return state._replace(arrays=arrays), metrics | {"temperature": self._temperature(n)}

    def rest(self) -> None:
        """Ends what reads batches ahead, until the next is asked for."""
        for batches in (self.learner.batches, self.alone.batches, self.for_theta):
            batches.rest()

    def largest(self, state: State) -> dict[str, int]:
        """The network at which slimming begins: the paths of the largest scores, all sizes at their largest."""
        scores = _probabilities(self.problem, state.arrays.theta)
        return extreme(self.problem, "max", {name: int(np.argmax(p)) for name, p in scores.items()})

    def observe(self, state: State) -> dict[str, dict[str, list[float]]]:
        """The scores, for a row of the history."""
        named = _probabilities(self.problem, state.arrays.theta)
        return {"probabilities": {name: [round(float(v), 4) for v in p] for name, p in named.items()}}

    def _due(self, n: int) -> range:
        """Numbers of the theta steps after step `n` behind the warm-up: spread evenly."""
        return range(self.theta_steps * n // self.searched, self.theta_steps * (n + 1) // self.searched)

    def _temperature(self, n: int) -> np.float32:
        s = self.problem.settings
        return np.float32(s.temperature * (s.temperature_end / s.temperature) ** (n / max(1, self.plan.supernet)))

    def _theta_step(self, arrays: Arrays, number: int, batch: Batch, n: int) -> tuple[Arrays, Metrics]:
        draw = self.key, np.int32(2 * number + 1), self._temperature(n)
        gates = self.programs.draw(arrays.theta, *draw)
        learned = self.programs.learning.learn(arrays.weights.variables, gates, *fed(self.problem, batch))
        theta, theta_opt = self.programs.update_theta(arrays.theta, arrays.theta_opt, learned.gates, *draw)
        metrics = {"theta_step": number + 1, "theta_loss": learned.loss, "theta_accuracy": learned.accuracy}
        return arrays._replace(theta=theta, theta_opt=theta_opt), metrics


# Programs -------------------------------------------------------------------------------------------------------------


def _draw(problem: Problem):
    layout, noise = problem.layout, problem.settings.noise
    is_path, held = _paths(problem), one_hot(layout, extreme(problem, "max")).values

    def draw(theta: Theta, key: PRNGKeyArray, number: Array, temperature: Array) -> Gates:
        soft = gumbel_softmax(layout, theta, jax.random.fold_in(key, number), temperature, noise=noise)
        return Gates(jnp.where(is_path, soft.values, held), layout)

    return draw


def _update_theta(problem: Problem):
    """A step of theta along d loss / d gates at the gates drawn. No cost enters: slimming alone sees the budgets."""
    draw, rule = _draw(problem), _theta_optimizer(problem)

    def update_theta(theta: Theta, state: optax.OptState, gradient: Array, *draw_arguments):
        _, pull = jax.vjp(lambda t: draw(t, *draw_arguments).values, theta)
        updates, state = rule.update(pull(gradient)[0], state, theta)
        return optax.apply_updates(theta, updates), state

    return update_theta


def _theta_optimizer(problem: Problem) -> optax.GradientTransformation:
    s = problem.settings
    decay = [optax.add_decayed_weights(s.theta_decay)] if s.theta_decay else []
    return optax.chain(*decay, optax.adam(s.theta_lr, b1=0.5, b2=0.99))


def _start(problem: Problem) -> Arrays:
    theta = init_theta(problem.layout)
    weights = fresh(problem, optimizer(problem.settings, planned(problem)))
    return Arrays(weights, *problem.devices.state((theta, _theta_optimizer(problem).init(theta))))


def _paths(problem: Problem) -> np.ndarray:
    """[choices, 1]: True for the rows of paths."""
    names = {c.name for c in path_choices(problem)}
    return np.array([[c.name in names] for c in problem.layout.choices], bool).reshape(-1, 1)


# Which actions are compared -------------------------------------------------------------------------------------------


def _saved(problem: Problem, before: Sequence[float], after: Sequence[float]) -> float:
    """Cost saved in shares of the budgets; what is saved beyond a budget counts for nothing."""
    limits = [m.budget.limit for m in problem.measured]
    excess = [sum(max(c / b - 1, 0.0) for c, b in zip(costs, limits, strict=True)) for costs in (before, after)]
    return excess[0] - excess[1]


def _probabilities(problem: Problem, theta: Theta) -> dict[str, Float[np.ndarray, " options"]]:
    """softmax(theta) of the paths, by name."""
    named = as_mapping(probabilities(problem.layout, theta))
    return {c.name: named[c.name] for c in path_choices(problem)}


def shortlist_of(problem: Problem) -> Callable[..., list[Reachable]]:
    """Of each kind the least important action, the earliest replacement (`frontier` has the order of the space), and
    further ones where one ranking must go further.
    """
    shaped, fields, smallest = shaped_paths(problem), sized_fields(problem), extreme(problem, "min")

    def kind_of(action: Action) -> str:
        if action.choice in shaped:
            return fields.get(action.choice, "input")
        return "leave out" if action.after == smallest[action.choice] else "replace"

    def shortlist(
        state: State, frontier: list[Reachable], saved: Callable[[Reachable], float], wanted: float
    ) -> list[Reachable]:
        scores = _probabilities(problem, state.arrays.theta)
        kinds: dict[str, list[tuple[float, int]]] = {}
        for n, reachable in enumerate(frontier):
            action = reachable.action
            kinds.setdefault(kind_of(action), []).append((importance(action, scores, shaped), n))
        chosen = {min(n for _, n in kinds["replace"])} if "replace" in kinds else set()
        for actions in kinds.values():
            gone = 0.0
            actions.sort()
            for _, n in actions:
                if gone > wanted:
                    break
                chosen.add(n)
                gone += saved(frontier[n])
        return [frontier[n] for n in sorted(chosen)]

    return shortlist


def importance(
    action: Action, scores: dict[str, Float[np.ndarray, " options"]], shaped: dict[str, list[tuple[str, int]]]
) -> float:
    """How much theta speaks against an action; 0 where it says nothing. See the module's text."""
    if action.choice in scores:
        return odds_against(scores[action.choice], action.after)
    return sum(odds_against(scores[path], least) for path, least in shaped[action.choice])


def odds_against(p: Float[np.ndarray, " options"], option: int) -> float:
    """(1 - p) / p of an option: finite and positive for every softmax."""
    return float((1 - p[option]) / max(p[option], 1e-12))


def shaped_paths(problem: Problem) -> dict[str, list[tuple[str, int]]]:
    """For each size, the paths whose operators it shapes, each with its option of least cost."""
    paths = {c.name for c in path_choices(problem)}
    smallest = extreme(problem, "min")
    found: dict[str, dict[str, int]] = {c.name: {} for c in problem.space.choices if c.name not in paths}
    for record in problem.walked.ledger:
        parts = (record.macs, record.weights, record.affine)
        sizes = {c.name for part in parts for c in part.over} - paths
        given = {c.name for c in record.given.over} & paths
        for size in sizes:
            found[size] |= {path: smallest[path] for path in given}
    return {size: list(shaped.items()) for size, shaped in found.items()}


def sized_fields(problem: Problem) -> dict[str, str]:
    """For each choice, the field that it decides, in the first block that has one."""
    found: dict[str, str] = {}
    for use in problem.walked.uses:
        for name, quantity in use.fields.items():
            for choice in quantity.over:
                found.setdefault(choice.name, name)
    return found
