"""How images are read, as the user asks for it: kept in memory or streamed from disk, by how many readers."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, get_args

from dnas.data.dataset import MAX_BYTES, Dataset
from dnas.data.stream.images import default_readers
from dnas.errors import InputError
from dnas.process.extras import need
from dnas.process.free_memory import whole
from dnas.process.memory_amounts import memory_shown

DataIn = Literal["auto", "memory", "stream"]
SHARE = 0.25
"""Of the machine's memory that images may take by themselves. By what is free at the moment a run that goes on might
decide otherwise."""
MANY = 256


@dataclass(frozen=True)
class Reading:
    """What the options `--data-in`, `--readers` and `--skip-bad` say.

    Raises:
        InputError: a value that is not accepted.
    """

    skip_bad: bool = False
    """Leave out images that cannot be read."""
    data_in: DataIn = "auto"
    """Where images are: `memory`, `stream` (on disk, decoded as they are needed), or memory where they fit."""
    readers: int | None = None
    """Processes that decode batches that are streamed; 0 for threads, one process a core if not given."""

    def __post_init__(self):
        if self.data_in not in get_args(DataIn):
            raise InputError("--data-in", "unknown", found=self.data_in, accepted=", ".join(get_args(DataIn)))
        if self.readers is not None and not 0 <= self.readers <= MANY:
            raise InputError("--readers", "out of range", found=self.readers, accepted=f"0 to {MANY}")

    def of(self, dataset: Dataset) -> dict[str, Any]:
        """The fields with which another process reads the same data as they were read here: `Reading(**fields)`."""
        return asdict(replace(self, data_in="stream" if dataset.streamed else "memory"))

    @property
    def count(self) -> int:
        """Processes that decode; 0 for threads."""
        return default_readers() if self.readers is None else self.readers

    def streams(self, where: str, size: int, memory: int | None = None) -> tuple[bool, str]:
        """Whether images that take `size` bytes in memory stay on disk, and one line on it.

        The machine has `memory` bytes; this one's if not given.

        Raises:
            InputError: they were to be in memory, and are more than the bound.
            MissingExtra: processes are to stream them, and grain is not installed.
        """
        memory = whole() if memory is None else memory
        fits = size <= MAX_BYTES and (memory is None or size <= SHARE * memory)
        taken = f"{memory_shown(size)} as pixels"
        if self.data_in == "memory" and size > MAX_BYTES:
            accepted = f"up to {memory_shown(MAX_BYTES)}: --data-in stream, or a smaller --image-size"
            raise InputError(where, f"the images take {taken}", accepted=accepted)
        if self.data_in == "memory" or (self.data_in == "auto" and fits):
            return False, f"images are kept in memory: {taken}"
        if self.count:
            need("grain", "data", "install dnas[data], or read in threads with --readers 0")
        who = f"{self.count} processes" if self.count > 1 else "a process" if self.count else "threads"
        room = "" if memory is None else f" (the machine has {memory_shown(memory)})"
        why = ", as --data-in says" if self.data_in == "stream" else f": {taken} are too many for memory{room}"
        return True, f"images are streamed from disk, decoded by {who}{why}"


def refuse_arrays(reading: Reading, what: str) -> None:
    """Raises `InputError` where what is read whole was to be streamed."""
    if reading.data_in == "stream":
        accepted = "an image folder, tar, ArrayRecord or TFRecord files, or a data set of datasets"
        raise InputError("--data-in", f"{what} is read whole, and cannot be streamed", accepted=accepted)
