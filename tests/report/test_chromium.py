"""Pages in a real browser: no message on the console, no request, nothing cut off or lying on something else.

Each kind of run, several together and twenty with long names, at 1280 and at 390 pixels.
"""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from dnas.report.write import write_report

from .folders import GROUPS, groups
from .make import KINDS

BROWSER = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
pytestmark = [pytest.mark.slow, pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed here")]

OF_A_PAGE = 101845102
"""Chromium's traffic annotation of what pages load (blink_resource_loader); its own errands have others."""

MEASURE = """
<script>onload = () => {
  const page = document.querySelector('iframe').contentDocument;
  const found = {small: [], out: [], empty: [], over: [], plots: 0, texts: 0};
  page.querySelectorAll('details').forEach(d => d.open = true);
  const seen = e => { const s = getComputedStyle(e); return s.visibility === 'visible' && s.display !== 'none'; };
  found.wide = page.documentElement.scrollWidth;
  for (const svg of page.querySelectorAll('svg')) {
    const frame = svg.getBoundingClientRect();
    if (!frame.width) continue;
    found.plots += 1;
    const drawn = [...svg.querySelectorAll('.data')].filter(e => { const b = e.getBoundingClientRect();
      return b.width + b.height > 0 && seen(e); });
    if (!drawn.length) found.empty.push(svg.dataset.plot);
    const scale = frame.width / svg.viewBox.baseVal.width;
    for (const text of svg.querySelectorAll('text')) {
      const b = text.getBoundingClientRect();
      if (text.getAttribute('font-size') * scale < 9) found.small.push([svg.dataset.plot, text.textContent]);
      if (b.left < frame.left - 8 || b.right > frame.right + 8 || b.bottom > frame.bottom + 8)
        found.out.push([svg.dataset.plot, text.textContent]);
    }
  }
  // Every line of every text that is seen, in words and in pictures; those that start higher come first.
  const lines = [], walker = page.createTreeWalker(page.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode, parent = node.parentElement;
    if (!node.data.trim() || !seen(parent) || parent.closest('thead') && parent.closest('thead').clientHeight < 2
        || ['STYLE', 'title', 'desc'].includes(parent.tagName)) continue;
    const range = page.createRange();
    range.selectNodeContents(node);
    for (const b of range.getClientRects()) {
      if (b.width > 1) lines.push({b, text: node.data.trim(), node, svg: parent.closest('svg')});
      if (b.right > found.wide + 1 || b.left < -1) found.out.push(['page', node.data.trim()]);
    }
  }
  found.texts = lines.length;
  lines.sort((p, q) => p.b.top - q.b.top);
  const by = (p, q) => Math.min(p.right, q.right) - Math.max(p.left, q.left);
  const down = (p, q) => Math.min(p.bottom, q.bottom) - Math.max(p.top, q.top);
  for (let i = 0; i < lines.length; i++)
    for (let k = i + 1; k < lines.length && lines[k].b.top < lines[i].b.bottom; k++) {
      const p = lines[i], q = lines[k];
      // The box of a line has room above and below its letters: lines that share some of that do not touch.
      const slack = 0.3 * Math.min(p.b.height, q.b.height);
      if (p.node !== q.node && by(p.b, q.b) > 1 && down(p.b, q.b) > slack)
        found.over.push([p.text.slice(0, 60), q.text.slice(0, 60), p.svg ? p.svg.dataset.plot : '']);
    }
  document.body.innerHTML = '<pre id="found">' + JSON.stringify(found).replace(/&/g, '&amp;').replace(/</g, '&lt;')
    + '</pre>';
}</script>
"""


def browse(address: Path, home: Path, *flags: str) -> tuple[str, str, list[str]]:
    """The document as the browser left it, its console, and what it asked a network for."""
    log = home / "net.json"
    command = [
        str(BROWSER), "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
        "--enable-logging=stderr", f"--user-data-dir={home / 'profile'}", f"--log-net-log={log}",
        "--allow-file-access-from-files", "--window-size=1400,2000", *flags, "--dump-dom", address.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    console = "\n".join(line for line in done.stderr.splitlines() if "CONSOLE" in line)
    asked = re.findall(rf'"traffic_annotation":{OF_A_PAGE},"url":"((?:https?|wss?|ftp)://[^"]*)"', log.read_text())
    return done.stdout, console, asked


def measured(page: Path, width: int, home: Path) -> dict:
    """What is found in a page of this width; checks console and requests."""
    frame = page.with_suffix(".frame.html")
    frame.write_text(f'<iframe src="{page.name}" style="width:{width}px;height:1500px;border:0"></iframe>{MEASURE}')
    document, console, asked = browse(frame, home)
    match = re.search(r'<pre id="found">(.*?)</pre>', document, re.S)
    assert match, document[:500]
    assert console == "" and asked == []
    return json.loads(html.unescape(match.group(1)))


def check(page: Path, width: int, home: Path) -> None:
    found = measured(page, width, home)
    assert found["plots"] >= 2 and found["texts"] > 50
    assert found["empty"] == [] and found["small"] == [] and found["out"] == [] and found["over"] == []
    assert found["wide"] <= width


@pytest.fixture(scope="module")
def pages(tmp_path_factory) -> dict[str, Path]:
    """The page of each group of stored runs."""
    home = tmp_path_factory.mktemp("pages")
    made = {name: home / f"{name.replace(' ', '-')}.html" for name in GROUPS}
    for name, folders in groups(home).items():
        write_report(folders, made[name])
    return made


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("group", GROUPS)
def test_page_in_the_browser(group, width, pages, tmp_path):
    check(pages[group], width, tmp_path)


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("kind", KINDS)
def test_page_of_a_run_made_now(kind, width, made, tmp_path):
    page = tmp_path / "report.html"
    write_report([made / kind], page)
    check(page, width, tmp_path)


def test_the_browser_reports_what_the_test_looks_for(tmp_path):
    """A page with a fault of each kind: the checks above can fail."""
    bad = tmp_path / "bad.html"
    bad.write_text("<script src='http://127.0.0.1:9/x.js'></script><script>console.error('told')</script>")
    _, console, asked = browse(bad, tmp_path)
    assert "told" in console and any("127.0.0.1:9" in url for url in asked)
    faults = tmp_path / "faults.html"
    faults.write_text(
        "<!DOCTYPE html><p style='position:absolute;left:9px;top:9px'>one</p>"
        "<p style='position:absolute;left:12px;top:14px'>two</p>"
        "<p style='position:absolute;left:380px;top:200px;width:200px'>outside</p>"
        "<svg width=100 height=100 viewBox='0 0 100 100' data-plot=p><text x=10 y=50 font-size=5>small</text></svg>"
    )
    found = measured(faults, 390, tmp_path)
    assert found["wide"] > 390 and found["empty"] == ["p"]
    assert found["small"] == [["p", "small"]] and [pair[:2] for pair in found["over"]] == [["one", "two"]]
