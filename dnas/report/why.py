"""Why the network is as it is: its choices, what each matters for, where the budget goes, what else was tried."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from dnas.judge import amounts
from dnas.judge.facts import option_text, tag, taken_text
from dnas.judge.importance import cost_ranges, explained
from dnas.report.spec import PERCENT, PLAIN, RAMP, ROW, Chart, Row, Spec, chart, colour, hues, mark, names, q
from dnas.runs.candidates import Candidate
from dnas.runs.evaluation import Evaluation
from dnas.runs.joint import Record
from dnas.runs.run import NetworkFacts, Run, Search

POINTS = 6000
"""Most probabilities over time on a page."""
OPTIONS = {"field": "place", **RAMP, "legend": None}


def shares(run: Search, alone: bool) -> Iterator[Chart]:
    """The probabilities of every choice at the end; of a run alone also over the steps, for the one that is picked."""
    known = [row for row in run.rows if row.probabilities]
    last = run.last_probabilities
    if not last:
        return
    about = "How probable each option was at the end, in the order of the table below; frames mark what was taken."
    share = {"field": "probability", "type": "quantitative", "axis": {"format": ".0%", "tickCount": 5}}
    x = {**share, "stack": "zero", "title": "probability", "scale": {"domain": [0, 1]}}
    frame = {"condition": {"test": "datum.taken", "value": "#d9731a"}, "value": None}
    bar = mark("bar", None, f"choice, option, taken, probability:{PERCENT}", x=x, y=names("choice"), color=OPTIONS,
               order={"field": "place"}, stroke=frame, strokeWidth=1.5, cursor="pointer")  # fmt: skip
    title = "How decided each choice is" + ("" if alone else f", {run.name}")
    rows, tall = list(_options(run, last)), max(80, ROW * len(last) + 20)
    yield chart(f"choices-{run.position}", title, about, rows, bar, tall=tall)
    if alone:
        alike = [row for row in known if (row.probabilities or {}).keys() == last.keys()]
        kept = alike[:: max(1, len(alike) * sum(map(len, last.values())) // POINTS)]
        rows = [{"step": row.step, **one} for row in kept for one in _options(run, row.probabilities or {})]
        pick = {"name": "choice", "value": next(iter(last)), "bind": {"input": "select", "options": list(last)}}
        area = mark("area", None, "option", x=q("step", form="~s"), y={**share, "stack": "normalize"}, color=OPTIONS,
                    order={"field": "place"}, detail={"field": "option"})  # fmt: skip
        about = "The probability of each option over the steps, stacked. Pick a choice below, or click one in its list."
        yield chart("over-time", "How one choice came about", about, rows, area, params=[pick],
                    transform=[{"filter": "datum.choice == choice"}])  # fmt: skip


def _options(run: Search, probabilities: dict[str, Any]) -> Iterator[Row]:
    for choice, values in probabilities.items():
        known = [option_text(o) for o in run.options.get(choice, ())]
        known = known if len(known) == len(values) else [f"option {n + 1}" for n in range(len(values))]
        for n, value in enumerate(values):
            yield {"choice": choice, "option": known[n], "place": n / max(1, len(values) - 1),
                   "probability": round(value, 4), "taken": known[n] == taken_text(run, choice)}  # fmt: skip


def importance(run: Run, found: Sequence[Candidate], record: Record | None) -> Iterator[Chart]:
    """What every choice matters for: for accuracy where candidates tell it, for the cost where the space is known."""
    matter = [(f.name, f.share, f.error) for f in record.fields] if record else [(*p, 0.0) for p in explained(found)]
    how = "by the predictor of the search (total Sobol index, with its spread over the ensemble)" if record else (
        f"over {len(found)} candidates (correlation ratio; chance alone makes it more than 0)")  # fmt: skip
    rows = [{"choice": key, "share": share, "low": 0.0, "high": share, "from": max(0.0, share - error),
             "to": share + error} for key, share, error in sorted(matter, key=lambda one: -one[1])]  # fmt: skip
    about = f"Share of the variance of accuracy that goes with each choice, {how}."
    yield from _ranges("matters-loss", "What matters for accuracy", about, rows, f"share:{PERCENT}", record is not None)
    ranges = cost_ranges(run) if isinstance(run, Search) else []
    rows = [{"choice": key, "low": low / now - 1, "high": high / now - 1, "from": amounts.shown("MACs", low),
             "to": amounts.shown("MACs", high)}
            for key, low, high, now in sorted(ranges, key=lambda one: one[1] - one[2])]  # fmt: skip
    about = (
        "Multiply-adds with this choice alone changed, from its cheapest option to its dearest, against those found."
    )
    yield from _ranges("matters-cost", "What matters for the cost", about, rows, "from, to", False)


def _ranges(key: str, title: str, about: str, rows: list[Row], told: str, errors: bool) -> Iterator[Chart]:
    y, x = names("choice"), q("low", " ", ".0%", True)
    ends: Spec = {"x": {**x, "field": "from"}, "x2": {"field": "to"}}
    marks = [mark("bar", None, f"choice, {told}", y=y, x=x, x2={"field": "high"})]
    marks += [mark("rule", None, f"choice, {told}", y=y, **ends)] if errors else []
    if rows:
        yield chart(key, title, about, rows, *marks, tall=max(80, ROW * len(rows) + 20))


def spent(network: NetworkFacts) -> Chart:
    """Where the budget goes, layer by layer: multiply-adds, parameters, and milliseconds where a table has them."""
    parts = {"MACs": {y.path: y.macs for y in network.layers}, "params": {y.path: y.params for y in network.layers}}
    parts |= {f"ms {table}": times for table, times in network.times.items()}
    totals = {unit: sum(values.values()) for unit, values in parts.items()}
    rows = [
        {"block": f"{y.path} {y.kind}", "what": unit, "share": values.get(y.path, 0) / (totals[unit] or 1),
         "amount": amounts.shown(unit, values.get(y.path, 0)), "in the space": y.source or "–"}
        for y in network.layers for unit, values in parts.items()
    ]  # fmt: skip
    bar = mark("bar", None, f"block, what, amount, in the space, share:{PERCENT}", y=names("block", limit=170),
               x=q("share", "share of the whole network", PERCENT, True), yOffset={"field": "what", "sort": None},
               color=colour("what", parts))  # fmt: skip
    about = f"The share of every block of {', '.join(amounts.shown(*total) for total in totals.items())}."
    about += " Times are the table's entries, without its base." * bool(network.times)
    tall = max(100, 9 * len(parts) * len(network.layers) + 30)
    return chart("layers", "Layer by layer", about, rows, bar, tall=tall)


def spent_by_kind(runs: Sequence[Run]) -> Iterator[Chart]:
    """The multiply-adds of several networks by the kind of block."""
    rows = [
        {"run": tag(run, len(runs)), "what": kind, "MACs": macs, "amount": amounts.shown("MACs", macs)}
        for run in runs if run.network for kind in dict.fromkeys(y.kind for y in run.network.layers)
        if (macs := sum(y.macs for y in run.network.layers if y.kind == kind))
    ]  # fmt: skip
    bar = mark("bar", None, "run, what, amount", y=names("run", limit=150), x=q("MACs", form="~s", zero=True),
               color=colour("what", (row["what"] for row in rows)))  # fmt: skip
    about, tall = "Multiply-adds by the kind of block, at each network's own input.", 18 * len(runs) + 60
    if rows:
        yield chart("spent", "Multiply-adds by kind", about, rows, bar, tall=tall)


def tried(found: Sequence[Candidate]) -> Iterator[Chart]:
    """Candidates by their options, a line each, from choice to choice."""
    first = next((one.taken for one in found if one.taken), {})
    known = [one for one in found if one.taken and one.taken.keys() == first.keys()]
    options = {c: {one.taken[c] for one in known} for c in first}
    several = {c: sorted(o, key=lambda v: (isinstance(v, str), v)) for c, o in options.items() if len(o) > 1}
    rows = [
        {"choice": c, "candidate": one.name, "option": option_text(one.taken[c]), "accuracy": one.accuracy,
         "at": o.index(one.taken[c]) / (len(o) - 1), "n": n}
        for one in known for n, (c, o) in enumerate(several.items())
    ]  # fmt: skip
    axis = {"labels": False, "tickCount": 3}
    x = {"field": "at", "type": "quantitative", "title": "options, the smallest on the left", "axis": axis}
    legend = {"type": "gradient", "format": PERCENT, "title": "accuracy", "gradientLength": 110, "tickCount": 2}
    on = {"type": "point", "fields": ["candidate"], "on": "pointerover", "clear": "pointerout"}
    seen = {"condition": {"param": "hover", "empty": True, "value": 0.9}, "value": 0.1}
    common: Spec = {"x": x, "y": names("choice", grid=True), "color": {"field": "accuracy", **RAMP, "legend": legend}}
    line = mark("line", strokeWidth=1.6, **common, detail={"field": "candidate"}, order={"field": "n"}, opacity=seen)
    told = f"candidate, choice, option, accuracy:{PERCENT}"
    dot = mark("point", None, told, filled=True, size=60, **common, opacity=seen)
    about = "Each line is a candidate, from choice to choice; the pointer on a dot makes it stand out. "
    about += "Choices that all have in common are left out."
    if rows:
        marks = (line, {**dot, "params": [{"name": "hover", "select": on}]})
        tall = max(100, 22 * len(several) + 30)
        yield chart("tried", "The candidates, choice by choice", about, rows, *marks, tall=tall)


def expected(record: Record) -> Chart:
    """Measured against predicted accuracy of a joint search."""
    rows = [{"what": "candidates", "name": t.folder, "predicted": t.expected, "measured": t.curve[record.end(t.curve)]}
            for t in record.trained if t.expected is not None]  # fmt: skip
    rows += [{"what": "results", "name": w.folder, "predicted": w.predicted, "measured": w.curve[record.end(w.curve)]}
             for m in record.members for w in m.winners]  # fmt: skip
    ends = [row[k] for row in rows for k in ("predicted", "measured")]
    alike = [{"predicted": v, "measured": v} for v in (min(ends, default=0), max(ends, default=1))]
    axes: Spec = {"x": q("predicted", "predicted accuracy", PERCENT), "y": q("measured", "measured accuracy", PERCENT)}
    told = f"name, what, predicted:{PERCENT}, measured:{PERCENT}"
    dot = mark("point", None, told, filled=True, size=80, **axes, color=colour("what", (row["what"] for row in rows)))
    when = "" if record.epoch is None else f" after epoch {record.epoch}, where most trainings stopped"
    about = f"Each dot is a training: what the predictor expected, and the validation accuracy measured{when}."
    line = mark("line", alike, strokeDash=[4, 3], **axes)
    return chart("joint", "Predicted against measured", about, rows, line, dot)


def confusion(run: str, report: Evaluation) -> Chart:
    """Which class was taken for which, as `dnas.evaluate --json` tells it."""
    known = report.classes
    rows = [
        {"right class": known[n], "taken for": known[m], "images": many, "share": many / (sum(line) or 1)}
        for n, line in enumerate(report.confusion or ()) for m, many in enumerate(line)
    ]  # fmt: skip
    shade = {"field": "share", **RAMP, "legend": {"format": ".0%", "title": None}}
    rect = mark("rect", None, f"right class, taken for, images, share:{PERCENT}", color=shade,
                x=names("taken for", "taken for", 90, labelAngle=-45), y=names("right class", limit=90))  # fmt: skip
    about = f"Share of each class's {report.split} images that was taken for each class; the diagonal is right."
    return chart(
        f"confusion-{run}", f"Which class is taken for which: {run}", about, rows, rect, tall=max(220, 22 * len(known))
    )


def evolved(runs: Sequence[Search]) -> Iterator[Chart]:
    """E-T errors of the spaces of space evolutions, and at each choice of every list that moved, with its line."""
    spaces = [(tag(run, len(runs)), n, s) for run in runs if run.evolution for n, s in enumerate(run.evolution.spaces)]
    rows = [{"run": run, "space": space.name, "n": n, "error": space.et_error} for run, n, space in spaces]
    axes: Spec = {"x": q("n", "steps of the space", "d"), "y": q("error", "E-T error, %")}
    told = f"run, space, error:{PLAIN}"
    line = mark("line", None, told, point=True, **axes, color=hues(runs, len(runs)))
    about = "Of networks drawn from each space within the budgets: smaller is better."
    if rows:
        yield chart("spaces", "Error from space to space", about, rows, line)
    for run, key in dict.fromkeys((run, one.name) for run, _, space in spaces for one in space.lists):
        lists = [(s.name, one) for r, _, s in spaces if r == run for one in s.lists if one.name == key]
        rows = [
            {"space": space, "option": option, "error": error,
             "line": None if one.intercept is None else one.slope * n + one.intercept}
            for space, one in lists for n, (option, error) in enumerate(zip(one.options, one.et_errors, strict=True))
        ]  # fmt: skip
        axes = {"x": q("option", key), "color": colour("space", (row["space"] for row in rows))}
        dot = mark("point", None, f"space, option:{PLAIN}, error:{PLAIN}", filled=True, size=60,
                   y=q("error", "E-T error, %"), **axes)  # fmt: skip
        line = mark("line", strokeDash=[4, 3], y=q("line", "E-T error, %"), **axes)
        about = "E-T error of networks with each choice, and the line fitted: where it falls the list moves up."
        title = f"{key}, {run}" if len(runs) > 1 else key
        yield chart(f"list-{run}-{key}", title, about, rows, line, dot, tall=170)
