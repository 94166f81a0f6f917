"""A process that holds one contender and takes its steps when told: `python worker.py NAME PX BATCH`.

It prints its figures as a line of JSON when it is ready, then for each line with a number of steps the seconds that one
took. Whether memory comes in large pages is decided before a process starts, so each contender has one of its own.
"""

from __future__ import annotations

import json
import os
import sys
import time

from dnas.process.backend import configure

configure()


def main(name: str, px: int, batch: int) -> None:
    out = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what libraries print must not mix with the answers

    def answer(value: object) -> None:
        print(json.dumps(value), file=out, flush=True)

    from contenders import contender

    made = contender(name, px, batch)
    answer(made.figures)
    for line in sys.stdin:
        count = int(line)
        made.steps(1)  # a search does not stop between steps: caches and memory come back before the clock starts
        began = time.perf_counter()
        made.steps(count)
        answer((time.perf_counter() - began) / count)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
