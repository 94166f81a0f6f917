"""Latency as a cost: table sums, expectations, gradients, interpolation, and what is said of both."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dnas.cost import ledger
from dnas.cost.interpolate import described, over_of
from dnas.cost.keys import block_keys, key_at, walk, walked_keys
from dnas.cost.latency import entries_by_kind, latency_cost
from dnas.cost.latency_table import LatencyTable, read_table
from dnas.cost.measurements import design
from dnas.errors import UserError
from dnas.grammar.catalogue import find_table, load_space, published_names, table_names
from dnas.grammar.read import space_from_data
from dnas.graph import graph_of
from dnas.graph.architecture import architecture
from dnas.nn.expected import ExpectedCosts
from dnas.nn.gates import Layout, probabilities
from dnas.solve.constrained import most_probable, smallest
from dnas.space.quantity import Quantity
from dnas.space.space import Space

# Totals that the HW-NAS-Bench notebook prints, in ms, for the architectures with the given last two options (the
# other twenty layers take option 0), from the `check` fields of ../shared/data/lut.
NOTEBOOK = {
    "pixel3": {(0, 0): 7.788973100000002, (0, 1): 7.673164100000002, (1, 1): 7.596349100000001},
    "eyeriss": {(0, 0): 3.9408960000000004, (0, 1): 3.9004160000000003, (1, 1): 3.8665600000000007},
    "fpga": {(0, 0): 10.739520000000002, (0, 1): 10.347840000000001, (1, 1): 10.07136},
}
# The layers of fbnetv1_32 and its candidates, written out: side, in, out, stride; and what an option means.
LAYERS = [
    (32, 16, 16, 1), (32, 16, 24, 1), *[(32, 24, 24, 1)] * 3, (32, 24, 32, 2), *[(16, 32, 32, 1)] * 3,
    (16, 32, 64, 2), *[(8, 64, 64, 1)] * 3, (8, 64, 112, 1), *[(8, 112, 112, 1)] * 3, (8, 112, 184, 2),
    *[(4, 184, 184, 1)] * 3, (4, 184, 352, 1),
]  # fmt: skip
OPTIONS = [(3, 1, 1), (3, 1, 2), (3, 3, 1), (3, 6, 1), (5, 1, 1), (5, 1, 2), (5, 3, 1), (5, 6, 1)]


def plain_key(layer: tuple[int, int, int, int], option: int) -> str:
    side, channels, out, stride = layer
    key = f"side={side} in={channels} out={out}"
    if option == 8:
        return f"skip {key}" + (f" stride={stride}" if stride > 1 else "")
    kernel, expand, groups = OPTIONS[option]
    key += f" kernel={kernel}" if kernel != 3 else ""
    key += f" stride={stride}" if stride > 1 else ""
    key += f" hidden={channels * expand}" + (f" groups={groups}" if groups > 1 else "")
    return f"mbconv {key}"


def small() -> Space:
    """Four choices of two options: a shared width, a resolution, a block or none, its expansion."""
    data = {
        "name": "small",
        "input": {"channels": 3, "classes": 4, "resolution": {"choices": [16, 24]}},
        "choices": {"w": {"choices": [8, 16]}},
        "trunk": [
            {"conv": {"kernel": 3, "stride": 2, "out": "$w"}},
            {"one_of": [{"mbconv": {"out": "$w", "expand": {"choices": [1, 3]}}}, {"skip": {"out": "$w"}}]},
        ],
        "head": [{"pool": {}}, {"linear": {"out": "$classes"}}],
    }
    return space_from_data(data, "small")


def blocks_of(space: Space) -> list[str]:
    """Every block of a space that does work."""
    keys = []
    for use in graph_of(space).uses:
        spelt, operators = block_keys(use), walk(use).operators
        for index, key in np.ndenumerate(spelt.table):
            names = {c.name: int(i) for c, i in zip(spelt.over, index, strict=True)}
            if operators.at(names):
                keys.append(key)
    return list(dict.fromkeys(keys))


def synthetic(space: Space, share: float = 1.0, seed: int = 0, **fields) -> LatencyTable:
    """A table of a made-up device: fixed rates on what blocks do, with a share of the blocks measured."""
    keys, rng = blocks_of(space), np.random.default_rng(seed)
    keys = [k for k in keys if rng.random() < share or k.split()[0] in ("conv", "linear", "pool")]
    entries = {}
    for positions, walked in walked_keys(keys, "synthetic"):
        over = over_of(walked)
        rows = np.arange(len(positions)) if over else np.zeros(len(positions), int)
        amounts = described(walked, over, rows).features
        ms = 0.003 * amounts["operators"] + sum(v for n, v in amounts.items() if n.startswith(".")) / 2e7
        ms = ms + amounts.get(".depthwise", 0) / 4e6 + amounts.get("elements", 0) / 5e7
        entries |= {keys[p]: float(v) for p, v in zip(positions, np.broadcast_to(ms, len(positions)), strict=True)}
    return LatencyTable("synthetic", "none", "none", "ms", entries, **fields)


def random_assignments(space: Space, count: int, seed: int = 0) -> list[dict[str, int]]:
    rng = np.random.default_rng(seed)
    return [{c.name: int(rng.integers(len(c))) for c in space.choices} for _ in range(count)]


@pytest.mark.parametrize("name", sorted(NOTEBOOK))
def test_published_totals(name):
    space, table = load_space("fbnetv1_32"), read_table(find_table(name))
    cost = latency_cost(space, table, strict=True).cost
    for last, total in NOTEBOOK[name].items():
        options = [0] * 20 + list(last)
        assignment = {c.name: o for c, o in zip(space.choices, options, strict=True)}
        assert ledger.at(cost, assignment) == pytest.approx(total, rel=1e-12)


@pytest.mark.parametrize("name", sorted(NOTEBOOK))
def test_one_hot_is_the_plain_sum(name):
    space, table = load_space("fbnetv1_32"), read_table(find_table(name))
    found = latency_cost(space, table)
    assert found.coverage.count("exact") == 108 and found.coverage.count("interpolated") == 0
    for assignment in random_assignments(space, 50):
        chosen = [assignment[c.name] for c in space.choices]
        plain = table.base + sum(table.ms(plain_key(layer, o)) for layer, o in zip(LAYERS, chosen, strict=True))
        assert ledger.at(found.cost, assignment) == pytest.approx(plain, rel=1e-13)


def test_fbnetv1_holds_fbnet_a():
    """FBNet-A as first released is one of the networks: 249.4 M multiply-adds (the head is its own)."""
    space, released = load_space("fbnetv1"), load_space("fbnet_a_caffe2")
    wanted = [block_keys(u).value for u in graph_of(released).uses][1:23]
    assignment, records = {}, graph_of(space)
    for choice, key in zip(space.choices, wanted, strict=True):
        branches = [u for u in records.uses if u.path.startswith(choice.name.removesuffix("one_of"))]
        assignment[choice.name] = [block_keys(u).value for u in branches].index(key)
    assert ledger.at(ledger.macs(records.ledger), assignment) == 249_369_912
    assert ledger.at(ledger.params(records.ledger), assignment) == 4_318_648


def test_mean_is_the_mean_over_networks():
    space = small()
    table = synthetic(space, base=0.25)
    cost = latency_cost(space, table, strict=True).cost
    rng = np.random.default_rng(1)
    gates = {c.name: rng.dirichlet(np.ones(len(c))) for c in space.choices}
    total = 0.0
    for indices in itertools.product(*(range(len(c)) for c in space.choices)):
        assignment = {c.name: i for c, i in zip(space.choices, indices, strict=True)}
        total += np.prod([gates[n][i] for n, i in assignment.items()]) * ledger.at(cost, assignment)
    assert ledger.mean(cost, gates) == pytest.approx(total, rel=1e-12)


@pytest.mark.parametrize("name", ["fbnetv1_32", "tiny"])
def test_gradient_is_finite_difference(name):
    """d LAT / d theta in float32 against central differences of the float64 mean: 1e-4 of the largest entry."""
    space = load_space(name)
    table = read_table(find_table("pixel3")) if name == "fbnetv1_32" else synthetic(space, base=1.0)
    cost = latency_cost(space, table).cost
    layout = Layout(space.choices)
    theta = np.where(layout.real, np.random.default_rng(0).normal(size=layout.shape), 0)
    expected = ExpectedCosts([cost], layout)

    def latency(t: jax.Array) -> jax.Array:
        return expected(probabilities(layout, t))[0]

    def exact(t: np.ndarray) -> float:
        gates = {}
        for row, choice in enumerate(space.choices):
            e = np.exp(t[row, : len(choice)] - t[row, : len(choice)].max())
            gates[choice.name] = e / e.sum()
        return float(ledger.mean(cost, gates))

    value, gradient = jax.value_and_grad(latency)(jnp.asarray(theta, jnp.float32))
    assert float(value) == pytest.approx(exact(theta), rel=1e-5)
    found = np.zeros(layout.shape)
    for row, column in np.argwhere(layout.real):
        step = np.zeros(layout.shape)
        step[row, column] = 1e-5
        found[row, column] = (exact(theta + step) - exact(theta - step)) / 2e-5
    np.testing.assert_allclose(gradient, found, atol=1e-4 * np.abs(found).max())
    assert np.abs(found[layout.real]).max() > 0


def test_a_missing_kind_ends_at_once():
    space = load_space("tiny")
    whole = synthetic(space)
    entries = {k: v for k, v in whole.entries.items() if k.split()[0] not in ("skip", "linear")}
    table = LatencyTable("holes", "none", "none", "ms", entries)
    with pytest.raises(UserError, match="table holes: no entries of block kind 'skip', 'linear', which tiny has"):
        latency_cost(space, table)
    searched: dict = {plain_key(LAYERS[0], 0): 1.0, plain_key(LAYERS[1], 8): 1.0}
    with pytest.raises(UserError, match="'conv', 'pool', 'linear'"):
        latency_cost(load_space("fbnetv1_32"), LatencyTable("t", "", "", "ms", searched))


def test_identities_take_no_time_and_are_no_missing_kind():
    data = {
        "name": "idle", "input": {"channels": 8, "classes": 4, "resolution": 8},
        "trunk": [{"skip": {"out": 8}}], "head": [{"pool": {}}, {"linear": {"out": 4}}],
    }  # fmt: skip
    space = space_from_data(data, "idle")
    entries: dict = {"pool side=8 in=8": 0.5, "linear in=8 out=4": 0.25}
    found = latency_cost(space, LatencyTable("t", "", "", "ms", entries))
    assert ledger.at(found.cost, {}) == 0.75 and found.coverage.kinds["skip"] == {"nothing": 1}
    # ... unless the table says that they do.
    found = latency_cost(space, LatencyTable("t", "", "", "ms", entries | {"skip side=8 in=8 out=8": 1.0}))
    assert ledger.at(found.cost, {}) == 1.75


def test_missing_entries_are_estimated_and_counted():
    space = load_space("tiny")
    whole, part = synthetic(space), synthetic(space, share=0.3)
    missing = len(whole.entries) - len(part.entries)
    found = latency_cost(space, part)
    assert found.coverage.count("interpolated") == missing > 100
    assert found.coverage.count("exact") == len(part.entries)
    record = found.coverage.error["mbconv"]
    assert record.median_error is not None and record.median_error < 0.05
    assert f"{missing:,} interpolated" in found.coverage.summary()
    assert found.coverage.to_data()["interpolated"] == missing
    exact = latency_cost(space, whole, strict=True).cost
    for assignment in random_assignments(space, 20):
        assert ledger.at(found.cost, assignment) == pytest.approx(ledger.at(exact, assignment), rel=0.1)
    with pytest.raises(UserError, match="no entry for 'mbconv .* and [0-9]+ more of space tiny"):
        latency_cost(space, part, strict=True)


def test_an_exported_network_costs_what_its_space_said():
    space = load_space("tiny")
    table = synthetic(space, share=0.3, base=0.5)
    cost = latency_cost(space, table).cost
    for assignment in random_assignments(space, 10):
        network = architecture(space, assignment).network
        assert ledger.at(latency_cost(network, table).cost, {}) == pytest.approx(ledger.at(cost, assignment), rel=1e-14)


def test_fields_no_entry_has_are_borrowed_and_said():
    space = load_space("tiny")
    whole = synthetic(space)
    entries = {k: v for k, v in whole.entries.items() if "act=hswish" not in k or k.startswith("conv")}
    found = latency_cost(space, LatencyTable("relu", "none", "none", "ms", entries))
    assert found.coverage.borrowed > 100 and "with fields no entry has" in found.coverage.summary()
    # The made-up device computes both activations in the same time.
    exact = latency_cost(space, whole).cost
    for assignment in random_assignments(space, 5):
        assert ledger.at(found.cost, assignment) == pytest.approx(ledger.at(exact, assignment), rel=0.02)


def test_relative_tables():
    table = read_table(find_table("pixel3"))
    gone = {k: v for n, (k, v) in enumerate(table.entries.items()) if n % 7 or k.startswith("skip")}
    space = load_space("fbnetv1_32")
    holed = LatencyTable("holed", "", "", "ms", gone, base=table.base, in_base=table.in_base, relative_to_skip=True)
    found = latency_cost(space, holed)
    assert found.coverage.count("interpolated") == 108 - len(gone) and found.coverage.count("in_base") == 4
    exact = latency_cost(space, table).cost
    for assignment in random_assignments(space, 20):
        assert ledger.at(found.cost, assignment) == pytest.approx(ledger.at(exact, assignment), rel=0.15)
    assert "belongs to space fbnetv1_32, not to tiny" in latency_cost(load_space("tiny"), table).notes[0]
    assert not latency_cost(space, table).notes


def test_a_table_of_whole_blocks_says_so_of_a_network_that_was_made_smaller():
    space = load_space("deit_ti")
    table = LatencyTable("whole", "", "", "ms", {key_at(use, {}): 1.0 for use in graph_of(space).uses})
    assert not latency_cost(space, table).notes
    for section in ({"keep_tokens": {"trunk.2.11": [0, 5]}}, {"keep": {"trunk.2.11.expand": [0, 5]}}):
        smaller = space_from_data(space.document.data | section, "smaller")
        assert "were made smaller" in latency_cost(smaller, table).notes[0]


def test_an_entry_in_another_unit_stops_a_search():
    space = load_space("fbnetv1_32")
    table = read_table(find_table("pixel3"))
    entries = dict(table.entries)
    entries[plain_key(LAYERS[3], 6)] = table.ms(plain_key(LAYERS[3], 6)) * 1000
    wrong = LatencyTable("wrong", "", "", "ms", entries, base=1.0, in_base=table.in_base, relative_to_skip=True)
    with pytest.raises(UserError, match="table wrong: mbconv .*: looks like us rather than ms"):
        latency_cost(space, wrong)


@pytest.mark.parametrize("limit", [4.0, 6.0, 9.0])
def test_budgets_on_pixel3(limit):
    space = load_space("fbnetv1_32")
    cost = latency_cost(space, read_table(find_table("pixel3"))).cost
    rng = np.random.default_rng(3)
    scores = [Quantity((c,), np.log(rng.dirichlet(np.ones(len(c))))) for c in space.choices]
    found = most_probable(scores, [cost], [limit])
    assert found.gap == 0 and 0.97 * limit <= found.costs[0] <= limit
    assert smallest(cost)[0] <= limit


def test_design_counts_blocks():
    space = load_space("fbnetv1_32")
    options = np.array([[2] * 22, [8] * 22, *np.random.default_rng(0).integers(0, 9, (200, 22))])
    made = design(space, options)
    assert set(made.always) == {k for k in blocks_of(space) if k.split()[0] in ("conv", "pool", "linear")}
    assert made.counts[0].sum() == 22 and made.counts[1].sum() == 0 and len(made.keys) == 96
    for row, network in zip(made.counts, options, strict=True):
        for layer, option in zip(LAYERS, network, strict=True):
            assert option == 8 or row[made.keys.index(plain_key(layer, option))] >= 1


@pytest.mark.parametrize("name", table_names())
def test_shipped_tables_can_be_used(name):
    table = read_table(find_table(name))
    assert table.name == name and table.device and entries_by_kind(table)


@pytest.mark.parametrize("space", ["efficientformer", "efficientformerv2"])
def test_tables_of_transformers_hold_every_block_of_the_published_networks(space):
    table = read_table(find_table(f"cpu_2core_ort_{space}"))
    published = [name for name in published_names() if name.startswith(f"{space}_")]
    assert len(published) >= 3
    for name in (space, *published):
        covered = latency_cost(load_space(name), table).coverage
        assert covered.count("exact") and not covered.count("interpolated"), name


@pytest.mark.slow
def test_a_space_of_many_blocks():
    """fbnetv2 has 70,000 distinct blocks: a few seconds."""
    space = load_space("fbnetv2")
    rng, keys = np.random.default_rng(0), {}
    for use in graph_of(space).uses:
        flat = block_keys(use).table.reshape(-1)
        keys |= dict.fromkeys(rng.choice(flat, min(len(flat), 40), replace=False))
    entries = {}
    for positions, walked in walked_keys(list(keys), "here"):
        rows = np.arange(len(positions)) if over_of(walked) else np.zeros(len(positions), int)
        amounts = described(walked, over_of(walked), rows).features
        ms = 0.003 * amounts["operators"] + sum(v for n, v in amounts.items() if n.startswith(".")) / 2e7
        entries |= dict(zip([list(keys)[p] for p in positions], ms.tolist(), strict=True))
    found = latency_cost(space, LatencyTable("t", "", "", "ms", entries))
    assert found.coverage.count("interpolated") > 50_000
    uniform = {c.name: np.full(len(c), 1 / len(c)) for c in space.choices}
    assert 0 < ledger.mean(found.cost, uniform) < 100
