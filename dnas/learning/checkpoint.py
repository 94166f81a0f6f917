"""Checkpoints of a long run: written beside the run (async), whole or not at all, the last few kept.

    checkpoints = Checkpoints(out / "checkpoints", identity={"options": ..., "data": ..., "versions": versions()})
    saved = checkpoints.restore(like=state) if resume and checkpoints.latest() is not None else None
    ...
    checkpoints.save(step, state, {"history": lines})
    checkpoints.close()

`identity` says what the run is: plain JSON values that must be the same for a continuation to mean anything. It is kept
inside every checkpoint; a run of another identity is refused with the first differences named. Storage is orbax: a
checkpoint becomes visible by one rename, so a run killed while it writes leaves the former one as the newest.
"""

from __future__ import annotations

import contextlib
import gc
import hashlib
import io
import json
import logging
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dnas.errors import InputError, cannot_write
from dnas.files import plain
from dnas.process import hosts
from dnas.runs.identity import differences, shortened

KEEP = 3


class Saved(NamedTuple):
    """A checkpoint as it was read back."""

    step: int
    state: Any
    notes: dict[str, Any]


class Checkpoints:
    """The checkpoints of one run in one folder.

    Args:
        folder: made where it is missing; holds nothing else.
        identity: nested mapping of JSON values, see the module's text.
        keep: how many of the newest stay.

    Raises:
        UserError: the folder cannot be made or written.
    """

    def __init__(self, folder: Path, identity: Mapping[str, Any], keep: int = KEEP):
        self.folder, self.identity = Path(folder).absolute(), plain(identity)
        self.keep = keep
        self._manager: Any = self._opened()

    def latest(self) -> int | None:
        """Step of the newest whole checkpoint."""
        self.wait()
        return self._manager.latest_step()

    def save(self, step: int, state: Any, notes: Mapping[str, Any]) -> None:
        """Begins to write `state` (a pytree of arrays, PRNG keys included) and `notes` (JSON) as checkpoint `step`.

        Returns once the values are copied: the caller may donate or change its arrays. A step that is there already
        is left alone.

        Raises:
            UserError: this or the former checkpoint could not be written.
        """
        import orbax.checkpoint as ocp

        copied = np.asarray if hosts.several() else jnp.copy
        arrays = jax.tree.map(copied, {name: leaf for name, leaf in _named(state).items() if leaf.size})
        document = _sealed({"identity": self.identity, "notes": dict(notes), "shapes": _shapes(arrays)})
        with self._writing(step):
            if step in self._manager.all_steps():
                return
            self._manager.save(
                step,
                args=ocp.args.Composite(state=ocp.args.StandardSave(arrays), document=ocp.args.JsonSave(document)),
            )

    def wait(self) -> None:
        """Returns when what was saved is on disk; raises `UserError` where it could not be written."""
        with self._writing(None):
            self._manager.wait_until_finished()

    def restore(self, like: Any, *, force: bool = False) -> Saved:
        """The newest checkpoint, in the structure (and on the devices) of `like`, arrays or shapes.

        `force` continues a run of another identity as long as the shapes agree.

        Raises:
            InputError: none there, one that cannot be read, of another identity, or of other shapes.
        """
        import orbax.checkpoint as ocp

        step = self.latest()
        if step is None:
            raise InputError(str(self.folder), "no checkpoint to continue from", accepted="a run without --resume")
        args = ocp.args.Composite(document=ocp.args.JsonRestore())
        with self._reading(step):
            document = self._manager.restore(step, args=args)["document"]
            if document != _sealed({key: document[key] for key in document if key != "digest"}):
                raise ValueError("its document was changed after it was written")
        self._check_identity(step, document["identity"], force)
        wanted = {name: leaf for name, leaf in _named(like).items() if leaf.size}
        self._check_shapes(step, _shapes(wanted), document["shapes"])
        targets = {name: _target(leaf) for name, leaf in wanted.items()}
        with self._reading(step):
            args = ocp.args.Composite(state=ocp.args.StandardRestore(targets))
            arrays = self._manager.restore(step, args=args)["state"]
        leaves = [arrays.get(name, leaf) for name, leaf in _named(like).items()]
        leaves = [jnp.zeros(v.shape, v.dtype) if isinstance(v, jax.ShapeDtypeStruct) else v for v in leaves]
        return Saved(step, jax.tree.unflatten(jax.tree.structure(like), leaves), document["notes"])

    def remove(self) -> None:
        """Ends the writing thread and removes the folder: the run is complete."""
        self.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def close(self) -> None:
        """Waits for what was saved and ends the writing thread."""
        if self._manager is not None:
            try:
                self.wait()
            finally:
                self._manager.close()
                self._manager = None

    def __enter__(self) -> Checkpoints:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def _opened(self) -> Any:
        import orbax.checkpoint as ocp  # takes half a second

        alone: dict[str, Any] = {}
        if hosts.several():  # the first of several processes writes, and waits for nobody
            own = ocp.options.MultiprocessingOptions(active_processes={0}, barrier_sync_key_prefix="dnas")
            alone = {"multiprocessing_options": own, "create": False}
        options = ocp.CheckpointManagerOptions(max_to_keep=self.keep, **alone)
        with self._writing(None):
            self.folder.mkdir(parents=True, exist_ok=True)
            self._clear_remains()
            try:
                return ocp.CheckpointManager(self.folder, options=options)
            except (OSError, ValueError):
                raise
            except Exception as error:  # damage again: whatever its parsers raise
                problem = f"holds no readable checkpoints: {_first_line(error)}"
                raise InputError(
                    str(self.folder), problem, accepted="an empty folder: remove it to begin anew"
                ) from error

    def _clear_remains(self) -> None:
        """Removes what was left of checkpoints that were not written to their end."""
        for remains in self.folder.glob("*.orbax-checkpoint-tmp*"):
            shutil.rmtree(remains, ignore_errors=True)

    def _check_identity(self, step: int, stored: Any, force: bool) -> None:
        found = differences(stored, self.identity)
        if found and not force:
            raise InputError(
                str(self.folder / str(step)), f"a checkpoint of another run: {shortened(found)}",
                accepted="the same options, data and versions, or --force",
            )  # fmt: skip

    def _check_shapes(self, step: int, wanted: Mapping[str, str], stored: Mapping[str, str]) -> None:
        where, other = str(self.folder / str(step)), "a checkpoint of another run"
        for name in (*wanted, *stored):
            if name not in stored or name not in wanted:
                problem = "misses" if name in wanted else "holds, beyond what this run needs,"
                raise InputError(where, f"{other}: it {problem} '{name}'")
            if stored[name] != wanted[name]:
                raise InputError(where, f"{other}: shape of '{name}'", found=stored[name], accepted=wanted[name])

    @contextmanager
    def _writing(self, step: int | None) -> Iterator[None]:
        try:
            with quiet():
                yield
        except (OSError, ValueError) as error:  # a full disk reaches us as either
            self._clear_remains()
            what = "a checkpoint" if step is None else f"the checkpoint of step {step}"
            raise cannot_write(self.folder, error, what) from error

    @contextmanager
    def _reading(self, step: int) -> Iterator[None]:
        try:
            with quiet():
                yield
        except Exception as error:  # damage shows in many ways: missing files, bad JSON, failed checksums
            former = max((s for s in self._manager.all_steps() if s < step), default=None)
            accepted = "a run without --resume" if former is None else f"remove it to continue from step {former}"
            problem = f"not a readable checkpoint: {_first_line(error)}"
            raise InputError(str(self.folder / str(step)), problem, accepted=accepted) from error


@contextmanager
def quiet() -> Iterator[None]:
    """Damage is told in one line of ours: what orbax logs, and what its threads print when a read fails, is not.

    What a thread that reads images tells meanwhile comes afterwards.
    """
    loggers = [logging.getLogger(name) for name in ("absl", "asyncio")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        with contextlib.redirect_stderr(io.StringIO()) as printed:
            try:
                yield
            except Exception:
                # Reads that were under way end in their own threads, which find their event loop closed; tasks that
                # nobody waited for complain when they are collected.
                time.sleep(0.1)
                gc.collect()
                raise
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        for line in printed.getvalue().splitlines():
            if line.startswith(hosts.LIVE):
                print(line, file=sys.stderr, flush=True)


def _sealed(document: Mapping[str, Any]) -> dict[str, Any]:
    """The document with a digest of itself: arrays are checked by their own format, JSON is not."""
    plain = json.loads(json.dumps(document))
    text = json.dumps(plain, sort_keys=True)
    return plain | {"digest": hashlib.sha256(text.encode()).hexdigest()}


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:300]


def _named(tree: Any) -> dict[str, Any]:
    """Path -> leaf, in the order of the tree's leaves."""
    return {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def _shapes(leaves: Mapping[str, Any]) -> dict[str, str]:
    """`float32[3,4]` for each leaf."""
    return {name: f"{leaf.dtype}[{','.join(map(str, leaf.shape))}]" for name, leaf in leaves.items()}


def _is_key(leaf: Any) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _target(leaf: Any) -> Any:
    """What is restored in the place of `leaf`: its shape, and the devices it lies on."""
    if _is_key(leaf) and isinstance(leaf, jax.Array):
        return leaf
    if hosts.several():
        return np.zeros(leaf.shape, leaf.dtype)
    sharding = getattr(leaf, "sharding", None) or jax.sharding.SingleDeviceSharding(jax.devices()[0])
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)
