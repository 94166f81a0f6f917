"""Patch slimming (Tang et al. 2022, arXiv 2106.02852): blocks of a vision transformer hand fewer tokens on.

Under a limit of the error each block keeps as few tokens as tuning can bear (`dnas.compress.slim_blocks`). Under a
budget of multiply-adds the tokens are those of the smallest limit that keeps it, the errors measured without tuning and
the limit found by halving its logarithm; then every block is tuned under them. The result never needs more than the
budget. The ordinary training tunes the whole network afterwards.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from dnas.compress.asked import Asked, Compressed, Watching
from dnas.compress.kept_patches import PICTURE, picture, png
from dnas.compress.slim_blocks import Blocks, Choice
from dnas.compress.slim_state import SlimState
from dnas.compress.token_layers import Masks, Tokens, values_of
from dnas.cost.count import count
from dnas.data.stream.images import within
from dnas.errors import InputError, UserError
from dnas.grammar.read import space_from_data
from dnas.graph.architecture import Architecture, architecture
from dnas.nn.inherit import inherit
from dnas.nn.supernet import Variables
from dnas.process.progress import progress
from dnas.space.space import Space
from dnas.train.setup import Setup

ERROR, IMAGES, LEAST = 0.01, 512, 8
"""Where nothing is asked for: the paper's limit for DeiT; training images, and the fewest of these."""
EPOCHS = 3
"""Of the tuning of a block."""
LIMITS = (1e-6, 1e2)
"""Between which the limit of a budget is looked for."""
HALVINGS = 14
SHOWN = 6
"""Test images in the picture, evenly spread."""


def patch_slimming(setup: Setup, asked: Asked, folder: Path, watch: Watching) -> Compressed:
    """The network with fewer tokens after its blocks, which are tuned; `patches.png` shows those.

    Raises:
        UserError: what `check` raises; a budget below what the last tokens need.
        Stopped: asked to leave by a signal; the blocks that are done are saved in `folder`.
    """
    check(setup.network, asked)
    budget = min((budget.limit for budget in asked.budgets), default=None)
    written = architecture(setup.network, {})
    tokens, variables = Tokens(written.network), inherit(setup.variables, written)
    images = _images(setup, asked.images or IMAGES)
    blocks = Blocks(tokens, values_of(variables), images, setup.preprocessing, setup.seed)
    state = SlimState(folder, {**setup.identity, "asked": [asked.error, budget, asked.images]}, watch.resume)
    run = _Run(blocks, written, state, watch)
    limit = ERROR if asked.error is None else asked.error
    masks, limit = run.by_error(limit) if budget is None else run.by_budget(budget)
    slimmed = architecture(slimmed_space(written.network, masks), {})
    record = {"limit": _rounded(limit), "budget": budget, "images": len(images), "blocks": run.record(masks)}
    return Compressed(
        slimmed.data,
        inherit(_grouped(variables, blocks), slimmed),
        record,
        {PICTURE: png(_picture(setup, tokens, masks))},
    )


def slimmed_space(space: Space, masks: Masks) -> Space:
    """The architecture with the tokens of the masks, in the order of its blocks; what drops none is not named."""
    kept, before = {}, len(next(iter(masks.values())))
    for path, mask in masks.items():
        if mask.sum() < before:
            kept[path], before = np.flatnonzero(mask).tolist(), mask.sum()
    return space_from_data({**space.document.data, "keep_tokens": kept}, space.source)


def check(network: Space, asked: Asked) -> None:
    """Raises `UserError` for a budget of something else than multiply-adds, an error or a number of images out of
    range, and a network that is quantised already or of which no block works on tokens."""
    for budget in asked.budgets:
        if budget.kind != "MACs":
            raise InputError("--budget", "patch slimming saves multiply-adds alone", found=budget.text,
                             accepted="such as 700MFLOPs")  # fmt: skip
    if asked.error is not None and not 0 <= asked.error < math.inf:
        raise InputError("--error", "out of range", found=asked.error, accepted="a number from 0")
    if asked.images is not None and asked.images < LEAST:
        raise InputError("--images", "out of range", found=asked.images, accepted=f"from {LEAST}")
    if asked.budgets and asked.error is not None:
        raise InputError("--error", "not with a budget, from which the limit follows", found=asked.error)
    if network.quantization:
        raise UserError(f"{network.source}: tokens are dropped before numbers are quantised, not after")
    Tokens(space_from_data(architecture(network, {}).data, network.source))


def _images(setup: Setup, count: int) -> np.ndarray:
    """Training images, drawn from the seed."""
    chosen = np.random.default_rng(setup.seed).permutation(setup.train_index)[:count]
    return within(setup.dataset.train_images, setup.train_index)[chosen]


def _grouped(variables: Variables, blocks: Blocks) -> Variables:
    """The tuned values in the groups of the variables."""
    return {group: {path: blocks.values[path] for path in values} for group, values in variables.items()}


def _picture(setup: Setup, tokens: Tokens, masks: Masks) -> np.ndarray:
    images = setup.dataset.test_images
    chosen = np.linspace(0, len(images) - 1, min(SHOWN, len(images))).astype(int)  # folders are in order of classes
    shown = np.asarray(images[chosen])
    return picture(shown, np.stack([mask[tokens.learned :] for mask in masks.values()]))


class _Run:
    """One slimming, block by block: what is done is saved and shown."""

    def __init__(self, blocks: Blocks, written: Architecture, state: SlimState, watch: Watching):
        self.blocks, self.space, self.state, self.watch = blocks, written.network, state, watch
        self.count = len(blocks.layers)
        self.blocks.values |= state.values()

    def by_error(self, limit: float) -> tuple[Masks, float]:
        """From the last block to the first, each within the limit."""

        def choice(n: int, masks: Masks) -> Choice:
            return self.blocks.until(n, masks, limit, EPOCHS)

        with progress(self.watch.console, self.count, "slimming", self.state.done, "block") as show:
            return self._each(choice, show, 0), limit

    def by_budget(self, budget: float) -> tuple[Masks, float]:
        """The tokens of the smallest limit that keeps the budget, then the blocks tuned under them."""
        done = self.state.done + (0 if self.state.searched is None else HALVINGS)
        with progress(self.watch.console, HALVINGS + self.count, "slimming", done, "step") as show:
            limit, masks = self._within(budget, show)

            def choice(n: int, done: Masks) -> Choice:
                now = {**done, self.blocks.layers[n].path: masks[self.blocks.layers[n].path]}
                untuned = self.blocks.error(n, now, self.blocks.values)
                return Choice(now[self.blocks.layers[n].path], self.blocks.tune(n, now, EPOCHS), untuned, 1)

            return self._each(choice, show, HALVINGS), limit

    def _each(self, choice: Callable[[int, Masks], Choice], show: Any, before: int) -> Masks:
        """Every block by `choice`, those of a former run as they were; the masks in the order of the network."""
        masks = self.state.masks(self.blocks.tokens.count)
        for n in reversed(range(self.count)):
            path = self.blocks.layers[n].path
            if path not in masks:
                self.watch.leave_if_asked(f"{self.count - 1 - n} of {self.count} blocks are done")
                fixed = n + 1 == self.count and self.blocks.fixed
                found = Choice(self.blocks.last, 0.0, 0.0, 1) if fixed else choice(n, masks)
                masks[path] = found.mask
                self.state.add(path, found, self.blocks.values, self.blocks.layers[n])
            line = f"{path}: {int(masks[path].sum())} of {len(masks[path])} tokens"
            show(before + self.count - n, line)
            self.watch.update(before + self.count - n, line)
        return {layer.path: masks[layer.path] for layer in self.blocks.layers}

    def _within(self, budget: float, show: Any) -> tuple[float, Masks]:
        """The smallest limit whose tokens keep the budget, and those."""
        if self.state.searched is not None:
            return self.state.searched
        low, high = np.log(LIMITS)
        best = float(np.exp(high)), self._top_down(float(np.exp(high)))
        least = self._macs(best[1])
        if least > budget:
            raise InputError("--budget", "below what the last tokens need", found=f"{budget:,.0f} multiply-adds",
                             accepted=f"from {least:,}")  # fmt: skip
        for step in range(HALVINGS):
            self.watch.leave_if_asked("the limit is not found yet")
            limit = float(np.exp((low + high) / 2))
            masks = self._top_down(limit)
            macs = self._macs(masks)
            if macs <= budget:
                best, high = (limit, masks), np.log(limit)
            else:
                low = np.log(limit)
            show(step + 1, f"limit {limit:.3g}: {macs / 1e6:.3g}M multiply-adds")
        self.state.found(*best)
        return best

    def _top_down(self, limit: float) -> dict[str, np.ndarray]:
        masks: dict[str, np.ndarray] = {}
        for n in reversed(range(self.count)):
            fixed = n + 1 == self.count and self.blocks.fixed
            mask = self.blocks.last if fixed else self.blocks.fewest(n, masks, limit)
            masks[self.blocks.layers[n].path] = mask
        return dict(reversed(masks.items()))

    def _macs(self, masks: Masks) -> int:
        return count(slimmed_space(self.space, masks))["macs"]

    def record(self, masks: Masks) -> list[dict[str, Any]]:
        """What each block came to, in the order of the network."""
        found = []
        for path, mask in masks.items():
            notes = {name: _rounded(value) for name, value in self.state.notes[path].items()}
            kept = np.flatnonzero(mask).tolist()
            found.append({"path": path, "count": len(kept), "of": len(mask), **notes, "kept": kept})
        return found


def _rounded(value: float) -> float:
    """Six digits: plain JSON that the last bits of a sum do not change."""
    return float(f"{value:.6g}") if isinstance(value, float) else value
