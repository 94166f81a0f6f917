"""Do augmented shortcuts keep tokens apart? Diversity of tokens by depth in random networks, with and without them.

    python experiments/token_diversity.py            # four minutes on one core

Diversity is r(Z) = min over z of ||Z - 1 z^T|| (Frobenius; the least is at the mean token), here over ||Z||: 0 where
all tokens are equal (Tang et al. 2021, section 3.1). The networks have DeiT-Ti's width and heads and the fan-in scaled
weights that training starts from; images are noise. The factor is that of the sum of a branch, its input and the
shortcuts: 0.75 as the authors release it, or 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from dnas.cli.entry import run
from dnas.files import write_atomic
from dnas.grammar.read import space_from_data
from dnas.nn.gates import Layout, one_hot
from dnas.nn.supernet import Supernet, init

WIDTH, SIDE, PATCH = 192, 64, 8


@dataclass(frozen=True)
class Arguments:
    """Diversity of tokens by depth, with and without augmented shortcuts."""

    depth: int = 48
    seeds: int = 3
    images: int = 4
    out: Path = Path("experiments/results/token_diversity.md")


def main(args: Arguments) -> None:
    kept = [n for n in (1, 2, 4, 8, 12, 16, 24, 32, 48) if n <= args.depth]
    lines = [
        "Relative diversity of tokens after a block, mean and standard deviation over seeds.", "",
        "| augmented shortcuts, factor | " + " | ".join(f"after {n}" for n in kept) + " |",
        "|---" * (len(kept) + 1) + "|",
    ]  # fmt: skip
    for shortcuts, factor in ((0, 1), (1, 0.75), (2, 0.75), (1, 1), (2, 1)):
        found = np.array([diversity(args, shortcuts, factor, seed) for seed in range(args.seeds)])
        cells = [f"{found[:, n - 1].mean():.3f} +- {found[:, n - 1].std():.3f}" for n in kept]
        name = f"{shortcuts}, {factor}" if shortcuts else "none"
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
        print(lines[-1])
    write_atomic(args.out, "\n".join(lines) + "\n")


def diversity(args: Arguments, shortcuts: int, factor: float, seed: int) -> list[float]:
    """Of one random network, after each block."""
    blocks = {
        "transformer": {"heads": 3, "shortcuts": shortcuts, "shortcut_factor": factor, "repeat": args.depth}
    }  # fmt: skip
    trunk = [{"patch_embed": {"out": WIDTH, "kernel": PATCH}}, {"tokens": {}}, blocks]
    data = {
        "name": "diversity", "input": {"channels": 3, "classes": 10, "resolution": SIDE}, "trunk": trunk,
        "head": [{"token_head": {"out": "$classes"}}],
    }  # fmt: skip
    space = space_from_data(data, "diversity")
    paths = [node.path for node in space.nodes if "transformer" in str(getattr(node, "kind", ""))]
    images = jnp.asarray(np.random.default_rng(seed).normal(size=(args.images, SIDE, SIDE, 3)), jnp.float32)
    variables, gates = init(space, jax.random.key(seed)), one_hot(Layout(()), {})
    _, taps = jax.jit(lambda v: Supernet(space).apply(v, images, gates, taps=tuple(paths)))(variables)
    return [_relative(np.asarray(taps[path], np.float64)) for path in paths]


def _relative(tokens: np.ndarray) -> float:
    """Mean over images, [N, tokens, channels]."""
    apart = np.linalg.norm(tokens - tokens.mean(1, keepdims=True), axis=(1, 2))
    return float((apart / np.linalg.norm(tokens, axis=(1, 2))).mean())


if __name__ == "__main__":
    run(main, Arguments)
