"""What to do next with a run: commands ready to copy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dnas.grammar.catalogue import space_names
from dnas.judge.facts import accuracy
from dnas.judge.verdict import level_of
from dnas.runs.following import command
from dnas.runs.run import Imported, Run, Search, Training
from dnas.runs.seeds import several_among


@dataclass(frozen=True)
class Step:
    """What it is for, and the command; without one where only the user knows it."""

    why: str
    command: str = ""


def next_steps(run: Run) -> list[Step]:
    """The commands that make sense after this run, the most useful first."""
    if run.unfinished:
        return [Step("Where it is not running any more, the command that began it goes on with --resume")]
    measured = accuracy(run)
    level = "open" if measured is None else level_of(measured)
    steps: list[Step] = []
    if isinstance(run, Search):
        if level in ("chance", "weak"):
            steps.append(_longer(run))
        steps.append(Step("Train the network found", command("train", run.folder, *_data(run))))
        if run.facts.strategy != "random":
            steps.append(_baseline(run))
    if isinstance(run, Training) and level in ("chance", "weak"):
        steps.append(_trained_longer(run))
    if isinstance(run, Training):
        steps.append(Step("See which classes it mistakes", command("evaluate", run.folder, *_data(run))))
    if isinstance(run, Imported):
        steps.append(Step("Train it on images of your own", command("train", run.folder, "--data", "IMAGES")))
    steps.append(Step("Hand it over", command("export", run.folder, "--to", "onnx")))
    return steps


def next_of_all(runs: Sequence[Run]) -> list[Step]:
    """Of several runs: those of the best one that has ended."""
    ended = [run for run in runs if accuracy(run) is not None]
    if not ended:
        return [step for run in runs[:3] for step in next_steps(run)]
    several = several_among([run.folder for run in ended])
    named = [folder / one.take.folder for folder, one in several.items() if one.take is not None]
    ended = [run for run in ended if Path(run.folder).absolute() in named] or ended
    return next_steps(max(ended, key=lambda run: a.value if (a := accuracy(run)) else -1.0))


def _longer(run: Search) -> Step:
    preset = {"smoke": "quick", "quick": "paper"}.get(run.facts.preset)
    if preset is None:
        epochs = _twice(run.facts.settings.get("epochs"), 1.0)
        return Step("Search longer", _search(run, run.facts.strategy, "longer", "--epochs", epochs))
    return Step("Search longer", _search(run, run.facts.strategy, preset, preset=preset))


def _baseline(run: Search) -> Step:
    return Step("See what the search gains over random networks", _search(run, "random", "random"))


def _search(run: Search, strategy: str, ending: str, *more: str, preset: str | None = None) -> str:
    facts = run.facts
    space = facts.space
    if space not in space_names():
        space = str((run.provenance or {}).get("space_file", f"{space}.yaml"))
    family = [member.budget for member in run.family] if strategy != "random" else []
    budgets = [word for b in facts.budgets if b.budget not in family for word in ("--budget", b.budget)]
    budgets += ["--family", ",".join(family)] if family else []
    known = {"--preset": preset or facts.preset, "--seed": facts.seed, "--strategy": strategy}
    flags = [word for flag, value in known.items() if value not in (None, "not stated") for word in (flag, str(value))]
    out = Path(run.folder).with_name(f"{Path(run.folder).absolute().name}-{ending}")
    return command("search", space, *budgets, *_given_data(run), *flags, *more, "--out", str(out))


def _trained_longer(run: Training) -> Step:
    epochs = _twice((run.facts.recipe if run.facts else {}).get("epochs"), 10.0)
    out = Path(run.folder).with_name(f"{Path(run.folder).absolute().name}-longer")
    return Step("Train longer", command("train", run.folder, *_data(run), "--epochs", epochs, "--out", str(out)))


def _twice(epochs: Any, else_of: float) -> str:
    """Twice the epochs that a run records; of `else_of` where it records no number."""
    return f"{2 * (epochs if isinstance(epochs, int | float) else else_of):g}"


def _data(run: Search | Training) -> list[str]:
    """The option that names the run's own data; none where the run remembers them, or they come with dnas."""
    remembered = run.facts is not None and run.facts.data.path is not None
    return [] if remembered else _given_data(run)


def _given_data(run: Run) -> list[str]:
    """The option as the command that made the run had it."""
    given = _option(run, "--data")
    return ["--data", given] if given else []


def _option(run: Run, name: str) -> str:
    """The value of an option in the command that made the run."""
    words = _argv(run)
    for n, word in enumerate(words):
        if word.startswith(f"{name}="):
            return word.partition("=")[2]
        if word == name and n + 1 < len(words):
            return words[n + 1]
    return ""


def _argv(run: Run) -> list[str]:
    words = (run.provenance or {}).get("command", [])
    return [str(word) for word in words[1:]] if isinstance(words, list) else []
