"""A journal is closed with its run, once, however that ends."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace

import jax.numpy as jnp
import pytest

from dnas.data.load import load
from dnas.errors import DataError, Diverged, Stopped
from dnas.grammar.catalogue import load_space
from dnas.learning.checkpoint import Checkpoints
from dnas.learning.course import State
from dnas.learning.events import EventWriter
from dnas.learning.journal import Journal
from dnas.runs.folder import FORMER
from dnas.search import run
from dnas.search.console import Console
from dnas.search.problem import Problem, make_problem
from dnas.search.settings import Settings

ENDS = [Diverged("the run diverged"), DataError("a damaged image"), Stopped("stopped", 15), KeyboardInterrupt()]
STATE = State({"sum": jnp.zeros(())}, {})


@pytest.fixture
def closed(monkeypatch) -> Counter:
    """How often checkpoints and event files were opened and closed."""
    found = Counter()

    def count(kind: type, method: str, name: str) -> None:
        own = getattr(kind, method)

        def counted(self, *arguments, **options):
            found[name] += 1
            return own(self, *arguments, **options)

        monkeypatch.setattr(kind, method, counted)

    count(Checkpoints, "__init__", "managers opened")
    count(Checkpoints, "close", "managers closed")
    count(EventWriter, "__init__", "events opened")
    count(EventWriter, "close", "events closed")
    return found


def once(times: int = 1) -> dict[str, int]:
    return {f"{what} {how}": times for what in ("managers", "events") for how in ("opened", "closed")}


@pytest.mark.parametrize("error", [None, *ENDS], ids=repr)
def test_a_journal_ends_with_its_block(error, closed, tmp_path):
    with pytest.raises(type(error)) if error else Journal(None, {}):
        with Journal(tmp_path, {}, tensorboard=True) as journal:
            assert journal.save(STATE, 1, {}, now=True)
            if error:
                raise error
            journal.end()  # as a result that is written does
    assert closed == once()


@pytest.mark.parametrize("closing", [OSError("no space left"), RuntimeError("closing went wrong")])
def test_what_the_run_ended_with_is_told_not_what_closing_raises(closing, tmp_path, monkeypatch):
    closed = []

    def close(self):
        closed.append(self)
        raise closing

    monkeypatch.setattr(EventWriter, "close", close)
    monkeypatch.setattr(Checkpoints, "close", close)
    with pytest.raises(Diverged, match="the run diverged"), Journal(tmp_path, {}, tensorboard=True) as journal:
        journal.save(STATE, 1, {}, now=True)
        raise Diverged("the run diverged")
    assert [type(one) for one in closed] == [Checkpoints, EventWriter]
    with pytest.raises(type(closing)), Journal(tmp_path / "alone", {}, tensorboard=True):
        pass


def searched(folder, monkeypatch, legs: int, end: BaseException) -> None:
    """A search of so many spaces without programs, in the last of which `end` comes after a checkpoint."""
    problem = make_problem(load_space("tiny"), [], load(None), Settings(side=16), 0)
    numbers = iter(range(legs))

    def advance(made, journal: Journal, *rest) -> State:
        assert journal.save(STATE, 1, {}, now=True)
        if next(numbers) == legs - 1:
            raise end
        return STATE

    def following(state: State) -> Problem:
        return problem

    monkeypatch.setattr(run, "compiled", lambda *rest: SimpleNamespace(notes=(), following=following, steps=1))
    monkeypatch.setattr(run, "advance", advance)
    monkeypatch.setattr(Console, "moved", lambda self, problem: None)
    run.run_search(problem, folder, Console(quiet=True), run.Options(tensorboard=True), "evolution")


@pytest.mark.parametrize("legs", [1, 2])
@pytest.mark.parametrize("end", ENDS, ids=repr)
def test_a_search_leaves_nothing_open(end, legs, closed, tmp_path, monkeypatch):
    """In a notebook the process goes on, and a search that is continued opens the folder anew."""
    with pytest.raises(type(end)):
        searched(tmp_path / "out", monkeypatch, legs, end)
    assert closed == once(legs) and (tmp_path / "out" / FORMER).exists() == (legs == 2)
