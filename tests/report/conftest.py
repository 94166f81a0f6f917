"""Result folders for the tests: stored ones, which the commands wrote (`tests.report.make`), and ones made anew."""

from __future__ import annotations

from pathlib import Path

import pytest

from .make import make


@pytest.fixture(scope="session")
def made(tmp_path_factory) -> Path:
    """A folder with a run of each kind, made now by the product's commands: minutes, for slow tests."""
    home = tmp_path_factory.mktemp("made")
    make(home)
    return home
