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

from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Literal

from rounds import Asked, Worker, interleaved, ratio, told, workers

from dnas.backend import huge_pages_are_asked_for
from dnas.cli import run

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
    px, batch = args.px, args.batch
    plain = args.against != "torch"
    rivals = [n for n in TORCH if args.against != "plain" and args.rounds and find_spec("torch")]
    asked = [Asked(name, px, batch) for name in (("plain", *OVER_PLAIN) if plain else ("choices",))]
    asked += [Asked("branches", px, batch)] if args.branches else []
    asked += [Asked(name, px, batch, pages) for name in rivals for pages in (True, False)]
    asked += [Asked(f"{name}_compiled", px, batch) for name in rivals if args.compiled]
    asked += [Asked("choices", px, batch, False)] if rivals else []
    with workers(asked) as started:
        times = interleaved(started, args.rounds)
        by_name = {(w.asked.name, w.asked.large_pages): n for n, w in enumerate(started)}

    def over(key: str, a: str, b: str, pages: bool = True) -> dict[str, Any]:
        return ratio(key, times[:, by_name[a, pages]], times[:, by_name[b, pages]])

    def figure(name: str) -> dict[str, float]:
        return started[by_name[name, True]].figures

    found: dict[str, Any] = {"px": px, "batch": batch, "rounds": args.rounds, "large_pages": huge_pages_are_asked_for()}
    for name, suffix in OVER_PLAIN.items() if plain else ():
        found |= over(f"time_over_plain{suffix}", name, "plain") | over_plain(suffix, figure(name), figure("plain"))
    if args.branches:
        found |= over("time_over_branches", "choices", "branches")
        found |= {f"{k}_over_branches": figure("choices")[k] / figure("branches")[k] for k in ("flops", "memory")}
    for name in rivals:
        found |= over(f"time_over_{name}", "choices", name)
        found |= over(f"time_over_{name}_small_pages", "choices", name, False)
        if args.compiled:
            found |= over(f"time_over_{name}_compiled", "choices", f"{name}_compiled")
    return found | absolute(started, times)


def over_plain(suffix: str, figures: dict[str, float], plain: dict[str, float]) -> dict[str, float]:
    """Ratios of the compiler's figures, and what compiling took."""
    found = {f"{key}_over_plain{suffix}": round(figures[key] / plain[key], 4) for key in ("flops", "bytes", "memory")}
    return found | {f"compile_s{suffix}": round(figures["compile_s"], 2), f"traces{suffix}": int(figures["traces"])}


def absolute(started: list[Worker], times: Any) -> dict[str, Any]:
    """What each contender took and has, for the record."""
    each = {}
    for n, worker in enumerate(started):
        name = worker.asked.name + ("" if worker.asked.large_pages else "_small_pages")
        each[name] = {"step_ms": sorted((times[:, n] * 1e3).round(2).tolist()), **worker.figures}
    return {"contenders": each}


if __name__ == "__main__":
    run(main, Arguments)
