"""Everything a search can be told, with its defaults in one place, and the presets.

Jax-free: the command line is read before jax is imported.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, get_args, get_origin, get_type_hints

import msgspec

from dnas.data.image_side import check_side
from dnas.errors import InputError, suggestion
from dnas.process.precision import Precision

AIM = 0.97

PresetName = Literal["smoke", "quick", "paper"]


@dataclass(frozen=True)
class Settings:
    """Hyper-parameters of a search; recorded beside its result."""

    epochs: float = 11.0
    """Passes over the weights' share of the training data."""
    batch_size: int = 16
    theta_every: float = 1.25
    """Steps on the weights for each step on theta."""
    warm_up: float = 0.14
    """Share of the run in which only the weights learn."""
    side: int | None = None
    """Side of the images given to the supernet, in pixels (None: see `dnas.learning.image_size`)."""
    largest_decoded: int | None = 64
    """Largest side at which image files are decoded where `side` is not given, in pixels (None: the space's own)."""

    weights_optimizer: Literal["sgd"] = "sgd"
    weights_lr: float = 0.02
    weights_momentum: float = 0.9
    weight_decay: float = 1e-4
    clip: float = 5.0
    """Largest norm of the weights' gradient."""

    theta_lr: float = 0.1
    theta_rule: Literal["natural", "adam"] = "natural"
    """How theta moves: in proportion to evidence (`dnas.search.theta`), or by Adam as published."""
    theta_decay: float = 0.0
    gates: Literal["soft", "straight_through"] = "soft"
    noise: Literal["gumbel", "uniform"] = "gumbel"
    temperature: float = 5.0
    temperature_end: float = 1.0
    """Of the gates at the end of the run, to which it falls evenly in its logarithm. `dmasking` draws its last gates
    before the race, at a higher one. Much below 1 every draw is nearly one random network, which weights of few steps
    cannot follow; theta, not the temperature, makes the gates decided."""
    resolution_paths: int = 2
    """Resolutions evaluated in a step, those of the largest gates (0: all, mixed softly)."""
    paths: int = 2
    """Blocks run in a step of a choice between whole blocks, those of the largest gates (0: all, mixed softly)."""
    low_memory: bool = False
    """Keep of each block its input alone for the backward pass, which runs it again: less memory, more time."""
    precision: Precision | None = None
    """In which steps compute (`dnas.process.precision`); None: what suits the device."""
    paper_resolution: bool = False
    """FBNetV2's plain sum over resolution grids, without dividing by each pixel's coverage."""

    loss_form: Literal["log_of_power", "power_of_log", "additive"] = "log_of_power"
    costs: Literal["exact", "paper"] = "exact"
    """What theta takes for the mean cost: the exact mean, or the product of effective sizes as FBNetV2 has it."""
    alpha: float = 0.2
    beta: float = 0.6
    temperature_floor: float = 1.0
    """Least temperature while the choices harden early (`dnas.search.collapse`); 0 for none."""
    early: float = 0.5
    """Choices harden early where their mean entropy is below this times the share of the search that is left."""
    skip_limit: float = 0.4
    """Largest share of the blocks that are skipped in the mean while choices are learned; 1 for no guard."""
    fill: float | None = None
    """Least share of a budget that the result uses. None: the mean cost aims at the budget, and accuracy decides how
    much of it the result uses; 0 asks for upper limits alone."""

    one_hot_from: float = 0.5
    """Share of the search after which the weights learn under one-hot draws that keep the budgets, as the networks that
    are compared do."""
    finalists: int = 12
    """Networks of the race at the end of the search (`dnas.search.race`)."""
    race: float = 0.14
    """Share of the run in which the weights learn under the finalists."""
    race_images: int | None = 1000
    """Most images of the choices' share on which the finalists are compared (None: all)."""
    settle: float = 0.4
    """Share of the run, at its end, in which the weights learn under the derived network's own gates."""

    rank_by: Literal["accuracy", "loss"] = "accuracy"
    """What slimming ranks its actions by; ties are broken by the other."""
    rank_images: int | None = 400
    """Most images of the choices' share on which networks are compared (None: all)."""
    rank_norm_batches: int = 2
    """Training batches over which batch norms are estimated for a network that is compared."""
    rankings: int = 24
    """Most rankings of actions on the way to the budget: where the way is longer, one ranking takes several actions (0:
    one action a ranking, as published)."""
    supernet: Literal["single_path", "sandwich"] | None = None
    """How the weights learn before sandwich, random, evolution and space evolution choose (`dnas.search.supernet`): one
    network drawn evenly in each step, or the largest, the smallest and some drawn. None: sandwich for the strategy of
    that name."""
    distill: bool = False
    """In sandwich training, all networks but the largest learn its probabilities instead of the labels."""
    sandwich_random: int = 2
    """Networks drawn for a step of sandwich training, beside the largest and the smallest (US-Nets, BigNAS: 2)."""
    mes_alpha: float = 0.5
    """Exponent of every cost in the mobile efficiency score, above 0 and at most 1."""
    mes_sign: Literal["minus", "plus"] = "minus"
    """Sign of the exponents: minus makes smaller networks score higher."""
    samples: int = 64
    """Networks that are drawn and compared: by the random search, and in each space of a space evolution."""
    population: int = 16
    """Networks in a generation of the evolution. Its published numbers, the preset paper's, are AutoFormer's code's."""
    generations: int = 6
    """With the first one, which is drawn."""
    parents: int = 6
    """Best networks so far from which the next generation descends."""
    parents_apart: int = 1
    """Choices in which any two parents differ, at least; 1: the best ones whatever they are, as published. Many
    generations do better with 3, few do worse."""
    mutations: int | None = None
    """Children by mutation in a generation, at most (None: half of the population)."""
    crossovers: int | None = None
    """Children by crossover, at most (None: the rest). What is missing of the population is drawn as at first."""
    attempts: int = 10
    """Children made for each one wanted, at most: those outside the budgets and those known already are dropped."""
    mutation: float = 0.2
    """Probability with which a mutation draws a gene of one block anew."""
    network_mutation: float = 0.4
    """The same of a gene of the whole network, such as a depth or a shared width (`dnas.search.genes`)."""
    space_steps: int = 2
    """Times that space evolution changes the space; S3 has two."""
    space_tau: float = 0.4
    """Percentage points of error from one choice of a list to the next for each step that it moves. A guess: S3 prints
    none."""
    space_rule: Literal["floor", "trunc"] = "floor"
    """How slope / tau becomes whole steps: floor as published, or trunc, which leaves what changes by less than tau."""

    norm_batches: int = 16
    """Training batches over which batch norms are estimated again."""
    assess_batch: int = 100
    """Images in a batch of an evaluation."""
    check_images: int | None = None
    """Most test images per accuracy (None: all)."""

    def validated(self) -> Settings:
        """Itself; raises `InputError` for a value out of range."""
        for name, value in asdict(self).items():
            if isinstance(value, float) and not math.isfinite(value):
                raise InputError(_option(name), "not finite", found=value, accepted="a finite number")
        for names, accepted, inside in RANGES:
            for name in names:
                found = getattr(self, name)
                if found is not None and not inside(found):
                    raise InputError(_option(name), "out of range", found=found, accepted=accepted)
        shares = {name: getattr(self, name) for name in ("warm_up", "race", "settle")}
        if min(shares.values()) < 0 or sum(shares.values()) >= 1:
            found = list(shares.values())
            raise InputError(", ".join(shares), "out of range", found=found, accepted="shares adding up to below 1")
        for name in FACTORS[self.loss_form]:
            if not getattr(self, name):
                accepted = "above 0, for it multiplies the whole loss of the choices; 0 with --loss-form additive"
                raise InputError(_option(name), "out of range", found=0, accepted=accepted)
        if sum(self.children) > self.population:
            found, accepted = list(self.children), f"together at most --population, {self.population}"
            raise InputError("--mutations, --crossovers", "more children than networks", found=found, accepted=accepted)
        check_side(self.side)
        return self

    @property
    def aim(self) -> float:
        """Share of a budget that networks should use where nothing else decides."""
        return AIM if self.fill is None else self.fill

    @property
    def floor(self) -> float:
        """Least share of a budget that the result must use."""
        return self.fill or 0.0

    @property
    def children(self) -> tuple[int, int]:
        """Children by mutation and by crossover in a generation of the evolution."""
        mutations = self.population // 2 if self.mutations is None else self.mutations
        rest = max(0, self.population - mutations)
        return mutations, rest if self.crossovers is None else self.crossovers

    def to_json(self) -> dict[str, Any]:
        """As results and checkpoints hold them, where float32 goes without saying."""
        return {name: v for name, v in asdict(self).items() if name != "precision" or v not in (None, "float32")}


RANGES: tuple[tuple[tuple[str, ...], str, Callable[[float], bool]], ...] = (
    (
        ("epochs", "theta_every", "weights_lr", "theta_lr", "clip", "temperature", "temperature_end", "space_tau"),
        "above 0", lambda v: v > 0,
    ),
    (
        ("weight_decay", "theta_decay", "temperature_floor", "early", "alpha", "beta", "paths", "resolution_paths",
         "rankings", "norm_batches", "sandwich_random", "mutations", "crossovers"),
        "at least 0", lambda v: v >= 0,
    ),
    (
        ("batch_size", "finalists", "largest_decoded", "race_images", "rank_images", "rank_norm_batches",
         "assess_batch", "check_images", "samples", "generations", "parents", "parents_apart", "attempts",
         "space_steps"),
        "at least 1", lambda v: v >= 1,
    ),
    (("population",), "at least 2", lambda v: v >= 2),
    (("fill", "skip_limit", "one_hot_from", "mutation", "network_mutation"), "0 to 1", lambda v: 0 <= v <= 1),
    (("weights_momentum",), "at least 0, below 1", lambda v: 0 <= v < 1),
    (("mes_alpha",), "above 0, at most 1", lambda v: 0 < v <= 1),
)  # fmt: skip
"""Settings, what is accepted, and whether a value is; None is where a setting may be it."""
FACTORS = {"log_of_power": ("alpha", "beta"), "power_of_log": ("alpha",), "additive": ()}
"""What the whole loss of the choices is multiplied with (`dnas.search.objective.combine`)."""

PRESETS: dict[PresetName, Settings] = {
    # Smoke: proves that everything runs; learns little. Quick: the default. Paper: FBNetV2's schedule, and AutoFormer's
    # evolution.
    "smoke": Settings(
        epochs=0.12, theta_every=1.0, theta_lr=0.3, temperature_end=0.2, norm_batches=4, check_images=200,
        warm_up=0.1, race=0.2, settle=0.2, finalists=4, race_images=100, rank_images=100, rank_norm_batches=1,
        rankings=6, samples=8, population=4, generations=2, parents=2,
    ),
    "quick": Settings(),
    "paper": Settings(
        epochs=90, batch_size=192, theta_every=4.0, warm_up=10 / 90, weights_lr=0.1, theta_lr=0.01, theta_rule="adam",
        fill=0, theta_decay=5e-4, largest_decoded=None, temperature=5.0, temperature_end=0.087, resolution_paths=0,
        paths=0, paper_resolution=True, costs="paper", one_hot_from=1.0, finalists=1, race=0.0, settle=0.0,
        norm_batches=64, rank_images=None, rank_norm_batches=16, rankings=0, samples=1000, population=50,
        generations=20, parents=10, parents_apart=3, mutations=25, crossovers=25,
    ),
}  # fmt: skip


def _option(name: str) -> str:
    """Of the command line."""
    return f"--{name.replace('_', '-')}"


def with_overrides(preset: PresetName, **overrides: Any) -> Settings:
    """A preset with the values that the user gave (those not None); raises `InputError`."""
    given = {name: value for name, value in overrides.items() if value is not None}
    return replace(PRESETS[preset], **{name: _typed(name, value) for name, value in given.items()}).validated()


def _typed(name: str, value: Any) -> Any:
    """The value as the type of the setting of that name."""
    kinds, option = get_type_hints(Settings), _option(name)
    if name not in kinds:
        accepted = "a field of dnas.search.settings.Settings"
        raise InputError(option, f"unknown setting{suggestion(name, kinds)}", accepted=accepted)
    try:
        return msgspec.convert(value, kinds[name])
    except msgspec.ValidationError as error:
        kind = next((part for part in get_args(kinds[name]) if get_origin(part) is Literal), kinds[name])
        accepted = ", ".join(get_args(kind)) if get_origin(kind) is Literal else getattr(kind, "__name__", str(kind))
        raise InputError(option, "not accepted here", found=value, accepted=accepted) from error
