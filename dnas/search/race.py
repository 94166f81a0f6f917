"""A race of candidate networks on the supernet's weights: successive halving (Jamieson and Talwalkar 2016).

In each round every network that is left has a turn: it learns from the weights that the search left, on the same
images and at the same rates as the others, and is compared with batch norms estimated for it on the choices' share.
Then the better half goes on, so that turns get longer. Of `n` candidates log2(n) rounds leave one; the last round is
its own, and its weights stay.

The candidates could instead change one set of weights in turn. Such weights favour the options that the search took
most often, and each candidate undoes what the one before it learned. In a family they are shared all the same, because
its members race in the same steps.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int

from dnas.data.batches import Batch, Batches
from dnas.learning.course import Metrics, Phase, State
from dnas.nn.gates import Gates, one_hot
from dnas.search.candidates import CandidateScores, spread_images
from dnas.search.problem import Problem
from dnas.search.shortlist import Candidate, is_design, rows
from dnas.search.singlepath import assignments

Notes = dict[str, Any]
"""Of a race, in the state: `rows` and `origins` of the candidates, `left` (their numbers), `rounds`: a list of
`{candidates, accuracy, loss}` for each round that has ended, `turns`: `[accuracy, loss]` of each turn of the round."""


class Racing(NamedTuple):
    """What a race does with the arrays of a search."""

    keep: Callable[[Any], Any]
    """Remembers the weights as they are."""
    restore: Callable[[Any, int], Any]
    """Weights as they were when they were remembered, and the rate of learning as after so many steps of the race."""
    images: Callable[[np.ndarray], Batches]
    """A stream whose step `n` takes the race's batch number `order[n]`."""
    learn: Callable[[Any, Gates, Batch], tuple[Any, Metrics]]
    """A step of the weights under gates."""
    compare: Callable[[Any, list[dict[str, int]]], CandidateScores]
    """Scores of networks."""


class Turn(NamedTuple):
    """Where a step of a race stands."""

    round: int
    """The step with which its round began."""
    place: int
    """Of the network that learns, among those left."""
    step: int
    """Within its turn, from 0."""
    last: bool
    """Whether its turn ends with this step."""


class Race:
    """The race as a phase of a search."""

    def __init__(self, problem: Problem, steps: int, candidates: Callable[[State], list[Candidate]], racing: Racing):
        self.problem, self.steps, self.candidates, self.racing = problem, steps, candidates, racing
        self._images: Batches | None = None
        """Of the race that was begun or is gone on with, from its first step to its last."""

    def phase(self, before: Callable[[State], State] = lambda state: state) -> Phase:
        """`before` is called once, before the candidates are named."""
        return Phase("race", self.steps, self._step, begin=lambda state: self.begin(before(state)), end=self._end)

    def begin(self, state: State) -> State:
        """Names the candidates: as many as can have a step in each of their turns."""
        found = self.candidates(state)
        count = fitting(self.steps, len(found))
        race = begun(self.problem, found[:count] if count > 1 else found)
        race = {**race, "left": race["left"][:count], "turns": []}
        return State(self.racing.keep(state.arrays), {**state.notes, "race": race})

    def _step(self, state: State, n: int) -> tuple[State, Metrics]:
        race = state.notes["race"]
        turn = turn_of(self.steps, runners(race), n)
        (network,) = assignments(self.problem, [race["rows"][race["left"][turn.place]]])
        arrays = self.racing.restore(state.arrays, turn.round) if turn.step == 0 else state.arrays
        arrays, metrics = self.racing.learn(arrays, one_hot(self.problem.layout, network), self._batch(race, n))
        metrics = metrics | {"racing": len(race["left"])}
        if turn.last and len(race["left"]) > 1:
            race = compared(race, self.racing.compare(arrays, [network]))
        return State(arrays, {**state.notes, "race": race}), metrics

    def _batch(self, race: Notes, n: int) -> Batch:
        """The images of step `n`, read as one stream over all turns."""
        if self._images is None:
            self._images = self.racing.images(batch_numbers(self.steps, runners(race)))
        return self._images.at(n)

    def _end(self) -> None:
        if self._images is not None:
            self._images.rest()


def race_images(problem: Problem) -> Int[np.ndarray, " images"]:
    """Positions of the training images on which a race compares."""
    return spread_images(problem, problem.settings.race_images)


def fitting(steps: int, candidates: int) -> int:
    """How many of the candidates can race in so many steps: each has a step in every turn. At least one."""
    return max((n for n in range(1, candidates + 1) if n * (halvings(n) + 1) <= steps), default=1)


def halvings(candidates: int) -> int:
    """Rounds that leave one of so many candidates."""
    return math.ceil(math.log2(candidates)) if candidates > 1 else 0


def runners(race: Notes) -> int:
    """How many networks a race began with: one, whatever the candidates, where there are too few steps for more."""
    return len(race["rows"]) if race["rounds"] or len(race["left"]) > 1 else 1


def batch_numbers(steps: int, candidates: int) -> np.ndarray:
    """The batch, from 0, that each step of a race learns from: those of a turn are the same as those of any other."""
    return np.array([turn_of(steps, candidates, n).step for n in range(steps)], np.int64)


def turn_of(steps: int, candidates: int, n: int) -> Turn:
    """The turn of step `n` of a race of so many steps: its rounds are of one length, and so are the turns of each.

    The last round is that of the winner.
    """
    rounds = halvings(candidates) + 1
    number = ((n + 1) * rounds - 1) // steps
    left = -(-candidates // 2**number)
    begin, end = steps * number // rounds, steps * (number + 1) // rounds
    place = ((n - begin + 1) * left - 1) // (end - begin)
    first, after = (begin + (end - begin) * p // left for p in (place, place + 1))
    return Turn(begin, place, n - first, n + 1 == after)


def compared(race: Notes, scores: CandidateScores) -> Notes:
    """The race after a turn that ended with these scores of its network; the last turn of a round ends that."""
    turns = [*race["turns"], [float(scores.accuracy[0]), float(scores.loss[0])]]
    if len(turns) < len(race["left"]):
        return {**race, "turns": turns}
    return {**halved(race, CandidateScores(*np.array(turns).T)), "turns": []}


def begun(problem: Problem, found: list[Candidate]) -> Notes:
    """A race before its first step."""
    return {
        "rows": rows(problem, found), "origins": [c.origin for c in found], "left": list(range(len(found))),
        "rounds": [],
    }  # fmt: skip


def racing(problem: Problem, race: Notes, n: int) -> dict[str, int]:
    """The network under which shared weights take step `n` of the race of a family's member."""
    left = race["left"]
    return assignments(problem, [race["rows"][left[n % len(left)]]])[0]


def still_in(problem: Problem, race: Notes) -> list[dict[str, int]]:
    """The networks that are left."""
    return assignments(problem, [race["rows"][n] for n in race["left"]])


def halved(race: Notes, scores: CandidateScores) -> Notes:
    """The race after a round: the better half of those left, in the order of `still_in`, goes on."""
    left = race["left"]
    ended = {"candidates": left, "accuracy": scores.accuracy.tolist(), "loss": scores.loss.tolist()}
    order = sorted(range(len(left)), key=lambda i: (scores.loss[i], -scores.accuracy[i], i))
    better = sorted(left[i] for i in order[: math.ceil(len(left) / 2)])
    return {**race, "left": better, "rounds": [*race["rounds"], ended]}


def round_ends(steps: int, race: Notes, n: int) -> bool:
    """Whether a round on shared weights ends after step `n` of so many."""
    return n + 1 in _ends(steps, len(race["rows"]))


def _ends(steps: int, candidates: int) -> list[int]:
    """Numbers of steps after which a round on shared weights ends: as many as leave one, all of one length."""
    rounds = halvings(candidates)
    return [steps * (r + 1) // rounds for r in range(rounds)] if steps >= rounds else []


def winner(problem: Problem, notes: Notes) -> dict[str, int]:
    """The network that is left: the most probable one where nothing was decided."""
    return assignments(problem, [notes["race"]["rows"][notes["race"]["left"][0]]])[0]


def summary(problem: Problem, notes: Notes) -> dict[str, Any]:
    """The race as the result's file tells it: each candidate's origin, costs, and what each round said of it."""
    race = notes["race"]
    told = []
    for number, row in enumerate(race["rows"]):
        assignment = assignments(problem, [row])[0]
        mine = [(r, r["candidates"].index(number)) for r in race["rounds"] if number in r["candidates"]]
        told.append({
            "origin": race["origins"][number],
            "costs": [m.at(assignment) for m in problem.measured],
            "accuracy": [round(r["accuracy"][i], 4) for r, i in mine],
            "loss": [round(r["loss"][i], 4) for r, i in mine],
            "won": number == race["left"][0],
        })  # fmt: skip
    return {"candidates": told, "images": len(race_images(problem)), "pays": pays(problem, notes)}


def unheld(notes: Notes) -> str:
    """Why no round was held, and what was taken then; empty where one was."""
    if notes["race"]["rounds"]:
        return ""
    several = len(notes["race"]["rows"]) > 1
    return "too few steps, so the most probable network is taken" if several else "there is one candidate"


def pays(problem: Problem, notes: Notes) -> str:
    """One sentence: whether the candidates of the first round differ by more than chance would make of its images.

    Published designs are left out: that their options were hardly learned says nothing of the architecture. The test is
    a chi-square of the accuracies' variance against a binomial's; the images are the same for all, which
    makes the noise of a difference smaller, so the test is on the side of "not to be told apart".
    """
    rounds, images = notes["race"]["rounds"], len(race_images(problem))
    if not rounds:
        return f"no race was held: {unheld(notes)}"
    origins = [notes["race"]["origins"][n] for n in rounds[0]["candidates"]]
    learned = [i for i, origin in enumerate(origins) if not is_design(origin)]
    if len(learned) < 3:
        return "too few candidates to say whether the choice of an architecture pays here"
    accuracy = np.array(rounds[0]["accuracy"])[learned]
    spread, mean = float(accuracy.std(ddof=1)), float(accuracy.mean())
    noise = math.sqrt(max(mean * (1 - mean), 1 / images) / images)
    freedom = len(accuracy) - 1
    # Wilson and Hilferty's approximation of the chi-square's 95 % point.
    limit = noise * math.sqrt((1 - 2 / (9 * freedom) + 1.645 * math.sqrt(2 / (9 * freedom))) ** 3)
    told = f"{len(accuracy)} candidates spread by {spread:.1%} where chance alone makes {noise:.1%} ({images} images)"
    if len(learned) < len(origins):
        told += "; published designs stand apart: the search hardly learned their options (dnas compare trains them)"
    if spread > limit:
        return f"the choice of an architecture pays here: {told}"
    return f"no sign that the choice of an architecture pays here: {told}"
