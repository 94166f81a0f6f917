"""The price of a search step against the plain largest network, and against PyTorch where it is installed.

    python experiments/bench/step.py --px 64 --json

All on FBNetV2's space, a step on the weights as the search takes it (gates, batch, gradients, update):

* `time_over_plain`, `flops_over_plain`, `memory_over_plain`: kernel x squeeze-excite x activation x expansion x width
  of every block over the largest network of the space; `..._and_skips` with the choice to skip a block as well;
* `..._six_soft`, `..._six_sampled`: with the six resolutions too, all mixed, or one a step;
* `time_over_torch_same`, `time_over_torch_branches`: over PyTorch, eager, on the same factorised net, and with kernel x
  squeeze-excite x activation as eight branches (`torch_nets.py`); large pages on both sides, and on neither
  (`..._small_pages`). With `--compiled` also over `torch.compile` of both (it takes minutes).

Times are medians of ratios within interleaved rounds; figures of FLOPs, bytes and temporary memory are the compiler's.
A quiet machine is needed for the times; `--rounds 0` gives the other figures alone.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Literal

from rounds import Asked, Worker, interleaved, ratio, told, workers

from dnas.cli.entry import run
from dnas.cpu.restart import huge_pages_are_asked_for

OVER_PLAIN = {"choices": "", "choices_and_skips": "_and_skips", "six_soft": "_six_soft", "six_sampled": "_six_sampled"}
TORCH = ("torch_same", "torch_branches")


@dataclass(frozen=True)
class Arguments:
    """One search step against a plain network's and against PyTorch's."""

    px: int = 64
    """Side of the images."""
    batch: int = 16
    rounds: int = 15
    """Rounds of interleaved turns; 0 for figures without times."""
    against: Literal["all", "plain", "torch"] = "all"
    """The plain network, PyTorch where it is installed, or both."""
    compiled: bool = False
    """Compare with torch.compile too."""
    branches: bool = False
    """Compare with the eight branches a layer in dnas itself too (they take minutes to compile)."""
    json: bool = False
    """Print one JSON object instead of a table."""


def main(args: Arguments) -> None:
    told(measured(args), args.json)


def measured(args: Arguments) -> dict[str, Any]:
    """Everything about a step at one size of images."""
    found: dict[str, Any] = {"px": args.px, "batch": args.batch, "rounds": args.rounds}
    found |= {"large_pages": huge_pages_are_asked_for(), "contenders": {}}
    with tempfile.TemporaryDirectory() as cache:
        if args.against != "torch":
            _add(found, against_plain(args, cache))
            if args.branches:
                _add(found, against_branches(args, cache))
        if args.against != "plain" and args.rounds and find_spec("torch"):
            for rival in (*TORCH, *(f"{name}_compiled" for name in TORCH if args.compiled)):
                for pages in (True, False) if rival in TORCH else (True,):
                    _add(found, against_torch(args, rival, pages, cache))
    return found


def _add(found: dict[str, Any], more: dict[str, Any]) -> None:
    found["contenders"] |= more.pop("contenders")
    found |= more


def against_plain(args: Arguments, cache: str) -> dict[str, Any]:
    """Steps of dnas, each over the plain network's, in a pair of processes."""
    found: dict[str, Any] = {"contenders": {}}
    for name, suffix in OVER_PLAIN.items():
        with workers([Asked(one, args.px, args.batch) for one in ("plain", name)], cache) as started:
            times = interleaved(started, args.rounds)
        plain, own = (worker.figures for worker in started)
        found |= ratio(f"time_over_plain{suffix}", times[:, 1], times[:, 0])
        found |= over_plain(suffix, own, plain)
        _add(found, absolute(started, times))
    return found


def against_branches(args: Arguments, cache: str) -> dict[str, Any]:
    """The same candidates as branches in dnas itself."""
    with workers([Asked(one, args.px, args.batch) for one in ("choices", "branches")], cache) as started:
        times = interleaved(started, args.rounds)
    own, branches = (worker.figures for worker in started)
    found = ratio("time_over_branches", times[:, 0], times[:, 1])
    found |= {f"{key}_over_branches": own[key] / branches[key] for key in ("flops", "memory")}
    return found | absolute(started, times, "_against_branches")


def against_torch(args: Arguments, rival: str, pages: bool, cache: str) -> dict[str, Any]:
    """A step over PyTorch's, in a pair of processes."""
    suffix = "" if pages else "_small_pages"
    with workers([Asked(name, args.px, args.batch, pages) for name in ("choices", rival)], cache) as started:
        times = interleaved(started, args.rounds)
    found = ratio(f"time_over_{rival}{suffix}", times[:, 0], times[:, 1])
    return found | absolute(started, times, f"_against_{rival}")


def over_plain(suffix: str, figures: dict[str, float], plain: dict[str, float]) -> dict[str, float]:
    """Ratios of the compiler's figures, and what compiling took."""
    found = {f"{key}_over_plain{suffix}": round(figures[key] / plain[key], 4) for key in ("flops", "bytes", "memory")}
    return found | {f"compile_s{suffix}": round(figures["compile_s"], 2), f"traces{suffix}": int(figures["traces"])}


def absolute(started: list[Worker], times: Any, pair: str = "") -> dict[str, Any]:
    """What each contender took and has, for the record; `pair` tells which turns those of our step are."""
    each = {}
    for n, worker in enumerate(started):
        name = worker.asked.name + (pair if worker.asked.name == "choices" else "")
        name += "" if worker.asked.large_pages else "_small_pages"
        each[name] = {"step_ms": sorted((times[:, n] * 1e3).round(2).tolist()), **worker.figures}
    return {"contenders": each}


if __name__ == "__main__":
    run(main, Arguments)
