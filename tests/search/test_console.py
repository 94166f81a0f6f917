"""What a search prints: names as they are."""

from __future__ import annotations

from pathlib import Path

import pytest

from dnas.search.console import Console


@pytest.mark.parametrize("name", ["photos [old]", "a[/b]", "[bold]"])
def test_a_name_that_looks_like_markup_is_shown_as_it_is(name, capsys):
    console = Console()
    console.already(Path(name))
    console.profiled(Path(name))
    assert capsys.readouterr().out.count(name) == 2
