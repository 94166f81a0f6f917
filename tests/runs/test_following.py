"""Next commands are ready to copy."""

from __future__ import annotations

import shlex

from dnas.runs.following import command, lines


def test_paths_are_quoted_for_a_shell():
    text = command("train", "runs/my space", "--out", "it's")
    assert shlex.split(text) == ["python", "-m", "dnas.train", "runs/my space", "--out", "it's"]


def test_a_copied_line_runs_as_it_stands():
    """What a command does stands behind a comment sign."""
    first, line = lines([(command("evaluate", "runs/a b"), "accuracy; by class")])
    assert first == "next:" and shlex.split(line, comments=True) == ["python", "-m", "dnas.evaluate", "runs/a b"]
    assert lines([]) == []
