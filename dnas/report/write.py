"""From result folders to files: the page and the pictures."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from dnas.errors import UserError
from dnas.files import write_together
from dnas.judge.verdict import verdict
from dnas.process.extras import need
from dnas.report.network import network_svg
from dnas.report.page import BEGINNING, Live, page
from dnas.report.sections import sections
from dnas.report.spec import png
from dnas.report.summary import summary, title
from dnas.runs.below import runs_below
from dnas.runs.comparison import Compared, is_comparison, read_compared
from dnas.runs.outputs import check_output
from dnas.runs.read import read_runs
from dnas.runs.run import Run

PNG = b"\x89PNG\r\n"


def write_report(
    folders: Sequence[Path], out: Path | None = None, pictures: Path | None = None, overwrite: bool = False
) -> list[str]:
    """Writes the page and, with `pictures`, PNG files; returns what to tell the user.

    Raises `UserError`, also where a file that is no page (or no PNG) would be replaced without `overwrite`.
    """
    if not folders:
        raise UserError("no folder given; accepted: result folders of dnas.search, dnas.train and dnas.compare")
    runs, compared = read(folders)
    if out is None:
        out = (folders[0] if len(folders) == 1 else Path()) / "report.html"
    check_output(out, overwrite=overwrite, ours=BEGINNING.encode())
    text, images = document(runs, compared), {} if pictures is None else _pictures(runs, compared)
    drawn = {(pictures or out.parent) / name: data for name, data in images.items()}
    for file in drawn:
        check_output(file, overwrite=overwrite, ours=PNG)
    write_together({out: text, **drawn})
    told = [f"wrote {out} ({len(text.encode()):,} bytes)", *(f"{run.name}: {verdict(run).text}" for run in runs)]
    told += [c.sentence for c in compared]
    return told + ([f"wrote {len(images)} pictures to {pictures}"] if images else [])


def read(folders: Sequence[Path], shipped_only: bool = False) -> tuple[list[Run], list[Compared]]:
    """Runs, those below a folder that is none, and comparisons that have ended; `InputError` for what is damaged."""
    folders = [run for folder in folders for run in list(runs_below(folder)) or [folder]]
    compared = [folder for folder in folders if is_comparison(folder)]
    runs = read_runs([folder for folder in folders if folder not in compared], shipped_only)
    return runs, list(map(read_compared, compared))


def document(runs: Sequence[Run], compared: Sequence[Compared], live: Live | None = None, above: str = "") -> str:
    """The page's text, with HTML `above` all."""
    return page(title(runs, compared), above + summary(runs, compared), sections(runs, compared), live)


def _pictures(runs: Sequence[Run], compared: Sequence[Compared]) -> dict[str, bytes]:
    """Every network and chart by the name of its file."""
    drawn = {f"network-{run.position}": network_svg(run.name, run.network) for run in runs if run.network is not None}
    images = [(key, need("vl_convert", "report").svg_to_png(svg, scale=2)) for key, svg in drawn.items()]
    images += [(chart.key, png(chart)) for section in sections(runs, compared) for chart in section.charts]
    names = [re.sub("[^a-z0-9]+", "-", key.lower()).strip("-") for key, _ in images]
    return {f"{n:03}-{name}.png": data for n, (name, (_, data)) in enumerate(zip(names, images, strict=True), 1)}
