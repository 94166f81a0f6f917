"""What patch slimming keeps of the blocks that are done, so that it can go on where it was stopped: one file, replaced
as a whole after every block."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import safetensors
from jaxtyping import Array

from dnas.compress.slim_blocks import Choice
from dnas.compress.token_layers import Layer, Masks
from dnas.errors import InputError
from dnas.learning.weights import write_tensors

FILE = "slimming.safetensors"


class SlimState:
    """Blocks that are done: their tokens, errors and parameters; the tokens that a budget led to.

    A file of another run, by its `identity`, is not read.
    """

    def __init__(self, folder: Path, identity: dict[str, Any], resume: bool):
        text = json.dumps(identity, sort_keys=True, default=str)
        self.file, self.identity = folder / FILE, hashlib.sha256(text.encode()).hexdigest()
        self.kept: dict[str, list[int]] = {}
        self.notes: dict[str, dict[str, Any]] = {}
        self.searched: tuple[float, Masks] | None = None
        self.tensors: dict[str, np.ndarray] = {}
        if resume and self.file.is_file():
            self._read()

    @property
    def done(self) -> int:
        """Blocks."""
        return len(self.kept)

    def masks(self, count: int) -> dict[str, np.ndarray]:
        """Of the blocks that are done."""
        return {path: _mask(entries, count) for path, entries in self.kept.items()}

    def values(self) -> dict[str, Array]:
        """Parameters of the blocks that are done, by path."""
        return {path: jnp.asarray(value) for path, value in self.tensors.items()}

    def found(self, limit: float, masks: Masks) -> None:
        """Notes what a budget led to."""
        self.searched = limit, masks
        self._write()

    def add(self, path: str, choice: Choice, values: dict[str, Array], layer: Layer) -> None:
        """Notes one more block."""
        self.kept[path] = np.flatnonzero(choice.mask).tolist()
        self.notes[path] = {"error": choice.error, "error_untuned": choice.untuned, "tried": choice.tried}
        self.tensors |= {name: np.asarray(values[name]) for name, tuned in layer.parameters.items() if tuned}
        self._write()

    def _write(self) -> None:
        searched = None
        if self.searched is not None:
            limit, masks = self.searched
            searched = [limit, {path: [len(mask), np.flatnonzero(mask).tolist()] for path, mask in masks.items()}]
        state = {"identity": self.identity, "kept": self.kept, "notes": self.notes, "searched": searched}
        write_tensors(self.file, self.tensors, {"state": json.dumps(state)})

    def _read(self) -> None:
        """Raises `InputError` for a file that was damaged since it was written."""
        try:
            self._read_whole()
        except (safetensors.SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(
                str(self.file), f"a damaged checkpoint: {error}", accepted="a run without --resume"
            ) from error

    def _read_whole(self) -> None:
        with safetensors.safe_open(self.file, "np") as file:  # pyright: ignore[reportAttributeAccessIssue]
            state = json.loads((file.metadata() or {}).get("state", "{}"))
            if state.get("identity") != self.identity:
                return
            self.kept, self.notes = state["kept"], state["notes"]
            self.tensors = {name: file.get_tensor(name) for name in file.keys()}
        if state["searched"] is not None:
            limit, masks = state["searched"]
            self.searched = limit, {path: _mask(entries, count) for path, (count, entries) in masks.items()}


def _mask(entries: list[int], count: int) -> np.ndarray:
    return np.isin(np.arange(count), entries).astype(np.float32)
