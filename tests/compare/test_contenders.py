"""Who is compared: draws at the cost of the network found, shares of resolution, and mistakes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from dnas.compare.contenders import contenders
from dnas.compare.subject import read_subject
from dnas.compress.points import kept_entries, points
from dnas.cost.budget import parse_budget
from dnas.errors import InputError
from dnas.files import write_json
from dnas.grammar.catalogue import load_space
from dnas.grammar.read import read_space, space_from_data
from dnas.graph import graph_of
from dnas.graph.architecture import architecture, options_taken
from dnas.train.folders import content, folder_of
from tests.compress.test_quantized_section import quantised

CLASSES = ("0", "1", "2")


@pytest.fixture(scope="module")
def subject(home):
    return read_subject(str(home.network), str(home.space))


def lined_up(subject, drawn=0, scaled=0, against=(), seed=0, side=8, **more):
    return contenders(
        subject, side, drawn=drawn, scaled=scaled, against=against, seed=seed, class_names=CLASSES, **more
    )


def test_draws_are_at_its_cost_and_all_different(subject):
    lineup = lined_up(subject, drawn=12)
    found, *drawn = lineup.contenders
    assert len(drawn) == 12 and not lineup.notes and {c.origin for c in drawn} == {"drawn"}
    assert all(abs(c.macs / found.macs - 1) <= 0.03 for c in drawn)
    assert len({content(c.network) for c in lineup.contenders}) == 13


def test_draws_follow_from_the_seed_and_more_begin_with_the_same(subject):
    def drawn(count, seed):
        return [content(c.network) for c in lined_up(subject, drawn=count, seed=seed).contenders[1:]]

    assert drawn(3, 0) == drawn(3, 0) == drawn(9, 0)[:3] != drawn(3, 1)


def test_a_space_that_changed_since_the_search_is_told(home, tmp_path):
    """Draws come from the space as it is: a head that was changed since is in all of them."""
    space = read_space(home.space)
    middle = {choice.name: len(choice) // 2 for choice in space.choices}
    taken = {"choices_taken": options_taken(space, middle)}
    write_json(tmp_path / "mine.json", architecture(space, middle).data | taken)
    (tmp_path / "short.yaml").write_text(home.space.read_text())
    assert not lined_up(read_subject(str(tmp_path / "mine.json"), str(tmp_path / "short.yaml")), drawn=1).notes
    (tmp_path / "short.yaml").write_text(home.space.read_text().replace("{pool: {}}", "{conv: {out: 16}}, {pool: {}}"))
    changed = lined_up(read_subject(str(tmp_path / "mine.json"), str(tmp_path / "short.yaml")), drawn=1)
    assert any("has changed since the search" in note for note in changed.notes)


def test_what_was_pruned_slimmed_or_quantised_is_trained_apart():
    """Blocks alone do not tell it from the network before."""
    written = architecture(load_space("deit_ti"), {})
    place = points(written.network)[0].path
    smaller = [
        {"keep": kept_entries(written.network, {place: range(96)})}, {"keep_tokens": {"trunk.2": list(range(150))}},
        
    ]  # fmt: skip
    found = [written.network, *(space_from_data(written.data | more, "smaller") for more in smaller)]
    found.append(quantised(written.data))
    assert len({folder_of(network, 32, ["recipe"], 0) for network in found}) == 4


def test_a_quantised_network_is_not_compared(subject, home, tmp_path):
    network = read_space(home.network)
    write_json(tmp_path / "q.json", quantised(architecture(network, {}).data).document.data)
    with pytest.raises(InputError, match=f"--against {tmp_path}/q.json: .*the network before it was quantised"):
        lined_up(subject, against=[str(tmp_path / "q.json")])


def test_draws_keep_the_budgets(subject):
    budget = parse_budget(f"{subject.costs[0] * 1.001:.0f}MACs")
    params = parse_budget("1100params")
    within = replace(subject, budgets=(budget, params))
    found, *drawn = lined_up(within, drawn=10).contenders
    assert all(c.macs <= budget.limit and c.params <= 1100 for c in drawn)
    assert all(max(c.macs / found.macs, c.params / found.params) >= 0.97 for c in drawn)


def test_a_coarse_space_says_what_was_taken(home, tmp_path):
    file = tmp_path / "coarse.yaml"
    file.write_text(
        "name: coarse\ninput: {channels: 1, classes: 3, resolution: 8}\n"
        "trunk: [{conv: {out: {choices: [5, 8, 9, 40]}, kernel: 3}}]\nhead: [{pool: {}}, {linear: {out: $classes}}]\n"
    )
    space = read_space(file)
    write_json(tmp_path / "mine.json", architecture(space, {space.choices[0].name: 1}).data)
    subject = read_subject(str(tmp_path / "mine.json"), str(file))
    lineup = lined_up(subject, drawn=2)
    assert [c.name for c in lineup.contenders] == ["mine", "drawn 1", "drawn 2"]
    assert "1 within 25%, 1 within 50%" in lineup.notes[0] and "asked for" not in lineup.notes[0]
    lineup = lined_up(subject, drawn=8)
    assert len(lineup.contenders) == 3 and "of 8 asked for" in lineup.notes[0]


def test_a_space_without_another_network_at_this_cost(home, tmp_path):
    file = tmp_path / "apart.yaml"
    file.write_text(
        "name: apart\ninput: {channels: 1, classes: 3, resolution: 8}\n"
        "trunk: [{conv: {out: {choices: [4, 40]}, kernel: 3}}]\nhead: [{pool: {}}, {linear: {out: $classes}}]\n"
    )
    space = read_space(file)
    write_json(tmp_path / "mine.json", architecture(space, {space.choices[0].name: 0}).data)
    subject = read_subject(str(tmp_path / "mine.json"), str(file))
    with pytest.raises(InputError, match="no other network has"):
        lined_up(subject, drawn=2)
    assert len(lined_up(subject).contenders) == 1


def test_each_network_has_its_share_of_the_resolution():
    """The published networks beside a space of 288 pixels searched at 64."""
    space = "fbnetv2"
    subject = read_subject("fbnetv2_f3", space)
    lineup = lined_up(subject, against=("fbnetv2_f3", "fbnetv2_f4"), side=64, new_classes=True)
    assert [(c.name, c.side) for c in lineup.contenders] == [
        ("fbnetv2_f3", 43), ("fbnetv2_f3 (2)", 43), ("fbnetv2_f4", 50),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("against", "said"),
    [("fbnetv2_f9", "did you mean"), ("fbnetv2", "a space with"), ("gone.json", "no such file")],
)
def test_mistakes_in_against(subject, against, said):
    with pytest.raises(InputError, match=said):
        lined_up(subject, against=(against,))


def test_mistakes_in_the_run(home, tmp_path):
    with pytest.raises(InputError, match="--space"):
        read_subject(str(home.network), None)
    with pytest.raises(InputError, match="nothing to draw"):
        read_subject(str(home.network), "fbnetv2_f1")
    with pytest.raises(InputError, match="a space with"):
        read_subject(str(home.space), None)


def test_a_classifier_of_other_classes_is_refused(subject, home, tmp_path):
    text = home.network.read_text().replace('"$classes"', "7")
    (tmp_path / "fixed.json").write_text(text)
    with pytest.raises(InputError, match="scores of 3 classes"):
        lined_up(subject, against=(str(tmp_path / "fixed.json"),))


def test_latency_of_blocks_that_were_made_smaller(tmp_path):
    """Tables hold whole blocks: the time of a pruned network is an estimate, which is said where times count."""
    whole = read_subject("fbnet_c", "fbnetv1")
    small = load_space("fbnet_c")
    document = msgspec.yaml.decode(Path(small.source).read_bytes()) | {"name": "small"}
    expand = next(node.path for node in graph_of(small).nodes if node.path.endswith("expand"))
    write_json(tmp_path / "small.json", document | {"keep": {expand: list(range(8))}})
    timed = replace(whole, budgets=(parse_budget("50ms@cpu_2core_ort_fbnetv1"),))
    for subject, notes in ((whole, 0), (timed, 1)):
        lineup = lined_up(subject, against=(str(tmp_path / "small.json"),), side=64, new_classes=True)
        assert sum("those of small were made smaller" in note for note in lineup.notes) == notes


def test_an_architecture_of_no_search_asks_for_its_space():
    with pytest.raises(InputError, match="fbnetv2_f1: no search is recorded with it .*--space"):
        read_subject("fbnetv2_f1", None)
