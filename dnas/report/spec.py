"""Charts as Vega-Lite specifications: plain dicts, made of rows whose fields are named as people read them.

A row's `run` colours it and can be left out by the page (`hidden`) or made to stand out (`shown`); its `network` is the
key of the drawing that a click on it shows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from dnas.judge.facts import FEW, tag
from dnas.process.extras import need
from dnas.report.theme import LIGHT, config
from dnas.runs.run import Run

PERCENT, COUNT, PLAIN = ".1~%", ".4~s", ".4~g"
ROW = 17
"""Height of a row of a chart of names, in pixels."""
SHORT = 15
"""Letters of a name, at most, of which two stand side by side below a chart on a narrow page."""
Row = dict[str, Any]
Spec = dict[str, Any]
ZOOM = {"name": "zoom", "select": {"type": "interval", "zoom": "wheel![event.ctrlKey]"}, "bind": "scales"}
SHOWN = {"condition": {"test": "shown == '' || datum.run == shown", "value": 1}, "value": 0.12}
"""Opacity of marks of runs, of which the page may make one stand out."""
RAMP = {"type": "quantitative", "scale": {"type": "quantize", "range": "ramp"}}


class Chart(NamedTuple):
    """`spec` without theme; `about` says how to read it."""

    key: str
    title: str
    about: str
    spec: Spec


def chart(key: str, title: str, about: str, rows: Sequence[Row], *marks: Spec, tall: float = 230, **more: Any) -> Chart:
    """A chart of marks over the rows."""
    params, left = [{"name": "hidden", "value": []}, {"name": "shown", "value": ""}], "indexof(hidden, datum.run) < 0"
    spec: Spec = {
        "width": "container", "height": tall, "autosize": {"type": "fit-x", "contains": "padding"},
        "data": {"values": list(rows)}, "params": params + more.pop("params", []), "layer": list(marks),
        "transform": [{"filter": left}, *more.pop("transform", [])], **more,
    }  # fmt: skip
    return Chart(key, title, about, spec)


def mark(kind: str, rows: Any = None, tell: str = "", zoom: bool = False, where: str = "", **look: Any) -> Spec:
    """Marks of a kind: of `look`, dicts are channels of the encoding, everything else is a property of the mark.

    `rows` are data other than the chart's; `tell` what the pointer is told: fields, a number with its form
    (`name, accuracy:.1~%`); with `zoom` the chart can be moved; `where` is an expression that rows fulfil.
    """
    encoding = {name: value for name, value in look.items() if isinstance(value, dict)}
    spec: Spec = {"mark": {"type": kind, **{name: v for name, v in look.items() if name not in encoding}}}
    told = [field.strip().partition(":") for field in tell.split(",") if tell]
    encoding |= {"tooltip": [
        {"field": f, "title": f} | ({"type": "quantitative", "format": form} if form else {"type": "nominal"})
        for f, _, form in told
    ]} if told else {}  # fmt: skip
    parts = {"data": {"values": rows}} if rows is not None else {}
    parts |= {"transform": [{"filter": where}]} if where else {}
    return parts | spec | {"encoding": encoding} | ({"params": [ZOOM]} if zoom else {})


def q(field: str, title: str = "", form: str = PLAIN, zero: bool = False, **scale: Any) -> Spec:
    """A quantity along an axis."""
    axis = {"format": form, "tickCount": 5}
    scale = {"zero": zero, "nice": True, **scale}
    return {"field": field, "type": "quantitative", "title": title or field, "axis": axis, "scale": scale}


def names(field: str, title: str | None = None, limit: int = 180, **axis: Any) -> Spec:
    """Names along an axis, all of them, in the order of the rows."""
    axis = {"labelLimit": limit, "labelOverlap": False, **axis}
    return {"field": field, "type": "nominal", "title": title, "sort": None, "axis": axis}


def colour(field: str, found: Iterable[str]) -> Spec:
    """A colour for each name, the same in every chart that is given the same names."""
    domain = list(dict.fromkeys(found))
    side_by_side = 6 if len(domain) > FEW else 2 if max(map(len, map(str, domain)), default=0) <= SHORT else 1
    legend = {"columns": side_by_side, "symbolType": "circle", "symbolSize": 70} if len(domain) > 1 else None
    return {"field": field, "type": "nominal", "title": None, "scale": {"domain": domain}, "legend": legend}


def hues(runs: Sequence[Run], count: int) -> Spec:
    """A colour for each run, of a page of `count`."""
    return colour("run", (tag(run, count) for run in runs))


def levels(values: Sequence[tuple[float, str]], along: str = "y") -> list[Spec]:
    """Dotted lines at values, whose names are told; none without values."""
    rows = [{"at": value, "line": text} for value, text in values]
    at: Spec = {along: {"field": "at", "type": "quantitative"}}
    return [mark("rule", rows, "line", strokeDash=[2, 3], strokeWidth=1.6, **at)] if rows else []


def png(chart: Chart) -> bytes:
    """The chart with its title, as a picture on light paper; raises `MissingExtra` without vl-convert."""
    spec = {"title": chart.title, **chart.spec, "width": 620, "config": config(LIGHT)}
    return need("vl_convert", "report").vegalite_to_png(spec, scale=2)
