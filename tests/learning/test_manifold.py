"""The manifold of a teacher's patches: terms by hand and by plain loops, pairs of blocks, trainings."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import yaml

from dnas.data.load import load
from dnas.errors import InputError
from dnas.grammar.catalogue import load_space
from dnas.grammar.read import space_from_data
from dnas.learning import weights
from dnas.learning.manifold import (
    Pair,
    distance,
    inter_image,
    intra_image,
    pairs_of,
    patches,
    random_patches,
)
from dnas.nn.supernet import init
from dnas.runs.result import read_result
from dnas.train.recipe import DISTILLED, read_recipe
from dnas.train.recipe_fields import FIELDS
from dnas.train.request import requested
from dnas.train.schedule import schedule
from dnas.train.setup import make_setup
from dnas.train.step import training
from tests.train.test_train import plain_recipe, write_data

PATCHED = """
name: patched
input: {{channels: 1, classes: 3, resolution: 8}}
trunk:
  - patch_embed: {{out: {out}, kernel: 4}}
  - tokens: {{}}
  - transformer: {{repeat: {depth}, heads: 2, head_width: 4}}
head: [{{token_head: {{out: $classes}}}}]
"""


def test_terms_by_hand():
    """One image, two patches: orthogonal for the student, the same for the teacher."""
    student = patches(jnp.array([[[9.0, 9.0], [3.0, 0.0], [0.0, 2.0]]]), extra=1)
    teacher = patches(jnp.array([[[1.0, 1.0, 0.0], [2.0, 2.0, 0.0]]]))
    np.testing.assert_allclose(student, [[[1, 0], [0, 1]]])
    assert float(distance(intra_image, student, teacher)) == pytest.approx(0.5)  # two of four entries differ by 1
    assert float(distance(inter_image, student, teacher)) == pytest.approx(0.0, abs=1e-6)
    chosen = jnp.array([1, 0])
    found = distance(lambda x: random_patches(x, chosen), student, teacher)
    assert float(found) == pytest.approx(0.5)


def test_terms_are_those_of_plain_loops():
    rng = np.random.default_rng(0)
    raw = rng.normal(size=(3, 2, 2, 5)), rng.normal(size=(3, 4, 7))
    ours, theirs = (patches(jnp.asarray(x, jnp.float32)) for x in raw)
    vectors = [x.reshape(3, 4, -1) / np.linalg.norm(x.reshape(3, 4, -1), axis=-1, keepdims=True) for x in raw]

    def mean_square(pairs):
        return np.mean([(vectors[0][a] @ vectors[0][b] - vectors[1][a] @ vectors[1][b]) ** 2 for a, b in pairs])

    images, places = range(3), range(4)
    intra = mean_square([((b, n), (b, m)) for b in images for n in places for m in places])
    inter = mean_square([((b, n), (c, n)) for n in places for b in images for c in images])
    some = [(i // 4, i % 4) for i in (7, 0, 10)]
    drawn = mean_square([(a, b) for a in some for b in some])
    assert float(distance(intra_image, ours, theirs)) == pytest.approx(intra, rel=1e-5)
    assert float(distance(inter_image, ours, theirs)) == pytest.approx(inter, rel=1e-5)
    chosen = jnp.array([7, 0, 10])
    assert float(distance(lambda x: random_patches(x, chosen), ours, theirs)) == pytest.approx(drawn, rel=1e-5)


def test_the_published_pairs():
    """Of twelve blocks and of thirteen: four at each end; equal widths are not needed."""
    found = pairs_of(load_space("deit_ti"), load_space("autoformer_s"), 4)
    students = [f"trunk.2.{n}" for n in (0, 1, 2, 3, 8, 9, 10, 11)]
    teachers = [f"trunk.{2 + n}" for n in (0, 1, 2, 3, 9, 10, 11, 12)]
    assert found == [Pair(*names) for names in zip(students, teachers, strict=True)]
    eight = pairs_of(small(4, 8), small(6, 24), 4)
    assert [pair.teacher for pair in eight] == [f"trunk.2.{n}" for n in (0, 1, 2, 3, 20, 21, 22, 23)]
    few = pairs_of(small(4, 3), small(6, 2), 4)
    assert [pair.teacher for pair in few] == ["trunk.2.0", "trunk.2.1"] and len({p.student for p in few}) == 2


def test_a_shallow_network_is_paired_with_both_ends_of_a_deep_one():
    numbers = lambda pairs: [tuple(int(p.rsplit(".")[-1]) for p in pair) for pair in pairs]  # noqa: E731
    assert numbers(pairs_of(small(4, 2), small(6, 4), 4)) == [(0, 0), (1, 3)]
    assert numbers(pairs_of(small(4, 3), small(6, 12), 4)) == [(0, 0), (1, 10), (2, 11)]
    assert numbers(pairs_of(small(4, 12), small(6, 6), 4)) == [(0, 0), (1, 1), (2, 2), (9, 3), (10, 4), (11, 5)]


def test_a_patch_of_zeros_has_a_gradient():
    """As behind a ReLU: that of a norm at zero is no number."""
    student, teacher = jnp.ones((2, 3, 4)).at[0, 1].set(0.0), jnp.arange(24.0).reshape(2, 3, 4)
    slope = jax.grad(lambda x: distance(intra_image, patches(x), patches(teacher)))(student)
    assert np.isfinite(slope).all() and float(jnp.abs(slope).sum()) > 0


def test_what_only_hands_on_its_input_is_no_block():
    """TNT ends with one that leaves the words."""
    found = pairs_of(load_space("tnt_s"), load_space("deit_s"), 4)
    assert [pair.student for pair in found] == [f"trunk.1.{n}" for n in (0, 1, 2, 3, 8, 9, 10, 11)]


def test_networks_of_other_grids_are_refused():
    with pytest.raises(InputError, match="none of the teacher's has as many"):
        pairs_of(small(4, 1), space_from_data({**small(4, 1).document.data, "input": {"resolution": 16}}, "large"), 4)


def test_maps_and_tokens_are_compared():
    convolutions = space_from_data(
        {
            "name": "conv", "input": {"channels": 1, "classes": 3, "resolution": 8},
            "trunk": [{"conv": {"out": 4, "kernel": 3, "stride": 4}}, {"conv": {"out": 4, "kernel": 3}}],
            "head": [{"pool": {}}, {"linear": {"out": "$classes"}}],
        },
        "conv",
    )  # fmt: skip
    assert pairs_of(small(4, 1), convolutions, 4)[-1] == Pair("trunk.2.0", "trunk.1")


def small(out: int, depth: int):
    return space_from_data(yaml.safe_load(PATCHED.format(out=out, depth=depth)), "small")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    home = tmp_path_factory.mktemp("manifold")
    write_data(home / "data.npz")
    for name, out, depth in (("student", 6, 2), ("teacher", 10, 3)):
        (home / f"{name}.yaml").write_text(PATCHED.format(out=out, depth=depth))
    space = read_result(home / "teacher.yaml").space
    weights.save(home / "t.safetensors", space, init(space, jax.random.key(5)))
    return home


def step_of(home, **fields):
    recipe = dataclasses.replace(plain_recipe(batch_size=6), **fields)
    teacher = read_result(home / "teacher.yaml", home / "t.safetensors")
    setup = make_setup(read_result(home / "student.yaml"), load(str(home / "data.npz")), recipe, teacher=teacher)
    made = training(setup.network, setup.preprocessing, recipe, schedule(recipe, 10, 5), setup.teacher, setup.terms)
    images, labels = setup.dataset.train_images[:6], setup.dataset.train_labels[:6]
    assert setup.teacher is not None
    return made.step(made.init(setup.variables), (images, labels), jax.random.key(0), setup.teacher.variables)


def test_a_training_learns_on_the_three_terms_and_scores(home):
    _, metrics = step_of(home, **DISTILLED["manifold"])
    names = ["cross_entropy", "soft_distillation", "manifold_intra", "manifold_inter", "manifold_random"]
    assert set(metrics["terms"]) == set(names) and all(float(value) > 0 for value in metrics["terms"].values())
    w = {"cross_entropy": 0, "soft_distillation": 1, "manifold_intra": 4, "manifold_inter": 0.1, "manifold_random": 0.2}
    total = sum(w[name] * float(value) for name, value in metrics["terms"].items())
    assert float(metrics["loss"]) == pytest.approx(total, rel=1e-5)


def test_without_weight_the_training_is_the_same_bit_for_bit(home):
    none = {"manifold_intra": 0.0, "manifold_inter": 0.0, "manifold_random": 0.0}
    plain, zero = step_of(home)[0], step_of(home, manifold=1.0, **none)[0]
    for ours, theirs in zip(jax.tree.leaves(plain.variables), jax.tree.leaves(zero.variables), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_the_published_weights_stand_in_the_recipe_and_in_the_option():
    recipe = read_recipe("manifold").fixed()
    published = {"intra": 4.0, "inter": 0.1, "random": 0.2, "samples": 192, "ends": 4}
    assert {name: getattr(recipe, f"manifold_{name}") for name in published} == published
    assert {name: FIELDS[f"manifold_{name}"].default for name in published} == published
    assert {name: getattr(recipe, name) for name in DISTILLED["manifold"]} == DISTILLED["manifold"]


def test_a_recipe_that_learns_a_manifold_wants_a_teacher(home):
    recipe, student = dataclasses.replace(plain_recipe(), manifold=1.0), read_result(home / "student.yaml")
    with pytest.raises(InputError, match="manifold: there is no teacher .*--teacher ARCH, or --manifold 0"):
        make_setup(student, load(str(home / "data.npz")), recipe)


@pytest.mark.parametrize(("more", "said"), [({}, "there is no teacher"), ({"distill": "all"}, "unknown")])
def test_what_is_learnt_from_no_teacher_is_refused(home, more, said):
    with pytest.raises(InputError, match=f"--distill: {said}"):
        requested(read_result(home / "student.yaml"), values={}, **{"distill": "manifold", **more})
