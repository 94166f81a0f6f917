"""A search from its folder to its result: compiles, lets the driver take the strategy's steps, and writes the result.

The only place of the search that reads clocks, meets signals or writes files; while steps are taken, the driver does.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import jax

from dnas.data.waiting import Share
from dnas.errors import Stopped
from dnas.files import write_atomic, write_json
from dnas.grammar.catalogue import ARCHITECTURE, load_space
from dnas.graph.architecture import architecture
from dnas.learning import driver, weights
from dnas.learning.course import State
from dnas.learning.driver import Watch, concluded, kept, profiled
from dnas.learning.journal import HISTORY, Journal
from dnas.nn.inherit import inherit
from dnas.nn.wing import wing
from dnas.process.interrupt import asked_to_stop
from dnas.process.provenance import provenance, versions
from dnas.runs.folder import PROVENANCE, Claim, Claiming, Owner, claimed_by_first
from dnas.runs.hosts import check_same
from dnas.runs.read import read_run
from dnas.runs.result import read_result
from dnas.search import legs, strategies
from dnas.search.chain_files import write_chain
from dnas.search.compiling import Compiler
from dnas.search.console import Console
from dnas.search.family_files import write_family
from dnas.search.found import Found
from dnas.search.learn import packing_of
from dnas.search.memory import estimate, must_fit
from dnas.search.problem import Problem, proxy_notes
from dnas.search.result import found_document, write_network
from dnas.search.space_files import write_spaces
from dnas.search.strategy import Outcome, Strategy
from dnas.search.traces import traces

ADVICE = "Try a smaller --weights-lr or --theta-lr"
"""Where a search diverges."""


@dataclass(frozen=True)
class Options:
    """How a search is run, as against what is searched; nothing here changes the result."""

    preset: str = "quick"
    resume: bool = False
    force: bool = False
    """Continue a checkpoint although something that alters the result has changed."""
    checkpoint_every: float | None = None
    """Seconds between checkpoints (None: `dnas.learning.pace.Pace`)."""
    profile: Path | None = None
    """Folder for a trace of a few steps, for TensorBoard or Perfetto."""
    tensorboard: bool = False
    """Also write the history as TensorBoard event files."""
    overwrite: bool = False
    """Replace whatever the result's folder holds."""
    numbered: bool = False
    """The folder's name is ours: where another run has it, one with a number is taken."""


def run_search(
    problem: Problem, out: Path | None, console: Console, options: Options = Options(), strategy: str = "dmasking"
) -> Found | None:
    """Searches, derives, assesses and, with `out`, writes the result's files.

    None where the folder holds this very result already and the run was to be continued.

    Raises:
        UserError: the search diverged; the folder is another run's, or cannot be written; hosts were not given the
            same.
        Stopped: after a signal.
    """
    strategies.load(strategy, bool(problem.family)).check(problem)
    check_same(identity(problem, strategy) | {"preprocessing": problem.preprocessing.to_json()})
    if out is None:
        return _searched(problem, None, console, options, strategy)
    claiming = Claiming(options.numbered, options.resume, options.overwrite)
    owner = Owner("search", identity(problem, strategy))
    with claimed_by_first(out, owner, claiming, console.note) as (claim, ended):
        if ended:
            console.already(claim and claim.folder)
            return None
        return _searched(problem, claim, console, options, strategy)


def _searched(problem: Problem, claim: Claim | None, console: Console, options: Options, strategy: str) -> Found:
    clock, share, out, run = _Clock(), Share(), None if claim is None else claim.folder, identity(problem, strategy)

    def journals(problem: Problem, before: int, rows: list[str]) -> Journal:
        known = identity(problem, strategy)
        return Journal(
            out, known, options.checkpoint_every, options.tensorboard, ADVICE, before=before, rows=rows
        )  # fmt: skip

    def ended(of_leg: Problem, made: Strategy, journal: Journal, state: State, asked: Callable[[], int]) -> Found:
        with console.waiting("estimating batch norms and accuracies"):
            outcome = concluded(lambda: made.outcome(state), journal, state, asked)
        found = finished(of_leg, made.name, outcome)
        clock.mark("finish_s")
        if claim is not None:
            with kept(lambda: journal.save(state, journal.taken, {}, now=True)):
                seconds = clock.seconds | {"checkpoints_s": journal.pace.seconds, "input_s": share.seconds}
                write(found, claim, options.preset, journal, seconds, problem.space.source)
        console.closing(found, out)
        return found

    console.opening(problem, strategy, proxy_notes(problem))
    leg = legs.first(problem, out, journals, run, options.resume, options.force)
    with asked_to_stop() as asked:
        while True:
            with leg.journal as journal:
                made = compiled(leg.problem, strategy, console, asked)
                clock.mark("compile_s")
                for line in made.notes:
                    console.note(line)
                state = advance(made, journal, replace(options, resume=leg.resume), console, leg.problem, asked)
                following = concluded(partial(made.following, state), journal, state, asked)
                clock.mark("search_s")
                if following is None:
                    return ended(leg.problem, made, journal, state, asked)
                console.moved(following)
                jax.clear_caches()  # the programs of a space go before those of the next come
                leg = legs.after(leg, following, made.steps, out, journals, run)


def identity(problem: Problem, strategy: str) -> dict[str, Any]:
    """Everything that the result depends on: a checkpoint of another identity is not continued."""
    return {
        "strategy": strategy,
        "space": hashlib.sha256(json.dumps(problem.space.document.data, sort_keys=True).encode()).hexdigest(),
        "data": problem.dataset.fingerprint,
        "budgets": [m.budget.text for m in problem.measured],
        "tables": {m.budget.table: m.table_sha256 for m in problem.measured if m.budget.table is not None},
        "classes": problem.space.classes,
        "seed": problem.seed,
        **({"family": [m.budget.text for m in problem.family]} if problem.family else {}),
        **({"start": problem.start} if problem.start is not None else {}),
        "settings": problem.settings.to_json(),
        **({"terms": [term.to_json() for term in problem.more_terms]} if problem.more_terms else {}),
        "kernels": bool(wing(problem.devices).forms),
        "versions": versions(),
    }


def compiler_for(problem: Problem, strategy: str) -> Compiler:
    """The compiler of a search, which finds what another of the same, but for its seed, has traced.

    Nothing tells when the function of a term changes, so with terms of one's own nothing that was traced is read.
    """
    search = {name: value for name, value in identity(problem, strategy).items() if name != "seed"}
    return Compiler(None if problem.more_terms else traces(search), problem.devices)


def compiled(problem: Problem, name: str, console: Console, asked: Callable[[], int] = lambda: 0) -> Strategy:
    """The strategy with its programs; each is traced once, and they are compiled side by side."""
    module, compiler = strategies.load(name, bool(problem.family)), compiler_for(problem, name)
    with console.waiting("compiling", compiler.standing):
        programs = module.compile_programs(problem, compiler)
        while not compiler.done(0.2):
            if asked():
                raise Stopped("stopped while compiling; nothing was searched since the last checkpoint", asked())
    console.compiled(compiler)
    must_fit(problem, name, compiler.memory)
    return module.strategy(problem, programs)


def advance(
    strategy: Strategy, journal: Journal, options: Options, console: Console, problem: Problem,
    asked: Callable[[], int] = lambda: 0,
) -> State:  # fmt: skip
    """The state after all phases, from the beginning or from the newest checkpoint (`dnas.learning.driver`)."""
    with profiled(options.profile, console.profiled, console.note) as before:
        watch = Watch(partial(console.progress, problem, strategy.around), console.note, before)
        return driver.advance(
            strategy, journal, watch, strategy.batch_size or problem.settings.batch_size, resume=options.resume,
            force=options.force, asked=asked,
        )  # fmt: skip


def finished(problem: Problem, strategy: str, outcome: Outcome) -> Found:
    """The network as a file and with its own weights."""
    by_proxy = architecture(problem.proxy, outcome.assignment)
    whole = packing_of(problem).unpack(outcome.variables)
    own = architecture(problem.space, outcome.assignment)
    members = tuple(finished(m.problem, strategy, m.outcome) for m in outcome.members)
    return Found(problem, strategy, outcome, own, by_proxy, inherit(whole, by_proxy), members)


def write(
    found: Found, claim: Claim, preset: str, journal: Journal, phases: dict[str, float], space_file: str
) -> None:  # fmt: skip
    """The files of the result, read back and put in place as a set; `space_file` is that of the space given."""
    origin = {
        "preset": preset, "seed": found.problem.seed, "space_file": space_file,
        "memory": estimate(found.problem, found.strategy)._asdict(), "devices_used": found.problem.devices.count,
        "phases": {name: round(value, 3) for name, value in phases.items()},
    }  # fmt: skip
    journal.end()
    with claim.result(check) as staged:
        write_network(found, staged, found_document(found, preset))
        if found.outcome.chain:
            write_chain(found, staged)
        if found.outcome.spaces:
            write_spaces(found, staged)
        if found.members:
            write_family(found, staged, preset, journal.rows, provenance() | origin | claim.run.record())
        write_atomic(staged / HISTORY, journal.history())
        write_json(staged / PROVENANCE, provenance() | origin | claim.record(staged))


def check(folder: Path) -> None:
    """Reads a result as every later command does; raises `InputError` where one of them could not."""
    for network in (folder, *sorted(file.parent for file in folder.glob(f"family/*/{ARCHITECTURE}"))):
        result = read_result(network)
        assert result.weights is not None
        weights.load(result.weights, result.network)
        read_run(network)
    for file in (*folder.glob("chain/*.json"), *folder.glob("family/*.json"), *folder.glob("spaces/*.yaml")):
        load_space(file)


class _Clock:
    """Seconds of the parts of a run."""

    def __init__(self) -> None:
        self.began = self.last = time.monotonic()
        self._parts: dict[str, float] = {}

    def mark(self, name: str) -> None:
        now = time.monotonic()
        self._parts[name], self.last = self._parts.get(name, 0.0) + now - self.last, now

    @property
    def seconds(self) -> dict[str, float]:
        return self._parts | {"total_s": time.monotonic() - self.began}
