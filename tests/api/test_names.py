"""The names of `dnas` itself: imported when used, known to editors, and none of them in the way of a command."""

from __future__ import annotations

import subprocess
import sys
from importlib import resources, util

import pytest

import dnas
from dnas.cli.commands import COMMANDS

FRESH = """
import sys
before = set(sys.modules)
import dnas
names, version = dir(dnas), dnas.__version__
loaded = set(sys.modules) - before
assert not [name for name in loaded if name.startswith("dnas.")], loaded
assert not {"jax", "numpy", "yaml", "msgspec", "rich", "tyro"} & loaded, loaded
assert dnas.load("tiny").name == "tiny" and "load" in names
"""


def test_import_costs_nothing_until_a_name_is_used():
    subprocess.run([sys.executable, "-c", FRESH], check=True)


@pytest.mark.parametrize("name", dnas.__all__)
def test_every_public_name_is_there_and_explained(name):
    value = getattr(dnas, name)
    assert name in dir(dnas) and value.__doc__
    assert util.find_spec(f"dnas.{name}") is None or name == "errors"


def test_no_public_name_hides_a_command():
    assert not set(COMMANDS) & set(dnas.__all__)


def test_unknown_names_are_said_with_the_nearest():
    with pytest.raises(AttributeError, match="no attribute 'run_serch', did you mean 'run_search'"):
        dnas.run_serch  # noqa: B018


def test_type_checkers_may_read_the_package():
    assert resources.files("dnas").joinpath("py.typed").is_file()
