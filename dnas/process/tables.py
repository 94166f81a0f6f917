"""Tables of texts, for a terminal and as Markdown: all of one look."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table


def rich_table(
    head: Sequence[str], rows: Iterable[Sequence[str]], *, words: int = 1, whole: bool = False, title: str | None = None
) -> Table:
    """For a terminal.

    Args:
        words: columns, from the left, that hold words; the others hold figures, which stand right.
        whole: no cell is broken into lines.
    """
    from rich.table import Table
    from rich.text import Text

    made = Table(box=None, pad_edge=False, header_style="bold", title=None if title is None else Text(title))
    for n, name in enumerate(head):
        made.add_column(Text(name), justify="left" if n < words else "right", no_wrap=whole)
    for row in rows:
        made.add_row(*map(Text, row))  # names of classes and files may look like rich's markup
    return made


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]], *, words: int = 1) -> list[str]:
    """Lines of a Markdown table; arguments as of `rich_table`."""
    rule = ["---" if n < words else "---:" for n in range(len(head))]
    return [_line(cells) for cells in (head, rule, *rows)]


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
