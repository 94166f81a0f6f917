"""Comparisons (`dnas.compare`) on a page: the sentence, the picture and the table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dnas.files.sets import current
from dnas.report.chart import draw
from dnas.report.comparison_chart import picture
from dnas.report.comparison_table import head, how, rows
from dnas.report.gallery import Card, Section
from dnas.report.svg import clean
from dnas.report.table import Table
from dnas.runs.comparison import COMPARISON, Compared, read_compared


def is_comparison(folder: Path) -> bool:
    """Whether the folder holds a comparison that has ended."""
    try:
        return current(folder / COMPARISON).is_file()
    except (OSError, ValueError):
        return False


def read_comparisons(folders: Sequence[Path]) -> list[Compared]:
    """Of those folders that hold one; raises `InputError` for what is damaged."""
    return [read_compared(folder) for folder in folders if is_comparison(folder)]


def comparison_sections(several: Sequence[Compared]) -> list[Section]:
    """One for each."""
    return [_section(n, compared) for n, compared in enumerate(several)]


def title(several: Sequence[Compared]) -> str:
    """Of a page of comparisons alone."""
    return f"{', '.join(c.found for c in several)}: compared"


def summary(several: Sequence[Compared]) -> str:
    """The top of such a page."""
    names = ", ".join(dict.fromkeys(c.found for c in several))
    spaces = " · ".join(dict.fromkeys(f"space {c.space}" for c in several))
    return (
        f'<header><p class="eyebrow">Comparison report</p><h1>{clean(names)}</h1>'
        f'<p class="lede">{clean(spaces)}</p></header>'
    )


def _section(n: int, compared: Compared) -> Section:
    notes = (how(compared), f"{compared.standard_errors}.", *compared.notes, *compared.warnings)
    chart = picture(compared, f"comparison-{n}")
    return Section(
        f"Was the search worth it? {compared.found}", compared.sentence, (Card("", draw(chart), chart.about),),
        (Table("Networks trained alike", head(compared), tuple(rows(compared)), " ".join(notes)),),
    )  # fmt: skip
