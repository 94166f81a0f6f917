"""Small trained networks to compress, and images for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dnas.grammar.read import space_from_data
from dnas.nn.gates import Layout, one_hot
from dnas.nn.supernet import Supernet, Variables, init
from dnas.space.space import Space

SIDE, CLASSES = 8, 3
INPUT = {"channels": 2, "classes": CLASSES, "resolution": SIDE}


def transformer(**more: Any) -> Space:
    """Two blocks on five tokens."""
    block = {"repeat": 2, "heads": 2, "head_width": 4, "hidden": 12} | more
    trunk = [{"patch_embed": {"out": 8, "kernel": 4}}, {"tokens": {}}, {"transformer": block}]
    data = {"name": "vit", "input": INPUT, "trunk": trunk, "head": [{"token_head": {"out": "$classes"}}]}
    return space_from_data(data, "vit")


def windows() -> Space:
    """Windows of two pixels, moved and not."""
    block = {"heads": 2, "head_width": 4, "window": 2, "hidden": 12}
    blocks = [{"window_transformer": block}, {"window_transformer": block | {"shifted": True}}]
    trunk = [{"patch_embed": {"out": 8, "kernel": 2}}, *blocks, {"patch_merge": {"out": 12}}]
    return space_from_data(
        {"name": "swin", "input": INPUT, "trunk": trunk, "head": [{"norm_head": {"out": "$classes"}}]}, "swin"
    )


def convolutional() -> Space:
    """An inverted bottleneck with squeeze-excite and a residual, one without, and a last convolution."""
    first = {"out": 6, "hidden": 10, "kernel": 3, "se": True, "se_hidden": 4, "act": "hswish"}
    second = {"out": 9, "hidden": 12, "kernel": 3, "stride": 2, "act": "relu"}
    trunk = [{"conv": {"out": 6, "kernel": 3, "stride": 2, "act": "relu"}}, {"mbconv": first}, {"mbconv": second}]
    head = [{"conv": {"out": 14, "kernel": 1, "act": "relu"}}, {"pool": {}}, {"linear": {"out": "$classes"}}]
    return space_from_data({"name": "mobile", "input": INPUT, "trunk": trunk, "head": head}, "mobile")


NETWORKS = {"transformer": transformer, "windows": windows, "convolutional": convolutional}


def variables_of(space: Space) -> Variables:
    """Random ones: no norm and no bias is neutral."""
    rng = np.random.default_rng(0)
    found = init(space, jax.random.key(0))
    shift = {path: jnp.asarray(rng.uniform(0.2, 1.5, v.shape), jnp.float32) for path, v in found["batch_stats"].items()}
    params = {path: v + 0.4 * rng.normal(size=v.shape).astype(np.float32) for path, v in found["params"].items()}
    return {"params": params, "batch_stats": shift}


def run(space: Space, variables: Variables, images: Any) -> Any:
    """Its scores."""
    return Supernet(space).apply(variables, images, one_hot(Layout(()), {}))[0]


def images(count: int = 4) -> Any:
    return jnp.asarray(np.random.default_rng(1).normal(size=(count, SIDE, SIDE, 2)), jnp.float32)


def dataset_file(folder: Path, count: int = 96) -> Path:
    """Images of which the brighter half tells the class, as an npz file."""
    rng = np.random.default_rng(2)
    labels = (np.arange(count) % CLASSES).astype(np.int64)
    pixels = rng.integers(0, 120, (count, SIDE, SIDE, 2))
    for n, label in enumerate(labels):
        pixels[n, :, 2 * label : 2 * label + 3] += 100
    path = folder / "made.npz"
    part = 2 * count // 3
    arrays = {
        "train_images": pixels[:part],
        "train_labels": labels[:part],
        "test_images": pixels[part:],
        "test_labels": labels[part:],
    }
    np.savez(path, **{k: v.astype(np.uint8) if "images" in k else v for k, v in arrays.items()})
    return path
