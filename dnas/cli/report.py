"""One self-contained page about a search or a training, or several runs side by side.

python -m dnas.report runs/fbnetv2-0
python -m dnas.report runs --out compare.html --png pictures
python -m dnas.report --live runs/
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from dnas.cli.argument_class import refuse
from dnas.errors import InputError


@dataclass(frozen=True)
class Arguments:
    """Writes one HTML page, without any request to a network, about the runs of one or several result folders."""

    folders: Annotated[tuple[Path, ...], tyro.conf.Positional] = ()
    """Result folders of dnas.search, dnas.train, dnas.compress and dnas.compare, or folders of such; they may be
    unfinished."""
    out: Path | None = None
    """Page to write; report.html in the run's folder if not given (of several runs, in this folder)."""
    png: Path | None = None
    """Folder for the same pictures as PNG files."""
    overwrite: bool = False
    """Replace files that are there; pages and pictures of an earlier report are replaced in any case."""
    live: Path | None = None
    """Serve a page to this machine that follows all runs of a folder, instead of writing one; Ctrl-C ends it."""
    port: int = 0
    """Of --live; 0 for a free one."""


def main(args: Arguments) -> None:
    """Writes the page and prints where it is and what it says first; or serves it."""
    if args.live is not None:
        if args.folders or args.out or args.png:
            raise InputError("--live", "serves a folder and writes nothing", accepted="--port alone beside it")
        from dnas.report.live import serve

        serve(args.live, args.port, lambda line: print(line, flush=True))
        return
    refuse(args, ("port",), "only of --live")
    from dnas.report.write import write_report

    for line in write_report(args.folders, args.out, args.png, args.overwrite):
        print(line)
