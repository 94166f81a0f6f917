"""Where the budget goes: multiply-adds and parameters of every block, as bars."""

from __future__ import annotations

from collections.abc import Sequence

from dnas.report.scene import SMALL, Item, Scene, Text, box, line, number, shortened, text_width
from dnas.runs.run import Layer, NetworkFacts

ROW = 19.0
MOST = 80


def layers_scene(name: str, network: NetworkFacts, width: float = 350.0, key: str = "layers") -> Scene:
    """One row a block, in network order; of more than 80 blocks the costliest, the others together."""
    layers, rest = _shown(network.layers)
    label, gap = (130.0, 14.0) if width < 600 else (300.0, 40.0)
    totals = (network.counted.macs, network.counted.params)
    room = (width - label - gap) / 2
    items: list[Item] = []
    for n, (unit, total) in enumerate(zip(("MACs", "params"), totals, strict=True)):
        x = label + n * (room + gap)
        items += [Text(x, 12, unit, SMALL, colour="ink", bold=True), Text(x + room, 12, number(total), SMALL, "end")]
        items.append(line(x, 18, x, 24 + ROW * (len(layers) + bool(rest)), stroke="line"))
    most = [max((getattr(y, part) for y in network.layers), default=0) or 1 for part in ("macs", "params")]
    for row, layer in enumerate(layers):
        y = 24 + ROW * row
        items.append(Text(label - 8, y + 12, _name(layer, label - 10), SMALL, "end", "ink"))
        for n, part in enumerate(("macs", "params")):
            value, total = getattr(layer, part), totals[n] or 1
            items += _bar(label + n * (room + gap), y, room, value, most[n], total, f"s{n}", layer.path)
    if rest:
        macs, params = sum(y.macs for y in rest), sum(y.params for y in rest)
        text = f"{len(rest)} other blocks: {number(macs)} multiply-adds, {number(params)} parameters"
        items.append(Text(0, 24 + ROW * len(layers) + 12, text, SMALL))
    about = "; ".join(f"{y.path} {y.kind} {y.macs:,} multiply-adds, {y.params:,} parameters" for y in layers)
    height = 30 + ROW * (len(layers) + bool(rest))
    return Scene(key, f"Where the budget goes in {name}", about, width, height, tuple(items))


def _shown(layers: Sequence[Layer]) -> tuple[list[Layer], list[Layer]]:
    if len(layers) <= MOST:
        return list(layers), []
    kept = set(sorted(range(len(layers)), key=lambda n: -layers[n].macs)[: MOST - 1])
    return [y for n, y in enumerate(layers) if n in kept], [y for n, y in enumerate(layers) if n not in kept]


def _name(layer: Layer, room: float) -> str:
    """Path and kind, and the path in the space where it is another and there is room; else that alone."""
    own = f"{layer.path} {layer.kind}"
    source = layer.source.removesuffix(f".{layer.kind}")
    if source in ("", layer.path):
        return shortened(own, room, SMALL)
    both = f"{own} ← {source}"
    return both if text_width(both, SMALL) <= room else shortened(f"{source} {layer.kind}", room, SMALL)


def _bar(x: float, y: float, room: float, value: int, most: int, total: int, colour: str, path: str) -> list[Item]:
    """A bar with its share of the total beside it, or inside where it is long."""
    length = (room - 2) * value / most
    share = value / total
    text = f"{share:.0%}" if share >= 0.01 or not value else "<1%"
    inside = length > room - 34
    where = (x + length - 4, "end", "paper") if inside else (x + length + 5, "start", "muted")
    note = f"{path}: {value:,} ({share:.1%})"
    bar = [box(x, y + 2, max(length, 0.5), ROW - 5, fill=colour, note=note, data=True)]
    return [*bar, Text(where[0], y + 12, text, SMALL, where[1], where[2])]
