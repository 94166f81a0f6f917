"""One self-contained page about a search or a training, or several runs side by side.

python -m dnas.report runs/fbnetv2-0
python -m dnas.report runs/* --out compare.html --png pictures
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro


@dataclass(frozen=True)
class Arguments:
    """Writes one HTML page, without any request to a network, about the runs of one or several result folders."""

    folders: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Result folders of dnas.search, dnas.train and dnas.compare; searches and trainings may be unfinished."""
    out: Path | None = None
    """Page to write; report.html in the run's folder if not given (of several runs, in this folder)."""
    png: Path | None = None
    """Folder for the same pictures as PNG files (needs dnas[report])."""


def main(args: Arguments) -> None:
    """Writes the page and prints where it is and what it says first."""
    from dnas.report.write import write_report

    for line in write_report(args.folders, args.out, args.png):
        print(line)
