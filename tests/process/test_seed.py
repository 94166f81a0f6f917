"""A seed out of range is one line, wherever it comes in."""

from __future__ import annotations

import pytest

import dnas
from dnas.compress.asked import Asked
from dnas.compress.request import requested as compressing
from dnas.data.load import scan
from dnas.errors import InputError
from dnas.process.seed import checked_seed
from dnas.runs.result import read_result
from dnas.seeds.run import check

from ..cli.test_commands import called

ENTRANCES = {
    "search": lambda seed: dnas.run_search("tiny", seed=seed),
    "joint": lambda seed: dnas.run_search("tiny", strategy="joint", seed=seed),
    "train": lambda seed: dnas.run_training("fbnet_c", seed=seed),
    "compress": lambda seed: compressing(read_result("fbnet_c"), Asked("vtp", rate=0.5), values={}, seed=seed),
    "seeds": lambda seed: check(seed, 2),
    "export": lambda seed: dnas.run_export("fbnet_c", to="flax", out="nowhere", seed=seed),
    "build": lambda seed: dnas.build("fbnet_c", seed=seed),
    "data": lambda seed: scan(seed=seed),
}


@pytest.mark.parametrize("seed", [-1, 2**32, 2**63])
@pytest.mark.parametrize("name", ENTRANCES)
def test_a_seed_out_of_range_is_refused_before_any_work(name, seed):
    with pytest.raises(InputError, match=f"--seed: out of range .found {seed}; accepted: an integer from 0 to 429496"):
        ENTRANCES[name](seed)


def test_the_last_of_several_seeds_is_in_range_too():
    assert checked_seed(2**32 - 1) == 2**32 - 1 and checked_seed(2**32 - 2, several=2) == 2**32 - 2
    with pytest.raises(InputError, match="an integer from 0 to 4294967294"):
        checked_seed(2**32 - 1, several=2)


@pytest.mark.parametrize("seed", [1.5, True, "1", None])
def test_what_is_no_integer_is_no_seed(seed):
    with pytest.raises(InputError, match="--seed: out of range"):
        checked_seed(seed)


def test_a_command_says_it_with_code_2(monkeypatch, capsys):
    code, _, said = called(monkeypatch, capsys, "search", "tiny", "--seed", "-1")
    assert code == 2 and said.startswith("error: --seed: out of range (found -1;") and said.count("\n") == 1
