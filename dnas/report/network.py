"""The network found, drawn to scale: one small drawing a block, from the image to the classes.

Height is channels (in, hidden, out), colour the kernel, the square below the map's side, with its number.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from dnas.judge.amounts import number
from dnas.judge.facts import option_text
from dnas.report.svg import SMALL, box, clean, shortened, text_width, words
from dnas.report.theme import LIGHT, fills
from dnas.runs.run import Layer, NetworkFacts

TALL, HIGH = 92.0, 190.0
"""Height of the widest block, and of a block's drawing with its words."""
SLOTS = (84.0, 140.0)
"""Least and most width of a block's drawing: as its words need."""
MAPS = 28.0
"""Side of the square of the input image."""
LINEAR_UP_TO = 24
"""Largest ratio of channels that is drawn in proportion; beyond, heights grow with the square root."""
KERNELS = {1: "k0", 3: "k1", 5: "k2", 7: "k3"}
PER_ROW = 12  # of a picture of its own


def network_html(network: NetworkFacts) -> str:
    """A list of blocks, which flows in as many rows as the page needs; what each is, is told to readers and scripts."""
    (scale, proportion), slot = _scale(network.layers), _slot(network.layers)
    kernels = sorted({k for layer in network.layers if (k := _count(layer, "kernel"))})
    keys = [(_colour(k), f"{k}×{k}") for k in kernels] + [(_colour(None), "no kernel")]
    legend = "".join(f'<span><i style="background:var(--{role})"></i>{name}</span>' for role, name in keys)
    blocks = "".join(
        f'<li data-key="{clean(layer.source or layer.path)}" data-said="{clean(_said(layer))}" '
        f'data-macs="{layer.macs}" data-params="{layer.params}" title="{clean(_told(layer, network))}">'
        f'<svg width="{slot:g}" height="{HIGH:g}" aria-hidden="true">{_block(layer, network, scale, slot)}</svg>'
        f'<span class="unseen">{clean(_told(layer, network))}</span></li>'
        for layer in network.layers
    )
    return f'<p class="legend">{legend}<span>{proportion}</span></p><ol class="blocks">{blocks}</ol>'


def network_svg(name: str, network: NetworkFacts) -> str:
    """The same as one picture on light paper, with its name above."""
    scale, slot = _scale(network.layers)[0], _slot(network.layers)
    rows = math.ceil(len(network.layers) / PER_ROW)
    wide, tall = 16 + slot * min(PER_ROW, len(network.layers)), 30 + HIGH * rows
    blocks = "".join(
        f'<g transform="translate({8 + slot * (n % PER_ROW):g},{30 + HIGH * (n // PER_ROW):g})">'
        f"{_block(layer, network, scale, slot)}</g>"
        for n, layer in enumerate(network.layers)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{wide:g}" height="{tall:g}" font-family="Liberation Sans">'
        f'<style>{fills(LIGHT)}</style>{box(0, 0, wide, tall, "paper")}<text x="8" y="18" font-size="14" '
        f'font-weight="600" class="f-ink">{clean(shortened(name, wide - 16, 14))}</text>{blocks}</svg>'
    )


def _count(layer: Layer, field: str) -> int | None:
    """A field that counts something, or None."""
    value = layer.fields.get(field)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def _scale(layers: Sequence[Layer]) -> tuple[Callable[[float], float], str]:
    widths = [w for y in layers for w in (y.channels_in, _count(y, "hidden") or y.channels, y.channels)]
    most, least = max(widths), min(widths)
    if most <= LINEAR_UP_TO * least:
        return (lambda w: TALL * w / most), "height in proportion to channels"
    return (lambda w: TALL * math.sqrt(w / most)), "height as the square root of channels"


def _slot(layers: Sequence[Layer]) -> float:
    """The width that the longest name of axes or path needs, within bounds."""
    texts = [f"+ {text}" for y in layers for text in y.shapes] + [y.source or y.path for y in layers]
    return min(SLOTS[1], max(SLOTS[0], *(6 + text_width(text) for text in texts)))


def _block(layer: Layer, network: NetworkFacts, scale: Callable[[float], float], slot: float) -> str:
    """The shape, what it is, and its map."""
    middle, left, right = TALL / 2 + 4, 3.0, slot - 3
    hidden = _count(layer, "hidden")
    a, h, b = (max(scale(w) / 2, 0.6) for w in (layer.channels_in, hidden or layer.channels_in, layer.channels))
    third = (right - left) * 0.24
    xs, ys = ((left, left + third, right - third, right), (a, h, h, b)) if hidden else ((left, right), (a, b))
    upper = [f"{x:.4g},{middle - y:.6g}" for x, y in zip(xs, ys, strict=True)]
    lower = [f"{x:.4g},{middle + y:.6g}" for x, y in zip(reversed(xs), reversed(ys), strict=True)]
    shape = f'<polygon points="{" ".join(upper + lower)}" class="f-{_colour(_count(layer, "kernel"))} l-line"/>'
    if layer.fields.get("se") is True:
        ends = f'x1="{left + 2:g}" x2="{right - 2:g}" y1="{middle:g}" y2="{middle:g}"'
        shape += f'<line {ends} class="l-paper" stroke-width="2" stroke-dasharray="2 3"/>'
    return shape + _words(layer, TALL + 20, slot) + _map(layer, network, HIGH - 4, slot)


def _words(layer: Layer, y: float, slot: float) -> str:
    """Kind, path in the space (else in the network), kernel or window, heads and expansion, channels out."""
    hidden, parts = _count(layer, "hidden"), [f"{n}×{n}" for k in ("kernel", "window") if (n := _count(layer, k))]
    heads = _count(layer, "heads") if layer.fields.get("attention", True) else None
    parts += [f"h{heads}"] if heads else []
    parts += [f"e{hidden / layer.channels_in:.3g}"] if hidden else []
    path = (layer.source or layer.path).removesuffix(f".{layer.kind}")
    texts = [shortened(text, slot - 4) for text in (layer.kind, path, " ".join(parts), f"→ {layer.channels}")]
    return words(slot / 2, y, texts[0], "ink", True) + "".join(words(slot / 2, y + 13 * n, texts[n]) for n in (1, 2, 3))


def _map(layer: Layer, network: NetworkFacts, bottom: float, slot: float) -> str:
    """The output map: a square with its side, in proportion to the image's; of anything else its axes as text."""
    if layer.side is None:
        first, *beside = layer.shapes or ("vector",)
        texts = (first, *(f"+ {text}" for text in beside))
        return "".join(words(slot / 2, bottom - 13 + 11 * n, shortened(t, slot - 4)) for n, t in enumerate(texts))
    side, text = max(2.0, MAPS * layer.side / network.counted.side), str(layer.side)
    left = (slot - side - 4 - text_width(text)) / 2
    side_text = words(left + side + 4 + text_width(text) / 2, bottom - MAPS / 2 + SMALL / 3, text)
    return box(left, bottom - MAPS / 2 - side / 2, side, side, "p4") + side_text


def _colour(kernel: int | None) -> str:
    """The colour of a kernel's side; other sides than the usual share the last one."""
    return "grid" if kernel is None else KERNELS.get(kernel, "k4")


def _said(layer: Layer) -> str:
    """What a block is: the same of two that do the same."""
    fields = ", ".join(f"{name} {option_text(value)}" for name, value in layer.fields.items())
    return f"{layer.kind}, {layer.channels_in} to {layer.channels} channels, {' beside '.join(layer.shapes)}; {fields}"


def _told(layer: Layer, network: NetworkFacts) -> str:
    """Everything of a block."""
    share = f" ({layer.macs / network.counted.macs:.1%})" if network.counted.macs else ""
    where = f" (in the space {layer.source})" if layer.source else ""
    costs = f"{number(layer.macs)} multiply-adds{share}, {number(layer.params)} parameters"
    return f"{layer.path}{where}: {_said(layer)}; {costs}"
