"""Result folders of `dnas.search` and `dnas.train` as runs.

A run that has ended has `architecture.json` and `history.jsonl`; `provenance.json`, `chain.json` and `family/` may be
there. One that has not ended has `history.partial.jsonl`. A damaged file is an `InputError` that names file and place.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from dnas.cost.budget import recognised
from dnas.cost.count import count
from dnas.errors import InputError, UserError
from dnas.files import MAX_JSON, parse_json, text_of
from dnas.files.sets import MOVING, current
from dnas.grammar.catalogue import ARCHITECTURE, load_space
from dnas.runs.converted import converted
from dnas.runs.folder import BEGUN, PARTIAL, SPACE_EVOLUTION
from dnas.runs.history import HISTORY, lines, read_epochs, read_history, text
from dnas.runs.lineage import lineage, stages
from dnas.runs.names import Names, names_of
from dnas.runs.network import network_of
from dnas.runs.records import (
    Asked,
    Begun,
    BudgetResult,
    Chain,
    ChainStep,
    Epoch,
    FoundFacts,
    ImportedFacts,
    MemberFacts,
    Row,
    SearchFacts,
    SpaceEvolution,
    TrainingFacts,
)
from dnas.runs.result import Result, read_result
from dnas.runs.run import Imported, Member, NetworkFacts, Run, Search, Training
from dnas.runs.seeds import parted

MAX_RUNS = 32
ACCEPTED = "a result folder of dnas.search, dnas.train or dnas.compress (its --out), or of an import by dnas.weights"


class _Place(NamedTuple):
    """Where a run stands in the report."""

    name: str
    position: int
    folder: Path
    shipped_only: bool


def read_runs(folders: Sequence[Path], shipped_only: bool = False) -> list[Run]:
    """The runs, told apart by name; raises `InputError` naming the file for what cannot be read.

    With `shipped_only` no latency table is read but those that come with dnas: nothing outside of the folders.
    """
    if len(folders) > MAX_RUNS:
        raise UserError(f"{len(folders)} folders, accepted: at most {MAX_RUNS}")
    places = zip(_names(folders), range(len(folders)), folders, strict=True)
    return [_read(_Place(*place, shipped_only)) for place in places]


def read_run(folder: Path) -> Run:
    """One run; raises `InputError`."""
    return read_runs([folder])[0]


def _read(place: _Place) -> Run:
    folder = place.folder
    if not _is(folder, "dir"):
        raise InputError(str(folder), "no such folder", accepted=ACCEPTED)
    ended = _is(folder / ARCHITECTURE, "file")
    begun = _is(folder / PARTIAL, "file") or _is(folder / BEGUN, "file")
    if begun and not (ended and _is(folder / HISTORY, "file")):
        return _unfinished(place)
    if not ended:
        raise InputError(str(folder), f"no {ARCHITECTURE}, and no run that has begun", accepted=ACCEPTED)
    document, result = _mapping(folder / ARCHITECTURE), read_result(folder / ARCHITECTURE)
    again = ("another run has begun in this folder and has not ended: this is the one before it",)
    warnings = again if begun else ()
    if "training" in document:
        return _training(place, document, result, warnings)
    if "search" in document:
        return _search(place, document, result, warnings)
    if "imported" in document:
        return _imported(place, document, result, warnings)
    sections = "neither 'search' nor 'training' nor 'imported' in it"
    raise InputError(str(folder / ARCHITECTURE), sections, accepted=ACCEPTED)


def _search(place: _Place, document: dict[str, Any], result: Result, warnings: tuple[str, ...]) -> Search:
    file = place.folder / ARCHITECTURE
    facts = converted(document["search"], SearchFacts, f"{file}: search")
    taken = document.get("choices_taken", {})
    if not isinstance(taken, dict):
        raise InputError(f"{file}: choices_taken", "not a mapping", found=taken)
    names = names_of(document["search"], result.space, facts.space, taken, str(file))
    network = network_of(result, names, facts.proxy is not None, facts.budgets, place.shipped_only)
    return Search(
        **_common(place, network, "", (*warnings, *facts.warnings), result),
        facts=facts, taken=taken, unused=names.unused, options=names.options if not facts.options else facts.options,
        rows=tuple(read_history(place.folder / HISTORY, len(facts.budgets))),
        chain=_chain(place.folder / "chain.json"), family=tuple(_family(place.folder / "family")),
        evolution=_evolution(place.folder / SPACE_EVOLUTION),
    )  # fmt: skip


def _training(place: _Place, document: dict[str, Any], result: Result, warnings: tuple[str, ...]) -> Training:
    file = place.folder / ARCHITECTURE
    facts = converted(document["training"], TrainingFacts, f"{file}: training")
    # What was made smaller, and not trained on, has no epochs.
    epochs = () if facts.steps == 0 else tuple(read_epochs(place.folder / HISTORY))
    found = FoundFacts() if facts.found is None else facts.found
    network = network_of(result, Names(found.blocks), True, found.budgets, place.shipped_only)
    return Training(**_common(place, network, "", warnings, result), facts=facts, epochs=epochs)


def _imported(place: _Place, document: dict[str, Any], result: Result, warnings: tuple[str, ...]) -> Imported:
    facts = converted(document["imported"], ImportedFacts, f"{place.folder / ARCHITECTURE}: imported")
    return Imported(**_common(place, network_of(result, Names(), True), "", warnings, result), facts=facts)


def _unfinished(place: _Place) -> Run:
    """A run of which there are at most some rows: still going on, or killed."""
    path, mark = place.folder / PARTIAL, place.folder / BEGUN
    begun = converted(_json(mark), Begun, str(mark)) if _is(mark, "file") else Begun("", {})
    if not _is(path, "file"):
        told = "has begun and has not come to its first row"
        if begun.run in ("train", "compress"):
            return _rows_of_training(place, (), told)
        return _rows_of_search(place, _asked(place, begun), (), told)
    said = "has not ended: it is still running, or was stopped"
    first = next(lines(path))[1]
    if isinstance(first, dict) and "epoch" in first:
        epochs = tuple(read_epochs(path))
        return _rows_of_training(place, epochs, f"{said} after epoch {epochs[-1].epoch:g}")
    asked = _asked(place, begun)
    rows = tuple(read_history(path, len(asked.budgets) or None))
    phase = f", in its phase '{rows[-1].phase}'" if rows[-1].phase else ""
    return _rows_of_search(place, asked, rows, f"{said} after step {rows[-1].step}{phase}")


def _asked(place: _Place, begun: Begun) -> Asked:
    return converted(begun.identity, Asked, f"{place.folder / BEGUN}: identity")


def _rows_of_training(place: _Place, epochs: tuple[Epoch, ...], told: str) -> Training:
    return Training(**_common(place, None, told, ()), facts=None, epochs=epochs)


def _rows_of_search(place: _Place, asked: Asked, rows: tuple[Row, ...], told: str) -> Search:
    budgets = tuple(BudgetResult(t, b.limit) for t in asked.budgets if (b := recognised(t)) is not None)
    return Search(
        **_common(place, None, told, ()),
        facts=SearchFacts("not stated", asked.strategy, seed=asked.seed, budgets=budgets, settings=asked.settings),
        taken={}, unused=frozenset(), options={}, rows=rows,
        chain=_chain_of(rows, asked.budgets, str(place.folder / PARTIAL)), family=(),
    )  # fmt: skip


def _common(
    place: _Place, network: NetworkFacts | None, unfinished: str, warnings: tuple[str, ...],
    result: Result | None = None,
) -> dict[str, Any]:  # fmt: skip
    file = place.folder / "provenance.json"
    return {
        "name": place.name, "position": place.position, "folder": str(place.folder), "network": network,
        "unfinished": unfinished, "warnings": warnings, "provenance": _mapping(file) if _is(file, "file") else None,
        "lineage": () if result is None else lineage(result), "stages": () if result is None else stages(result),
    }  # fmt: skip


# Chains and families ----------------------------------------------------------------------------------------------


def _chain(path: Path) -> Chain | None:
    if not _is(path, "file"):
        return None
    return _checked(converted(_json(path), Chain, str(path)), str(path))


def _checked(chain: Chain, path: str) -> Chain:
    """The chain, each of whose steps has a cost and a share for every budget."""
    for n, step in enumerate(chain.steps):
        for key in ("costs", "shares"):
            given, wanted = len(getattr(step, key)), len(chain.budgets)
            if given != wanted:
                raise InputError(f"{path}: steps.{n}.{key}", f"{given} numbers", accepted=f"{wanted}, one a budget")
    return chain


def _evolution(path: Path) -> SpaceEvolution | None:
    """The spaces of a search; raises `InputError` where a list has not an error for each option."""
    if not _is(path, "file"):
        return None
    found = converted(_json(path), SpaceEvolution, str(path))
    for n, one in enumerate(known for space in found.spaces for known in space.lists):
        if len(one.et_errors) != len(one.options):
            raise InputError(f"{path}: list {n}, {one.name}", f"{len(one.et_errors)} errors",
                             accepted=f"{len(one.options)}, one an option")  # fmt: skip
    return found


def _chain_of(rows: Sequence[Row], budgets: tuple[str, ...], where: str) -> Chain | None:
    """The chain so far of a search that has not ended."""
    steps = tuple(converted(row.chain, ChainStep, f"{where}: step {row.step}: chain") for row in rows if row.chain)
    if not steps:
        return None
    if len(budgets) != len(steps[0].costs):  # older runs do not say what they were asked for
        budgets = tuple(f"budget {n}" for n, _ in enumerate(steps[0].costs, 1))
    return _checked(Chain(budgets, "the choices' share of the training images", steps), where)


def _family(folder: Path) -> Iterator[Member]:
    """The networks of a family, the loosest budget first."""
    there = sorted({p.name for where in (folder, folder.parent / MOVING / folder.name) for p in where.glob("*.json")})
    found = []
    for file in (folder / name for name in there if _is(folder / name, "file")):
        document = _mapping(file)
        facts = converted(document.get("search", {}), MemberFacts, f"{file}: search")
        budget = recognised(facts.budget)
        if budget is None:
            raise InputError(f"{file}: search.budget", "not a budget", found=facts.budget)
        counted = count(load_space(file))
        known = {"MACs": float(counted["macs"]), "params": float(counted["params"]), "ms": facts.cost}
        cost = known[budget.kind]
        share = None if cost is None else cost / budget.limit
        found.append(
            (
                budget.limit,
                Member(facts.budget, cost, share, facts.accuracy, facts.accuracy_split, f"{folder.name}/{file.name}"),
            )
        )
    yield from (member for _, member in sorted(found, key=lambda pair: -pair[0]))


# Files ------------------------------------------------------------------------------------------------------------


def _json(path: Path) -> Any:
    return parse_json(text(path, MAX_JSON), str(path))


def _mapping(path: Path) -> dict[str, Any]:
    data = _json(path)
    if not isinstance(data, dict):
        raise InputError(str(path), "not a mapping", found=data)
    return data


def _is(path: Path, what: str) -> bool:
    try:
        return path.is_dir() if what == "dir" else current(path).is_file()
    except (OSError, ValueError):
        return False


def _names(folders: Sequence[Path]) -> list[str]:
    """Folder names; with as many of the folders above as tell them apart."""
    parts = [tuple(map(text_of, parted(folder))) for folder in folders]
    for depth in range(1, max((len(p) for p in parts), default=1) + 1):
        names = ["/".join(p[-depth:]) for p in parts]
        if len(set(names)) == len(names):
            return names
    return [f"{'/'.join(p[-1:])} ({n})" for n, p in enumerate(parts, 1)]
