"""Result folders for the tests: stored ones, which the commands wrote (`tests.report.make`), and ones made anew."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from .make import make


@pytest.fixture(scope="session")
def made(tmp_path_factory) -> Path:
    """A folder with a run of each kind, made now by the product's commands: minutes, for slow tests."""
    home = tmp_path_factory.mktemp("made")
    make(home)
    return home


@pytest.fixture(scope="session")
def modules(tmp_path_factory) -> Path:
    """playwright-core and axe-core, from npm."""
    home = tmp_path_factory.mktemp("npm")
    command = ["npm", "install", "--silent", "--no-audit", "--no-fund", "playwright-core@1", "axe-core@4"]
    done = subprocess.run(command, cwd=home, capture_output=True, text=True, timeout=600)
    if done.returncode:
        pytest.skip(f"npm gives no playwright-core and axe-core: {done.stderr.strip()[-200:]}")
    return home / "node_modules"
