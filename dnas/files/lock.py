"""A lock on a folder, held by one process and given back by the system when that process ends, however it ends.

Where the system or the file system has no locks, everyone gets one: work goes on as it would without.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

LOCK = ".dnas-lock"
if sys.platform == "win32":
    import msvcrt

    def _held(handle: int) -> None:
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _held(handle: int) -> None:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


class Lock:
    """Held until `release`. Made by `taken`."""

    def __init__(self, path: Path, handle: int):
        self._path, self._handle = path, handle

    def release(self) -> None:
        """Gives the lock back and removes its file."""
        if sys.platform != "win32":
            self._path.unlink(missing_ok=True)  # while it is held: nobody else may remove a file that others wait on
        os.close(self._handle)
        if sys.platform == "win32":
            self._path.unlink(missing_ok=True)


def taken(folder: Path) -> Lock | None:
    """The folder's lock, or None where another process (or another part of this one) holds it.

    Raises `OSError` where the lock's file cannot be made.
    """
    path = folder / LOCK
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            _held(handle)
        except (BlockingIOError, PermissionError):  # as POSIX and Windows say "taken"
            os.close(handle)
            return None
        except OSError:
            pass  # no locks here
        if _is(path, handle):
            return Lock(path, handle)
        os.close(handle)  # its holder has removed it since it was opened


def held_by_another(folder: Path) -> bool:
    """Whether somebody holds the folder's lock now; makes no file. Raises `OSError` as `taken` does."""
    if not (folder / LOCK).is_file():
        return False
    lock = taken(folder)
    if lock is not None:
        lock.release()
    return lock is None


def _is(path: Path, handle: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(handle))
    except FileNotFoundError:
        return False
