"""The page in a real browser: no message on the console, no request, nothing cut off at 1280 and 390 pixels."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from dnas.report.write import write_report

from .enrich import NAMES, folder

BROWSER = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
pytestmark = [pytest.mark.slow, pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed here")]

OF_A_PAGE = 101845102
"""Chromium's traffic annotation of what pages load (blink_resource_loader); its own errands have others."""

MEASURE = """
<script>onload = () => {
  const page = document.querySelector('iframe').contentDocument, found = {small: [], out: [], empty: [], plots: 0};
  page.querySelectorAll('details').forEach(d => d.open = true);
  found.wide = page.documentElement.scrollWidth;
  for (const svg of page.querySelectorAll('svg')) {
    const frame = svg.getBoundingClientRect();
    if (!frame.width) continue;
    found.plots += 1;
    const drawn = [...svg.querySelectorAll('.data')].filter(e => { const b = e.getBoundingClientRect();
      return b.width + b.height > 0 && getComputedStyle(e).visibility === 'visible'; });
    if (!drawn.length) found.empty.push(svg.dataset.plot);
    const scale = frame.width / svg.viewBox.baseVal.width;
    for (const text of svg.querySelectorAll('text')) {
      const b = text.getBoundingClientRect();
      if (text.getAttribute('font-size') * scale < 9) found.small.push([svg.dataset.plot, text.textContent]);
      if (b.left < frame.left - 8 || b.right > frame.right + 8 || b.bottom > frame.bottom + 8)
        found.out.push([svg.dataset.plot, text.textContent]);
    }
  }
  document.body.innerHTML = '<pre id="found">' + JSON.stringify(found).replace(/</g, '&lt;') + '</pre>';
}</script>
"""


def browse(address: Path, home: Path, *flags: str) -> tuple[str, str, list[str]]:
    """The document as the browser left it, its console, and what it asked a network for."""
    log = home / "net.json"
    command = [
        str(BROWSER), "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
        "--no-first-run", "--disable-dev-shm-usage", "--enable-logging=stderr", f"--user-data-dir={home / 'profile'}",
        f"--log-net-log={log}", "--allow-file-access-from-files", "--window-size=1400,2000", *flags, "--dump-dom",
        address.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    console = "\n".join(line for line in done.stderr.splitlines() if "CONSOLE" in line)
    asked = re.findall(rf'"traffic_annotation":{OF_A_PAGE},"url":"((?:https?|wss?|ftp)://[^"]*)"', log.read_text())
    return done.stdout, console, asked


@pytest.mark.parametrize("count", [1, 5])
@pytest.mark.parametrize("width", [1280, 390])
def test_page_in_the_browser(count, width, tmp_path):
    folders = [folder(name, tmp_path, chain=name == "tiny-3") for name in NAMES[:count]]
    page = tmp_path / "report.html"
    write_report(folders, page)
    frame = tmp_path / "frame.html"
    frame.write_text(f'<iframe src="report.html" style="width:{width}px;height:1500px;border:0"></iframe>{MEASURE}')
    document, console, asked = browse(frame, tmp_path)
    match = re.search(r'<pre id="found">(.*?)</pre>', document, re.S)
    assert match, document[:500]
    found = json.loads(html.unescape(match.group(1)))
    assert console == "" and asked == []
    assert found["plots"] > 20
    assert found["empty"] == [] and found["small"] == [] and found["out"] == []
    assert found["wide"] <= width


def test_the_browser_reports_what_the_test_looks_for(tmp_path):
    """A page with a fault of each kind: the check above can fail."""
    bad = tmp_path / "bad.html"
    bad.write_text("<script src='http://127.0.0.1:9/x.js'></script><script>console.error('told')</script>")
    _, console, asked = browse(bad, tmp_path)
    assert "told" in console and any("127.0.0.1:9" in url for url in asked)
