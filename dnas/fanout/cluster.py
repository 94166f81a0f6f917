"""Tasks on the machines of a Ray cluster (extra `ray`).

Ray decides which machine a task goes to, and gives it a GPU where the cluster has some. There it is a process as on
this machine (`dnas.fanout.processes`). Files are not sent: tasks read and write them by the same paths everywhere, so
the machines share a file system.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from typing import Any

from dnas.errors import InputError, UserError
from dnas.fanout.devices import THREADS
from dnas.fanout.processes import Process
from dnas.fanout.task import End, Pool, Running, Standing, Task
from dnas.process.extras import need

LOOK_S = 0.2


def connected(address: str | None, count: int | None) -> Pool:
    """The pool of a cluster: that at the address, else the one that the environment names or this machine is part of,
    else a new one of this machine alone.

    Raises `MissingExtra` without Ray, `UserError` where there is no such cluster or it cannot do so much at a time.
    """
    ray = need("ray", "ray")
    if not ray.is_initialized():
        _connect(ray, address)
    resources = ray.cluster_resources()
    machines = [int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]]
    machines = [cores for cores in machines if cores]
    gpus, cpus = int(resources.get("GPU", 0)), sum(machines)
    most = gpus or cpus
    if most < 1 or count is not None and count > most:
        raise InputError(
            "--workers", f"the cluster has {cpus} cores and {gpus} GPUs", found=count, accepted=f"up to {most}"
        )
    count = count or gpus or len(machines)
    return Cluster(ray, count, cores_of_each(machines, count), bool(gpus))


def cores_of_each(machines: Sequence[int], count: int) -> int:
    """The most cores that each of `count` tasks can have at the same time, no task on two machines; `machines` are the
    cores of each machine."""
    fit = (each for each in range(max(machines), 1, -1) if sum(cores // each for cores in machines) >= count)
    return next(fit, 1)


def _connect(ray: Any, address: str | None) -> None:
    quiet = {"log_to_driver": False, "logging_level": "error"}
    try:
        ray.init(address=address or "auto", **quiet)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        if address is not None:
            raise UserError(
                f"--fanout {address}: no Ray cluster answers there ({str(error).splitlines()[0]})"
            ) from error
        ray.init(include_dashboard=False, **quiet)


class Cluster:
    """Begins tasks on a cluster, `count` at a time."""

    def __init__(self, ray: Any, count: int, each: int, gpus: bool):
        self.ray, self.count = ray, count
        environment = {} if gpus or count == 1 else dict.fromkeys(THREADS, str(each))
        # Retries are ours, so that they are as many as on one machine.
        self.remote = ray.remote(performed).options(
            num_cpus=1 if gpus else each, num_gpus=1 if gpus else 0, max_retries=0, scheduling_strategy="SPREAD"
        )
        self.environment = environment

    def begin(self, task: Task, place: int) -> Running:
        """Hands a task to Ray."""
        return _Remote(self.ray, self.remote.remote(task.to_json(), self.environment, os.getcwd()))


class _Remote:
    """A task that Ray has."""

    def __init__(self, ray: Any, reference: Any):
        self.ray, self.reference, self.end = ray, reference, None

    def poll(self) -> End | None:
        if self.end is None and self.ray.wait([self.reference], timeout=0)[0]:
            self.end = self._ended()
        return self.end

    def standing(self) -> Standing:
        return Standing()

    def stop(self) -> None:
        self.ray.cancel(self.reference)

    def kill(self) -> None:
        if self.end is None:
            self.ray.cancel(self.reference, force=True)

    def _ended(self) -> End:
        try:
            return End(**self.ray.get(self.reference))
        except self.ray.exceptions.RayError as error:  # its process or its machine has gone, or it was told to leave
            return End(lost=f"by {type(error).__name__}")


def performed(task: Mapping[str, Any], environment: Mapping[str, str], directory: str) -> dict[str, Any]:
    """Performs a task in a process of the machine that Ray has chosen; its end."""
    process = Process(Task(**task), {**environment, **os.environ}, directory)
    try:
        while (end := process.poll()) is None:
            time.sleep(LOOK_S)
        return end._asdict()
    except KeyboardInterrupt:
        process.stop()
        while process.poll() is None:
            time.sleep(LOOK_S)
        raise
    finally:
        process.kill()
