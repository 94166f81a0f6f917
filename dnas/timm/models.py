"""Models of timm that the catalogue has, and how pictures reached them there."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from dnas.data.preprocess import Preprocessing
from dnas.grammar.catalogue import SUFFIXES
from dnas.grammar.read import at_input
from dnas.space.space import Space
from dnas.timm.checkpoint import classes_of
from dnas.timm.config import CONFIG, config_beside


class Statistics(NamedTuple):
    """Of the colours, in units of values from 0 to 1."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


IMAGENET = Statistics((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALVES = Statistics((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


class Model(NamedTuple):
    """A model of timm and how it is evaluated there."""

    architecture: str
    """Its name in the catalogue."""
    crop: float
    """Side of the square in the middle over the shortest edge of the resized picture."""
    interpolation: str
    statistics: Statistics = IMAGENET


MODELS = {
    "fbnetc_100": Model("timm_fbnetc_100", 0.875, "bilinear"),
    **{f"fbnetv3_{n}": Model(f"timm_fbnetv3_{n}", 0.95, "bilinear") for n in "bdg"},
    **{f"efficientformer_{n}": Model(f"efficientformer_{n}", 0.95, "bicubic") for n in ("l1", "l3", "l7")},
    **{f"efficientformerv2_{n}": Model(f"efficientformerv2_{n}", 0.95, "bicubic") for n in ("s0", "s1", "s2", "l")},
    "deit_tiny_patch16_224": Model("deit_ti", 0.9, "bicubic"),
    "deit_small_patch16_224": Model("deit_s", 0.9, "bicubic"),
    "deit_base_patch16_224": Model("deit_b", 0.9, "bicubic"),
    "deit_tiny_distilled_patch16_224": Model("deit_ti_distilled", 0.9, "bicubic"),
    "deit_small_distilled_patch16_224": Model("deit_s_distilled", 0.9, "bicubic"),
    "deit_base_distilled_patch16_224": Model("deit_b_distilled", 0.9, "bicubic"),
    "swin_tiny_patch4_window7_224": Model("swin_t", 0.9, "bicubic"),
    "swin_small_patch4_window7_224": Model("swin_s", 0.9, "bicubic"),
    "swin_base_patch4_window7_224": Model("swin_b", 0.9, "bicubic"),
    "swin_s3_tiny_224": Model("s3_t", 0.9, "bicubic"),
    "swin_s3_small_224": Model("s3_s", 0.9, "bicubic"),
    "swin_s3_base_224": Model("s3_b", 0.9, "bicubic"),
    "tnt_s_patch16_224": Model("tnt_s", 0.9, "bicubic", HALVES),
    "tnt_b_patch16_224": Model("tnt_b", 0.9, "bicubic", HALVES),
}
"""By timm's names."""
_BY_ARCHITECTURE = {model.architecture: name for name, model in MODELS.items()}


def architecture_of(name: str) -> str:
    """The catalogue's name of a model of timm, which may have a tag (`deit_tiny_patch16_224.fb_in1k`); other names,
    and those of files, stay as they are."""
    file = name.lower().endswith(SUFFIXES) or os.path.isfile(name)
    model = None if file else MODELS.get(name.partition(".")[0])
    return model.architecture if model else name


def model_of(space: Space) -> str | None:
    """Timm's name of an architecture of the catalogue."""
    return _BY_ARCHITECTURE.get(space.name)


def model_for(space: Space, weights: Path) -> Model | None:
    """How a checkpoint's model is evaluated in timm: as the `config.json` beside it says, else as timm's model of the
    architecture is; None where neither is known."""
    name, config = model_of(space), config_beside(weights)
    model = MODELS[name] if name else None
    if config is None or config.mean is None or config.std is None:
        return model
    usual = model or Model(space.name, 1.0, "bilinear")
    mean, std = (each * space.channels if len(each) == 1 else each for each in (config.mean, config.std))
    if {len(mean), len(std)} != {space.channels}:
        return model
    statistics = Statistics(mean, std)
    return Model(space.name, config.crop or usual.crop, config.interpolation or usual.interpolation, statistics)


def preprocessing_of(space: Space, weights: Path) -> Preprocessing | None:
    """How pictures reach timm's weights of an architecture, as far as a record here can say it; ImageNet's statistics
    where that is not known, None where the colours are not three."""
    if space.channels != 3:
        return None
    model = model_for(space, weights)
    mean, std = model.statistics if model else IMAGENET
    return Preprocessing(space.resolution.value, 3, mean, std)


def labels_of(space: Space, weights: Path) -> tuple[str, ...]:
    """Names of the classes, where the `config.json` beside a checkpoint has one for each."""
    config = config_beside(weights)
    return config.labels if config is not None and len(config.labels) == space.classes else ()


def notes_of(space: Space, weights: Path) -> list[str]:
    """What is left out of what lies beside a checkpoint, and what a record of the preprocessing cannot say."""
    return _notes_of_labels(space, weights) + _notes_of_preprocessing(space, weights)


def _notes_of_labels(space: Space, weights: Path) -> list[str]:
    config = config_beside(weights)
    if config is None or len(config.labels) in (0, space.classes):
        return []
    found = f"{weights.with_name(CONFIG)} names {len(config.labels):,} classes"
    return [f"classes have no names: {found}, the network has {space.classes:,}"]


def _notes_of_preprocessing(space: Space, weights: Path) -> list[str]:
    model, side = model_for(space, weights), space.resolution.value
    if space.channels != 3:
        return []
    if model is None:
        return ["preprocessing not known: taken to be that of ImageNet"]
    if (model.crop, model.interpolation) == (1.0, "bilinear"):
        return []
    edge = int(side / model.crop)
    return [
        f"timm resizes pictures to a shortest edge of {edge} px ({model.interpolation}) and takes the {side} px in the "
        f"middle; here the shortest edge becomes {side} px (bilinear), so accuracies differ by a little"
    ]


def with_its_classes(space: Space, weights: Path) -> Space:
    """The architecture with as many classes as a checkpoint of timm has."""
    classes = classes_of(weights, space)
    if classes in (None, space.classes):
        return space
    return at_input(space, channels=space.channels, classes=classes, side=space.resolution.value)
