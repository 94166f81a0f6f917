"""`python -m dnas.lut` as a user meets it: every command, and every kind of bad file."""

import json
import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from dnas.cli import entry
from dnas.cli.lut import Arguments, Check, Fit, Import, Merge, Show, main
from dnas.cost.latency import latency_cost
from dnas.cost.latency_table import read_table
from dnas.errors import UserError
from dnas.grammar.catalogue import find_table, folder, load_space
from dnas.grammar.read import read_space

ROOT = folder("lut").parent
PIXEL3 = json.loads(find_table("pixel3").read_text())
KEY = "mbconv side=32 in=24 out=24 hidden=72"


def command(*args: str, cwd=None) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "dnas.lut", *args], capture_output=True, text=True, cwd=cwd, timeout=60,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip


def run(arguments) -> None:
    main(Arguments(arguments))


def changed(**entries) -> dict:
    return PIXEL3 | {"entries": PIXEL3["entries"] | {KEY: entries.pop("value")}} | entries


def absolute(value: Any) -> dict:
    return {"name": "t", "device": "d", "runtime": "r", "unit": "ms", "entries": {"linear in=4 out=2": 1, KEY: value}}


BAD = {
    "nan": (json.dumps(changed(value=1)).replace(f'"{KEY}": 1', f'"{KEY}": NaN'), f"'{KEY}': not a finite number"),
    "nan inside": (json.dumps(changed(value={"ms": float("nan")})), f"'{KEY}': not a finite number"),
    "infinite": (json.dumps(changed(value=1)).replace(f'"{KEY}": 1', f'"{KEY}": 1e999'), "not a finite number"),
    "negative": (json.dumps(absolute(-0.5)), f"{KEY}: negative (found -0.5; accepted: times from 0"),
    "negative repeats": (json.dumps(absolute({"ms": 1, "repeats": -3})), f"{KEY}: repeats that cannot be (found -3"),
    "negative base": (json.dumps(absolute(1) | {"base": -1}), "base: negative"),
    "duplicate": (json.dumps(changed(value=1)).replace('"entries": {', f'"entries": {{"{KEY}": 2, '), "stands twice"),
    "two spellings": (
        json.dumps(absolute(1)).replace('"linear', '"mbconv in=24 side=32 hidden=72 out=24 kernel=3": 2, "linear'),
        f"the block '{KEY}' stands twice",
    ),
    "unit of an entry": (json.dumps(changed(value=PIXEL3["entries"][KEY] * 1000)), f"{KEY}: 1227.17 ms is"),
    "unit of the table": (json.dumps(PIXEL3 | {"unit": "us"}), "unit: not accepted here (found 'us'; accepted: ms"),
    "truncated": (json.dumps(PIXEL3)[:3000], "not JSON"),
    "empty": ("", "not JSON"),
    "no object": ("[1, 2]", "not a latency table"),
    "no entries": (json.dumps(PIXEL3 | {"entries": {}}), "entries: no entries"),
    "no device": (json.dumps({k: v for k, v in PIXEL3.items() if k != "device"}), "missing required field `device`"),
    "unknown key": (json.dumps(PIXEL3 | {"devise": "x"}), "unknown key 'devise', did you mean 'device'"),
    "unknown key inside": (json.dumps(PIXEL3 | {"measured": {"repeat": 3}}), "measured: Object contains unknown"),
    "unknown key of an entry": (json.dumps(changed(value={"ms": 1, "sd": 2})), f"{KEY}: Object contains unknown"),
    "unknown kind": (json.dumps(absolute(1)).replace("linear in", "linier in"), "unknown block kind 'linier', did you"),
    "unknown field": (json.dumps(absolute(1)).replace("hidden=72", "hiden=72"), "unknown field 'hiden' of mbconv"),
    "unknown kind in base": (json.dumps(PIXEL3 | {"in_base": ["stem"]}), "in_base: unknown block kind 'stem'"),
    "text": (json.dumps(changed(value="fast")), f"{KEY}: not a time (found 'fast'"),
    "nothing": (json.dumps(changed(value=None)), f"{KEY}: not a time"),
    "true": (json.dumps(changed(value=True)), f"{KEY}: not a time"),
    "no ms": (json.dumps(changed(value={"spread": 1})), f"{KEY}: Object missing required field `ms`"),
    "bad spread": (json.dumps(changed(value={"ms": 1, "spread": -1})), f"{KEY}: a spread that cannot be"),
    "deep": ('{"a":' * 100 + "1" + "}" * 100, "nested 100 deep"),
    "facts": (json.dumps({"schema": "lut-facts-1", "ops": {}}), "python -m dnas.lut import"),
    "impossible block": (json.dumps(absolute(1)).replace("linear in=4", "conv in=4"), "'conv' reads a map, and"),
    "binary": (b"\xff\xfe\x00", "not UTF-8"),
}  # fmt: skip


@pytest.mark.parametrize("case", sorted(BAD))
def test_bad_files(case, tmp_path, capsys):
    text, problem = BAD[case]
    path = tmp_path / "bad.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    assert entry.call(main, Arguments(Check(str(path)))) == 2
    out, err = capsys.readouterr()
    assert err.startswith("error: ") and err.count("\n") == 1 and "bad.json" in err and problem in err
    assert "Traceback" not in out + err and list(tmp_path.iterdir()) == [path]


def test_a_bad_table_writes_nothing(tmp_path):
    (tmp_path / "bad.json").write_text(BAD["negative"][0])
    (tmp_path / "good.json").write_text(json.dumps(absolute(1)))
    done = command("merge", "good.json", "bad.json", "--out", "both.json", cwd=tmp_path)
    assert done.returncode == 2 and done.stdout == "" and done.stderr.count("\n") == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bad.json", "good.json"]


def test_a_file_of_50_megabytes(tmp_path, capsys):
    path = tmp_path / "huge.json"
    with path.open("wb") as file:
        file.truncate(50 << 20)
    for arguments in (Check(str(path)), Import(path, tmp_path / "out.json"), Show(str(path))):
        assert entry.call(main, Arguments(arguments)) == 2
        err = capsys.readouterr().err
        assert err.count("\n") == 1 and "52,428,800 bytes (accepted: at most 16,777,216)" in err
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_kind_is_named(tmp_path, capsys):
    path = tmp_path / "holes.json"
    path.write_text(json.dumps(absolute(1)))
    assert entry.call(main, Arguments(Check(str(path), space="tiny"))) == 2
    err = capsys.readouterr().err
    missing = "no entries of block kind 'conv', 'skip', 'pool', which tiny has (its entries: linear, mbconv)"
    assert err == f"error: table t: {missing}\n"
    with pytest.raises(UserError, match="no such file|unknown latency table"):
        run(Check("nonesuch"))


def test_a_missing_entry_is_counted_or_refused(tmp_path, capsys):
    path = tmp_path / "hole.json"
    path.write_text(json.dumps(PIXEL3 | {"entries": {k: v for k, v in PIXEL3["entries"].items() if k != KEY}}))
    run(Check(str(path), space="fbnetv1_32"))
    assert "1 interpolated" in capsys.readouterr().out
    with pytest.raises(UserError, match=f"no entry for '{KEY}' of space fbnetv1_32"):
        run(Check(str(path), space="fbnetv1_32", strict=True))


def test_suspicious_entries_are_named(tmp_path, capsys):
    entries = {f"mbconv side=8 in=16 out={out} hidden={h}": 0.01 * h for out in (16, 24) for h in (16, 48, 96)}
    entries |= {"mbconv side=8 in=16 out=32 hidden=48": 0.5, "mbconv side=8 in=16 out=32 hidden=96": 0.4}
    entries |= {"mbconv side=8 in=16 out=40 hidden=96": 0.0, "linear in=16 out=10": {"ms": 0.1, "spread": 0.09}}
    path = tmp_path / "odd.json"
    path.write_text(json.dumps(absolute(1) | {"entries": entries}))
    run(Check(str(path)))
    out = capsys.readouterr().out
    assert "out=32 hidden=96: 0.4 ms, faster than the 0.96 ms of out=16 (2 such smaller blocks)" in out
    assert "out=40 hidden=96: 0 ms for a block that does work" in out
    assert "linear in=16 out=10: spread 0.09 ms on 0.1 ms" in out
    assert "9 entries can be used" not in out and "10 entries can be used" in out
    assert entry.call(main, Arguments(Check(str(path), strict=True))) == 2
    capsys.readouterr()
    run(Check(str(path), json=True))
    found = json.loads(capsys.readouterr().out)
    assert found["entries"] == 10 and {f["level"] for f in found["findings"]} == {"suspicious"}


def test_a_whole_table_in_another_unit(tmp_path, capsys):
    entries = {f"mbconv side=56 in=16 out=16 hidden={h}": 1e4 * h for h in range(16, 160, 8)}
    path = tmp_path / "us.json"
    path.write_text(json.dumps(absolute(1) | {"entries": entries}))
    run(Check(str(path)))
    assert "is the unit ms?" in capsys.readouterr().out


def test_show(capsys):
    run(Show())
    assert "pixel3" in capsys.readouterr().out
    run(Show("pixel3", space="fbnetv1_32"))
    out = capsys.readouterr().out
    assert (
        "device: Google Pixel 3" in out and "licence MIT" in out and "108 blocks from the table, 0 interpolated" in out
    )
    run(Show("pixel3", space="tiny", json=True))
    shown = json.loads(capsys.readouterr().out)
    assert shown["entries"] == 108 and shown["coverage"]["interpolated"] > 0
    run(Show("pixel3", space="tiny"))
    out = capsys.readouterr().out
    assert "off by" in out and "note: the base of table pixel3 belongs to space fbnetv1_32, not to tiny" in out


def test_merge(tmp_path, capsys):
    one, two = tmp_path / "one.json", tmp_path / "two.json"
    one.write_text(json.dumps(absolute(1.0)))
    two.write_text(json.dumps(absolute(1.01) | {"entries": {KEY: 1.01, "linear in=8 out=2": 3}}))
    run(Merge((str(one), str(two)), tmp_path / "both.json"))
    both = read_table(tmp_path / "both.json")
    assert both.name == "both" and both.entries == {"linear in=4 out=2": 1.0, KEY: 1.0, "linear in=8 out=2": 3.0}
    two.write_text(json.dumps(absolute(2.0)))
    with pytest.raises(UserError, match=f"'{KEY}' takes 1 and 2 ms"):
        run(Merge((str(one), str(two)), tmp_path / "no.json"))
    run(Merge((str(one), str(two)), tmp_path / "forced.json", force=True))
    assert read_table(tmp_path / "forced.json").ms(KEY) == 1
    two.write_text(json.dumps(absolute(1.0) | {"device": "another"}))
    with pytest.raises(UserError, match="differ in device: 'd' and 'another'"):
        run(Merge((str(one), str(two)), tmp_path / "no.json"))
    with pytest.raises(UserError, match="differ in relative_to_skip"):
        run(Merge((str(one), "pixel3"), tmp_path / "no.json", force=True))
    with pytest.raises(UserError, match="at least two"):
        run(Merge((str(one),), tmp_path / "no.json"))
    assert not (tmp_path / "no.json").exists()


MEASURED = {
    "warm_up": 15, "repeats": 120, "statistic": "median", "spread": "p90 - p10", "threads": 1, "precision": "float32",
    "batch": 1, "versions": {"python": "3.11.7", "onnxruntime": "1.32.0"}, "host": "Linux", "load": 0.4,
    "extra": {"disagreement_allowed": 0.1, "measured_again": 17, "cores": 2},
}  # fmt: skip


@pytest.mark.parametrize(
    "other, said",
    [
        ({"batch": 8}, "batch: 1 and 8"), ({"threads": 4}, "threads: 1 and 4"),
        ({"precision": "int8"}, "precision: 'float32' and 'int8'"),
        ({"statistic": "mean"}, "statistic: 'median' and 'mean'"),
        ({"warm_up": 0}, "warm_up: 15 and 0"), ({"batch": None}, "batch: 1 and not stated"),
        ({"versions": {"onnxruntime": "1.20.0"}}, "version of onnxruntime: '1.32.0' and '1.20.0'"),
        ({"extra": {"cores": 8}}, "condition cores: 2 and 8"),
    ],
)  # fmt: skip
def test_tables_of_other_conditions_are_not_merged(tmp_path, capsys, other, said):
    """Batch 1 and 8, one thread in float32 and four in int8 were joined without a word, as the first one's."""
    for name, measured in (("one", MEASURED), ("two", MEASURED | other)):
        (tmp_path / f"{name}.json").write_text(json.dumps(absolute(1.0) | {"name": name, "measured": measured}))
    tables = (str(tmp_path / "one.json"), str(tmp_path / "two.json"))
    with pytest.raises(UserError, match=f"one.json and .*two.json differ in {said}.*--force"):
        run(Merge(tables, tmp_path / "both.json"))
    run(Merge(tables, tmp_path / "both.json", force=True))
    both = read_table(tmp_path / "both.json")
    assert said in (both.measured.note or "") and said in capsys.readouterr().out
    field = next(iter(other))
    if not isinstance(other[field], dict):
        assert getattr(both.measured, field) is None  # neither value is true of all entries


def test_how_a_measurement_went_is_no_condition(tmp_path):
    later = MEASURED | {"load": 3.0, "repeats": 60, "date": "2027", "versions": {"python": "3.13.1"}}
    later |= {"extra": {"disagreement_allowed": 0.1, "measured_again": 99}}
    for name, measured in (("one", MEASURED), ("two", later)):
        (tmp_path / f"{name}.json").write_text(json.dumps(absolute(1.0) | {"measured": measured}))
    run(Merge((str(tmp_path / "one.json"), str(tmp_path / "two.json")), tmp_path / "both.json"))
    assert (tmp_path / "both.json").is_file()


def test_a_table_that_is_there_is_not_replaced(tmp_path):
    one, two = tmp_path / "one.json", tmp_path / "two.json"
    for file in (one, two):
        file.write_text(json.dumps(absolute(1.0)))
    with pytest.raises(UserError, match="one.json: exists already"):
        run(Merge((str(one), str(two)), one))
    run(Merge((str(one), str(two)), one, overwrite=True))


def noisy(seed: int, factors: dict[str, float] | None = None) -> dict:
    """Times of 3 to 5 % noise over sizes that hardly matter, as small blocks' have; `factors` of some."""
    random, entries = np.random.default_rng(seed), {}
    for out in range(8, 72, 8):
        for hidden in range(16, 160, 16):
            key = f"mbconv side=14 in=16 out={out} hidden={hidden}"
            ms = (0.05 + 1e-5 * hidden * out / 16) * (1 + 0.03 * random.standard_normal()) * (factors or {}).get(key, 1)
            entries[key] = {"ms": round(float(ms), 6), "spread": round(float(ms) * 0.1, 6), "repeats": 120}
    return absolute(1) | {"measured": MEASURED, "entries": entries}


def findings(table: dict, tmp_path, capsys) -> list[str]:
    (tmp_path / "t.json").write_text(json.dumps(table))
    run(Check(str(tmp_path / "t.json"), json=True))
    return [f["key"] + ": " + f["text"] for f in json.loads(capsys.readouterr().out)["findings"]]


@pytest.mark.parametrize("seed", range(3))
def test_noise_is_not_suspicious(tmp_path, capsys, seed):
    """155 of 625 entries of a fresh table were, for 2 to 6 %."""
    assert findings(noisy(seed), tmp_path, capsys) == []


@pytest.mark.parametrize("factor, word", [(0.5, "faster"), (2.0, "slower"), (0.55, "faster")])
def test_what_noise_does_not_explain_is_found_once(tmp_path, capsys, factor, word):
    key = "mbconv side=14 in=16 out=40 hidden=80"
    (found,) = findings(noisy(0, {key: factor}), tmp_path, capsys)
    assert found.startswith(key) and word in found
    table = noisy(0, {key: factor})
    table["entries"][key]["spread"] = table["entries"][key]["ms"] * 0.3
    assert any(f.startswith(key) for f in findings(table, tmp_path, capsys))


def test_zeros_and_other_units_are_found_in_a_noisy_table(tmp_path, capsys):
    key = "mbconv side=14 in=16 out=40 hidden=80"
    table = noisy(0)
    table["entries"][key] = 0.0
    assert any("0 ms for a block" in f for f in findings(table, tmp_path, capsys))
    (tmp_path / "t.json").write_text(json.dumps(noisy(0, {key: 1000.0})))
    with pytest.raises(UserError, match="looks like us"):
        run(Check(str(tmp_path / "t.json")))


ONLY_MBCONV = """
name: only
input: {channels: 16, classes: 2, resolution: 14}
trunk: [{mbconv: {out: {choices: [8, 16]}, hidden: 16}}]
head: [{pool: {}}, {linear: {out: $classes}}]
"""


def test_a_table_in_which_nothing_takes_time_is_of_no_use(tmp_path):
    table = noisy(0)
    table["entries"] = dict.fromkeys([*table["entries"], "pool side=14 in=16", "linear in=16 out=2"], 0.0)
    (tmp_path / "only.yaml").write_text(ONLY_MBCONV)
    (tmp_path / "t.json").write_text(json.dumps(table))
    with pytest.raises(UserError, match="0 ms for every block"):
        run(Check(str(tmp_path / "t.json")))
    with pytest.raises(UserError, match="0 ms for every block"):
        latency_cost(read_space(tmp_path / "only.yaml"), read_table(tmp_path / "t.json"))


def test_fit(tmp_path, capsys):
    space = load_space("fbnetv1_32")
    rng = np.random.default_rng(0)
    rows = ["arch,phone_ms"]
    for _ in range(200):
        options = rng.integers(0, 9, len(space.choices))
        rows.append("".join(map(str, options)) + f",{10 - 0.1 * options.sum() / 22:.4f}")
    path = tmp_path / "measured.csv"
    path.write_text("\n".join(rows) + "\n")
    run(Fit(path, "fbnetv1_32", out=tmp_path / "phone.json", splits=1, held_out=50))
    out = capsys.readouterr().out
    assert "1 splits with 50 networks left out" in out and "Spearman" in out and "wrote" in out
    table = read_table(tmp_path / "phone.json")
    assert table.name == "phone" and table.device == "phone_ms" and table.fit is not None and table.fit.networks == 200
    run(Fit(path, "fbnetv1_32", splits=0, json=True))
    assert json.loads(capsys.readouterr().out)["networks"] == 200
    for arguments in (Fit(path, "fbnetv1_32", splits=-1), Fit(path, "fbnetv1_32", held_out=190)):
        with pytest.raises(UserError, match="not accepted here"):
            run(arguments)


def test_import(tmp_path):
    facts = {
        "schema": "lut-facts-1", "device": "d", "unit": "us", "base": 1000,
        "ops": {"ConvBlock_H8_W8_Cin4_Cout4_exp3_kernel5_stride1_group1": 500},
    }  # fmt: skip
    (tmp_path / "facts.json").write_text(json.dumps(facts))
    done = command("import", "facts.json", "--out", "new.json", "--name", "mine", cwd=tmp_path)
    assert done.returncode == 0 and "wrote new.json: 1 entries, base 1 ms" in done.stdout, done.stderr
    table = read_table(tmp_path / "new.json")
    assert table.name == "mine" and table.entries == {"mbconv side=8 in=4 out=4 kernel=5 hidden=12": 0.5}
    first = (tmp_path / "new.json").read_bytes()
    command("import", "facts.json", "--out", "new.json", "--name", "mine", cwd=tmp_path)
    assert (tmp_path / "new.json").read_bytes() == first


def test_usage_errors_and_help():
    assert command().returncode == 2
    assert command("frobnicate").returncode == 2
    done = command("check", "--help")
    assert done.returncode == 0 and "--strict" in done.stdout


def test_a_relative_table_without_a_time_above_0_is_unusable(tmp_path, capsys):
    """Every network would take less than no time."""
    table = {
        "name": "t", "device": "d", "runtime": "r", "unit": "ms", "relative_to_skip": True,
        "entries": {f"mbconv side=8 in=8 out=8 hidden={n}": -1.0 for n in (8, 16)},
    }  # fmt: skip
    (tmp_path / "t.json").write_text(json.dumps(table))
    with pytest.raises(UserError, match="no network takes time"):
        main(Arguments(Check(str(tmp_path / "t.json"))))
    table["base"] = 3.0
    (tmp_path / "t.json").write_text(json.dumps(table))
    main(Arguments(Check(str(tmp_path / "t.json"))))


def test_no_jax_is_imported():
    done = subprocess.run(
        [sys.executable, "-c", "import dnas.cli.lut, sys; print('jax' in sys.modules)"], capture_output=True, text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)}, timeout=60,
    )  # fmt: skip
    assert done.stdout.strip() == "False", done.stderr


def test_module_and_data_folder_of_one_name(tmp_path):
    """In a wheel `dnas/lut.py` stands beside the folder `dnas/lut`, which holds the tables and is no package."""
    (tmp_path / "pack" / "lut").mkdir(parents=True)
    (tmp_path / "pack" / "__init__.py").write_text("")
    (tmp_path / "pack" / "lut.py").write_text("HERE = 1")
    done = subprocess.run(
        [sys.executable, "-c", "import pack.lut; print(pack.lut.HERE)"], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.stdout.strip() == "1", done.stderr
