"""The fields that a training recipe may hold: what is accepted, and what stands where one is left out. Jax-free."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from dnas.space.fields import Field, flag, integer, name

Number = Annotated[float, msgspec.Meta(ge=0, le=1e9)]
"""Of fields that are no integers."""


def _number(about: str, default: float, *, least: float = 0.0, most: float = 1e9, **rest: Any) -> Field:
    accepts = f"a number from {least:g}" + (f" to {most:g}" if most < 1e9 else "")
    return Field(Number, accepts, about, default, lambda v: least <= v <= most, **rest)


def _above_zero(about: str, default: float) -> Field:
    return Field(Number, "a number above 0", about, default, lambda v: v > 0)


def _share(about: str, default: float) -> Field:
    return Field(Number, "a number from 0, below 1", about, default, lambda v: v < 1)


def _epochs(about: str) -> Field:
    accepts = "a list of numbers above 0, rising"
    rising = lambda v: all(a < b for a, b in zip((0, *v), v, strict=False))  # noqa: E731
    return Field(tuple[Number, ...], accepts, about, (), rising, searchable=False)


FIELDS: dict[str, Field] = {
    "epochs": _above_zero("passes over the training images", 12.0),
    "batch_size": integer("images in a step", 128),
    "optimizer": name("rule of the step", ("sgd", "rmsprop", "adamw"), "sgd"),
    "lr": _above_zero("largest learning rate", 0.1),
    "lr_batch": integer("batch size for which lr is meant: it grows with batch_size / lr_batch; 0 for no scaling", 0,
                        least=0),
    "momentum": _share("of sgd and rmsprop", 0.9),
    "nesterov": flag("Nesterov's form of sgd's momentum", False),
    "rms_decay": _share("memory of rmsprop's mean square", 0.9),
    "beta1": _share("memory of adamw's mean", 0.9),
    "beta2": _share("memory of adamw's mean square", 0.999),
    "epsilon": _above_zero("added to the root of the mean square", 1e-8),
    "weight_decay": _number("pull to zero of everything but norms, biases and tables of positions, distances or tokens",
                            1e-4, most=1),
    "clip_norm": _number("largest norm of the gradient; 0 for no limit", 0.0),
    "clip_adaptive": _number("largest ratio of a unit's gradient to its weights (Brock et al. 2021); 0 for none", 0.0),
    "schedule": name("how the learning rate falls", ("cosine", "step", "exponential", "constant"), "cosine"),
    "lr_floor": _number("learning rate at the end of the cosine", 0.0),
    "warmup_epochs": _number("epochs in which it rises linearly", 0.0),
    "warmup_lr": _number("where it rises from", 0.0),
    "decay_epochs": _epochs("epochs at which 'step' multiplies by decay_rate; the first is 'exponential's period"),
    "decay_rate": Field(Number, "a number above 0, up to 1", "see decay_epochs", 0.1, lambda v: 0 < v <= 1),
    "label_smoothing": _share("share of the target spread evenly over all classes", 0.0),
    "mixup": _number("alpha of the Beta distribution of mixup (Zhang et al. 2018); 0 for none", 0.0, most=100),
    "cutmix": _number("alpha of cutmix (Yun et al. 2019); 0 for none", 0.0, most=100),
    "mix_probability": _number("probability of mixing a batch at all", 1.0, most=1),
    "mix_switch": _number("probability of cutmix where both are on", 0.5, most=1),
    "crop_padding": integer("largest random shift, in pixels of the data", 0, least=0, check=lambda v: v <= 64),
    "crop_area": Field(Number, "a number above 0, up to 1",
                       "least share of the image that a random crop shows; 1 for no crop", 1.0, lambda v: 0 < v <= 1),
    "flip": flag("mirror half of the images", False),
    "rand_augment": integer("RandAugment operations for an image (Cubuk et al. 2020); 0 for none", 0, least=0,
                            check=lambda v: v <= 10),
    "rand_magnitude": _number("their strength", 9.0, most=10),
    "rand_spread": _number("standard deviation of the strength", 0.5, most=10),
    "rand_probability": _number("probability of each operation", 0.5, most=1),
    "erase": _number("probability of filling a rectangle with noise (Zhong et al. 2020)", 0.0, most=1),
    "dropout": _share("share of the classifier's inputs set to zero", 0.0),
    "drop_path": _share("probability of skipping the last residual branch (Huang et al. 2016), less before", 0.0),
    "ema": _share("memory of the averaged weights, which are then the result; 0 for the last weights", 0.0),
    "distillation": name("what a teacher gives: its probabilities or its first guess", ("soft", "hard"), "soft"),
    "distillation_weight": _number("the teacher's share of the loss", 0.5, most=1),
    "distillation_temperature": _above_zero("softens both networks' probabilities ('soft')", 1.0),
    "manifold": _number("weight of a teacher's manifold of patches (Hao et al. 2022); 0 for none", 0.0),
    "manifold_intra": _number("of the likeness of the patches of an image, within that", 4.0),
    "manifold_inter": _number("of the likeness of the images at a position", 0.1),
    "manifold_random": _number("of the likeness of patches drawn from the whole batch", 0.2),
    "manifold_samples": integer("patches drawn for that", 192, least=2),
    "manifold_ends": integer("blocks compared at the beginning, and at the end, of those with equally many patches", 4),
    "validation": Field(Number, "a number above 0, below 1", "share of the training images that choose the best epoch",
                        0.1, lambda v: 0 < v < 1, searchable=False),  # accuracies on unequal images do not compare
}  # fmt: skip
