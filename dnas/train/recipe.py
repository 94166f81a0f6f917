"""Training recipes as data, in the manner of space files: each field a value or a choice.

    name: mine
    epochs: 12
    optimizer: sgd
    lr: 0.1
    mixup: {choices: [0, 0.2]}          # a choice makes it a space of recipes; a training needs values

A search space may hold such fields in its section `recipe:`: a joint search finds architecture and recipe together.
Jax-free. `FIELDS` says what a recipe may hold, what is accepted, and what stands where a field is left out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import msgspec

from dnas.errors import InputError, suggestion
from dnas.files import Document, read_document
from dnas.grammar.catalogue import find_recipe
from dnas.space.fields import ACCEPTED, Field, Options, flag, integer, name
from dnas.space.quantity import Assignment, Choice, Quantity, union
from dnas.space.space import Space

SECTION = "recipe"
"""Of a search space's file, with fields of its own."""
TIMED = ("warmup_epochs", "decay_epochs")
"""Fields that are points in a training: they scale with its epochs."""
_Number = Annotated[float, msgspec.Meta(ge=0, le=1e9)]


def _number(about: str, default: float, *, least: float = 0.0, most: float = 1e9, **rest: Any) -> Field:
    accepts = f"a number from {least:g}" + (f" to {most:g}" if most < 1e9 else "")
    return Field(_Number, accepts, about, default, lambda v: least <= v <= most, **rest)


def _above_zero(about: str, default: float) -> Field:
    return Field(_Number, "a number above 0", about, default, lambda v: v > 0)


def _share(about: str, default: float) -> Field:
    return Field(_Number, "a number from 0, below 1", about, default, lambda v: v < 1)


def _epochs(about: str) -> Field:
    accepts = "a list of numbers above 0, rising"
    rising = lambda v: all(a < b for a, b in zip((0, *v), v, strict=False))  # noqa: E731
    return Field(tuple[_Number, ...], accepts, about, (), rising, searchable=False)


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
    "weight_decay": _number("pull to zero of everything but norms and biases", 1e-4, most=1),
    "clip_norm": _number("largest norm of the gradient; 0 for no limit", 0.0),
    "clip_adaptive": _number("largest ratio of a unit's gradient to its weights (Brock et al. 2021); 0 for none", 0.0),
    "schedule": name("how the learning rate falls", ("cosine", "step", "exponential", "constant"), "cosine"),
    "lr_floor": _number("learning rate at the end of the cosine", 0.0),
    "warmup_epochs": _number("epochs in which it rises linearly", 0.0),
    "warmup_lr": _number("where it rises from", 0.0),
    "decay_epochs": _epochs("epochs at which 'step' multiplies by decay_rate; the first is 'exponential's period"),
    "decay_rate": Field(_Number, "a number above 0, up to 1", "see decay_epochs", 0.1, lambda v: 0 < v <= 1),
    "label_smoothing": _share("share of the target spread evenly over all classes", 0.0),
    "mixup": _number("alpha of the Beta distribution of mixup (Zhang et al. 2018); 0 for none", 0.0, most=100),
    "cutmix": _number("alpha of cutmix (Yun et al. 2019); 0 for none", 0.0, most=100),
    "mix_probability": _number("probability of mixing a batch at all", 1.0, most=1),
    "mix_switch": _number("probability of cutmix where both are on", 0.5, most=1),
    "crop_padding": integer("largest random shift, in pixels of the data", 0, least=0, check=lambda v: v <= 64),
    "crop_area": Field(_Number, "a number above 0, up to 1",
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
    "validation": Field(_Number, "a number above 0, below 1", "share of the training images that choose the best epoch",
                        0.1, lambda v: 0 < v < 1, searchable=False),  # accuracies on unequal images do not compare
}  # fmt: skip


@dataclass(frozen=True)
class Recipe:
    """One recipe: the fields of `FIELDS`, all with values; hashable."""

    name: str
    epochs: float
    batch_size: int
    optimizer: str
    lr: float
    lr_batch: int
    momentum: float
    nesterov: bool
    rms_decay: float
    beta1: float
    beta2: float
    epsilon: float
    weight_decay: float
    clip_norm: float
    clip_adaptive: float
    schedule: str
    lr_floor: float
    warmup_epochs: float
    warmup_lr: float
    decay_epochs: tuple[float, ...]
    decay_rate: float
    label_smoothing: float
    mixup: float
    cutmix: float
    mix_probability: float
    mix_switch: float
    crop_padding: int
    crop_area: float
    flip: bool
    rand_augment: int
    rand_magnitude: float
    rand_spread: float
    rand_probability: float
    erase: float
    dropout: float
    drop_path: float
    ema: float
    distillation: str
    distillation_weight: float
    distillation_temperature: float
    manifold: float
    manifold_intra: float
    manifold_inter: float
    manifold_random: float
    manifold_samples: int
    manifold_ends: int
    validation: float

    @property
    def peak_lr(self) -> float:
        """The largest learning rate at this batch size."""
        return self.lr * self.batch_size / self.lr_batch if self.lr_batch else self.lr

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, which a recipe file may hold as they are."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    def to_yaml(self) -> str:
        """The recipe's file, every field stated."""
        lines = [f"{key}: {msgspec.json.encode(value).decode()}" for key, value in self.to_json().items()]
        return "\n".join(lines) + "\n"


@dataclass(frozen=True, eq=False)
class RecipeSpace:
    """A recipe file: each field a quantity over the file's choices."""

    name: str
    document: Document
    fields: Mapping[str, Quantity]
    choices: tuple[Choice, ...]
    scaled: Mapping[str, float] = field(default_factory=dict)
    """Fields that count epochs -> the whole number of epochs that they were written for, where another is taken."""

    def at(self, assignment: Assignment) -> Recipe:
        """The recipe in which each choice takes the option of the given index; raises `InputError` (see `checked`)."""
        values = {key: quantity.at(assignment) for key, quantity in self.fields.items()}
        for key, epochs in self.scaled.items():
            values[key] = _scaled(values[key], values["epochs"] / epochs)
        return checked(Recipe(self.name, **values), self.document)

    def fixed(self) -> Recipe:
        """The one recipe of a file without choices; raises `InputError` naming the choices."""
        if self.choices:
            names = ", ".join(choice.name for choice in self.choices)
            raise InputError(self.document.path, f"a space of recipes: {names} are choices", accepted="values")
        return self.at({})


def read_recipe(source: str | Path) -> RecipeSpace:
    """A recipe by name or path.

    Raises:
        InputError: no such recipe; an unknown field or a value that is not accepted, with file and line.
    """
    document = read_document(find_recipe(source))
    data = document.data
    if not isinstance(data, dict):
        raise InputError(document.path, "not a recipe", found=data, accepted="field: value lines")
    own = {key: value for key, value in data.items() if key not in ("name", "about")}
    stated = _read(document, own, ())
    fields = {key: Quantity.constant(field.default) for key, field in FIELDS.items()} | stated
    title = data.get("name", Path(document.path).stem)
    if not isinstance(title, str):
        raise InputError(document.where(("name",)), "not text", found=title)
    return RecipeSpace(title, document, fields, union(stated.values()))


def joined(base: RecipeSpace, space: Space) -> RecipeSpace:
    """The recipe with the fields of the space's section `recipe` in place of its own.

    Its choices are named as those of the space, by the path of their field: `recipe.lr`. Where the section has other
    epochs, the recipe's warm-up and milestones scale with them, unless the section has them as well.

    Raises:
        InputError: an unknown field or a value that is not accepted, with file and line.
    """
    own = _read(space.document, space.recipe, (SECTION,))
    rest = {key: _renamed(quantity, f"{SECTION}.{key}") for key, quantity in base.fields.items() if key not in own}
    left = [rest[choice.name] for choice in base.choices if choice.name in rest]
    written_for = float(base.fields["epochs"].max())
    scaled = {key: written_for for key in TIMED if key in rest and "epochs" in own}
    return RecipeSpace(base.name, base.document, rest | own, union((*own.values(), *left)), scaled)


def with_values(recipe: Recipe, values: Mapping[str, Any]) -> Recipe:
    """The recipe with the values that are not None, given as options of a command; raises `InputError`.

    Other epochs scale the warm-up and the milestones with them.
    """
    given = {key: value for key, value in values.items() if value is not None}
    for key in given:
        if key not in FIELDS:
            raise InputError(f"--{key}", f"unknown field{suggestion(key, FIELDS)}", accepted=", ".join(FIELDS))
    fields = {key: FIELDS[key].validated(value, f"--{key.replace('_', '-')}") for key, value in given.items()}
    if "epochs" in fields:
        ratio = fields["epochs"] / recipe.epochs
        fields = {key: _scaled(getattr(recipe, key), ratio) for key in TIMED} | fields
    return checked(replace(recipe, **fields))


def _scaled(value: Any, ratio: float) -> Any:
    """A number of epochs, or several, in another training."""
    return tuple(epoch * ratio for epoch in value) if isinstance(value, tuple) else value * ratio


def checked(recipe: Recipe, document: Document | None = None) -> Recipe:
    """Itself; raises `InputError` where fields contradict each other."""

    def refuse(key: str, problem: str, accepted: str) -> None:
        where = key if document is None else document.where((key,))
        raise InputError(where, problem, found=getattr(recipe, key), accepted=accepted)

    if recipe.warmup_epochs >= recipe.epochs and recipe.warmup_epochs:
        refuse("warmup_epochs", "the warm-up takes the whole training", f"below epochs ({recipe.epochs:g})")
    if recipe.schedule in ("step", "exponential") and not recipe.decay_epochs:
        refuse("decay_epochs", f"schedule '{recipe.schedule}' needs it", "a list of epochs")
    if recipe.lr_floor > recipe.peak_lr:
        refuse("lr_floor", "above the largest learning rate", f"at most {recipe.peak_lr:g}")
    if recipe.warmup_lr > recipe.peak_lr:
        refuse("warmup_lr", "above the largest learning rate", f"at most {recipe.peak_lr:g}")
    return recipe


DISTILLED: dict[str, dict[str, Any]] = {
    "soft": {"distillation": "soft", "manifold": 0.0},
    "hard": {"distillation": "hard", "manifold": 0.0},
    "manifold": {
        "distillation": "soft", "distillation_weight": 1.0, "distillation_temperature": 1.0, "manifold": 1.0
    },
}  # fmt: skip
"""Fields of a recipe by what is learnt from a teacher. Those of the manifold are published (Hao et al. 2022), as are
the defaults of the fields that begin with its name."""


def _read(document: Document, data: Mapping[str, Any], place: tuple[str, ...]) -> dict[str, Quantity]:
    """The fields of a mapping at a place of a file."""
    found = {}
    for key, value in data.items():
        if key not in FIELDS:
            raise InputError(
                document.where((*place, key)), f"unknown field '{key}'{suggestion(str(key), FIELDS)}",
                accepted=", ".join(FIELDS),
            )  # fmt: skip
        found[key] = _quantity(document.where((*place, key)), ".".join((*place, key)), value, FIELDS[key])
    return found


def _renamed(quantity: Quantity, name: str) -> Quantity:
    """A field's quantity, its choice under another name."""
    over = tuple(Choice(name, choice.options) for choice in quantity.over)
    return Quantity(over, quantity.table)


def _quantity(where: str, name: str, value: Any, field: Field) -> Quantity:
    value = _numbers(value, field)
    if isinstance(value, list):
        value = tuple(value)
    if not isinstance(value, dict):
        return Quantity.constant(field.validated(value, where))
    if not field.searchable:
        raise InputError(where, "cannot be searched", found=value, accepted=field.accepts)
    try:
        options = msgspec.convert(value, Options, strict=True).options(where)
    except msgspec.ValidationError as error:
        raise InputError(where, f"not a choice: {error}", found=value, accepted=ACCEPTED) from None
    if len(options) == 1:
        return Quantity.constant(field.validated(options[0], where))
    checked = tuple(field.validated(option, where) for option in options)
    return Quantity.of(Choice(name, checked))


def _numbers(value: Any, field: Field) -> Any:
    """`1e-4`, which is text to YAML, as the number it is, in the place of a number."""
    if isinstance(value, dict):
        return {key: [_numbers(v, field) for v in part] if isinstance(part, list) else part
                for key, part in value.items()}  # fmt: skip
    if field.type is _Number and isinstance(value, str) and re.fullmatch(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+", value):
        return float(value)
    return value
