"""Tables fitted to whole networks: exact where there is no noise, robust where there is, scored honestly."""

import json

import numpy as np
import pytest

from dnas.cli.lut import Arguments, Fit, main
from dnas.cost import ledger
from dnas.cost.latency import latency_cost
from dnas.cost.latency_table import read_table
from dnas.cost.measurements import Measurements, design, read_measurements
from dnas.cost.table_fit import LEAST_SQUARES, Method, fit_additive, fitted_table, left_out, scores
from dnas.errors import UserError
from dnas.grammar.catalogue import find_table, folder, load_space

HELP = folder("lut").parent.parent / "shared" / "data" / "lut" / "help_fbnet_cifar_measured_totals.csv"
facts = pytest.mark.skipif(not HELP.is_file(), reason=f"no {HELP}: the measurements are not part of the repository")
SPACE = load_space("fbnetv1_32")


def truth(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Random networks of fbnetv1_32 and their latency by the table pixel3."""
    options = np.random.default_rng(seed).integers(0, 9, (count, 22))
    cost = latency_cost(SPACE, read_table(find_table("pixel3"))).cost
    names = [c.name for c in SPACE.choices]
    return options, np.array([ledger.at(cost, dict(zip(names, o.tolist(), strict=True))) for o in options])


def test_without_noise_the_table_comes_back():
    options, ms = truth(400)
    table = fitted_table(SPACE, Measurements(options, ms, "ms"), name="again", device="none", splits=2)
    original = read_table(find_table("pixel3"))
    assert table.relative_to_skip and table.in_base == ("conv", "pool", "linear") and table.space == "fbnetv1_32"
    assert table.base == pytest.approx(original.base, rel=1e-5)
    assert len(table.entries) == 96
    for key in table.entries:
        assert table.ms(key) == pytest.approx(original.ms(key), abs=1e-5)
    assert table.fit is not None and table.fit.r2 is not None and table.fit.r2 > 1 - 1e-6
    again = latency_cost(SPACE, table).cost
    assignment = {c.name: int(o) for c, o in zip(SPACE.choices, options[0], strict=True)}
    assert ledger.at(again, assignment) == pytest.approx(ms[0], rel=1e-5)


def test_outliers_and_drift_are_borne_better_than_by_least_squares():
    options, ms = truth(800)
    rng = np.random.default_rng(1)
    noisy = ms + 0.05 * rng.normal(size=800) + 0.6 * (np.sin(np.arange(800) / 15) > 0)
    noisy = np.where(rng.random(800) < 0.05, noisy * rng.uniform(1.5, 3, 800), noisy)
    counts = design(SPACE, options).counts
    ours, method = fit_additive(counts, noisy)
    plain, _ = fit_additive(counts, noisy, LEAST_SQUARES)
    assert method.drift
    new, exact = truth(300, seed=2)
    index = {key: n for n, key in enumerate(design(SPACE, options).keys)}
    made = design(SPACE, np.concatenate([new, options]))
    rows = np.zeros((300, len(index)))
    for key, column in zip(made.keys, made.counts[:300].T, strict=True):
        rows[:, index[key]] = column
    ours, plain = (scores(exact, m(rows)) for m in (ours, plain))
    assert ours.spearman > plain.spearman and ours.mae_ms < 0.7 * plain.mae_ms


def test_order_of_measurement_is_kept_in_splits():
    options, ms = truth(600)
    ms = ms + 0.5 * (np.arange(600) // 40 % 2)
    ours, plain, each = left_out(design(SPACE, options).counts, ms, 100, 2, seed=5)
    assert len(each) == 2 and ours.spearman > plain.spearman and ours.r2 > plain.r2
    again = left_out(design(SPACE, options).counts, ms, 100, 2, seed=5)
    assert again[2] == each


def test_scores_by_hand():
    """Errors 1, 0, -1 on 1, 2, 3: R2 = 1 - 2/2; ties share their mean rank."""
    assert scores(np.array([1.0, 2, 3]), np.array([0.0, 2, 4])) == pytest.approx((0.0, 2 / 3, 1.0))
    assert scores(np.array([1.0, 2, 2, 3]), np.array([1.0, 3, 2, 4])).spearman == pytest.approx(0.9486833)


def test_method_in_words():
    assert "running median of 6 neighbours" in str(Method(True)) and "neighbours" not in str(LEAST_SQUARES)


@pytest.mark.parametrize(
    "text, problem",
    [
        ("", "no column 'arch'"),
        ("arch,a_ms,b_ms\n", "which column?"),
        ("arch,a_ms\n", "no measurements"),
        ("arch\n", "measured.csv:1: no column of latencies"),
        ("arch,a_ms,a_ms\n", "measured.csv:1: the column 'a_ms' stands twice"),
        ("arch,a_ms\n123,1\n", ":2: 3 options"),
        (f"arch,a_ms\n{'9' * 22},1\n", ":2: trunk.1.one_of: no such option"),
        (f"arch,a_ms\n{'x' * 22},1\n", "no such option"),
        (f"arch,a_ms\n{'1' * 22},fast\n", ":2: not a latency"),
        (f"arch,a_ms\n{'1' * 22},nan\n", ":2: not a latency"),
        (f"arch,a_ms\n{'1' * 22},-1\n", ":2: not a latency"),
        (f"arch,a_ms\n{'1' * 22},1,2\n", ":2: 3 values"),
    ],
)
def test_bad_measurements(tmp_path, text, problem):
    path = tmp_path / "measured.csv"
    path.write_text(text)
    with pytest.raises(UserError, match="measured.csv") as error:
        read_measurements(path, SPACE)
    assert problem in str(error.value)


def test_networks_that_all_take_the_same_time(tmp_path, capsys):
    """There is nothing to explain, and a score of it is not defined: no number, and no fault."""
    path, out = tmp_path / "measured.csv", tmp_path / "table.json"
    options = np.random.default_rng(0).integers(0, 9, (400, 22))
    path.write_text("arch,a_ms\n" + "".join("".join(map(str, row)) + ",20\n" for row in options))
    main(Arguments(Fit(path, "fbnetv1_32", out=out, splits=1)))
    assert "R2 not defined (not defined)" in capsys.readouterr().out
    found = read_table(out).fit
    assert found is not None and found.r2 is found.spearman is None and found.mae_ms is not None
    main(Arguments(Fit(path, "fbnetv1_32", splits=1, json=True)))
    assert json.loads(capsys.readouterr().out, parse_constant=pytest.fail)["least_squares"]["r2"] is None


def test_columns_and_units(tmp_path):
    path = tmp_path / "measured.csv"
    path.write_text(f"arch,a_ms,b_us\n{'0' * 22},2,1500\n{'-'.join('1' * 22)},3,2500\n")
    assert read_measurements(path, SPACE, "a").ms.tolist() == [2, 3]
    assert read_measurements(path, SPACE, "b_us").ms.tolist() == [1.5, 2.5]
    assert read_measurements(path, SPACE, "a_ms").options.tolist() == [[0] * 22, [1] * 22]
    with pytest.raises(UserError, match="no column 'c'"):
        read_measurements(path, SPACE, "c")
    with pytest.raises(UserError, match="2 networks cannot tell"):
        fitted_table(SPACE, read_measurements(path, SPACE, "a"), name="x", device="y", splits=0)


@facts
@pytest.mark.parametrize("column, least", [("silver_4210r", 0.987), ("samsung_a50", 0.0)])
def test_real_devices(column, least):
    """Two of the eight devices, two splits; `python -m dnas.lut fit` prints all ten."""
    measured = read_measurements(HELP, SPACE, column)
    counts = design(SPACE, measured.options).counts
    assert counts.shape == (5000, 96)
    ours, plain, _ = left_out(counts, measured.ms, 1000, 2)
    assert ours.r2 >= least and ours.mae_ms < plain.mae_ms and ours.spearman > plain.spearman
