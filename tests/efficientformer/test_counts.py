"""MACs and parameters of every network, part and block of the oracle file, to the unit."""

from __future__ import annotations

import pytest

from dnas.cost.count import count

from .oracle import ABSENT, FILE, entries, network, single

MODELS = entries("models")


@pytest.mark.skipif(FILE.is_file(), reason="the oracle file is there: its own tests run")
def test_oracle_file_is_absent():
    pytest.skip(ABSENT)


@pytest.mark.parametrize("model", MODELS, ids=lambda m: m["name"])
def test_model(model):
    counted = count(network(model["config"], model["input_resolution"]))
    assert (counted["macs"], counted["params"]) == (model["macs"], model["params"])
    kinds: dict[str, int] = {}
    for layer in counted["layers"]:
        for op in layer["operators"]:
            kinds[op["kind"]] = kinds.get(op["kind"], 0) + op["macs"]
    wanted = model["macs_by_kind"]
    assert kinds["conv"] == wanted["conv"] + wanted.get("conv_dw", 0)
    assert (kinds["linear"], kinds["matmul"]) == (wanted["linear"], wanted["matmul"])
    plain = count(network(model["config"], model["input_resolution"], distilled=False))
    assert (plain["macs"], plain["params"]) == (model["macs_without_dist_head"], model["params_without_dist_head"])


@pytest.mark.parametrize("model", MODELS, ids=lambda m: m["name"])
def test_every_part_of_a_model(model):
    """Stem, transitions, blocks and head: the oracle's order is the network's."""
    layers = count(network(model["config"], model["input_resolution"]))["layers"]
    stem, *stages = model["per_stage"]
    assert _sum(layers[:2]) == (stem["macs"], stem["params"])
    found, left = [(layer["macs"], layer["params"]) for layer in layers[2:-1]], layers[-1]
    wanted = []
    for stage in stages:
        if "downsample" in stage:
            wanted.append((stage["downsample"]["macs"], stage["downsample"]["params"]))
        wanted += [(b["macs"], b["params"]) for b in stage.get("blocks", [])]
    assert found == wanted
    tail = [s for s in stages if not s.get("blocks")]
    assert (left["macs"], left["params"]) == (sum(s["macs"] for s in tail), sum(s["params"] for s in tail))


@pytest.mark.parametrize("model", [m for m in MODELS if "snap_toolbox_as_coded" in m], ids=lambda m: m["name"])
def test_the_release_s_own_profiler(model):
    counted = count(network(model["config"], model["input_resolution"]), "snap")
    assert {"macs": counted["macs"], "params": counted["params"]} == model["snap_toolbox_as_coded"]


@pytest.mark.parametrize("model", MODELS, ids=lambda m: m["name"])
def test_fvcore(model):
    counted = count(network(model["config"], model["input_resolution"]), "fvcore")
    assert counted["macs"] == model["fvcore_flops_total"]


@pytest.mark.parametrize("entry", entries("blocks"), ids=lambda b: f"{b['block']}-{b['dim']}-{b['res']}")
def test_block(entry):
    counted = count(single(entry))
    assert (counted["macs"], counted["params"]) == (entry["macs"], entry["params"])


def _sum(layers):
    return sum(layer["macs"] for layer in layers), sum(layer["params"] for layer in layers)
