"""Tables of texts."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from dnas.process.tables import markdown, rich_table

ROWS = [("a|b", "1", "20"), ("c", "300", "4")]


def test_a_bar_in_a_cell_does_not_end_it():
    assert markdown(("name", "x", "y"), ROWS) == [
        "| name | x | y |", "| --- | ---: | ---: |", "| a\\|b | 1 | 20 |", "| c | 300 | 4 |"
    ]  # fmt: skip


@pytest.mark.parametrize(("words", "first"), [(0, "  1  20"), (1, "1    20")])
def test_words_stand_left_and_figures_right(words, first):
    out = io.StringIO()
    Console(file=out, width=40).print(rich_table(("x", "y"), [("1", "20"), ("300", "4")], words=words))
    assert [line.rstrip() for line in out.getvalue().splitlines()][1] == first


def test_what_looks_like_markup_is_shown_as_it_is():
    """Classes and files may be called so: `[wild]` was left out, and `[/x]` ended the command."""
    out = io.StringIO()
    Console(file=out, width=60).print(rich_table(("[bold]", "y"), [("cat [wild]", "[/x]")], title="a [/b]"))
    assert all(text in out.getvalue() for text in ("[bold]", "cat [wild]", "[/x]", "a [/b]"))


def test_whole_cells_are_not_broken_into_lines():
    def lines(whole):
        out = io.StringIO()
        Console(file=out, width=12).print(rich_table(("x", "y"), [("three short words", "1")], whole=whole))
        return len(out.getvalue().splitlines())

    assert lines(True) == 2 < lines(False)
