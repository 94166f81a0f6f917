"""Generations of networks: the best ones' children, compared, and the best of all found (AutoFormer, section 3.4).

The first generation is drawn evenly within the budgets. Each following one has children of mutation and of crossover
among the best networks so far; where those are alike, so are their children, and a long search stays where it is: the
settings say how far apart parents are. A child that the constraints forbid, that is outside the budgets or that was
compared before is dropped before it costs anything; for what is missing after so many attempts others are drawn as at
first.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from dnas.learning.course import Metrics, Phase, State
from dnas.search import singlepath
from dnas.search.candidates import CandidateScores
from dnas.search.genes import Genes, Rates, Rows
from dnas.search.problem import Problem

Score = Callable[[State, list[dict[str, int]]], CandidateScores]
"""Accuracy and loss of networks of the space, in their order."""


class Evolution:
    """The phase in which generations grow in `State.notes`: networks seen, as rows of option indices, and scores."""

    def __init__(self, problem: Problem, score: Score):
        self.problem, self.score = problem, score
        s = problem.settings
        self.sampler = singlepath.sampler(problem, s.population * s.generations)
        self.genes = Genes(problem.space, problem.walked)

    def phase(self) -> Phase:
        return Phase("evolve", self.problem.settings.generations, self._step, rows_every=1)

    def found(self, state: State) -> dict[str, int]:
        """The best network of all generations."""
        index, _ = singlepath.best(state.notes["scores"])
        return singlepath.assignments(self.problem, [state.notes["seen"][index]])[0]

    def told(self, state: State) -> dict[str, Any]:
        """Fields of the outcome: the networks compared, and why no more of the budgets is used."""
        note = self.sampler.note
        summary = singlepath.summary(self.problem, *(state.notes[key] for key in ("seen", "scores", "drawn")))
        return {"summary": summary, "warnings": [note] if note else [], "unused": note}

    def _step(self, state: State, n: int) -> tuple[State, Metrics]:
        """One generation."""
        seen, scores = state.notes.get("seen", []), state.notes.get("scores", [])
        rows = self.generation(seen, scores, n)
        if rows:
            found = self.score(state, singlepath.assignments(self.problem, rows))
            scores = [*scores, *map(list, zip(found.accuracy.tolist(), found.loss.tolist(), strict=True))]
        notes = {**state.notes, "seen": [*seen, *rows], "scores": scores, "drawn": state.notes.get("drawn", len(rows))}
        return state._replace(notes=notes), {"compared": len(scores), "best": singlepath.best(scores)[1]}

    def generation(self, seen: list[list[int]], scores: list[list[float]], n: int) -> list[list[int]]:
        """Networks of generation `n`, none of which is among those seen, whose (accuracy, loss) are `scores`."""
        s, known = self.problem.settings, {tuple(row) for row in seen}
        rows = self._children(seen, scores, known, n) if seen else []
        for spare in (min(len(rows), len(known)), len(known)):
            # Usually enough of the first are new; of the second, enough are where the space has enough.
            if (missing := s.population - len(rows)) > 0:
                drawn = self.sampler.draw(missing + spare, [self.problem.seed, singlepath.SAMPLES, n])
                rows += self._new(np.array([list(a.values()) for a in drawn], int), known, missing)
        return rows

    def _children(
        self, seen: list[list[int]], scores: list[list[float]], known: set[tuple[int, ...]], n: int
    ) -> list[list[int]]:
        """Children of the best networks so far, which become known."""
        s, random = self.problem.settings, np.random.default_rng([self.problem.seed, singlepath.CHILDREN, n])
        order = sorted(range(len(seen)), key=lambda i: (-scores[i][0], scores[i][1], i))
        parents = apart(np.array([seen[i] for i in order], int), s.parents, s.parents_apart)
        mutations, crossovers = s.children
        mutated = self.genes.mutated(random, parents, mutations * s.attempts, Rates(s.mutation, s.network_mutation))
        crossed = self.genes.crossed(random, parents, crossovers * s.attempts)
        return self._new(mutated, known, mutations) + self._new(crossed, known, crossovers)

    def _new(self, children: Rows, known: set[tuple[int, ...]], count: int) -> list[list[int]]:
        """The first `count` children within the budgets that are not known; they become known."""
        rows: list[list[int]] = []
        for child in children[self.sampler.within(children)] if len(children) else []:
            if len(rows) == count:
                break
            name = tuple(self.sampler.spelled_row(child).tolist())
            if name not in known:
                known.add(name)
                rows.append(list(name))
        return rows


def apart(rows: Rows, count: int, least: int) -> Rows:
    """The first `count` rows of which any two differ in `least` places; where there are fewer, the first others too."""
    taken: list[int] = []
    for n, row in enumerate(rows):
        if len(taken) == count:
            break
        if all(np.count_nonzero(row != rows[other]) >= least for other in taken):
            taken.append(n)
    others = [n for n in range(len(rows)) if n not in taken]
    return rows[[*taken, *others[: count - len(taken)]]]
