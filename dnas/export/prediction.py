"""Pictures in, class probabilities out: by dnas' own weights, or by an exported ONNX file that says all it needs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dnas.data.picture import Unreadable, read_picture
from dnas.data.preprocess import COLOURS, Preprocessing, prepare
from dnas.errors import InputError
from dnas.export import onnx as onnx_export
from dnas.export.delivery import INPUT, LABELS, PREPROCESSING
from dnas.files import parse_json, read_bytes, text_of
from dnas.learning.evaluator import batch_size, scores
from dnas.runs.result import Result

MAX_ONNX = 4 << 30
THREADS = 8


@dataclass(frozen=True, eq=False)
class Predictor:
    """A network with all it takes to name what pictures show."""

    what: str
    """Where it comes from."""
    preprocessing: Preprocessing
    labels: tuple[str, ...]
    scores: Callable[[np.ndarray], Any]
    """uint8 [N, S, S, C] -> logits [N, classes]"""


@dataclass(frozen=True, eq=False)
class Answer:
    """Of one picture: a probability for each class, or why it cannot be read."""

    file: str
    probabilities: np.ndarray | None
    reason: str = ""


def of_result(result: Result) -> Predictor:
    """The network of a result folder, or of a file with weights.

    Raises:
        InputError: no weights, no recorded preprocessing, or one that is not of pictures.
    """
    import jax

    from dnas.learning import weights

    where = result.space.source
    if result.weights is None:
        raise InputError(where, "no weights beside it", accepted="--weights FILE.safetensors, or a result folder")
    if result.preprocessing is None:
        raise InputError(
            where, "does not record how pictures reach it", accepted="a result of dnas.search or dnas.train"
        )
    _check_channels(where, result.preprocessing)
    variables = weights.load(result.weights, result.network)
    scored = jax.jit(scores(result.network, result.preprocessing))
    labels = result.labels or _numbers(result.network.classes)
    return Predictor(str(result.weights), result.preprocessing, labels, lambda images: scored(variables, images))


def of_onnx(file: Path, result: Result | None = None) -> Predictor:
    """An ONNX file of `dnas.export`: its metadata name the preprocessing and the classes.

    Raises:
        InputError: not such a file, or with `result` one that was not exported from it.
        MissingExtra: onnxruntime is not installed.
    """
    where = str(file)
    data = read_bytes(file, MAX_ONNX)
    try:
        session = onnx_export.session(data)
    except Exception as error:  # onnxruntime raises classes of its own, one a kind of damage
        if type(error).__module__.partition(".")[0] != "onnxruntime":
            raise
        raise InputError(where, f"not an ONNX file that runs here: {str(error).splitlines()[0][:200]}") from error
    found = session.get_modelmeta().custom_metadata_map
    if PREPROCESSING not in found:
        raise InputError(
            where, f"no {PREPROCESSING} in its metadata", accepted="a file of dnas.export, from a result folder"
        )
    told = {key: parse_json(found[key], f"{where}: {key}") for key in (PREPROCESSING, LABELS, INPUT) if key in found}
    preprocessing = Preprocessing.from_json(told[PREPROCESSING], f"{where}: {PREPROCESSING}")
    _check_channels(where, preprocessing)
    classes = session.get_outputs()[0].shape[-1]
    labels = tuple(map(str, told.get(LABELS, ()))) or _numbers(classes)
    if len(labels) != classes:
        raise InputError(f"{where}: {LABELS}", "of another network", found=len(labels), accepted=f"{classes} names")
    if result is not None and (result.preprocessing, result.labels) != (preprocessing, labels):
        accepted = "a file exported from it, or no result folder"
        raise InputError(
            where, f"not of {result.space.source}: another preprocessing or other classes", accepted=accepted
        )
    given = preprocessing.taken_at(preprocessing.side)  # the graph takes the grid itself

    def run(images: np.ndarray) -> Any:
        x = np.asarray(prepare(images, given)).transpose(0, 3, 1, 2)
        return session.run(None, {session.get_inputs()[0].name: np.ascontiguousarray(x)})[0]

    return Predictor(where, preprocessing, labels, run)


def predict(
    predictor: Predictor, files: Sequence[Path], progress: Callable[[int], None] = lambda done: None
) -> Iterator[Answer]:
    """Answers in the order of the files, read in threads, a batch at a time; `progress` is told how many are done."""
    p = predictor.preprocessing
    batch = min(batch_size(p.side), len(files))

    def read(file: Path) -> np.ndarray | str:
        if not file.is_file():
            return "not a file" if file.exists() else "no such file"
        try:
            return read_picture(file, p.side, p.channels).pixels
        except Unreadable as error:
            return error.reason

    with ThreadPoolExecutor(THREADS) as pool:
        for start in range(0, len(files), batch):
            part = files[start : start + batch]
            pictures = list(pool.map(read, part))
            answers = iter(_probabilities(predictor, [x for x in pictures if not isinstance(x, str)], batch))
            for file, picture in zip(part, pictures, strict=True):
                bad = isinstance(picture, str)
                yield Answer(text_of(str(file)), None if bad else next(answers), picture if bad else "")
            progress(start + len(part))


def _probabilities(predictor: Predictor, pictures: Sequence[np.ndarray], batch: int) -> np.ndarray:
    """[len(pictures), classes], by batches of one size: one compiled program."""
    if not pictures:
        return np.zeros((0, len(predictor.labels)))
    images = np.stack(pictures)[np.arange(batch) % len(pictures)]
    logits = np.asarray(predictor.scores(images), np.float64)[: len(pictures)]
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    return shares / shares.sum(axis=1, keepdims=True)


def _check_channels(where: str, preprocessing: Preprocessing) -> None:
    if preprocessing.channels not in COLOURS:
        raise InputError(where, f"takes {preprocessing.channels} channels, which no picture has", accepted="1 or 3")


def _numbers(classes: int) -> tuple[str, ...]:
    return tuple(map(str, range(classes)))
