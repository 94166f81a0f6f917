"""The page that follows runs, open in a browser while a search runs, is killed, goes on and ends."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .test_chromium import BROWSER, pytestmark
from .test_live import get

__all__ = ["pytestmark"]
ROOT = Path(__file__).parents[2]
WATCH = Path(__file__).with_name("watch.cjs")
PATIENCE = 600
"""Seconds for anything that is waited for: a search compiles first."""


@contextmanager
def started(*command: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """A process that ends with the block."""
    known = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT, text=True, env=known)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def asking(watch: subprocess.Popen[str]) -> Callable[[str], Any]:
    """What gives the value of an expression in the page."""

    def ask(expression: str) -> Any:
        assert watch.stdin is not None and watch.stdout is not None
        print(expression, file=watch.stdin, flush=True)
        return json.loads(watch.stdout.readline())

    return ask


def waited(told: Callable[[], Any]) -> Any:
    """The first value that is not false."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        if found := told():
            return found
        time.sleep(0.3)
    raise AssertionError("nothing came")


def test_the_page_follows_a_search_that_is_killed_and_goes_on(modules, tmp_path):
    runs, secret = tmp_path / "runs", tmp_path / "secret"
    runs.mkdir()
    secret.mkdir()
    (secret / "architecture.json").write_text("{}")
    python = (sys.executable, "-m")
    words = ("tiny", "--preset", "smoke", "--budget", "150kFLOPs", "--epochs", "1", "--checkpoint-every", "0")
    search = (*python, "dnas.search", *words, "--out", str(runs / "mine"))
    with started(*python, "dnas.report", "--live", str(runs)) as server:
        assert server.stdout is not None
        address = re.search(r"http://127\.0\.0\.1:(\d+)/", server.stdout.readline())
        assert address
        port = int(address[1])
        with started("node", str(WATCH), BROWSER, address[0], NODE_PATH=str(modules)) as watch:
            ask = asking(watch)

            def text() -> str:
                return ask("document.body.innerText")

            def step() -> int:
                return int(found[1]) if (found := re.search(r"after step (\d+)", text())) else 0

            assert "No run yet" in text()
            with started(*search) as first:
                reached = waited(step)
                waited(lambda: step() > reached)
                first.send_signal(signal.SIGKILL)
                assert first.wait() == -signal.SIGKILL
            reached = waited(step)
            assert "still running, or was stopped" in text() and "--resume" in text()
            assert ask("document.querySelectorAll('figure.chart').length") > 3
            with started(*search, "--resume") as second:
                waited(lambda: step() > reached)
                said, _ = second.communicate(timeout=PATIENCE)
                assert second.returncode == 0, said[-2000:]
            waited(lambda: "Train the network found" in text() and "not ended" not in text())
            accuracy = ask("document.querySelector('.tile .value').textContent")
            found = json.loads((runs / "mine" / "architecture.json").read_text())["search"]["inherited_accuracy"]
            assert accuracy.startswith(f"{100 * found['settled']:.1f}%")
            assert ask("window.dnas.drawAll().then(() => document.querySelectorAll('.plot svg').length)") > 3
            assert [line for line in ask("messages") if "503" not in line] == []  # asked while a file was replaced
            climbing = ("/../secret", "/%2e%2e/secret", "/mine/../../secret", "/mine/%2e%2e/%2e%2e/secret")
            assert [get(port, path)[0] for path in climbing] == [404] * len(climbing)
            assert not (runs / "mine" / "report.html").exists()
            server.send_signal(signal.SIGINT)
            assert server.wait(60) == 130
            waited(lambda: "The server has ended" in text())
