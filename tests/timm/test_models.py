"""timm's own models with random weights, saved as timm's users have them, and read: the same names, the same logits."""

from __future__ import annotations

import re
from collections import Counter

import numpy as np
import pytest
import safetensors.numpy

from dnas.export import parity
from dnas.grammar.catalogue import load_space
from dnas.graph import graph_of
from dnas.learning import weights
from dnas.runs.result import read_result
from dnas.timm.checkpoint import BUFFERS
from dnas.timm.layouts import names_of
from dnas.timm.models import MODELS

SMALLEST = ("fbnetc_100", "fbnetv3_b", "efficientformer_l1", "efficientformerv2_s0", "deit_tiny_patch16_224",
            "deit_tiny_distilled_patch16_224", "swin_tiny_patch4_window7_224", "swin_s3_tiny_224",
            "tnt_s_patch16_224")  # fmt: skip
IN_STAGES = re.compile(r"^blocks\.\d+\.\d+\.")


def saved(torch, model, path):
    """A checkpoint of timm whose every number is drawn; statistics of batch norms are those of random images, without
    which activations grow from block to block."""
    generator = np.random.default_rng(0)
    found = {}
    for name, value in model.state_dict().items():
        leaf, drawn = name.rpartition(".")[2], generator.normal(size=tuple(value.shape)).astype(np.float32)
        if leaf == "gamma" or (leaf == "weight" and value.ndim == 1):
            found[name] = 1 + 0.3 * np.tanh(drawn)
        elif value.ndim and not leaf.startswith("running_"):
            found[name] = value.numpy() + (0.02 if value.ndim > 1 else 0.2) * drawn
    model.load_state_dict({name: torch.from_numpy(value) for name, value in found.items()}, strict=False)
    settled(torch, model)
    state = {name: np.ascontiguousarray(value.numpy()) for name, value in model.state_dict().items()}
    safetensors.numpy.save_file(state, path)


def settled(torch, model):
    """Gives batch norms the statistics of random images."""
    norms = [module for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.train().momentum = None
    with torch.inference_mode():
        model(torch.randn(8, *model.default_cfg["input_size"])) if norms else None
    model.eval()


@pytest.mark.parametrize("name", MODELS)
def test_names_and_shapes_are_timms(name, torch_and_timm):
    torch, timm = torch_and_timm
    with torch.device("meta"):
        state = timm.create_model(name).state_dict()
    theirs = [(key, tuple(value.shape)) for key, value in state.items() if key.rpartition(".")[2] not in BUFFERS]
    entries = names_of(graph_of(load_space(MODELS[name].architecture)).uses, name).entries
    ours = [(entry.name, entry.shape) for entry in entries]

    def counted(named):  # timm's stages begin where it likes: the order of blocks counts
        return Counter((IN_STAGES.sub("blocks.", key), shape) for key, shape in named)

    assert counted(ours) == counted(theirs)


@pytest.mark.parametrize("name", MODELS)
def test_preprocessing_is_timms(name, torch_and_timm):
    config = torch_and_timm[1].get_pretrained_cfg(name)
    model = MODELS[name]
    known = (model.crop, model.interpolation, *model.statistics)
    assert known == (config.crop_pct, config.interpolation, config.mean, config.std)
    assert load_space(model.architecture).resolution.value == config.input_size[-1]


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALLEST)
def test_logits_are_timms(name, torch_and_timm, tmp_path):
    check(name, torch_and_timm, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in MODELS if name not in SMALLEST])
def test_logits_of_the_larger_ones_are_timms(name, torch_and_timm, tmp_path):
    check(name, torch_and_timm, tmp_path)


def check(name, torch_and_timm, tmp_path, classes=7):
    """Of another number of classes, so that the file alone says it."""
    torch, timm = torch_and_timm
    torch.manual_seed(0)
    model, file = timm.create_model(name, num_classes=classes).eval(), tmp_path / "model.safetensors"
    saved(torch, model, file)
    result = read_result(MODELS[name].architecture, file)
    assert result.network.classes == classes and result.preprocessing is not None
    assert result.preprocessing.mean == MODELS[name].statistics.mean
    images = parity.images(result.network)
    with torch.inference_mode():
        expected = model(torch.from_numpy(images.transpose(0, 3, 1, 2).copy())).numpy()
    logits = parity.reference(result.network, weights.load(file, result.network), images)
    largest = np.abs(expected).max()
    assert np.abs(logits - expected).max() < 1e-4 * max(1, largest) and largest > 0.1
