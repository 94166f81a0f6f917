"""The search spaces hold every published network, and nothing that their constraints forbid."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from dnas.cost import ledger
from dnas.cost.ledger import COSTS
from dnas.errors import InputError
from dnas.grammar.catalogue import load_space
from dnas.grammar.read import space_from_data
from dnas.graph import graph_of
from dnas.graph.architecture import architecture, written_fields
from dnas.solve.derive import derive
from dnas.solve.extent import described, size_log10
from dnas.solve.many import Constraints, as_options

PUBLISHED = {
    "efficientformer": ("efficientformer_l1", "efficientformer_l3", "efficientformer_l7"),
    "efficientformerv2": (
        "efficientformerv2_s0", "efficientformerv2_s1", "efficientformerv2_s2", "efficientformerv2_l",
    ),
}  # fmt: skip
MEMBERS = [(space, name) for space, names in PUBLISHED.items() for name in names]
WORKERS = ("mb4d", "mb3d", "conv_ffn")


def blocks_of(space):
    """Kind and written fields of every block that does any work."""
    return [(use.kind, written_fields(use, {})) for use in graph_of(space).uses if use.kind != "skip"]


def assignment_of(space, network) -> dict[str, int]:
    """The options of `space` that give `network`: its stages' blocks in the last places, the rest left out."""
    stages: list[list] = [[]]
    widths: list[int] = []
    for use in graph_of(network).uses:
        if use.kind in WORKERS:
            stages[-1].append(use)
        elif stages[-1]:
            stages.append([])
        if use.kind in WORKERS and len(widths) < len(stages):
            widths.append(use.channels_in.value)
    taken = {f"c{n + 1}": width for n, width in enumerate(widths)}
    runs: dict[str, list[str]] = {}
    for choice in space.choices:
        if choice.name.endswith(".one_of"):
            runs.setdefault(choice.name.rsplit(".", 2)[0], []).append(choice.name.removesuffix(".one_of"))
    for places, uses in zip(runs.values(), stages, strict=False):
        assert len(uses) <= len(places)
        taken |= {f"{path}.one_of": "skip" for path in places}
        for path, use in zip(places[len(places) - len(uses) :], uses, strict=True):
            taken[f"{path}.one_of"] = use.kind
            fields = {name: q.value for name, q in use.fields.items()}
            taken |= {f"{path}.{use.kind}.{name}": value for name, value in fields.items()}
    result = {}
    for choice in space.choices:
        option = taken.get(choice.name, choice.options[0])
        result[choice.name] = choice.options.index(option)
    return result


def satisfied(space, assignment) -> bool:
    return bool(Constraints(space.constraints, space.choices)(as_options([assignment], space.choices))[0])


@pytest.mark.parametrize("space_name, name", MEMBERS)
def test_published_network_is_a_member(space_name, name):
    space, network = load_space(space_name), load_space(name)
    assignment = assignment_of(space, network)
    assert satisfied(space, assignment)
    found = architecture(space, assignment).network
    assert blocks_of(found) == blocks_of(network)
    for cost in COSTS.values():
        assert ledger.at(cost(graph_of(space).ledger), assignment) == ledger.at(cost(graph_of(network).ledger), {})


@pytest.mark.parametrize("name", PUBLISHED)
def test_attention_before_the_rest_is_no_member(name):
    space = load_space(name)
    network = load_space(PUBLISHED[name][0])
    assignment = assignment_of(space, network)
    first = next(c for c in space.choices if c.name.startswith("trunk.8.0.") and c.name.endswith("one_of"))
    flag = f"{first.name.removesuffix('.one_of')}.conv_ffn.attention"
    moved = {first.name: 1} if name == "efficientformer" else {first.name: 0, flag: 1}
    assert not satisfied(space, assignment | moved)


def test_size_of_the_first_space():
    """Of n blocks, k may be left in, of which any number of the last ones attend: sum C(n, k) (k + 1)."""
    late = [sum(math.comb(n, k) * (k + 1) for k in range(n + 1)) for n in (18, 8)]
    widths = 6 * 11 * 21 * 41
    expected = math.log10(widths * 2**6 * 2**6 * late[0] * late[1])
    assert size_log10(load_space("efficientformer")) == pytest.approx(expected, rel=1e-12)


def test_size_of_the_second_space():
    """A block has one of four expansions."""
    late = [sum(math.comb(n, k) * (k + 1) * 4**k for k in range(n + 1)) for n in (15, 10)]
    early = sum(math.comb(5, k) * 4**k for k in range(6))
    widths = 4 * 8 * 19 * 37
    expected = math.log10(widths * early**2 * late[0] * late[1])
    assert size_log10(load_space("efficientformerv2")) == pytest.approx(expected, rel=1e-12)


ORDERED = {
    "name": "ordered",
    "input": {"classes": 3, "resolution": 8},
    "choices": {"w": 4},
    "trunk": [
        {"conv": {"kernel": 3, "stride": 2, "out": "$w"}},
        {
            "conv_ffn": {"repeat": {"range": [1, 2, 1]}, "attention": {"choices": [False, True]}, "heads": 1,
                         "key_width": 2, "expand": {"choices": [1, 2]}},
        },
        {"one_of": [{"mb4d": {}}, {"mb3d": {"heads": 1, "key_width": 2}}, {"skip": {"out": "in"}}], "repeat": 2},
    ],
    "head": [{"norm_head": {"out": "$classes"}}],
    "where": [
        {"order": [False, True], "of": "trunk.1.*.attention"}, {"order": ["mb4d", "mb3d"], "of": "trunk.2.*.one_of"},
    ],
}  # fmt: skip


def allowed_by_hand(space, assignment) -> bool:
    """No attention, or no mb3d, before a block that exists without it."""
    depth = space.choice("trunk.1.repeat").options[assignment["trunk.1.repeat"]]
    flags = [assignment[f"trunk.1.{n}.attention"] for n in range(depth)]
    kinds = [assignment[f"trunk.2.{n}.one_of"] for n in range(2)]
    kinds = [k for k in kinds if k < 2]
    return flags == sorted(flags) and kinds == sorted(kinds)


def test_orders_by_enumeration():
    space = space_from_data(ORDERED, "ordered")
    names = [c.name for c in space.choices]
    texts, values = set(), {name: set() for name in COSTS}
    network = graph_of(space)
    for indices in itertools.product(*(range(len(c)) for c in space.choices)):
        assignment = dict(zip(names, indices, strict=True))
        allowed = allowed_by_hand(space, assignment)
        assert satisfied(space, assignment) == allowed
        if allowed:
            texts.add(str(architecture(space, assignment).data))
            for name, cost in COSTS.items():
                values[name].add(ledger.at(cost(network.ledger), assignment))
    assert size_log10(space) == pytest.approx(math.log10(len(texts)), abs=1e-12)
    result = described(space)
    for name, found in values.items():
        assert (result[name.lower()]["smallest"], result[name.lower()]["largest"]) == (min(found), max(found))


@pytest.mark.parametrize("name", ["efficientformer_tiny", "efficientformerv2_tiny"])
def test_derived_networks_keep_budget_and_order(name):
    space = load_space(name)
    walked = graph_of(space)
    cost = COSTS["MACs"](walked.ledger)
    rng = np.random.default_rng(0)
    for share in (0.2, 0.6):
        limit = share * described(space)["macs"]["largest"]
        theta = {c.name: rng.normal(0, 2, len(c)) for c in space.choices}
        found = derive(space, walked, theta, [cost], [limit])
        assert 0.97 * limit <= ledger.at(cost, found.assignment) <= limit
        assert satisfied(space, found.assignment)


EDITS = {
    # An odd side of stage 3: no stride of 2 can be undone there.
    "odd side": ("efficientformerv2_s0", "resolution: 224", "resolution: 208", "multiple of 2, not 13"),
    "attention of s0": ("efficientformerv2_s0", "attention: 2", "attention: 5", "$attention is 5, $depth4 is 4"),
    "attention of l3": ("efficientformer_l3", "attention: 4", "attention: 7", "$attention is 7, $depth4 is 6"),
    "width of l1": ("efficientformer_l1", "c3: 224", "c3: 220", "$c3 is 220"),
    "width of s1": ("efficientformerv2_s1", "c3: 120", "c3: 124", "$c3 is 124"),
    "expansions": ("efficientformerv2_s0", "[4, 3, 3, 4]", "[4, 3, 4]", "a list of 4 values"),
    "no width": ("efficientformer_l1", "c4: 448", "c4: 0", "found 0"),
}  # fmt: skip


@pytest.mark.parametrize("case", EDITS)
def test_one_field_of_a_published_file_wrong(case, tmp_path, capsys):
    from dnas.cli import entry
    from dnas.cli.count import Arguments, main
    from dnas.grammar.catalogue import folder

    name, old, new, said = EDITS[case]
    text = (folder("search_spaces") / "published" / f"{name}.yaml").read_text()
    assert text.count(old) == 1
    path = tmp_path / "wrong.yaml"
    path.write_text(text.replace(old, new))
    assert entry.call(main, Arguments(str(path))) == 2
    message = capsys.readouterr().err.strip()
    assert said in message and str(path) in message and len(message.splitlines()) == 1
    with pytest.raises(InputError):
        graph_of(load_space(str(path)))
