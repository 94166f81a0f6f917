"""Pages for a browser on this machine, served on the loopback interface and to nobody else."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock
from typing import NamedTuple
from urllib.parse import unquote_to_bytes, urlsplit

from dnas.errors import Stopped, UserError
from dnas.process.interrupt import Asked, stopping_at_once

HERE = ("127.0.0.1", "localhost")


class Answer(NamedTuple):
    """What is sent."""

    text: str
    kind: str = "html"
    """Of text: `html` or `plain`."""


Answers = Callable[[str, str], Answer | None]
"""From the path, without slashes at its ends, and the query of an address; None where nothing is there."""


def serve(answers: Answers, port: int, say: Callable[[str], None]) -> None:
    """Serves until a signal, which raises `Stopped`; `say` is told the address. Raises `UserError` for a port that is
    taken, or none."""
    try:
        server = ThreadingHTTPServer((HERE[0], port), handler(answers))
    except (OSError, OverflowError) as error:
        raise UserError(f"--port {port}: {getattr(error, 'strerror', None) or error}") from error
    with server:
        say(f"http://{HERE[0]}:{server.server_port}/")
        try:
            with stopping_at_once():
                server.serve_forever()
        except Asked as asked:
            raise Stopped("stopped", asked.number) from None


def handler(answers: Answers) -> type[BaseHTTPRequestHandler]:
    """What answers requests, one at a time."""
    one = Lock()

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
            """The text, 503 where it is to be asked for again, or 404 where there is none."""
            # Another site's page cannot read these by a name of its own that leads here.
            if self.headers.get("Host", "").partition(":")[0] not in HERE:
                return self.send_error(404)
            address = urlsplit(self.path)
            try:
                with one:
                    found = answers(os.fsdecode(unquote_to_bytes(address.path)).strip("/"), address.query)
            except (OSError, UserError):  # what it is made of has changed while it was read
                return self.send_error(503)
            if found is None:
                return self.send_error(404)
            self.send_response(200)
            self.send_header("Content-Type", f"text/{found.kind}; charset=utf-8")
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(found.text.encode())

        def log_message(self, format: str, *args: object) -> None:
            """Nothing: the command has said where the page is."""

    return Handler
