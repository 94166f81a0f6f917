"""Whatever stands in a file: a correct read, or one clear line and exit code 2."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from dnas.cli import count, entry, lut, spaces
from dnas.cost.latency_table import table_from_data
from dnas.errors import InputError, UserError
from dnas.files.read import MAX_DEPTH, MAX_YAML, parse_json, read_document
from dnas.grammar.catalogue import find_space, find_table
from dnas.grammar.read import read_space, space_from_data
from dnas.graph import graph_of
from dnas.space.quantity import MAX_LOOP

from . import harness
from .mutations import NASTY


def message(module, capsys, *argv: str) -> str:
    """The one line of a command that must fail."""
    assert entry.call(module.main, entry.parse(module.Arguments, list(argv))) == 2
    told = capsys.readouterr().err
    assert told.startswith("error: ") and told.count("\n") == 1
    return told


def written(path: Path, value: object) -> str:
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return str(path)


def tiny() -> dict:
    return yaml.safe_load(find_space("tiny").read_text())


def test_a_few_hundred_spoilt_files():
    failures = list(harness.run(300, seed=11))
    assert not failures, failures[0].what


@pytest.mark.slow
def test_twenty_thousand_spoilt_files():
    failures = list(harness.run(20_000, seed=12))
    assert not failures, failures[0].what


@pytest.mark.parametrize("kind", range(len(NASTY)))
def test_nasty_documents(kind, tmp_path):
    """Deep, over-long, cyclic and tagged documents, to every reader of text."""
    data = NASTY[kind](random.Random(kind))
    for name, target in harness.targets().items():
        found = [f.what for f in harness.one_case(target, kind, target.seeds[0][0], data, tmp_path)]
        assert not found, f"{name}: {found[0]}"


def test_the_harness_sees_faults(tmp_path, monkeypatch):
    """A reader with a traceback, a stray file, a hang and a second line: each is reported."""

    def traceback(file: Path, out: Path) -> int:
        return 1 // 0

    def stray(file: Path, out: Path) -> int:
        (out.parent / "stray").write_text("x")
        return 0

    def two_lines(file: Path, out: Path) -> int:
        print("error: a\nmore", file=sys.stderr)
        return 2

    def hang(file: Path, out: Path) -> int:
        while True:
            pass

    monkeypatch.setattr(harness, "SECONDS", 0.3)
    said = []
    for command in (traceback, stray, two_lines, hang):
        target = harness.Target("t", (("f", b"x"),), (command,))
        said += [f.what for f in harness.one_case(target, 0, "f", b"x", tmp_path)]
    assert ["ZeroDivisionError" in said[0], "stray" in said[1], "2 lines" in said[2], "longer" in said[3]] == [True] * 4


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.sampled_from(["$w", "in * 2"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(
        st.sampled_from(["choices", "range", "one_of", "repeat", "out", "kernel", "mbconv", "conv", "skip", "first"])
        | st.text(max_size=8), inner, max_size=4,
    ),
    max_leaves=12,
)  # fmt: skip


@given(trunk=st.lists(PLAIN, max_size=4) | PLAIN, choices=PLAIN, resolution=PLAIN)
@settings(max_examples=150)
def test_any_plain_data_as_a_space(trunk, choices, resolution):
    data = {"input": {"resolution": resolution}, "choices": choices, "trunk": trunk}
    try:
        graph_of(space_from_data(data, "mine.yaml"))
    except UserError as error:
        assert "mine.yaml" in str(error)


@given(
    entries=st.dictionaries(
        st.text(max_size=30)
        | st.builds("mbconv side={} in={} out={}".format, st.integers(), st.integers(), st.floats()),
        PLAIN, max_size=3,
    ),
    more=st.dictionaries(st.sampled_from(["base", "in_base", "measured", "unit", "source", "name"]), PLAIN, max_size=2),
)  # fmt: skip
@settings(max_examples=150)
def test_any_plain_data_as_a_table(entries, more):
    data = {"name": "t", "device": "d", "runtime": "r", "unit": "ms", "entries": entries, **more}
    try:
        table_from_data(data, "mine.json")
    except InputError as error:
        assert str(error).startswith("mine.json")


@given(st.binary(max_size=200))
@settings(max_examples=200)
def test_any_bytes_as_a_file(tmp_path_factory, data):
    home = tmp_path_factory.mktemp("bytes", numbered=True)
    for name in ("a.yaml", "a.json"):
        (home / name).write_bytes(data)
        try:
            read_document(home / name)
        except InputError as error:
            assert name in str(error)


# Found by spoilt files ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [str(2**63), str(-(10**30)), "1" + "0" * 5000], ids=len)
def test_a_huge_integer_is_refused_in_yaml_and_json(value, tmp_path):
    text = f'{{"input": {{"resolution": {value}}}, "trunk": []}}'
    for name in ("a.yaml", "a.json"):
        (tmp_path / name).write_text(text)
        with pytest.raises(InputError, match=name):
            read_space(tmp_path / name)


def test_a_formula_cannot_overflow(tmp_path):
    product = " * ".join(["1000000"] * 4)
    data = tiny() | {"choices": {"big": {"choices": [1, 2]}, "bigger": f"$big * {product}"}}
    with pytest.raises(InputError, match="cannot compute.*too large an integer"):
        read_space(written(tmp_path / "a.json", data))


def test_half_a_character_is_refused(tmp_path):
    with pytest.raises(InputError, match="half a character"):
        parse_json(r'{"name": "\ud800"}', "a.json")
    assert parse_json(r'{"name": "\ud83d\ude00"}', "a.json") == {"name": "\U0001f600"}


def test_an_endless_name_is_a_short_line(tmp_path, capsys):
    data = tiny() | {"trunk": [{"x" * 100_000: {}}]}
    said = message(count, capsys, written(tmp_path / "a.json", data))
    assert "unknown block kind" in said and len(said) < 1700


def test_what_a_file_says_cannot_steer_the_terminal(tmp_path, capsys):
    data = tiny() | {"trunk": [{"\x1b[2J\x07": {}}]}
    said = message(count, capsys, written(tmp_path / "a.json", data))
    assert "\x1b" not in said and "\x07" not in said and "trunk.0: a control character" in said


@pytest.mark.parametrize("name", ["../../up", "/etc/x", ".hidden", 'a"""\nimport os', "a\0b", "", "x" * 101, "-o"])
def test_a_name_that_is_no_file_name_is_refused(name, tmp_path, capsys):
    """Results and exports are named after spaces; exported code tells the name in its first line."""
    said = message(count, capsys, written(tmp_path / "a.json", tiny() | {"name": name}))
    assert "a.json: name: not a name" in said or "a.json: name: a control character" in said


@pytest.mark.parametrize("file", ["my net (v2).json", "weird;name`.json", ".json", "+.json", "ä-ö.json"])
def test_any_file_name_gives_a_name(file, tmp_path):
    data = {k: v for k, v in tiny().items() if k != "name"}
    name = read_space(written(tmp_path / file, data)).name
    assert name and not set(name) & set(";`/\\\"'\n") and name[0].isalnum()


def test_a_table_of_too_many_combinations_is_refused_at_once(tmp_path):
    options = {"range": [1, 300, 1]}
    data = tiny() | {"choices": {"a": options, "b": options, "c": {"range": [1, 40, 1]}, "d": "$a * $b + $c"}}
    assert 300 * 300 * 40 > MAX_LOOP
    with pytest.raises(InputError, match="3,600,000 combinations"):
        read_space(written(tmp_path / "a.json", data))


def test_a_block_name_with_a_huge_number(tmp_path, capsys):
    data = json.loads(find_table("pixel3").read_text())
    data["entries"] = {f"mbconv side=32 in=16 out={10**30}": 1.0, f"mbconv side=32 in=16 out=8 hidden={2**63}": 1.0}
    said = message(lut, capsys, "check", written(tmp_path / "a.json", data))
    assert "not accepted for 'out'" in said


def test_counting_two_thousand_blocks_is_quick_enough(tmp_path):
    """Records are found by path, not by trying every path on every record: 4 s of this process became 0.1 s."""
    from dnas.cost.ledger import by_block

    path = written(tmp_path / "a.json", {"input": {}, "trunk": [{"conv": {"out": 8}}] * 1999})
    network = graph_of(read_space(path))
    found = by_block(network.ledger, [use.path for use in network.uses])
    slow = {r.path for r in network.ledger if r.path.startswith("trunk.7.")}
    assert {r.path for r in found["trunk.7"]} == slow and sum(map(len, found.values())) == len(network.ledger)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("cyclic.yaml", "a: &a [*a]\ntrunk: *a\n", "anchors and aliases"),
        ("laughs.yaml", "a: &a [1,1]\nb: &b [*a,*a]\n", "anchors and aliases"),
        ("code.yaml", "trunk: !!python/object/apply:os.system ['touch pwned']\n", "not plain data"),
        ("deep.yaml", "[" * 5000, "nested"),
        ("deep.json", '{"a":' * 5000 + "1" + "}" * 5000, "nested"),
        ("long.yaml", "#" * (MAX_YAML + 1), "1,048,577 bytes"),
        ("short.json", '{"a": "b', "not JSON"),
        ("quotes.json", '"' + "\\" * 300_001, "not JSON"),
        ("twice.json", '{"trunk": [], "trunk": []}', "stands twice"),
    ],
)
def test_whole_commands(name, text, said, tmp_path):
    """As a user runs them, within 1 GB: exit code 2, one line, nothing written."""
    file = tmp_path / name
    file.write_text(text)
    bound = 1 << 30
    done = subprocess.run(
        ["/bin/sh", "-c", f"ulimit -v {bound >> 10}; exec {sys.executable} -m dnas.count {file}"],
        capture_output=True, text=True, cwd=tmp_path, timeout=60,
        env={"PYTHONPATH": str(Path(__file__).parents[2]), "PATH": "/usr/bin:/bin", "OPENBLAS_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 2 and done.stdout == "", done.stderr
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1 and said in done.stderr
    assert [p.name for p in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("depth", [MAX_DEPTH - 1, MAX_DEPTH, MAX_DEPTH + 1])
def test_the_bound_of_depth_is_where_it_is_said_to_be(depth, tmp_path):
    for name in ("a.yaml", "a.json"):
        (tmp_path / name).write_text("[" * depth + "]" * depth)
        if depth <= MAX_DEPTH:
            read_document(tmp_path / name)
        else:
            with pytest.raises(InputError, match="nested"):
                read_document(tmp_path / name)


def test_brackets_in_texts_are_no_depth():
    assert parse_json('["' + "[" * 1000 + '\\"{"]', "a.json") == ["[" * 1000 + '"{']


def test_spaces_says_what_is_wrong_with_one_of_several(tmp_path, capsys):
    said = message(spaces, capsys, "tiny", written(tmp_path / "mine.yaml", "trunk: 3\ninput: {}\n"))
    assert "mine.yaml:1: trunk: not a list of blocks" in said
