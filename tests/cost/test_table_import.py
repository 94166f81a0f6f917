"""Public tables: every format of the facts files, and the shipped tables that came from them."""

import json

import pytest

from dnas.cost import ledger
from dnas.cost.latency import entries_by_kind, latency_cost
from dnas.cost.latency_table import Entry, read_table, write_table
from dnas.cost.table_check import check_table, wrong_units
from dnas.cost.table_import import checks, import_table
from dnas.errors import UserError
from dnas.grammar.catalogue import find_table, folder, load_space

FACTS = folder("lut").parent.parent / "shared" / "data" / "lut"
facts = pytest.mark.skipif(not FACTS.is_dir(), reason=f"no {FACTS}: the facts files are not part of the repository")

# File: entries (of the distinct blocks), base in ms, and one entry worked out by hand from the file's own names.
FILES = {
    "annaaraslanova_fbnet_cpu": (108, 0.0, "mbconv side=112 in=16 out=16 kernel=5 hidden=96", 5.909156),
    "hwnasbench_fbnet_cifar_eyeriss": (108, 2.788352, "mbconv side=32 in=16 out=16 hidden=16 groups=2", 0.049152),
    "hwnasbench_fbnet_cifar_fpga": (108, 0.0, "mbconv side=32 in=16 out=24 hidden=96", 2.304),
    "hwnasbench_fbnet_cifar_pixel3": (108, 2.838627995, "skip side=4 in=184 out=352", 0.0),
    "pipeproxyless_bigcpu": (1525, 0.0, "conv side=224 in=3 out=32 kernel=3 stride=2 act=relu6", 3.50596),
    "pipeproxyless_gpu": (1525, 0.0, "conv side=7 in=320 out=1280 act=relu6", 1.49145),
    "pipeproxyless_littlecpu": (1525, 0.0, "linear in=1280 out=1000", 2.28149),
    "proxyless_mobile_trim": (
        72, 0.0, "mbconv side=112 in=32 out=16 kernel=5 hidden=32 expand_conv=0 act=relu6", 6.8187633,
    ),
    "proxyless_pixel_trim": (72, 0.0, "mbconv side=14 in=80 out=80 kernel=5 hidden=240 act=relu6", 1.9960465),
    "singlepathnas_pixel1": (45, 19.5999, "mbconv side=112 in=16 out=24 kernel=5 stride=2 hidden=96", 11.5892),
    "tfnas_titanrtx": (
        36480, 1.985807514190674, "mbconv side=7 in=192 out=192 hidden=2 act=swish", 0.07446,
    ),
    "tfnas_xeon6130": (
        36480, 9.356469964981079, "mbconv side=112 in=16 out=24 stride=2 hidden=17", 1.15,
    ),
}  # fmt: skip


@facts
@pytest.mark.parametrize("name", sorted(FILES))
def test_import(name, tmp_path):
    entries, base, key, ms = FILES[name]
    table = import_table(FACTS / f"{name}.json")
    assert (len(table.entries), table.base, table.ms(key)) == (entries, base, ms)
    assert table.source is not None and table.source.licence and table.source.commit
    path = tmp_path / "table.json"
    write_table(path, table)
    same = read_table(path) == table  # not in the assert: 36,000 entries are too many to explain
    assert same
    assert not wrong_units(table, entries_by_kind(table))


@facts
def test_every_facts_file_is_tested():
    assert {p.stem for p in FACTS.glob("*.json")} == set(FILES)


@facts
@pytest.mark.parametrize("name", ["pixel3", "eyeriss", "fpga"])
def test_shipped_tables_are_what_import_gives(name):
    path = FACTS / f"hwnasbench_fbnet_cifar_{name}.json"
    assert import_table(path, name) == read_table(find_table(name))
    space, stated = load_space("fbnetv1_32"), checks(path)
    cost = latency_cost(space, read_table(find_table(name))).cost
    assert len(stated) == 3
    for check in stated:
        assignment = {c.name: o for c, o in zip(space.choices, check["arch"], strict=True)}
        assert ledger.at(cost, assignment) == pytest.approx(check["total"], rel=1e-12)


@facts
@pytest.mark.slow
def test_details_of_the_formats():
    table = import_table(FACTS / "tfnas_titanrtx.json")
    clipped = [k for k in table.entries if table.ms(k) == 0]
    assert len(clipped) == 88 and min(map(table.ms, table.entries)) == 0
    zeros = {f.key for f in check_table(table, entries_by_kind(table)) if "0 ms for a block" in f.text}
    assert len(zeros) == 88 and not zeros - set(clipped)
    assert list(import_table(FACTS / "tfnas_xeon6130.json").entries.values()).count(0.0) == 84
    assert table.measured.batch == 32 and table.runtime == "PyTorch 1.1"
    table = import_table(FACTS / "annaaraslanova_fbnet_cpu.json")
    entry = table.entries["skip side=7 in=184 out=184"]
    assert isinstance(entry, Entry) and entry.repeats == 3 and entry.ms < 0.01  # microseconds in the file
    table = import_table(FACTS / "singlepathnas_pixel1.json")
    assert table.ms("skip side=14 in=96 out=96") == 0.7
    assert table.entries["mbconv side=14 in=96 out=96 hidden=288"].repeats == 3  # type: ignore[union-attr]
    table = import_table(FACTS / "proxyless_pixel_trim.json")
    entry = table.entries["conv side=224 in=3 out=32 kernel=3 stride=2 act=relu6"]
    assert isinstance(entry, Entry) and entry.spread == pytest.approx(0.15628**0.5)
    table = import_table(FACTS / "pipeproxyless_gpu.json")
    assert "mbconv side=8 in=24 out=24 hidden=72 act=relu6 residual=0" in table.entries
    assert "mbconv side=8 in=24 out=24 hidden=72 act=relu6" in table.entries


@facts
def test_an_imported_table_serves_its_space():
    space = load_space("fbnetv1")
    found = latency_cost(space, import_table(FACTS / "annaaraslanova_fbnet_cpu.json"), strict=True)
    assert found.coverage.count("exact") == 108
    least, most = ({c.name: n for c in space.choices} for n in (0, 7))
    assert 0 < ledger.at(found.cost, least) < ledger.at(found.cost, most)


@facts
def test_a_table_without_skips_does_not_serve_a_space_with_them():
    with pytest.raises(UserError, match="no entries of block kind 'skip', which fbnetv1 has"):
        latency_cost(load_space("fbnetv1"), import_table(FACTS / "proxyless_pixel_trim.json"))
    with pytest.raises(UserError, match="'skip' that does any work, as 'skip side=112 in=16 out=24 stride=2' does"):
        latency_cost(load_space("fbnetv1"), import_table(FACTS / "singlepathnas_pixel1.json"))


SMALL = {
    "schema": "lut-facts-1", "name": "small", "device": "d", "unit": "ms", "batch_size": 1, "base": 1,
    "ops": {"Skip_H8_W8_Cin4_Cout4_stride1": 0, "ConvBlock_H8_W8_Cin4_Cout4_exp3_kernel5_stride1_group1": 0.5},
}  # fmt: skip


def test_a_small_table(tmp_path):
    path = tmp_path / "facts.json"
    path.write_text(json.dumps(SMALL))
    table = import_table(path)
    assert table.entries == {"skip side=8 in=4 out=4": 0.0, "mbconv side=8 in=4 out=4 kernel=5 hidden=12": 0.5}
    assert table.relative_to_skip and table.base == 1 and table.in_base == ("conv", "pool", "linear")


def test_variances_of_tables(tmp_path):
    path, (skip, block) = tmp_path / "facts.json", SMALL["ops"]
    parts = {"a": {skip: SMALL["ops"][skip]}, "b": {block: SMALL["ops"][block]}}
    path.write_text(json.dumps({**SMALL, "ops": None, "tables": parts, "variance": {block: 0.04}}))
    entry = import_table(path).entries["mbconv side=8 in=4 out=4 kernel=5 hidden=12"]
    assert isinstance(entry, Entry) and (entry.ms, entry.spread) == (0.5, 0.2)


@pytest.mark.parametrize(
    "change, problem",
    [
        ({"unit": "fortnights"}, "unit: Invalid enum value 'fortnights'"),
        ({"unit": ["ms"]}, "unit: Expected `str`, got `array`"),
        ({"source_files": None}, "source_files: Expected `array`, got `null`"),
        ({"source_files": [5]}, "Expected `str`, got `int`"),
        ({"device": 7}, "device: Expected `str`, got `int`"),
        ({"variance": {"Skip_H8_W8_Cin4_Cout4_stride1": -1}}, "variance: Skip_H8_W8_Cin4_Cout4_stride1: negative"),
        ({"ops": {"Conv-input:8x8x3-output:0x8x4": 1}}, "not as the format proxyless has it"),
        ({"ops": {}}, "no 'ops' or 'tables'"),
        ({"ops": {"mystery": 1}}, "operator names of no known format"),
        ({"ops": {"Skip_H8_W8_Cin4": 1}}, "not as the format hwnasbench has it"),
        ({"ops": {"Skip_H8_W9_Cin4_Cout4_stride1": 1}}, "not as the format hwnasbench has it"),
        ({"ops": {"Skip_H8_W8_Cin4_Cout4_stride1": "fast"}}, "not a number"),
        ({"ops": {"layer0/ir_k3_e1": 1}}, "not as the format annaaraslanova has it"),
        ({"ops": {"MBInvertedResBlock_7_192_0_192_k3_s1_swish": 3}}, "not as the format tfnas has it"),
        ({"base": "much"}, "base: not a number"),
        ({"ops": {"Conv-input:8x8x3-output:8x8x4": -1}}, "conv side=8 in=3 out=4 kernel=3 act=relu6: negative"),
        ({"ops": {"Conv-input:8x8x3-output:8x8x4": 1}, "base": -1}, "base: negative"),
        ({"tables": {"a": {"Conv": 1}, "b": {"Conv": 2}}}, "tables: 'Conv' has two times (found [1, 2])"),
    ],
)
def test_bad_facts(tmp_path, change, problem):
    path = tmp_path / "facts.json"
    path.write_text(json.dumps(SMALL | change))
    with pytest.raises(UserError, match="facts.json") as error:
        import_table(path)
    assert problem in str(error.value)
