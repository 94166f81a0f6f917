"""No text of a picture lies on another one, and everything lies in the picture, for every kind of run."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import pytest

from dnas.report.chart import Chart, Series, draw
from dnas.report.gallery import Card, sections
from dnas.report.labels import Box, text_box
from dnas.report.scene import Scene, Text, within
from dnas.runs.read import read_runs

from .folders import GROUPS, groups


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, list[Path]]:
    return groups(tmp_path_factory.mktemp("layout"))


def pictures(card: Card) -> list[Scene]:
    return [card.scene] + ([] if card.narrow is None else [card.narrow])


def overlapping(scene: Scene, slack: float = 1.0) -> list[tuple[str, str]]:
    """Pairs of texts whose rooms meet by more than `slack` on both axes."""
    boxes = [(item.text, text_box(item)) for item in scene.items if isinstance(item, Text)]
    small = [(text, Box(b.x0 + slack, b.y0 + slack, b.x1 - slack, b.y1 - slack)) for text, b in boxes]
    return [(a, b) for (a, one), (b, other) in combinations(small, 2) if one.meets(other)]


@pytest.mark.parametrize("group", GROUPS)
def test_texts_lie_in_their_picture_and_not_on_each_other(group, folders):
    for section in sections(read_runs(folders[group])):
        for scene in (scene for card in section.cards for scene in pictures(card)):
            assert scene.has_data and within(scene), (group, scene.key)
            assert overlapping(scene) == [], (group, scene.key)
            frame = Box(-4, -4, scene.width + 4, scene.height + 4)
            out = [i.text for i in scene.items if isinstance(i, Text) and not frame.holds(text_box(i))]
            assert out == [], (group, scene.key)


def test_names_of_crowded_dots_and_close_lines_are_kept_apart():
    """Twelve dots within a few pixels, three reference lines within one: what has no room is left to its note."""
    points = tuple((1.0 + 0.001 * n, 0.5 + 0.0005 * n) for n in range(12))
    tags = tuple(f"a long name {n}" for n in range(12))
    lines = ((0.5, "one line"), (0.501, "a second line"), (0.502, "a third line"))
    chart = Chart(
        "k", "t", "a", "x", "y", (Series("s", points, "s0", dots=True, tags=tags),), lines, ((1.0, "m"), (1.001, "n"))
    )
    scene = draw(chart)
    assert overlapping(scene) == []
    shown = {item.text for item in scene.items if isinstance(item, Text)}
    assert {name for _, name in lines} <= shown and len(shown & set(tags)) >= 4


def test_the_check_finds_an_overlap():
    scene = Scene("k", "t", "a", 100, 100, (Text(10, 50, "one text"), Text(20, 53, "another")))
    assert overlapping(scene) == [("one text", "another")]
