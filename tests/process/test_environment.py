"""What the environment asks of JAX and XLA: followed, said or refused in one line."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile

import pytest

from dnas.errors import UserError
from dnas.process import environment, xla_flags

START = """
import sys
from dnas.process.backend import configure
from dnas.errors import UserError
try:
    configure()
except UserError as error:
    sys.exit(f"error: {error}")
import jax, jax.numpy as jnp
print(jnp.ones(1).dtype, jax.random.key(0).dtype, jnp.ones((2, 2)) + jnp.arange(2))
"""


CACHE = tempfile.TemporaryDirectory()


def started(**settings: str) -> subprocess.CompletedProcess[str]:
    """A process that makes a command's settings; what is set for this one is not set for it."""
    plain = {k: v for k, v in os.environ.items() if not k.startswith(("JAX_", "XLA_FLAGS"))}
    return subprocess.run(
        [sys.executable, "-c", START], env=plain | {"DNAS_CACHE": CACHE.name} | settings, capture_output=True, text=True
    )


def test_numbers_do_not_follow_the_environment():
    asked = {
        "JAX_ENABLE_X64": "1", "JAX_DEFAULT_PRNG_IMPL": "rbg", "JAX_NUMPY_RANK_PROMOTION": "raise",
        "JAX_NUMPY_DTYPE_PROMOTION": "strict", "JAX_DISABLE_JIT": "perhaps",
    }  # fmt: skip
    plain, done = started(), started(**asked)
    assert (done.returncode, done.stdout) == (0, plain.stdout) and "float32" in done.stdout
    assert done.stderr.count("\n") == 1 and all(name in done.stderr for name in asked)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"JAX_PLATFORMS": "tpu"}, "dnas[tpu]"),
        ({"JAX_PLATFORMS": "nonsense"}, "cpu, cuda or tpu"),
        ({"JAX_PLATFORMS": "cpu,nonsense"}, "cpu, cuda or tpu"),
        ({"JAX_PLATFORM_NAME": "nonsense"}, "unset it"),
        ({"JAX_LOG_COMPILES": "perhaps"}, "JAX_LOG_COMPILES=perhaps"),
        ({"XLA_FLAGS": "--xla_no_such_flag=1"}, "--xla_no_such_flag"),
        ({"XLA_FLAGS": "no-such-file"}, "no-such-file"),
    ],
)
def test_what_cannot_be_is_one_line(settings, says):
    done = started(**settings)
    assert done.returncode == 1 and done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    assert says in done.stderr and next(iter(settings)) in done.stderr


def test_cuda_without_a_device_names_its_extra(monkeypatch):
    monkeypatch.setenv("JAX_PLATFORMS", "cuda,cpu")

    def devices(platform=None):
        assert platform != "cuda"  # as jax itself says it, without a word
        return ["cpu"]

    monkeypatch.setattr("jax.devices", devices)
    with pytest.raises(UserError, match=r"^JAX_PLATFORMS=cuda,cpu: no such device here; install dnas\[cuda\]"):
        environment.check_devices()


def test_a_flag_that_xla_does_not_know_is_left_out(monkeypatch, tmp_path):
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_enable_fast_math=false")
    known = {"xla_backend_extra_options": "xla_cpu_disable_loop_unrolling"}
    xla_flags.prepare({"xla_no_such_flag": "1"} | known, tmp_path)
    expected = "--xla_cpu_enable_fast_math=false --xla_backend_extra_options=xla_cpu_disable_loop_unrolling"
    assert os.environ["XLA_FLAGS"] == expected
    # What was learnt is kept: nobody is asked again.
    monkeypatch.setattr(xla_flags, "_tried", None)
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_enable_fast_math=false")
    monkeypatch.delenv(xla_flags.KNOWN)
    xla_flags.prepare({"xla_no_such_flag": "1"} | known, tmp_path)
    assert os.environ["XLA_FLAGS"] == expected
    monkeypatch.setenv("XLA_FLAGS", "--xla_backend_extra_options=theirs " + expected)
    monkeypatch.setattr(xla_flags, "_tried", lambda flags: ("", True))
    xla_flags.prepare(known, tmp_path)
    assert os.environ["XLA_FLAGS"] == "--xla_backend_extra_options=theirs " + expected


def test_a_program_from_standard_input_runs_to_its_end():
    program = (
        "import sys, runpy\nsys.argv = ['x', 'tiny', '--budget', '1FLOPs']\n"
        "runpy.run_module('dnas.search', run_name='__main__', alter_sys=True)\n"
    )
    done = subprocess.run([sys.executable, "-"], input=program, capture_output=True, text=True)
    assert done.returncode == 2 and "smallest network" in done.stderr, done.stderr
