"""A whole pass over the files of `make_images.py` under a hard limit of memory, killed on the way and begun again.

    python experiments/streaming/limited.py FOLDER            # Linux, as root; half an hour on one core

A memory cgroup holds the program and its readers: what needs more than `--limit` is killed by the kernel, and that is
said. The stream is killed by SIGKILL in the middle of the pass and begun again some batches earlier, so that batches
of both can be compared. After it a small network learns from the same files. Writes
`experiments/results/streaming_limited.md`. Memory is the sum of the proportional set sizes (PSS), as in `measure.py`.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from measure import BATCH, NETWORK, SIDE, TRAINED, pss

RESULT = Path(__file__).parents[1] / "results" / "streaming_limited.md"
BOTH = 20
"""Batches that the killed stream and the one begun again have in common."""
GROUPS = Path("/sys/fs/cgroup")


class Group:
    """A memory cgroup, of either version of the kernel's interface."""

    def __init__(self, limit: int):
        old = (GROUPS / "memory").is_dir()
        self.folder = GROUPS / ("memory" if old else "") / f"streaming-{os.getpid()}"
        self.folder.mkdir()
        (self.folder / ("memory.limit_in_bytes" if old else "memory.max")).write_text(str(limit))
        self._events = self.folder / ("memory.oom_control" if old else "memory.events")

    def command(self, *argv: str) -> list[str]:
        """One that moves itself into the group before it begins."""
        return ["sh", "-c", f'echo $$ > {self.folder}/cgroup.procs && exec "$@"', "sh", *argv]

    def killed(self) -> int:
        """Processes that the kernel killed because of the limit."""
        found = re.search(r"^oom_kill (\d+)", self._events.read_text(), re.MULTILINE)
        if found is None:
            raise SystemExit(f"{self._events} does not say how many processes were killed")
        return int(found[1])


def streamed(
    group: Group, args: argparse.Namespace, start: int, stop: int, memory: list[int]
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The stream in the group and the digest of each of its batches; MB every second or so."""
    argv = [sys.executable, str(Path(__file__).with_name("measure.py")), str(args.folder)]
    argv += ["--readers", str(args.readers), "--digests", str(start), str(stop)]
    with subprocess.Popen(group.command(*argv), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        looked = time.monotonic()
        for line in process.stdout:
            yield process, line.strip()
            if time.monotonic() - looked > 1:
                looked = time.monotonic()
                memory.append(pss(process.pid))


def one_pass(group: Group, args: argparse.Namespace, batches: int) -> tuple[list[str], list[list[int]]]:
    """Digests of all batches, and MB of the stream that was killed and of the one begun again.

    Ends the program where batches of both differ.
    """
    half, memory = batches // 2, ([], [])
    first, second = [], []
    for process, digest in streamed(group, args, 0, batches, memory[0]):
        first.append(digest)
        if len(first) == half + BOTH:
            process.send_signal(signal.SIGKILL)
            break
    for _, digest in streamed(group, args, half, batches, memory[1]):
        second.append(digest)
    if first[half:] != second[:BOTH]:
        raise SystemExit("the stream begun again gives other batches")
    return first[:half] + second, list(memory)


def learning(group: Group, args: argparse.Namespace) -> str:
    """The most MB of a program in which a network learns, from its start on, and the steps that it took."""
    found: list[int] = []
    with tempfile.TemporaryDirectory() as place:
        network = Path(place, "small224.yaml")
        network.write_text(NETWORK)
        argv = [sys.executable, "-m", "dnas.train", str(network), "--data", str(args.folder), "--new-classes"]
        argv += ["--data-in", "stream", "--readers", str(args.readers), "--batch-size", str(TRAINED)]
        argv += ["--epochs", "1", "--out", f"{place}/run"]
        run = subprocess.Popen(group.command(*argv), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        began = time.monotonic()
        while run.poll() is None and time.monotonic() - began < args.training:
            time.sleep(1)
            with contextlib.suppress(OSError):
                found.append(pss(run.pid))
        run.terminate()
        said = run.communicate()[0]
    steps = re.search(r"stopped after step (\d+)", said)
    if steps is None:
        print(said, file=sys.stderr)
        return f"{max(found)} MB; it ended before it was stopped"
    return f"{max(found)} MB in {steps[1]} steps"


def between(memory: list[int]) -> str:
    """Of the first and of the last quarter."""
    quarter = max(1, len(memory) // 4)
    parts = (memory[:quarter], memory[-quarter:])
    return "; ".join(f"{min(part)} to {max(part)} MB" for part in parts)


def main(args: argparse.Namespace) -> None:
    group = Group(args.limit * 10**6)
    files = sum(1 for _ in (args.folder / "train").rglob("*.jpg"))
    batches = args.batches or files // BATCH
    began = time.monotonic()
    digests, (before, after) = one_pass(group, args, batches)
    seconds = time.monotonic() - began
    rows = [
        ("limit of memory of the program and its readers, set by a cgroup", f"{args.limit:,} MB"),
        (f"images in one pass, {SIDE} px, batches of {BATCH}", f"{len(digests) * BATCH:,} of {files:,}"),
        ("its time, with the second start", f"{seconds:.0f} s"),
        (f"killed with SIGKILL after {batches // 2 + BOTH} batches, begun again {BOTH} earlier: the batches of both",
         "the same"),
        ("batches that are alike", f"{len(digests) - len(set(digests))}"),
        ("memory (PSS) before the kill, first quarter; last quarter", between(before)),
        ("memory after it, first quarter; last quarter", between(after)),
        ("most", f"{max(before + after)} MB"),
    ]  # fmt: skip
    write(args, rows)  # kept, whatever comes of the rest
    if args.training:
        rows.append(
            (f"a small network learns, in batches of {TRAINED}: most, from its start on", learning(group, args))
        )
    rows.append(("processes killed by the kernel because of the limit", f"{group.killed()}"))
    write(args, rows)
    print(args.out.read_text())


def write(args: argparse.Namespace, rows: list[tuple[str, str]]) -> None:
    lines = [
        "# Streaming under a hard limit of memory", "",
        f"Made by `python experiments/streaming/make_images.py FOLDER --pictures 1000` and `python "
        f"experiments/streaming/limited.py FOLDER --limit {args.limit} --training {args.training:g}`, with "
        f"{args.readers} readers on {len(os.sched_getaffinity(0))} of {os.cpu_count()} cores that other work shared.",
        "",
        "| what | figure |", "|---|---|", *(f"| {what} | {figure} |" for what, figure in rows),
    ]  # fmt: skip
    args.out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--limit", type=int, default=1000, help="MB of 10^6 bytes")
    parser.add_argument("--readers", type=int, default=2)
    parser.add_argument("--batches", type=int, help="of the pass; all of it if not given")
    parser.add_argument("--training", type=float, default=330.0, help="seconds for which a network learns")
    parser.add_argument("--out", type=Path, default=RESULT)
    main(parser.parse_args())
