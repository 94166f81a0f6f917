"""What tasks run on: the environment of each process, so that each has a device, or cores, of its own."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from dnas.errors import InputError, UserError

THREADS = ("NPROC", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
"""What says how many threads a process has: of XLA on CPUs, and of the libraries that numpy and the CPU wing use."""
VISIBLE = {
    "cuda": ("CUDA_VISIBLE_DEVICES",),
    "rocm": ("ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES"),
    "tpu": ("TPU_VISIBLE_CHIPS",),
}
"""Platform -> what says which devices a process sees: the last one that the user has set, which counts within those
before it, else the first."""
TPU_PORT = 8476
"""Of the first of several processes on the TPUs of a machine; each needs its own."""
_ASK = (
    "import jax; d = jax.devices()[0]; version = d.client.platform_version;"
    "print(d.platform, 'rocm' if 'rocm' in version.lower() else 'other', jax.local_device_count())"
)


@dataclass(frozen=True)
class Devices:
    """The devices of a machine."""

    platform: str
    """`cpu`, `cuda`, `rocm` or `tpu`."""
    count: int
    """Of a CPU 1: its cores are one device."""
    cores: int = 1

    def environment(self, place: int, workers: int, given: Mapping[str, str]) -> dict[str, str]:
        """Of the process at a place among so many: a device of its own, shared where there are fewer devices; on a CPU
        its share of the cores. What the user has set of threads and of memory stays."""
        if self.platform == "cpu":
            return self._of_cores(workers) | dict(given)
        names = VISIBLE.get(self.platform)
        if names is None:
            return dict(given)
        name = next((known for known in reversed(names) if given.get(known)), names[0])
        visible = (given.get(name) or ",".join(map(str, range(self.count)))).split(",")
        chosen = {name: visible[place % len(visible)]}
        if self.platform == "tpu":
            return {**given, **chosen, **_tpu_process(place)}
        sharing = math.ceil(workers / self.count)
        more = {} if sharing == 1 else {"XLA_PYTHON_CLIENT_MEM_FRACTION": f"{0.9 / sharing:.3f}"}
        return {**more, **given, **chosen}

    def _of_cores(self, workers: int) -> dict[str, str]:
        return {} if workers == 1 else dict.fromkeys(THREADS, str(max(1, self.cores // workers)))

    def check(self, workers: int) -> None:
        """Raises `InputError` where a device cannot be shared by so many."""
        if self.platform == "tpu" and workers > self.count:
            accepted = f"up to {self.count}, one for each chip"
            raise InputError("--workers", "processes cannot share a TPU", found=workers, accepted=accepted)


def _tpu_process(place: int) -> dict[str, str]:
    """One chip that belongs to no slice: its process talks to no other."""
    port = str(TPU_PORT + place)
    return {
        "TPU_PROCESS_BOUNDS": "1,1,1", "TPU_CHIPS_PER_PROCESS_BOUNDS": "1,1,1", "CLOUD_TPU_TASK_ID": "0",
        "TPU_PROCESS_ADDRESSES": f"localhost:{port}", "TPU_PROCESS_PORT": port,
    }  # fmt: skip


def cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def found(environment: Mapping[str, str]) -> Devices:
    """Those that a process would find; asked of one, as this one must not take any of their memory."""
    asked = subprocess.run([sys.executable, "-P", "-c", _ASK], capture_output=True, text=True, env=dict(environment))
    words = asked.stdout.split()
    if asked.returncode or len(words) != 3:
        raise UserError(f"JAX finds no device: {(asked.stderr.strip().splitlines() or [''])[-1]}")
    platform, kind, count = words[0], words[1], int(words[2])
    if platform == "cpu":
        return Devices("cpu", 1, cores())
    return Devices({"gpu": "rocm" if kind == "rocm" else "cuda"}.get(platform, platform), count, cores())
