"""What a user did wrong, in one line: where, the value found, and what would be accepted.

Every message a user can cause is a `UserError`; the command lines turn it into exit code 2 without a traceback.
`assert` and other exceptions are left for faults of our own.
"""

from __future__ import annotations

import difflib
import errno
import os
import re
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


def explained(problem: object, known: Iterable[str]) -> str:
    """A message of msgspec's, with the known field nearest to an unknown one."""
    text = str(problem)
    unknown = re.search("unknown field `(.*?)`", text)
    return text + suggestion(unknown[1], known) if unknown else text


class Diverged(UserError):
    """A run whose loss is not finite any more."""


class MissingExtra(UserError):
    """An optional package is not installed."""


class DataError(UserError):
    """Images that cannot be read while a run is on its way; what it has learned so far is saved."""


class Stopped(Exception):
    """A run that was asked to stop, and did so in good order; `str(error)` says how to continue.

    The command's exit code is the shell's for the signal: 130 for Ctrl-C, 143 for SIGTERM.

    Attributes:
        signal_number: the signal that asked, as `signal.SIGINT` or `signal.SIGTERM`.
    """

    def __init__(self, message: str, signal_number: int):
        super().__init__(message)
        self.signal_number = signal_number

    @property
    def exit_code(self) -> int:
        return 128 + self.signal_number

    @property
    def done(self) -> str:
        """What was done, without the words on how to go on."""
        return str(self).partition(";")[0]


def suggestion(name: str, known: Iterable[str]) -> str:
    """`, did you mean 'x'?` for the known name nearest to `name`, else an empty string."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f", did you mean '{near[0]}'?" if near else ""


_LIMITS = {
    errno.ENOSPC: "the disk is full; free some space, or write to another disk with --out",
    errno.EDQUOT: "your quota on this disk is used up; free some space, or write to another disk with --out",
    errno.EFBIG: "larger than this shell lets a file be (ulimit -f); raise the limit, or write less",
    errno.ENAMETOOLONG: "this name is too long for a file system; take a shorter one",
    errno.EROFS: "this file system is read-only; write to another folder with --out",
    errno.EACCES: "permission denied; check whose file or folder it is, or write to another one with --out",
    errno.EPERM: "not permitted; check whose file or folder it is, or write to another one with --out",
}
_MEMORY = "out of memory; try a smaller --batch-size or --image-size, --max-memory in a search, or close other programs"
_NO_MEMORY = re.compile(
    r"RESOURCE_EXHAUSTED|out of memory|bad_alloc|(failed|unable|cannot|can't|could not) (to )?(re)?allocate", re.I
)
_RUNTIMES = ("jax", "onnxruntime", "torch")
"""Modules whose errors may say that there is no memory, whatever they are derived from."""


def what_to_try(error: BaseException) -> str | None:
    """One line about a limit of the machine (disk, permission, memory) and what to do; None for any other error."""
    if isinstance(error, OSError) and error.errno == errno.ENOMEM or isinstance(error, MemoryError):
        return _MEMORY
    if isinstance(error, OSError):
        hint = _LIMITS.get(error.errno or 0)
        where = "standard output" if error.filename is None else error.filename
        return None if hint is None else f"{where}: {hint}"
    # Errors of XLA, onnxruntime and PyTorch: their classes differ between versions, and are not worth an import.
    if isinstance(error, RuntimeError) or type(error).__module__.startswith(_RUNTIMES):
        found = _NO_MEMORY.search(str(error))
        return found and f"{_MEMORY} ({_short(str(error)[found.start() :].partition(chr(10))[0], 160)})"
    return None


def cannot_write(path: object, error: Exception, what: str = "") -> UserError:
    """The error of a file (or of `what` in a folder) that could not be written, with what to try.

    Libraries wrap what the system said into errors of their own: its words are looked for in them.
    """
    number = error.errno if isinstance(error, OSError) else None
    said = str(error).splitlines() or [type(error).__name__]
    plain = (error.strerror if isinstance(error, OSError) else None) or said[0][:300]
    wrapped = (hint for known, hint in _LIMITS.items() if os.strerror(known) in str(error))
    hint = _LIMITS.get(number or 0) or next(wrapped, plain)
    return UserError(f"{path}: cannot write{f' {what}' if what else ''}: {hint}")


def _short(value: object, limit: int = 80) -> str:
    text = repr(value)
    if len(text) <= limit:
        return text
    # Both ends: the end of a path is what tells files apart.
    half = (limit - 3) // 2
    return f"{text[:half]}...{text[-half:]}"
