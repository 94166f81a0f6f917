"""The runs of a folder on pages that follow them: served on the loopback interface, reading that folder alone.

`/` is the page of all runs, `/a/b` that of the run `a/b`; with `?state` either answers with a text that is another one
as soon as a file has changed. Nothing is written.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock
from urllib.parse import quote, unquote, urlsplit

from dnas.errors import UserError
from dnas.process.extras import need
from dnas.report.page import Live, page
from dnas.report.svg import clean
from dnas.report.write import document, read
from dnas.runs.read import MAX_RUNS

MARKS = ("architecture.json", "history.partial.jsonl", "run.json", "comparison.json")
"""A folder with one of these is a run's."""
DEEP = 3
"""Folders inside folders in which runs are looked for."""
HERE = ("127.0.0.1", "localhost")


def serve(root: Path, port: int, say: Callable[[str], None]) -> None:
    """Serves until Ctrl-C; raises `UserError` for no folder, a port that is taken, or without the extra."""
    if not root.is_dir():
        raise UserError(f"--live {root}: no such folder")
    need("vl_convert", "report")
    try:
        server = ThreadingHTTPServer((HERE[0], port), handler(root.resolve()))
    except (OSError, OverflowError) as error:
        raise UserError(f"--port {port}: {getattr(error, 'strerror', None) or error}") from error
    with server:
        say(f"http://{HERE[0]}:{server.server_port}/ follows the runs of {root}; Ctrl-C ends it")
        server.serve_forever()


def handler(root: Path) -> type[BaseHTTPRequestHandler]:
    """What answers requests about a resolved folder."""
    building = Lock()

    class Handler(BaseHTTPRequestHandler):
        """One request."""

        def do_GET(self) -> None:
            """A page, a state, or 404 for everything else."""
            address = urlsplit(self.path)
            folder = inside(root, unquote(address.path).strip("/"))
            # Another site's page cannot read these by a name of its own that leads here.
            known = self.headers.get("Host", "").rpartition(":")[0] in HERE
            if folder is None or not known:
                return self.send_error(404)
            with building:
                text = state(root, folder) if address.query == "state" else followed(root, folder)
            data = text.encode()
            self.send_response(200)
            self.send_header("Content-Type", f"text/{'plain' if address.query == 'state' else 'html'}; charset=utf-8")
            self.send_header("Content-Length", str(len(data)))
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:
            """Nothing: the command has said where the page is."""

    return Handler


def inside(root: Path, path: str) -> Path | None:
    """The folder of a path below `root`; None for one that is not there or, links followed, lies elsewhere."""
    try:
        found = (root / path).resolve(strict=True)
    except (OSError, ValueError, RuntimeError):
        return None
    return found if found.is_dir() and found.is_relative_to(root) else None


def runs_of(root: Path, folder: Path, deep: int = DEEP) -> Iterator[Path]:
    """The folders of runs; not those that a run is made of, nor one any file of which lies elsewhere."""
    if any((folder / name).is_file() for name in MARKS):
        if all(path.resolve().is_relative_to(root) for path in folder.rglob("*") if path.is_symlink()):
            yield folder
    elif deep:
        for path in sorted(folder.iterdir()):
            if inside(root, str(path.relative_to(root))) == path:
                yield from runs_of(root, path, deep - 1)


def state(root: Path, folder: Path) -> str:
    """A digest of the names, sizes and times of the runs' files."""
    found = hashlib.sha256()
    for path in (path for run in runs_of(root, folder) for path in sorted(run.glob("*.json*"))):
        with suppress(FileNotFoundError):  # a run that ends removes files
            found.update(f"{path} {path.stat().st_size} {path.stat().st_mtime_ns}\n".encode())
    return found.hexdigest()


def followed(root: Path, folder: Path) -> str:
    """The page of the runs below a folder, the last ones that changed; what cannot be read now is said."""
    now = state(root, folder)
    live = Live(f"/{quote(str(folder.relative_to(root))) if folder != root else ''}?state", now)
    there = sorted(runs_of(root, folder), key=lambda run: run.stat().st_mtime_ns)[-MAX_RUNS:]
    good, told = [], []
    for run in sorted(there):
        try:
            read([run], shipped_only=True)
            good.append(run)
        except UserError as error:
            told.append(str(error))
    name = lambda run: str(run.relative_to(root))  # noqa: E731
    links = "".join(f'<a href="/{quote(name(run))}">{clean(name(run))}</a> ' for run in good if run != folder)
    home = '<a href="/">all runs</a> ' if folder != root else ""
    top = f'<nav class="note">{home}{links}</nav>' + "".join(f'<p class="warning">{clean(text)}</p>' for text in told)
    if not good:
        return page("Runs", f"{top}<h1>No run yet</h1>", [], live)
    return document(*read(good, shipped_only=True), live=live, above=top)
