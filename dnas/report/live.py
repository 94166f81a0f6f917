"""The runs of a folder on pages that follow them: served on the loopback interface, reading that folder alone.

`/` is the page of all runs, `/a/b` that of the run `a/b`; with `?state` either answers with a text that is another one
as soon as a file has changed. Nothing is written.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import quote

from dnas.errors import UserError
from dnas.files import text_of
from dnas.process import loopback
from dnas.process.extras import need
from dnas.process.loopback import Answer, Answers
from dnas.report.page import Live, page
from dnas.report.sections import sections
from dnas.report.svg import clean
from dnas.report.write import document, read
from dnas.runs.below import inside, runs_of, state
from dnas.runs.read import MAX_RUNS


def serve(root: Path, port: int, say: Callable[[str], None]) -> None:
    """Serves until a signal, which raises `Stopped`; `UserError` for no folder, a port that is taken, or no extra."""
    if not root.is_dir():
        raise UserError(f"--live {root}: no such folder")
    need("vl_convert", "report").javascript_bundle()  # seconds, once a process: here, and not when a page is asked for
    loopback.serve(answers_of(root), port, lambda place: say(f"{place} follows the runs of {root}; Ctrl-C ends it"))


def answers_of(root: Path) -> Answers:
    """The pages of a folder's runs, and their states."""
    root = root.resolve()

    def answer(path: str, query: str) -> Answer | None:
        folder = inside(root, path)
        if folder is None:
            return None
        return Answer(state(root, folder), "plain") if query == "state" else Answer(followed(root, folder))

    return answer


def followed(root: Path, folder: Path) -> str:
    """The page of the runs below a folder, the last ones that changed; what cannot be read now is said."""
    live = Live(f"{_address(root, folder)}?state", state(root, folder))
    last = sorted(sorted(runs_of(root, folder), key=lambda run: run.stat().st_mtime_ns)[-MAX_RUNS:])
    try:
        return _page(root, last, live)
    except UserError:
        good, faults = _told_apart(last)
        return _page(root, good, live, "".join(f'<p class="warning">{clean(fault)}</p>' for fault in faults))


def _told_apart(runs: Sequence[Path]) -> tuple[list[Path], list[str]]:
    """The runs of which every file that a page shows can be read, and what is wrong with the others."""
    good, faults = [], []
    for run in runs:
        try:
            sections(*read([run], shipped_only=True))
            good.append(run)
        except UserError as error:
            faults.append(str(error))
    return good, list(dict.fromkeys(faults))


def _page(root: Path, runs: Sequence[Path], live: Live, told: str = "") -> str:
    """Of runs, with a way to each; raises `UserError` where one of them cannot be read."""
    links = {"/": "all runs"} | {_address(root, run): text_of(str(run.relative_to(root))) for run in runs}
    nav = " · ".join(f'<a href="{address}">{clean(text)}</a>' for address, text in links.items())
    above = f'<nav class="note">{nav}</nav>{told}'
    if not runs:
        return page("Runs", f"{above}<h1>No run yet</h1>", [], live)
    return document(*read(runs, shipped_only=True), live=live, above=above)


def _address(root: Path, folder: Path) -> str:
    return "/" if folder == root else f"/{quote(os.fsencode(folder.relative_to(root)))}"
