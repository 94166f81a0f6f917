"""How a command line is read: options that take several values, and what is given by its place."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from dnas.cli import compare, compress, entry, search


@pytest.mark.parametrize(
    "line",
    [
        "RUN --against a b",
        "RUN --against a --against b",
        "RUN --against=a --seeds 3 --against b",
        "--against a --against b RUN",
        "--against a b RUN",
        "--overwrite RUN --against a b",
        "--against a b --seeds 3 RUN",
    ],
)
def test_an_option_takes_several_values_at_once_and_one_by_one(line):
    found = entry.parse(compare.Arguments, line.split())
    assert (str(found.run), found.against) == ("RUN", ("a", "b"))


@pytest.mark.parametrize("line", ["tiny --budget 1MFLOPs 2Mparams", "--budget 1MFLOPs --budget 2Mparams tiny"])
def test_every_budget_counts(line):
    assert entry.parse(search.Arguments, line.split()).budget == ("1MFLOPs", "2Mparams")
    line = line.replace("tiny", "RUN --method ptq")
    assert entry.parse(compress.Arguments, line.split()).budget == ("1MFLOPs", "2Mparams")


@pytest.mark.parametrize("line", ["RUN --against", "--against --seeds 3 RUN"])
def test_an_option_without_a_value_is_refused(line, capsys):
    with pytest.raises(SystemExit) as stop:
        entry.parse(compare.Arguments, line.split(), "dnas compare")
    assert stop.value.code == 2
    assert capsys.readouterr().err == "error: --against: nothing given; see dnas compare --help\n"


@pytest.mark.parametrize("line", ["--budget 1MFLOPs", "--budget 1MFLOPs --preset smoke"])
def test_an_options_only_value_is_not_taken_for_what_is_missing(line, capsys):
    with pytest.raises(SystemExit):
        entry.parse(search.Arguments, line.split(), "dnas search")
    assert capsys.readouterr().err == "error: missing: SPACE; see dnas search --help\n"


def test_a_number_that_is_no_integer_says_what_is_accepted(capsys):
    with pytest.raises(SystemExit):
        entry.parse(search.Arguments, ["tiny", "--seed", "1e3"], "dnas search")
    assert capsys.readouterr().err == "error: --seed: not accepted here (found '1e3'; accepted: an integer)\n"


@pytest.mark.parametrize("line", ["tiny --budget 1MFLOPs -.5MFLOPs", "--budget 1MFLOPs --budget=-.5MFLOPs tiny"])
def test_a_negative_number_is_a_value(line):
    assert entry.parse(search.Arguments, line.split()).budget == ("1MFLOPs", "-.5MFLOPs")


def test_help_shows_several_values(capsys):
    with pytest.raises(SystemExit):
        entry.parse(compare.Arguments, ["--help"], "dnas compare")
    assert "--against TEXT ..." in capsys.readouterr().out


def test_a_script_is_called_by_its_file(tmp_path):
    script = tmp_path / "study.py"
    script.write_text(
        "from dataclasses import dataclass\nfrom dnas.cli.entry import run\n"
        "@dataclass(frozen=True)\nclass Arguments:\n    'A study.'\n    names: tuple[str, ...] = ('a', 'b')\n"
        "run(lambda args: print(args.names), Arguments)\n"
    )
    root = Path(__file__).parents[2]

    def said(*given: str) -> str:
        return subprocess.run([sys.executable, script, *given], capture_output=True, text=True, cwd=root).stdout

    assert f"usage: python {script} [options]" in said("--help") and "(default: a b)" in said("--help")
    assert said("--names", "c", "d") == "('c', 'd')\n"
