"""What a user did wrong, in one line: where, the value found, and what would be accepted.

Every message a user can cause is a `UserError`; the command lines turn it into exit code 2 without a traceback.
`assert` and other exceptions are left for faults of our own.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """A mistake in the user's input; `str(error)` is the whole message."""


class InputError(UserError):
    """A bad value in a file or option: `file:line: place: problem (found ..., accepted: ...)`."""

    def __init__(self, where: str, problem: str, *, found: object = None, accepted: object = None):
        notes = []
        if found is not None:
            notes.append(f"found {_short(found)}")
        if accepted is not None:
            notes.append(f"accepted: {accepted}")
        super().__init__(f"{where}: {problem}" + (f" ({'; '.join(notes)})" if notes else ""))


class MissingExtra(UserError):
    """An optional package is not installed."""


class Stopped(Exception):
    """A run that was asked to stop, and did so in good order; `str(error)` says how to continue.

    The command's exit code is the shell's for the signal: 130 for Ctrl-C, 143 for SIGTERM.
    """

    def __init__(self, message: str, signal_number: int):
        super().__init__(message)
        self.exit_code = 128 + signal_number


def suggestion(name: str, known: Iterable[str]) -> str:
    """`, did you mean 'x'?` for the known name nearest to `name`, else an empty string."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f", did you mean '{near[0]}'?" if near else ""


def _short(value: object, limit: int = 80) -> str:
    text = repr(value)
    return text if len(text) <= limit else text[: limit - 3] + "..."
