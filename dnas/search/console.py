"""What a search prints."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape

from dnas.data.hugging_face import PROCESSOR
from dnas.data.waiting import Share
from dnas.process.console import console as plain_console
from dnas.process.progress import progress, working
from dnas.process.tables import rich_table
from dnas.runs.as_trained import counted_at, told_apart
from dnas.runs.folder import PROVENANCE
from dnas.runs.following import lines
from dnas.runs.history import HISTORY
from dnas.runs.result import ARCHITECTURE, WEIGHTS
from dnas.search.candidates import compared_images
from dnas.search.space_facts import said
from dnas.search.verdict import following_commands, good, used, warnings
from dnas.space import units

if TYPE_CHECKING:
    from dnas.learning.driver import Show
    from dnas.search.compiling import Compiler
    from dnas.search.found import Found
    from dnas.search.problem import Problem
    from dnas.search.strategy import Around


ACTING = {"skip_guard": "skip guard on", "temperature_floor": "temperature floor on"}
"""What is said while a remedy against collapse acts (`dnas.search.collapse`)."""


class Console:
    """Prints to stdout; quiet where asked.

    With `commands` it ends with the files written and the commands that follow, which a program has no use for.
    """

    def __init__(self, quiet: bool = False, commands: bool = True):
        self.commands = commands
        self.out = plain_console(quiet)

    def opening(self, problem: Problem, strategy: str, notes: list[str]) -> None:
        """The space, the budgets against its range, and what is done by proxy: all before the first step."""
        space, data = problem.space, problem.dataset
        choices = f"{len(space.choices)} choices; on {problem.devices.told()}"
        self.out.print(f"[bold]{escape(space.name)}[/]: {escape(choices)}")
        self.note(
            f"data: {data.name}, {len(problem.split.weights_index)} images for weights, "
            f"{len(problem.split.theta_index)} for the choices, {len(data.test_labels)} for test"
        )
        for note in (*notes, *data.notes):
            self.out.print(f"  {note}", markup=False)
        rows = [
            (m.budget.text, *(m.budget.shown(v) for v in (m.smallest, m.uniform, m.largest))) for m in problem.measured
        ]
        table = rich_table(("budget", "smallest", "expected now", "largest"), rows, words=0)
        self.out.print(table if rows else "no budget: costs are not limited")
        for m in problem.measured:
            if m.coverage is not None:
                self.note(f"  {m.budget.table}: {m.coverage.summary()}")
        self._memory(problem, strategy)

    def _memory(self, problem: Problem, strategy: str) -> None:
        """What the search will need, before anything is compiled."""
        from dnas.process.memory_amounts import memory_shown
        from dnas.search.memory import estimate

        need = estimate(problem, strategy)
        self.out.print(
            f"memory: about {memory_shown(need.total)} for arrays and programs ({memory_shown(need.learn)} to learn "
            f"from {problem.settings.batch_size} images, {memory_shown(need.assess)} to evaluate "
            f"{problem.settings.assess_batch}, {memory_shown(need.beside)} beside them)"
        )
        if problem.adapted:
            self.out.print(f"  to keep within --max-memory: {', '.join(problem.adapted)}")

    @contextmanager
    def waiting(self, what: str, standing: Callable[[], str] = lambda: "") -> Iterator[None]:
        """`standing()` says how far it is."""
        if not self.out.is_terminal:
            self.out.print(f"{what} ...")
        with working(self.out, what, standing):
            yield

    def compiled(self, compiler: Compiler) -> None:
        traced, read = len(compiler.traced), len(compiler.read)
        kept = f"; {read} more as an earlier start traced them" if read else ""
        self.out.print(f"compiled in {compiler.seconds:.1f} s ({traced} programs, each traced once{kept})")

    def note(self, line: str) -> None:
        self.out.print(line, markup=False)

    def already(self, out: Path | None) -> None:
        self.note(f"{out} holds the whole result of this run already; without --resume it is searched anew")

    def profiled(self, folder: Path) -> None:
        self.note(f"profile written to {folder}; open it in TensorBoard or at ui.perfetto.dev")

    def moved(self, problem: Problem) -> None:
        """What the space before this one was like, and which of its lists moved."""
        for line in said(problem.former[-1]):
            self.out.print(line, markup=False, soft_wrap=True)

    @contextmanager
    def progress(self, problem: Problem, around: Around, steps: int, done: int = 0) -> Iterator[Show]:
        """Shows steps and their rows as they are made; `done` steps were made by a former run."""
        before, all_steps = around.before, sum(around) + steps
        share = Share()
        with progress(self.out, all_steps, "searching", before + done) as show:

            def update(step: int, row: dict[str, Any]) -> None:
                for text in _chain(row, problem):
                    self.note(text)
                show(before + step, "  ".join([_summary(row, problem), *problem.dataset.shown_input(share)]))

            yield update

    def closing(self, found: Found, out: Path | None) -> None:
        """The network, layer by layer, its costs against the budgets, accuracies, warnings, files."""
        from dnas.cost.count import count, layer_table

        counted = count(found.architecture.network)
        size = counted["input"]
        self.out.print(f"\n[bold]found[/]: input {size['resolution']}x{size['resolution']}x{size['channels']}")
        self.out.print(layer_table(counted))
        self._budgets(found)
        self._race(found)
        a = found.outcome.accuracies
        head = (f"accuracy, {found.outcome.images} test images", "batch norms estimated again", "before")
        shown = {
            "soft": "supernet, all options mixed",
            "derived": "the network found, weights inherited",
            "settled": "the same after settling",
        }
        rows = [(text, f"{a[name]:.1%}", f"{a[f'{name}_before']:.1%}") for name, text in shown.items() if name in a]
        self.out.print(rich_table(head, rows))
        for line in told_apart(counted_at(found.architecture.network), counted_at(found.by_proxy.network)):
            self.out.print(line, soft_wrap=True)
        for note in warnings(found.problem, found.outcome):
            self.out.print("[yellow]warning[/]:", escape(note), soft_wrap=True)
        if found.outcome.chain:
            self.out.print(f"chain of {len(found.outcome.chain)} networks in chain/, steps in chain.json")
        if found.outcome.family:
            self.note(f"family: {', '.join(_member(found, m) for m in found.outcome.family)}; in family/")
        self._members(found)
        if out is not None and self.commands:
            written = f"{ARCHITECTURE}, {WEIGHTS}, {PROCESSOR}, {HISTORY}, {PROVENANCE}"
            self.out.print(f"written to {out}: {written}", markup=False)
        self._last(found, out)

    def _last(self, found: Found, out: Path | None) -> None:
        """How much of the budgets is used, whether the network is any good, and what comes next."""
        for line in filter(None, (used(found.problem, found.outcome), good(found))):
            self.out.print(line, markup=False, soft_wrap=True)
        for line in lines(following_commands(out)) if self.commands else ():
            self.out.print(line, markup=False, soft_wrap=True)

    def _budgets(self, found: Found) -> None:
        outcome = found.outcome
        columns = ["budget", "found", "share"]
        columns += ["expected before"] * bool(outcome.expected) + ["plain argmax"] * (outcome.derivation is not None)
        rows = []
        for n, (m, cost) in enumerate(zip(found.problem.measured, outcome.costs, strict=True)):
            row = [m.budget.text, m.budget.shown(cost), f"{cost / m.budget.limit:.4f}"]
            row += [m.budget.shown(outcome.expected[n])] if outcome.expected else []
            row += [m.budget.shown(outcome.derivation.argmax_costs[n])] if outcome.derivation is not None else []
            rows.append(row)
        if rows:
            self.out.print(rich_table(columns, rows, words=0))
        d = outcome.derivation
        if d is not None:
            lost = d.argmax_log_probability - d.log_probability
            self.out.print(
                f"most probable within the budgets: log-probability {d.log_probability:.3f}, {lost:.3f} below the "
                f"plain argmax; certified gap {d.gap:.4f} nats"
            )

    def _members(self, found: Found) -> None:
        """The networks of a family that was searched in one run."""
        if not found.members:
            return
        from dnas.search.family_files import COLUMNS, facts_of, table

        rows = table(found, facts_of(found))
        self.out.print(rich_table(COLUMNS, rows, words=0, title=f"family of {len(found.members)}"))
        self.out.print("above: the tightest; * no other is as cheap and more accurate; family.md, family.json")
        self.out.print("accuracy against cost: python -m dnas.report on the folders in family/")

    def _race(self, found: Found) -> None:
        """The networks that were compared at the end: where they come from, what they use, what each round said."""
        race = found.outcome.summary.get("race")
        if race is None or len(race["candidates"]) < 2:
            return
        rounds = max(len(c["accuracy"]) for c in race["candidates"])
        head = ["candidate", *(m.budget.text for m in found.problem.measured)]
        head += [f"round {n + 1}" for n in range(rounds)]
        rows = []
        for c in sorted(race["candidates"], key=lambda c: (-c["won"], -len(c["accuracy"]))):
            costs = [m.budget.shown(cost) for m, cost in zip(found.problem.measured, c["costs"], strict=True)]
            rows.append([c["origin"] + (" (found)" if c["won"] else ""), *costs, *(f"{a:.1%}" for a in c["accuracy"])])
        held = f"race on {race['images']} images, decided by loss" if rounds else "candidates of a race"
        self.out.print(rich_table(head, rows, title=held))
        self.out.print(race["pays"], soft_wrap=True)


def _member(found: Found, member: dict[str, Any]) -> str:
    """A network of the family: its budget and how much of it is used."""
    measured = next(m for m in found.problem.family if m.budget.text == member["budget"])
    return f"{units.share(measured.at(member['assignment']) / measured.budget.limit)} of {member['budget']}"


def _chain(line: dict[str, Any], problem: Problem) -> list[str]:
    """A step of a chain of networks: what was done, what the network costs and what it lost."""
    entry = line.get("chain")
    if not entry:
        return []
    costs = ", ".join(m.budget.shown(cost) for m, cost in zip(problem.measured, entry["costs"], strict=True))
    accuracy = units.accuracy(entry["accuracy"], len(compared_images(problem)))
    moves = [f"{a['choice']} {a['from']} -> {a['to']}" if "choice" in a else a["solved"] for a in entry["actions"]]
    more = f" and {len(moves) - 4} more" if len(moves) > 4 else ""
    return [
        f"{entry['number']:3d}  {costs}  val {accuracy} ({0.0 - round(100 * entry['drop'], 1):+.1f})  "
        f"{', '.join(moves[:4])}{more}"
    ]


def _running(line: dict[str, Any], problem: Problem) -> list[str]:
    """What the phase measures as it goes, with its error: one batch alone says too little."""
    if "best" in line and "val_accuracy" not in line and "train_accuracy" not in line:
        best = units.accuracy(line["best"], len(compared_images(problem)))
        return [f"{line['compared']} networks compared, the best {best} on the choices' share"]
    loss = f"loss {line['loss']:.3f}" if "loss" in line else ""
    for name, text in (("val", "val"), ("train", "running training accuracy")):
        if f"{name}_accuracy" in line:
            return [loss, f"{text} {units.accuracy(line[f'{name}_accuracy'], line[f'{name}_images'])}"]
    return []


def _summary(line: dict[str, Any], problem: Problem) -> str:
    parts = _running(line, problem)
    for m, expected in zip(problem.measured, line.get("expected", []), strict=False):
        parts.append(f"E {m.budget.shown(expected)} of {m.budget.text}")
    if "entropy" in line:
        parts.append(f"entropy {line['entropy']:.2f}")
    parts += [text for name, text in ACTING.items() if line.get(name, 0) > 0]
    return "  ".join(parts)
