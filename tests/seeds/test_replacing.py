"""A command with several seeds that replaces another one's runs, stopped in the middle."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from rich.console import Console

from dnas.errors import UserError
from dnas.fanout.devices import Devices
from dnas.fanout.processes import Processes
from dnas.runs.folder import Claiming
from dnas.seeds import run as module
from dnas.seeds.figures import Outcome
from dnas.seeds.run import Given, run_seeds
from tests.seeds import chores

ROOT = Path(__file__).parents[2]


@pytest.fixture
def ran(tmp_path, monkeypatch):
    """Runs three seeds, or as many as are said, one after the other; the folder of all."""
    monkeypatch.setattr(module, "outcome", lambda seed, out, folder: Outcome(seed, folder, {"macs": 1.0}, ""))
    pool = Processes(1, Devices("cpu", 1, 1), {**os.environ, "PYTHONPATH": str(ROOT)})

    def run(budget: int, overwrite: bool = False, failing: tuple = (), seeds: int = 3, lost: bool = False) -> Path:
        killed = tmp_path / "killed"
        killed.unlink(missing_ok=True) if lost else killed.touch()

        def task(seed, out, former):
            return chores.task(seed, out, former, budget, killed, list(failing))

        given = Given("search", "small", task, {"budget": budget}, 0, seeds)
        run_seeds(given, tmp_path / "out", pool, Console(quiet=True), Claiming(overwrite=overwrite))
        return tmp_path / "out"

    return run


def found(out: Path) -> dict[str, tuple[int, int]]:
    """Seed -> the budget of its result, and the process that wrote it."""

    def said(run: Path, name: str, key: str) -> int:
        return json.loads((run / name).read_text())[key]

    runs = sorted((out / "seeds").iterdir())
    return {r.name: (said(r, "architecture.json", "budget"), said(r, "provenance.json", "process")) for r in runs}


@pytest.mark.slow
@pytest.mark.parametrize("budget", [1, 2])
def test_the_same_command_replaces_the_rest_and_nothing_twice(ran, budget):
    """Seeds that were not reached hold results of the command before, of other options or the same."""
    before = found(ran(1))
    with pytest.raises(UserError, match="seed 1: not now"):
        ran(budget, overwrite=True, failing=("1",))
    for _ in range(2):  # stopped once more
        with pytest.raises(UserError, match="seed 2: not now"):
            ran(budget, failing=("2",))
    after = found(ran(budget))
    assert all(after[seed][0] == budget and after[seed] != before[seed] for seed in before)
    assert found(ran(budget)) == after, "when all are replaced, none is again"


def test_what_was_replaced_stays(ran):
    ran(1)
    with pytest.raises(UserError):
        ran(2, overwrite=True, failing=("1",))
    first = found(ran(2, failing=(), seeds=1))
    assert first["0"][0] == 2 and set(first) == {"0"}, "those of the command before that are not replaced go"


def test_a_process_that_is_lost_before_it_has_the_folder_replaces_it_all_the_same(ran):
    ran(1)
    assert {budget for budget, _ in found(ran(2, overwrite=True, lost=True)).values()} == {2}


def test_another_command_is_refused_as_before(ran):
    ran(1)
    with pytest.raises(UserError, match="holds the result of another run .*replace it with --overwrite"):
        ran(2)
    with pytest.raises(UserError):
        ran(2, overwrite=True, failing=("0",))
    with pytest.raises(UserError, match="holds the result of another run .*replace it with --overwrite"):
        ran(3)
