"""Weights of an architecture as a safetensors file.

Tensors are named `params/<path>` and `batch_stats/<path>`, paths as in `dnas.nn.supernet`. The file's metadata names
the architecture and holds a fingerprint of it, so that weights of another network are refused even where all shapes
agree (another activation, say). A checkpoint under timm's names is read as well (`dnas.timm`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import safetensors.numpy

from dnas.errors import InputError
from dnas.files import write_atomic
from dnas.graph import graph_of
from dnas.graph.architecture import written_fields
from dnas.nn.supernet import Variables, abstract_variables
from dnas.space.quantized import FIRST, RESULT, SECOND
from dnas.space.space import Space
from dnas.timm import checkpoint

FORMAT = "dnas-weights-1"
STEPS = tuple(f".{name}" for name in (FIRST, SECOND, RESULT))


def save(path: Path, space: Space, variables: Variables, notes: Mapping[str, str] | None = None) -> None:
    """Writes the variables of an architecture, whole or not at all. `notes` are further metadata."""
    tensors = {f"{group}/{name}": np.asarray(value) for group in variables for name, value in variables[group].items()}
    metadata = {**(notes or {}), "format": FORMAT, "architecture": space.name, "fingerprint": fingerprint(space)}
    write_tensors(path, tensors, metadata)


def write_tensors(path: Path, tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> None:
    """A safetensors file, written atomically; equal contents give equal bytes."""
    # Of a number alone numpy would make an array of one.
    ordered = {name: np.ascontiguousarray(tensors[name]).reshape(tensors[name].shape) for name in sorted(tensors)}
    write_atomic(Path(path), _in_order(safetensors.numpy.save(ordered, dict(metadata))))


def _in_order(data: bytes) -> bytes:
    """The same file with the header's keys sorted: the library writes metadata in an order that varies."""
    length = int.from_bytes(data[:8], "little")
    header = json.dumps(json.loads(data[8 : 8 + length]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + data[8 + length :]


def load(path: Path, space: Space) -> Variables:
    """The variables of an architecture, of weights that dnas has written or of timm's.

    Raises:
        InputError: no such file, not safetensors, weights of another architecture (the first name that is missing,
            unexpected or of another shape is named), another type than float32 (timm's may be of any float), or a
            number that is not finite.
    """
    path, wanted = Path(path), abstract_variables(space)
    with checkpoint.opened(path) as file:
        own = checkpoint.is_own(file.keys())
        values = _own(path, space, file, wanted) if own else {}
    values = values or checkpoint.read(path, space)
    return {group: {name: jnp.asarray(values[name]) for name in leaves} for group, leaves in wanted.items()}


def _own(path: Path, space: Space, file: Any, groups: Mapping[str, Mapping[str, Any]]) -> dict[str, np.ndarray]:
    """The variables by path, from a file that dnas has written."""
    wanted = {f"{group}/{name}": leaf.shape for group, leaves in groups.items() for name, leaf in leaves.items()}
    metadata = file.metadata() or {}
    _check_names(path, space, metadata, file.keys(), wanted)
    tensors = {name: _checked(path, space, metadata, name, file, shape) for name, shape in wanted.items()}
    if metadata.get("fingerprint", fingerprint(space)) != fingerprint(space):
        raise _other(path, space, metadata, "all shapes agree, but its blocks differ (an activation, a stride)")
    return {name.split("/", 1)[1]: value for name, value in tensors.items()}


def fingerprint(space: Space) -> str:
    """A hash of an architecture's blocks and channels; names, resolution and how it was written do not enter."""
    network = graph_of(space)
    blocks = [[use.kind, written_fields(use, {})] for use in network.uses]
    kept = [space.keep, space.keep_tokens] if space.keep_tokens else [space.keep] if space.keep else []
    quantized = {path: how.to_json() for path, how in space.quantization.items()}
    said = [*kept, *([{"quantization": quantized}] if quantized else []), *([space.gates] if space.gates else [])]
    text = json.dumps([space.channels, blocks, *said], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _check_names(path: Path, space: Space, metadata: Mapping[str, str], found: Iterable[str], wanted: Any) -> None:
    names = set(found)
    missing = next((name for name in wanted if name not in names), None)
    extra = min(names - set(wanted), default=None)
    if missing is not None:
        raise _other(path, space, metadata, f"'{missing}' is missing")
    if extra is not None:
        raise _other(path, space, metadata, f"'{extra}' is not part of it")


def _checked(path: Path, space: Space, metadata: Mapping[str, str], name: str, file: Any, shape: tuple) -> np.ndarray:
    tensor = file.get_slice(name)
    if tuple(tensor.get_shape()) != shape:
        raise _other(path, space, metadata, f"'{name}' has shape {list(tensor.get_shape())}, not {list(shape)}")
    if tensor.get_dtype() != "F32":
        raise InputError(str(path), f"'{name}' is {tensor.get_dtype()}", accepted="float32 (F32)")
    value = file.get_tensor(name)
    checkpoint.check_numbers(path, name, value, variances=name.endswith(checkpoint.VARIANCE))
    if name.endswith(STEPS) and not (value > 0).all():
        raise InputError(str(path), f"'{name}' holds steps of a quantiser that are not above 0")
    return value


def _other(path: Path, space: Space, metadata: Mapping[str, str], why: str) -> InputError:
    owner = f" (of '{metadata['architecture']}')" if "architecture" in metadata else ""
    return InputError(str(path), f"weights of another architecture{owner}, not of {space.source}: {why}")
