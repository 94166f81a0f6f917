"""The network found, drawn to scale: one shape a block, from the image to the classes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from dnas.report.scene import (
    KINDS,
    SMALL,
    Item,
    Scene,
    Shape,
    Text,
    box,
    line,
    number,
    ramp,
    shortened,
    text_width,
)
from dnas.runs.run import Layer, NetworkFacts

TALL = 108.0
"""Height of the widest block, of one network alone."""
SLOT = 62.0
"""Least room of a block along a row."""
MAPS = 30.0
"""Side of the square of the input image."""
LINEAR_UP_TO = 24
"""Largest ratio of channels that is drawn in proportion; beyond, heights grow with the square root."""
KERNELS = {1: "k0", 3: "k1", 5: "k2", 7: "k3"}


def network_scene(name: str, run: NetworkFacts, width: float, key: str = "network", tall: float = TALL) -> Scene:
    """Blocks side by side in as many rows as `width` needs.

    Height is channels (in, hidden, out), colour the kernel, the square below the map's side, with its number.
    """
    most = max(1, int((width - 8) // SLOT))
    per_row = math.ceil(len(run.layers) / math.ceil(len(run.layers) / most))
    slot = min(146.0, (width - 8) / per_row)
    rows = [run.layers[n : n + per_row] for n in range(0, len(run.layers), per_row)]
    scale, proportion = _scale(run.layers, tall)
    items, top = _legend(run.layers, proportion, width)
    row_height = tall + 109
    for n, layers in enumerate(rows):
        for m, layer in enumerate(layers):
            items += _block(layer, run, 4 + m * slot, top + n * row_height, slot, scale, tall)
    c = run.counted
    size = f"{c.images}, {c.macs:,} multiply-adds, {c.params:,} parameters"
    blocks = "; ".join(_sentence(layer) for layer in run.layers[:60])
    about = f"{len(run.layers)} blocks from left to right, {size}. {blocks}"
    return Scene(key, f"The network of {name}", about, width, top + len(rows) * row_height - 6, tuple(items))


def expansion(layer: Layer) -> float | None:
    """Hidden over input width, of a block that has a hidden width."""
    hidden = _count(layer, "hidden")
    return None if hidden is None else hidden / layer.channels_in


def _count(layer: Layer, field: str) -> int | None:
    """A field that counts something, or None."""
    value = layer.fields.get(field)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def _widths(layer: Layer) -> tuple[int, int, int]:
    """Channels in, inside (0: nothing inside) and out."""
    return layer.channels_in, _count(layer, "hidden") or 0, layer.channels


def _scale(layers: Sequence[Layer], tall: float) -> tuple[Callable[[float], float], str]:
    widths = [w for layer in layers for w in _widths(layer) if w]
    most, least = max(widths), min(widths)
    if most <= LINEAR_UP_TO * least:
        return (lambda w: tall * w / most), "height in proportion to channels"
    return (lambda w: tall * math.sqrt(w / most)), "height as the square root of channels"


def _legend(layers: Sequence[Layer], proportion: str, width: float) -> tuple[list[Item], float]:
    """Colours of the kernels in use and what height means; the items and the height they take."""
    kernels = sorted({k for layer in layers if (k := _count(layer, "kernel")) is not None})
    items: list[Item] = []
    x, y = 4.0, 12.0
    entries = [(_colour(k), f"{k}×{k}") for k in kernels] + [(_colour(None), "no kernel")]
    for colour, name in entries:
        needed = 16 + text_width(name, SMALL)
        if x + needed > width:
            x, y = 4.0, y + 18
        swatch = box(x, y - 9, 11, 11, fill=colour, stroke="line", width=0.8)
        items += [swatch, Text(x + 16, y, name, SMALL, colour="ink")]
        x += needed + 16
    needed = text_width(proportion, SMALL)
    if x + needed > width:
        x, y = 4.0, y + 18
    items.append(Text(x, y, proportion, SMALL))
    return items, y + 16


def _block(
    layer: Layer, run: NetworkFacts, x: float, top: float, slot: float, scale: Callable[[float], float], tall: float
) -> list[Item]:
    """One block in its slot: the shape, what it is, and its map."""
    before, hidden, after = _widths(layer)
    middle = top + tall / 2 + 6
    gap = 5.0
    left, right = x + gap / 2, x + slot - gap / 2
    a, h, b = (scale(w) / 2 for w in (before, hidden or before, after))
    if hidden:
        third = (right - left) * 0.24
        xs, ys = (left, left + third, right - third, right), (a, h, h, b)
    else:
        xs, ys = (left, right), (a, b)
    upper = [(px, middle - max(py, 0.6)) for px, py in zip(xs, ys, strict=True)]
    lower = [(px, middle + max(py, 0.6)) for px, py in zip(reversed(xs), reversed(ys), strict=True)]
    colour = _colour(_count(layer, "kernel"))
    outline = Shape(tuple(upper + lower), "line", colour, 0.8, note=_told(layer, run), data=True)
    items: list[Item] = [outline]
    if layer.fields.get("se") is True:
        items.append(line(left + 2, middle, right - 2, middle, stroke="paper", width=2, dash=(2, 3)))
    at = x + slot / 2
    return items + _words(layer, at, top + tall + 24, slot) + _map(layer, run, at, top + tall + 101, slot)


def _words(layer: Layer, x: float, y: float, slot: float) -> list[Item]:
    """Kind, path in the space (else in the network), kernel or window, heads and expansion, channels out."""
    room = slot - 3
    e, parts = expansion(layer), [f"{n}×{n}" for n in (_count(layer, "kernel"), _count(layer, "window")) if n]
    heads = _count(layer, "heads") if layer.fields.get("attention", True) else None
    parts += [f"h{heads}"] if heads else []
    parts += [] if e is None else [f"e{e:.3g}"]
    path = (layer.source or layer.path).removesuffix(f".{layer.kind}")
    lines = [
        (layer.kind, "ink", True),
        (path, "muted", False),
        (" ".join(parts), "muted", False),
        (f"→ {layer.channels}", "muted", False),
    ]
    return [
        Text(x, y + 13 * n, shortened(text, room, SMALL), SMALL, "middle", colour, bold)
        for n, (text, colour, bold) in enumerate(lines)
        if text
    ]


def _map(layer: Layer, run: NetworkFacts, x: float, bottom: float, slot: float) -> list[Item]:
    """The output map: a square with its side, in proportion to the image's; of anything else its axes as text."""
    y = bottom - 13
    if layer.side is None:
        first, *beside = layer.shapes or ("vector",)
        texts = (first, *(f"+ {text}" for text in beside))
        return [Text(x, y + 11 * n, shortened(t, slot - 3, SMALL), SMALL, "middle") for n, t in enumerate(texts)]
    share = layer.side / run.counted.side
    side = max(2.0, MAPS * share)
    colour = ramp(0.3 + 0.7 * share)
    text = str(layer.side)
    wide = side + 4 + text_width(text, SMALL)
    left = x - wide / 2
    return [
        box(left, y - side / 2 - 4, side, side, fill=colour, note=f"{layer.side}x{layer.side} pixels", data=True),
        Text(left + side + 4, y, text, SMALL, "start"),
    ]


def _colour(kernel: int | None) -> str:
    """The colour of a kernel's side; other sides than the usual share the last one."""
    return "grid" if kernel is None else KERNELS.get(kernel, f"k{KINDS - 1}")


def _sentence(layer: Layer) -> str:
    e = expansion(layer)
    kernel = _count(layer, "kernel")
    parts = [f"{layer.kind} {layer.channels_in} to {layer.channels} channels"]
    parts += [f"kernel {kernel}"] if kernel else []
    parts += [f"expansion {e:.3g}"] if e is not None else []
    parts += [f"map {layer.side}"] if layer.side is not None else layer.shapes[:1]
    return ", ".join(parts)


def _told(layer: Layer, run: NetworkFacts) -> str:
    fields = ", ".join(f"{k} {str(v).lower() if isinstance(v, bool) else v}" for k, v in layer.fields.items())
    share = f" ({layer.macs / run.counted.macs:.1%})" if run.counted.macs else ""
    shape = " beside ".join(layer.shapes)
    where = f" (in the space {layer.source})" if layer.source else ""
    return (
        f"{layer.path} {layer.kind}{where}: {layer.channels_in} to {layer.channels} channels, {shape}; {fields}; "
        f"{number(layer.macs)} multiply-adds{share}, {number(layer.params)} parameters"
    )
