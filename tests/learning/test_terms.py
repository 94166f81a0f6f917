"""Losses as sums of terms, in steps of trainings and of searches."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dnas.data import synthetic
from dnas.data.load import load
from dnas.data.preprocess import prepare
from dnas.errors import InputError
from dnas.learning import weights
from dnas.learning.losses import of_labels
from dnas.learning.terms import Pass, Taps, Term
from dnas.nn.gates import Layout, one_hot, uniform
from dnas.nn.supernet import Supernet, init
from dnas.report.course import TRAINING, courses
from dnas.runs.records import Epoch
from dnas.runs.result import read_result
from dnas.runs.run import Training
from dnas.search.learn import learned_like, learning, packing_of
from dnas.search.problem import make_problem
from dnas.train.schedule import schedule
from dnas.train.setup import make_setup
from dnas.train.step import training
from tests.search import planted
from tests.train.test_train import plain_recipe, write_data

NETWORK = """
name: small
input: {channels: 1, classes: 3, resolution: 8}
trunk: [{conv: {kernel: 3, stride: 2, out: 6, act: relu}}, {conv: {out: 5, act: hswish}}]
head: [{pool: {}}, {linear: {out: $classes}}]
"""
AT = "trunk.1"


def relations(features: jax.Array) -> jax.Array:
    """How alike the pixels of an image are, all pairs: the first of the manifold terms (Hao et al. 2022, eq. 6)."""
    flat = features.reshape(features.shape[0], -1, features.shape[-1])
    unit = flat / jnp.linalg.norm(flat, axis=-1, keepdims=True).clip(1e-6)
    return jnp.einsum("npc,nqc->npq", unit, unit)


def manifold(p: Pass) -> jax.Array:
    assert p.teacher is not None
    return jnp.mean(jnp.square(relations(p.student.taps[AT]) - relations(p.teacher.taps[AT])))


MANIFOLD = Term("manifold", 0.7, Taps((AT,), (AT,)), manifold)


@pytest.fixture
def setup(tmp_path):
    """A training with a teacher of other weights; `**more` are arguments of `make_setup`."""
    (tmp_path / "small.yaml").write_text(NETWORK)
    write_data(tmp_path / "data.npz")
    network = read_result(tmp_path / "small.yaml").network
    weights.save(tmp_path / "t.safetensors", network, init(network, jax.random.key(5)))
    teacher = read_result(tmp_path / "small.yaml", tmp_path / "t.safetensors")

    def made(terms, taught=True):
        result, data = read_result(tmp_path / "small.yaml"), load(str(tmp_path / "data.npz"))
        recipe = plain_recipe(distillation_weight=0.25, momentum=0.0, weight_decay=0.0)
        return make_setup(result, data, recipe, terms=terms, teacher=teacher if taught else None)

    return made


def stepped(setup, terms):
    """The change of the parameters by one step of plain descent, which is the gradient times -0.1, and the metrics."""
    made = training(
        setup.network, setup.preprocessing, setup.recipe, schedule(setup.recipe, 10, 5), setup.teacher, terms
    )
    batch = setup.dataset.train_images[:8], setup.dataset.train_labels[:8]
    before = made.init(setup.variables)
    after, metrics = jax.jit(made.step)(before, batch, jax.random.key(0), setup.teacher.variables)
    moved = jax.tree.map(lambda a, b: np.asarray(b - a), before.variables["params"], after.variables["params"])
    return moved, metrics, after


def test_the_gradient_is_the_weighted_sum_of_the_terms(setup):
    whole = setup((MANIFOLD,))
    names = ["cross_entropy", "soft_distillation", "manifold"]
    assert [term.name for term in whole.terms] == names
    moved, metrics, after = stepped(whole, whole.terms)
    alone = [stepped(whole, [Term(t.name, 1.0, t.taps, t.function)]) for t in whole.terms]
    for leaf in moved:
        wanted = sum(t.weight * parts[0][leaf] for t, parts in zip(whole.terms, alone, strict=True))
        np.testing.assert_allclose(moved[leaf], wanted, rtol=1e-4, atol=1e-7)
    values = {name: float(value) for name, value in metrics["terms"].items()}
    assert values == pytest.approx({t.name: float(a[1]["loss"]) for t, a in zip(whole.terms, alone, strict=True)})
    assert float(metrics["loss"]) == pytest.approx(sum(t.weight * values[t.name] for t in whole.terms))
    assert {name: float(v) for name, v in after.sums.terms.items()} == pytest.approx(
        {name: 8 * value for name, value in values.items()}
    )


def test_a_term_reads_values_of_student_and_teacher(setup):
    s = setup((MANIFOLD,))
    _, metrics, _ = stepped(s, s.terms)
    x, gates, taps = prepare(s.dataset.train_images[:8], s.preprocessing), one_hot(Layout(()), {}), (AT,)
    net = Supernet(s.network)
    (_, own), _ = net.apply(s.variables, x, gates, momentum=0.9, taps=taps, mutable=["batch_stats"])
    _, taught = net.apply(s.teacher.variables, x, gates, taps=taps)
    wanted = np.mean(np.square(relations(own[AT]) - relations(taught[AT])))
    assert float(metrics["terms"]["manifold"]) == pytest.approx(float(wanted), rel=1e-4)


def test_a_term_that_weighs_nothing_changes_nothing(setup):
    s = setup((Term("nothing", 0.0, MANIFOLD.taps, manifold),))
    with_it, without = (stepped(s, terms)[0] for terms in (s.terms, s.terms[:-1]))
    for leaf in with_it:
        # Both are programs of their own: sums of float32 may be taken in another order.
        np.testing.assert_allclose(with_it[leaf], without[leaf], rtol=1e-5, atol=1e-4 * np.abs(without[leaf]).max())


def test_mistakes_in_terms_are_named(setup):
    with pytest.raises(InputError, match="another term has this name"):
        setup((of_labels(0.5),))
    with pytest.raises(InputError, match="'manifold': it reads a teacher, and there is none"):
        setup((MANIFOLD,), taught=False)
    for taps in (Taps(("trunk.9",)), Taps((), ("trunk.9",))):
        s = setup((Term("far", 1.0, taps, lambda p: 0.0),))
        with pytest.raises(InputError, match="tap 'trunk.9'.* has nothing to tap there"):
            stepped(s, s.terms)


def test_a_search_learns_on_its_terms():
    """An L1 term on the gates: its value is their sum, its gradient the same for all of them."""
    search = planted.space({"kernel": {"choices": [3, 5]}}, side=8)
    problem = make_problem(search, [], synthetic.needs_large_kernel(0), planted.SETTINGS, 0)
    few = Term("few gates", 0.5, Taps(), lambda p: jnp.sum(jnp.abs(p.gates.values)))
    with_it = dataclasses.replace(problem, more_terms=(few, Term("seen", 0.0, Taps((AT,)), tap_mean)))
    variables, gates = packing_of(problem).pack(init(problem.proxy, jax.random.key(0))), uniform(problem.layout)
    images, targets = jnp.zeros((4, 16, 16, 1), jnp.uint8), jnp.eye(2)[jnp.array([0, 1, 0, 1])]
    plain, learned = (learning(p)(variables, gates, images, targets) for p in (problem, with_it))
    assert plain.metrics.keys() == {"loss", "accuracy"}
    assert float(learned.metrics["terms"]["few gates"]) == pytest.approx(len(search.choices))
    assert float(learned.loss) == pytest.approx(float(plain.loss) + 0.5 * len(search.choices), rel=1e-5)
    np.testing.assert_allclose(
        learned.gates, np.asarray(plain.gates) + 0.5 * (np.asarray(gates.values) > 0), rtol=1e-4, atol=1e-6
    )
    structure = jax.tree.structure(learned_like(with_it, variables, gates))
    assert structure == jax.tree.structure(learned)


def tap_mean(p: Pass) -> jax.Array:
    return jnp.mean(p.student.taps[AT])


def test_a_report_shows_the_terms_of_losses_that_have_several():
    def run(name: str, position: int, *epochs: Epoch) -> Training:
        return Training(name, position, name, None, "", (), None, (), (), facts=None, epochs=epochs)

    plain = run("plain", 0, Epoch(1, 1.0, 0.5))
    several = run("taught", 1, Epoch(1, 1.0, 0.5, terms={"a_b": 0.25}), Epoch(2, 2.0, 0.5, terms={"a_b": 0.125}))
    assert "train-terms" not in [chart.key for chart in courses([plain], TRAINING, 1)]
    (chart,) = (chart for chart in courses([several], TRAINING, 1) if chart.key == "train-terms")
    rows = chart.spec["data"]["values"]
    assert [(row["what"], row["at"], row["value"]) for row in rows] == [("a b", 1.0, 0.25), ("a b", 2.0, 0.125)]
    (chart,) = (chart for chart in courses([plain, several], TRAINING, 2) if chart.key == "train-terms")
    assert [row["run"] for row in chart.spec["data"]["values"]] == ["2 taught", "2 taught"]
