"""The colours of the roles in `dnas.report.scene`, on light and on dark paper.

Series and kinds are told apart by colour-blind readers (lightness differs as well as hue) and have a contrast of at
least 3 to 1 with the paper; text roles have 4.5 to 1. A test computes both.
"""

from __future__ import annotations

LIGHT = {
    "paper": "#ffffff", "page": "#f4f3ef", "ink": "#1b1d22", "muted": "#5c6069", "grid": "#e3e2dd", "line": "#8b8f98",
    "band": "#f3f1ea", "good": "#176f4b", "warn": "#9a4b00",
    "s0": "#1f5fbf", "s1": "#cf5a10", "s2": "#14805a", "s3": "#a8327f", "s4": "#6b54c4", "s5": "#8a6700",
    "s6": "#157a94", "s7": "#b0343c",
    "k0": "#85898f", "k1": "#2f72cf", "k2": "#12906a", "k3": "#d9731a", "k4": "#8a57c9",
    "r0": "#dfe8f3", "r1": "#c3d6ec", "r2": "#a3c1e3", "r3": "#80a9d8", "r4": "#5d90cb", "r5": "#4077b9",
    "r6": "#2a5f9f", "r7": "#1b4880", "r8": "#12335d",
}  # fmt: skip
DARK = {
    "paper": "#1a1d23", "page": "#121419", "ink": "#eceae4", "muted": "#a6abb5", "grid": "#2d323b", "line": "#7c838f",
    "band": "#20242b", "good": "#5cc99a", "warn": "#f0a35a",
    "s0": "#6fa8f5", "s1": "#f59a5b", "s2": "#4cc397", "s3": "#ea83c3", "s4": "#a997f2", "s5": "#d9b44a",
    "s6": "#5cc0da", "s7": "#f28a8f",
    "k0": "#8f959e", "k1": "#6ea5f2", "k2": "#45c096", "k3": "#f2a057", "k4": "#b593ee",
    "r0": "#25364d", "r1": "#2c4768", "r2": "#345985", "r3": "#3e6da2", "r4": "#4d83bd", "r5": "#659bd2",
    "r6": "#86b3e2", "r7": "#abcbee", "r8": "#d2e3f7",
}  # fmt: skip


def style_sheet() -> str:
    """Custom properties of both themes, and a fill (`f-`) and a line (`l-`) class for every role."""
    light, dark = (";".join(f"--{name}:{value}" for name, value in theme.items()) for theme in (LIGHT, DARK))
    roles = "".join(f".f-{name}{{fill:var(--{name})}}.l-{name}{{stroke:var(--{name})}}" for name in LIGHT)
    return f":root{{{light}}}@media(prefers-color-scheme:dark){{:root{{{dark}}}}}.f-none{{fill:none}}{roles}"
