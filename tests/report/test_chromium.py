"""Pages in a real browser: no message on the console, no request, every chart drawn, nothing cut off or lying on
something else; the pointer is told of marks, a click shows a network; no serious fault that axe-core knows.

Each kind of run, several together and twenty with long names, at 1280 and at 390 pixels.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from dnas.report.theme import DARK, LIGHT
from dnas.report.write import write_report

from .folders import GROUPS, groups
from .make import KINDS

pytest.importorskip("vl_convert", reason="pages need dnas[report]")
BROWSER = next((p for name in ("chromium", "chromium-browser", "google-chrome") if (p := shutil.which(name))), "")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not BROWSER, reason="no Chromium is installed here"),
    pytest.mark.skipif(shutil.which("npm") is None, reason="no npm is installed here"),
]
SCRIPT = Path(__file__).with_name("browse.cjs")
ROLES = ("ink", "muted")
"""Of the texts in charts."""
LARGEST = 6_000_000
"""Bytes of a page of twenty runs."""


def browsed(modules: Path, *pages: dict[str, Any]) -> list[dict[str, Any]]:
    """What the browser found in each page."""
    command = ["node", str(SCRIPT), BROWSER, json.dumps(pages)]
    environment = {**os.environ, "NODE_PATH": str(modules)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


def check(page: Path, modules: Path, least: int = 1) -> list[dict[str, Any]]:
    """Opens a page at both widths, everything unfolded."""
    found = browsed(modules, *({"url": page.as_uri(), "width": width, "folds": True} for width in (1280, 390)))
    for width, one in zip((1280, 390), found, strict=True):
        faults = {k: one[k] for k in ("console", "requests", "empty", "over", "out", "small", "axe") if one[k]}
        assert not faults, (width, faults)
        assert one["wide"] <= width and one["charts"] >= least and one["texts"] > 30
        assert one["touched"]["tips"] == one["touched"]["tried"] > 0, one["touched"]
        assert not one["touched"]["covers"]
    return found


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, list[Path]]:
    return groups(tmp_path_factory.mktemp("runs"))


@pytest.mark.parametrize("group", GROUPS)
def test_page_in_the_browser(group, folders, modules, tmp_path):
    page = tmp_path / "page.html"
    write_report(folders[group], page)
    found = check(page, modules, 1 + (group != "compare"))
    assert page.stat().st_size < LARGEST
    if group in ("slimming", "family", "many", "all kinds"):
        assert all(one["touched"]["picked"] for one in found)


@pytest.mark.parametrize("group", ["slimming", "many"])
def test_a_page_is_printed_for_white_paper_from_a_dark_setting(group, folders, modules, tmp_path):
    write_report(folders[group], tmp_path / "page.html")
    light, dark = browsed(
        modules, *({"url": (tmp_path / "page.html").as_uri(), "width": 1280, "dark": n} for n in (0, 1))
    )

    def rgb(colour: str) -> str:
        return f"rgb({', '.join(str(int(colour[n : n + 2], 16)) for n in (1, 3, 5))})"

    assert set(light["colours"]) == set(light["printed"]) == set(dark["printed"]) == {rgb(LIGHT[k]) for k in ROLES}
    assert set(dark["colours"]) == {rgb(DARK[k]) for k in ROLES} and not dark["cut"] and not dark["axe"]


@pytest.mark.parametrize("kind", KINDS)
def test_page_of_a_run_made_now(kind, made, modules, tmp_path):
    write_report([made / kind], tmp_path / "page.html")
    check(tmp_path / "page.html", modules, 2)


def test_the_browser_reports_what_the_test_looks_for(modules, tmp_path):
    """A page with a fault of each kind: the checks above can fail."""
    faults = tmp_path / "faults.html"
    faults.write_text(
        "<!DOCTYPE html><script src='http://127.0.0.1:9/x.js'></script><script>console.error('told')</script>"
        "<p style='position:absolute;left:9px;top:9px'>one</p><p style='position:absolute;left:12px;top:14px'>two</p>"
        "<p style='position:absolute;left:380px;top:200px;width:200px'>outside</p><img src='data:,'>"
        "<p style='font-size:5px'>small</p><figure class='chart' data-key='p'>no marks</figure>"
    )
    (found,) = browsed(modules, {"url": faults.as_uri(), "width": 390})
    assert any("told" in line for line in found["console"]) and any("127.0.0.1:9" in url for url in found["requests"])
    assert found["wide"] > 390 and found["empty"] == ["p"] and found["small"] == ["small"]
    assert ["one", "two"] in [pair[:2] for pair in found["over"]] and any("image-alt" in line for line in found["axe"])
