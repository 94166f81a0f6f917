"""timm's EfficientFormer models with random weights, copied into ours: the same logits."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from dnas.cost.count import count
from dnas.export import parity
from dnas.grammar.catalogue import load_space, published_names
from dnas.graph import graph_of
from dnas.nn.supernet import abstract_variables

NAMES = [n for n in published_names() if n.startswith("efficientformer")]
KEY, VALUE = 32, 128
NORM = {"weight": "scale", "bias": "shift", "running_mean": "mean", "running_var": "var"}
MODULES = {
    "conv": {"": "conv"},
    "mb4d": {"ls1": "mixer_scale", "ls2": "mlp_scale", "mlp.fc1": "expand", "mlp.norm1": "expand_norm",
             "mlp.fc2": "project", "mlp.norm2": "project_norm"},
    "mb3d": {"norm1": "attention_norm", "norm2": "mlp_norm", "ls1": "attention_scale", "ls2": "mlp_scale",
             "mlp.fc1": "expand", "mlp.fc2": "project", "token_mixer.proj": "attention_project"},
    "conv_ffn": {"ls1": "attention_scale", "ls2": "mlp_scale", "mlp.fc1": "expand", "mlp.mid": "depthwise",
                 "mlp.fc2": "project", "token_mixer.q": "query", "token_mixer.k": "key", "token_mixer.v": "value",
                 "token_mixer.v_local": "local", "token_mixer.stride_conv": "stride",
                 "token_mixer.talking_head1": "before_softmax", "token_mixer.talking_head2": "after_softmax",
                 "token_mixer.proj": "attention_project"},
    "attention_down": {"conv": "conv", "attn.q.local": "subsample", "attn.q.proj": "query", "attn.k": "key",
                       "attn.v": "value", "attn.v_local": "local", "attn.proj": "project"},
}  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_params_equal_those_of_timm(name, torch_and_timm):
    _, package = torch_and_timm
    model = package.create_model(name, pretrained=False)
    assert count(load_space(name))["params"] == sum(p.numel() for p in model.parameters())


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_logits_equal_those_of_timm_with_its_weights(name, torch_and_timm):
    torch, package = torch_and_timm
    torch.manual_seed(0)
    model = package.create_model(name, pretrained=False).eval()
    randomised(torch, model)
    space = load_space(name)
    variables = from_timm(space, {k: v.numpy() for k, v in model.state_dict().items()})

    def run(images):
        with torch.inference_mode():
            return model(torch.from_numpy(images.transpose(0, 3, 1, 2).copy())).numpy()

    assert parity.check(space, variables, run, "timm") < parity.LIMIT


def randomised(torch, model):
    """Every number that starts at a constant drawn at random: layer scales of 1e-5 would hide all the blocks."""
    with torch.no_grad():
        for name, value in model.state_dict().items():
            leaf = name.rpartition(".")[2]
            if leaf in ("gamma", "running_var") or (leaf == "weight" and value.ndim == 1):
                value.uniform_(0.5, 1.5)
            elif leaf in ("bias", "running_mean", "attention_biases"):
                value.normal_(0, 0.5)


def from_timm(space, state):
    """Our variables from timm's state dict."""
    kinds = {use.path: use.kind for use in graph_of(space).uses}
    places = dict(zip(dict.fromkeys(_place(k) for k in state), kinds, strict=True))
    wanted = abstract_variables(space)
    found: dict = {"params": {}, "batch_stats": {}}
    for key, value in state.items():
        if key.endswith(("num_batches_tracked", "attention_bias_idxs")):
            continue
        path = places[_place(key)]
        for name, array in _renamed(kinds[path], key.removeprefix(_place(key)).lstrip("."), value).items():
            group = "batch_stats" if name.endswith((".mean", ".var")) else "params"
            full = f"{path}.{name}"
            found[group][full] = jnp.asarray(array, jnp.float32).reshape(wanted[group][full].shape)
    assert {g: set(v) for g, v in found.items()} == {g: set(v) for g, v in wanted.items()}
    return found


def _place(key: str) -> str:
    """The part of timm's name that is one block of ours; norm and heads are one."""
    parts = key.split(".")
    if parts[0] == "stem":
        return f"stem.{parts[1][-1]}"
    if parts[0] != "stages":
        return ""
    return ".".join(parts[: 4 if parts[2] == "blocks" else 3])


def _renamed(kind: str, key: str, value: np.ndarray) -> dict[str, np.ndarray]:
    module, _, leaf = key.rpartition(".")
    if kind == "norm_head":
        parts = {"norm": "norm", "head": "classifier", "head_dist": "distilled_classifier"}
        leaf = NORM[leaf] if module == "norm" else leaf
        return {f"{parts[module]}.{leaf}": value.T}
    if leaf == "attention_biases":
        return {"bias.table": value}
    if module == "token_mixer.qkv":
        by_head = value.reshape(-1, 2 * KEY + VALUE, *value.shape[1:])
        parts = np.split(by_head, [KEY, 2 * KEY], axis=1)
        flat = [p.reshape(-1, *value.shape[1:]).T for p in parts]
        return {f"{n}.{leaf}": p for n, p in zip(("query", "key", "value"), flat, strict=True)}
    if kind == "conv":
        return {f"{'norm' if 'norm' in module or 'bn' in module else 'conv'}.{_leaf(module, leaf)}": _turned(value)}
    base = module.removesuffix(".conv").removesuffix(".bn")
    if kind == "attention_down" and module == "conv.conv":
        base = "conv"
    name = MODULES[kind][base] + ("_norm" if module.endswith(".bn") else "")
    return {f"{name}.{_leaf(module, leaf)}": _turned(value)}


def _leaf(module: str, leaf: str) -> str:
    if leaf == "gamma":
        return "scale"
    return NORM[leaf] if "norm" in module or module.endswith("bn") else leaf


def _turned(value: np.ndarray) -> np.ndarray:
    return value.transpose(2, 3, 1, 0) if value.ndim == 4 else value.T
