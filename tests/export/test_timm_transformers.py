"""timm's vision transformers with weights drawn at random, copied in: the same logits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
import pytest

from dnas.export import parity
from dnas.grammar.catalogue import load_space
from dnas.nn.supernet import init

pytestmark = pytest.mark.slow
Named = tuple[str, np.ndarray]


def norm(theirs: dict[str, np.ndarray], source: str, path: str) -> Iterator[Named]:
    yield f"{path}.scale", theirs[f"{source}.weight"]
    yield f"{path}.shift", theirs[f"{source}.bias"]


def linear(theirs: dict[str, np.ndarray], source: str, path: str) -> Iterator[Named]:
    yield f"{path}.weight", theirs[f"{source}.weight"].T
    if f"{source}.bias" in theirs:
        yield f"{path}.bias", theirs[f"{source}.bias"]


def block(theirs: dict[str, np.ndarray], source: str, path: str) -> Iterator[Named]:
    """What plain and windowed blocks have in common."""
    yield from norm(theirs, f"{source}.norm1", f"{path}.attention_norm")
    weights = np.split(theirs[f"{source}.attn.qkv.weight"], 3)
    biases = np.split(theirs[f"{source}.attn.qkv.bias"], 3)
    for part, weight, bias in zip(("query", "key", "value"), weights, biases, strict=True):
        yield from ((f"{path}.{part}.weight", weight.T), (f"{path}.{part}.bias", bias))
    yield from linear(theirs, f"{source}.attn.proj", f"{path}.attention_project")
    yield from norm(theirs, f"{source}.norm2", f"{path}.mlp_norm")
    yield from linear(theirs, f"{source}.mlp.fc1", f"{path}.expand")
    yield from linear(theirs, f"{source}.mlp.fc2", f"{path}.project")


def patches(theirs: dict[str, np.ndarray]) -> Iterator[Named]:
    yield "trunk.0.conv.weight", theirs["patch_embed.proj.weight"].transpose(2, 3, 1, 0)
    yield "trunk.0.conv.bias", theirs["patch_embed.proj.bias"]


def deit(theirs: dict[str, np.ndarray]) -> Iterator[Named]:
    yield from patches(theirs)
    yield "trunk.1.class_token.token", theirs["cls_token"][0]
    yield "trunk.1.positions.table", theirs["pos_embed"][0]
    for n in range(12):
        yield from block(theirs, f"blocks.{n}", f"trunk.2.{n}")
    yield from norm(theirs, "norm", "head.0.norm")
    yield from linear(theirs, "head", "head.0.classifier")


def swin(theirs: dict[str, np.ndarray]) -> Iterator[Named]:
    yield from patches(theirs)
    yield from norm(theirs, "patch_embed.norm", "trunk.0.norm")
    place = 1
    for stage in range(4):
        if stage:
            yield from norm(theirs, f"layers.{stage}.downsample.norm", f"trunk.{place}.norm")
            yield from linear(theirs, f"layers.{stage}.downsample.reduction", f"trunk.{place}.reduce")
            place += 1
        for n in range(sum(key.endswith("norm1.weight") and key.startswith(f"layers.{stage}.") for key in theirs)):
            source, path = f"layers.{stage}.blocks.{n}", f"trunk.{place}"
            table = theirs[f"{source}.attn.relative_position_bias_table"]
            yield from block(theirs, source, path)
            yield f"{path}.bias_{(round(len(table) ** 0.5) + 1) // 2}.table", table
            place += 1
    yield from norm(theirs, "norm", "head.0.norm")
    yield from linear(theirs, "head.fc", "head.0.classifier")


def tnt(theirs: dict[str, np.ndarray]) -> Iterator[Named]:
    yield "trunk.0.words.weight", theirs["pixel_embed.proj.weight"].transpose(2, 3, 1, 0)
    yield "trunk.0.words.bias", theirs["pixel_embed.proj.bias"]
    yield "trunk.0.word_positions.table", theirs["pixel_pos"][0].reshape(24, 16).T
    yield "trunk.0.class_token.token", theirs["cls_token"][0]
    yield "trunk.0.positions.table", theirs["patch_pos"][0]
    yield from norm(theirs, "norm1_proj", "trunk.0.join_norm")
    yield from linear(theirs, "proj", "trunk.0.patches")
    yield from norm(theirs, "norm2_proj", "trunk.0.patch_norm")
    for n in range(12):
        source, path = f"blocks.{n}", f"trunk.1.{n}"
        for own, prefix, first, mlp_norm, mlp in (
            ("attn_in", "inner_", "norm_in", "norm_mlp_in", "mlp_in"), ("attn_out", "", "norm_out", "norm_mlp", "mlp"),
        ):  # fmt: skip
            yield from norm(theirs, f"{source}.{first}", f"{path}.{prefix}attention_norm")
            query, key = np.split(theirs[f"{source}.{own}.qk.weight"], 2)
            yield from ((f"{path}.{prefix}query.weight", query.T), (f"{path}.{prefix}key.weight", key.T))
            yield from linear(theirs, f"{source}.{own}.v", f"{path}.{prefix}value")
            yield from linear(theirs, f"{source}.{own}.proj", f"{path}.{prefix}attention_project")
            yield from norm(theirs, f"{source}.{mlp_norm}", f"{path}.{prefix}mlp_norm")
            yield from linear(theirs, f"{source}.{mlp}.fc1", f"{path}.{prefix}expand")
            yield from linear(theirs, f"{source}.{mlp}.fc2", f"{path}.{prefix}project")
        yield from norm(theirs, f"{source}.norm1_proj", f"{path}.join_norm")
        yield from linear(theirs, f"{source}.proj", f"{path}.fuse")
        yield from norm(theirs, f"{source}.norm2_proj", f"{path}.fuse_norm")
    yield from norm(theirs, "norm", "head.0.norm")
    yield from linear(theirs, "head", "head.0.classifier")


@pytest.mark.parametrize(
    ("ours", "name", "copied"),
    [
        ("deit_ti", "deit_tiny_patch16_224", deit),
        ("swin_t", "swin_tiny_patch4_window7_224", swin),
        ("s3_t", "swin_s3_tiny_224", swin),
        ("tnt_s", "tnt_s_patch16_224", tnt),
    ],
)
def test_logits_are_timms(ours, name, copied, torch_and_timm):
    torch, timm = torch_and_timm
    torch.manual_seed(0)
    model = timm.create_model(name, pretrained=False).eval()
    rng = np.random.default_rng(0)
    theirs: dict[str, Any] = {}
    for key, value in model.state_dict().items():
        if value.dtype == torch.float32:
            theirs[key] = value.numpy() + 0.02 * rng.normal(size=value.shape).astype(np.float32)
    model.load_state_dict({key: torch.from_numpy(value) for key, value in theirs.items()}, strict=False)
    space = load_space(ours)
    found = {path: np.asarray(value, np.float32) for path, value in copied(theirs)}
    shapes = {path: value.shape for path, value in init(space, jax.random.key(0))["params"].items()}
    assert {path: value.shape for path, value in found.items()} == shapes
    images = rng.normal(size=(2, 224, 224, 3)).astype(np.float32)
    with torch.no_grad():
        expected = model(torch.from_numpy(images.transpose(0, 3, 1, 2).copy())).numpy()
    logits = parity.reference(space, {"params": found, "batch_stats": {}}, images)
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())
