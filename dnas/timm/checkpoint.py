"""A checkpoint of timm as a safetensors file: which tensors it has, and its numbers as variables of ours.

Names may stand behind a prefix (`model.`, `module.`), and numbers may be of 16 or 64 bits. What of timm is no weight
(`BUFFERS`) is left out by name. Pickles are never read.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import safetensors

from dnas.errors import InputError
from dnas.files.sets import current
from dnas.graph import graph_of
from dnas.space.space import Space
from dnas.timm.layouts import Names, names_of
from dnas.timm.rows import Entry
from dnas.timm.spellings import spelled

BUFFERS = ("num_batches_tracked", "relative_position_index", "attn_mask", "attention_bias_idxs")
"""Last parts of names: what timm computes by itself, or counts."""
VARIANCE = ".var"
"""Ends the path of the variances of a batch norm."""
CLASSIFIERS = ("classifier.weight", "head.fc.weight", "head.weight")
MOST_CLASSES = 1_000_000
FLOATS = ("F32", "F16", "BF16", "F64")
PICKLES = (".pth", ".pt", ".bin", ".ckpt", ".tar", ".pkl", ".pickle")
_OWN = ("params/", "batch_stats/")
_BLOCK = re.compile(r"blocks\.(\d+)\.(\d+)\.")
_CONVERT = (
    'python -c "import torch, safetensors.torch as s; '
    "d = torch.load('{name}', map_location='cpu', weights_only=True); "
    "d = d.get('model', d.get('state_dict', d)); "
    "s.save_file({{k: v.clone().contiguous() for k, v in d.items()}}, '{stem}.safetensors')\""
)


class _Tensor(NamedTuple):
    """A tensor of the file."""

    stored: str
    """Its name there."""
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Checkpoint:
    """The tensors of a file under timm's names as of today, and what was done to the names."""

    path: Path
    tensors: Mapping[str, _Tensor]
    notes: tuple[str, ...] = ()


def is_timms(path: Path) -> bool:
    """Whether a file's tensors have other names than those that dnas writes."""
    with opened(path) as file:
        return not is_own(file.keys())


def is_own(names: Iterable[str]) -> bool:
    """Whether tensors of these names were written by dnas."""
    return any(name.startswith(_OWN) for name in names)


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """A safetensors file; raises `InputError` for one that is none, and says how a pickle is converted."""
    there = current(path)
    if not there.is_file():
        raise InputError(str(path), "not a file" if there.exists() else "no such file")
    with there.open("rb") as file:
        start = file.read(9)
    pickled = start[:1] == b"\x80" or start[:2] == b"PK"
    if path.suffix.lower() in PICKLES or (pickled and start[8:] != b"{"):  # safetensors: a length, then JSON
        convert = _CONVERT.format(name=path.name, stem=path.stem)
        raise InputError(
            str(path), "a pickle, which can run any code when it is read",
            accepted=f"a safetensors file; one you trust is converted by {convert}",
        )  # fmt: skip
    try:
        with safetensors.safe_open(there, "np") as file:  # pyright: ignore[reportAttributeAccessIssue]
            yield file
    except (safetensors.SafetensorError, OSError) as error:
        raise InputError(str(path), f"not a readable safetensors file: {error}") from error


def classes_of(path: Path, space: Space) -> int | None:
    """How many classes the classifier of timm's checkpoint has; None where there is none.

    Raises `InputError` for a number that no network has.
    """
    with opened(path) as file:
        found = _checkpoint(path, file, names_of(graph_of(space).uses, space.source))
    classifier = next((found.tensors[name] for name in CLASSIFIERS if name in found.tensors), None)
    if classifier is None or not classifier.shape:
        return None
    if not 1 <= (classes := classifier.shape[0]) <= MOST_CLASSES:
        raise InputError(str(path), f"the classifier '{classifier.stored}' has {classes:,} classes",
                         accepted=f"from 1 to {MOST_CLASSES:,}")  # fmt: skip
    return classes


def read(path: Path, space: Space) -> dict[str, np.ndarray]:
    """The variables of an architecture by path, parameters and statistics together, from timm's checkpoint of it.

    Raises:
        InputError: a network that timm lacks; a tensor that is missing, too many, of another shape or type, or that
            holds a number that is not finite. The first one is named.
    """
    with opened(path) as file:
        found, entries = _fitting(path, file, space)
        values = {name: np.zeros(p.lengths, np.float32) for name, p in graph_of(space).parameters.items()}
        for entry in entries:
            entry.fill(_value(found, entry, file), values)
    return values


def check(path: Path, space: Space) -> tuple[str, ...]:
    """What reading it leaves out or changes; raises `InputError` as `read` does, but looks at no number."""
    with opened(path) as file:
        found, entries = _fitting(path, file, space)
    types = sorted({tensor.dtype for e in entries if (tensor := found.tensors[e.name]).dtype != "F32"})
    return (*found.notes, *([f"{', '.join(types)} became float32"] if types else []))


def _fitting(path: Path, file: Any, space: Space) -> tuple[Checkpoint, list[Entry]]:
    """The file's tensors and those of the network, which are the same."""
    names = names_of(graph_of(space).uses, space.source)
    found = _checkpoint(path, file, names)
    entries = _numbered_as(names.entries, found, space)
    _check(entries, found, space)
    return found, entries


def written(names: Names, value: Any) -> dict[str, np.ndarray]:
    """Timm's tensors; `value(path, shape)` gives a variable. A bias that timm lacks moves into its norm's mean."""
    taken = {mean: bias for bias, mean in names.moved.items()}

    def of(path: str, shape: tuple[int, ...]) -> np.ndarray:
        moved = value(taken[path], shape) if path in taken else 0
        return value(path, shape) - moved

    made = {e.name: e.made([of(*pair) for pair in zip(e.ours, e.shapes, strict=True)]) for e in names.entries}
    return {name: np.ascontiguousarray(array, np.float32) for name, array in made.items()}


def _checkpoint(path: Path, file: Any, names: Names) -> Checkpoint:
    """The file's tensors without prefix and buffers, in timm's spelling."""
    stored = list(file.keys())
    prefix = _prefix(stored, {entry.name for entry in names.entries})
    left = Counter(ending for name in stored if (ending := name.rpartition(".")[2]) in BUFFERS)
    own: dict[str, str] = {}
    for name in stored:
        if name.rpartition(".")[2] not in BUFFERS and own.setdefault(name.removeprefix(prefix), name) != name:
            both = f"{name} and {own[name.removeprefix(prefix)]}"
            raise InputError(
                str(path), "two tensors of one name", found=both, accepted=f"one with '{prefix}', or without"
            )
    today = spelled(own)
    tensors = {}
    for name, ours in today.items():
        view = file.get_slice(own[name])
        tensors[ours] = _Tensor(own[name], view.get_dtype(), tuple(view.get_shape()))
    notes = [f"read without the prefix '{prefix}'"] if prefix else []
    notes += ["names of the first release in timm's spelling"] if any(a != b for a, b in today.items()) else []
    notes += [f"left out, no weights: {', '.join(f'{n} {name}' for name, n in sorted(left.items()))}"] if left else []
    return Checkpoint(path, tensors, tuple(notes))


def _prefix(stored: Sequence[str], wanted: set[str]) -> str:
    """What stands before the names of most tensors; nothing where most are not known."""
    heads = Counter(name.removesuffix(one) for name in stored for one in _endings(name) if one in wanted)
    head = max(heads, key=lambda head: (heads[head], -len(head)), default="")
    return head if 2 * heads[head] > len(wanted) else ""


def _endings(name: str) -> Iterator[str]:
    """The name without its first parts, none of them first."""
    yield name
    while "." in name:
        name = name.partition(".")[2]
        yield name


def _numbered_as(entries: Sequence[Entry], found: Checkpoint, space: Space) -> list[Entry]:
    """Blocks numbered by stage, as the file numbers them: timm's stages may begin without a stride, and only the order
    of blocks counts."""
    ours, theirs = (
        sorted({(int(m[1]), int(m[2])) for name in names if (m := _BLOCK.match(name))})
        for names in ((entry.name for entry in entries), found.tensors)
    )
    if not ours:
        return list(entries)
    if len(ours) != len(theirs):
        raise _other(found, space, f"{len(theirs)} blocks in stages, not {len(ours)}")
    at = {f"blocks.{a}.{b}.": f"blocks.{c}.{d}." for (a, b), (c, d) in zip(ours, theirs, strict=True)}
    return [replace(e, name=_BLOCK.sub(lambda m: at[m[0]], e.name, count=1)) for e in entries]


def _check(entries: Sequence[Entry], found: Checkpoint, space: Space) -> None:
    """Raises `InputError` for the first tensor that is missing, too many, of another shape or type."""
    wanted = {entry.name: entry for entry in entries}
    if wanted.keys().isdisjoint(found.tensors):
        first = min(found.tensors, default="none")
        raise InputError(str(found.path), f"no tensor of {space.name}, by dnas' names or timm's", found=first)
    missing = next((name for name in wanted if name not in found.tensors), None)
    if missing is not None:
        raise _other(found, space, f"'{missing}' is missing")
    extra = min(found.tensors.keys() - wanted, default=None)
    if extra is not None:
        raise _other(found, space, f"'{extra}' is not part of it")
    for name, entry in wanted.items():
        tensor = found.tensors[name]
        if tensor.shape != entry.shape:
            raise _other(found, space, f"'{name}' has shape {list(tensor.shape)}, not {list(entry.shape)}")
        if tensor.dtype not in FLOATS:
            raise InputError(str(found.path), f"'{tensor.stored}' is {tensor.dtype}", accepted=", ".join(FLOATS))


def _value(found: Checkpoint, entry: Entry, file: Any) -> np.ndarray:
    tensor = found.tensors[entry.name]
    with np.errstate(over="ignore"):  # what float32 does not hold becomes infinite, and is refused
        value = file.get_tensor(tensor.stored).astype(np.float32)
    check_numbers(found.path, tensor.stored, value, variances=entry.ours[0].endswith(VARIANCE))
    return value


def check_numbers(path: Path, name: str, value: np.ndarray, variances: bool) -> None:
    """Raises `InputError` where a network could not compute with the numbers of a tensor."""
    if not np.isfinite(value).all():
        raise InputError(str(path), f"'{name}' holds numbers that are not finite in float32")
    if variances and (value < 0).any():
        found = f"{value.min():.4g}"
        raise InputError(str(path), f"'{name}' holds variances below 0", found=found, accepted="from 0")


def _other(found: Checkpoint, space: Space, why: str) -> InputError:
    return InputError(str(found.path), f"not timm's weights of {space.name} with {space.classes} classes: {why}")
