"""Searches under latency tables: bad tables end them at once, and LAT is read at the gates of the forward pass."""

from __future__ import annotations

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dnas.cli.entry import call, parse
from dnas.cli.search import Arguments, main
from dnas.cost.budget import parse_budget
from dnas.cost.latency_table import read_table
from dnas.data.load import load
from dnas.errors import InputError
from dnas.grammar.catalogue import find_table, load_space
from dnas.nn.gates import Gates, probabilities
from dnas.search.collapse import Temperature
from dnas.search.learn import kept
from dnas.search.problem import make_problem
from dnas.search.settings import Settings
from dnas.search.theta import drawing
from tests.cost.test_latency import LAYERS, plain_key
from tests.cost.test_lut_cli import BAD, KEY, PIXEL3


@pytest.mark.parametrize("case", sorted(BAD))
def test_a_bad_table_ends_a_search_before_it_begins(case, tmp_path, capsys):
    text, problem = BAD[case]
    path, out = tmp_path / "bad.json", tmp_path / "runs"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    assert refused(path, out, capsys).count(problem) == 1
    assert list(tmp_path.iterdir()) == [path]


def refused(path, out, capsys, space: str = "fbnetv1_32") -> str:
    """The one line of a search that ends at its table."""
    argv = [space, "--budget", f"6ms@{path}", "--preset", "smoke", "--out", str(out)]
    assert call(main, parse(Arguments, argv)) == 2
    printed, err = capsys.readouterr()
    assert err.startswith("error: ") and err.count("\n") == 1
    assert (path.name in err or "table " in err) and "Traceback" not in printed + err
    assert "steps" not in printed and not out.exists()
    return err


def test_other_files_that_are_no_tables(tmp_path, capsys):
    huge = tmp_path / "huge.json"
    with huge.open("wb") as file:
        file.truncate(50 << 20)
    assert "52,428,800 bytes (accepted: at most" in refused(huge, tmp_path / "runs", capsys)
    assert "no such file" in refused(tmp_path / "nothing.json", tmp_path / "runs", capsys)


def test_a_table_without_a_kind_of_block_is_named_at_once(tmp_path, capsys):
    path = tmp_path / "no_skips.json"
    entries = {key: ms for key, ms in PIXEL3["entries"].items() if not key.startswith("skip")}
    path.write_text(json.dumps(PIXEL3 | {"name": "no_skips", "entries": entries, "relative_to_skip": False}))
    assert "no entries of block kind 'skip', which fbnetv1_32 has" in refused(path, tmp_path / "runs", capsys)
    assert "no entries of block kind 'linear'" in refused_kind(tmp_path, capsys)


def refused_kind(tmp_path, capsys) -> str:
    path = tmp_path / "no_head.json"
    path.write_text(json.dumps(PIXEL3 | {"name": "no_head", "in_base": ["conv", "pool"]}))
    return refused(path, tmp_path / "runs", capsys)


def test_a_missing_entry_is_counted_in_the_output_and_the_file(tmp_path):
    path = tmp_path / "hole.json"
    path.write_text(json.dumps(PIXEL3 | {"entries": {k: v for k, v in PIXEL3["entries"].items() if k != KEY}}))
    coverage = problem(f"6ms@{path}").measured[0].coverage
    assert coverage is not None and coverage.count("interpolated") == 1 and "1 interpolated" in coverage.summary()
    assert "interpolated" in json.dumps(coverage.to_data())


def problem(*budgets: str, **settings):
    space = load_space("fbnetv1_32")
    return make_problem(space, [parse_budget(b) for b in budgets], load(None, seed=0), Settings(**settings), 0)


def drawn(made, theta) -> Gates:
    """The gates of one draw, at temperature 1 and the end of the search."""
    heat = Temperature(jnp.float32(1), jnp.float32(0))
    return drawing(made)(theta, jax.random.key(3), jnp.int32(5), heat, jnp.asarray(False), made.limits)[0]


@pytest.mark.parametrize("paths", [0, 1, 2])
def test_latency_is_read_at_the_gates_that_the_network_runs_under(paths):
    made = problem("6ms@pixel3", paths=paths)
    theta = jnp.asarray(np.random.default_rng(0).normal(size=made.layout.shape), jnp.float32)
    gates = drawn(made, theta)
    values = np.asarray(gates.values, np.float64)
    np.testing.assert_allclose(values.sum(1), 1, rtol=1e-5)
    assert set(np.count_nonzero(values > 1e-6, axis=1)) == ({paths} if paths else {9})
    table = read_table(find_table("pixel3"))
    times = np.array([[table.ms(plain_key(layer, option)) for option in range(9)] for layer in LAYERS])
    expected = float(made.expected(gates)[0])
    assert expected == pytest.approx(table.base + float((values * times).sum()), rel=1e-5)
    # What the forward pass keeps of these gates are these gates.
    np.testing.assert_allclose(kept(made, gates).values, gates.values, rtol=1e-6)


@pytest.mark.parametrize("paths", [1, 2])
def test_gradient_of_the_drawn_latency(paths):
    """One path: the soft gates' gradient, of the draw; two: that of the kept pair's distribution."""
    made = problem("6ms@pixel3", paths=paths)
    layout = made.layout
    theta = jnp.asarray(np.random.default_rng(0).normal(size=layout.shape), jnp.float32)
    soft = problem("6ms@pixel3", paths=0)

    def latency(theta):
        return made.expected(drawn(made, theta))[0]

    gradient = jax.grad(latency)(theta)
    if paths == 1:
        times = jax.grad(lambda v: made.expected(Gates(v, layout))[0])(probabilities(layout, theta).values)
        _, pull = jax.vjp(lambda t: drawn(soft, t).values, theta)
        np.testing.assert_allclose(gradient, pull(times)[0], rtol=1e-4, atol=1e-5)
        return
    running = drawn(made, theta).values > 0
    np.testing.assert_allclose(jnp.where(running, 0, gradient), 0, atol=1e-6)
    for row, column in np.argwhere(np.asarray(running))[:10]:
        difference = latency(theta.at[row, column].add(0.01)) - latency(theta.at[row, column].add(-0.01))
        assert float(difference) / 0.02 == pytest.approx(float(gradient[row, column]), rel=0.03, abs=3e-3)


def test_paths_below_zero():
    with pytest.raises(InputError, match="--paths"):
        Settings(paths=-1).validated()
