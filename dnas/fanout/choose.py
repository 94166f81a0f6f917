"""The pool that the options `--workers` and `--fanout` ask for."""

from __future__ import annotations

import os

from dnas.errors import InputError
from dnas.fanout import devices
from dnas.fanout.devices import Devices
from dnas.fanout.processes import Processes
from dnas.fanout.task import Pool

MOST = 256
HERE, RAY = "processes", "ray"
ACCEPTED = "processes, ray, HOST:PORT or ray://HOST:PORT of a Ray cluster"


def chosen(count: int | None = None, where: str = HERE, *, alone: bool = True) -> Pool:
    """As many tasks at a time as asked for, one a device if not.

    Args:
        count: of tasks at a time.
        where: `processes`, `ray`, or the address of a cluster.
        alone: from now on this process computes on the CPU alone, so that tasks have the devices for themselves; for a
            process that has not imported jax yet.

    Raises:
        InputError: a number out of range, a place that is none.
        UserError: JAX finds no device, no such cluster.
    """
    if count is not None and not 1 <= count <= MOST:
        raise InputError("--workers", "out of range", found=count, accepted=f"1 to {MOST}")
    if where not in (HERE, RAY) and ":" not in where:
        raise InputError("--fanout", "unknown", found=where, accepted=ACCEPTED)
    pool = _here(count) if where == HERE else _cluster(count, where)
    if alone:
        _leave_devices()
    return pool


def one_after_the_other(*, alone: bool = True) -> Pool:
    """For tasks that have processes of their own: one at a time, which sees all that this process did until now."""
    pool = Processes(1, Devices("cpu", 1), dict(os.environ))
    if alone:
        _leave_devices()
    return pool


def _leave_devices() -> None:
    """This process computes on the CPU; a pool that is there begins its processes with the environment as it was."""
    os.environ["JAX_PLATFORMS"] = "cpu"


def _here(count: int | None) -> Pool:
    environment = dict(os.environ)
    found = devices.found(environment)
    found.check(count or 1)
    return Processes(count or found.count, found, environment)


def _cluster(count: int | None, where: str) -> Pool:
    from dnas.fanout.cluster import connected

    return connected(None if where == RAY else where, count)
