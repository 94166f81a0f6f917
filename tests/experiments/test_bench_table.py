"""The table of figures in docs/performance.md comes from the JSON of the benchmarks, and says what that says."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import pytest

from dnas.search.compiling import Compiler

ROOT = Path(__file__).resolve().parents[2]
ALL = ROOT / "experiments" / "bench" / "all.py"


@pytest.fixture(scope="module")
def bench():
    pytest.importorskip("dnas.cpu.restart", reason="the benches set a process's memory as the CPU wing does")
    sys.path.insert(0, str(ALL.parent))
    import all as module

    yield module
    sys.path.remove(str(ALL.parent))


def test_every_figure_of_the_table_is_measured_by_its_part(bench):
    assert {row.part for row in bench.ROWS} == set(bench.PARTS)
    found = bench.recorded()
    missing = [(row.part, name) for row in bench.ROWS for name in row.figures if name not in found.get(row.part, {})]
    assert not [part for part, _ in missing if part in found], missing


def test_table_holds_what_was_measured_and_leaves_out_what_was_not(bench):
    found = {
        "step64": {"time_over_plain": None, "flops_over_plain": 1.0745, "memory_over_plain": 1.3},
        "compile": {"cold_s": None, "second_s": None},
    }
    lines = bench.table(found).splitlines()
    assert lines[2:] == [f"| {bench.ROWS[0].check} | 1.25, 1.08, 1.40 | -, 1.07, 1.30 |"]


def test_only_the_text_between_the_markers_changes(bench):
    text = f"before\n{bench.BEGIN}\nold\n{bench.END}\nafter\n"
    assert bench.filled(text, "| new |") == f"before\n{bench.BEGIN}\n| new |\n{bench.END}\nafter\n"


def test_page_shows_the_figures_of_the_file(bench):
    text = bench.PAGE.read_text()
    assert bench.filled(text, bench.table(bench.recorded())) == text


def test_an_unknown_part_is_one_line_and_code_2(bench):
    done = subprocess.run([sys.executable, ALL, "--parts", "nothing"], capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "nothing" in done.stderr


def test_the_benchmarks_compiler_can_stand_in_for_the_searchs(bench):
    """It lacked an argument that strategies gave, and every benchmark of a step ended in a traceback."""
    import contenders

    def parameters(compiler: type) -> list[str]:
        return [name for name in inspect.signature(compiler.__call__).parameters]

    assert parameters(contenders.Programs) == parameters(Compiler)
