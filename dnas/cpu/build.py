"""`python -m dnas.cpu.build [prove]`: compiles all loops and writes them as one JSON object, for `dnas.cpu.built`.

A process of its own: numba is Python for the most part and would take turns with what a start does, and a loop that is
wrong may end whoever calls it. With `prove` all forms are compared with the plain ones first (`dnas.cpu.prove`).
"""

from __future__ import annotations

import gc
import json
import sys
from collections.abc import Mapping
from typing import Any

from dnas.cpu import map_sums, pixel_products, row_steps
from dnas.cpu.ffi import Text, compiled, handle, work

ALL = pixel_products.KERNELS | map_sums.KERNELS | row_steps.KERNELS


def written(kernels: Mapping[str, Any]) -> dict[str, Any]:
    """`{"functions": {name: Text}, "loops": {name of the loop: [name of its kernel, of what follows or null]}}`."""
    functions: dict[str, Text] = {"work": compiled(work), "handle": compiled(handle)}
    for kernel, finish in kernels.values():
        functions[kernel.__name__] = compiled(kernel, fast=True)
        if finish is not None:
            functions[finish.__name__] = compiled(finish)
    loops = {name: [part and part.__name__ for part in parts] for name, parts in kernels.items()}
    return {"functions": functions, "loops": loops}


if __name__ == "__main__":
    gc.disable()  # a tenth of the time, and nothing here lives long
    made = written(ALL)
    if sys.argv[1:] == ["prove"]:
        from dnas.cpu import loops, prove

        loops.register(made)
        prove.check()
    json.dump(made, sys.stdout)
