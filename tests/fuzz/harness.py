"""Spoilt files through every reader: a correct read, or one clear line; never a traceback, a hang or a stray file.

    python -m tests.fuzz.harness 20000 --seed 1        prints what fails, with the case's number

Expected: no line but the last, `20,000 cases, 0 failures`; about 10 minutes on one core.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import io
import json
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from dnas.cli import count, entry, lut, report, spaces
from dnas.grammar.catalogue import find_space, find_table, load_space

from .mutations import BYTES, nasty, value_replaced

SECONDS = 5.0
"""Of this process: seconds on the clock say little on a busy machine."""
MEMORY = 1 << 30
STORED = Path(__file__).parents[1] / "report" / "runs" / "tiny-0"


class TooLong(BaseException):
    """Raised by the timer; not an Exception, so that no reader takes it for its own."""


@dataclass(frozen=True)
class Target:
    """One kind of file: good ones to begin with, and the commands that read them.

    `commands` are given the spoilt file, or with `beside` the folder that holds it.
    """

    name: str
    seeds: tuple[tuple[str, bytes], ...]
    """Where a file lies, and what is in it."""
    commands: tuple[Callable[[Path, Path], int], ...]
    parse: Callable[[bytes], Any] | None = None
    """Bytes of a good file as plain data; None where the file is binary."""
    beside: tuple[tuple[str, bytes], ...] = ()
    """The other files of its folder."""
    rare: bool = False
    """Taken once where others are taken six times: a slow reader."""


@dataclass(frozen=True)
class Failure:
    case: int
    target: str
    what: str
    data: bytes


@functools.cache
def targets() -> dict[str, Target]:
    """Everything that a user can hand to dnas as a file."""
    run = _files(STORED)
    named = dict(run)
    space = [find_space(n).read_bytes() for n in ("tiny", "fbnetv1_32", "fbnetv2")]
    published = [find_space(n).read_bytes() for n in ("fbnet_c", "fbnetv2_f4")]
    published.append(find_space("deit_ti").read_bytes() + b"keep_tokens: {trunk.2.3: [0, 3, 9], trunk.2.11: [0]}\n")
    how = "{trunk.0.conv: {bits: 8, weights: per-channel, result: 8}, trunk.2.3.scores: {bits: 4}}"
    quantized = f"quantization: {how}\n".encode()
    published.append(find_space("deit_ti").read_bytes() + quantized)
    tables = [find_table(n).read_bytes() for n in ("pixel3", "eyeriss")]
    counts = (_command(count, "{}", "--json"), _command(count, "{}", "--convention", "timm"))
    latencies = (_command(lut, "check", "{}"), _command(lut, "show", "{}", "--space", "tiny"))
    made = [
        Target("space", _all("mine.yaml", space), (_command(spaces, "{}", "--json"),), yaml.safe_load),
        Target("architecture", _all("mine.yaml", published), counts, yaml.safe_load),
        Target("exported", (("architecture.json", named["architecture.json"]),), (_report,), json.loads, run),
        Target("table", _all("mine.json", tables), latencies, json.loads),
        Target("history", (("history.jsonl", named["history.jsonl"]),), (_report,), _rows, run),
        Target("weights", (("mine.safetensors", _weights()),), (_load_weights,)),
        Target("checkpoint", _checkpoint(), (_restore,), None, _checkpoint(), rare=True),
    ]
    return {target.name: target for target in made}


def _all(name: str, contents: Iterable[bytes]) -> tuple[tuple[str, bytes], ...]:
    return tuple((name, data) for data in contents)


def _files(folder: Path) -> tuple[tuple[str, bytes], ...]:
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    return tuple((str(path.relative_to(folder)), path.read_bytes()) for path in found)


def _rows(data: bytes) -> list[Any]:
    return [json.loads(line) for line in data.splitlines()]


def _command(module: Any, *argv: str) -> Callable[[Path, Path], int]:
    def run(file: Path, out: Path) -> int:
        arguments = entry.parse(module.Arguments, [a.replace("{}", str(file)) for a in argv])
        return entry.call(module.main, arguments)

    return run


def _report(folder: Path, out: Path) -> int:
    argv = [str(folder), "--out", str(out / "report.html")]
    return entry.call(report.main, entry.parse(report.Arguments, argv))


_ARCHITECTURE = STORED / "architecture.json"


def _weights() -> bytes:
    import jax

    from dnas.learning import weights
    from dnas.nn.supernet import abstract_variables

    space = load_space(_ARCHITECTURE)
    draw = np.random.default_rng(0)
    values = jax.tree.map(lambda a: draw.normal(size=a.shape).astype(np.float32), abstract_variables(space))
    with tempfile.TemporaryDirectory() as home:
        file = Path(home, "w.safetensors")
        weights.save(file, space, values)
        return file.read_bytes()


@functools.cache
def _network() -> Any:
    return load_space(_ARCHITECTURE)


def _load_weights(file: Path, out: Path) -> int:
    from dnas.learning import weights

    return entry.call(lambda path: weights.load(path, _network()) and 0, file)


def _state() -> Any:
    import jax
    import jax.numpy as jnp

    return {"weights": jnp.arange(12.0).reshape(3, 4), "key": jax.random.key(3), "step": jnp.asarray(7, jnp.int32)}


def _plain(state: Any) -> Any:
    import jax

    return state | {"key": jax.random.key_data(state["key"])}


@functools.cache
def _checkpoint() -> tuple[tuple[str, bytes], ...]:
    from dnas.learning.checkpoint import Checkpoints

    with tempfile.TemporaryDirectory() as home:
        with Checkpoints(Path(home), {"seed": 0}) as checkpoints:
            for step in (1, 2):
                checkpoints.save(step, _state(), {"history": ["{}"] * step})
        return _files(Path(home))


def _restore(folder: Path, out: Path) -> int:
    """Continues from a checkpoint; what is read must be what was written, or a clear line."""
    import jax
    import numpy as np

    from dnas.learning.checkpoint import Checkpoints

    def main(where: Path) -> None:
        with Checkpoints(where, {"seed": 0}) as checkpoints:
            if checkpoints.latest() is None:
                return
            saved = checkpoints.restore(_state())
        wanted, found = jax.tree.leaves(_plain(_state())), jax.tree.leaves(_plain(saved.state))
        assert all(map(np.array_equal, wanted, found)), "read wrongly"

    return entry.call(main, folder)


def spoilt(target: Target, case: int, seed: int) -> tuple[str, bytes]:
    """The file of a case: where it lies, and what is in it."""
    draw = random.Random(f"{seed} {target.name} {case}")
    file, data = draw.choice(target.seeds)
    how = draw.random()
    if how < 0.04:
        return file, nasty(draw)
    if how < 0.5 and target.parse is not None:
        changed = value_replaced(target.parse(data), draw)
        if target.name == "history" and isinstance(changed, list):
            return file, b"\n".join(_dumped(row) for row in changed)
        data = _dumped(changed)
        return file, draw.choice(BYTES)(data, draw) if draw.random() < 0.1 else data
    for _ in range(draw.choice((1, 1, 1, 2, 4))):
        data = draw.choice(BYTES)(data, draw) if data else data
    return file, data


def _dumped(value: Any) -> bytes:
    """JSON, which is YAML too; lone surrogates stay escapes."""
    return json.dumps(value).encode()


def run(cases: int, seed: int = 0, names: tuple[str, ...] = ()) -> Iterator[Failure]:
    """Runs the cases, spread over the targets; yields what fails."""
    chosen = [t for name, t in targets().items() if not names or name in names for _ in range(1 if t.rare else 6)]
    home = Path(tempfile.mkdtemp(prefix="dnas-fuzz-"))
    try:
        for case in range(cases):
            target = chosen[case % len(chosen)]
            yield from one_case(target, case, *spoilt(target, case, seed), home)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def one_case(target: Target, case: int, name: str, data: bytes, home: Path) -> Iterator[Failure]:
    """Writes the file (and those beside it) into a fresh folder, runs the commands; yields what fails."""
    box, out = home / "in", home / "out"
    for folder in (box, out):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    for path, content in (*target.beside, (name, data)):
        (box / path).parent.mkdir(parents=True, exist_ok=True)
        (box / path).write_bytes(content)
    given = box if target.beside else box / name
    inputs = _listing(home)
    for command in target.commands:
        what = _watched(command, given, out)
        added = {path for path in _listing(home) - inputs if not path.startswith("out/")}
        if added:
            what = f"wrote outside --out: {sorted(added)}"
        if what:
            yield Failure(case, target.name, what, data)


def _watched(command: Callable[[Path, Path], int], file: Path, out: Path) -> str:
    """What is wrong with how a command ended; empty if nothing is."""
    told, errors = io.StringIO(), io.StringIO()
    began, memory = time.process_time(), peak()
    before = signal.signal(signal.SIGPROF, _alarm)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        with contextlib.redirect_stdout(told), contextlib.redirect_stderr(errors), contextlib.chdir(out):
            code = command(file, out)
    except TooLong as late:
        return f"longer than {SECONDS} s: " + "".join(traceback.format_tb(late.__traceback__)[-3:])
    except BaseException as error:
        signal.setitimer(signal.ITIMER_PROF, 0)
        return "".join(traceback.format_exception(error))[-1500:]
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
    lines = errors.getvalue().splitlines()
    if code == 2 and not (len(lines) == 1 and lines[0].startswith("error: ")):
        return f"exit 2 with {len(lines)} lines: {lines[:3]}"
    if code == 2 and len(lines[0]) > 2500:
        return f"a line of {len(lines[0])} characters: {lines[0][:200]}"
    if code not in (0, 2):
        return f"exit {code}: {lines[:3]}"
    if time.process_time() - began > SECONDS:
        return f"longer than {SECONDS} s"
    grown = peak() - memory
    return "" if grown < MEMORY else f"{grown:,} bytes of memory more"


def peak() -> int:
    """The most memory this process has held, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _alarm(*_: Any) -> None:
    raise TooLong


def _listing(home: Path) -> set[str]:
    return {str(path.relative_to(home)) for path in home.rglob("*")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="targets, separated by commas")
    parser.add_argument("--keep", type=Path, help="folder for the files of failing cases")
    args = parser.parse_args()
    failures = 0
    kinds: Counter[str] = Counter()
    for failure in run(args.cases, args.seed, tuple(filter(None, args.only.split(",")))):
        failures += 1
        last = failure.what.strip().splitlines()[-1]
        kinds[f"{failure.target}: {last[:140]}"] += 1
        if kinds[f"{failure.target}: {last[:140]}"] <= 2:
            print(f"case {failure.case} ({failure.target}): {failure.what}", file=sys.stderr)
        if args.keep:
            args.keep.mkdir(parents=True, exist_ok=True)
            (args.keep / f"{failure.target}-{failure.case}").write_bytes(failure.data)
    for kind, number in kinds.most_common():
        print(f"{number:6}  {kind}")
    print(f"{args.cases:,} cases, {failures} failures, peak memory {peak() >> 20} MiB")
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
