"""What is recorded of the spaces of a space evolution, as JSON values, and how it is told."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from dnas.search.settings import Settings
from dnas.search.space_quality import TOP, Number
from dnas.search.space_update import Fit, Measured, Move
from dnas.space.space import Space

DIGITS = 4
Facts = Mapping[str, Any]


def measured(space: Space, found: Measured, accuracies: Sequence[float]) -> dict[str, Any]:
    """A space by the networks that were drawn from it. Errors and slopes are in percentage points."""
    return {
        "name": space.name,
        "expected_error": round(found.quality.expected, DIGITS),
        "top_error": round(found.quality.top, DIGITS),
        "et_error": round(found.quality.et, DIGITS),
        "lists": [_list(fit) for fit in found.fits],
        "left": [{"name": p.name, "options": list(p.options)} for p in found.parts.all if not p.numeric],
        "accuracies": [round(accuracy, 6) for accuracy in accuracies],
        "document": space.document.data,
    }


def _list(fit: Fit) -> dict[str, Any]:
    subspace = fit.subspace
    return {
        "name": subspace.name, "stage": subspace.stage, "dimension": subspace.dimension,
        "choices": list(subspace.choices), "options": list(fit.options),
        "et_errors": [None if math.isnan(e) else round(e, DIGITS) for e in fit.errors],
        "slope": round(fit.line.slope, DIGITS),
        "intercept": None if math.isnan(fit.line.intercept) else round(fit.line.intercept, DIGITS),
        "gamma": fit.gamma, "wanted": fit.wanted,
    }  # fmt: skip


def moves(made: Sequence[Move]) -> dict[str, Any]:
    """What became of the lists of a space."""
    found = {m.fit.subspace.name: {"count": m.count, "options": list(m.options), "why": m.why} for m in made}
    return {"moves": found}


def moved(facts: Facts) -> bool:
    """Whether any list of a space moved."""
    return any(move["count"] for move in facts["moves"].values())


def gammas(former: Sequence[Facts]) -> dict[str, Number]:
    """Steps of the lists, each as it was where the list was first met."""
    return {one["name"]: one["gamma"] for facts in reversed(former) for one in facts["lists"]}


def summary(spaces: Sequence[Facts], s: Settings) -> dict[str, Any]:
    """For the file of the network found."""
    return {
        "rule": s.space_rule, "tau": s.space_tau, "supernet": s.supernet,
        "spaces": [{"name": f["name"], "networks": len(f["accuracies"]), "et_error": f["et_error"]} for f in spaces],
    }  # fmt: skip


def warning(spaces: Sequence[Facts]) -> str:
    """What to say where the last space is not the best one."""
    errors = [facts["et_error"] for facts in spaces]
    if errors[-1] <= min(errors):
        return ""
    best = min(range(len(errors)), key=lambda n: errors[n])
    where = f"spaces/step{best}.yaml" if best else "the space that was given"
    return (
        f"the last space is not the best: E-T errors {', '.join(f'{e:.2f} %' for e in errors)}. Train the supernets "
        f"longer (--epochs), draw more networks (--samples), or search {where}"
    )


def said(facts: Facts) -> list[str]:
    """Lines for people on a space, and on what became of its lists."""
    lines = [f"{facts['name']}: {_quality(facts)}"]
    for one in facts["lists"]:
        move = facts["moves"][one["name"]]
        if move["count"] or move["why"]:
            lines.append(f"  {one['name']}: {_step(one, move)}")
    still = [n for n, move in facts["moves"].items() if not (move["count"] or move["why"])]
    lines += [f"  as they are: {', '.join(still)}"] if still else []
    left = ", ".join(part["name"] for part in facts["left"])
    return lines + ([f"  left as they are, for they are no numbers: {left}"] if left else [])


def _quality(facts: Facts) -> str:
    of, mean, top = len(facts["accuracies"]), facts["expected_error"], facts["top_error"]
    return f"E-T error {facts['et_error']:.2f} % of {of} networks (mean {mean:.2f} %, lowest {TOP} {top:.2f} %)"


def _step(one: Facts, move: Facts) -> str:
    shown = _shown(one["options"]) + (f" -> {_shown(move['options'])}" if move["count"] else "")
    why = f" ({move['why']})" if move["why"] else ""
    return f"{shown}, slope {one['slope']:+.2f}{why}"


def remarks(spaces: Sequence[Facts], number: int, space: Space) -> dict[tuple, str]:
    """Place in the document of `space`, which is number `number`, -> why the list there has changed, step by step."""
    told: dict[tuple, list[str]] = {}
    for step, (facts, after) in enumerate(zip(spaces[:number], spaces[1:], strict=False), 1):
        for one in facts["lists"]:
            move = facts["moves"][one["name"]]
            if not move["count"]:
                continue
            text = f"step {step}: {_step(one, move)}, E-T error {_errors(one, after)}"
            for place in {space.places[name]: None for name in one["choices"] if name in space.places}:
                told.setdefault(place, []).append(text)
    return {place: "; ".join(texts) for place, texts in told.items()}


def _errors(one: Facts, after: Facts) -> str:
    """The mean E-T error over a list's options before a move and after it."""
    same = [other for other in after["lists"] if other["name"] == one["name"]]
    then = _mean(same[0]["et_errors"]) if same else after["et_error"]
    return f"{_mean(one['et_errors']):.2f} % -> {then:.2f} %"


def _mean(errors: Sequence[float | None]) -> float:
    known = [error for error in errors if error is not None]
    return sum(known) / len(known) if known else math.nan


def head(spaces: Sequence[Facts], number: int, budgets: Sequence[str], s: Settings) -> list[str]:
    """Lines above the document of space `number`."""
    limits = f"within {' and '.join(budgets)}" if budgets else "without a budget"
    errors = ", ".join(f"{facts['name']} {facts['et_error']:.2f} %" for facts in spaces[: number + 1])
    left = ", ".join(part["name"] for part in spaces[0]["left"])
    return [
        f"Made of {spaces[0]['name']} by space evolution (S3, Chen et al. 2021), in {number} "
        f"{'step' if number == 1 else 'steps'}.",
        f"E-T errors, of networks drawn evenly {limits}: {errors}.",
        f"A list moves by -{s.space_rule}(slope / {s.space_tau:g}) of its first spacings (tau is not published: ours).",
        "Slopes are changes of the E-T error in percentage points from one choice to the next.",
        *([f"Left as they are, for they are no numbers: {left}."] if left else []),
    ]  # fmt: skip


def _shown(options: Sequence[Any]) -> str:
    return "[" + ", ".join(map(str, options)) + "]"
