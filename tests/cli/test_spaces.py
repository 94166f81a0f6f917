"""Sizes, extremes and relevance of small spaces against the list of everything they contain."""

import itertools
import json
import math

import numpy as np
import pytest

from dnas.cli.spaces import Arguments, main
from dnas.cost import ledger
from dnas.cost.ledger import COSTS
from dnas.errors import UserError
from dnas.grammar.catalogue import load_space
from dnas.grammar.read import space_from_data
from dnas.graph import graph_of
from dnas.graph.architecture import architecture
from dnas.solve.elimination import log_total, optimum
from dnas.solve.extent import described, size_log10
from dnas.solve.relevance import relevance, score_factors, size_factors
from dnas.space.quantity import Quantity

HEAD = [{"pool": {}}, {"linear": {"out": "$classes"}}]
STEM = {"conv": {"kernel": 3, "stride": 2, "out": 8}}


def space_of(trunk, **top):
    return space_from_data(
        {"input": {"resolution": 16, "classes": 3}, **top, "trunk": [STEM, *trunk], "head": HEAD}, "t"
    )


def choices(*options):
    return {"choices": list(options)}


SPACES = {
    # Squeeze-excite width and activation matter only with squeeze-excite.
    "se": lambda: space_of([{"mbconv": {"out": choices(8, 16), "se": choices(False, True), "expand": choices(2, 3),
                                        "se_hidden": choices(4, 8), "se_act": choices("relu", "hswish")}}]),
    # A branch not taken, and a width that the skip shares with it.
    "one_of": lambda: space_of(
        [{"tbs": {"out": choices(8, 16), "stride": 2}}, {"tbs": {"out": choices(8, 12)}}],
        templates={"tbs": {"one_of": [{"mbconv": {"out": "$out", "stride": "$stride", "kernel": choices(3, 5)}},
                                      {"skip": {"out": "$out", "stride": "$stride"}}]}},
    ),
    # Blocks beyond the depth do not exist.
    "depth": lambda: space_of(
        [{"mbconv": {"repeat": {"range": [1, 3, 1]}, "out": choices(8, 16), "kernel": choices(3, 5)}}]
    ),
    # 1.5 and 1.6 round to one hidden width at some inputs.
    "rounding": lambda: space_of(
        [{"conv": {"out": choices(8, 40)}}, {"mbconv": {"out": 8, "expand": choices(1.5, 1.6, 3)}}]
    ),
    # One choice in several fields, a constraint, an unused name, a formula.
    "named": lambda: space_of(
        [{"conv": {"out": "$w"}}, {"mbconv": {"out": "$w", "hidden": "2 * $w", "kernel": choices(3, 5)}},
         {"conv": {"out": "$v"}}],
        choices={"w": choices(8, 16, 24), "v": choices(8, 16, 24), "unused": choices(1, 2, 3)},
        where=["$w <= $v", "$unused > 1"],
    ),
    "resolution": lambda: space_from_data(
        {"input": {"classes": 3, "resolution": choices(12, 16)}, "trunk": [STEM, {"one_of": [
            {"mbconv": {"out": 16, "act": choices("relu", "hswish")}}, {"conv": {"out": 16}}, {"skip": {"out": 8}}],
            "repeat": {"range": [1, 2, 1]}}], "head": HEAD}, "t"),
}  # fmt: skip


def everything(space):
    """Canonical file -> assignments that export it, of those the constraints allow."""
    found = {}
    for indices in itertools.product(*(range(len(c)) for c in space.choices)):
        assignment = dict(zip((c.name for c in space.choices), indices, strict=True))
        if all(q.at(assignment) for q in space.constraints):
            text = json.dumps(architecture(space, assignment, name="x").data)
            found.setdefault(text, []).append(assignment)
    return found


def log_probs(space, seed=0):
    rng = np.random.default_rng(seed)
    return {c.name: np.log(rng.dirichlet(np.ones(len(c)))) for c in space.choices}


@pytest.fixture(scope="module", params=SPACES)
def listed(request):
    space = SPACES[request.param]()
    return space, everything(space)


def test_size_is_the_number_of_distinct_architectures(listed):
    space, found = listed
    assert len(found) > 3
    assert size_log10(space) == pytest.approx(math.log10(len(found)), abs=1e-12)


def test_extremes_and_mean(listed):
    space, found = listed
    network = graph_of(space)
    result = described(space)
    raw = [a for group in found.values() for a in group]
    for name, cost in COSTS.items():
        values = [ledger.at(cost(network.ledger), a) for a in raw]
        shown = result[name.lower()]
        assert (shown["smallest"], shown["largest"]) == (min(values), max(values))
        if not space.constraints:
            assert shown["mean"] == pytest.approx(sum(values) / len(values), abs=0.06)


def test_scores_are_probabilities_of_architectures(listed):
    """The score of an architecture is the mass of all assignments that export it, each found under one spelling."""
    space, found = listed
    logs = log_probs(space)
    factors = score_factors(space, logs)
    mass = {
        text: math.fsum(math.exp(sum(logs[n][i] for n, i in a.items())) for a in group) for text, group in found.items()
    }
    for text, group in found.items():
        scores = [sum(q.at(a) for q in factors) for a in group]
        allowed = [s for s in scores if s > -math.inf]
        assert len(allowed) == 1
        assert math.exp(allowed[0]) == pytest.approx(mass[text], rel=1e-9)
    assert math.exp(log_total(factors, space.constraints)) == pytest.approx(math.fsum(mass.values()), rel=1e-9)
    best, assignment = optimum(factors, "max", space.constraints)
    assert math.exp(best) == pytest.approx(max(mass.values()), rel=1e-9)
    assert all(q.at(assignment) for q in space.constraints)


def test_relevance_is_what_changes_the_export(listed):
    space, found = listed
    if space.constraints:
        return
    relevant = relevance(space)
    texts = {tuple(a.values()): text for text, group in found.items() for a in group}
    for assignment in (a for group in found.values() for a in group):
        for choice in space.choices:
            same = {texts[tuple((assignment | {choice.name: i}).values())] for i in range(len(choice))}
            assert relevant[choice.name].at(assignment) == int(len(same) > 1)


def test_irrelevant_options_score_zero_at_the_first_and_are_forbidden_elsewhere():
    space = SPACES["se"]()
    by_name = dict(zip((c.name for c in space.choices), score_factors(space, log_probs(space)), strict=True))
    factor = by_name["trunk.1.se_hidden"].fix({"trunk.1.se": 0})
    assert factor.table.tolist() == [0.0, -math.inf]
    assert by_name["trunk.1.out"].table.tolist() == log_probs(space)["trunk.1.out"].tolist()
    assert relevance(space)["trunk.1.se_hidden"].over == (space.choice("trunk.1.se"),)
    assert relevance(space)["trunk.1.out"].value == 1


def test_size_of_the_fbnetv2_space():
    """8 kinds times 6 expansions, or a skip where no stage begins; a width a stage and six resolutions on top."""
    widths = 2 * 4 * 4 * 7 * 8 * 14
    expected = math.log10(6 * widths * 8 * 48**5 * 49**12)
    assert size_log10(load_space("fbnetv2")) == pytest.approx(expected, rel=1e-12)
    assert round(expected, 1) == 34.8


def test_size_of_the_fbnetv2_space_with_free_widths():
    """18 blocks: a skip, or 8 kinds times 6 expansions (the first: 8 kinds); widths and six resolutions on top."""
    widths = 2 * 4**3 * 4**3 * 7**3 * 8**4 * 14**4
    expected = math.log10(6 * widths * 9 * 49**17)
    assert size_log10(load_space("fbnetv2_free")) == pytest.approx(expected, rel=1e-12)


def test_huge_joint_tables_fall_back_to_every_option_counts():
    names = [f"w{i}" for i in range(6)]
    space = space_of(
        [{"mbconv": {"out": 8, "se": "$w0 + $w1 + $w2 + $w3 + $w4 + $w5 > 30", "se_hidden": choices(4, 8)}}],
        choices={n: {"range": [1, 8, 1]} for n in names},
    )
    assert relevance(space)["trunk.1.se_hidden"].value == 1
    assert all(np.isfinite(q.table).all() for q in size_factors(space))


def test_a_space_that_allows_nothing_names_its_file():
    space = space_of([{"conv": {"out": "$w"}}, {"conv": {"out": "$v"}}],
                     choices={"w": choices(8, 16), "v": choices(8, 16)}, where=["$w > $v", "$v > $w"])  # fmt: skip
    with pytest.raises(UserError, match="^t: .*exclude every architecture"):
        described(space)


def test_constant_costs_have_equal_extremes():
    space = space_of([{"conv": {"out": 8, "act": choices("relu", "hswish")}}])
    result = described(space)
    assert result["macs"]["smallest"] == result["macs"]["largest"] == round(result["macs"]["mean"])
    assert isinstance(Quantity.constant(1).value, int)


def test_command(capsys):
    main(Arguments())
    text = capsys.readouterr().out
    assert (
        "fbnetv2 " in text
        and "34.77" in text
        and "45.11" in text
        and "378,136,224" in text
        and "size = number of distinct" in text
    )
    main(Arguments(names=("tiny",), json=True))
    result = json.loads(capsys.readouterr().out)
    assert result["spaces"][0]["options"]["trunk.2.repeat"] == [1, 2] and result["architectures"] == []
    main(Arguments(names=("fbnet_c",), classes=10, json=True))
    assert json.loads(capsys.readouterr().out)["architectures"][0]["params"] == 5_592_784 - 990 * 1985


def test_the_choices_of_the_recipe_are_shown(capsys):
    main(Arguments(("fashion_joint",)))
    assert "recipe.optimizer: sgd, adamw" in capsys.readouterr().out
