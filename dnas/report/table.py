"""Facts in rows and columns, for what is read and not seen."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Table:
    """Columns and rows of texts; the first cell of a row names it. More than `open_rows` rows are folded away."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str = ""
    open_rows: int = 30

    @property
    def folded(self) -> bool:
        return len(self.rows) > self.open_rows
