"""Charts and drawings as PNG on light paper, through vl-convert (extra `report`)."""

from __future__ import annotations

from typing import Any

from dnas.process.extras import need
from dnas.report.spec import Chart
from dnas.report.theme import LIGHT, config

WIDTH, SCALE = 620, 2.0


def png(chart: Chart) -> bytes:
    """The picture's bytes, with its title above; raises `MissingExtra` without vl-convert."""
    spec: dict[str, Any] = {"title": chart.title, **chart.spec, "width": WIDTH, "config": config(LIGHT)}
    return need("vl_convert", "report").vegalite_to_png(spec, scale=SCALE)


def drawn(svg: str) -> bytes:
    """An SVG drawing; raises `MissingExtra`."""
    return need("vl_convert", "report").svg_to_png(svg, scale=SCALE)
