"""The colours of page and pictures, by role, on light and on dark paper: style sheet and Vega configuration.

Charts of a page name the style sheet's variables, so that they follow its setting, on screen and in print.

Series and kinds are told apart by colour-blind readers (lightness differs as well as hue) and have a contrast of at
least 3 to 1 with the paper; text roles have 4.5 to 1. A test computes both.
"""

from __future__ import annotations

from typing import Any

LIGHT = {
    "paper": "#ffffff", "page": "#f4f3ef", "ink": "#1b1d22", "muted": "#5c6069", "grid": "#e3e2dd", "line": "#83878f",
    "band": "#f3f1ea", "good": "#176f4b", "warn": "#9a4b00",
    "s0": "#1f5fbf", "s1": "#cf5a10", "s2": "#14805a", "s3": "#a8327f", "s4": "#6b54c4", "s5": "#8a6700",
    "s6": "#157a94", "s7": "#b0343c",
    "p0": "#c3d6ec", "p1": "#aac4e4", "p2": "#90b3dc", "p3": "#76a2d3", "p4": "#5d90cb",
    "p5": "#4a79b0", "p6": "#386294", "p7": "#254a78", "p8": "#12335d",
    "k0": "#85898f", "k1": "#2f72cf", "k2": "#12906a", "k3": "#d9731a", "k4": "#8a57c9",
}  # fmt: skip
DARK = {
    "paper": "#1a1d23", "page": "#121419", "ink": "#eceae4", "muted": "#a6abb5", "grid": "#2d323b", "line": "#7c838f",
    "band": "#20242b", "good": "#5cc99a", "warn": "#f0a35a",
    "s0": "#6fa8f5", "s1": "#f59a5b", "s2": "#4cc397", "s3": "#ea83c3", "s4": "#a997f2", "s5": "#d9b44a",
    "s6": "#5cc0da", "s7": "#f28a8f",
    "p0": "#2c4768", "p1": "#34567d", "p2": "#3c6592", "p3": "#4574a8", "p4": "#4d83bd",
    "p5": "#6e9bcc", "p6": "#90b3da", "p7": "#b1cbe8", "p8": "#d2e3f7",
    "k0": "#8f959e", "k1": "#6ea5f2", "k2": "#45c096", "k3": "#f2a057", "k4": "#b593ee",
}  # fmt: skip
SERIES = 8
NAMED = {name: f"var(--{name})" for name in LIGHT}  # whichever the page has


def variables(theme: dict[str, str]) -> str:
    """Custom properties of the style sheet."""
    return ";".join(f"--{name}:{value}" for name, value in theme.items())


def fills(theme: dict[str, str]) -> str:
    """A fill (`f-`) and a line (`l-`) class for every role."""
    return "".join(f".f-{name}{{fill:{v}}}.l-{name}{{stroke:{v}}}" for name, v in theme.items())


def config(theme: dict[str, str]) -> dict[str, Any]:
    """Of Vega-Lite."""
    text = {"labelColor": theme["muted"], "titleColor": theme["muted"], "labelFontSize": 11, "titleFontSize": 11}
    return {
        "background": theme["paper"], "font": "system-ui, 'Liberation Sans', Arial, sans-serif",
        "axis": {**text, "gridColor": theme["grid"], "domainColor": theme["line"], "tickColor": theme["line"],
                 "titleFontWeight": "normal", "labelLimit": 190, "labelOverlap": "greedy", "labelSeparation": 4},
        "legend": {**text, "labelColor": theme["ink"], "orient": "bottom", "labelLimit": 130, "symbolOpacity": 1,
                   "layout": {"bottom": {"anchor": "start", "bounds": "full"}}},
        "title": {"color": theme["ink"], "anchor": "start", "fontSize": 14},
        "range": {"category": [theme[f"s{n}"] for n in range(SERIES)], "ramp": [theme[f"p{n}"] for n in range(9)]},
        "mark": {"color": theme["s0"]}, "rule": {"color": theme["muted"]}, "text": {"color": theme["ink"]},
        "view": {"stroke": None}, "padding": 4,
    }  # fmt: skip
