"""What libraries write past Python to stderr: dropped where the caller knows of it, kept where the block fails."""

from __future__ import annotations

import os

import pytest

from dnas.process.native import unheard


def test_what_is_written_past_python_is_dropped(capfd):
    with unheard():
        os.write(2, b"a stack trace")
    os.write(2, b"after")
    assert capfd.readouterr().err == "after"


def test_what_was_written_before_a_failure_is_told(capfd):
    with pytest.raises(ValueError), unheard():
        os.write(2, b"why\n")
        raise ValueError
    os.write(2, b"after")
    assert capfd.readouterr().err == "why\nafter"
