"""How long a search takes to be ready: a first start, and a second one that finds its programs in the cache.

    python experiments/bench/compile.py --json

Each start is a fresh process that traces, lowers and compiles every program of a search on FBNetV2's space under
200 MFLOPs, as `python -m dnas.search` does before its first step. `cold_s` and `second_s` are from the first program
asked for to the last one ready; `*_start_s` have the start of Python and the imports in them as well.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from typing import Any, Literal

from rounds import told

from dnas.cli.entry import run


@dataclass(frozen=True)
class Arguments:
    """Cold compile and second start of a whole search."""

    space: str = "fbnetv2_free"
    preset: Literal["smoke", "quick", "paper"] = "quick"
    rounds: int = 1
    """Times each start is taken, the fastest counts; 0 for none."""
    child: bool = False
    """What the fresh processes are told: compile, and print how long it took."""
    json: bool = False
    """Print one JSON object instead of a table."""


def main(args: Arguments) -> None:
    told(compiled(args) if args.child else measured(args), args.json or args.child)


def measured(args: Arguments) -> dict[str, Any]:
    """Two starts, one after another, with a cache of their own."""
    command = [sys.executable, __file__, "--child", "--space", args.space, "--preset", args.preset]
    found: dict[str, Any] = {"space": args.space, "preset": args.preset}
    for _ in range(args.rounds):
        with tempfile.TemporaryDirectory() as cache:
            for name in ("cold", "second"):
                began = time.monotonic()
                done = subprocess.run(
                    command, check=True, capture_output=True, text=True, env=os.environ | {"DNAS_CACHE": cache}
                )
                took = json.loads(done.stdout.splitlines()[-1])
                seconds = {f"{name}_s": took["seconds"], f"{name}_start_s": round(time.monotonic() - began, 2)}
                found |= {key: min(value, found.get(key, value)) for key, value in seconds.items()}
                found[f"{name}_traces"] = took["traces"]
    return found


def compiled(args: Arguments) -> dict[str, Any]:
    """In the fresh process."""
    from dnas.process.backend import configure

    configure()
    from dnas.cost.budget import parse_budget
    from dnas.data.load import load
    from dnas.grammar.catalogue import load_space
    from dnas.search.problem import make_problem
    from dnas.search.run import compiler_for
    from dnas.search.settings import PRESETS
    from dnas.search.strategies import dmasking

    settings = PRESETS[args.preset]
    problem = make_problem(load_space(args.space), [parse_budget("200MFLOPs")], load(), settings, 0)
    compiler = compiler_for(problem, dmasking.NAME)
    dmasking.compile_programs(problem, compiler)
    while not compiler.done(1.0):
        pass
    return {"seconds": round(compiler.seconds, 2), "traces": len(compiler.traced)}


if __name__ == "__main__":
    run(main, Arguments)
