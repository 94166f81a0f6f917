"""A space, an architecture and data so small that a search of them is compiled and done in seconds."""

from __future__ import annotations

from typing import Any

import numpy as np

HEAD = [{"pool": {}}, {"linear": {"out": "$classes"}}]
INPUT = {"channels": 1, "classes": 3, "resolution": 8}
SPACE: dict[str, Any] = {
    "name": "small",
    "input": INPUT,
    "trunk": [
        {"conv": {"kernel": 3, "stride": 2, "out": 4, "act": "relu"}},
        {"conv": {"kernel": {"choices": [1, 3]}, "out": {"choices": [4, 6, 8]}, "act": "relu"}},
    ],
    "head": HEAD,
}
NETWORK: dict[str, Any] = {
    "name": "plain", "input": INPUT, "trunk": [{"conv": {"kernel": 3, "stride": 2, "out": 6, "act": "relu"}}],
    "head": HEAD,
}  # fmt: skip
SETTINGS = {"epochs": 0.5, "batch_size": 8}


def arrays(count: int = 90) -> dict[str, np.ndarray]:
    """Images of three classes, which differ in brightness."""
    random, labels = np.random.default_rng(0), np.arange(count) % 3
    images = random.integers(0, 80, (count, 8, 8)) + 60 * labels[:, None, None]
    return {"images": images.astype(np.uint8), "labels": labels}
