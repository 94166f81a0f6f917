"""A search in two processes that were not given the same, or of which one fails.

Run by tests in processes of their own, which meet at an address. Folder HOME holds a space, `short.yaml`, and images.

python given_on_hosts.py HOST:PORT NUMBER fault|data|memory HOME
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from dnas.cli.entry import run
from dnas.process import hosts
from dnas.process.backend import configure
from dnas.process.hosts import Hosts


@dataclass(frozen=True)
class Arguments:
    """One process of two."""

    meet: Annotated[str, tyro.conf.Positional]
    number: Annotated[int, tyro.conf.Positional]
    what: Annotated[Literal["fault", "data", "memory"], tyro.conf.Positional]
    home: Annotated[Path, tyro.conf.Positional]


def main(args: Arguments) -> None:
    both = Hosts(args.meet, 2, args.number)
    both.watched()
    configure(hosts=both)
    if args.what == "fault":
        if args.number == 1:
            raise RuntimeError("a fault of ours")
        hosts.agreed("waits for the other")
    from dnas.grammar.catalogue import load_space
    from dnas.search import request, run
    from dnas.search.console import Console

    folder = args.home / (f"images{args.number}" if args.what == "data" else "images0")
    space = load_space(str(args.home / "short.yaml"))
    asked = request.requested(space, data=folder, preset="smoke", settings={"side": 12})
    found: dict[str, Any] = {"each": hosts.of_all({"number": args.number, "text": "ä" * args.number})}
    if args.what == "memory":  # the second process has none left
        request.whole = lambda: 10**12 * (1 - args.number)
        run.run_search = lambda problem, *_: found.update(
            streamed=problem.dataset.streamed, mean=problem.preprocessing.mean
        )
    request.search(asked, args.home / "out", Console(quiet=True), run.Options())
    print(json.dumps(found))


if __name__ == "__main__":
    run(main, Arguments)
