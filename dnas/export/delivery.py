"""What an export hands over, and how it speaks of it: the network, how pictures reach it, what its scores mean.

A network that was searched by proxy is delivered at the input that its weights fit; its budgets count the space's own
input. Where the two differ, both are said.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from dnas.data.hugging_face import processor_config
from dnas.data.preprocess import Preprocessing
from dnas.runs.as_trained import counted_at, told_apart
from dnas.runs.result import Result
from dnas.space.space import Space

NAME, PREPROCESSING, LABELS, INPUT = "dnas.name", "dnas.preprocessing", "dnas.labels", "dnas.input"
"""Keys of an ONNX file's metadata; all values but the name are JSON."""


@dataclass(frozen=True, eq=False)
class Delivery:
    """One network on its way out."""

    network: Space
    """At the input that is delivered."""
    counted: Space
    """At the input that its costs were counted at."""
    preprocessing: Preprocessing | None
    """Where it is known."""
    labels: tuple[str, ...]

    @property
    def full(self) -> int | None:
        """Side of the images that an exported graph is given, where the network takes a grid of their pixels."""
        p = self.preprocessing
        return None if p is None or p.grid is None else p.side

    @property
    def side(self) -> int:
        """Side of the images that an exported graph is given."""
        return self.full or self.network.resolution.value

    def costs(self) -> list[str]:
        """What it costs, in one line, or in two where another input was counted."""
        delivered, own = counted_at(self.network), counted_at(self.counted)
        apart = told_apart(own, delivered)
        if not apart:
            return [f"{own.macs:,} MACs, {own.params:,} params at {own.input}, as dnas.count"]
        grid = f" (a grid of images of {self.full} px)" if self.full else ""
        return [apart[0] + grid, *apart[1:]]

    def title(self) -> str:
        """First lines of an exported file."""
        return "\n".join(
            [f"{self.network.name}, written by dnas.export.", *(f"{c[0].upper()}{c[1:]}." for c in self.costs())]
        )

    def metadata(self) -> dict[str, str]:
        """What an ONNX file says of itself: name, input, and where known the preprocessing and the class names."""
        space = self.network
        found: dict[str, Any] = {
            INPUT: {
                "layout": "NCHW", "channels": space.channels, "resolution": self.side, "classes": space.classes
            }
        }  # fmt: skip
        if self.preprocessing is not None:
            found[PREPROCESSING] = self.preprocessing.to_json("NCHW")
        if self.labels:
            found[LABELS] = list(self.labels)
        return {NAME: space.name, **{key: json.dumps(value) for key, value in found.items()}}

    def processor(self) -> dict[str, Any] | None:
        """`preprocessor_config.json`, where the preprocessing is known."""
        p = self.preprocessing
        return None if p is None else processor_config(self.network.name, p, self.labels)


def delivery_of(result: Result) -> Delivery:
    """At the input that the weights fit; without weights at the input that was counted.

    The preprocessing belongs to the former input.
    """
    if result.weights is None and result.network is not result.space:
        return Delivery(result.space, result.space, None, ())
    return Delivery(result.network, result.space, result.preprocessing, result.labels)
