"""Probabilities of every choice over time: one picture a choice, one band of stacked areas a run."""

from __future__ import annotations

from collections.abc import Sequence

from dnas.report.runs import option_text, tag, taken_text
from dnas.report.scene import SERIES, SMALL, Item, Scene, Shape, Text, box, ramp, shortened, text_width, thinned
from dnas.report.table import Table
from dnas.runs.run import Search

WIDTH = 350.0


def choice_scenes(runs: Sequence[Search]) -> list[Scene]:
    """A picture for every choice that some run recorded, in the order of the space."""
    names = dict.fromkeys(name for run in runs for row in run.rows[-1:] for name in row.probabilities or ())
    names |= dict.fromkeys(name for run in runs for row in run.rows if row.probabilities for name in row.probabilities)
    scenes = [_scene(name, [r for r in runs if _track(r, name)], n) for n, name in enumerate(names)]
    return [scene for scene in scenes if scene.has_data]


def _scene(name: str, runs: Sequence[Search], position: int) -> Scene:
    band = 66.0 if len(runs) == 1 else max(20.0, min(30.0, 160.0 / len(runs)))
    label = 0.0 if len(runs) == 1 else min(86.0, 8 + max(text_width(tag(run, len(runs)), SMALL) for run in runs))
    taken = 62.0
    items: list[Item] = [Text(0, 13, shortened(name, WIDTH, 11.5), 11.5, "start", "ink", True)]
    tracks = [_track(run, name) for run in runs]
    options = max((len(p) for track in tracks for _, p in track), default=0)
    words = []
    for n, (run, track) in enumerate(zip(runs, tracks, strict=True)):
        y = 24 + n * (band + 4)
        if label:
            items.append(
                Text(label - 6, y + band / 2 + 4, shortened(tag(run, len(runs)), label - 6, SMALL), SMALL, "end")
            )
        items += _areas(track, label, y, WIDTH - label - taken, band, run, name)
        option = taken_text(run, name)
        items.append(
            Text(WIDTH - taken + 6, y + band / 2 + 4, shortened(option, taken - 6, SMALL), SMALL, colour="ink")
        )
        if track:
            told = option if name in run.unused else f"{option} taken"
            words.append(f"{run.name}: {told}, probabilities at the end {_list(track[-1][1])}")
    height = 24 + len(runs) * (band + 4) + 18
    names = [option_text(o) for o in next((run.options[name] for run in runs if name in run.options), ())]
    items += _key(names, options, height - 5, label)
    about = f"Probability of each of {options} options of {name} over the steps. " + "; ".join(words)
    return Scene(f"choice-{position}", f"Choice {name}", about, WIDTH, height, tuple(items))


def _track(run: Search, name: str) -> list[tuple[float, tuple[float, ...]]]:
    """(step, probabilities) of a choice, of one length, at most 120 of them."""
    found = [(float(r.step), r.probabilities[name]) for r in run.rows if r.probabilities and name in r.probabilities]
    found = [(step, p) for step, p in found if p and len(p) == len(found[-1][1])]
    kept = thinned([(step, float(n)) for n, (step, _) in enumerate(found)], 120)
    return [found[int(n)] for _, n in kept]


def _areas(
    track: list[tuple[float, tuple[float, ...]]],
    x: float,
    y: float,
    width: float,
    height: float,
    run: Search,
    name: str,
) -> list[Item]:
    """Stacked areas, the first option at the bottom."""
    if not track:
        return [box(x, y, width, height, fill="band"), Text(x + 6, y + height / 2 + 4, "not recorded", SMALL)]
    if len(track) == 1:
        track = [track[0], (track[0][0] + 1, track[0][1])]
    first, last = track[0][0], track[-1][0]
    xs = [x + width * (step - first) / (last - first) for step, _ in track]
    below = [0.0] * len(track)
    items: list[Item] = []
    for option in range(len(track[0][1])):
        above = []
        for low, (_, p) in zip(below, track, strict=True):
            total = sum(max(v, 0.0) for v in p) or 1.0
            above.append(low + max(p[option], 0.0) / total)
        upper = [(px, y + height * (1 - min(v, 1.0))) for px, v in zip(xs, above, strict=True)]
        lower = [(px, y + height * (1 - min(v, 1.0))) for px, v in zip(xs, below, strict=True)]
        options = run.options.get(name, ())
        called = option_text(options[option]) if len(options) == len(track[0][1]) else f"option {option + 1}"
        note = f"{called}: {track[-1][1][option]:.1%} at the end; taken: {taken_text(run, name)}"
        outline = tuple(upper + lower[::-1])
        items.append(
            Shape(outline, "paper", option_colour(option, len(track[0][1])), 0.6, note=note, data=True)
        )  # fmt: skip
        below = above
    return items


def option_colour(option: int, options: int) -> str:
    """From the ramp, first option palest."""
    return ramp(0.08 + 0.92 * option / max(1, options - 1))


def _list(values: Sequence[float]) -> str:
    shown = ", ".join(f"{v:.2f}" for v in values[:SERIES])
    return shown + (", ..." if len(values) > SERIES else "")


def _key(names: Sequence[str], options: int, y: float, x: float) -> list[Item]:
    """Swatches with the options' names where they fit, else the first and the last one's."""
    if not options:
        return []
    names = names if len(names) == options else ["first option", *[""] * (options - 2), f"last of {options}"][:options]
    room = WIDTH - x
    full = [(option_colour(n, options), name) for n, name in enumerate(names)]
    if sum(14 + text_width(name, SMALL) + 10 for name in names) > room or not all(names):
        shown = min(options, 9)
        picked = [round(n * (options - 1) / max(1, shown - 1)) for n in range(shown)]
        ends = {picked[0]: names[0], picked[-1]: names[-1]}
        items: list[Item] = [Text(x, y, shortened(ends[picked[0]], 90, SMALL), SMALL)]
        at = x + text_width(items[0].text, SMALL) + 5  # type: ignore[union-attr]
        items += [box(at + 13 * k, y - 8, 11, 10, fill=option_colour(n, options)) for k, n in enumerate(picked)]
        return [*items, Text(at + 13 * shown + 3, y, shortened(ends[picked[-1]], 90, SMALL), SMALL)]
    items = []
    for colour, name in full:
        items += [box(x, y - 8, 10, 10, fill=colour), Text(x + 14, y, name, SMALL)]
        x += 14 + text_width(name, SMALL) + 10
    return items


def choices_table(run: Search, several: bool) -> Table:
    """Every choice: its options, the one taken, and the block of the network that it shaped."""
    blocks = {} if run.network is None else {y.source: f"{y.path} {y.kind}" for y in run.network.layers if y.source}
    rows = []
    for name in run.taken:
        options = ", ".join(map(option_text, run.options.get(name, ()))) or "not stated"
        source = max((s for s in blocks if name.startswith(f"{s}.")), key=len, default="")
        rows.append((name, taken_text(run, name), blocks.get(source, "–"), options))
    caption = (
        "A choice that is not used belongs to a block that is skipped, or to a branch that was not taken: the network "
        "does not depend on it."
    )
    title = f"The choices of {run.name}" if several else "Every choice"
    return Table(title, ("choice in the space", "taken", "block of the network", "options"), tuple(rows), caption, 0)
