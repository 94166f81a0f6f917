"""From result folders to files: the page and the pictures."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from dnas.errors import UserError
from dnas.files import write_atomic
from dnas.files.sets import current
from dnas.report.network import network_svg
from dnas.report.page import Live, Section, page
from dnas.report.png import drawn, png
from dnas.report.sections import compared_sections, sections
from dnas.report.summary import of_comparisons, summary, title, warnings
from dnas.report.verdict import verdict
from dnas.runs.comparison import COMPARISON, Compared, read_compared
from dnas.runs.read import read_runs
from dnas.runs.run import Run


def write_report(folders: Sequence[Path], out: Path | None = None, pictures: Path | None = None) -> list[str]:
    """Writes the page and, with `pictures`, PNG files; returns what to tell the user. Raises `UserError`."""
    if not folders:
        raise UserError("no folder given; accepted: result folders of dnas.search, dnas.train and dnas.compare")
    runs, compared = read(folders)
    if out is None:
        out = (folders[0] if len(folders) == 1 else Path()) / "report.html"
    if out.is_dir():
        raise UserError(f"--out {out}: a folder, not a file")
    text = document(runs, compared)
    images = {} if pictures is None else _pictures(runs, all_sections(runs, compared))
    write_atomic(out, text)
    told = [f"wrote {out} ({len(text.encode()):,} bytes)"]
    for name, data in images.items():
        assert pictures is not None
        write_atomic(pictures / name, data)
    told += [f"{run.name}: {verdict(run).text}" for run in runs] + [c.sentence for c in compared]
    return told + ([f"wrote {len(images)} pictures to {pictures}"] if images else [])


def read(folders: Sequence[Path], shipped_only: bool = False) -> tuple[list[Run], list[Compared]]:
    """Runs, and comparisons; raises `InputError` for what is damaged."""
    compared = [folder for folder in folders if is_comparison(folder)]
    runs = read_runs([folder for folder in folders if folder not in compared], shipped_only)
    return runs, list(map(read_compared, compared))


def is_comparison(folder: Path) -> bool:
    """Whether the folder holds a comparison that has ended."""
    try:
        return current(folder / COMPARISON).is_file()
    except (OSError, ValueError):
        return False


def document(runs: Sequence[Run], compared: Sequence[Compared], live: Live | None = None, above: str = "") -> str:
    """The page's text, with HTML `above` all."""
    top = summary(runs) + warnings(runs) if runs else of_comparisons(compared)
    return page(title(runs, compared), above + top, all_sections(runs, compared), live)


def all_sections(runs: Sequence[Run], compared: Sequence[Compared]) -> list[Section]:
    """Of runs and comparisons."""
    return [*(sections(runs) if runs else ()), *compared_sections(compared)]


def _pictures(runs: Sequence[Run], made: Sequence[Section]) -> dict[str, bytes]:
    """Every network and chart by the name of its file."""
    images = [(f"network-{r.position}", drawn(network_svg(r.name, r.network))) for r in runs if r.network is not None]
    images += [(chart.key, png(chart)) for section in made for chart in section.charts]
    names = [re.sub("[^a-z0-9]+", "-", key.lower()).strip("-") for key, _ in images]
    return {f"{n:03}-{name}.png": data for n, (name, (_, data)) in enumerate(zip(names, images, strict=True), 1)}
