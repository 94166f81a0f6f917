"""`python -m dnas.plan`: targets, what is counted in a program, and what is said."""

from __future__ import annotations

import importlib.util
import json
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import pytest

from dnas.cli.entry import call, parse
from dnas.cli.plan import Arguments, main
from dnas.errors import InputError, MissingExtra
from dnas.grammar.read import read_space
from dnas.plan import compiled, targets
from dnas.plan.arithmetic import Arithmetic, arithmetic
from dnas.plan.compiled import Compiled
from dnas.plan.plan import Plan, Step
from dnas.plan.programs import stand_in
from dnas.plan.report import document, rows
from dnas.plan.targets import parse_target
from dnas.search.problem import make_problem
from dnas.search.settings import Settings

SPACE = """
name: short
input: {channels: 1, classes: 2, resolution: 8}
trunk:
  - conv: {out: 4, stride: 2, kernel: 3, act: relu}
  - mbconv: {out: 4, hidden: {choices: [4, 8]}}
head: [{pool: {}}, {linear: {out: $classes}}]
"""


@pytest.mark.parametrize("text", ["v5e", "v5e:2", "v5e:2x", "v5e:0x2", "v7:2x2", "cuda:0", "gpu", "", "v5e:2x2x2x2"])
def test_what_names_no_device_is_said_with_what_does(text):
    with pytest.raises(InputError, match="--target: .*accepted: .*v5e"):
        parse_target(text)


def test_targets_are_read():
    assert parse_target("rocm").chip is None and parse_target("rocm").platform == "rocm"
    found = parse_target("v5p:2x2x4")
    assert (found.platform, found.chips, found.chip) == ("tpu", 16, targets.CHIPS["v5p"])


def test_without_the_compiler_for_tpus_the_extra_is_named(monkeypatch):
    for name in ("JAX_PLATFORMS", "TPU_SKIP_MDS_QUERY", "TPU_WORKER_HOSTNAMES", "ALLOW_MULTIPLE_LIBTPU_LOAD"):
        monkeypatch.setenv(name, "cpu")  # and what is set below goes again
    if importlib.util.find_spec("libtpu") is not None:
        pytest.skip("libtpu is installed")
    with pytest.raises(MissingExtra, match=r"libtpu is missing; install dnas\[tpu\]"):
        targets.prepare(parse_target("v5e:2x2"))


def counted(function, *shapes, platform="tpu") -> Arithmetic:
    arrays = (jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes)
    return arithmetic(jax.jit(function).trace(*arrays).jaxpr, platform)


def conv(x, w, **more):
    numbers = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(x, w, (2, 2), [(1, 1)] * 2, dimension_numbers=numbers, **more)


def test_products_are_counted_by_hand():
    assert counted(jnp.matmul, (3, 4), (4, 5)) == Arithmetic(2 * 3 * 4 * 5, 0, 4 * (12 + 20 + 15))
    assert counted(conv, (2, 8, 8, 3), (3, 3, 3, 5)).products == 2 * (2 * 4 * 4 * 5) * 9 * 3
    depthwise = counted(lambda x, w: conv(x, w, feature_group_count=6), (2, 8, 8, 6), (3, 3, 1, 6))
    assert depthwise.products == 2 * (2 * 4 * 4 * 6) * 9


def test_gradients_of_a_strided_convolution_count_as_much_as_it_does():
    forward = counted(conv, (2, 8, 8, 3), (3, 3, 3, 5)).products
    both = counted(lambda x, w: jax.grad(lambda *a: conv(*a).sum(), (0, 1))(x, w), (2, 8, 8, 3), (3, 3, 3, 5)).products
    assert 2 * forward <= both <= 3.5 * forward


def test_loops_are_counted_through_and_branches_by_platform():
    def loop(x):
        step = lambda c, _: (c @ c, None)  # noqa: E731
        return jax.lax.scan(step, jnp.sin(x), None, length=7)[0]

    assert counted(loop, (4, 4))[:2] == (7 * 2 * 64, 16)

    def by_platform(x):
        return jax.lax.platform_dependent(x, cpu=lambda x: x @ x @ x, default=lambda x: x @ x)

    assert counted(by_platform, (4, 4)).products == 128
    assert counted(by_platform, (4, 4), platform="cpu").products == 256

    def either(x):
        return jax.lax.cond(x[0, 0] > 0, lambda x: x @ x, lambda x: x, x)

    assert counted(either, (4, 4)).products == 128


def test_collectives_are_found_in_the_text():
    text = "%a = f32[4] all-reduce(%b)\n %c = (f32[2], u32[]) all-gather-start(%d)\n %e = all-reduce-done(%a)"
    assert compiled.collectives(SimpleNamespace(as_text=lambda: text)) == {"all-reduce": 1, "all-gather": 1}


def test_collectives_of_a_program_that_jaxlib_cannot_show_are_not_known(tmp_path):
    def refused():
        raise jax.errors.JaxRuntimeError("INTERNAL: RET_CHECK failure: async-update instruction should have 1 operands")

    assert compiled.collectives(SimpleNamespace(as_text=refused)) is None
    (path := tmp_path / "short.yaml").write_text(SPACE)
    step = Step({"learn": Arithmetic(1.0)}, {"learn": Compiled(1, 2, 3, 4, 5.0, None)})
    problem = make_problem(read_space(path), [], stand_in(8, 1, 2), Settings(), 0)
    plan = Plan(problem, "dmasking", parse_target("v6e:2x2"), "TPU v6 lite", 4, 16 << 30, step, 64, "by guess")
    assert "not known" in dict(rows(plan))["collectives"]
    assert document(plan)["programs"]["learn"]["collectives"] is None


@pytest.mark.parametrize(
    ("options", "side"),
    [
        ([], 96), (["--image-size", "200"], 200), (["--image-size", "3"], 3), (["--data", "DATA"], 64),
        (["--data", "DATA", "--image-size", "90"], 90), (["--data", "DATA", "--preset", "paper"], 96),
    ],
)  # fmt: skip
def test_images_have_the_side_that_a_search_gives_them(tmp_path, monkeypatch, options, side):
    space = tmp_path / "short.yaml"
    space.write_text(SPACE.replace("resolution: 8", "resolution: 96"))
    image = pytest.importorskip("PIL.Image")
    for number in range(8):
        (file := tmp_path / "data" / "ab"[number % 2] / f"{number}.png").parent.mkdir(parents=True, exist_ok=True)
        image.new("RGB", (80, 80)).save(file)
    planned = []
    monkeypatch.setattr("dnas.plan.plan.planned", lambda problem, *more: planned.append(problem) or problem)
    for name in ("heading", "table"):
        monkeypatch.setattr(f"dnas.plan.report.{name}", lambda problem: "")
    options = [str(tmp_path / "data") if option == "DATA" else option for option in options]
    assert call(main, parse(Arguments, [str(space), *options])) == 0
    (problem,) = planned
    assert problem.proxy.resolution.max() == problem.preprocessing.side == side
    assert problem.dataset.side == side


def test_stand_ins_are_few():
    found = stand_in(1024, 3, 1000)
    assert found.classes == 1000 and found.train_images.nbytes < 2**24


@pytest.mark.slow
def test_the_device_that_is_here(tmp_path, capsys):
    space, out = tmp_path / "short.yaml", tmp_path / "plan.json"
    space.write_text(SPACE)
    options = ["--batch-size", "4", "--json", str(out)]
    assert call(main, parse(Arguments, [str(space), *options])) == 0
    said, found = capsys.readouterr().out, json.loads(out.read_text())
    assert "largest batch" in said and "by the compiler" in said and "estimate" in said
    assert found["memory"] > 0 and found["flops"] > 0 and 0 < found["matrix_share"] < 1
    assert found["largest_batch"]["images"] > 4 and "through compiles at 2 and 4" in found["largest_batch"]["how"]
    assert found["target"] is None and found["precision"] == "float32" and found["batch_size"] == 4


def test_a_device_that_is_not_there_is_reported_on_by_peaks(tmp_path):
    (path := tmp_path / "short.yaml").write_text(SPACE)
    target = parse_target("v5e:2x2")
    step = Step({"learn": Arithmetic(197e12)}, {"learn": Compiled(1, 2, 3, 4, 8.19e11, {"all-reduce": 2})})
    problem = make_problem(read_space(path), [], stand_in(8, 1, 2), Settings(), 0)
    plan = Plan(problem, "dmasking", target, "TPU v5 lite", 4, 16 << 30, step, 64, "by guess")
    assert plan.at_least == {"compute": pytest.approx(0.25), "memory": pytest.approx(1.0)}
    told = dict(rows(plan))
    assert "memory is the limit" in told["time of a step, at least"] and "estimate" in told["time of a step, at least"]
    assert told["collectives"] == "2 all-reduce" and document(plan)["memory"] == 10
