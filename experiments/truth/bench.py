"""Judges a search strategy by searches of spaces whose every member's true accuracy is known.

    python experiments/truth/bench.py --strategy dmasking
    python experiments/truth/bench.py --strategy evolution --part widths --budget 180kMACs --seeds 10
    python experiments/truth/bench.py --strategy random --set epochs=12 --set samples=200 --name random-longer

For each part and budget, and each of `--seeds` searches: regret (the best true accuracy within the budget minus the
found network's), in points and in standard deviations of the band (members that use 70 to 100 % of the budget), the
rank of the found network among all within the budget, processor time, and the Spearman correlation of inherited with
true accuracy over 60 networks of the space, and over those of them within the budget. `results/NAME.md` is the table,
`results/NAME.json` every search; a run that was interrupted goes on where it stood. Searches by other settings, sources
of dnas or tables are dropped and run anew.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_type_hints

import msgspec
import numpy as np
import part as parts
import yaml
from figures import Truth, noise, spearman
from part import FILL, PARTS, Members, Part

from dnas.cli.entry import run
from dnas.cost.budget import parse_budget
from dnas.errors import InputError, suggestion
from dnas.files import read_document, write_atomic, write_json
from dnas.process import cache
from dnas.process.backend import configure
from dnas.search.settings import Settings, with_overrides

BAND = {"fill": FILL}
ASKED: dict[str, dict[str, Any]] = {"random": BAND, "evolution": BAND}
"""Settings of single strategies. These draw networks that use 97 % of a budget, of which a small space has one or two:
here they draw from the band."""
RANKED = 60
"""Networks whose inherited accuracies are compared with the true ones."""


@dataclass(frozen=True)
class Arguments:
    """Judges a search strategy on spaces whose members are known."""

    strategy: Literal["dmasking", "slimming", "sandwich", "random", "evolution"] = "dmasking"
    part: Literal["blocks", "widths", "all"] = "blocks"
    """What is searched: blocks (choices of every kind) or widths (nothing else)."""
    budget: tuple[str, ...] = ()
    """Searched under this budget in place of the part's own, e.g. 180kMACs. May be repeated."""
    seeds: int = 5
    """Searches for each budget, from seed 0 on."""
    set: tuple[str, ...] = ()
    """NAME=VALUE of a setting of the search (dnas/search/settings.py), where it is not to be the quick preset's."""
    name: str | None = None
    """Of the results; the strategy's if not given. For a variant beside the one that is kept."""
    out: Path = parts.HERE / "results"
    """Folder of the results."""


class Case(NamedTuple):
    """What is searched."""

    part: Part
    budget: str

    @property
    def title(self) -> str:
        return f"{self.part.name}, {self.budget}"


class Known(NamedTuple):
    """A part's space with its table."""

    members: Members
    truth: Truth
    noise: float
    """Standard error of a member's accuracy."""
    digest: str
    """Of the table."""


def main(args: Arguments) -> None:
    if args.seeds < 1:
        raise InputError("--seeds", "out of range", found=args.seeds, accepted="at least 1")
    name = args.name or args.strategy
    chosen = [PARTS[p] for p in (PARTS if args.part == "all" else (args.part,))]
    cases = [Case(part, budget) for part in chosen for budget in args.budget or part.budgets]
    known = {part.name: known_of(part) for part in chosen}
    settings = {part.name: settings_of(part, args.strategy, args.set) for part in chosen}
    for case in cases:
        if known[case.part.name].truth.band(limit_of(case.budget)).sum() < 2:
            raise InputError("--budget", f"fewer than two members of {case.part.name} use it", found=case.budget)
    results = Results(args.out / f"{name}.json", args.strategy)
    configure()
    for part in chosen:
        results.begin(part.name, settings[part.name], known[part.name])
        searched([case for case in cases if case.part is part], known[part.name], settings[part.name], args, results)
    text = page(name, results)
    write_atomic(args.out / f"{name}.md", text)
    print(text, end="")


def searched(cases: list[Case], known: Known, settings: Settings, args: Arguments, results: Results) -> None:
    """Runs what is not there yet of a part's searches."""
    from searching import Searches

    from dnas.data.load import load

    searches = Searches(known.members.space, args.strategy, settings, load())
    ranked = drawn(known)
    for seed in range(args.seeds):
        for case in cases:
            if results.has(case, seed):
                continue
            ended = searches.run(case.budget, seed, [known.members.names[n] for n in ranked])
            found = known.members.number(ended.found)
            row = {
                "member": found, "options": " ".join(known.members.options(known.members.names[found])),
                **correlations(np.array(ended.inherited), np.array(ranked), limit_of(case.budget), known.truth),
                "cpu_seconds": round(ended.cpu_seconds, 1),
            }  # fmt: skip
            results.add(case, seed, row)
            print(f"{case.title}, seed {seed}: {row}", file=sys.stderr, flush=True)


def settings_of(part: Part, strategy: str, given: tuple[str, ...]) -> Settings:
    """The quick preset's, as long as the part's searches are, with what the strategy needs here and the user gave.

    Raises:
        InputError: no setting of a search, or no value of one.
    """
    values: dict[str, Any] = {"epochs": part.search_epochs, **ASKED.get(strategy, {})}
    kinds = get_type_hints(Settings)
    for text in given:
        key, equals, value = text.partition("=")
        if key not in kinds or not equals:
            raise InputError("--set", f"not a setting{suggestion(key, kinds)}", found=text, accepted="NAME=VALUE")
        try:
            values[key] = msgspec.convert(yaml.safe_load(value), kinds[key])
        except (msgspec.ValidationError, yaml.YAMLError) as error:
            raise InputError("--set", f"not a value of this setting: {error}", found=text) from error
    return with_overrides("quick", **values)


def known_of(part: Part) -> Known:
    """Raises `InputError` where the table does not cover the space."""
    of = parts.members(part.space())
    table = parts.read(of, part.table_file)
    missing = len(of.names) - len(table)
    if missing:
        raise InputError(str(part.table_file), f"{missing} of {len(of.names)} members are missing (make_table.py)")
    accuracies = [table[member] for member in of.names]
    truth = Truth(of.macs.astype(float), np.array([np.mean(values) for values in accuracies]))
    return Known(of, truth, noise(accuracies), hashlib.sha256(part.table_file.read_bytes()).hexdigest())


def limit_of(budget: str) -> float:
    """In multiply-adds, which are what a table counts."""
    found = parse_budget(budget)
    if found.kind != "MACs":
        raise InputError("--budget", "not in multiply-adds", found=budget, accepted="e.g. 180kMACs")
    return found.limit


def drawn(known: Known) -> list[int]:
    """Numbers of the networks whose inherited accuracies are asked for: the same in every search."""
    count = len(known.members.names)
    return sorted(np.random.default_rng(0).permutation(count)[:RANKED].tolist())


def correlations(inherited: np.ndarray, ranked: np.ndarray, limit: float, truth: Truth) -> dict[str, float]:
    """Spearman's of inherited with true accuracy over the ranked networks, and over those of them within the limit."""
    within = truth.within(limit)[ranked]
    true = truth.accuracy[ranked]
    found = {"spearman": spearman(inherited, true), "spearman_within": spearman(inherited[within], true[within])}
    return {name: round(value, 4) for name, value in found.items()}


class Results:
    """Searches that have ended, kept in a file after each; all are of one state of the sources."""

    def __init__(self, file: Path, strategy: str):
        self.file = file
        self.data = read_document(file).data if file.is_file() else {"strategy": strategy, "sources": "", "parts": {}}
        if self.data["strategy"] != strategy:
            raise InputError(str(file), "holds another strategy's", found=self.data["strategy"], accepted=strategy)

    def begin(self, part: str, settings: Settings, known: Known) -> None:
        """Searches of a part follow. Kept ones that would come out otherwise today are dropped."""
        if self.data["sources"] != cache.sources():
            self._drop(self.data["parts"], "other sources of dnas")
            self.data["sources"] = cache.sources()
        parts = self.data["parts"]
        identity = {"settings": settings.to_json(), "table": known.digest}
        if part in parts and parts[part]["identity"] != identity:
            self._drop(parts[part]["searches"], f"other settings or another table of {part}")
        parts[part] = {"identity": identity, "searches": parts.get(part, {}).get("searches", {})}

    def _drop(self, kept: dict[str, Any], why: str) -> None:
        if kept:
            print(f"{self.file.name}: the searches that are kept are of {why}; they are run anew", file=sys.stderr)
        kept.clear()

    def has(self, case: Case, seed: int) -> bool:
        return str(seed) in self._of(case)

    def add(self, case: Case, seed: int, row: dict[str, Any]) -> None:
        searches = self.data["parts"][case.part.name]["searches"]
        searches.setdefault(case.budget, {})[str(seed)] = row
        write_json(self.file, self.data)

    def rows(self, case: Case) -> list[dict[str, Any]]:
        return list(self._of(case).values())

    def cases(self) -> list[Case]:
        """What was searched, in the order of parts and limits."""
        found = [Case(PARTS[part], budget) for part in PARTS for budget in self._searches(part)]
        return sorted(found, key=lambda case: (list(PARTS).index(case.part.name), limit_of(case.budget)))

    def _searches(self, part: str) -> dict[str, dict[str, dict[str, Any]]]:
        return self.data["parts"].get(part, {}).get("searches", {})

    def _of(self, case: Case) -> dict[str, dict[str, Any]]:
        return self._searches(case.part.name).get(case.budget, {})


# The page -------------------------------------------------------------------------------------------------------------

COLUMNS = (
    "searched", "regret, points: mean", "regret, points: worst", "chance", "regret, sd of the band: mean",
    "regret, sd of the band: worst", "rank: mean", "rank: worst", "within (band)", "Spearman", "Spearman within",
    "CPU s", "searches",
)  # fmt: skip


def page(name: str, results: Results) -> str:
    """The table in Markdown, a row for each budget that was searched."""
    cases = results.cases()
    known = {part.name: known_of(part) for part in dict.fromkeys(case.part for case in cases)}
    lines = [f"# {name}", "", f"| {' | '.join(COLUMNS)} |", "|---" * len(COLUMNS) + "|"]
    lines += [f"| {' | '.join(cells(case, known[case.part.name], results.rows(case)))} |" for case in cases]
    strategy = results.data["strategy"]
    lines += ["", f"Searches by `{strategy}`; what the columns mean stands in `experiments/truth/README.md`."]
    for part, k in known.items():
        error = f"{part}: a member's true accuracy has a standard error of {100 * k.noise:.2f} points"
        lines.append(f"{error}; settings: {changed(results.data['parts'][part]['identity']['settings'])}.")
    return "\n".join(lines) + "\n"


def changed(settings: dict[str, Any]) -> str:
    """Those that are not the quick preset's."""
    usual = with_overrides("quick").to_json()
    return ", ".join(f"{key} {value}" for key, value in settings.items() if value != usual[key]) or "the quick preset"


def cells(case: Case, known: Known, rows: list[dict[str, Any]]) -> Iterator[str]:
    """What the searches of a budget reached."""
    truth, limit = known.truth, limit_of(case.budget)
    regrets = np.array([truth.regret(limit, row["member"]) for row in rows])
    ranks = [truth.rank(limit, row["member"]) for row in rows]
    spread = truth.spread(limit)
    yield case.title
    yield from (f"{100 * value:.2f}" for value in (regrets.mean(), regrets.max(), truth.chance(limit)))
    yield from (f"{value / spread:.2f}" for value in (regrets.mean(), regrets.max()))
    yield f"{np.mean(ranks):.1f}"
    yield f"{max(ranks)}"
    yield f"{truth.within(limit).sum()} ({truth.band(limit).sum()})"
    yield from (f"{np.mean([row[name] for row in rows]):.2f}" for name in ("spearman", "spearman_within"))
    yield f"{np.mean([row['cpu_seconds'] for row in rows]):.0f}"
    yield f"{len(rows)}"


if __name__ == "__main__":
    run(main, Arguments)
