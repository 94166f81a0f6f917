"""One run in several processes, as a rule one a host: who they are, what the first one alone does, what all must know.

Every process is started with the same command and takes every step. The first one prints, has the run's folder and
writes; the others compute. What only it knows (a checkpoint, whether the result is there already) it tells the others
(`agreed`). Where a process is lost the others end: no step can be taken without it.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from typing import Any

from dnas.errors import InputError

AUTO = "auto"
LOST = "another process of this run was lost; start it again with --resume on every host, and it goes on"
MEMBER = "DNAS_HOST_MEMBER"
"""Marks the process that computes, which another one watches."""
HEARTBEAT_S = 30
"""After which a process that is silent counts as lost."""
LAST_S = 1.0
"""For which the first process stays, so that the others can say why they end."""
_TOLD_OF_LOSS = re.compile(r"distributed service|coordination|Coordination|Gloo|heartbeat")
_OF_LIBRARIES = re.compile(r"^([EFW]\d{4} |\[Gloo\]|Traceback \(most recent)")
LIVE = ("left out:", "note:", "warning")
"""How lines begin that are told as they are met, and never held back: they are dnas's own, and end nothing."""
_ORDERLY = (0, 2, 130, 143)
"""Exit codes of a command that has said why it ends."""


@dataclass(frozen=True)
class Hosts:
    """Where the processes of a run meet; by default there is one."""

    coordinator: str | None = None
    """HOST:PORT of the first one; `auto`: as the cluster says (TPU pod, Slurm, Open MPI, Kubernetes)."""
    processes: int | None = None
    process: int | None = None
    """Number of this one, from 0."""

    def __post_init__(self):
        given = self.processes is not None, self.process is not None
        if self.coordinator in (None, AUTO):
            if any(given):
                accepted = "--coordinator HOST:PORT beside them"
                raise InputError("--processes, --process", "nothing says where they meet", accepted=accepted)
            return
        if not re.fullmatch(r"\S+:\d+", self.coordinator):
            raise InputError("--coordinator", "no address", found=self.coordinator, accepted=f"HOST:PORT or {AUTO}")
        if self.processes is None or self.process is None:
            accepted = "--processes N --process I beside it, I from 0 on"
            raise InputError("--coordinator", "how many processes there are is not said", accepted=accepted)
        if not 0 <= self.process < self.processes:
            accepted = f"0 to {self.processes - 1}"
            raise InputError("--process", "out of range", found=self.process, accepted=accepted)

    @property
    def several(self) -> bool:
        return self.coordinator is not None

    def watched(self) -> None:
        """Of several processes this becomes one that watches another, which runs the same command and returns here.

        Libraries end a process whose peer is lost with pages of their own, in ways that Python cannot catch: whoever
        watches says it in a line. jax need not be imported yet.
        """
        if not self.several:
            return
        if not os.environ.pop(MEMBER, None):
            os._exit(_watch())
        threading.Thread(target=_end_with_watcher, daemon=True).start()

    def join(self) -> None:
        """Meets the others; before anything asks JAX for its devices."""
        if not self.several:
            return
        import jax

        own: dict[str, Any] = {}
        if self.coordinator != AUTO:
            own = {
                "coordinator_address": self.coordinator, "num_processes": self.processes, "process_id": self.process
            }  # fmt: skip
        try:
            jax.distributed.initialize(heartbeat_timeout_seconds=HEARTBEAT_S, **own)
        except (RuntimeError, ValueError) as error:
            said = str(error).partition("\n")[0]
            accepted = "an address that all processes reach, one process with each number"
            raise InputError("--coordinator", f"the processes do not meet: {said}", accepted=accepted) from error


ALONE = Hosts()


def several() -> bool:
    """Whether this process is one of several, which have met by `Hosts.join` or by JAX's own means."""
    jax = sys.modules.get("jax")  # without it nobody has met anybody
    return jax is not None and jax.distributed.is_initialized() and jax.process_count() > 1


def follows() -> bool:
    """Whether another process than this one prints and writes."""
    return several() and sys.modules["jax"].process_index() > 0


def agreed(value: Any) -> Any:
    """The first process's JSON value, in all of them; all must call this."""
    if not several():
        return value
    import numpy as np
    from jax.experimental import multihost_utils

    text = np.frombuffer(b"" if follows() else json.dumps(value).encode(), np.uint8).astype(np.int32)
    size = int(multihost_utils.broadcast_one_to_all(np.int32(len(text))))
    whole = np.zeros(size, np.int32) if follows() else text
    return json.loads(bytes(np.asarray(multihost_utils.broadcast_one_to_all(whole)).astype(np.uint8)))


def of_all(value: Any) -> list[Any]:
    """The JSON values of all processes, in the order of their numbers; all must call this."""
    if not several():
        return [value]
    import numpy as np
    from jax.experimental import multihost_utils

    text = np.frombuffer(json.dumps(value).encode(), np.uint8).astype(np.int32)
    sizes = np.asarray(multihost_utils.process_allgather(np.array([len(text)], np.int32))).reshape(-1)
    padded = np.zeros(int(sizes.max()), np.int32)
    padded[: len(text)] = text
    rows = np.asarray(multihost_utils.process_allgather(padded)).astype(np.uint8)
    return [json.loads(bytes(row[:size])) for row, size in zip(rows, sizes, strict=True)]


def arrays_of_first(tree: Any, like: Any) -> Any:
    """The first process's arrays in all of them, where those of `like` lie; all must call this."""
    if not several():
        return tree
    import jax
    from jax.experimental import multihost_utils

    whole = multihost_utils.broadcast_one_to_all(jax.device_get(tree))
    return jax.tree.map(lambda leaf, own: jax.device_put(leaf, own.sharding), whole, like)


def ends(code: int) -> None:
    """Ends a process of several that does not end well: at its exit it would wait for the others, which wait for it.

    The first one goes last. The others are ended as soon as it is gone, and may have the same mistake to tell.
    """
    if code and several():
        sys.stdout.flush()
        sys.stderr.flush()
        if not follows():
            time.sleep(LAST_S)
        os._exit(code)


def _watch() -> int:
    """Runs this command as a process of its own and says what became of it; its exit code."""
    member = subprocess.Popen(
        [sys.executable, *sys.orig_argv[1:]], env=os.environ | {MEMBER: "1"}, stdin=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, errors="replace", start_new_session=True,
    )  # fmt: skip
    received: list[int] = []

    def pass_on(number: int, _frame: object) -> None:
        received.append(number)
        member.send_signal(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, pass_on)
    assert member.stderr is not None
    held: list[str] = []
    for line in member.stderr:
        if (held or _OF_LIBRARIES.match(line)) and not line.startswith(LIVE):
            held.append(line)
        else:
            sys.stderr.write(line)
            sys.stderr.flush()
    code = member.wait()
    if code in _ORDERLY:
        sys.stderr.writelines(line for line in held if line.startswith(("error:", "stopped")))
        return code
    if received:  # the first process has saved, and left
        return 128 + received[0]
    if code == -signal.SIGABRT or _TOLD_OF_LOSS.search("".join(held)):
        print(f"error: {LOST}", file=sys.stderr)
        return 2
    sys.stderr.writelines(held)
    return code if code > 0 else 128 - code


def _end_with_watcher() -> None:
    """Returns never: standard input comes to an end when the process that watches this one is gone."""
    os.read(0, 1)  # not by a buffered file, whose lock would be missed at exit
    os._exit(128 + signal.SIGKILL)
