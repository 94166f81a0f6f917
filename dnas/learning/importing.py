"""Weights that come from elsewhere as a result folder, which every command takes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dnas.cost.count import count
from dnas.data.hugging_face import PROCESSOR, processor_beside
from dnas.errors import InputError, UserError
from dnas.files import write_json
from dnas.files.sets import current
from dnas.graph.architecture import Architecture, architecture
from dnas.learning import weights
from dnas.nn.inherit import inherit
from dnas.process.provenance import provenance
from dnas.runs import lineage
from dnas.runs.folder import PROVENANCE, Claiming, Owner, claimed
from dnas.runs.read import read_run
from dnas.runs.result import ARCHITECTURE, WEIGHTS, Result, read_result, result_of
from dnas.space.space import Space
from dnas.timm import checkpoint, models
from dnas.timm.identify import identified

CHUNK = 1 << 24


def import_weights(space: Space, file: Path, out: Path, claiming: Claiming, say: Callable[[str], None]) -> Path | None:
    """Writes a result folder of an architecture with the weights of a file, timm's or ours; the folder.

    The network has as many classes as the checkpoint; `say` is told what was left out or changed.

    Raises:
        UserError: a file that cannot be read or is of another network, a folder that holds something else.
    """
    result = _result(space, file)
    if Path(space.source).resolve().parent == out.resolve():
        raise UserError(f"--out {out}: the folder of the architecture itself; name another one")
    if file.resolve() == (out / WEIGHTS).resolve():
        raise UserError(f"--out {out}: the folder of the checkpoint itself; name another one")
    variables = weights.load(file, result.network)
    own = architecture(result.network, {})
    document = _document(result, own, file)
    identity = {"architecture": weights.fingerprint(own.network), **document["imported"]}
    with claimed(out, Owner("weights", identity), claiming, say) as claim:
        with claim.result(check) as staged:
            weights.save(staged / WEIGHTS, own.network, inherit(variables, own))
            write_json(staged / ARCHITECTURE, document)
            if result.preprocessing is not None:
                write_json(staged / PROCESSOR, processor_beside(document))
            origin = {"architecture_file": space.source, "weights_file": str(file)}
            write_json(staged / PROVENANCE, provenance() | origin | claim.record(staged))
        for note in document["imported"]["notes"]:
            say(f"note: {note}")
        return claim.folder


def check(folder: Path) -> None:
    """Reads a result as every later command does; raises `InputError` where one of them could not."""
    result = read_result(folder)
    assert result.weights is not None
    weights.load(result.weights, result.network)
    read_run(folder)


def _result(space: Space, file: Path) -> Result:
    """The architecture with the weights; where they do not fit, those that they fit are named."""
    try:
        return result_of(space, file)
    except InputError as error:
        fitting = [name for name in identified(file).fits if name != space.name]
        if not fitting or not space.is_architecture:
            raise
        raise UserError(f"{error}; it fits {', '.join(fitting)}") from error


def _document(result: Result, own: Architecture, file: Path) -> dict[str, Any]:
    """The architecture's file; the weights' is named without its folder."""
    counted, network = count(result.network), result.network
    timms = checkpoint.is_timms(file)
    known = {} if result.preprocessing is None else {"preprocessing": result.preprocessing.to_json()}
    return {
        **own.data,
        "costs": {name: counted[name] for name in ("macs", "params", "input", "convention")},
        **known,
        "labels": list(result.labels),
        **({"lineage": lineage.to_json(before)} if (before := lineage.lineage(result)) else {}),
        "imported": {
            "names": "timm" if timms else "dnas",
            **({"model": name} if timms and (name := models.model_of(network)) else {}),
            "file": file.name,
            "sha256": _digest(file),
            "notes": [*result.notes, *(models.notes_of(network, file) if timms else [])],
        },
    }


def _digest(file: Path) -> str:
    digest = hashlib.sha256()
    with current(file).open("rb") as stream:
        while part := stream.read(CHUNK):
            digest.update(part)
    return digest.hexdigest()
