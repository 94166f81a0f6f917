"""From result folders to files: the page and the pictures."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from dnas.errors import UserError
from dnas.files import write_atomic
from dnas.report import comparison
from dnas.report.comparison import comparison_sections, is_comparison, read_comparisons
from dnas.report.gallery import notes, scenes, sections
from dnas.report.page import Top, page
from dnas.report.png import png
from dnas.report.summary import summary, title
from dnas.report.verdict import verdict
from dnas.runs.read import read_runs


def write_report(folders: Sequence[Path], out: Path | None = None, pictures: Path | None = None) -> list[str]:
    """Writes the page and, with `pictures`, PNG files; returns what to tell the user. Raises `UserError`."""
    if not folders:
        raise UserError("no folder given; accepted: result folders of dnas.search, dnas.train and dnas.compare")
    runs = read_runs([folder for folder in folders if not is_comparison(folder)])
    compared = read_comparisons(folders)
    if out is None:
        out = (folders[0] if len(folders) == 1 else Path()) / "report.html"
    if out.is_dir():
        raise UserError(f"--out {out}: a folder, not a file")
    made = [*(sections(runs) if runs else ()), *comparison_sections(compared)]
    top = Top(title(runs), summary(runs)) if runs else Top(comparison.title(compared), comparison.summary(compared))
    text = page(top, runs, made, notes(runs) if runs else [])
    images = {} if pictures is None else {_file(n, s.key): png(s) for n, s in enumerate(scenes(made), 1)}
    write_atomic(out, text)
    told = [f"wrote {out} ({len(text.encode()):,} bytes)"]
    for name, data in images.items():
        assert pictures is not None
        write_atomic(pictures / name, data)
    told += [f"{run.name}: {verdict(run).text}" for run in runs] + [c.sentence for c in compared]
    return told + ([f"wrote {len(images)} pictures to {pictures}"] if images else [])


def _file(position: int, key: str) -> str:
    return f"{position:03}-{re.sub('[^a-z0-9]+', '-', key.lower()).strip('-')}.png"
