"""Genes of one block and of the whole network, and children of networks of unequal depth."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dnas.grammar.catalogue import load_space
from dnas.grammar.read import space_from_data
from dnas.graph import graph_of
from dnas.search.genes import Genes, Rates, network_genes
from dnas.solve.many import as_options

from .made import space

GENES = Genes(space(), graph_of(space()))
NAMES = [c.name for c in GENES.choices]
DEEPEST = {"trunk.2.repeat": 2}
NEVER = Rates(0.0, 0.0)
COUNT = 400


def row(**genes: int) -> np.ndarray:
    """A network of depth 2 but for `depth` more blocks; blocks have option 1 of each gene, the width option 0."""
    own = {name: 1 for name in NAMES if name.startswith("trunk.2.")} | {"width": 0, "trunk.2.repeat": 0}
    own |= {"trunk.2.repeat": genes.pop("depth", 0)} | genes
    return as_options([own], GENES.choices)


def column(name: str) -> int:
    return NAMES.index(name)


@pytest.mark.parametrize(
    "name, whole",
    [
        ("autoformer_mini", {"width", "trunk.2.repeat"}),
        ("s3_mini", {"w1", "w2", "d2"}),
        ("cmt_mini", {"w1", "w2", "trunk.3.repeat", "trunk.7.repeat"}),
        ("tnt_mini", {"width", "inner", "trunk.1.repeat"}),
        ("tiny", {"resolution", "trunk.2.repeat"}),
        ("efficientformerv2_tiny", {"c1", "c2", "c3", "c4"}),
    ],
)
def test_genes_of_the_whole_network(name, whole):
    found = load_space(name)
    assert {c.name for c in network_genes(found, graph_of(found))} == whole


def test_names_do_not_decide_what_is_of_one_block():
    """A named choice of one block's kernel is of that block, a width written where it is used of all that follow."""
    trunk: list[dict[str, Any]] = [
        {"patch_embed": {"out": {"choices": [16, 32]}, "kernel": 4}},
        {"transformer": {"heads": "$heads", "head_width": 8, "expand": "$ratio"}},
        {"transformer": {"heads": 2, "head_width": 8, "expand": "$ratio"}},
    ]
    data = {
        "name": "named",
        "input": {"channels": 1, "classes": 2, "resolution": 16},
        "choices": {"heads": {"choices": [1, 2]}, "ratio": {"choices": [1, 2]}},
        "trunk": [trunk[0], {"tokens": {}}, *trunk[1:]],
        "head": [{"token_head": {"out": "$classes"}}],
    }
    found = space_from_data(data, "named")
    assert {c.name for c in network_genes(found, graph_of(found))} == {"trunk.0.out", "ratio"}


def test_one_place_with_several_blocks_is_one_block():
    block = [{"mbconv": {"out": 8, "expand": "$e"}}, {"mbconv": {"out": 8, "expand": "$e", "kernel": 5}}]
    data = {
        "name": "place",
        "input": {"channels": 1, "classes": 2, "resolution": 16},
        "choices": {"e": {"choices": [1, 2]}},
        "trunk": [{"conv": {"out": 8, "kernel": 3}}, {"one_of": block}],
        "head": [{"pool": {}}, {"linear": {"out": "$classes"}}],
    }
    found = space_from_data(data, "place")
    assert not network_genes(found, graph_of(found))


def test_each_gene_is_drawn_anew_with_the_rate_of_its_kind():
    """A gene drawn anew stays as it was in a third of the cases: of three options each is as probable."""
    children = GENES.mutated(np.random.default_rng(0), row(depth=2), 9000, Rates(0.2, 0.4))
    moved = (children != row(depth=2)).mean(axis=0)
    np.testing.assert_allclose(moved, np.where(GENES.of_network, 0.4, 0.2) * 2 / 3, atol=0.02)
    assert GENES.of_network.sum() == 2


def test_a_block_that_a_mutation_adds_has_drawn_genes():
    """Before, it had the first option of each, as a network without the block is written."""
    parent = row()
    parent[0, [column(f"trunk.2.{n}.{g}") for n in (2, 3) for g in ("heads", "expand")]] = 0
    children = GENES.mutated(np.random.default_rng(0), parent, COUNT, Rates(0.0, 1.0))
    deep = children[children[:, column("trunk.2.repeat")] == 2]
    for gene in ("trunk.2.2.heads", "trunk.2.2.expand", "trunk.2.3.heads", "trunk.2.3.expand"):
        assert len(np.unique(deep[:, column(gene)])) == 3
    kept = [column(f"trunk.2.{n}.{g}") for n in (0, 1) for g in ("heads", "expand")]
    assert np.all(deep[:, kept] == 1)


def test_without_mutations_children_are_copies():
    parents = np.concatenate([row(depth=2), row(depth=2, width=1)])
    children = GENES.mutated(np.random.default_rng(0), parents, COUNT, NEVER)
    assert {tuple(c) for c in children.tolist()} == {tuple(p) for p in parents.tolist()}


def test_children_of_unequal_depth_have_the_genes_of_the_parent_that_has_the_block():
    shallow, deep = row(), row(depth=2, **{"trunk.2.2.heads": 2, "trunk.2.3.expand": 0, "width": 2})
    shallow[0, [column(f"trunk.2.{n}.{g}") for n in (2, 3) for g in ("heads", "expand")]] = 0
    children = GENES.crossed(np.random.default_rng(0), np.concatenate([shallow, deep]), COUNT)
    deepest = children[children[:, column("trunk.2.repeat")] == 2]
    assert len(deepest) and len(deepest) < COUNT
    only = [column(f"trunk.2.{n}.{g}") for n in (2, 3) for g in ("heads", "expand")]
    assert np.all(deepest[:, only] == deep[0, only])
    assert set(np.unique(children[:, column("width")])) == {0, 2}


def test_children_have_each_gene_of_either_parent_with_equal_probability():
    mother, father = row(depth=2, width=0), row(depth=2, width=2, **{"trunk.2.0.heads": 2, "trunk.2.3.expand": 0})
    children = GENES.crossed(np.random.default_rng(0), np.concatenate([mother, father]), 8000)
    differs = (mother != father)[0]
    share = (children == father).mean(axis=0)[differs]
    # Both parents may be one: a half of the children have two, of which a half of each gene is from either.
    np.testing.assert_allclose(share, 0.5, atol=0.03)
    assert np.all(children[:, ~differs] == mother[:, ~differs])
