"""Runtimes that time one block, or a whole network: onnxruntime, LiteRT, XLA on the present device.

A runtime builds a program from a network or a block and gives back a function without arguments that runs it once.
"""

from __future__ import annotations

import importlib.metadata as metadata
import os
import platform
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dnas.errors import UserError
from dnas.export import litert
from dnas.export import onnx as onnx_export
from dnas.export.trace import Network, Weights, trace_block
from dnas.graph import Builder
from dnas.measure.blocks import BlockSpec
from dnas.nn.forward import Forward
from dnas.nn.gates import Layout, uniform
from dnas.ops.operator import Parameter
from dnas.ops.tensor import leaves
from dnas.process.extras import need

RUNTIMES = ("onnxruntime", "litert", "xla")


@dataclass(frozen=True)
class Runtime:
    """`build(spec)` compiles a block and returns what runs it once; `about` goes into the table."""

    name: str
    build: Callable[[BlockSpec], Callable[[], Any]]
    about: dict[str, str]


def runtime(name: str, threads: int = 1) -> Runtime:
    """A runtime by name; raises `MissingExtra` where it is not installed, before anything is measured."""
    common = {"python": platform.python_version(), "numpy": np.__version__}
    if name == "onnxruntime":
        version = need("onnxruntime", "onnx").__version__
        need("onnx", "onnx")

        def build(spec: BlockSpec) -> Callable[[], Any]:
            return onnx_program(trace_block(spec.block, spec.input), threads)

        return Runtime(name, build, common | {"onnxruntime": version})
    if name == "litert":
        need("litert_converter", "litert", litert.INSTALL)
        need("ai_edge_litert.interpreter", "litert", litert.INSTALL)
        versions = {p: metadata.version(p) for p in ("ai-edge-litert", "litert-converter")}
        return Runtime(name, lambda spec: _litert_program(spec, threads), common | versions)
    if threads != jax_threads():
        raise UserError(
            f"--threads {threads}: XLA takes all {jax_threads()} cores unless started with XLA_FLAGS="
            f"'--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1'; give --threads {jax_threads()}"
        )
    return Runtime(name, _xla_program, common | {"jax": jax.__version__})


def jax_threads() -> int:
    """Threads that XLA uses for one program on the CPU; 1 on an accelerator, where the host only waits."""
    single = "xla_cpu_multi_thread_eigen=false" in os.environ.get("XLA_FLAGS", "")
    return 1 if single or jax.default_backend() != "cpu" else os.cpu_count() or 1


def device(name: str) -> str:
    """The device a runtime of this name measures."""
    if name == "xla" and jax.default_backend() != "cpu":
        return jax.devices()[0].device_kind
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def random_weights(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Weights that keep numbers ordinary (denormal or infinite ones would change the time)."""
    if name.endswith(".var"):
        return np.ones(shape, np.float32)
    generator = np.random.default_rng(zlib.crc32(name.encode()))
    return (generator.standard_normal(shape) * (2 / max(1, np.prod(shape[:-1]))) ** 0.5).astype(np.float32)


def onnx_program(network: Network, threads: int, weights: Weights | None = None) -> Callable[[], Any]:
    """A network in onnxruntime, inputs and outputs bound beforehand; with random weights if none are given."""
    model = onnx_export.model(network, weights or random_weights, check=False)
    session = onnx_export.session(model.SerializeToString(), threads)
    ort = need("onnxruntime", "onnx")
    binding = session.io_binding()
    for value, info in zip(network.inputs, session.get_inputs(), strict=True):
        x = ort.OrtValue.ortvalue_from_numpy(_input((1, *onnx_export.shape(value))))
        binding.bind_ortvalue_input(info.name, x)
    for value, info in zip(network.outputs, session.get_outputs(), strict=True):
        y = np.zeros((1, *onnx_export.shape(value)), np.float32)
        binding.bind_ortvalue_output(info.name, ort.OrtValue.ortvalue_from_numpy(y))
    return lambda: session.run_with_iobinding(binding)


def _litert_program(spec: BlockSpec, threads: int) -> Callable[[], Any]:
    apply, arrays = _forward(spec)
    specs = (jax.ShapeDtypeStruct(x.shape, jnp.float32) for x in arrays)
    model = litert.interpreter(litert.convert(apply, *specs), threads)
    for details, x in zip(model.get_input_details(), arrays, strict=True):
        model.set_tensor(details["index"], x)
    return model.invoke


def _xla_program(spec: BlockSpec) -> Callable[[], Any]:
    apply, arrays = _forward(spec)
    arrays = jax.device_put(arrays)
    compiled = jax.jit(apply).lower(*arrays).compile()
    return lambda: jax.block_until_ready(compiled(*arrays))


def _forward(spec: BlockSpec) -> tuple[Callable[..., Any], list[np.ndarray]]:
    """A block of its own as a jax function of the tensors that it reads, with random weights; and random tensors."""

    builder, x = Builder(), spec.input
    y, tensors = builder.node(spec.block, x), leaves(x)

    def apply(*arrays: Any) -> Any:
        lookup: Any = None  # a block without choices asks for no gate
        given = dict(zip(tensors, arrays, strict=True))
        return Forward(_Random(), uniform(Layout(())), lookup, None).run_on(given, builder.parts, y)

    return apply, [_input((1, *(axis.length for axis in tensor.axes))) for tensor in tensors]


class _Random:
    """`dnas.nn.parameters.Parameters` that makes its weights up."""

    def get(self, path: str, parameter: Parameter) -> Any:
        if parameter.statistic:
            return jnp.full(parameter.lengths, parameter.start or 0.0)
        return jnp.asarray(random_weights(path, parameter.lengths))

    def update(self, path: str, value: Any) -> None:
        pass

    def blocks(self, run: Any) -> Any:
        raise AssertionError("a block without choices")


def _input(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)
