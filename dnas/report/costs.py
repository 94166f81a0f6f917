"""Accuracy against cost, and against what else was measured: runs, candidates, the steps that led to a network."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from dnas.judge import amounts, beside
from dnas.judge.beside import Known, front
from dnas.judge.facts import FEW, accuracy, chance_lines, kind, same_data, tag
from dnas.report.spec import COUNT, PERCENT, PLAIN, SHOWN, Chart, Row, Spec, chart, colour, hues, levels, mark, names, q
from dnas.runs.candidates import Candidate, error
from dnas.runs.comparison import Compared
from dnas.runs.run import Run, Search


def pareto(runs: Sequence[Run]) -> Iterator[Chart]:
    """Several runs by their accuracy on test images: a chart a data set and unit of cost."""
    measured = [run for run in runs if run.network is not None and accuracy(run) is not None]
    for n, (data, alike) in enumerate(same_data(measured).items() if len(runs) > 1 else ()):
        for unit, rows in _by_unit(row for run in alike for row in _run_rows(run, len(runs))):
            best = [{"cost": c, "accuracy": a} for c, a in front([(r["cost"], r["accuracy"]) for r in rows])]
            about = (
                f"Each dot is a network, with its standard error, on test images of {data}; the line joins those that "
                "no other beats in both. Counted at the input that the table tells. A click shows the network."
            )
            line = [mark("line", best, strokeWidth=1, strokeDash=[4, 3], **_axes(unit))] if len(best) > 1 else []
            key, coloured = f"pareto-{unit}-{n}", hues(runs, len(runs))
            yield _plot(key, f"Accuracy against {unit}", about, rows, coloured, line, chance_lines(alike))


def _by_unit(rows: Iterator[Row]) -> list[tuple[str, list[Row]]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row["unit"], []).append(row)
    return list(found.items())


def _row(name: str, what: str, value: float, error: float, unit: str, cost: float, **more: object) -> Row:
    costs = amounts.shown(unit, cost)
    return {"name": name, "what": what, **_ends(value, error), "unit": unit, "cost": cost, "costs": costs, **more}


def _ends(value: float, error: float) -> Row:
    """An accuracy, and one error down and up."""
    return {"accuracy": value, "low": value - error, "high": value + error}


def _run_rows(run: Run, count: int) -> Iterator[Row]:
    network, value = run.network, accuracy(run)
    assert network is not None and value is not None
    counted = {"MACs": float(network.counted.macs), "params": float(network.counted.params)}
    budgets = run.facts.budgets if isinstance(run, Search) else ()
    counted |= {amounts.unit(b.budget): b.cost for b in budgets if "@" in b.budget and b.cost is not None}
    more = {"run": tag(run, count), "network": f"{run.position}"}
    yield from (_row(run.name, kind(run), value.value, value.error or 0, u, c, **more) for u, c in counted.items())


def _axes(unit: str) -> Row:
    """With room around the dots: what a chart that can be moved shows is cut off at its frame."""
    form = COUNT if unit in ("MACs", "params") else PLAIN
    return {"x": q("cost", unit, form, padding=14), "y": q("accuracy", "", PERCENT, padding=14)}


def _plot(
    key: str, title: str, about: str, rows: Sequence[Row], coloured: Spec, below: Sequence[Spec],
    lines: Sequence[tuple[float, str]], limits: Sequence[tuple[float, str]] = (),
) -> Chart:  # fmt: skip
    """Dots with their errors over what is drawn `below` them."""
    told, look = "name, what, costs", {"color": coloured, "opacity": SHOWN, "cursor": "pointer"}
    marks = _erred("y", _axes(rows[0]["unit"]), told, True, **look)
    return chart(key, title, about, rows, *levels(lines), *levels(limits, "x"), *below, *marks, tall=270)


def _erred(along: str, axes: Row, told: str, zoom: bool, **look: Any) -> tuple[Spec, Spec]:
    """Dots at accuracies along an axis, and their errors."""
    ends = {**axes, along: {**axes[along], "field": "low"}, f"{along}2": {"field": "high"}}
    dot = mark("point", None, f"{told}, accuracy:{PERCENT}", zoom, filled=True, size=90, **axes, **look)
    return mark("rule", strokeWidth=1.5, **ends, **look), dot


def met(runs: Sequence[Run], found: dict[int, list[Candidate]]) -> Iterator[Chart]:
    """The candidates of each run that know their costs, by unit: its chain, its race, its family."""
    rows = (
        _row(f"{run.name}, {one.name}", one.origin, one.accuracy, one.error, unit, cost, run=tag(run, len(runs)), n=n,
             did=one.actions, network=f"{run.position}-{n}" if one.network else "")
        for run in runs for n, one in enumerate(found[run.position]) for unit, cost in one.costs.items()
    )  # fmt: skip
    for unit, some in _by_unit(rows):
        coloured = colour("what", (row["what"] for row in some)) if len(runs) == 1 else hues(runs, len(runs))
        path: Spec = {"color": coloured, "order": {"field": "n"}, "detail": {"field": "run"}}
        chain = mark("line", where="datum.what == 'chain'", strokeWidth=1, **_axes(unit), **path)
        limits = tuple(dict.fromkeys(_limits(runs, unit))) if len(runs) <= FEW else ()
        about = (
            "Candidates that the search met, on images that chose: the choices' share of the training images. "
            "A dotted vertical is a budget. A click shows a network, where it was kept."
        )
        title = f"The candidates: accuracy against {unit}"
        below = [chain] if any(row["what"] == "chain" for row in some) else []
        yield _plot(f"met-{unit}", title, about, some, coloured, below, chance_lines(runs), limits)


def _limits(runs: Sequence[Run], unit: str) -> Iterator[tuple[float, str]]:
    for run in (run for run in runs if isinstance(run, Search)):
        texts = [*(b.budget for b in run.facts.budgets), *(m.budget for m in run.family)]
        yield from ((m, f"budget {t}") for t in texts if amounts.unit(t) == unit and (m := amounts.limit(t)))


def steps(runs: Sequence[Run]) -> Iterator[Chart]:
    """Accuracy along the steps that led to networks which were made smaller, against each cost and time."""
    for unit, rows in _by_unit(row for run in runs for row in _step_rows(run, len(runs))):
        about = "Each dot is the network after a step, on images that chose nothing; the line follows the steps."
        about += " One image in onnxruntime, on one thread of the machine that made it smaller." * (unit == "ms")
        coloured = hues(runs, len(runs))
        line = mark("line", strokeWidth=1, **_axes(unit), color=coloured, order={"field": "n"})
        yield _plot(f"steps-{unit}", f"From step to step: {unit}", about, rows, coloured, [line], ())


def _step_rows(run: Run, count: int) -> Iterator[Row]:
    made = [({"MACs": s.macs, "MB": s.bytes / 1e6}, f"{s.step} {s.detail}", s.accuracy, s.images) for s in run.lineage]
    times = ms if isinstance(ms := (run.provenance or {}).get("ms"), dict) else {}  # stage by stage, on that machine
    timed = [s for s in run.stages if isinstance(times.get(s.stage), int | float)]
    made += [({"ms": times[s.stage]}, s.stage, s.test_accuracy, s.test_images) for s in timed]
    for n, (costs, step, value, images) in enumerate(made):
        for unit, cost in costs.items() if value is not None else ():
            yield _row(step, "step", value or 0, error(value or 0, images), unit, cost, run=tag(run, count), n=n)


def dots(key: str, title: str, about: str, known: Iterable[Known], lines: Sequence[tuple[float, str]]) -> Chart:
    """Accuracies by name, the first on top, with their errors; what they are on tells colours apart."""
    rows = [{"name": k.name, "what": k.on, "more": k.more, **_ends(k.value, k.error)} for k in known]
    axes = {"y": names("name", limit=150), "x": q("accuracy", "", PERCENT)}
    marks = _erred("x", axes, "name, what, more", False, color=colour("what", (row["what"] for row in rows)))
    return chart(key, title, about, rows, *levels(lines, "x"), *marks, tall=max(90, 24 * len(rows) + 20))


def against(run: Run, found: Sequence[Candidate]) -> Iterator[Chart]:
    """The accuracy of one run's network beside every other that is known."""
    about = "Each bar reaches one standard error to both sides; the dotted line is chance. Compare within a colour."
    if rows := list(beside.known(run, found)):
        yield dots("against", "Accuracy against what else is known", about, rows, chance_lines([run]))


def comparison(compared: Compared, key: str) -> Chart:
    """Every network of a comparison by its accuracy, the best on top."""
    lines = [(compared.chance, f"chance {compared.chance:.1%}")]
    lines += [] if compared.drawn is None else [(compared.drawn.mean, "mean of those drawn")]
    about = "Each dot is a network, trained like all others; its bar reaches one standard error to both sides. Dotted: "
    about += f"{', '.join(text for _, text in lines)}."
    return dots(key, "Was the search worth it?", about, beside.compared(compared), lines)
