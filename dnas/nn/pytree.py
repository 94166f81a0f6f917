"""Dataclasses as pytrees."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import jax

Class = TypeVar("Class", bound=type)


def pytree(*leaves: str, static: str) -> Callable[[Class], Class]:
    """Registers a frozen dataclass as a pytree of the fields `leaves` and one that is static.

    What jax makes of it again has leaves of any kind (shapes, the axes of a `vmap`), and so bypasses `__init__`, whose
    annotations are of arrays.
    """

    def register(cls: Class) -> Class:
        def flatten(value: Any) -> tuple[list[tuple[Any, Any]], Any]:
            return [(jax.tree_util.GetAttrKey(n), getattr(value, n)) for n in leaves], getattr(value, static)

        def unflatten(held: Any, children: Any) -> Any:
            made = object.__new__(cls)
            vars(made).update(zip(leaves, children, strict=True))
            vars(made)[static] = held
            return made

        jax.tree_util.register_pytree_with_keys(cls, flatten, unflatten)
        return cls

    return register
