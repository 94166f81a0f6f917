"""Weights of a supernet as the weights of one of its networks.

Every weight of a smaller option is the leading part of the largest one's, so inheriting is slicing. Kernel options
have weights of their own: the architecture takes the ones of its kernel. What a width adds to the scale and shift of
switchable norms is added.
"""

from __future__ import annotations

import jax

from dnas.graph.architecture import Architecture
from dnas.nn.supernet import Variables, abstract_variables
from dnas.ops.norm import OF_WIDTH


def inherit(variables: Variables, architecture: Architecture) -> Variables:
    """Parameters and norm statistics of `architecture`, cut from those of the supernet it was derived from."""
    wanted = abstract_variables(architecture.network)
    sources = sorted(architecture.sources.items(), key=lambda item: -len(item[0]))

    def cut(path: str, like: jax.ShapeDtypeStruct, stored: dict[str, jax.Array]) -> jax.Array:
        block, source = next((b, s) for b, s in sources if path.startswith(b + "."))
        name = source + path[len(block) :]
        if name not in stored:
            name = f"{name}_k{like.shape[0]}"
        part = stored[name][tuple(slice(n) for n in like.shape)]
        norm = name.rpartition(".")[0]
        if norm not in architecture.switched or name + OF_WIDTH not in stored:
            return part
        row, rows = architecture.switched[norm]
        return part + stored[name + OF_WIDTH].reshape(rows, -1)[row, : like.shape[0]]

    return {
        group: {path: cut(path, like, variables[group]) for path, like in leaves.items()}
        for group, leaves in wanted.items()
    }
