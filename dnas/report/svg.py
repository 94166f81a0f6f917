"""A scene as inline SVG: well-formed XML, colours by the page's style sheet, words for screen readers."""

from __future__ import annotations

import re
from html import escape

from dnas.report.scene import Dot, Item, Scene, Shape, Text

_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def clean(text: object) -> str:
    """Text that may stand in XML: escaped, what no XML may hold replaced by U+FFFD."""
    return escape(_FORBIDDEN.sub("\ufffd", str(text)), quote=True)


def svg(scene: Scene, css_class: str = "") -> str:
    """The scene as one `<svg>` element, scaled to the width of what holds it."""
    size = f"{_n(scene.width)} {_n(scene.height)}"
    name = f' class="{css_class}"' if css_class else ""
    head = (
        f'<svg{name} viewBox="0 0 {size}" role="img" aria-label="{clean(scene.title)}" data-plot="{clean(scene.key)}" '
        f'xmlns="http://www.w3.org/2000/svg" style="max-width:{_n(1.25 * scene.width)}px">'
    )
    words = f"<title>{clean(scene.title)}</title><desc>{clean(scene.about)}</desc>"
    return head + words + "".join(map(_element, scene.items)) + "</svg>"


def _element(item: Item) -> str:
    match item:
        case Shape():
            return _shape(item)
        case Dot():
            where = f'cx="{_n(item.x)}" cy="{_n(item.y)}" r="{_n(item.radius)}"'
            return _noted(f"circle {where} {_look(item.fill, item.stroke, item.data)} stroke-width='2'", item.note)
        case Text():
            bold = ' font-weight="600"' if item.bold else ""
            anchor = "" if item.anchor == "start" else f' text-anchor="{item.anchor}"'
            where = f'x="{_n(item.x)}" y="{_n(item.y)}" font-size="{_n(item.size)}"'
            return f'<text {where} class="f-{item.colour}"{anchor}{bold}>{clean(item.text)}</text>'


def _shape(item: Shape) -> str:
    points = " ".join(f"{_n(x)},{_n(y)}" for x, y in item.points)
    tag = "polygon" if item.fill else "polyline"
    more = f' stroke-width="{_n(item.width)}"' if item.stroke else ""
    if item.dash:
        more += f' stroke-dasharray="{" ".join(map(_n, item.dash))}"'
    if item.opacity != 1:
        more += f' opacity="{_n(item.opacity)}"'
    return _noted(f'{tag} points="{points}" {_look(item.fill, item.stroke, item.data)}{more}', item.note)


def _look(fill: str | None, stroke: str | None, data: bool) -> str:
    names = [f"f-{fill}" if fill else "f-none", f"l-{stroke}" if stroke else "", "data" if data else ""]
    return f'class="{" ".join(filter(None, names))}"'


def _noted(start: str, note: str) -> str:
    return f"<{start}><title>{clean(note)}</title></{start.split(' ', 1)[0]}>" if note else f"<{start}/>"


def _n(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")
