"""The promise on the main space: five budgets, three seeds, one table.

    python experiments/budgets.py                 # about 20 minutes on 2 cores, less with a warm compilation cache

Each row is a run of `python -m dnas.search fbnetv2 --budget B --preset smoke --seed S`. Expected: `share` is never
above 1 and at least 0.97. Smoke runs prove the budget, not the accuracy.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--space", default="fbnetv2")
    parser.add_argument("--budgets", type=int, nargs="+", default=[60, 100, 200, 300, 400], help="in MFLOPs")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--preset", default="smoke")
    parser.add_argument("--out", type=Path, default=Path("runs/budgets"))
    args = parser.parse_args()
    print("budget  seed   MACs         share   expected/budget  argmax/budget  wall s", flush=True)
    worst: list[float] = []
    for budget in args.budgets:
        for seed in range(args.seeds):
            out = args.out / f"{budget}-{seed}"
            command = [sys.executable, "-m", "dnas.search", args.space, "--budget", f"{budget}MFLOPs"]
            command += ["--preset", args.preset, "--seed", str(seed), "--out", str(out)]
            began = time.monotonic()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            found = json.loads((out / "architecture.json").read_text())
            row = found["search"]["budgets"][0]
            worst.append(row["share"])
            expected, argmax = row["expected_before"] / row["limit"], row["argmax_cost"] / row["limit"]
            print(
                f"{budget:5d}M  {seed:4d}  {row['cost']:11,}  {row['share']:.4f}  {expected:15.3f}  {argmax:13.3f}  "
                f"{time.monotonic() - began:6.1f}",
                flush=True,
            )
    print(f"share: smallest {min(worst):.4f}, largest {max(worst):.4f}")
    if max(worst) > 1 or min(worst) < 0.97:
        sys.exit("the promise is broken")


if __name__ == "__main__":
    main()
