"""Spaces that move on made error surfaces: which way, how far, and what holds at every step."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from dnas.cost.budget import parse_budget
from dnas.errors import UserError
from dnas.grammar.catalogue import load_space
from dnas.grammar.read import space_from_data
from dnas.graph import graph_of
from dnas.search.budget import check, check_options, measure
from dnas.search.sampling import Sampler
from dnas.search.space_update import Measured, Move, measured, updated
from dnas.search.subspaces import subspaces
from dnas.solve.many import as_assignment, as_options
from dnas.solve.relevance import unused
from dnas.space.space import Space

Surface = Callable[[Mapping[str, list[float]]], float]
"""Error, in percentage points, of a network by the options of its lists: name -> of each block that exists."""


def step(
    space: Space, surface: Surface, seed: int, *, budget: str = "1GFLOPs", count: int = 200, noise: float = 0.3,
    rule: Any = "floor", gammas: Mapping[str, Any] | None = None,
) -> tuple[Measured, Space, dict[str, Move]]:  # fmt: skip
    """What one step measures and makes of a space whose networks err as the surface says."""
    walked, limit = graph_of(space), parse_budget(budget)
    cost = measure(limit, walked, space)
    drawn = Sampler(space, walked, [cost.cost], [limit.limit], 0.0, by_options=True).draw(count, [seed])
    rows = as_options(drawn, space.choices)
    random = np.random.default_rng(seed)
    lists = subspaces(space, walked).all
    errors = []
    for row in rows:
        assignment = as_assignment(row, space.choices)
        idle = unused(space, assignment, walked)
        values = {
            part.name: [space.choice(n).options[assignment[n]] for n in part.choices if n not in idle] for part in lists
        }
        errors.append(surface(values) + noise * random.normal())
    found = measured(space, walked, rows, np.array(errors), 0.4, rule, gammas or {})

    def accept(data: dict[str, Any], names: Sequence[str]) -> Space:
        new = space_from_data(data, "moved")
        cost = measure(limit, graph_of(new), new)
        check([cost], new.constraints)
        check_options([cost], new, names)
        return new

    after, moves = updated(space, walked, found, accept)
    return found, after, {move.fit.subspace.name: move for move in moves}


def far_from(best: Mapping[str, float], scale: Mapping[str, float]) -> Surface:
    """Errors that grow with the mean distance of blocks from the best option of their list; 20 points at the best."""
    return lambda values: (
        20 + sum(2 * np.mean([abs(v - best[n]) / scale[n] for v in values[n]]) for n in best if values.get(n))
    )


BEST = {
    "w1": 80, "w2": 16, "d2": 5, "stage 1 heads": 5, "stage 2 heads": 5, "stage 1 expand": 5, "stage 2 expand": 5,
}  # fmt: skip
SCALE = {name: 8 if name == "w1" else 16 if name == "w2" else 1 for name in BEST}
"""Two points of error for each step of all blocks."""


@pytest.mark.parametrize("rule", ["floor", "trunc"])
@pytest.mark.parametrize("seed", range(5))
def test_from_a_bad_start_the_error_falls_in_each_of_two_steps_and_the_direction_is_found(seed, rule):
    """The best width of the first stage lies above its list, that of the second at its lower end, and so on."""
    space, surface = load_space("s3_mini"), far_from(BEST, SCALE)
    errors, gammas = [], {}
    for number in range(2):
        found, space, moves = step(space, surface, 10 * seed + number, rule=rule, gammas=gammas)
        errors.append(found.quality.et)
        gammas |= {fit.subspace.name: fit.gamma for fit in found.fits if fit.subspace.name not in gammas}
        for name in BEST:
            fit = moves[name].fit
            away = np.mean(fit.options) - BEST[name]
            assert abs(away) < 2 * SCALE[name] or np.sign(fit.line.slope) == np.sign(away), (name, fit)
            if number == 0 and name != "w2":
                assert moves[name].count > 0
            if number == 0 and name == "w2":
                assert moves[name].options == (16, 32)
    errors.append(step(space, surface, 10 * seed + 2)[0].quality.et)
    assert errors[0] > errors[1] > errors[2] and errors[2] < errors[0] - 4


def test_what_makes_no_difference_is_left_by_trunc():
    found, _, moves = step(load_space("s3_mini"), far_from({"w1": 80}, {"w1": 8}), 0, rule="trunc", noise=0.05)
    assert {name for name, move in moves.items() if move.count} == {"w1"}
    assert found.parts.all[0].name == "w1" and moves["w1"].fit.line.slope == pytest.approx(-2, abs=0.2)


def test_depth_grows_blocks_with_lists_of_their_stage():
    _, after, moves = step(load_space("s3_mini"), far_from({"d2": 9}, {"d2": 1}), 0, rule="trunc", noise=0)
    assert moves["d2"].options == (3, 4, 5)
    assert after.choice("trunk.3.4.heads").options == (1, 2, 3)


def test_windows_move_to_what_divides_the_map():
    """Of 14 pixels in the first stage, 7 in the second: 2, 4, 7 become 4, 7, 14 and 4, 7."""
    surface = far_from({"stage 1 window": 14, "stage 2 window": 14}, {"stage 1 window": 2, "stage 2 window": 2})
    _, after, moves = step(load_space("s3_mini"), surface, 0, noise=0, rule="trunc")
    assert moves["stage 1 window"].fit.wanted > 1
    assert moves["stage 1 window"].options == (7, 14) and moves["stage 2 window"].options == (4, 7)
    assert {after.choice(f"trunk.1.{n}.window").options for n in range(2)} == {(7, 14)}


@pytest.mark.parametrize("widths", [[16, 64, 80], [16, 24, 64]])
def test_of_choices_not_evenly_apart_one_that_was_measured_stays(widths):
    """Two steps of the least distance would leave none of them."""
    data = {
        "name": "uneven", "input": {"channels": 1, "classes": 2, "resolution": 8},
        "choices": {"w": {"choices": widths}},
        "trunk": [{"conv": {"out": "$w"}}], "head": [{"pool": {}}, {"linear": {"out": "$classes"}}],
    }  # fmt: skip
    _, after, moves = step(space_from_data(data, "uneven"), far_from({"w": 999}, {"w": 8}), 0, noise=0)
    assert moves["w"].fit.wanted > 1 and moves["w"].count > 0
    assert set(after.choice("w").options) & set(widths)


def test_windows_larger_than_the_map_move_to_no_twins():
    """Where windows of 7, 14 and 28 tile 8 pixels, 14 and 28 are one network: no list may hold both, by any move."""
    block = {"heads": 1, "window": {"choices": [7, 14, 28]}, "expand": {"choices": [1, 2, 3]}, "repeat": 2}
    data = {
        "name": "twins", "input": {"channels": 1, "classes": 2, "resolution": 8},
        "trunk": [{"patch_embed": {"out": 8, "kernel": 1}}, {"window_transformer": block}],
        "head": [{"norm_head": {"out": "$classes", "distilled": False}}],
    }  # fmt: skip
    surface = far_from({"stage 1 window": 99, "stage 1 expand": 9}, {"stage 1 window": 7, "stage 1 expand": 1})
    _, after, moves = step(space_from_data(data, "twins"), surface, 0, noise=0, rule="trunc", count=60)
    assert moves["stage 1 window"].fit.wanted > 0 and moves["stage 1 window"].count == 0
    assert "gives the same networks as another option" in moves["stage 1 window"].why
    assert moves["stage 1 expand"].count > 0 and after.choice("trunk.1.0.window").options == (7, 14, 28)


def test_budgets_stay_within_reach_and_each_option_that_moved_is_in_reach():
    surface = far_from({name: 99 for name in BEST}, dict.fromkeys(BEST, 1.0))
    space, limit = load_space("s3_mini"), parse_budget("3MFLOPs")
    for seed in range(3):
        _, space, moves = step(space, surface, seed, budget="3MFLOPs", count=60)
        cost = measure(limit, graph_of(space), space)
        names = [name for move in moves.values() if move.count for name in move.fit.subspace.choices]
        assert cost.smallest <= limit.limit
        check_options([cost], space, names)
    assert any("refused" in move.why for move in moves.values())


def test_options_that_no_network_within_the_budget_has_are_named():
    space = load_space("s3_mini")
    cost = measure(parse_budget("1.02MFLOPs"), graph_of(space), space)
    with pytest.raises(UserError, match="w2: no network with 48 is within 1.02MFLOPs"):
        check_options([cost], space, ["w2"])


TIED = {
    "name": "tied",
    "input": {"channels": 1, "classes": 2, "resolution": 16},
    "choices": {"w": {"choices": [48, 32, 16]}, "depth": {"choices": [1, 2]}},
    "trunk": [
        {"conv": {"out": "$w // 2", "kernel": {"choices": [3, 5]}, "stride": 2, "act": {"choices": ["relu", "hswish"]}}
         },
        {"conv": {"out": "$w", "kernel": 3}},
        {"conv": {"out": "$w", "kernel": 3, "repeat": "int($depth > 1)"}},
    ],
    "head": [{"pool": {}}, {"linear": {"out": "$classes"}}],
    "where": ["$w % 16 == 0", "$w <= 64"],
}  # fmt: skip


def test_formulas_and_the_orders_of_files_hold():
    """Wider than 64 is forbidden; a falling list stays one; a third block there is none; names have no order."""
    space = space_from_data(TIED, "tied")
    best = {"w": 500.0, "depth": 5.0}
    found, after, moves = step(space, far_from(best, {"w": 16, "depth": 1}), 0, noise=0, count=12, rule="trunc")
    assert after.choice("w").options == (64, 48, 32) or after.choice("w").options == (64, 48)
    assert moves["depth"].count == 0 and "gives the same networks" in moves["depth"].why
    assert [part.name for part in found.parts.all if not part.numeric] == ["stage 1 act"]
    assert after.choice("trunk.0.act").options == ("relu", "hswish")


@pytest.mark.parametrize("name", ["fbnetv2", "fashion", "efficientformer_tiny", "cmt_mini", "tnt_mini", "s3", "tiny"])
def test_any_space_of_numbers_moves(name):
    """Every list larger: the space is read, its choices keep their names and all that is no number stays."""
    space = load_space(name)

    def surface(values: Mapping[str, list[float]]) -> float:
        return 90 - sum(np.mean(v) for v in values.values() if v and not isinstance(v[0], str | bool))

    _, after, moves = step(space, surface, 0, budget="100GFLOPs", count=24, noise=0)
    assert sum(move.count > 0 for move in moves.values()) > 1
    numbers = {n for move in moves.values() for n in move.fit.subspace.choices}
    for choice in space.choices:
        assert choice.name in numbers or after.choice(choice.name).options == choice.options
