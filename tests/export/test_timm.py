"""timm: block strings for what it can express, refusal for the rest, and our timm files against timm's own models."""

import pytest

from dnas.cost.count import count
from dnas.errors import UserError
from dnas.export import parity, timm
from dnas.export.trace import trace, weights_of
from dnas.grammar.catalogue import load_space

from .networks import grouped, network

FILES = {"timm_fbnetc_100": "fbnetc_100", "timm_fbnetv3_b": "fbnetv3_b", "timm_fbnetv3_d": "fbnetv3_d",
         "timm_fbnetv3_g": "fbnetv3_g"}  # fmt: skip


def test_block_strings():
    planned = timm.translated(trace(load_space("timm_fbnetv3_b")), "b")
    assert planned.stages[0] == ["ds_k3_s1_c16_nhs"] * 2
    assert planned.stages[1][0] == "ir_k5_s2_e4_c24_nhs"
    assert planned.options["model"] == "MobileNetV3" and planned.options["features"] == 1984
    source = timm.source(trace(load_space("timm_fbnetc_100")), title="c", weights_file="w", where="c")
    assert '"ir_r3_k5_s1_e6_c184_nre"' in source and "EfficientNet(" in source


@pytest.mark.parametrize(
    "name, part", [("fbnetv3_a", "trunk.6.*padding 1 at kernel 5"), ("fbnet_b1_caffe2", "trunk.8.*no timm block")]
)
def test_what_timm_lacks_is_named(name, part):
    with pytest.raises(UserError, match=f"{part}"):
        timm.translated(trace(load_space(name)), name)
    with pytest.raises(UserError, match="timm cannot express"):
        timm.translated(trace(grouped()), "grouped")


@pytest.mark.parametrize("name", ("fbnet_96@64",))
def test_exported_network(name, torch_and_timm):
    torch, _ = torch_and_timm
    space, variables = network(name)
    module: dict = {}
    exec(timm.source(trace(space), title=name, weights_file="w", where=name), module)
    model = module["network"]()
    tensors = timm.tensors(trace(space), weights_of(variables), name)
    model.load_state_dict({k: torch.from_numpy(v.copy()) for k, v in tensors.items()})

    def run(images):
        with torch.inference_mode():
            return model.eval()(torch.from_numpy(images.transpose(0, 3, 1, 2).copy())).numpy()

    assert parity.check(space, variables, run, "timm") < parity.LIMIT


@pytest.mark.parametrize("name", FILES)
def test_macs_equal_those_seen_in_timm(name, torch_and_timm):
    """Counted by hooks on timm's layers as they run."""
    torch, package = torch_and_timm
    model, space, seen = package.create_model(FILES[name], pretrained=False).eval(), load_space(name), []

    def hook(layer, _, output):
        each = layer.weight[0].numel()  # products of one output element
        seen.append(output.numel() * each)

    for module in model.modules():
        if isinstance(module, (torch.nn.Conv2d, torch.nn.Linear)):
            module.register_forward_hook(hook)
    side = space.resolution.value
    with torch.inference_mode():
        model(torch.zeros(1, 3, side, side))
    assert sum(seen) == count(space)["macs"]
