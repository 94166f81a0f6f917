"""The shortlist of a search and its race: within the budgets, one winner, and a word on whether it pays."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest

from dnas.cli.entry import call, parse
from dnas.cli.search import Arguments, main
from dnas.cost.budget import parse_budget
from dnas.data.load import load
from dnas.errors import Diverged
from dnas.grammar.catalogue import load_space
from dnas.grammar.read import space_from_data
from dnas.graph.architecture import architecture
from dnas.learning.course import State
from dnas.nn.gates import probabilities, uniform
from dnas.search.candidates import ROWS, CandidateScores, compare
from dnas.search.problem import make_problem
from dnas.search.race import Race, Racing, fitting, halvings, pays, summary, winner
from dnas.search.settings import with_overrides
from dnas.search.shortlist import LIKE, Candidate, is_design, rows, shortlist
from dnas.search.start import begun_at, first_theta
from dnas.solve.many import as_options


def problem_of(name: str, budget: str, **settings):
    return make_problem(load_space(name), [parse_budget(budget)], load(None), with_overrides("smoke", **settings), 0)


def even(problem) -> dict[str, np.ndarray]:
    return {c.name: np.full(len(c), 1 / len(c)) for c in problem.space.choices}


@pytest.mark.parametrize("fill", [None, 0.9])
def test_a_shortlist_keeps_the_budget_and_holds_no_network_twice(fill):
    problem = problem_of("tiny", "150kFLOPs", fill=fill)
    random = np.random.default_rng(0)
    skewed = {name: random.dirichlet(np.ones(len(p))) for name, p in even(problem).items()}
    found = shortlist(problem, skewed, 10)
    assert len(found) == 10 and found[0].origin.startswith("most probable")
    costs = [problem.measured[0].at(c.assignment) for c in found]
    assert all((fill or 0) * 150_000 <= cost <= 150_000 for cost in costs)
    assert len({tuple(row) for row in as_options([c.assignment for c in found], problem.space.choices).tolist()}) == 10
    assert [c.origin for c in found] == [c.origin for c in shortlist(problem, skewed, 10)]


def test_candidates_but_the_most_probable_are_of_like_cost():
    """A network of half the cost learns faster, and would win a race of few steps for that alone."""
    problem = problem_of("tiny", "150kFLOPs")
    cheap = {c.name: np.array([0.9] + [0.1 / (len(c) - 1)] * (len(c) - 1)) for c in problem.space.choices}
    first, *rest = shortlist(problem, cheap, 8)
    assert problem.measured[0].at(first.assignment) < 0.5 * 150_000
    assert rest and all(problem.measured[0].at(c.assignment) >= LIKE * 150_000 for c in rest)
    # Where no network uses the budget the most probable ones are compared.
    generous = shortlist(problem_of("tiny", "1GFLOPs"), cheap, 8)
    assert len(generous) == 8


def test_published_designs_are_candidates_where_the_space_has_their_blocks():
    problem = problem_of("fbnetv2", "200MFLOPs")
    designs = [c for c in shortlist(problem, even(problem), 6) if is_design(c.origin)]
    assert len(designs) == 1 and designs[0].origin.startswith("fbnetv2_")
    assert 0.97 * 200e6 <= problem.measured[0].at(designs[0].assignment) <= 200e6
    other = problem_of("efficientformerv2_tiny", "1MFLOPs")
    designs = [c for c in shortlist(other, even(other), 6) if is_design(c.origin)]
    assert all(c.origin.startswith("efficientformerv2_") for c in designs)


class Arrays(NamedTuple):
    """Steps of the weights that learn, and of those that are kept: who took each, and on which images."""

    steps: tuple[tuple[tuple[int, ...], int], ...] = ()
    kept: tuple[tuple[tuple[int, ...], int], ...] = ()


class Images:
    """Batches, each of which is its own number, and what was asked of them."""

    def __init__(self):
        self.read, self.begun, self.rested, self.order = [], [], 0, np.empty(0)

    def reordered(self, order):
        self.order = order
        return self

    def at(self, n):
        self.read.append(n)
        return int(self.order[n])

    def rest(self):
        self.rested += 1


def raced(problem, candidates, steps, accuracy):
    """A race in which candidate `n` has accuracy `accuracy[n]`.

    Returns the state, who was compared after which steps, and the steps whose images were asked for.
    """
    known = {tuple(row): a for row, a in zip(rows(problem, candidates), accuracy, strict=True)}
    compared = []

    stream = Images()

    def learn(arrays, gates, batch):
        assert gates.values.shape == uniform(problem.layout).values.shape
        network = tuple(np.argmax(gates.values[n, : len(c)]) for n, c in enumerate(problem.space.choices))
        return arrays._replace(steps=(*arrays.steps, (network, batch))), {}

    def compare(arrays, assignments):
        (row,) = as_options(assignments, problem.space.choices).tolist()
        compared.append((tuple(row), arrays.steps))
        return CandidateScores(np.array([known[tuple(row)]]), np.array([1 - known[tuple(row)]]))

    def restore(arrays, begun):
        stream.begun.append(begun)
        return arrays._replace(steps=arrays.kept)

    racing = Racing(lambda a: a._replace(kept=a.steps), restore, stream.reordered, learn, compare)
    phase = Race(problem, steps, lambda state: candidates, racing).phase()
    state = phase.begin(State(Arrays(((("search",), 0),)), {}))
    for n in range(steps):
        state, metrics = phase.step(state, n)
        assert metrics["racing"] >= 1
    phase.end()
    return state, compared, stream


@pytest.mark.parametrize("count", [1, 2, 5, 8])
def test_the_best_candidate_wins(count):
    problem = problem_of("tiny", "200kFLOPs")
    candidates = shortlist(problem, even(problem), count)
    accuracy = np.random.default_rng(count).permutation(count) / count
    state, *_ = raced(problem, candidates, 40, accuracy)
    best = int(np.argmax(accuracy))
    assert state.notes["race"]["left"] == [best]
    assert winner(problem, state.notes) == candidates[best].assignment
    told = summary(problem, state.notes)["candidates"]
    assert [c["won"] for c in told] == [n == best for n in range(count)]
    assert len(told[best]["accuracy"]) == len(state.notes["race"]["rounds"]) == int(np.ceil(np.log2(count)))


@pytest.mark.parametrize(("count", "steps"), [(2, 4), (5, 33), (8, 40), (8, 101)])
def test_every_candidate_learns_from_the_same_weights_on_the_same_images(count, steps):
    problem = problem_of("tiny", "200kFLOPs")
    candidates = shortlist(problem, even(problem), count)
    state, compared, stream = raced(problem, candidates, steps, np.linspace(0.1, 0.8, count))
    for network, (before, *own) in compared:
        assert before == (("search",), 0)
        assert own == [(network, n) for n in range(len(own))] and own
    # They are one stream, read in its order: what decodes ahead is never begun anew.
    assert stream.read == list(range(steps)) and stream.rested == 1
    # Every turn of a round goes on as from the step with which the round began: one rate of learning for all.
    turns = [len(ended["candidates"]) for ended in state.notes["race"]["rounds"]] + [1]
    ends = [steps * n // len(turns) for n in range(len(turns))]
    assert stream.begun == [begun for begun, many in zip(ends, turns, strict=True) for _ in range(many)]
    # In a round nobody learns more than a step longer than another; later turns are longer; the winner's weights stay.
    rounds, at = state.notes["race"]["rounds"], 0
    lengths = []
    for ended in rounds:
        taken = [len(steps) for _, steps in compared[at : at + len(ended["candidates"])]]
        assert max(taken) - min(taken) <= 1
        lengths.append(max(taken))
        at += len(taken)
    assert at == len(compared) and lengths == sorted(lengths)
    best = tuple(as_options([candidates[-1].assignment], problem.space.choices).tolist()[0])
    assert [network for network, _ in state.arrays.steps] == [("search",)] + [best] * (len(state.arrays.steps) - 1)
    assert len(state.arrays.steps) > lengths[-1]


@pytest.mark.parametrize(
    ("steps", "candidates", "fit"), [(0, 5, 1), (3, 5, 1), (4, 5, 2), (9, 3, 3), (20, 8, 5), (60, 12, 12)]
)
def test_as_many_candidates_race_as_can_have_a_step_in_each_turn(steps, candidates, fit):
    assert fitting(steps, candidates) == fit
    assert fit == 1 or fit * (halvings(fit) + 1) <= steps


def test_what_does_not_differ_does_not_pay():
    problem = problem_of("tiny", "200kFLOPs")
    candidates = [Candidate(c.assignment, "drawn") for c in shortlist(problem, even(problem), 8)]
    alike, *_ = raced(problem, candidates, 32, np.linspace(0.5, 0.51, 8))
    apart, *_ = raced(problem, candidates, 32, np.linspace(0.3, 0.9, 8))
    assert pays(problem, alike.notes).startswith("no sign that")
    assert pays(problem, apart.notes).startswith("the choice of an architecture pays here")
    assert "published" not in pays(problem, alike.notes)
    known = [c._replace(origin="fbnetv2_f4, scaled") if n == 0 else c for n, c in enumerate(candidates)]
    beside, *_ = raced(problem, known, 32, [0.1, *np.linspace(0.5, 0.51, 7)])
    assert pays(problem, beside.notes).startswith("no sign that")
    assert "7 candidates" in (said := pays(problem, beside.notes)) and "published designs stand apart" in said
    few, *_ = raced(problem, candidates[:2], 8, [0.3, 0.9])
    assert pays(problem, few.notes).startswith("too few candidates")
    unheld, alone = (raced(problem, candidates[:n], 2, np.linspace(0.3, 0.9, n))[0] for n in (8, 1))
    assert pays(problem, unheld.notes) == "no race was held: too few steps, so the most probable network is taken"
    assert pays(problem, alone.notes) == "no race was held: there is one candidate"


def test_a_search_begins_at_a_known_design():
    problem = problem_of("fbnetv2", "200MFLOPs")
    begun = begun_at(problem, load_space("fbnetv2_f4"))
    assert begun.start is not None and 0.97 * 200e6 <= problem.measured[0].at(begun.start) <= 200e6
    p = probabilities(problem.layout, first_theta(problem.layout, begun.start)).values
    taken = [float(p[row, begun.start[c.name]]) for row, c in enumerate(problem.space.choices)]
    assert taken == pytest.approx([0.5] * len(taken), abs=1e-6)
    assert not np.asarray(first_theta(problem.layout, None)).any()
    origins = [c.origin for c in shortlist(begun, even(problem), 6)]
    assert "the start, scaled" in origins


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--start", "fbnetv2"), "a space with choices"),
        (("--start", "fbnetv2_f44"), "did you mean 'fbnetv2_f4'"),
        (("--start", "fbnetv2_f4", "--strategy", "random"), "begins at no design"),
    ],
)
def test_a_start_that_is_none_is_one_line(more, said, tmp_path, capsys):
    argv = ["tiny", "--budget", "0.2MFLOPs", "--preset", "smoke", *more, "--out", str(tmp_path / "out")]
    assert call(main, parse(Arguments, argv)) == 2
    error = capsys.readouterr().err
    assert said in error and len(error.strip().splitlines()) == 1 and not (tmp_path / "out").exists()


TWO = {
    "name": "two",
    "input": {"channels": 1, "classes": 10, "resolution": 16},
    "trunk": [{"conv": {"kernel": 3, "stride": 2, "out": {"choices": [8, 16]}, "act": "relu"}}],
    "head": [{"pool": {}}, {"linear": {"out": "$classes"}}],
}
"""No published network is like it."""


def test_the_start_takes_part_in_a_race_without_published_designs():
    space = space_from_data(TWO, "two")
    problem = make_problem(space, [parse_budget("1MFLOPs")], load(None), with_overrides("smoke"), 0)
    wide = architecture(space, {c.name: 1 for c in space.choices}).network
    begun, narrow = begun_at(problem, wide), {c.name: np.array([0.99, 0.01]) for c in space.choices}
    assert [c.origin for c in shortlist(begun, narrow, 2)] == ["most probable", "the start, scaled"]
    assert [c.origin for c in shortlist(begun, narrow, 1)] == ["most probable"]


def test_a_candidate_is_not_said_to_use_a_floor_that_no_network_reaches():
    problem = make_problem(
        space_from_data(TWO, "two"), [parse_budget("1MFLOPs")], load(None), with_overrides("smoke", fill=0.9), 0
    )
    assert [c.origin for c in shortlist(problem, even(problem), 1)] == ["most probable"]


def test_a_network_whose_scores_are_not_finite_ends_the_run_in_one_line():
    """It would have no place among the others: in an order of losses any that is no number may come first."""
    problem = make_problem(space_from_data(TWO, "two"), [], load(None), with_overrides("smoke"), 0)

    def program(params, rows, statistics, count, images, labels, switch):
        return statistics, np.ones(ROWS, int), np.where(np.arange(ROWS) == 1, np.nan, 1.0)

    networks = [{c.name: n for c in problem.space.choices} for n in range(2)]
    variables = {"params": {}, "batch_stats": {}}
    assert len(compare(program, problem, variables, networks[:1]).loss) == 1  # pyright: ignore
    with pytest.raises(Diverged, match="a network that is compared gives scores that are not finite"):
        compare(program, problem, variables, networks)  # pyright: ignore
    assert len(compare(program, problem, variables, []).loss) == 0  # pyright: ignore
