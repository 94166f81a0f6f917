"""Exports as files: made, checked against the network, and only then written."""

from __future__ import annotations

import importlib.util
import json
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dnas import weights as weight_files
from dnas.count import count
from dnas.data.preprocess import Preprocessing
from dnas.errors import UserError
from dnas.export import flax_code, litert, parity, stablehlo, timm, torch_code
from dnas.export import onnx as onnx_export
from dnas.export.count_onnx import macs
from dnas.export.extras import need, unusable
from dnas.export.trace import trace, weights_of
from dnas.files import write_together
from dnas.nn.supernet import Variables
from dnas.results import read_result
from dnas.space.space import Space


@dataclass(frozen=True)
class Made:
    """Files to write (a suffix, empty for the main one, and contents), and what was found on the way."""

    files: Mapping[str, bytes]
    lines: tuple[str, ...]


def export(arch: str, to: str, weights: Path | None = None, out: Path | None = None, seed: int = 0) -> list[str]:
    """Writes one export; returns what to tell the user. Raises `UserError` where it cannot be right.

    Without `weights` those of the result folder are taken, else random initial ones.
    """
    result = read_result(arch, weights)
    space, weights = result.network if result.weights else result.space, result.weights
    graph = trace(space)  # refuses what is not an architecture, before any work
    out = Path(f"{space.name}{SUFFIXES[to]}") if out is None else out
    for module, extra, how in NEEDS.get(to, ()):
        need(module, extra, how)
    if out.is_dir():
        raise UserError(f"{out}: a folder, not a file")
    if weights is None:
        variables = parity.initial(space, seed)
        notes = [f"note: no weights given or found, so these are random initial weights (seed {seed}), untrained"]
    else:
        variables, notes = weight_files.load(weights, space), [f"weights of {weights}"]
    made = MAKERS[to](space, graph, variables, out)
    files = {out.with_suffix(ending) if ending else out: data for ending, data in made.files.items()}
    write_together(files)
    return [*made.lines, *notes, *(f"wrote {path} ({len(data):,} bytes)" for path, data in files.items())]


def _onnx(space: Space, graph: Any, variables: Variables, out: Path) -> Made:
    model = onnx_export.model(graph, weights_of(variables), name=space.name, metadata=onnx_export.metadata_of(space))
    data = model.SerializeToString()
    counted, own = macs(model), count(space)["macs"]
    if counted != own:
        raise UserError(f"{space.source}: the ONNX graph has {counted:,} MACs, dnas.count {own:,}; nothing was written")
    session = onnx_export.session(data)

    def run(images: np.ndarray) -> Any:
        return session.run(None, {onnx_export.INPUT: images.transpose(0, 3, 1, 2)})[0]

    lines = (_checked(space, variables, run, "ONNX", "onnxruntime"), f"MACs of the graph: {counted:,}, as dnas.count")
    return Made({"": data}, lines)


def _stablehlo(space: Space, graph: Any, variables: Variables, out: Path) -> Made:
    data = stablehlo.serialized(space, variables)
    line = _checked(space, variables, lambda x: stablehlo.run(data, x), "StableHLO", "jax.export on this CPU")
    return Made({"": data}, (line, f"platforms: {', '.join(stablehlo.PLATFORMS)}; symbolic batch"))


def _litert(space: Space, graph: Any, variables: Variables, out: Path) -> Made:
    data = litert.converted(space, variables)
    line = _checked(space, variables, lambda x: litert.run(data, x), "LiteRT", "its interpreter")
    return Made({"": data}, (line, "input [1, H, W, C]"))


def _torch(space: Space, graph: Any, variables: Variables, out: Path) -> Made:
    source = torch_code.source(graph, title=_title(space), weights_file=_beside(out).name)
    tensors = torch_code.tensors(graph, weights_of(variables))
    return _code(space, variables, source, tensors, "torch", _run_torch, ("torch",))


def _timm(space: Space, graph: Any, variables: Variables, out: Path) -> Made:
    source = timm.source(graph, title=_title(space), weights_file=_beside(out).name, where=space.source)
    tensors = timm.tensors(graph, weights_of(variables), space.source)
    return _code(space, variables, source, tensors, "timm", _run_torch, ("torch", "timm"))


def _flax(space: Space, graph: Any, variables: Variables, out: Path) -> Made:
    source = flax_code.source(graph, title=_title(space), weights_file=_beside(out).name)
    tensors = flax_code.tensors(graph, weights_of(variables))
    return _code(space, variables, source, tensors, "flax", _run_flax, ())


def _code(
    space: Space, variables: Variables, source: str, tensors: Mapping[str, np.ndarray], what: str,
    runner: Callable[[Any, Path, np.ndarray], Any], needs: tuple[str, ...],
) -> Made:  # fmt: skip
    """A source file with its weights, run as a user would run it: from files."""
    with tempfile.TemporaryDirectory() as name:
        code, data = Path(name, "exported_network.py"), Path(name, "weights.safetensors")
        code.write_text(source)
        weight_files.write_tensors(data, tensors, {"architecture": space.name, "framework": what})
        missing = [why for module in needs if (why := unusable(module))]
        if missing:
            line = f"not checked: {', '.join(missing)}"
        else:
            with _module(code) as module:
                line = _checked(space, variables, lambda x: runner(module, data, x), what, what)
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


def _checked(space: Space, variables: Variables, run: Callable[[np.ndarray], Any], what: str, runtime: str) -> str:
    found = parity.check(space, variables, run, what)
    return f"checked in {runtime}: differs by at most {found:.1e} of the largest output (accepted: {parity.LIMIT:.0e})"


def _title(space: Space) -> str:
    """First lines of an exported file: what it is, what it wants to see, what its scores mean."""
    cost = count(space)
    size = cost["input"]
    shape = f"{size['resolution']}x{size['resolution']}x{size['channels']}, {size['classes']} classes"
    lines = [f"{space.name}: {shape}, {cost['macs']:,} MACs, {cost['params']:,} params. Written by dnas.export."]
    extra = space.extra or {}
    if "preprocessing" in extra:
        preprocessing = Preprocessing.from_json(extra["preprocessing"], f"{space.source}: preprocessing")
        lines += textwrap.wrap("Preprocessed: " + _said(preprocessing, size["resolution"]), 110)
    if extra.get("labels"):
        names = (f"{n} {json.dumps(label, ensure_ascii=True)[1:-1]}" for n, label in enumerate(extra["labels"]))
        lines += textwrap.wrap(f"Classes: {', '.join(names)}.", 110)
    return "\n".join(lines)


def _said(p: Preprocessing, side: int) -> str:
    """A preprocessing, and the subsampling of a network whose own side is another, in words."""
    sampled = f"; of those, rows and columns floor(i * {p.side} / {side})" if p.side != side else ""
    mean, std = (", ".join(f"{v:g}" for v in values) for values in (p.mean, p.std))
    return (
        f"pixels (0 to 255) times {p.scale:.6g}, resized to {p.side}x{p.side} ({p.interpolation}), minus {mean}, "
        f"divided by {std}{sampled}."
    )


def _beside(out: Path) -> Path:
    return out.with_suffix(".safetensors")


MAKERS: dict[str, Callable[[Space, Any, Variables, Path], Made]] = {
    "onnx": _onnx, "stablehlo": _stablehlo, "litert": _litert, "timm": _timm, "flax": _flax, "torch": _torch,
}  # fmt: skip
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
