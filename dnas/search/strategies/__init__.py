"""The search algorithms by name. A new one is a file with `check`, `compile_programs`, `strategy`, and a name.

`JOINT` is none of them: it trains networks one by one, without a supernet (`dnas.joint`).
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from dnas.errors import InputError, suggestion
from dnas.space.space import Space

NAMES = ("dmasking", "slimming", "sandwich", "random", "evolution", "space_evolution")
JOINT = "joint"
ALL = (*NAMES, JOINT)
DEFAULT = "dmasking"
FAMILIES = {"dmasking": "dmasking_family"}
"""Files of strategies whose members of a family have choices of their own. Others find a family on their way."""

RACE_IN_TURN = ("dmasking",)
"""Files of strategies whose candidates race in turn, each from a copy of the weights: they are compared one by one."""

_EVOLVING = ("evolution", "space_evolution")
_SAMPLED = ("random", *_EVOLVING)
READ_BY: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(
        ("costs", "loss_form", "alpha", "beta", "skip_limit", "gates", "theta_rule", "temperature_floor", "early",
         "one_hot_from", "finalists", "race", "race_images"), ("dmasking",),
    ),
    **dict.fromkeys(
        ("theta_lr", "noise", "theta_every", "warm_up", "theta_decay", "temperature", "temperature_end"),
        ("dmasking", "slimming"),
    ),
    **dict.fromkeys(("rank_by", "rankings"), ("slimming", "sandwich")),
    **dict.fromkeys(("supernet", "sandwich_random", "distill"), ("sandwich", *_SAMPLED)),
    "mes_sign": ("sandwich",),
    "mes_alpha": ("slimming", "sandwich"),
    "samples": ("random", "space_evolution"),
    **dict.fromkeys(
        ("population", "generations", "parents", "parents_apart", "mutations", "crossovers", "attempts", "mutation",
         "network_mutation"), _EVOLVING,
    ),
    **dict.fromkeys(("space_steps", "space_tau", "space_rule"), ("space_evolution",)),
}  # fmt: skip
"""Setting -> the strategies that read it, of those that not all strategies read."""


def of(space: Space) -> str:
    """The strategy that a space's file names, else the default; raises `InputError` for a name that is none."""
    name = space.strategy or DEFAULT
    if name not in ALL:
        where = space.document.where(("strategy",))
        raise InputError(where, f"unknown strategy{suggestion(name, ALL)}", found=name, accepted=", ".join(ALL))
    return name


def load(name: str, family: bool = False) -> Any:
    """The module of a strategy, for one set of budgets or for a family of them."""
    assert name in NAMES, name
    return import_module(f"dnas.search.strategies.{_file(name, family)}")


def race_in_turn(name: str, family: bool = False) -> bool:
    """Whether a strategy is one of `RACE_IN_TURN`."""
    return _file(name, family) in RACE_IN_TURN


def _file(name: str, family: bool) -> str:
    return FAMILIES.get(name, name) if family else name
