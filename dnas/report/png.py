"""A scene as PNG, through matplotlib (extra `report`): the same picture, with its title above, on light paper."""

from __future__ import annotations

import importlib
import io
from typing import Any

from dnas.errors import MissingExtra
from dnas.report.colours import LIGHT
from dnas.report.scene import Dot, Item, Scene, Shape, Text

SCALE = 2.0
"""Pixels for one unit of a scene."""
MARGIN, HEAD = 16.0, 30.0


def png(scene: Scene) -> bytes:
    """The picture's bytes; raises `MissingExtra` without matplotlib."""
    figure_of, canvas_of = _matplotlib()
    width, height = scene.width + 2 * MARGIN, scene.height + 2 * MARGIN + HEAD
    figure = figure_of(figsize=(width / 72, height / 72), dpi=72 * SCALE, facecolor=LIGHT["paper"])
    canvas_of(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(-MARGIN, scene.width + MARGIN), ylim=(scene.height + MARGIN, -MARGIN - HEAD))
    axes.axis("off")
    for order, item in enumerate((Text(0, -HEAD + 10, scene.title, 14, "start", "ink", True), *scene.items)):
        _draw(axes, item, order)
    data = io.BytesIO()
    # Without metadata equal runs give equal bytes.
    figure.savefig(data, format="png", metadata={"Software": None})
    return data.getvalue()


def _draw(axes: Any, item: Item, order: int) -> None:
    match item:
        case Shape():
            xs, ys = [p[0] for p in item.points], [p[1] for p in item.points]
            if item.fill:
                edge = LIGHT[item.stroke] if item.stroke else "none"
                axes.fill(xs, ys, LIGHT[item.fill], ec=edge, lw=item.width * 0.6, alpha=item.opacity, zorder=order)
                return
            style = (0, tuple(d / max(item.width, 1) for d in item.dash)) if item.dash else "-"
            axes.plot(xs, ys, color=LIGHT[item.stroke or "ink"], lw=item.width, ls=style, alpha=item.opacity,
                      zorder=order)  # fmt: skip
        case Dot():
            axes.plot([item.x], [item.y], "o", ms=2 * item.radius, mfc=LIGHT[item.fill], mec=LIGHT[item.stroke],
                      mew=2, zorder=order)  # fmt: skip
        case Text():
            side = {"start": "left", "middle": "center", "end": "right"}[item.anchor]
            weight = "bold" if item.bold else "normal"
            axes.text(item.x, item.y, item.text, size=item.size * 0.88, ha=side, va="baseline", weight=weight,
                      color=LIGHT[item.colour], zorder=order, parse_math=False)  # fmt: skip


def _matplotlib() -> tuple[Any, Any]:
    try:
        figure = importlib.import_module("matplotlib.figure")
        canvas = importlib.import_module("matplotlib.backends.backend_agg")
    except ModuleNotFoundError as error:
        raise MissingExtra(f"--png needs matplotlib: pip install 'dnas[report]' ({error.name} is missing)") from error
    return figure.Figure, canvas.FigureCanvasAgg
