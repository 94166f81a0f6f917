"""A joint search from its folder to its result.

architecture.json    the architecture found, as trained (with weights.safetensors, history.jsonl)
recipe.yaml          its recipe, which `dnas.train --recipe` takes
joint.json           every training, what the predictor expected, which fields matter, the result for each budget
joint.md, joint.png  the same for people
family/              architecture and recipe for each budget, where there are several
trainings/           a folder for each training, as `dnas.train` writes it
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from dnas.data.hugging_face import PROCESSOR
from dnas.errors import UserError
from dnas.fanout.task import Pool
from dnas.files import read_document, write_atomic, write_json
from dnas.graph.architecture import architecture
from dnas.joint import report
from dnas.joint.early import rank_correlation
from dnas.joint.importance import importances
from dnas.joint.pairs import Pairs, Row
from dnas.joint.pool import pool
from dnas.joint.predictor import Fitted, Predictor
from dnas.joint.record import coarse_of, fits, members_of
from dnas.joint.request import Given
from dnas.joint.stages import Coarse, Winner, coarse, fine, fit
from dnas.joint.trainings import Trainings
from dnas.learning import weights
from dnas.process.progress import working
from dnas.process.provenance import provenance, versions
from dnas.runs import following
from dnas.runs import joint as records
from dnas.runs.folder import PARTS, PROVENANCE, Claim, Claiming, Owner, claimed
from dnas.runs.history import HISTORY
from dnas.runs.joint import RECORD, Cost, Ended, Field, Member, Record, TrainedPair
from dnas.runs.read import read_run
from dnas.runs.recall import data_record
from dnas.runs.result import ARCHITECTURE, WEIGHTS, read_result
from dnas.search.chain_files import file_name
from dnas.train.folders import digest, recorded
from dnas.train.recipe import read_recipe
from dnas.train.run import RECIPE

DIGITS = 6


def run_joint(
    given: Given, out: Path, workers: Pool, console: Any, claiming: Claiming, commands: bool = True
) -> None:  # fmt: skip
    """Searches and writes the result's files; with `commands` it ends by telling them and the commands that follow.

    Trainings that are there are read. A folder whose coarse stage has ended begins with what that has learned, so other
    budgets cost the trainings of their winners alone.

    Raises:
        UserError: another run's folder or one that cannot be written, and what a training raises.
        Stopped: asked to leave by a signal; every training is kept.
    """

    def say(line: str) -> None:
        console.print(line, markup=False, soft_wrap=True)

    with claimed(out, Owner("search", identity(given)), claiming, say) as claim:
        if claiming.overwrite:
            shutil.rmtree(claim.folder / PARTS, ignore_errors=True)
        former = None if claiming.overwrite else records.read_record(claim.folder)
        known = former if former is not None and fits(former, given.pairs, given.plan, claim.folder) else None
        before = [] if former is None else members_of(former, given.pairs, claim.folder)
        for line in report.opening(given, known):
            say(line)
        found = _searched(given, known, before, claim.folder, workers, console, claiming.overwrite)
        _write(given, found, claim)
        for line in (*report.closing(found), *(_told(claim.folder) if commands else ())):
            say(line)


def identity(given: Given) -> dict[str, Any]:
    """What must be the same for a folder's trainings to be those of this search; budgets and their numbers are not."""
    recipes = {name: [len(q.over), q.table.reshape(-1).tolist()] for name, q in given.recipes.fields.items()}
    told = [recipes, dict(given.recipes.scaled), dict(given.values)]
    return {
        "strategy": "joint",
        "space": digest(msgspec.json.encode(given.pairs.space.document.data, order="sorted").decode()),
        "classes": given.pairs.space.classes,
        "data": given.images.fingerprint,
        "image_size": given.images.side,
        "recipe": digest(msgspec.json.encode(told, order="sorted").decode()),
        "seed": given.seed,
        **({} if given.precision is None else {"precision": given.precision}),
        "versions": versions(),
    }


def _searched(
    given: Given, known: Record | None, former: Sequence[Member], out: Path, workers: Pool, console: Any, anew: bool
) -> Record:  # fmt: skip
    """Both stages for every budget; `former` are results for others, which stay."""
    extra = given.plan.last * len(given.targets)
    most = extra if known is not None else sum(given.plan.coarse) + extra
    trainings = Trainings(
        given.pairs, given.recipes, given.values, given.images, given.seed, out, workers, console, most,
        given.precision, anew,
    )  # fmt: skip
    with working(console, "the predictor learns the costs"):
        predictor = Predictor(given.pairs, given.seed, given.plan.trainings)
    stage = coarse(given.pairs, given.plan, predictor, trainings, given.seed) if known is None else coarse_of(known)
    for line in [] if known is not None else report.stopped(stage):
        console.print(line, markup=False)
    fitted = fit(predictor, stage)
    members: dict[str, Member] = {}
    for pairs in given.targets:
        winners = fine(pairs, given.plan, fitted, stage, trainings, given.seed)
        member = _member(pairs, winners, trainings, out)
        members[member.name] = member
    others = (member for member in former if member.name not in members)
    return _record(given, known, stage, fitted, trainings, (*members.values(), *others))


def _record(
    given: Given, known: Record | None, stage: Coarse, fitted: Fitted, trainings: Trainings, members: Sequence[Member]
) -> Record:  # fmt: skip
    pairs = given.pairs
    trained = tuple(
        TrainedPair(t.row, t.curve, _rounded(t.expected), _folder(trainings, t.row, len(t.curve), stage.epoch))
        for t in stage.trained
    )
    expected = [(t.expected, stage.accuracy(t.curve)) for t in stage.trained if t.expected is not None]
    ranks = rank_correlation(*zip(*expected, strict=True)) if len(expected) > 2 else None
    fields = importances(pairs, fitted, pool(pairs, 512, given.seed))
    budgets = tuple(m.budget.text for m in pairs.budgets) if known is None else known.coarse_budgets
    return Record(
        pairs.space.name, given.seed, data_record(given.dataset, given.seed), given.images.side,
        msgspec.to_builtins(given.plan), {c.name: c.options for c in pairs.choices}, budgets, stage.epoch,
        tuple(round(c, DIGITS) for c in stage.correlations), trained, _rounded(ranks),
        tuple(Field(f.name, round(f.share, 4), round(f.error, 4)) for f in fields), tuple(members),
    )  # fmt: skip


def _folder(trainings: Trainings, row: Row, epochs: int, epoch: int | None) -> str:
    """Of a candidate, whole or stopped early."""
    until = epoch if epoch is not None and epochs <= epoch else None
    return trainings.place(row, until).folder.relative_to(trainings.out).as_posix()


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, DIGITS)


def _member(pairs: Pairs, winners: list[Winner], trainings: Trainings, out: Path) -> Member:
    """The result within the budgets of `pairs`."""
    ended = []
    if trainings.diverged(winners[0].row):
        raise UserError("every training within the budgets that ran to its end diverged; try smaller learning rates")
    for w in winners:
        folder = trainings.place(w.row, None).folder
        test = None if trainings.diverged(w.row) else float(recorded(folder)["accuracy"]["test"])
        place = folder.relative_to(out).as_posix()
        ended.append(Ended(w.row, w.curve, round(w.predicted, DIGITS), round(w.spread, DIGITS), test, place))
    best = winners[0].row
    assignment = pairs.architecture(best)
    costs = tuple(Cost(m.budget.text, m.budget.limit, float(m.at(assignment))) for m in pairs.budgets)
    taken = {c.name: c.options[n] for c, n in zip(pairs.choices, best, strict=True)}
    return Member(costs, tuple(ended), taken)


def _write(given: Given, found: Record, claim: Claim) -> None:
    """The files of the result, read back and put in place as a set."""
    with claim.result(check) as staged:
        own = found.members[0]
        folder = claim.folder / own.winners[0].folder
        write_json(staged / ARCHITECTURE, document(given, found, own, claim.folder))
        for name in (WEIGHTS, HISTORY, RECIPE, PROCESSOR):
            shutil.copyfile(folder / name, staged / name)
        for member in found.members if len(found.members) > 1 else ():
            name = file_name(member.name)
            write_json(staged / "family" / name, document(given, found, member, claim.folder))
            recipe = (claim.folder / member.winners[0].folder / RECIPE).read_text()
            write_atomic(staged / "family" / f"{name.removesuffix('.json')}.yaml", recipe)
        write_json(staged / RECORD, msgspec.to_builtins(found))
        report.write(found, staged)
        write_json(staged / PROVENANCE, provenance() | claim.record(staged))


def document(given: Given, found: Record, member: Member, out: Path) -> dict[str, Any]:
    """The architecture of a result as it was trained, and how it was found."""
    own = read_document(out / member.winners[0].folder / ARCHITECTURE).data
    built = architecture(given.pairs.space, given.pairs.architecture(member.winners[0].options))
    budgets = [
        {"budget": c.budget, "limit": c.limit, "cost": c.cost, "share": round(c.cost / c.limit, DIGITS)}
        for c in member.budgets
    ]
    how = {"space": found.space, "strategy": "joint", "seed": found.seed, "budgets": budgets, "blocks": built.sources}
    return own | {"training": own["training"] | {"found": how}, "choices_taken": member.taken}


def check(folder: Path) -> None:
    """Reads a result as every later command does; raises `InputError` where one of them could not."""
    result = read_result(folder)
    assert result.weights is not None
    weights.load(result.weights, result.network)
    read_recipe(folder / RECIPE).fixed()
    read_run(folder)
    records.read_record(folder)


def _told(out: Path) -> list[str]:
    """The files written and the commands that follow."""
    written = ", ".join(name for name in (ARCHITECTURE, RECIPE, WEIGHTS, RECORD, report.MARKDOWN, report.PICTURE)
                        if (out / name).is_file())  # fmt: skip
    commands = [
        (following.command("train", out, "--init", "scratch", "--recipe", out / RECIPE), "once more by its recipe"),
        (following.command("evaluate", out), "accuracy by class"),
        (following.command("export", out, "--to", "onnx"), "for other runtimes"),
    ]
    return [f"written to {out}: {written}", *following.lines(commands)]
