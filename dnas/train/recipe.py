"""Training recipes as data, in the manner of space files: each field a value or a choice.

    name: mine
    epochs: 12
    optimizer: sgd
    lr: 0.1
    mixup: {choices: [0, 0.2]}          # a choice makes it a space of recipes; a training needs values

A search space may hold such fields in its section `recipe:`: a joint search finds architecture and recipe together.
Jax-free.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec

from dnas.errors import InputError, suggestion
from dnas.files import Document, read_document
from dnas.grammar.catalogue import find_recipe
from dnas.space.fields import ACCEPTED, Field, Options
from dnas.space.quantity import Assignment, Choice, Quantity, union
from dnas.space.space import Space
from dnas.train.recipe_fields import FIELDS, Number

SECTION = "recipe"
"""Of a search space's file, with fields of its own."""
TIMED = ("warmup_epochs", "decay_epochs")
"""Fields that are points in a training: they scale with its epochs."""


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


def without_choices(recipes: RecipeSpace, keys: Collection[str]) -> RecipeSpace:
    """The recipes with the largest option in the place of each choice of a field that gets another value later."""
    fixed = {key: Quantity.constant(recipes.fields[key].max()) for key in keys if recipes.fields[key].over}
    fields = {**recipes.fields, **fixed}
    return replace(recipes, fields=fields, choices=union(fields.values()))


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
    if field.type is Number and isinstance(value, str) and re.fullmatch(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+", value):
        return float(value)
    return value
