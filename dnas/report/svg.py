"""Texts and shapes of drawings in SVG: escaped, measured, shortened."""

from __future__ import annotations

import re
from html import escape

SMALL = 10.5
"""Size of text in a drawing."""
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def clean(text: object) -> str:
    """Text that may stand in XML: escaped, what no XML may hold replaced by U+FFFD."""
    return escape(_FORBIDDEN.sub("\ufffd", str(text)), quote=True)


def text_width(text: str, size: float = SMALL) -> float:
    """About how wide a text is: fonts differ, this is on the wide side."""
    narrow, wide = sum(c in "iljtf.,:;|!'()[] " for c in text), sum(c in "mwMW%@" for c in text)
    return size * (0.58 * len(text) - 0.24 * narrow + 0.27 * wide)


def shortened(text: str, room: float, size: float = SMALL) -> str:
    """The text, its middle left out where it needs more than `room`."""
    keep, cut = len(text), text
    while text_width(cut, size) > room and keep > 2:
        keep -= 1
        cut = f"{text[: keep - keep // 2]}…{text[-(keep // 2) :]}"
    return cut


def words(x: float, y: float, text: str, role: str = "muted", bold: bool = False) -> str:
    """One line of text, its middle at `x`."""
    look = f'font-size="{SMALL:g}" text-anchor="middle" class="f-{role}"' + ' font-weight="600"' * bold
    return f'<text x="{x:.5g}" y="{y:.5g}" {look}>{clean(text)}</text>'


def box(x: float, y: float, wide: float, tall: float, role: str) -> str:
    """A rectangle."""
    return f'<rect x="{x:.4g}" y="{y:.4g}" width="{wide:.4g}" height="{tall:.4g}" class="f-{role}"/>'
