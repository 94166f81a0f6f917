"""Exports as files: made, checked against the network, and only then written."""

from __future__ import annotations

import importlib.util
import shlex
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dnas.cost.count import count
from dnas.data.hugging_face import PROCESSOR
from dnas.errors import InputError, UserError
from dnas.export import flax_code, litert, parity, stablehlo, timm, torch_code
from dnas.export import onnx as onnx_export
from dnas.export.count_onnx import macs
from dnas.export.delivery import Delivery, delivery_of
from dnas.export.preprocess_code import Head, head
from dnas.export.trace import Network, trace, weights_of
from dnas.files import holds_other, to_json, write_together
from dnas.grammar.catalogue import ARCHITECTURE
from dnas.learning import weights as weight_files
from dnas.nn.supernet import Variables
from dnas.process.extras import need, unusable
from dnas.process.seed import checked_seed
from dnas.runs.following import command, lines
from dnas.runs.outputs import check_output
from dnas.runs.result import read_result
from dnas.space.space import Space

PICTURE = "photo.jpg"


@dataclass(frozen=True)
class Made:
    """Files to write (a suffix, empty for the main one, and contents), and what was found on the way."""

    files: Mapping[str, bytes]
    lines: tuple[str, ...]


def export(
    arch: str, to: str, weights: Path | None = None, out: Path | None = None, seed: int = 0, overwrite: bool = False
) -> list[str]:
    """Writes one export; returns what to tell the user. Raises `UserError` where it cannot be right.

    Without `weights` those of the result folder are taken, else random initial ones. `out` is a file, or a folder.
    Files there that hold something else are replaced only with `overwrite`.
    """
    seed = checked_seed(seed)
    result = read_result(arch, weights)
    delivery = delivery_of(result)
    network = trace(delivery.network)  # refuses what is not an architecture, before any work
    main, processor = _places(out, _name(result.space), to)
    if delivery.network.quantization and to in WITHOUT_QUANTIZATION:
        accepted = ", ".join(name for name in MAKERS if name not in WITHOUT_QUANTIZATION)
        raise InputError("--to", f"{delivery.network.source} is quantised", found=to, accepted=accepted)
    for module, extra, how in NEEDS.get(to, ()):
        need(module, extra, how)
    if main.is_dir():
        raise UserError(f"{main}: a folder, not a file")
    if result.weights is None:
        variables = parity.initial(delivery.network, seed)
        notes = [f"note: no weights given or found, so these are random initial weights (seed {seed}), untrained"]
    else:
        variables, notes = weight_files.load(result.weights, delivery.network), [f"weights of {result.weights}"]
    made = MAKERS[to](delivery, network, variables, main)
    files = {main.with_suffix(ending) if ending else main: data for ending, data in made.files.items()}
    config = delivery.processor()
    if config is not None:
        files[processor] = to_json(config).encode()
    else:
        notes.append("note: it is not recorded how pictures reach this network: train it, or say so beside the file")
    read = [Path(result.space.source), *([] if result.weights is None else [result.weights])]
    for path in (path for path, data in files.items() if holds_other(path, data)):
        check_output(path, overwrite=True, inputs=read)
    write_together(dict(reversed(files.items())), overwrite=overwrite)  # the main file takes its place last
    wrote = [f"wrote {path} ({len(data):,} bytes)" for path, data in files.items()]
    follow = [] if config is None else _next(arch, to, main, result.weights is not None)
    return [*made.lines, *delivery.costs(), *notes, *wrote, *follow]


def _name(space: Space) -> str:
    """Of an export's files: a result's folder tells it apart from others of the same space."""
    source = Path(space.source)
    return source.resolve().parent.name if source.name == ARCHITECTURE else space.name


def _places(out: Path | None, name: str, to: str) -> tuple[Path, Path]:
    """The main file, and the file of its preprocessing: in a folder by the name that others look for."""
    if out is not None and (out.is_dir() or not out.suffix):
        return out / f"{name}{SUFFIXES[to]}", out / PROCESSOR
    main = Path(f"{name}{SUFFIXES[to]}") if out is None else out
    return main, main.with_suffix(f".{PROCESSOR}")


def _next(arch: str, to: str, main: Path, trained: bool) -> list[str]:
    """The command that tries what was written."""
    if to == "onnx":
        return lines([(command("predict", "--onnx", main, PICTURE), "what a picture shows, by the file alone")])
    if main.suffix == ".py":
        return lines([(shlex.join(["python", str(main), PICTURE]), "what a picture shows, by the file alone")])
    return lines([(command("predict", arch, PICTURE), "what the file must say too")] if trained else [])


def _onnx(delivery: Delivery, network: Network, variables: Variables, out: Path) -> Made:
    space = delivery.network
    weights, metadata = weights_of(variables), delivery.metadata()
    model = onnx_export.model(network, weights, name=space.name, metadata=metadata, full=delivery.full)
    data = model.SerializeToString()
    counted, own, filled = macs(model), count(space)["macs"], onnx_export.filled_macs(network)
    zeros = f", {filled:,} of them with zeros, as heads are uneven" if filled else ""
    if counted != own + filled:
        found = f"the ONNX graph has {counted:,} MACs{zeros}"
        raise UserError(f"{space.source}: {found}; dnas.count has {own:,}; nothing was written")
    session = onnx_export.session(data)

    def run(images: np.ndarray) -> Any:
        return session.run(None, {onnx_export.INPUT: images.transpose(0, 3, 1, 2)})[0]

    line = f"input [N, {space.channels}, {delivery.side}, {delivery.side}]; {counted:,} MACs by the graph's own shapes"
    return Made({"": data}, (_checked(delivery, variables, run, "ONNX", "onnxruntime", delivery.full), line + zeros))


def _stablehlo(delivery: Delivery, network: Network, variables: Variables, out: Path) -> Made:
    data = stablehlo.serialized(delivery.network, variables, delivery.full)
    runtime = "jax.export on this CPU"
    line = _checked(delivery, variables, lambda x: stablehlo.run(data, x), "StableHLO", runtime, delivery.full)
    size = f"input [N, {delivery.side}, {delivery.side}, {delivery.network.channels}]"
    return Made({"": data}, (line, f"{size}; platforms: {', '.join(stablehlo.PLATFORMS)}"))


def _litert(delivery: Delivery, network: Network, variables: Variables, out: Path) -> Made:
    data = litert.converted(delivery.network, variables, full=delivery.full)
    line = _checked(delivery, variables, lambda x: litert.run(data, x), "LiteRT", "its interpreter", delivery.full)
    return Made({"": data}, (line, f"input [1, {delivery.side}, {delivery.side}, {delivery.network.channels}]"))


def _torch(delivery: Delivery, network: Network, variables: Variables, out: Path) -> Made:
    source = torch_code.source(network, title=delivery.title(), weights_file=_beside(out).name, head=_head(delivery))
    tensors = torch_code.tensors(network, weights_of(variables))
    return _code(delivery, variables, source, tensors, "torch", _run_torch, ("torch",))


def _timm(delivery: Delivery, network: Network, variables: Variables, out: Path) -> Made:
    where = delivery.network.source
    source = timm.source(
        network, title=delivery.title(), weights_file=_beside(out).name, where=where, head=_head(delivery)
    )  # fmt: skip
    tensors = timm.tensors(network, weights_of(variables), where)
    return _code(delivery, variables, source, tensors, "timm", _run_torch, ("torch", "timm"))


def _flax(delivery: Delivery, network: Network, variables: Variables, out: Path) -> Made:
    made = _head(delivery, "NHWC")
    source = flax_code.source(network, title=delivery.title(), weights_file=_beside(out).name, head=made)
    tensors = flax_code.tensors(network, weights_of(variables))
    return _code(delivery, variables, source, tensors, "flax", _run_flax, ())


def _head(delivery: Delivery, layout: str = "NCHW") -> Head:
    return head(delivery.preprocessing, delivery.labels, layout)


def _code(
    delivery: Delivery, variables: Variables, source: str, tensors: Mapping[str, np.ndarray], what: str,
    runner: Callable[[Any, Path, np.ndarray], Any], needs: tuple[str, ...],
) -> Made:  # fmt: skip
    """A source file with its weights, run as a user would run it: from files.

    The grid of a searched resolution is taken in the file's `preprocess`, so the network has its own input.
    """
    with tempfile.TemporaryDirectory() as name:
        code, data = Path(name, "exported_network.py"), Path(name, "weights.safetensors")
        code.write_text(source)
        weight_files.write_tensors(data, tensors, {"architecture": delivery.network.name, "framework": what})
        missing = [why for module in needs if (why := unusable(module))]
        if missing:
            line = f"not checked: {', '.join(missing)}"
        else:
            with _module(code) as module:
                line = _checked(delivery, variables, lambda x: runner(module, data, x), what, what)
        return Made({"": source.encode(), ".safetensors": data.read_bytes()}, (line,))


def _run_torch(module: Any, data: Path, images: np.ndarray) -> np.ndarray:
    import safetensors.torch  # pyright: ignore[reportMissingImports]
    import torch  # pyright: ignore[reportMissingImports]

    model = module.network()
    model.load_state_dict(safetensors.torch.load_file(data))
    with torch.inference_mode():
        return model.eval()(torch.from_numpy(images.transpose(0, 3, 1, 2).copy())).numpy()


def _run_flax(module: Any, data: Path, images: np.ndarray) -> Any:
    import jax

    variables = module.load(data)
    with jax.default_matmul_precision("highest"), jax.default_device(jax.local_devices(backend="cpu")[0]):
        return jax.jit(module.Network().apply)(variables, images)


@contextmanager
def _module(path: Path) -> Iterator[Any]:
    """A Python file as a module, for as long as it is needed."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    try:
        spec.loader.exec_module(module)
        yield module
    finally:
        del sys.modules[path.stem]


def _checked(
    delivery: Delivery, variables: Variables, run: Callable[[np.ndarray], Any], what: str, runtime: str,
    full: int | None = None,
) -> str:  # fmt: skip
    found = parity.check(delivery.network, variables, run, what, full=full)
    limit = parity.limit_of(delivery.network)
    how = "on average" if delivery.network.quantization else "at most"
    return f"checked in {runtime}: differs by {how} {found:.1e} of the largest output (accepted: {limit:.0e})"


def _beside(out: Path) -> Path:
    return out.with_suffix(".safetensors")


MAKERS: dict[str, Callable[[Delivery, Network, Variables, Path], Made]] = {
    "onnx": _onnx, "stablehlo": _stablehlo, "litert": _litert, "timm": _timm, "flax": _flax, "torch": _torch,
}  # fmt: skip
WITHOUT_QUANTIZATION = ("timm", "flax", "torch")
"""Source files, which compute in float32."""
NEEDS = {
    "onnx": (("onnx", "onnx", ""), ("onnxruntime", "onnx", "")),
    "stablehlo": (("flatbuffers", "stablehlo", ""),),
    "litert": tuple(
        (m, "", litert.INSTALL) for m in ("litert_converter.converter_api_ext", "ai_edge_litert.interpreter")
    ),
}
"""Packages that an export cannot do without: (module, extra, other advice), looked for before any work."""
SUFFIXES = {
    "onnx": ".onnx", "stablehlo": ".stablehlo", "litert": ".tflite", "timm": "_timm.py", "flax": "_flax.py",
    "torch": "_torch.py",
}  # fmt: skip
