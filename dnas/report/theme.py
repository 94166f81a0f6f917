"""The colours of page and pictures, by role, on light and on dark paper: style sheet and Vega configuration.

Series and kinds are told apart by colour-blind readers (lightness differs as well as hue) and have a contrast of at
least 3 to 1 with the paper; text roles have 4.5 to 1. A test computes both.
"""

from __future__ import annotations

from typing import Any

LIGHT = {
    "paper": "#ffffff", "page": "#f4f3ef", "ink": "#1b1d22", "muted": "#5c6069", "grid": "#e3e2dd", "line": "#83878f",
    "band": "#f3f1ea", "good": "#176f4b", "warn": "#9a4b00",
    "s0": "#1f5fbf", "s1": "#cf5a10", "s2": "#14805a", "s3": "#a8327f", "s4": "#6b54c4", "s5": "#8a6700",
    "s6": "#157a94", "s7": "#b0343c", "r0": "#c3d6ec", "r1": "#5d90cb", "r2": "#12335d",
    "k0": "#85898f", "k1": "#2f72cf", "k2": "#12906a", "k3": "#d9731a", "k4": "#8a57c9",
}  # fmt: skip
DARK = {
    "paper": "#1a1d23", "page": "#121419", "ink": "#eceae4", "muted": "#a6abb5", "grid": "#2d323b", "line": "#7c838f",
    "band": "#20242b", "good": "#5cc99a", "warn": "#f0a35a",
    "s0": "#6fa8f5", "s1": "#f59a5b", "s2": "#4cc397", "s3": "#ea83c3", "s4": "#a997f2", "s5": "#d9b44a",
    "s6": "#5cc0da", "s7": "#f28a8f", "r0": "#2c4768", "r1": "#4d83bd", "r2": "#d2e3f7",
    "k0": "#8f959e", "k1": "#6ea5f2", "k2": "#45c096", "k3": "#f2a057", "k4": "#b593ee",
}  # fmt: skip
SERIES = 8


def variables(theme: dict[str, str]) -> str:
    """Custom properties of the style sheet."""
    return ";".join(f"--{name}:{value}" for name, value in theme.items())


def fills(theme: dict[str, str] | None = None) -> str:
    """A fill (`f-`) and a line (`l-`) class for every role: of a theme, or of whichever the page has."""
    values = {name: f"var(--{name})" if theme is None else theme[name] for name in LIGHT}
    return "".join(f".f-{name}{{fill:{v}}}.l-{name}{{stroke:{v}}}" for name, v in values.items())


def config(theme: dict[str, str]) -> dict[str, Any]:
    """Of Vega-Lite."""
    text = {"labelColor": theme["muted"], "titleColor": theme["muted"], "labelFontSize": 11, "titleFontSize": 11}
    ramp = [theme["r0"], theme["r1"], theme["r2"]]
    return {
        "background": theme["paper"], "font": "system-ui, 'Liberation Sans', Arial, sans-serif",
        "axis": {**text, "gridColor": theme["grid"], "domainColor": theme["line"], "tickColor": theme["line"],
                 "titleFontWeight": "normal", "labelLimit": 190, "labelOverlap": "greedy", "labelSeparation": 4},
        "legend": {**text, "labelColor": theme["ink"], "orient": "bottom", "labelLimit": 130, "symbolStrokeWidth": 2,
                   "layout": {"bottom": {"anchor": "start", "bounds": "full"}}},
        "title": {"color": theme["ink"], "anchor": "start", "fontSize": 14},
        "range": {"category": [theme[f"s{n}"] for n in range(SERIES)], "ramp": ramp, "heatmap": ramp, "ordinal": ramp},
        "mark": {"color": theme["s0"]}, "rule": {"color": theme["muted"]}, "text": {"color": theme["ink"]},
        "view": {"stroke": None}, "padding": 4,
    }  # fmt: skip
