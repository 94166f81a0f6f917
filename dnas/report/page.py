"""The page: one HTML document with its style and its pictures inside, without script and without any request."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dnas.report.colours import style_sheet
from dnas.report.gallery import Card, Section
from dnas.report.runs import BudgetResult, Run
from dnas.report.scene import number, series
from dnas.report.svg import clean, svg

SETTINGS_SHOWN = 200


def page(runs: Sequence[Run], sections: Sequence[Section], notes: Sequence[str]) -> str:
    """The whole document."""
    spaces = list(dict.fromkeys(run.facts.space for run in runs))
    title = f"{', '.join(spaces)}: {len(runs)} searches compared" if len(runs) > 1 else f"{spaces[0]}: one search"
    body = [_masthead(runs, spaces), _summary(runs), *map(_warnings, runs)]
    body += [_section(section) for section in sections]
    body += [_notes(notes), _provenance(runs)]
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"/>'
        '<meta name="viewport" content="width=device-width, initial-scale=1"/>'
        '<meta name="color-scheme" content="light dark"/>'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; "
        'img-src data:"/><link rel="icon" href="data:,"/>'
        f"<title>{clean(title)}</title><style>{style_sheet()}{STYLE}</style></head>\n<body><main>"
        + "\n".join(filter(None, body))
        + "</main></body></html>\n"
    )


def _masthead(runs: Sequence[Run], spaces: Sequence[str]) -> str:
    parts = list(dict.fromkeys(p for run in runs for p in _said(run)))
    about = " · ".join(parts if len(runs) == 1 else [f"{len(runs)} runs", *parts])
    eyebrow = "Search report" if len(runs) == 1 else "Searches side by side"
    name = runs[0].name if len(runs) == 1 else ", ".join(spaces)
    return f'<header><p class="eyebrow">{eyebrow}</p><h1>{clean(name)}</h1><p class="lede">{clean(about)}</p></header>'


def _said(run: Run) -> tuple[str, ...]:
    return run.facts.strategy, f"{run.facts.preset} preset", run.facts.data.name


def _summary(runs: Sequence[Run]) -> str:
    return _tiles(runs[0]) if len(runs) == 1 else _table(runs)


def _tiles(run: Run) -> str:
    tiles = [_budget_tile(budget) for budget in run.facts.budgets]
    if run.accuracy is not None:
        name, value = run.accuracy
        tiles.append(_tile("accuracy", f"{value:.1%}", f"{name}; {run.facts.accuracy_split}"))
    counted = {("params" if "params" in b.budget.lower() else "macs") for b in run.facts.budgets if "@" not in b.budget}
    if "macs" not in counted:
        tiles.append(_tile("multiply-adds", number(run.macs), f"{run.macs:,}"))
    if "params" not in counted:
        tiles.append(_tile("parameters", number(run.params), f"{run.params:,}"))
    tiles.append(_tile("input", f"{run.resolution} px", f"{len(run.layers)} blocks, {len(run.taken)} choices"))
    if run.facts.log_probability is not None and run.facts.argmax_log_probability is not None:
        lost = run.facts.argmax_log_probability - run.facts.log_probability
        gap = "" if run.facts.gap_nats is None else f"certified gap {run.facts.gap_nats:.3g}"
        tiles.append(_tile("given up for the budget", f"{abs(lost):.2f} nats", gap or "of log-probability"))
    return f'<section class="tiles" aria-label="Result">{"".join(tiles)}</section>'


def _tile(name: str, value: str, more: str, inside: str = "") -> str:
    head = f'<p class="name">{clean(name)}</p><p class="value">{clean(value)}</p>'
    return f'<div class="tile">{head}{inside}<p class="more">{clean(more)}</p></div>'


def _budget_tile(budget: BudgetResult) -> str:
    share = budget.cost / budget.limit
    kept = "within" if share <= 1 else "over"
    meter = f'<div class="meter {kept}"><span style="width:{100 * min(max(share, 0), 1):.2f}%"></span></div>'
    cost = f"{budget.cost:.4g} ms" if "@" in budget.budget else number(budget.cost)
    return _tile(f"cost of {budget.budget}", cost, f"{share:.2%} of the budget", meter)


def _table(runs: Sequence[Run]) -> str:
    names = list(dict.fromkeys(k for r in runs for k in r.facts.inherited_accuracy if not k.endswith("_before")))
    head = ["run", "multiply-adds", "parameters", "of budget", "input", *names, "entropy"]
    rows = []
    for n, run in enumerate(runs):
        shares = ", ".join(f"{b.cost / b.limit:.1%}" for b in run.facts.budgets) or "none"
        accuracies = [f"{v:.1%}" if (v := run.facts.inherited_accuracy.get(k)) is not None else "–" for k in names]
        entropy = "–" if run.facts.mean_entropy is None else f"{run.facts.mean_entropy:.2f}"
        cells = [number(run.macs), number(run.params), shares, f"{run.resolution} px", *accuracies, entropy]
        pairs = "".join(f'<td data-name="{clean(h)}">{clean(c)}</td>' for h, c in zip(head[1:], cells, strict=True))
        dot = f'<i style="background:var(--{series(n)})"></i>'
        rows.append(f'<tr><th scope="row">{dot}{clean(run.name)}</th>{pairs}</tr>')
    top = "".join(f'<th scope="col">{clean(h)}</th>' for h in head)
    split = ", ".join(dict.fromkeys(run.facts.accuracy_split for run in runs))
    return (
        f'<section class="compare"><table><thead><tr>{top}</tr></thead><tbody>{"".join(rows)}</tbody></table>'
        f'<p class="caption">Accuracies: {clean(split)}.</p></section>'
    )


def _warnings(run: Run) -> str:
    return "".join(f'<p class="warning"><b>{clean(run.name)}</b> {clean(note)}</p>' for note in run.facts.warnings)


def _section(section: Section) -> str:
    cards = "".join(map(_card, section.cards))
    inner = f'<div class="grid {section.layout}">{cards}</div>'
    head = f'<h2>{clean(section.title)}</h2><p class="about">{clean(section.about)}</p>'
    if section.folded:
        inner = f"<details><summary>Show {len(section.cards)} pictures</summary>{inner}</details>"
    return f"<section>{head}{inner}</section>"


def _card(card: Card) -> str:
    if card.narrow is None:
        pictures = svg(card.scene)
    else:
        pictures = svg(card.scene, "wide") + svg(card.narrow, "narrow")
    head = f"<h3>{clean(card.head)}</h3>" if card.head else ""
    caption = f"<figcaption>{clean(card.caption)}</figcaption>" if card.caption else ""
    return f"<figure>{head}{pictures}{caption}</figure>"


def _notes(notes: Sequence[str]) -> str:
    return "".join(f'<p class="note">{clean(note)}</p>' for note in notes)


def _provenance(runs: Sequence[Run]) -> str:
    parts = []
    for run in runs:
        rows = _facts(run)
        shown = "".join(f"<dt>{clean(k)}</dt><dd>{clean(v)}</dd>" for k, v in rows)
        parts.append(f"<details><summary>{clean(run.name)}</summary><dl>{shown}</dl></details>")
    return f"<section><h2>Where it came from</h2>{''.join(parts)}</section>"


def _facts(run: Run) -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = [("folder", run.folder), ("seed", str(run.facts.seed))]
    if run.provenance is None:
        rows.append(("provenance", "not recorded: no provenance.json"))
    for key, value in (run.provenance or {}).items():
        rows.append((key.replace("_", " "), plain(value)))
    rows += [("by proxy", note) for note in run.facts.by_proxy]
    rows.append(("settings", plain(run.facts.settings)))
    rows.append(("options taken", plain(run.taken)))
    return rows


def plain(value: Any) -> str:
    """Plain data for people, bounded."""
    if isinstance(value, dict):
        shown = ", ".join(f"{k} {plain(v)}" for k, v in list(value.items())[:SETTINGS_SHOWN])
        return shown + (", ..." if len(value) > SETTINGS_SHOWN else "")
    if isinstance(value, list):
        return " ".join(plain(v) for v in value[:SETTINGS_SHOWN])
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return text if len(text) <= 300 else text[:300] + "..."


STYLE = """
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%}
body{margin:0;background:var(--page);color:var(--ink);font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,
"Helvetica Neue",Arial,sans-serif;font-variant-numeric:tabular-nums}
main{max-width:1240px;margin:0 auto;padding:44px 28px 72px}
header{margin-bottom:26px}
.eyebrow{margin:0;font-size:13px;font-weight:600;color:var(--muted)}
h1{margin:2px 0 4px;font-size:38px;line-height:1.1;letter-spacing:-.02em;font-weight:650;overflow-wrap:anywhere}
.lede{margin:0;color:var(--muted)}
h2{margin:0;font-size:21px;letter-spacing:-.01em;font-weight:650}
section{margin-top:44px}
.about{margin:4px 0 16px;max-width:72ch;color:var(--muted)}
h3{margin:0 0 10px;font-size:15px;font-weight:650}
.grid{display:grid;gap:18px}
.grid>*{min-width:0}
.thirds{grid-template-columns:repeat(auto-fill,minmax(min(100%,330px),1fr))}
figure{margin:0;padding:18px 18px 14px;background:var(--paper);border-radius:10px}
figure svg{display:block;width:100%;height:auto;overflow:visible;font-family:inherit}
.whole figure svg{max-width:none!important}
figcaption{margin-top:10px;font-size:13px;line-height:1.45;color:var(--muted)}
.narrow{display:none!important}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(170px,1fr));gap:18px;margin-top:0}
.tile{padding:16px 18px;background:var(--paper);border-radius:10px}
.tile p{margin:0}
.name{font-size:13px;color:var(--muted)}
.value{font-size:28px;font-weight:650;letter-spacing:-.02em;line-height:1.25}
.more{font-size:13px;color:var(--muted)}
.meter{height:6px;margin:5px 0 6px;border-radius:3px;background:var(--grid);overflow:hidden}
.meter span{display:block;height:100%;background:var(--good)}
.meter.over span{background:var(--warn)}
.compare{margin-top:0;padding:6px 18px 14px;background:var(--paper);border-radius:10px}
table{width:100%;border-collapse:collapse}
th,td{padding:9px 10px;text-align:right;border-bottom:1px solid var(--grid);white-space:nowrap}
thead th{font-size:13px;font-weight:600;color:var(--muted)}
tbody th{font-weight:600}
th:first-child{text-align:left;padding-left:0}
tbody tr:last-child>*{border-bottom:0}
i{display:inline-block;width:10px;height:10px;margin-right:8px;border-radius:50%}
.caption{margin:6px 0 0;font-size:13px;color:var(--muted)}
.warning{margin:14px 0 0;padding:10px 14px;background:var(--paper);border-radius:10px;color:var(--warn)}
.warning b{margin-right:6px}
.note{margin:18px 0 0;color:var(--muted);font-size:14px;max-width:72ch}
details{margin-top:12px;padding:0}
section>details:first-of-type{margin-top:14px}
summary{cursor:pointer;font-weight:600;padding:6px 0}
summary:focus-visible{outline:2px solid var(--s0);outline-offset:3px;border-radius:4px}
dl{display:grid;grid-template-columns:max-content 1fr;gap:4px 20px;margin:6px 0 12px;padding:16px 18px;
background:var(--paper);border-radius:10px;font-size:13.5px}
dt{color:var(--muted)}
dd{margin:0;overflow-wrap:anywhere}
@media(max-width:700px){
main{padding:26px 14px 48px}
h1{font-size:29px}
section{margin-top:34px}
figure{padding:14px 12px 12px}
.wide{display:none!important}
.narrow{display:block!important}
.tiles{grid-template-columns:1fr 1fr;gap:12px}
.tile{padding:12px 14px}
.value{font-size:23px}
.grid{gap:12px}
dl{grid-template-columns:1fr;gap:0}
dd{margin-bottom:8px}
.compare{padding:4px 14px}
table,tbody,tr,th,td{display:block}
thead{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)}
tbody tr{display:grid;grid-template-columns:1fr 1fr;column-gap:18px;padding:12px 0;border-bottom:1px solid var(--grid)}
tbody tr:last-child{border-bottom:0}
tbody th{grid-column:1/-1;border:0;padding:0 0 4px}
td{display:flex;justify-content:space-between;gap:8px;padding:2px 0;border:0}
td::before{content:attr(data-name);color:var(--muted);font-size:13px}
}
@media print{body{background:#fff}figure,.tile{break-inside:avoid}}
"""
