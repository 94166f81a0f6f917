"""The report of real runs: well-formed, self-contained, every picture with data inside its frame."""

from __future__ import annotations

import json
import math
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path

import pytest

from dnas.cli.entry import call, parse
from dnas.cli.report import Arguments, main
from dnas.report.chart import Chart, Series, draw
from dnas.report.colours import DARK, LIGHT
from dnas.report.curves import smoothed
from dnas.report.gallery import scenes, sections
from dnas.report.pareto import front
from dnas.report.scene import Shape, Text, ticks, within
from dnas.report.svg import svg
from dnas.runs.read import read_run, read_runs

from .enrich import NAMES, RUNS, folder

SVG = "{http://www.w3.org/2000/svg}"


def report(*argv: str) -> int:
    return call(main, parse(Arguments, list(argv)))


@pytest.fixture(scope="module")
def pages(tmp_path_factory) -> dict[int, Path]:
    """The page of one run and of five."""
    home = tmp_path_factory.mktemp("reports")
    folders = [folder(name, home) for name in NAMES]
    made = {}
    for count in (1, 5):
        made[count] = home / f"{count}.html"
        assert report(*map(str, folders[:count]), "--out", str(made[count])) == 0
    return made


def parsed(page: Path) -> ElementTree.Element:
    """The page as XML: it is written so that HTML and XML readers agree."""
    return ElementTree.fromstring(page.read_text().removeprefix("<!DOCTYPE html>"))


@pytest.mark.parametrize("count", [1, 5])
def test_page_is_well_formed_and_asks_for_nothing(pages, count):
    text = pages[count].read_text()
    root = parsed(pages[count])
    addresses = {m for m in re.findall(r"\b[a-z]+://[^\s\"'<>]+", text)}
    assert addresses == {"http://www.w3.org/2000/svg"}, "the name space is a name, not a request"
    assert "@import" not in text and "url(" not in text
    tags = {element.tag.removeprefix(SVG) for element in root.iter()}
    assert not tags & {"script", "img", "iframe", "object", "embed", "image", "use", "audio", "video"}
    links = [e.get("href") for e in root.iter() if e.get("href") or e.get("src")]
    assert links == ["data:,"]


@pytest.mark.parametrize("count", [1, 5])
def test_every_plot_has_words_and_points_inside_its_frame(pages, count):
    plots = list(parsed(pages[count]).iter(f"{SVG}svg"))
    keys = [plot.get("data-plot") for plot in plots]
    assert len(keys) == len(set(keys)) and len(keys) > 20
    for plot in plots:
        _, _, width, height = map(float, plot.get("viewBox", "").split())
        assert plot.findtext(f"{SVG}title") and plot.findtext(f"{SVG}desc") and plot.get("role") == "img"
        points = [
            point for element in plot.iter() if "data" in element.get("class", "").split() for point in at(element)
        ]
        assert points, plot.get("data-plot")
        assert all(-0.5 <= x <= width + 0.5 and -0.5 <= y <= height + 0.5 for x, y in points), plot.get("data-plot")


def at(element: ElementTree.Element) -> list[tuple[float, float]]:
    if element.get("points"):
        return [tuple(map(float, pair.split(","))) for pair in element.get("points", "").split()]  # type: ignore[misc]
    return [(float(element.get("cx", "nan")), float(element.get("cy", "nan")))]


@pytest.mark.parametrize("count", [1, 5])
def test_has_every_plot_that_was_promised(pages, count):
    keys = {plot.get("data-plot", "") for plot in parsed(pages[count]).iter(f"{SVG}svg")}
    parted = ("loss", "accuracy") if count == 1 else ("loss-weights", "loss-choices", "accuracy-weights")
    wanted = {*parted, "expected", "multipliers", "temperature", "entropy", "skips", "tested"}
    wanted |= {"pareto-macs", "pareto-params", *(f"{kind}-{n}" for n in range(count) for kind in ("network", "layers"))}
    assert wanted <= keys
    taken = json.loads((RUNS / "tiny-0" / "architecture.json").read_text())["choices_taken"]
    assert len([key for key in keys if key.startswith("choice-")]) == len(taken)


def test_every_scene_lies_in_its_frame(tmp_path):
    runs = read_runs([folder(name, tmp_path) for name in NAMES])
    for some in (runs[:1], runs[2:3], runs):
        for scene in scenes(sections(some)):
            assert scene.has_data and within(scene), scene.key


def test_costs_and_accuracies_are_those_of_the_files(pages):
    text = pages[5].read_text()
    for name in NAMES:
        document = json.loads((RUNS / name / "architecture.json").read_text())
        assert f"{document['search']['inherited_accuracy']['settled']:.1%}" in text
        assert f"{document['costs']['macs']:,} multiply-adds" in text


def test_blocks_are_drawn_to_scale():
    """Height over channels is the same for every block: read back from the outlines."""
    run = read_run(RUNS / "tiny-1")
    scene = next(s for s in scenes(sections([run])) if s.key == "network-0")
    outlines = [i for i in scene.items if isinstance(i, Shape) and i.data and "channels" in i.note]
    assert run.network is not None and len(outlines) == len(run.network.layers)
    ratios = []
    for layer, outline in zip(run.network.layers, outlines, strict=True):
        left, right = min(p[0] for p in outline.points), max(p[0] for p in outline.points)
        edges = [(left, layer.channels_in), (right, layer.channels)]
        for x, channels in edges:
            ys = [p[1] for p in outline.points if p[0] == x]
            ratios.append((max(ys) - min(ys)) / channels)
        ys = [p[1] for p in outline.points]
        ratios.append((max(ys) - min(ys)) / max(layer.channels_in, layer.channels, layer.fields.get("hidden", 0)))
    assert max(ratios) / min(ratios) < 1 + 1e-9


def test_bars_are_in_proportion_to_costs():
    run = read_run(RUNS / "tiny-1")
    scene = next(s for s in scenes(sections([run])) if s.key == "layers-0")
    bars = [i for i in scene.items if isinstance(i, Shape) and i.data]
    assert run.network is not None
    lengths = [max(x for x, _ in b.points) - min(x for x, _ in b.points) for b in bars]
    per_mac = [length / y.macs for length, y in zip(lengths[::2], run.network.layers, strict=True) if length > 1]
    assert math.isclose(min(per_mac), max(per_mac), rel_tol=1e-9) and len(per_mac) >= 5


def test_old_histories_lack_things_and_the_page_says_so(tmp_path):
    out = tmp_path / "page.html"
    assert report(str(RUNS / "tiny-0"), "--out", str(out)) == 0
    text = out.read_text()
    assert "Not recorded in the history of this run: probabilities of the choices, skip share, phases" in text
    assert 'data-plot="loss"' in text and 'data-plot="choice-0"' not in text and 'data-plot="skips"' not in text


def test_names_cannot_break_the_page(tmp_path):
    run = folder("tiny-0", tmp_path)
    document = json.loads((run / "architecture.json").read_text())
    bad = "</title><script>alert(1)</script>\x00\x1b[31m&\"'"
    document["search"] |= {"space": bad, "warnings": [bad], "strategy": bad, "accuracy_split": bad}
    (run / "architecture.json").write_text(json.dumps(document))
    assert report(str(run)) == 0
    page = run / "report.html"
    assert not list(parsed(page).iter("script")) and "�" in page.read_text()


def test_pictures_are_png_files_of_the_same_bytes(tmp_path):
    pytest.importorskip("matplotlib")
    run = folder("tiny-0", tmp_path)
    read = []
    for name in ("a", "b"):
        assert report(str(run), "--out", str(tmp_path / "p.html"), "--png", str(tmp_path / name)) == 0
        files = sorted((tmp_path / name).iterdir())
        assert len(files) == len(scenes(sections([read_run(run)])))
        read.append([file.read_bytes() for file in files])
        assert all(data.startswith(b"\x89PNG\r\n\x1a\n") and len(data) > 2000 for data in read[-1])
    assert read[0] == read[1]


def test_runs_of_one_name_are_told_apart(tmp_path):
    runs = [folder("tiny-0", tmp_path / sub) for sub in ("a", "b")]
    assert [run.name for run in read_runs(runs)] == ["a/tiny-0", "b/tiny-0"]


def test_ticks_are_round_and_enclose():
    for low, high in [(0.0, 1.0), (0.23, 0.71), (-3.0, 17.5), (199000.0, 201500.0), (5.0, 5.0), (0.0, 1e-7)]:
        found = ticks(low, high)
        steps = {round((b - a) / (found[1] - found[0]), 6) for a, b in zip(found, found[1:], strict=False)}
        assert found[0] <= low + 1e-12 and found[-1] >= high - 1e-12 and steps == {1.0} and len(found) <= 12


def test_front_by_definition():
    points = [(1.0, 0.5), (2.0, 0.4), (2.0, 0.7), (3.0, 0.7), (4.0, 0.9)]
    slow = [p for p in points if not any(q != p and q[0] <= p[0] and q[1] >= p[1] for q in points)]
    assert front(points) == slow == [(1.0, 0.5), (2.0, 0.7), (4.0, 0.9)]


def test_running_mean_keeps_a_line():
    line = [(float(x), 3.0 * x + 1) for x in range(50)]
    assert all(math.isclose(a[1], b[1]) for a, b in zip(line, smoothed(line), strict=True))


def test_a_single_value_still_makes_a_picture():
    scene = draw(Chart("k", "t", "a", "x", "y", (Series("one", ((5.0, 2.0),), "s0"),)))
    assert scene.has_data and within(scene)
    ElementTree.fromstring(svg(replace(scene, items=(*scene.items, Text(1, 1, "<&\x01")))))


def luminance(colour: str) -> float:
    parts = [int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
def test_contrast_of_texts_and_lines(theme):
    """Against the paper: 4.5 to 1 for text, 3 to 1 for what shows values (WCAG 2.2, 1.4.3 and 1.4.11)."""

    def contrast(a: str, b: str) -> float:
        low, high = sorted((luminance(a), luminance(b)))
        return (high + 0.05) / (low + 0.05)

    for role in ("ink", "muted", "warn"):
        assert contrast(theme[role], theme["paper"]) >= 4.5 and contrast(theme[role], theme["page"]) >= 4.5, role
    for role in [f"s{n}" for n in range(8)] + [f"k{n}" for n in range(5)] + ["line", "good"]:
        assert contrast(theme[role], theme["paper"]) >= 3, role
