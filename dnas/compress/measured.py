"""What a network is before and after: exact costs, bytes, accuracy on the test images, time on this machine."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from dnas.cost.size import stored_bytes
from dnas.data.stream.images import taken
from dnas.export.trace import trace, weights_of
from dnas.graph import graph_of
from dnas.learning.evaluator import Tally, batch_size, program, tally
from dnas.measure.protocol import Protocol, measured
from dnas.measure.runtimes import onnx_program
from dnas.nn.supernet import Variables
from dnas.process.extras import unusable
from dnas.runs.as_trained import Counted, counted_at
from dnas.space.space import Space
from dnas.train.folders import content
from dnas.train.setup import Setup

PROTOCOL = Protocol(repeats=60, most_s=1.0)


class Network(NamedTuple):
    """A network with its weights."""

    space: Space
    variables: Variables


class Figures(NamedTuple):
    """Of a network."""

    counted: Counted
    bytes: int
    """Of its numbers, as they are kept."""
    tally: Tally
    ms: float | None
    """Of one image, in onnxruntime on one thread of this machine; None where that is not installed."""


def counts(setup: Setup, network: Network, *, validation: bool = False) -> Tally:
    """Over the test images, or those that choose epochs."""
    data, size = setup.dataset, batch_size(network.space.resolution.value)
    images, labels = data.test_images, data.test_labels
    if validation:
        chosen = setup.validation_index
        images, labels = taken(data.train_images, chosen), data.train_labels[chosen]
    return tally(program(network.space, setup.preprocessing), network.variables, images, labels, data.classes, size)


def together(networks: list[Network], tallies: list[Tally]) -> list[Figures]:
    """Figures of several networks, their times taken in turns."""
    times = _times(networks)
    found = zip(networks, tallies, times, strict=True)
    return [Figures(counted_at(n.space), stored_bytes(graph_of(n.space)), counts, ms) for n, counts, ms in found]


def _times(networks: list[Network]) -> list[float | None]:
    """Networks of one architecture have one time."""
    if unusable("onnxruntime") or unusable("onnx"):
        return [None] * len(networks)
    names = [content(network.space) for network in networks]
    apart = dict(zip(names, networks, strict=True))
    programs = [onnx_program(trace(n.space), 1, weights_of(_on_host(n.variables))) for n in apart.values()]
    found = dict(zip(apart, (timing.median * 1e3 for timing in measured(programs, PROTOCOL)), strict=True))
    return [found[name] for name in names]


def _on_host(variables: Variables) -> dict[str, Any]:
    return {group: {path: np.asarray(v) for path, v in values.items()} for group, values in variables.items()}
