"""The page: one HTML document with its style, its charts and what draws them inside, without any request."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from dnas.judge.tables import Table
from dnas.process.extras import need
from dnas.report.spec import Chart
from dnas.report.svg import clean
from dnas.report.theme import DARK, LIGHT, NAMED, config, fills, variables

SHORT = 20
"""Texts of up to so many characters stay on one line in a table."""
FOLDED_FROM = 30
"""Rows of a table that is folded away."""
HERE = Path(__file__).parent


class Section(NamedTuple):
    """Under one heading: HTML, charts, tables."""

    title: str
    about: str = ""
    html: str = ""
    charts: Sequence[Chart] = ()
    tables: Sequence[Table] = ()
    folded: bool = False


class Live(NamedTuple):
    """Where a page that follows runs asks whether anything has changed, and what the answer was."""

    address: str
    state: str


BEGINNING = '<!DOCTYPE html>\n<html lang="en"><head><meta name="generator" content="dnas report"/>'
"""Of every page: a later one may take its place."""


def page(title: str, top: str, sections: Sequence[Section], live: Live | None = None) -> str:
    """The whole document; raises `MissingExtra` without vl-convert."""
    # `ast` of vega-embed interprets expressions: the policy need not allow code that is made of texts.
    policy = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"
    policy += "" if live is None else "; connect-src 'self'"
    dark = f"@media screen and (prefers-color-scheme:dark){{:root{{{variables(DARK)}}}}}"
    style = f":root{{{variables(LIGHT)}}}{dark}{fills(NAMED)}{(HERE / 'page.css').read_text('utf-8')}"
    bundle = need("vl_convert", "report").javascript_bundle()
    data = "" if live is None else f' data-live="{clean(live.address)}" data-state="{clean(live.state)}"'
    told = "" if live is None else '<p class="note" id="live" role="status"></p>'
    return (
        f'{BEGINNING}<meta charset="utf-8"/>'
        '<meta name="viewport" content="width=device-width, initial-scale=1"/>'
        '<meta name="color-scheme" content="light dark"/>'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}"/>'
        f'<link rel="icon" href="data:,"/><title>{clean(title)}</title><style>{style}</style></head>\n<body{data}>'
        f"{told}<main>{top}{''.join(map(_section, sections))}</main>\n"
        f'<script type="application/json" id="config">{script(config(NAMED))}</script>'
        f"<script>{bundle}</script><script>{(HERE / 'page.js').read_text('utf-8')}</script></body></html>\n"
    )


def script(data: Any) -> str:
    """JSON that may stand in a script element."""
    return json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")


def _section(section: Section) -> str:
    charts = "".join(map(_chart, section.charts))
    about = f'<p class="about">{clean(section.about)}</p>' if section.about else ""
    inner = about + section.html + (f'<div class="grid">{charts}</div>' if charts else "")
    inner += "".join(_table(table, len(section.tables) > 2) for table in section.tables)
    if section.folded:
        return f"<section><details><summary><h2>{clean(section.title)}</h2></summary>{inner}</details></section>"
    return f"<section><h2>{clean(section.title)}</h2>{inner}</section>"


def _chart(chart: Chart) -> str:
    spec = {"description": f"{chart.title}. {chart.about}", **chart.spec}
    return (
        f'<figure class="chart" data-key="{clean(chart.key)}"><h3>{clean(chart.title)}</h3><div class="plot" '
        f'style="min-height:{spec["height"]}px"></div><figcaption>{clean(chart.about)}</figcaption>'
        '<details class="values"><summary>Values as a table</summary></details>'
        f'<script type="application/json" class="spec">{script(spec)}</script></figure>'
    )


def heads(names: Sequence[str]) -> str:
    """The head of a table that can be sorted."""
    cells = "".join(f'<th scope="col" aria-sort="none"><button>{clean(name)}</button></th>' for name in names)
    return f"<thead><tr>{cells}</tr></thead>"


def _table(table: Table, folded: bool) -> str:
    if not table.rows:
        return ""
    rows = (
        f'<tr><th scope="row">{clean(first)}</th>{"".join(map(cell, table.head[1:], cells))}</tr>'
        for first, *cells in table.rows
    )
    caption = f'<p class="caption">{clean(table.caption)}</p>' if table.caption else ""
    body = f"<table>{heads(table.head)}<tbody>{''.join(rows)}</tbody></table>{caption}"
    is_open = "" if folded or len(table.rows) >= FOLDED_FROM else " open"
    return f'<details{is_open}><summary>{clean(table.title)}</summary><div class="panel">{body}</div></details>'


def cell(head: str, text: str, value: float | str = "", level: str = "") -> str:
    """A cell, which names its column where rows are narrow; `value` sorts it."""
    look = f"short {level}" if len(text) <= SHORT else level
    return f'<td data-name="{clean(head)}" class="{look}" data-value="{value}">{clean(text)}</td>'
