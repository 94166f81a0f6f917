"""The runs of a folder on pages that follow them: served on the loopback interface, reading that folder alone.

`/` is the page of all runs, `/a/b` that of the run `a/b`; with `?state` either answers with a text that is another one
as soon as a file has changed. Nothing is written.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock
from urllib.parse import quote, unquote_to_bytes, urlsplit

from dnas.errors import Stopped, UserError
from dnas.files import text_of
from dnas.process.extras import need
from dnas.process.interrupt import Asked, stopping_at_once
from dnas.report.page import Live, page
from dnas.report.sections import sections
from dnas.report.svg import clean
from dnas.report.write import document, read
from dnas.runs.below import inside, runs_of, state
from dnas.runs.read import MAX_RUNS

HERE = ("127.0.0.1", "localhost")


def serve(root: Path, port: int, say: Callable[[str], None]) -> None:
    """Serves until a signal, which raises `Stopped`; `UserError` for no folder, a port that is taken, or no extra."""
    if not root.is_dir():
        raise UserError(f"--live {root}: no such folder")
    need("vl_convert", "report").javascript_bundle()  # seconds, once a process: here, and not when a page is asked for
    try:
        server = ThreadingHTTPServer((HERE[0], port), handler(root.resolve()))
    except (OSError, OverflowError) as error:
        raise UserError(f"--port {port}: {getattr(error, 'strerror', None) or error}") from error
    with server:
        say(f"http://{HERE[0]}:{server.server_port}/ follows the runs of {root}; Ctrl-C ends it")
        try:
            with stopping_at_once():
                server.serve_forever()
        except Asked as asked:
            raise Stopped("stopped", asked.number) from None


def handler(root: Path) -> type[BaseHTTPRequestHandler]:
    """What answers requests about a resolved folder."""
    building = Lock()

    class Handler(BaseHTTPRequestHandler):
        """One request."""

        def handle(self) -> None:
            """Without a word where who asked has gone, as a page that is closed while it is sent."""
            with suppress(ConnectionError):
                super().handle()

        def do_HEAD(self) -> None:
            """What GET answers, without the text."""
            self.do_GET()

        def do_GET(self) -> None:
            """A page, a state, 503 where one is to be asked for again, or 404 for everything else."""
            address = urlsplit(self.path)
            folder = inside(root, os.fsdecode(unquote_to_bytes(address.path)).strip("/"))
            # Another site's page cannot read these by a name of its own that leads here.
            known = self.headers.get("Host", "").partition(":")[0] in HERE
            if folder is None or not known:
                return self.send_error(404)
            try:
                with building:
                    text = state(root, folder) if address.query == "state" else followed(root, folder)
            except (OSError, UserError):  # a run has changed while it was read
                return self.send_error(503)
            self.send_response(200)
            self.send_header("Content-Type", f"text/{'plain' if address.query == 'state' else 'html'}; charset=utf-8")
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(text.encode())

        def log_message(self, format: str, *args: object) -> None:
            """Nothing: the command has said where the page is."""

    return Handler


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
