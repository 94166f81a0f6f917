"""Differentiable neural architecture search in JAX: search spaces as data, searches under exact budgets.

Names are imported when they are first used, so that `import dnas` costs nothing and imports no jax.
"""

from __future__ import annotations

TYPE_CHECKING = False  # as type checkers know it; typing itself would be most of the cost
if TYPE_CHECKING:
    from typing import Any

    from dnas import errors as errors
    from dnas.api.compressing import run_compression as run_compression
    from dnas.api.evaluation import run_evaluation as run_evaluation
    from dnas.api.handing_over import run_export as run_export
    from dnas.api.handing_over import write_report as write_report
    from dnas.api.importing import import_weights as import_weights
    from dnas.api.module import PlainNetwork as PlainNetwork
    from dnas.api.module import build as build
    from dnas.api.results import CompressionResult as CompressionResult
    from dnas.api.results import ImportedResult as ImportedResult
    from dnas.api.results import JointResult as JointResult
    from dnas.api.results import RunResult as RunResult
    from dnas.api.results import SearchResult as SearchResult
    from dnas.api.results import TrainingResult as TrainingResult
    from dnas.api.results import open_run as open_run
    from dnas.api.searching import run_search as run_search
    from dnas.api.seeds import SeedsResult as SeedsResult
    from dnas.api.seeds import run_seeds as run_seeds
    from dnas.api.spaces import LoadedSpace as LoadedSpace
    from dnas.api.spaces import costs as costs
    from dnas.api.spaces import load as load
    from dnas.api.spaces import published_names as published_names
    from dnas.api.spaces import space_names as space_names
    from dnas.api.training import run_training as run_training
    from dnas.errors import InputError as InputError
    from dnas.errors import MissingExtra as MissingExtra
    from dnas.errors import Stopped as Stopped
    from dnas.errors import UserError as UserError

__version__ = "0.1.0"

_HOMES = {
    "dnas.api.compressing": ("run_compression",),
    "dnas.api.evaluation": ("run_evaluation",),
    "dnas.api.handing_over": ("run_export", "write_report"),
    "dnas.api.importing": ("import_weights",),
    "dnas.api.module": ("PlainNetwork", "build"),
    "dnas.api.results": (
        "CompressionResult",
        "ImportedResult",
        "JointResult",
        "RunResult",
        "SearchResult",
        "TrainingResult",
        "open_run",
    ),
    "dnas.api.searching": ("run_search",),
    "dnas.api.seeds": ("SeedsResult", "run_seeds"),
    "dnas.api.spaces": ("LoadedSpace", "costs", "load", "published_names", "space_names"),
    "dnas.api.training": ("run_training",),
    "dnas.errors": ("InputError", "MissingExtra", "Stopped", "UserError"),
}
"""Module -> the public names that it holds."""
_MODULE_OF = {name: module for module, names in _HOMES.items() for name in names}
__all__ = ["errors", *sorted(_MODULE_OF)]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    """A public name, imported now; raises `AttributeError` with the nearest name for any other."""
    from importlib import import_module

    if name == "errors":
        return import_module("dnas.errors")
    if name not in _MODULE_OF:
        from dnas.errors import suggestion

        raise AttributeError(f"module 'dnas' has no attribute '{name}'{suggestion(name, _MODULE_OF)}")
    value = getattr(import_module(_MODULE_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
