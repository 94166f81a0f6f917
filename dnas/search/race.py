"""A race of candidate networks on the supernet's weights: successive halving (Jamieson and Talwalkar 2016).

In each round the weights learn under the networks that are left, in turn; then these are compared with batch norms
estimated for each on the choices' share, and the better half goes on. All share the supernet's weights, so no copy of
them is made, and what one learns the others keep as far as they agree. Of `n` candidates log2(n) rounds leave one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from dnas.learning.course import Metrics, Phase, State
from dnas.nn.gates import Gates, one_hot
from dnas.search.candidates import CandidateScores, compared_images
from dnas.search.problem import Problem
from dnas.search.shortlist import Candidate, is_design, rows
from dnas.search.singlepath import assignments

Notes = dict[str, Any]
"""Of a race, in the state: `rows` and `origins` of the candidates, `left` (their numbers), `rounds`: a list of
`{candidates, accuracy, loss}` for each round that has ended."""


class Race:
    """The race as a phase of a search.

    `learn(arrays, gates, n)` takes step `n` of the weights under gates; `compare(arrays, assignments)` scores networks.
    """

    def __init__(
        self, problem: Problem, steps: int, candidates: Callable[[State], list[Candidate]],
        learn: Callable[[Any, Gates, int], tuple[Any, Metrics]],
        compare: Callable[[Any, list[dict[str, int]]], CandidateScores],
    ):  # fmt: skip
        self.problem, self.steps, self.candidates = problem, steps, candidates
        self.learn, self.compare = learn, compare

    def phase(self, before: Callable[[State], State] = lambda state: state) -> Phase:
        """`before` is called once, before the candidates are named."""
        return Phase("race", self.steps, self._step, begin=lambda state: self.begin(before(state)))

    def begin(self, state: State) -> State:
        """Names the candidates."""
        return state._replace(notes={**state.notes, "race": begun(self.problem, self.candidates(state))})

    def _step(self, state: State, n: int) -> tuple[State, Metrics]:
        race = state.notes["race"]
        arrays, metrics = self.learn(state.arrays, one_hot(self.problem.layout, racing(self.problem, race, n)), n)
        state = state._replace(arrays=arrays)
        if round_ends(self.steps, race, n):
            scores = self.compare(arrays, still_in(self.problem, race))
            state = state._replace(notes={**state.notes, "race": halved(race, scores)})
        return state, metrics | {"racing": len(state.notes["race"]["left"])}


def begun(problem: Problem, found: list[Candidate]) -> Notes:
    """A race before its first step."""
    return {
        "rows": rows(problem, found), "origins": [c.origin for c in found], "left": list(range(len(found))),
        "rounds": [],
    }  # fmt: skip


def racing(problem: Problem, race: Notes, n: int) -> dict[str, int]:
    """The network under which the weights take step `n` of the race."""
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
    """Whether a round of a race of so many steps ends after step `n`."""
    return n + 1 in _ends(steps, len(race["rows"]))


def _ends(steps: int, candidates: int) -> list[int]:
    """Numbers of steps after which a round ends: as many rounds as halvings leave one, all of one length."""
    rounds = math.ceil(math.log2(candidates)) if candidates > 1 else 0
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
    return {"candidates": told, "images": len(compared_images(problem)), "pays": pays(problem, notes)}


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
    rounds, images = notes["race"]["rounds"], len(compared_images(problem))
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
    if spread > limit:
        return f"the choice of an architecture pays here: {told}"
    return f"no sign that the choice of an architecture pays here: {told}"
