"""The page: one HTML document with its style and its pictures inside, without script and without any request."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from dnas.report.colours import style_sheet
from dnas.report.gallery import Card, Section
from dnas.report.runs import option_text, taken_text
from dnas.report.style import STYLE
from dnas.report.svg import clean, svg
from dnas.report.table import Table
from dnas.runs.run import Imported, Run, Search, Training

SETTINGS_SHOWN = 200
SHORT = 20
"""Texts of up to so many characters stay on one line in a table."""


class Top(NamedTuple):
    """The document's title, and what stands above its sections."""

    title: str
    summary: str


def page(top: Top, runs: Sequence[Run], sections: Sequence[Section], notes: Sequence[str]) -> str:
    """The whole document."""
    body = [top.summary, *map(_warnings, runs)]
    body += [_section(section) for section in sections]
    body += [_notes(notes), _provenance(runs)]
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"/>'
        '<meta name="viewport" content="width=device-width, initial-scale=1"/>'
        '<meta name="color-scheme" content="light dark"/>'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; "
        'img-src data:"/><link rel="icon" href="data:,"/>'
        f"<title>{clean(top.title)}</title><style>{style_sheet()}{STYLE}</style></head>\n<body><main>"
        + "\n".join(filter(None, body))
        + "</main></body></html>\n"
    )


def _warnings(run: Run) -> str:
    return "".join(f'<p class="warning"><b>{clean(run.name)}</b> {clean(note)}</p>' for note in run.warnings)


def _section(section: Section) -> str:
    cards = "".join(map(_card, section.cards))
    inner = f'<div class="grid {section.layout}">{cards}</div>' if cards else ""
    head = f'<h2>{clean(section.title)}</h2><p class="about">{clean(section.about)}</p>'
    if section.folded:
        inner = f"<details><summary>Show {len(section.cards)} pictures</summary>{inner}</details>"
    return f"<section>{head}{inner}{''.join(map(_table, section.tables))}</section>"


def _card(card: Card) -> str:
    if card.narrow is None:
        pictures = svg(card.scene)
    else:
        pictures = svg(card.scene, "wide") + svg(card.narrow, "narrow")
    head = f"<h3>{clean(card.head)}</h3>" if card.head else ""
    caption = f"<figcaption>{clean(card.caption)}</figcaption>" if card.caption else ""
    return f"<figure>{head}{pictures}{caption}</figure>"


def _table(table: Table) -> str:
    top = "".join(f'<th scope="col">{clean(h)}</th>' for h in table.head)
    rows = []
    for first, *cells in table.rows:
        pairs = "".join(map(_cell, table.head[1:], cells))
        rows.append(f'<tr><th scope="row">{clean(first)}</th>{pairs}</tr>')
    caption = f'<p class="caption">{clean(table.caption)}</p>' if table.caption else ""
    body = f"<table><thead><tr>{top}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
    inner = f'<div class="compare facts">{body}{caption}</div>'
    if table.folded:
        return f"<details><summary>{clean(table.title)}</summary>{inner}</details>"
    return f"<h3>{clean(table.title)}</h3>{inner}"


def _cell(head: str, text: str) -> str:
    short = ' class="short"' if len(text) <= SHORT else ""
    return f'<td data-name="{clean(head)}"{short}>{clean(text)}</td>'


def _notes(notes: Sequence[str]) -> str:
    return "".join(f'<p class="note">{clean(note)}</p>' for note in notes)


def _provenance(runs: Sequence[Run]) -> str:
    if not runs:
        return ""
    parts = []
    for run in runs:
        shown = "".join(f"<dt>{clean(k)}</dt><dd>{clean(v)}</dd>" for k, v in _facts(run))
        parts.append(f"<details><summary>{clean(run.name)}</summary><dl>{shown}</dl></details>")
    return f"<section><h2>Where it came from</h2>{''.join(parts)}</section>"


def _facts(run: Run) -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = [("folder", run.folder)]
    if run.provenance is None:
        rows.append(("provenance", "not recorded: no provenance.json"))
    for key, value in (run.provenance or {}).items():
        rows.append((key.replace("_", " "), plain(value)))
    match run:
        case Search(facts=facts):
            rows.append(("seed", "not stated" if facts.seed is None else str(facts.seed)))
            rows += [("by proxy", note) for note in facts.by_proxy]
            rows.append(("settings", plain(facts.settings)))
            rows.append(("options taken", ", ".join(f"{name} {taken_text(run, name)}" for name in run.taken)))
        case Training(facts=facts) if facts is not None:
            rows += [("start", f"{facts.start} weights"), ("seed", str(facts.seed)), ("recipe", plain(facts.recipe))]
        case Imported(facts=facts):
            rows += [("weights", f"{facts.file} (SHA-256 {facts.sha256})"), ("model", facts.model)]
            rows += [("note", note) for note in facts.notes]
    return rows


def plain(value: Any) -> str:
    """Plain data for people, bounded."""
    if isinstance(value, dict):
        shown = ", ".join(f"{k} {plain(v)}" for k, v in list(value.items())[:SETTINGS_SHOWN])
        return shown + (", ..." if len(value) > SETTINGS_SHOWN else "")
    if isinstance(value, list):
        return " ".join(plain(v) for v in value[:SETTINGS_SHOWN])
    text = option_text(value)
    return text if len(text) <= 300 else text[:300] + "..."
