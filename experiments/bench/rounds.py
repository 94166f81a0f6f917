"""Contenders in processes of their own that take turns, and ratios of their times.

In a round every contender takes some steps, the first of which is not timed; the order turns around from round to
round. A ratio is the median over the rounds of the ratio within a round, with its quartiles, so that a machine that is
slow for a while is slow for both.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dnas.cpu.restart import memory_tunables

TURN_S = 0.3
"""A turn has so many steps that it takes about this long; a slower contender takes one."""
PAUSE_S = 0.05
"""Between turns: threads of the one before spin for a while before they sleep."""


@dataclass(frozen=True)
class Asked:
    """A contender by name, whether its process gets large memory pages, and how long its turns are."""

    name: str
    px: int
    batch: int
    large_pages: bool = True
    turn_s: float = TURN_S


class Worker:
    """A process with one contender, warm."""

    def __init__(self, asked: Asked, cache: str, stack: ExitStack):
        command = [
            sys.executable,
            str(Path(__file__).with_name("worker.py")),
            asked.name,
            str(asked.px),
            str(asked.batch),
        ]
        memory = memory_tunables(f"glibc.malloc.hugetlb={int(asked.large_pages)}")  # for PyTorch's processes as well
        environment = os.environ | {"GLIBC_TUNABLES": memory, "DNAS_CACHE": cache, "TF_CPP_MIN_LOG_LEVEL": "2"}
        self.asked = asked
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        stack.callback(self._end)
        self.figures: dict[str, float] = self._answer()
        self.count = 1

    def seconds(self) -> float:
        """Time of one step, the mean of a turn."""
        assert self.process.stdin is not None
        print(self.count, file=self.process.stdin, flush=True)
        took = self._answer()
        self.count = max(1, round(self.asked.turn_s / took))
        return took

    def _answer(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"the process of '{self.asked.name}' ended early with code {self.process.wait()}")
        return json.loads(line)

    def _end(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(60)


@contextmanager
def workers(asked: Sequence[Asked], cache: str | None = None) -> Iterator[list[Worker]]:
    """One after another is started, so that none compiles while another does; each compiles what is not cached yet.

    The cache is empty at first, unless one is given, so that only the second of two contenders that differ in their
    pages finds its program there. `DNAS_CACHE` names one that stays, so that a measurement may be taken in parts: no
    compile time is cold then.
    """
    with ExitStack() as stack:
        cache = os.environ.get("DNAS_CACHE") or cache or stack.enter_context(tempfile.TemporaryDirectory())
        yield [Worker(one, cache, stack) for one in asked]


def interleaved(contenders: Sequence[Worker], rounds: int) -> np.ndarray:
    """Seconds of a step [rounds, contenders]; a first round is not counted."""
    found = np.zeros((rounds + 1, len(contenders)))
    for n in range(rounds + 1 if rounds else 0):
        order = range(len(contenders)) if n % 2 else reversed(range(len(contenders)))
        for c in order:
            found[n, c] = contenders[c].seconds()
            time.sleep(PAUSE_S)
    return found[1:]


def ratio(name: str, a: np.ndarray, b: np.ndarray) -> dict[str, Any]:
    """`NAME` and `NAME_quartiles` of a over b; none where there were no rounds."""
    if not len(a):
        return {name: None, f"{name}_quartiles": None}
    low, middle, high = np.quantile(a / b, [0.25, 0.5, 0.75])
    return {name: round(float(middle), 4), f"{name}_quartiles": [round(float(low), 4), round(float(high), 4)]}


def told(found: Mapping[str, Any], as_json: bool) -> None:
    """Prints a benchmark's figures: one JSON object, or a line each."""
    if as_json:
        print(json.dumps(found))
        return
    for name, value in found.items():
        print(f"{name:>45}  {value}")
