"""Found networks on the full Fashion-MNIST against random networks and a width-scaled one of the same cost.

    apt-get download dataset-fashion-mnist && dpkg -x dataset-fashion-mnist_*.deb fashion
    python experiments/fashion.py --data fashion/usr/share/datasets/fashion-mnist --jobs 2

For every budget: SEEDS searches of the space `fashion`, RANDOM networks whose choices are drawn uniformly and
independently among those that cost 0.97 to 1 of the budget, and one fixed network of the same family (kernel 3,
expansion 3, hard-swish, squeeze-excite in the last two stages) whose widths are scaled to the budget, trained from
SEEDS seeds. All are trained from scratch by one recipe. The test split is read once a network, after its best epoch
was chosen on a held-out tenth of the training images.

Every finished part is kept in OUT/results.json and never run again; a part that was interrupted continues where it
stood. OUT/table.md and OUT/results.json are written anew after every part; below the accuracies stands how open the
choices were at half of the searches. A training takes
about 20 s of one core an epoch for each MMAC of the network, a search of one epoch about 6 minutes.
What it showed: experiments/results/fashion.md.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dnas.cost import ledger
from dnas.cost.count import count
from dnas.errors import UserError
from dnas.files import write_atomic, write_json
from dnas.grammar.catalogue import load_space
from dnas.grammar.read import space_from_data
from dnas.graph import graph_of
from dnas.graph.architecture import architecture
from dnas.space.space import Space

FILL = 0.97
GROUPS = ("found", "random", "baseline")
ONE_CORE = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"


@dataclass(frozen=True)
class Part:
    """One network to train: `found-2-0`, `random-2-5`, `baseline-2-1`."""

    group: str
    budget: float
    """In MMACs."""
    number: int
    """The seed of its search (or draw) and of its training."""

    @property
    def name(self) -> str:
        return f"{self.group}-{self.budget:g}-{self.number}"


def main() -> None:
    args = _arguments()
    out = args.out
    results = json.loads((out / "results.json").read_text()) if (out / "results.json").is_file() else {"parts": {}}
    options = {name: getattr(args, name) for name in ("space", "search_epochs", "theta_lr", "recipe", "epochs", "data")}
    options["data"] = Path(args.data).name
    if results.setdefault("options", options) != options:
        sys.exit(f"{out}/results.json was made with other options: {results['options']}; name another --out")
    wanted = [part for part in parts(args.budgets, args.seeds, args.random) if part.group in args.groups]
    left = [part for part in wanted if part.name not in results["parts"]]
    with ThreadPoolExecutor(args.jobs) as pool:  # each part is processes of its own
        for part, row in pool.map(lambda part: (part, run_part(part, args)), left):
            results["parts"][part.name] = row
            report(results, out)
            print(f"{part.name}: {json.dumps(row)}", flush=True)
    report(results, out)
    print((out / "table.md").read_text())


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="folder of IDX files")
    parser.add_argument("--out", type=Path, default=Path("runs/fashion"))
    parser.add_argument("--space", default="fashion")
    parser.add_argument("--budgets", type=float, nargs="+", default=[0.5, 1, 2], help="in MFLOPs (multiply-adds)")
    parser.add_argument("--seeds", type=int, default=3, help="searches, and trainings of the baseline, a budget")
    parser.add_argument("--random", type=int, default=8, help="random networks a budget")
    parser.add_argument("--groups", nargs="+", choices=GROUPS, default=GROUPS, help="only these; the rest can follow")
    parser.add_argument("--search-epochs", type=float, default=1.0)
    parser.add_argument("--theta-lr", type=float, help="of the searches; the command's own if not given")
    parser.add_argument("--recipe", default="fashion")
    parser.add_argument("--epochs", type=float, default=10.0)
    parser.add_argument("--jobs", type=int, default=1, help="parts at a time; above 1 each takes one core")
    return parser.parse_args()


def parts(budgets: Sequence[float], seeds: int, random: int) -> Iterator[Part]:
    """All parts, the groups of a budget in turn, so that an unfinished study still compares."""
    numbers = {"found": seeds, "baseline": seeds, "random": random}
    for number in range(max(numbers.values())):
        for budget in budgets:
            yield from (Part(group, budget, number) for group in numbers if number < numbers[group])


def run_part(part: Part, args: argparse.Namespace) -> dict[str, Any]:
    """Makes the part's network, trains it and reads what it reached."""
    began = time.monotonic()
    file = MAKERS[part.group](part, args)
    made = time.monotonic()
    out = args.out / "trained" / part.name
    _command(
        args.jobs, "dnas.train", str(file), "--data", args.data, "--init", "scratch", "--recipe", args.recipe,
        "--epochs", f"{args.epochs:g}", "--seed", str(part.number), "--out", str(out), "--resume",
    )  # fmt: skip
    document = json.loads((out / "architecture.json").read_text())
    return {
        "group": part.group, "budget": part.budget, "number": part.number,
        "macs": document["costs"]["macs"], "params": document["costs"]["params"],
        "test": document["training"]["accuracy"]["test"], "validation": document["training"]["accuracy"]["validation"],
        "make_s": round(made - began, 1), "train_s": round(time.monotonic() - made, 1),
    }  # fmt: skip


def found(part: Part, args: argparse.Namespace) -> Path:
    """The result of a search of the part's seed."""
    out = args.out / "searched" / part.name
    if not (out / "provenance.json").is_file():  # written last
        _command(
            args.jobs, "dnas.search", args.space, "--budget", f"{part.budget:g}MFLOPs", "--data", args.data, "--seed",
            str(part.number), "--epochs", f"{args.search_epochs:g}", "--out", str(out),
            *(() if args.theta_lr is None else ("--theta-lr", f"{args.theta_lr:g}")),
        )  # fmt: skip
    return out / "architecture.json"


def random_network(part: Part, args: argparse.Namespace) -> Path:
    """A random network within the budget; a number gives the same network in every run."""
    space = load_space(args.space)
    assignment = random_within(
        space, part.budget * 1e6, np.random.default_rng([part.number, round(part.budget * 1000)])
    )
    return _written(args.out, part, architecture(space, assignment, name=part.name).data)


def baseline(part: Part, args: argparse.Namespace) -> Path:
    """The fixed network, as wide as the budget allows."""
    space = load_space(args.space)
    return _written(args.out, part, width_scaled(space, part.budget * 1e6))


MAKERS = {"found": found, "random": random_network, "baseline": baseline}


def random_within(
    space: Space, budget: float, generator: np.random.Generator, most: int = 10_000_000
) -> dict[str, int]:
    """Option indices of a network that costs `FILL` to 1 of `budget` MACs.

    Choices are uniform and independent, and draws outside the band are thrown away: every choice of options in the
    band is equally probable. Raises `UserError` where none of `most` draws falls into it.
    """
    walked = graph_of(space)
    cost, batch = ledger.merged(ledger.macs(walked.ledger)), 20_000
    for _ in range(0, most, batch):
        drawn = {c.name: generator.integers(len(c), size=batch) for c in space.choices}
        total = np.zeros(batch)
        for product in cost:
            value = np.ones(batch)
            for factor in product.factors:
                value = value * factor.table[tuple(drawn[c.name] for c in factor.over)]
            total += value
        inside = np.flatnonzero((total <= budget) & (total >= FILL * budget))
        if len(inside):
            return {name: int(values[inside[0]]) for name, values in drawn.items()}
    raise UserError(f"no random network of {space.name} within {FILL:g} to 1 of {budget:g} MACs in {most:,} draws")


def width_scaled(space: Space, budget: float) -> dict[str, Any]:
    """The fixed network with the largest width factor that keeps the budget; raises `UserError` where none does."""

    def network(factor: float) -> dict[str, Any]:
        a, b, c = (max(4, 2 * round(width * factor / 2)) for width in (24, 48, 96))
        block = {"expand": 3, "act": "hswish"}
        return {
            "name": f"baseline-{a}-{b}-{c}",
            "input": {"channels": space.channels, "classes": space.classes, "resolution": space.resolution.max()},
            "trunk": [
                {"conv": {"kernel": 3, "out": 16, "act": "hswish"}},
                {"mbconv": {"expand_conv": False, "stride": 2, "out": a, "act": "hswish"}},
                {"mbconv": {"repeat": 2, "out": a, **block}},
                {"mbconv": {"repeat": 3, "stride": 2, "out": b, "se": True, **block}},
                {"mbconv": {"repeat": 3, "stride": 2, "out": c, "se": True, **block}},
            ],
            "head": [{"conv": {"out": 256, "act": "hswish"}}, {"pool": {}}, {"linear": {"out": "$classes"}}],
        }

    def macs(factor: float) -> int:
        return count(space_from_data(network(factor), "baseline"))["macs"]

    low, high = 0.05, 4.0
    if macs(low) > budget:
        raise UserError(f"the baseline costs {macs(low):,} MACs at its narrowest, the budget is {budget:,.0f}")
    for _ in range(24):
        middle = (low + high) / 2
        low, high = (middle, high) if macs(middle) <= budget else (low, middle)
    return network(low)


def _written(out: Path, part: Part, data: dict[str, Any]) -> Path:
    path = out / "networks" / f"{part.name}.json"
    write_json(path, data)
    return path


def _command(jobs: int, module: str, *arguments: str) -> None:
    environment = dict(os.environ)
    if jobs > 1:
        environment["XLA_FLAGS"] = f"{environment.get('XLA_FLAGS', '')} {ONE_CORE}".strip()
    subprocess.run([sys.executable, "-m", module, *arguments], check=True, stdout=subprocess.DEVNULL, env=environment)


# Reporting ------------------------------------------------------------------------------------------------------------


def summary(values: Sequence[float]) -> dict[str, float]:
    """Count, mean, sample standard deviation and standard error (0 of a single value)."""
    array = np.asarray(values, np.float64)
    spread = float(array.std(ddof=1)) if len(array) > 1 else 0.0
    return {"n": len(array), "mean": float(array.mean()), "spread": spread, "error": spread / math.sqrt(len(array))}


def rows(results: dict[str, Any]) -> list[dict[str, Any]]:
    """One row a budget and group, with the difference of the found networks to it."""
    done = list(results["parts"].values())
    made = []
    for budget in sorted({part["budget"] for part in done}):
        groups = {
            group: [part for part in done if part["budget"] == budget and part["group"] == group] for group in GROUPS
        }
        ours = summary([part["test"] for part in groups["found"]]) if groups["found"] else None
        for group, members in groups.items():
            if not members:
                continue
            row = {"budget": budget, "group": group, **summary([part["test"] for part in members])}
            row["best"] = max(part["test"] for part in members)
            row["macs"] = [min(p["macs"] for p in members), max(p["macs"] for p in members)]
            if ours is not None and group != "found":
                row["found_ahead"] = ours["mean"] - row["mean"]
                row["found_ahead_error"] = math.hypot(ours["error"], row["error"])
            made.append(row)
    return made


def report(results: dict[str, Any], out: Path) -> None:
    """`results.json` and `table.md`."""
    made = rows(results)
    write_json(out / "results.json", {**results, "rows": made})
    lines = [
        "| budget | networks | n | MACs | test accuracy | spread | standard error | best | found ahead |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in made:
        ahead = (
            f"{100 * row['found_ahead']:+.2f} +- {100 * row['found_ahead_error']:.2f}" if "found_ahead" in row else ""
        )
        low, high = (f"{m / 1e6:.2f}" for m in row["macs"])
        lines.append(
            f"| {row['budget']:g} M | {row['group']} | {row['n']} | {low}{'' if low == high else f' to {high}'} M | "
            f"{row['mean']:.2%} | {100 * row['spread']:.2f} | {100 * row['error']:.2f} | {row['best']:.2%} | {ahead} |"
        )
    lines += openness(
        [(p["budget"], out / "searched" / name) for name, p in results["parts"].items() if p["group"] == "found"]
    )
    write_atomic(out / "table.md", "\n".join(lines) + "\n")


def openness(searches: Sequence[tuple[float, Path]]) -> list[str]:
    """Lines of a table: how open each kind of choice is at half of the searches of a budget.

    A kind is the last word of the choices' names (`kernel`, `se`). The entropy is a share of the even distribution's.
    """
    found: dict[tuple[float, str], list[tuple[float, float]]] = defaultdict(list)
    for budget, run in searches:
        for choice, p in halfway(run / "history.jsonl").items():
            share = -sum(x * math.log(x) for x in p if x > 0) / math.log(len(p))
            found[budget, choice.rpartition(".")[2]].append((share, max(p)))
    lines = [
        "", "| budget | choice | of all searches | mean entropy at half of them | no option above 0.9 |",
        "|---|---|---|---|---|",
    ]  # fmt: skip
    for (budget, kind), values in sorted(found.items()):
        shares, most = np.array(values).T
        lines.append(f"| {budget:g} M | {kind} | {len(values)} | {shares.mean():.2f} | {np.mean(most < 0.9):.0%} |")
    return lines if found else []


def halfway(history: Path) -> dict[str, list[float]]:
    """Probabilities of each choice's options in the middle of a search's learning of choices."""
    told = [json.loads(line) for line in history.read_text().splitlines()]
    of_search = [row for row in told if row["phase"] == "search"]
    middle = (of_search[0]["step"] + of_search[-1]["step"]) / 2
    return min(of_search, key=lambda row: abs(row["step"] - middle))["probabilities"]


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(f"error: {error}")
