"""Post-training quantisation (Liu et al. 2021, "Post-training quantization for vision transformer"): every product of a
trained network with both factors in a few bits, calibrated on training images without labels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from dnas.compress.asked import Asked, Compressed, Watching
from dnas.compress.calibration import IMAGES, Images, Seen, drawn, factors, seen
from dnas.compress.correction import corrected
from dnas.compress.integers import as_integers
from dnas.compress.products import Part, parts_of, per_channel, quantization
from dnas.compress.scales import METHODS, Search, Steps, alone
from dnas.compress.sensitivity import allotted, sensitivities
from dnas.cost.size import stored_bytes
from dnas.errors import InputError
from dnas.grammar.read import space_from_data
from dnas.graph import graph_of
from dnas.graph.architecture import architecture
from dnas.nn.inherit import inherit
from dnas.nn.supernet import Variables
from dnas.process.progress import progress
from dnas.space.quantized import FIRST, LEAST_BITS, MOST_BITS, RESULT, RESULT_BITS, SECOND
from dnas.space.space import Space
from dnas.train.setup import Setup

BITS = 8
WHOLE = 32
"""Bits of a network that is not quantised."""
REACH = 2
"""Bits of a part differ from the average by up to so many."""
MIXED = (4, 5, 6, 7, 8)
"""Bits that are chosen from under a budget of bytes."""


def ptq(setup: Setup, asked: Asked, folder: Path | None, watch: Watching) -> Compressed:
    """The network with every product quantised; at 32 bits the network as it is.

    Raises:
        InputError: options that do not fit, a budget that no choice of bits meets
            (the least possible size is named).
    """
    check(setup.network, asked)
    written = architecture(setup.network, {})
    network, variables = written.network, inherit(setup.variables, written)
    record = {"bytes_before": stored_bytes(graph_of(network))}
    if asked.bits == WHOLE:
        return Compressed(written.data, variables, record | {"bits": WHOLE, "bytes": record["bytes_before"]})
    images = drawn(setup, asked.images)
    parts = parts_of(network)
    everywhere = quantization(network, {node.path: RESULT_BITS for part in parts for node in part.products})
    channelled = {node.path: per_channel(node) for part in parts for node in part.products}
    results = [path for path, how in everywhere.items() if how.result is not None]
    count = images.count(network.resolution.value)
    with _told(watch, count, "ranges of activations", unit="batch") as update:
        ranges, of_results = seen(network, variables, images, channelled, results, update)
    chosen, table = _bits(network, variables, images, parts, ranges, asked, watch)
    bits = {node.path: b for part, b in zip(parts, chosen, strict=True) for node in part.products}
    steps = _steps(network, variables, images, parts, ranges, bits, asked.scales, setup.seed, watch)
    with _told(watch, count, "bias correction", unit="batch") as update:
        variables, left = corrected(network, variables, images, steps, bits, update)
    data = written.data | {"quantization": {path: how.to_json() for path, how in quantization(network, bits).items()}}
    quantised = space_from_data(data, network.source)
    by_result = {path: alone(_of_results(asked.scales), of, RESULT_BITS) for path, of in of_results.items()}
    variables = as_integers(quantised, _with_steps(quantised, variables, steps, by_result))
    record |= {
        "scales": asked.scales, "images": len(images.all), "searched_images": len(images.few), "parts": table,
        "bits": _average(parts, chosen), "bytes": stored_bytes(graph_of(quantised)), "without_correction": left,
    }  # fmt: skip
    return Compressed(data, variables, record)


@contextmanager
def _told(watch: Watching, count: int, what: str, unit: str) -> Iterator[Callable[[int], None]]:
    """Progress, which ends the method after a signal."""
    with progress(watch.console, count, what, unit=unit) as update:

        def told(done: int) -> None:
            watch.leave_if_asked("nothing of a quantisation is kept", "the same command begins it again")
            update(done, "")

        yield told


def check(network: Space, asked: Asked) -> None:
    """Raises `InputError` for options that do not fit; every network has products."""
    bits = asked.bits
    if asked.scales not in METHODS:
        raise InputError("--scales", "unknown", found=asked.scales, accepted=", ".join(METHODS))
    if asked.images is not None and asked.images < 1:
        raise InputError("--images", "too few", found=asked.images, accepted=f"from 1 ({IMAGES} by default)")
    for budget in asked.budgets:
        if budget.kind != "bytes":
            raise InputError("--budget", "not a size", found=budget.text, accepted="e.g. 2.5MB")
    if asked.mixed and bits == WHOLE:
        raise InputError(
            "--mixed", f"nothing to choose where every number keeps its {WHOLE} bits", accepted="fewer --bits"
        )
    if len(asked.budgets) > 1 or (asked.budgets and bits is not None):
        raise InputError("--budget", "the bits follow from one size, or from --bits", accepted="one of them")
    whole = bits is None or bits == WHOLE or (LEAST_BITS <= bits <= MOST_BITS and (asked.mixed or bits == int(bits)))
    if not whole:
        accepted = f"a whole number from {LEAST_BITS} to {MOST_BITS}, or {WHOLE}; any in between with --mixed"
        raise InputError("--bits", "not accepted", found=bits, accepted=accepted)
    for budget in asked.budgets:
        if (least := _least(network)) > budget.limit:
            accepted = f"at least {budget.shown(least)} ({least:,} bytes)"
            raise InputError("--budget", "too small for these bits", found=budget.text, accepted=accepted)


def _bits(
    network: Space, variables: Variables, images: Images, parts: Sequence[Part],
    ranges: Mapping[str, tuple[Seen, Seen]], asked: Asked, watch: Watching,
) -> tuple[list[int], list[dict[str, Any]]]:  # fmt: skip
    """Of each part, and a row of the report for each."""
    wanted = BITS if asked.bits is None else asked.bits
    rows = [{"part": p.name, "products": len(p.products), "weights": p.weights} for p in parts]
    if not (asked.mixed or asked.budgets):
        return [int(wanted)] * len(parts), [row | {"bits": int(wanted)} for row in rows]
    options = MIXED if asked.budgets else _around(wanted)
    with _told(watch, len(parts) * len(options), "sensitivity of parts", unit="try") as update:
        found = sensitivities(network, variables, images, parts, ranges, options, update)
    if asked.budgets:
        sizes = np.array([[part.bytes(b) for b in options] for part in parts])
        taken = allotted(found, sizes, int(asked.budgets[0].limit), _rest(network, parts))
    else:
        sizes = np.array([[part.weights * b for b in options] for part in parts])
        taken = allotted(found, sizes, int(wanted * sum(part.weights for part in parts)), 0)
    chosen = [options[n] for n in taken]
    sensitive = ({"sensitivity": dict(zip(map(str, options), map(float, row), strict=True))} for row in found)
    return chosen, [row | {"bits": b} | more for row, b, more in zip(rows, chosen, sensitive, strict=True)]


def _least(network: Space) -> int:
    """Bytes with the fewest bits that a budget may choose."""
    written = architecture(network, {}).network
    parts = parts_of(written)
    return sum(part.bytes(MIXED[0]) for part in parts) + _rest(written, parts)


def _rest(network: Space, parts: Sequence[Part]) -> int:
    """Bytes of what stays float32, with all steps that there can be."""
    at = MIXED[0]
    how = quantization(network, {node.path: at for part in parts for node in part.products})
    data = {**network.document.data, "quantization": {path: one.to_json() for path, one in how.items()}}
    return stored_bytes(graph_of(space_from_data(data, network.source))) - sum(part.bytes(at) for part in parts)


def _around(bits: float) -> tuple[int, ...]:
    """Candidates for an average, {4, ..., 8} for 6."""
    middle = round(bits)
    return tuple(range(max(LEAST_BITS, middle - REACH), min(MOST_BITS, middle + REACH) + 1))


def _steps(
    network: Space, variables: Variables, images: Images, parts: Sequence[Part],
    ranges: Mapping[str, tuple[Seen, Seen]], bits: Mapping[str, int], method: str, seed: int, watch: Watching,
) -> dict[str, Steps]:  # fmt: skip
    """Of both factors of every product."""
    start = {path: Steps(*(alone(method, of, bits[path]) for of in both)) for path, both in ranges.items()}
    if method != "similarity":
        return start
    nodes, search, found = [node for part in parts for node in part.products], Search(seed), {}
    ranked = {node.path for node in nodes if node.operator.of_attention == "scores"}
    with _told(watch, len(nodes), "steps of quantisers", unit="product") as update:
        for n, (path, of) in enumerate(factors(network, variables, images, nodes), 1):
            found[path] = search.steps(of, start[path], bits[path], path in ranked)
            update(n)
    return found


def _of_results(method: str) -> str:
    """A result has no product to look at."""
    return "mse" if method == "similarity" else method


def _with_steps(
    quantised: Space, variables: Variables, steps: Mapping[str, Steps], results: Mapping[str, np.ndarray]
) -> Variables:
    found = dict(variables["batch_stats"])
    for node in graph_of(quantised).nodes:
        for name in node.scales:
            value = results[node.path] if name == RESULT else steps[node.path][(FIRST, SECOND).index(name)]
            found[f"{node.path}.{name}"] = np.asarray(value, np.float32)
    return {**variables, "batch_stats": found}


def _average(parts: Sequence[Part], bits: Sequence[int]) -> float:
    """Bits of a weight."""
    total = sum(part.weights for part in parts)
    return round(sum(part.weights * b for part, b in zip(parts, bits, strict=True)) / max(total, 1), 4)
