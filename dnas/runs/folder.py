"""Whose a result's folder is: one run's at a time, and no other's result is replaced without being asked to.

    with claimed(out, Owner("search", identity), Claiming(numbered=True, resume=True), say) as claim:
        if claim.finished:
            return
        ...
        with claim.result(check) as staged:
            write_json(staged / "provenance.json", provenance() | claim.record(staged))

A run that has begun leaves `run.json` until its result is whole, so that its folder is its own from the first moment;
the result's own identity stands in `provenance.json`. While the run is at work it holds the folder's lock.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dnas.errors import InputError, UserError, cannot_write
from dnas.files import plain, read_document, sets, text_of, write_json
from dnas.files.lock import LOCK, held_by_another, taken
from dnas.process import hosts
from dnas.runs.identity import told_apart

BEGUN = "run.json"
CHECKPOINTS = "checkpoints"
PARTIAL = "history.partial.jsonl"
PROVENANCE = "provenance.json"
SPACE_FILE, SPACE_EVOLUTION = "space.yaml", "space_evolution.json"
"""Of a search that changes its space: the last one, and how it came about."""
FORMER = "former.json"
"""What such a search has learned in the spaces before the one that it is in."""
PARTS = "trainings"
"""Folder of the runs that a comparison is made of; they stay when it has ended."""
SEEDS = "seeds"
"""Folder of the runs of one command with several seeds; they stay as well."""
UNFINISHED = (CHECKPOINTS, PARTIAL, FORMER)
"""What a run leaves while it is at work, beside `BEGUN`."""
RESULT = (
    "architecture.json", "weights.safetensors", "history.jsonl", PROVENANCE, "preprocessor_config.json", "recipe.yaml",
    "chain.json", "chain.png", "chain", "family", "family.json", "family.md", SPACE_FILE, SPACE_EVOLUTION,
    "space_evolution.png", "spaces", "comparison.json", "comparison.md", "comparison.png", "compression.md",
    "patches.png", "joint.json", "joint.md", "joint.png", PARTS, "seeds.json", "seeds.md", SEEDS,
)  # fmt: skip
"""What results consist of. A folder that holds a file of such a name, and no run, is somebody's."""


@dataclass(frozen=True)
class Owner:
    """Whose a folder is: the command, and everything that its result depends on (JSON values)."""

    command: str
    identity: Mapping[str, Any]

    def record(self) -> dict[str, Any]:
        """As JSON values."""
        return {"run": self.command, "identity": plain(self.identity)}

    def is_that_of(self, record: Mapping[str, Any] | None) -> bool:
        """Whether a folder's record is of this very run."""
        return record is not None and record.get("identity") == plain(self.identity)

    def told_from(self, record: Mapping[str, Any]) -> str:
        """What differs, where `record` is another run's."""
        other = record.get("run", self.command)
        if other != self.command:
            return f"of dnas.{other} there, of dnas.{self.command} here"
        return told_apart(record.get("identity"), plain(self.identity))


@dataclass(frozen=True)
class Claiming:
    """How a folder is claimed."""

    numbered: bool = False
    """The folder's name is ours, not the user's: where another run has it, one with a number is taken."""
    resume: bool = False
    """Go on from the checkpoints in the folder; their reader refuses another run's."""
    overwrite: bool = False
    """Whatever is in the folder may be replaced."""
    reader_decides: bool = True
    """Of another run's checkpoints their reader says whether they may be continued (`--force`); else nobody may."""


@dataclass(frozen=True)
class Holding:
    """What a folder holds that a run would meet."""

    begun: Mapping[str, Any] | None
    """Record of a run that has not ended."""
    result: Mapping[str, Any] | None
    """Record of a whole result."""
    unclaimed: tuple[str, ...]
    """Files under names that a run writes, of nobody that could be named."""
    checkpoints: bool
    """Whether there is something to go on from."""

    @property
    def nothing(self) -> bool:
        """Whether the folder is free."""
        return self.begun is None and self.result is None and not self.unclaimed

    def belongs_to(self, run: Owner) -> bool:
        """Whether what the folder holds is of this run."""
        return run.is_that_of(self.result if self.begun is None else self.begun)


@dataclass(frozen=True)
class Claim:
    """A folder that is this run's own for now."""

    folder: Path
    run: Owner
    finished: bool = False
    """The run was to be resumed, and its whole result is there."""
    anew: bool = False
    """Checkpoints of this very run are there, and it was not to be resumed."""
    replaces: Mapping[str, str] = field(default_factory=dict)
    """Runs of a former command with several seeds that this one was told to replace, now or when it was begun: name in
    `SEEDS` -> what stood there then (`standing`)."""
    _former: tuple[str, ...] = field(default=(), repr=False)

    @contextmanager
    def result(self, check: Callable[[Path], None]) -> Iterator[Path]:
        """A folder to write the result's files into; when the block ends they replace a former result, as a set.

        `check` reads them back. The run has ended then: what it left on its way is removed.
        """
        with sets.replacing(self.folder, self._former, check) as staged:
            yield staged
        _tidy(self.folder)

    def record(self, staged: Path) -> dict[str, Any]:
        """What `provenance.json`, the last file written, says of the run: its identity and its files."""
        return {**self.run.record(), "files": sorted({*sets.names(staged), PROVENANCE})}


@contextmanager
def claimed(out: Path, run: Owner, claiming: Claiming, say: Callable[[str], None]) -> Iterator[Claim]:
    """The folder as this run's own, until the block ends.

    `say` is told where it is another one than `out`, and where the run begins anew beside checkpoints of its own.

    Raises:
        UserError: the folder cannot be made or written, another process is at work in it, or it holds what is not
            this run's; only a folder that the user named is refused.
    """
    try:
        str(out.absolute()).encode("utf-8")
    except UnicodeEncodeError as error:
        accepted = "a folder whose whole path is; checkpoints need it"
        raise InputError(f"--out {text_of(str(out.absolute()))}", "not UTF-8 text", accepted=accepted) from error
    if "\0" in str(out):
        raise InputError(f"--out {text_of(str(out))}", "not a folder's name", accepted="one without null characters")
    with ExitStack() as stack:
        for folder in _numbered(out, run, claiming) if claiming.numbered else [out]:
            claim = _taken(folder, run, claiming, stack)
            if claim is not None:
                break
        else:
            raise UserError(f"--out {out}: another run is at work in this folder; wait for it, or name another folder")
        if claim.folder != out:
            say(_why(out, claim))
        if claim.anew:
            say(f"{claim.folder} holds this run's checkpoints; it begins anew (--resume would go on from them)")
        yield claim


@contextmanager
def claimed_by_first(
    out: Path, run: Owner, claiming: Claiming, say: Callable[[str], None]
) -> Iterator[tuple[Claim | None, bool]]:
    """As `claimed`, by the first process of a run: the claim, None in its other processes, and whether the run has
    ended already. All of them leave the block together."""
    with ExitStack() as stack:
        claim = None if hosts.follows() else stack.enter_context(claimed(out, run, claiming, say))
        yield claim, hosts.agreed(claim is not None and claim.finished)
    hosts.agreed(None)


def holding(folder: Path) -> Holding:
    """What the folder holds; nothing where there is no such folder."""
    begun, result = (_record(folder / name) for name in (BEGUN, PROVENANCE))
    unclaimed = (() if begun else (BEGUN, *UNFINISHED)) + (() if result else RESULT)
    there = tuple(name for name in unclaimed if os.path.lexists(sets.current(folder / name)))
    return Holding(begun, result, there, _behind(folder))


def files_of_result(folder: Path) -> tuple[str, ...]:
    """Names of the files of the whole result that a folder holds; none where it holds no run's."""
    held = holding(folder)
    return () if held.result is None else _files(folder, held)


def standing(run: Path) -> str:
    """A digest of whose a run's folder is; another one as soon as another run begins or ends there."""
    found = hashlib.sha256()
    for file in (sets.current(run / name) for name in (BEGUN, PROVENANCE)):
        found.update(hashlib.sha256(file.read_bytes() if file.is_file() else b"").digest())
    return found.hexdigest()


def still_stands(run: Path, former: str | None) -> bool:
    """Whether a folder is as it was when `standing` gave `former`; None is of a folder that was not there."""
    return former is not None and standing(run) == former


def _numbered(out: Path, run: Owner, claiming: Claiming) -> Iterator[Path]:
    """The folders to try: this run's own, then those that hold nothing, then new ones."""
    number = re.compile(re.escape(out.name) + r"-([2-9]|[1-9]\d+)")
    there = {1: out} if out.exists() else {}
    for path in out.parent.glob("*") if out.parent.is_dir() else ():
        if found := number.fullmatch(path.name):
            there[int(found[1])] = path
    held = {n: holding(there[n]) for n in sorted(there)}
    own = [n for n, h in held.items() if h.belongs_to(run)]
    yield from (there[n] for n in sorted(own, key=lambda n: held[n].begun is None))
    for n in itertools.count(1):
        if n not in there or held[n].nothing:
            yield there.get(n, out if n == 1 else out.with_name(f"{out.name}-{n}"))


def _taken(folder: Path, run: Owner, claiming: Claiming, stack: ExitStack) -> Claim | None:
    """The claim, its release left to `stack`; None where another process has the folder."""
    try:
        if held_by_another(folder):
            return None
        if not claiming.numbered:
            _check(folder, run, claiming, holding(folder))  # before anything is written into a folder of others
        if (folder / CHECKPOINTS).is_symlink():
            where, accepted = f"--out {folder}: {CHECKPOINTS}", "a folder; the run's whole folder may be a link"
            raise InputError(where, "a link, whose checkpoints could not be removed", accepted=accepted)
        made = not folder.exists()
        folder.mkdir(parents=True, exist_ok=True)
        lock = taken(folder)
        if lock is None:
            return None
        with ExitStack() as undo:
            undo.callback(lock.release)
            sets.finish(folder)
            held = holding(folder)
            if not claiming.numbered:
                _check(folder, run, claiming, held)
            elif not (held.nothing or held.belongs_to(run)):
                return None  # taken between the look and the lock
            finished = claiming.resume and held.belongs_to(run) and run.is_that_of(held.result)
            replaces = _replaced(folder, run, claiming, held)
            undo.callback(_left, folder, made)
            if finished or not (claiming.resume or held.belongs_to(run)):
                _tidy(folder)  # what another run has left would be taken for this one's
            if not finished:
                write_json(folder / BEGUN, run.record() | ({"replaces": replaces} if replaces else {}))
            stack.enter_context(undo.pop_all())
        anew = held.checkpoints and held.belongs_to(run) and not claiming.resume
        return Claim(folder, run, finished, anew, replaces, _files(folder, held))
    except OSError as error:
        raise cannot_write(f"--out {folder}", error) from error


def _check(folder: Path, run: Owner, claiming: Claiming, held: Holding) -> None:
    """Raises `UserError` where the folder holds what this run may not replace."""
    continued = claiming.resume and claiming.reader_decides and held.checkpoints and held.result is None
    if claiming.overwrite or held.nothing or held.belongs_to(run) or continued:
        return
    other = held.begun or held.result
    if other is None:
        what = f"holds {', '.join(held.unclaimed)}, which no run of dnas has claimed"
    else:
        what = "holds another run's checkpoints" if held.checkpoints else "holds the result of another run"
        what = what if held.result or held.checkpoints else "belongs to another run, which has not ended"
        what += f" ({run.told_from(other)})"
    raise UserError(f"--out {folder}: {what}; name another folder, or replace it with --overwrite")


def _why(out: Path, claim: Claim) -> str:
    """Why the run has another folder than `out`."""
    held = holding(out)
    record = held.begun or held.result
    if claim.run.is_that_of(record):
        reason = f"this very run is at work in {out}"
    elif record is not None:
        reason = f"{out} holds another run ({claim.run.told_from(record)})"
    else:
        reason = f"{out} holds {', '.join(held.unclaimed) or 'what another process writes'}"
    return f"{reason}; this one is in {claim.folder}"


def _replaced(folder: Path, run: Owner, claiming: Claiming, held: Holding) -> dict[str, str]:
    """The runs of several seeds that are to be replaced: those that are there, or were when the command was begun."""
    if claiming.overwrite:
        there = (path for path in (folder / SEEDS).glob("*") if path.name.isdecimal() and path.is_dir())
        return {path.name: standing(path) for path in there}
    known = (held.begun or {}).get("replaces") if run.is_that_of(held.begun) else None
    return {name: str(mark) for name, mark in known.items()} if isinstance(known, dict) else {}


def _files(folder: Path, held: Holding) -> tuple[str, ...]:
    """The files of the result that is there."""
    listed = (held.result or {}).get("files")
    if isinstance(listed, list):
        return tuple(name for name in listed if isinstance(name, str))
    first = {name: name.split("/")[0] for name in sets.names(folder)}
    return tuple(name for name, part in first.items() if part in RESULT and part not in (PARTS, SEEDS))


def _record(path: Path) -> Mapping[str, Any] | None:
    """A record of a run; without an identity it is nobody's."""
    if not sets.current(path).is_file():
        return None
    try:
        data = read_document(path).data
    except UserError:
        return None
    return data if isinstance(data, dict) and isinstance(data.get("identity"), dict) else None


def _behind(folder: Path) -> bool:
    return any((folder / CHECKPOINTS).glob("*")) or (folder / FORMER).exists()


def _tidy(folder: Path) -> None:
    """Removes what a run that has ended left on its way; its mark last."""
    shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)
    for name in (PARTIAL, FORMER, BEGUN):
        (folder / name).unlink(missing_ok=True)


def _left(folder: Path, made: bool) -> None:
    """A run that leaves nothing to continue from leaves no mark."""
    if any(any((folder / kept).glob("*")) for kept in (CHECKPOINTS, PARTS, SEEDS)) or any(
        (folder / name).exists() for name in (PARTIAL, FORMER)
    ):
        return
    with suppress(OSError):
        _tidy(folder)
        if made and [entry.name for entry in folder.iterdir()] == [LOCK]:
            (folder / LOCK).unlink()
            folder.rmdir()
