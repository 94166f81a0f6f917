"""What takes a step: a search of dnas on some space, PyTorch on one of `torch_nets`, or a large matrix product.

Each is made in a process of its own (`worker.py`), is compiled and warm when it is handed over, and knows the figures
of its program that need no clock.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import networks
import numpy as np

from dnas.cost import ledger
from dnas.cost.budget import parse_budget
from dnas.data.load import load
from dnas.data.preprocess import prepare
from dnas.grammar.catalogue import load_space
from dnas.grammar.read import at_input
from dnas.graph import graph_of
from dnas.nn.wing import wing
from dnas.search import strategies
from dnas.search.problem import Problem, make_problem
from dnas.search.settings import Settings
from dnas.solve.constrained import smallest
from dnas.solve.elimination import optimum
from dnas.space.space import Space

SOFT = {"resolution_paths": 0, "paths": 0}
"""All resolutions, and all blocks of a choice between blocks."""
WARM_UP = 3
"""Steps before the first that counts."""


@dataclass(frozen=True)
class Contender:
    """`steps(n)` takes n steps and waits for the last; `figures` are the compiler's."""

    steps: Callable[[int], None]
    figures: dict[str, float] = field(default_factory=dict)


def search(space: Space, px: int, batch: int, members: int = 0, **settings: Any) -> Contender:
    """Weights steps of a search, or of one for a family: gates drawn, batch taken, gradients, update."""
    problem = search_problem(space, px, batch, members, **settings)
    programs, module = Programs(), strategies.load("dmasking", members > 0)
    strategy = module.strategy(problem, module.compile_programs(problem, programs))
    state, number = strategy.start(), 0

    def steps(count: int) -> None:
        nonlocal state, number
        for _ in range(count):
            state, _ = strategy.phases[0].step(state, number)
            number += 1
        jax.block_until_ready(state.arrays)

    steps(WARM_UP)
    wing().close_holes()  # as `dnas.search.compiling.Compiler` does
    return Contender(steps, programs.figures() | {"macs": macs(space, px), "batch": batch})


def search_problem(space: Space, px: int, batch: int, members: int = 0, **settings: Any) -> Problem:
    """Of `members` budgets between the smallest and the largest network."""
    count = ledger.macs(graph_of(space).ledger)
    ends = smallest(count, space.constraints)[0], optimum([p.joint() for p in count], "max", space.constraints)[0]
    family = [parse_budget(f"{limit:.0f}MACs") for limit in np.geomspace(1.1 * ends[0], 0.9 * ends[1], members)]
    return make_problem(space, [], load(), Settings(side=px, batch_size=batch, **SOFT | settings), 0, family)


class Programs:
    """Stands in for `dnas.search.compiling.Compiler`: compiles a program when it is first called, and adds up."""

    def __init__(self) -> None:
        self.seconds, self.traces, self.compiled = 0.0, 0, []

    def __call__(self, function: Callable, *arguments: Any, donate: Sequence[int] = (), gives: Any = None) -> Callable:
        made: list[Any] = []

        def counted(*values: Any) -> Any:
            self.traces += 1
            return function(*values)

        def program(*values: Any) -> Any:
            if not made:
                began = time.perf_counter()
                lowered = jax.jit(counted, donate_argnums=tuple(donate)).lower(*arguments)
                made.append(lowered.compile(dict(wing().options)))
                self.seconds += time.perf_counter() - began
                self.compiled.append(made[0])
            return made[0](*values)

        return program

    def figures(self) -> dict[str, float]:
        """Of all programs that were called: FLOPs and bytes added up, the most temporary memory of any.

        The compiler counts the body of a loop once, on whatever side of a comparison it stands. The loops of
        `dnas.cpu.depthwise_loop` are unknown to it and say themselves what they multiply.
        """
        costs, memory = [c.cost_analysis() for c in self.compiled], [c.memory_analysis() for c in self.compiled]
        loops = 2 * sum(int(macs) for c in self.compiled for macs in re.findall(r"\bmacs = (\d+)", c.as_text()))
        return {
            "flops": loops + sum(c.get("flops", 0) for c in costs),
            "bytes": sum(c.get("bytes accessed", 0) for c in costs),
            "memory": max(m.temp_size_in_bytes for m in memory), "compile_s": self.seconds, "traces": self.traces,
            "programs": len(self.compiled),
        }  # fmt: skip


def macs(space: Space, px: int) -> int:
    """Multiply-adds of one image through the largest network at `px`, exact."""
    walked = graph_of(at_input(networks.largest(space) if space.choices else space, side=px))
    return ledger.at(ledger.macs(walked.ledger), {})


def torch_net(kind: str, px: int, batch: int, compiled: bool = False) -> Contender:
    """Training steps of a net of `torch_nets`, on images prepared beforehand (dnas does that within its step)."""
    import torch
    import torch_nets

    space = {"factorised": networks.choices, "branches": networks.branches}[kind]()
    problem = search_problem(space, px, batch)
    net = getattr(torch_nets, kind)(problem.proxy).to(memory_format=torch.channels_last)
    step, batches, number = torch_nets.training_step(net, compiled), prepared_batches(problem), 0

    def steps(count: int) -> None:
        nonlocal number
        for _ in range(count):
            images, labels = batches[number % len(batches)]
            loss = step(images, labels)
            number += 1
        loss.item()

    began = time.perf_counter()
    steps(1)
    first = time.perf_counter() - began
    steps(WARM_UP - 1)
    return Contender(steps, {"compile_s": first if compiled else 0.0})


def prepared_batches(problem: Problem, count: int = 8) -> list[tuple[Any, Any]]:
    """Images NCHW (channels last in memory) and labels as tensors."""
    import torch

    images, labels = problem.dataset.train_images, problem.dataset.train_labels
    found, size = [], problem.settings.batch_size
    for start in range(0, count * size, size):
        x = np.array(prepare(images[start : start + size], problem.preprocessing))
        tensor = torch.from_numpy(x).permute(0, 3, 1, 2).to(memory_format=torch.channels_last)
        found.append((tensor, torch.from_numpy(labels[start : start + size].astype(np.int64))))
    return found


def matmul(side: int = 3072) -> Contender:
    """A large square matrix product in float32: the machine's peak, for a share of it."""
    a = jnp.ones((side, side), jnp.float32)
    program = jax.jit(lambda a, b: a @ b).lower(a, a).compile()

    def steps(count: int) -> None:
        for _ in range(count):
            program(a, a).block_until_ready()

    steps(WARM_UP)
    return Contender(steps, {"flops": 2.0 * side**3})


SPACES: dict[str, Callable[[], Space]] = {
    "plain": networks.plain,
    "choices": networks.choices,
    "choices_and_skips": networks.choices_and_skips,
    "six_soft": networks.six_resolutions,
    "six_sampled": networks.six_resolutions,
    "branches": networks.branches,
    "one_option": lambda: networks.options_a_choice(1),
    "twelve_options": lambda: networks.options_a_choice(12),
    "masked_pairs": networks.masked_pairs,
    "separate_pairs": networks.separate_pairs,
    "identical": networks.identical_layers,
    "blocks": networks.whole_blocks,
    "all_blocks": lambda: networks.whole_blocks(4),
}
SETTINGS: dict[str, dict[str, Any]] = {
    "six_sampled": {"resolution_paths": 1}, "low_memory": {"low_memory": True}, "sampled": {"paths": 1},
    "family": {"members": 8},
}  # fmt: skip
"""What differs from the default: every choice mixed softly, one set of budgets."""


def contender(name: str, px: int, batch: int) -> Contender:
    """By name: `matmul`, `torch_same`, `torch_branches_compiled`, a key of `SPACES`, or the name of a space that ships.

    Behind a colon stands how its steps are taken, a key of `SETTINGS`, or `largest`: the space's largest network.
    """
    if name == "matmul":
        return matmul()
    if name.startswith("torch_"):
        kind = {"same": "factorised", "branches": "branches"}[name.split("_")[1]]
        return torch_net(kind, px, batch, compiled=name.endswith("_compiled"))
    base, _, how = name.partition(":")
    space = SPACES[base]() if base in SPACES else load_space(base)
    if how == "largest":
        return search(networks.largest(space), px, batch)
    return search(space, px, batch, **SETTINGS.get(base, {}), **SETTINGS.get(how, {}))
