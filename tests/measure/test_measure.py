"""Measuring: distinct blocks and their plan, resume after a stop, refusal of bad arguments."""

import json
import math
import os
import signal

import numpy as np
import pytest

from dnas.cli import entry
from dnas.cli.measure import Arguments, main
from dnas.cost.keys import block_keys, canonical, walk
from dnas.cost.latency import latency_cost
from dnas.cost.latency_table import read_table
from dnas.cost.ledger import at, macs
from dnas.errors import Stopped, UserError
from dnas.grammar.catalogue import load_space
from dnas.grammar.read import space_from_data
from dnas.graph import graph_of
from dnas.measure import measurement as measurements
from dnas.measure import run as runs
from dnas.measure.blocks import blocks_of, distinct_blocks
from dnas.measure.plan import make_plan
from dnas.measure.protocol import Protocol, measured
from dnas.measure.runtimes import Runtime

QUICK = Protocol(warm_up=1, repeats=10, most_s=0.2)
DATA = {
    "name": "few",
    "input": {"channels": 3, "classes": 4, "resolution": {"choices": [8, 12]}},
    "trunk": [
        {"conv": {"kernel": 3, "stride": 2, "out": 4, "act": "relu"}},
        {"one_of": [{"mbconv": {"out": {"range": [4, 12, 4]}, "expand": {"choices": [1.5, 3]}}}, {"skip": {"out": 4}}]},
    ],
    "head": [{"pool": {}}, {"linear": {"out": "$classes"}}],
}


@pytest.fixture
def few(tmp_path):
    from dnas.files import write_json

    write_json(tmp_path / "few.json", DATA)
    return str(tmp_path / "few.json")


class Clock:
    """A runtime without any: a block's time follows from its MACs, the clock is turned by hand."""

    def __init__(self, monkeypatch, stop_after=math.inf):
        self.now, self.built, self.stop_after = 0.0, [], stop_after
        monkeypatch.setattr("dnas.measure.protocol.time.perf_counter", lambda: self.now)
        monkeypatch.setattr("dnas.measure.run.time.perf_counter", lambda: self.now)
        monkeypatch.setattr("dnas.measure.run.runtime", lambda name, threads: Runtime(name, self.build, {"none": "1"}))

    def build(self, block):
        if len(self.built) >= self.stop_after:
            raise KeyboardInterrupt
        self.built.append(block)

        def program():
            self.now += 1e-5 + block.macs * 1e-9

        return program


FORMERS = ("efficientformer_tiny", "efficientformerv2_tiny")
TRANSFORMERS = ("autoformer_mini", "s3_mini", "tnt_mini", "cmt_mini")


@pytest.mark.parametrize("name", ["tiny", *FORMERS, *TRANSFORMERS])
def test_distinct_blocks_are_the_keys_of_the_space(name):
    space = load_space(name)
    keys = set()
    for use in graph_of(space).uses:
        table, working = block_keys(use), walk(use).operators
        idle = (
            np.broadcast_to(working.table_over(table.over), table.table.shape) == 0
            if set(working.over) <= set(table.over)
            else np.zeros(table.table.shape, bool)
        )
        keys |= {k for k, none in zip(table.table.reshape(-1), idle.reshape(-1), strict=True) if not none}
    blocks = distinct_blocks(space)
    assert [b.key for b in blocks] == sorted(keys)


@pytest.mark.parametrize(
    "name", ["fbnetv2_f1", "efficientformer_l3", "efficientformerv2_s1", "swin_t", "tnt_s", "cmt_ti"]
)
def test_blocks_of_a_network_hold_all_its_macs(name):
    network = load_space(name)
    assert sum(b.macs for b in blocks_of(network)) == at(macs(graph_of(network).ledger), {})


def test_how_training_starts_is_no_part_of_a_key():
    """One table serves spaces that start their layer scales differently."""
    keys = [b.key for name in FORMERS for b in distinct_blocks(load_space(name))]
    assert not any("layer_scale" in key for key in keys)
    assert canonical(keys, "t") == keys
    spelt = "mb4d side=4 in=16 hidden=64 layer_scale=0.5"
    assert canonical([spelt], "t") == ["mb4d side=4 in=16 hidden=64"]


@pytest.mark.parametrize("name", [*FORMERS, *TRANSFORMERS])
def test_each_kind_of_attention_block_runs_alone_with_its_macs(name):
    pytest.importorskip("onnxruntime", reason="needs dnas[onnx]")
    from dnas.export import onnx as onnx_export
    from dnas.export.count_onnx import macs as onnx_macs
    from dnas.export.trace import trace_block
    from dnas.measure.runtimes import random_weights, runtime

    groups = {block.group(): block for block in distinct_blocks(load_space(name))}
    for block in groups.values():
        graph = trace_block(block.block, block.input)
        assert onnx_macs(onnx_export.model(graph, random_weights)) == block.macs
        runtime("onnxruntime").build(block)()
        assert canonical([block.key], "t") == [block.key]


def test_everything_is_measured_where_time_allows():
    blocks = distinct_blocks(space_from_data(DATA, "few"))
    plan = make_plan(blocks, 1e9, lambda b: 1.0)
    assert set(plan.blocks) == set(blocks) and plan.seconds == len(blocks) and plan.covered == plan.groups


def test_a_plan_keeps_its_bound_and_takes_corners_first():
    blocks = distinct_blocks(load_space("tiny"))
    plan = make_plan(blocks, 200, lambda b: 1.0)
    assert plan.seconds <= 200 and len(plan.blocks) == len(set(plan.blocks)) == 200 < plan.of
    assert {b.kind for b in plan.blocks} == {b.kind for b in blocks}
    assert plan.blocks == make_plan(blocks, 200, lambda b: 1.0).blocks
    group = next(b for b in blocks if b.key.startswith("mbconv side=16") and dict(b.fields)["se"]).group()
    members = [b for b in blocks if b.group() == group]
    whole = make_plan(members, 1e9, lambda b: 1.0).blocks
    extremes = {max(members, key=lambda b: sum(map(math.log, b.widths()))), min(members, key=lambda b: b.macs)}
    assert extremes <= set(whole[:10])


def test_disagreeing_passes_are_measured_again(monkeypatch):
    clock, calls = Clock(monkeypatch), []

    def program():
        calls.append(1)
        clock.now += 2e-3 if 8 < len(calls) < 14 else 1e-3

    (timing,) = measured([program], Protocol(warm_up=1, repeats=10, most_s=10))
    assert timing.tries == 2 and timing.disagreement < 0.01 and timing.median == pytest.approx(1e-3)


def test_table(few, tmp_path, monkeypatch):
    Clock(monkeypatch)
    said = []
    out = tmp_path / "t.json"
    runs.measure(few, "onnxruntime", out=out, protocol=QUICK, say=said.append)
    space = load_space(few)
    table = read_table(out)
    blocks = distinct_blocks(space)
    assert set(table.entries) == {b.key for b in blocks}
    for block in blocks:
        assert table.ms(block.key) == pytest.approx(1e-2 + block.macs * 1e-6, rel=1e-4)
    details = table.measured
    assert (details.batch, details.precision, details.statistic, details.threads) == (1, "float32", "median", 1)
    assert details.versions == {"none": "1"} and details.load is not None and details.date and table.device
    assert latency_cost(space, table).coverage.count("interpolated") == 0
    assert f"{len(blocks)} distinct blocks" in said[0] and not measurements.partial_path(out).exists()


def test_a_stopped_measurement_goes_on(few, tmp_path, monkeypatch):
    out = tmp_path / "t.json"
    monkeypatch.setattr(runs, "CHUNK", 4)
    clock = Clock(monkeypatch, stop_after=runs.PROBES + 9)
    with pytest.raises(KeyboardInterrupt):
        runs.measure(few, "onnxruntime", out=out, protocol=QUICK, say=lambda line: None)
    assert not out.exists() and len(measurements.load(measurements.partial_path(out), {}).results) == 8
    with pytest.raises(UserError, match="--resume to go on"):
        runs.measure(few, "onnxruntime", out=out, protocol=QUICK)
    with pytest.raises(UserError, match="another runtime"):
        runs.measure(few, "litert", out=out, protocol=QUICK, resume=True)
    done = {b.key for b in clock.built[runs.PROBES : runs.PROBES + 8]}
    clock = Clock(monkeypatch)
    runs.measure(few, "onnxruntime", out=out, protocol=QUICK, resume=True, say=lambda line: None)
    again = [b.key for b in clock.built]
    assert len(again) == len(set(again)) and not done & set(again)
    assert set(read_table(out).entries) == done | set(again)


@pytest.mark.parametrize("field", ["plan", "results"])
def test_a_stopped_measurement_of_other_blocks_is_one_line(field, few, tmp_path, monkeypatch):
    out = tmp_path / "t.json"
    monkeypatch.setattr(runs, "CHUNK", 4)
    Clock(monkeypatch, stop_after=runs.PROBES + 5)
    with pytest.raises(KeyboardInterrupt):
        runs.measure(few, "onnxruntime", out=out, protocol=QUICK, say=lambda line: None)
    partial = measurements.partial_path(out)
    so_far = json.loads(partial.read_text())
    other, timing = "mbconv side=1 in=1 out=1 hidden=1", next(iter(so_far["results"].values()))
    so_far[field] = [other, *so_far["plan"]] if field == "plan" else {**so_far["results"], other: timing}
    partial.write_text(json.dumps(so_far))
    Clock(monkeypatch)
    with pytest.raises(UserError, match="t.json.partial: no block of .* .found 'mbconv side=1 in=1"):
        runs.measure(few, "onnxruntime", out=out, protocol=QUICK, resume=True, say=lambda line: None)
    assert json.loads(partial.read_text()) == so_far and not out.exists()


def test_time_is_up(few, tmp_path, monkeypatch):
    clock = Clock(monkeypatch)
    monkeypatch.setattr(runs, "CHUNK", 4)
    slow = clock.build

    def build(block):
        clock.now += 0.0 if len(clock.built) < runs.PROBES else 5.0
        return slow(block)

    clock.build = build
    monkeypatch.setattr("dnas.measure.run.runtime", lambda name, threads: Runtime(name, build, {}))
    said = []
    runs.measure(few, "onnxruntime", out=tmp_path / "t.json", minutes=0.5, protocol=QUICK, say=said.append)
    assert any("time is up: 8 of" in line for line in said)
    assert len(read_table(tmp_path / "t.json").entries) == 8


@pytest.mark.parametrize(
    "change, message",
    [
        ({"minutes": 0}, "--minutes"),
        ({"minutes": math.nan}, "--minutes"),
        ({"threads": 0}, "--threads"),
        ({"space": "nothing"}, "unknown space"),
        ({"resume": True}, "nothing to go on with"),
        ({"space": "./few.json"}, "no such file"),
    ],
)
def test_bad_arguments(change, message, few, tmp_path, capsys):
    pytest.importorskip("onnxruntime", reason="needs dnas[onnx]")
    arguments = {"space": few, "out": tmp_path / "t.json"} | change
    assert entry.call(main, Arguments(**arguments)) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "t.json").exists()


def test_nothing_is_overwritten(few, tmp_path, capsys):
    (tmp_path / "t.json").write_text("mine")
    assert entry.call(main, Arguments(few, out=tmp_path / "t.json")) == 2
    assert "exists already" in capsys.readouterr().err and (tmp_path / "t.json").read_text() == "mine"


def test_onnxruntime(few, tmp_path):
    pytest.importorskip("onnxruntime", reason="needs dnas[onnx]")
    table = runs.measure(few, "onnxruntime", out=tmp_path / "t.json", minutes=1, protocol=QUICK, say=lambda line: None)
    assert table is not None and all(0 < table.ms(k) < 100 for k in table.entries)
    assert table.measured.versions["onnxruntime"]


def test_xla_is_labelled_as_such():
    from dnas.measure.runtimes import jax_threads, runtime

    block = blocks_of(load_space("fbnet_96"))[3]
    made = runtime("xla", jax_threads())
    assert made.build(block)().shape == (1, 24, 24, 16) and made.about["jax"]
    with pytest.raises(UserError, match="XLA_FLAGS"):
        runtime("xla", jax_threads() + 1)


@pytest.mark.parametrize("name", ["tnt_mini", "cmt_mini"])
def test_a_block_of_several_tensors_gives_all_of_them_on_xla(name):
    from dnas.measure.runtimes import jax_threads, runtime

    blocks = {block.kind: block for block in distinct_blocks(load_space(name))}
    block = blocks[name.split("_")[0]]
    given, made = block.input, runtime("xla", jax_threads()).build(block)()
    assert [y.shape for y in made] == [(1, *(axis.length for axis in x.axes)) for x in given]


def test_litert():
    pytest.importorskip("litert_converter", reason="litert-converter is not installed")
    from dnas.measure.runtimes import runtime

    runtime("litert").build(blocks_of(load_space("fbnet_96"))[3])()


def test_a_signal_saves_and_says_how_to_go_on(few, tmp_path, capsys, monkeypatch):
    """SIGTERM amid a chunk: what was measured is on disk, one line, exit code 143; then the rest is measured."""
    out = tmp_path / "t.json"
    monkeypatch.setattr(runs, "CHUNK", 4)
    clock = Clock(monkeypatch)
    build = clock.build

    def signalled(block):
        if len(clock.built) == runs.PROBES + 6:
            os.kill(os.getpid(), signal.SIGTERM)
        return build(block)

    monkeypatch.setattr(clock, "build", signalled)
    with pytest.raises(Stopped, match="stopped with 4 of .* --resume goes on") as stop:
        runs.measure(few, "onnxruntime", out=out, protocol=QUICK, say=lambda line: None)
    assert stop.value.exit_code == 128 + signal.SIGTERM
    assert not out.exists() and len(measurements.load(measurements.partial_path(out), {}).results) == 4
    Clock(monkeypatch)
    runs.measure(few, "onnxruntime", out=out, protocol=QUICK, resume=True, say=lambda line: None)
    assert out.exists()
