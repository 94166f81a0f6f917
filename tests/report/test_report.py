"""The report of real runs: one offline page, every chart valid and with data, the numbers those of the files."""

from __future__ import annotations

import json
import math
import re
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from dnas.cli.entry import call, parse
from dnas.cli.report import Arguments, main
from dnas.judge.beside import front
from dnas.judge.importance import cost_ranges, explained
from dnas.report.network import network_svg
from dnas.report.sections import sections
from dnas.report.spec import Chart
from dnas.report.theme import DARK, LIGHT
from dnas.report.why import spent
from dnas.report.write import read
from dnas.runs.candidates import Candidate, candidates
from dnas.runs.evaluation import EVALUATION
from dnas.runs.read import read_run, read_runs
from dnas.runs.run import Search

from .enrich import NAMES, RUNS, folder
from .folders import GROUPS, STORED, copied, groups, unfinished

vl_convert = pytest.importorskip("vl_convert", reason="pages need dnas[report]")


QUICK = ("family", "trained", "five old")


def report(*argv: str) -> int:
    return call(main, parse(Arguments, list(argv)))


class Parsed(HTMLParser):
    """Elements with their attributes."""

    def __init__(self, text: str):
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))


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


@pytest.mark.parametrize("count", [1, 5])
def test_a_page_asks_for_nothing(pages, count):
    text = pages[count].read_text()
    assert vl_convert.javascript_bundle() in text
    own = text.replace(vl_convert.javascript_bundle(), "")
    assert not re.findall(r"\b(?:https?|ftp|wss?)://[^\s\"'<>]+", own) and "@import" not in own and "url(" not in own
    found = Parsed(own).elements
    assert not {tag for tag, _ in found} & {"img", "iframe", "object", "embed", "image", "use", "audio", "video"}
    assert [a["href"] for _, a in found if a.get("href")] == ["data:,"] and not [a for _, a in found if a.get("src")]
    assert any("default-src 'none'" in (a.get("content") or "") for _, a in found)


def test_equal_runs_give_equal_bytes(tmp_path):
    run = folder("tiny-0", tmp_path)
    for name in "ab":
        assert report(str(run), "--out", str(tmp_path / name)) == 0
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def charts(runs: list[Path]) -> list[Chart]:
    return [chart for section in sections(*read(runs)) for chart in section.charts]


SLOW = [pytest.param(kind, marks=pytest.mark.slow) for kind in GROUPS if kind not in QUICK]


@pytest.mark.parametrize("kind", [*QUICK, *SLOW])
def test_every_chart_is_valid_and_has_data(kind, tmp_path):
    made = charts(groups(tmp_path)[kind])
    assert len(made) >= 1 + (kind != "compare") and len({chart.key for chart in made}) == len(made)
    for chart in made:
        assert chart.spec["data"]["values"] and chart.about.endswith(".") and chart.title
        compiled = vl_convert.vegalite_to_vega({**chart.spec, "width": 300})
        assert compiled["marks"], chart.key
        fields = {name for row in chart.spec["data"]["values"] for name in row}
        for one in (one for one in chart.spec["layer"] if "data" not in one and "transform" not in one):
            used = {c["field"] for c in one["encoding"].values() if isinstance(c, dict) and "field" in c}
            assert used <= fields, (chart.key, used - fields)


def test_the_answer_stands_before_the_reasons_and_the_optimiser_last_and_folded(pages):
    titles = re.findall(r"<h2>(.*?)</h2>", pages[1].read_text())
    wanted = [
        "The network",
        "How good it is",
        "Why: what was chosen",
        "Why: where the budget goes",
        "How it was learned",
    ]
    assert [title for title in titles if title in wanted] == wanted
    assert "<details><summary><h2>How it was learned" in pages[1].read_text()
    assert pages[1].read_text().index("Is it good?") < pages[1].read_text().index("<h2>The network")


def test_what_was_not_recorded_is_said(tmp_path):
    assert report(str(RUNS / "tiny-0"), "--out", str(tmp_path / "page.html")) == 0
    text = (tmp_path / "page.html").read_text()
    assert re.search("Not recorded: [^<]*Skip share", text) and 'data-key="loss"' in text
    assert 'data-key="choices-0"' not in text and 'data-key="skips"' not in text


def test_costs_and_accuracies_are_those_of_the_files(pages):
    text = pages[5].read_text()
    for name in NAMES:
        document = json.loads((RUNS / name / "architecture.json").read_text())
        assert f"{document['search']['inherited_accuracy']['settled']:.1%}" in text
        assert f'data-value="{document["costs"]["macs"]}"' in text
    specs = {c.key: c.spec for c in charts([RUNS / name for name in NAMES])}
    costs = [row["cost"] for row in specs["pareto-MACs-0"]["data"]["values"]]
    assert costs == [json.loads((RUNS / n / "architecture.json").read_text())["costs"]["macs"] for n in NAMES]


def test_a_point_of_a_chart_names_a_network_that_the_page_has(tmp_path):
    runs = [copied("slimming", tmp_path), copied("family", tmp_path), copied("trained", tmp_path)]
    page = tmp_path / "page.html"
    assert report(*map(str, runs), "--out", str(page)) == 0
    there = set(re.findall(r'<template data-network="([\d-]+)">', page.read_text()))
    named = {row["network"] for c in charts(runs) for row in c.spec["data"]["values"] if row.get("network")}
    assert named and named == there and {"0", "1", "2", "0-0", "1-0"} <= there


def test_blocks_are_drawn_to_scale():
    """Height over channels is the same for every block: read back from the outlines."""
    network = read_run(RUNS / "tiny-1").network
    assert network is not None
    outlines = re.findall(r'<polygon points="([^"]*)"', network_svg("n", network))
    assert len(outlines) == len(network.layers)
    ratios = []
    for layer, outline in zip(network.layers, outlines, strict=True):
        points = [tuple(map(float, pair.split(","))) for pair in outline.split()]
        left, right = min(x for x, _ in points), max(x for x, _ in points)
        for x, channels in ((left, layer.channels_in), (right, layer.channels)):
            ys = [y for at, y in points if at == x]
            ratios.append((max(ys) - min(ys)) / channels)
    assert max(ratios) / min(ratios) < 1 + 1e-3


def test_layers_have_their_shares_and_milliseconds_where_a_table_has_them():
    network = read_run(RUNS / "tiny-1").network
    assert network is not None
    timed = replace(network, times={"desk": {y.path: 1.0 + n for n, y in enumerate(network.layers)}})
    rows = spent(timed).spec["data"]["values"]
    assert {row["what"] for row in rows} == {"MACs", "params", "ms desk"}
    for what in ("MACs", "params", "ms desk"):
        assert math.isclose(sum(row["share"] for row in rows if row["what"] == what), 1)
    assert rows[2]["amount"] == "1.000 ms"


def test_what_a_choice_changes_of_the_cost_is_exact():
    run = read_run(STORED / "slimming")
    assert isinstance(run, Search) and run.network is not None
    ranges = {name: (low, high, now) for name, low, high, now in cost_ranges(run)}
    assert set(ranges) == set(run.taken)
    assert all(low <= now <= high and now == run.network.counted.macs for low, high, now in ranges.values())
    assert all(ranges[name][0] == ranges[name][1] for name in run.unused)


def test_importance_is_the_share_of_variance_that_goes_with_a_choice():
    found = [Candidate("", "", value, taken={"a": a, "b": b}) for a, b, value in
             ((0, 0, 0.1), (0, 1, 0.1), (1, 0, 0.5), (1, 1, 0.5))]  # fmt: skip
    assert dict(explained(found)) == pytest.approx({"a": 1.0, "b": 0.0})
    assert explained(found[:2]) == [] and explained([]) == []


def test_candidates_are_those_of_the_files():
    family = candidates(read_run(STORED / "family"))
    assert {one.origin for one in family} == {"chain", "family"}
    for one in family:
        assert one.network is not None and one.costs["MACs"] == one.network.counted.macs and one.taken
    raced = candidates(read_run(STORED / "dmasking"))
    assert "fbnetv2_f0, scaled" in [one.name for one in raced] and all(one.network is None for one in raced)


@pytest.mark.parametrize("kind", ["random", "evolution"])
def test_networks_that_were_sampled_are_drawn_choice_by_choice(kind):
    run = read_run(STORED / kind)
    assert isinstance(run, Search)
    found = candidates(run)
    assert [one.origin for one in found] == ["drawn evenly"] * 4 + [{"random": "drawn evenly"}.get(kind, "evolved")] * 4
    best = max(found, key=lambda one: one.accuracy)
    assert best.accuracy == run.facts.share_accuracy and best.costs == {"MACs": run.facts.budgets[0].cost}
    assert {n: o for n, o in best.taken.items() if n not in run.unused} == {
        n: o for n, o in run.taken.items() if n not in run.unused
    }
    made = {chart.key: chart.spec["data"]["values"] for chart in charts([STORED / kind])}
    assert len({row["candidate"] for row in made["tried"]}) == len(made["met-MACs"]) == 8 and made["matters-loss"]
    assert not any("drawn evenly" in row["name"] for row in made["against"])


def test_an_evaluation_in_the_folder_is_a_confusion_matrix(tmp_path):
    run = copied("trained", tmp_path)
    (run / EVALUATION).write_text(json.dumps({"classes": ["a", "b"], "confusion": [[3, 1], [0, 4]], "split": "test"}))
    (chart,) = (chart for chart in charts([run]) if chart.key.startswith("confusion"))
    assert [row["images"] for row in chart.spec["data"]["values"]] == [3, 1, 0, 4]


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [("classes", 2, "classes: Expected"), ("classes", {"a": 1, "b": 2}, "classes: Expected"),
     ("confusion", 5, "confusion: Expected"), ("confusion", ["ab", "cd"], "confusion.0: Expected"),
     ("confusion", [[1, None], [3, 4]], "confusion.0.1: Expected"), ("confusion", [[1], [2]], "for each class"),
     ("split", {}, "split: Expected")],
)  # fmt: skip
def test_a_damaged_evaluation_is_one_line(key, value, said, tmp_path, capsys):
    run = copied("trained", tmp_path)
    whole = {"classes": ["a", "b"], "confusion": [[3, 1], [0, 4]], "split": "test"}
    (run / EVALUATION).write_text(json.dumps({**whole, key: value}))
    assert report(str(run)) == 2
    message = capsys.readouterr().err
    assert EVALUATION in message and said in message and message.count("\n") == 1


def test_names_cannot_break_the_page(tmp_path):
    run = folder("tiny-0", tmp_path)
    document = json.loads((run / "architecture.json").read_text())
    bad = "</title></script><script>alert(1)</script>&\"'"
    document["search"] |= {"space": bad, "warnings": [bad], "strategy": bad, "accuracy_split": bad}
    (run / "architecture.json").write_text(json.dumps(document))
    assert report(str(run)) == 0
    text = (run / "report.html").read_text()
    assert "<script>alert" not in text
    assert len(re.findall("<script>", text.replace(vl_convert.javascript_bundle(), ""))) == 2


def test_pictures_are_png_files_of_the_same_bytes(tmp_path):
    run = unfinished("trained", tmp_path, 2)
    read = []
    for name in ("a", "b"):
        assert report(str(run), "--out", str(tmp_path / "p.html"), "--png", str(tmp_path / name)) == 0
        files = sorted((tmp_path / name).iterdir())
        assert len(files) == len(charts([run])) > 1
        read.append([file.read_bytes() for file in files])
        assert all(data.startswith(b"\x89PNG\r\n\x1a\n") and len(data) > 2000 for data in read[-1])
    assert read[0] == read[1]


@pytest.mark.slow
def test_every_picture_of_a_search_is_made(tmp_path):
    run = copied("slimming", tmp_path)
    assert report(str(run), "--out", str(tmp_path / "p.html"), "--png", str(tmp_path / "png")) == 0
    files = sorted((tmp_path / "png").iterdir())
    assert len(files) == 1 + len(charts([run])) and "network-0" in files[0].name


def test_without_its_extra_one_line_says_what_to_install(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    assert report(str(copied("random", tmp_path)), "--out", str(tmp_path / "p.html")) == 2
    assert "install dnas[report]" in capsys.readouterr().err and not (tmp_path / "p.html").exists()


def test_runs_of_one_name_are_told_apart(tmp_path):
    runs = [folder("tiny-0", tmp_path / sub) for sub in ("a", "b")]
    assert [run.name for run in read_runs(runs)] == ["a/tiny-0", "b/tiny-0"]


def test_front_by_definition():
    points = [(1.0, 0.5), (2.0, 0.4), (2.0, 0.7), (3.0, 0.7), (4.0, 0.9)]
    slow = [p for p in points if not any(q != p and q[0] <= p[0] and q[1] >= p[1] for q in points)]
    assert front(points) == slow == [(1.0, 0.5), (2.0, 0.7), (4.0, 0.9)]


def test_long_courses_are_thinned_and_keep_their_end(tmp_path):
    run = unfinished("slimming", tmp_path, 26)
    rows = [json.loads(line) for line in (run / "history.partial.jsonl").read_text().splitlines()]
    many = [{**rows[0], "chain": {}, "step": step, "loss": 1 / step} for step in range(1, 5001)]
    (run / "history.partial.jsonl").write_text("".join(json.dumps(row) + "\n" for row in many))
    (loss,) = (chart for chart in charts([run]) if chart.key == "loss")
    steps = [row["at"] for row in loss.spec["data"]["values"] if row["what"] == "weights"]
    assert len(steps) <= 400 and steps[-1] == 5000 and steps == sorted(steps)


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
