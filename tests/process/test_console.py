"""Where commands print: what happens when nobody reads any more."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BEGIN = """
import sys, time
from dnas.cli.entry import call, leave
from dnas.process import progress
from dnas.process.console import console
progress.FIRST_S = progress.LOOK_S = 0.01

def printing(out):
    while True:
        out.print("more")

def waiting(out):
    with progress.working(out, "compiling"):
        time.sleep(0.5)
    printing(out)

out = console()
out.print("first")
leave(call({name}, out))
"""


@pytest.mark.parametrize("name", ["printing", "waiting"])
def test_a_reader_that_has_gone_is_no_fault(name):
    """`dnas search ... | head -1`: whichever thread prints next."""
    command = [sys.executable, "-c", BEGIN.replace("{name}", name)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stderr is not None
    assert process.stdout.readline() == "first\n"
    process.stdout.close()
    assert (process.wait(), process.stderr.read()) == (0, "")
