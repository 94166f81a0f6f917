"""The member of a space nearest to a design: members are nearest to themselves, and budgets hold."""

import numpy as np
import pytest

from dnas.cost import ledger
from dnas.grammar.catalogue import load_space
from dnas.grammar.read import space_from_data
from dnas.graph import graph_of
from dnas.graph.architecture import architecture
from dnas.solve.nearest import Neighbourhood, scaled_designs


def drawn(space, seed):
    random = np.random.default_rng(seed)
    return architecture(space, {c.name: int(random.integers(len(c))) for c in space.choices})


@pytest.mark.parametrize("name", ["tiny", "fashion", "fbnetv1_32"])
@pytest.mark.parametrize("seed", range(3))
def test_a_member_is_nearest_to_itself(name, seed):
    space = load_space(name)
    around, member = Neighbourhood(space, graph_of(space)), drawn(space, seed)
    assert around.distance(member.network) == pytest.approx(0, abs=1e-9)
    found = around.nearest(member.network, [], [])
    assert architecture(space, found.assignment).data == member.data


@pytest.mark.parametrize("share", [0.5, 0.8])
def test_a_design_is_scaled_into_a_budget(share):
    space = load_space("fbnetv2")
    walked = graph_of(space)
    design = load_space("fbnetv2_f4")
    cost, limit = ledger.macs(walked.ledger), share * 237_605_592
    around = Neighbourhood(space, walked)
    found = around.nearest(design, [cost], [limit])
    spent = ledger.at(cost, found.assignment)
    assert 0.97 * limit <= spent <= limit and found.filled
    assert found.distance >= around.distance(design)
    taken = architecture(space, found.assignment).data["trunk"]
    assert [list(block) for block in taken].count(["skip"]) == 2  # as the design has it


def test_a_network_of_other_blocks_is_farther_than_one_of_the_same():
    space = load_space("fbnetv2")
    around = Neighbourhood(space, graph_of(space))
    f4, other = (around.distance(load_space(n)) for n in ("fbnetv2_f4", "efficientformer_l1"))
    assert f4 < other / 3


def test_alternatives_at_a_place_make_no_design_more_alike(monkeypatch):
    """`fbnetv1` has 26 places, with nine blocks at most of them; a design is alike as far as its places are."""
    monkeypatch.setattr("dnas.solve.nearest.published_names", lambda: ["fbnetv3_g", "fbnet_c", "fbnetv2_f4"])
    space = load_space("fbnetv1")
    walked = graph_of(space)
    assert Neighbourhood(space, walked).places == 26
    assert [name for name, _ in scaled_designs(space, walked, [], [])] == ["fbnet_c", "fbnetv2_f4"]


def test_a_design_with_fewer_blocks_leaves_blocks_out():
    space = load_space("tiny")
    data = {
        "name": "short", "input": {"channels": 3, "classes": 10, "resolution": 32},
        "trunk": [{"conv": {"kernel": 3, "stride": 2, "out": 8, "act": "hswish"}},
                  {"mbconv": {"out": 16, "stride": 2, "hidden": 24}},
                  {"mbconv": {"out": 24, "stride": 2, "hidden": 48}}],
        "head": [{"conv": {"kernel": 1, "out": 64, "act": "hswish"}}, {"pool": {}}, {"linear": {"out": "$classes"}}],
    }  # fmt: skip
    found = Neighbourhood(space, graph_of(space)).nearest(space_from_data(data, "short"), [], [])
    kinds = [next(iter(block)) for block in architecture(space, found.assignment).data["trunk"]]
    assert kinds == ["conv", "mbconv", "skip", "mbconv"]
