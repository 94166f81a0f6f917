"""Recipes as files: what is read, what is refused and where."""

from __future__ import annotations

import dataclasses

import pytest

from dnas.errors import InputError
from dnas.grammar.catalogue import recipe_names
from dnas.grammar.read import read_space
from dnas.space.fields import Options
from dnas.train.recipe import Recipe, joined, read_recipe, with_values
from dnas.train.recipe_fields import FIELDS


def written(tmp_path, text: str):
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    return read_recipe(file)


@pytest.mark.parametrize("name", recipe_names())
def test_every_shipped_recipe_reads(name):
    recipe = read_recipe(name)
    assert recipe.name == name
    if recipe.choices:
        assert name.endswith("_search")
        assert all(recipe.at({c.name: i % len(c) for c in recipe.choices}) for i in range(50))
    else:
        assert recipe.fixed().name == name


def test_the_presets_of_the_papers_are_there():
    assert {"quick", "fbnet", "fbnetv3", "efficientformer"} <= set(recipe_names())
    former = read_recipe("efficientformer").fixed()
    assert (former.optimizer, former.weight_decay, former.peak_lr, former.ema) == ("adamw", 0.025, 1e-3, 0.99996)
    assert with_values(former, {"batch_size": 3072}).peak_lr == pytest.approx(3e-3)  # 24 devices of 128 images
    v3, space = read_recipe("fbnetv3").fixed(), read_recipe("fbnetv3_search")
    for choice in space.choices:  # the fixed recipe lies inside the space that the joint search explores
        value, options = getattr(v3, choice.name), choice.options
        assert value in options or min(options) <= value <= max(options), choice.name


def test_the_dataclass_and_the_fields_agree():
    assert [f.name for f in dataclasses.fields(Recipe)] == ["name", *FIELDS]


def test_what_is_written_reads_back_equal(tmp_path):
    for name in ("quick", "fbnet", "efficientformer"):
        recipe = read_recipe(name).fixed()
        assert written(tmp_path, recipe.to_yaml()).fixed() == recipe


def test_fields_left_out_take_their_defaults(tmp_path):
    recipe = written(tmp_path, "lr: 1\n").fixed()
    assert recipe.name == "mine" and recipe.lr == 1.0 and recipe.epochs == FIELDS["epochs"].default


def test_exponents_are_numbers_with_and_without_a_point(tmp_path):
    assert written(tmp_path, "lr: 1e-3\nweight_decay: 5.0e-5\n").fixed().lr == 0.001
    assert written(tmp_path, "lr: {choices: [1e-3, 2e-3]}\n").choices[0].options == (0.001, 0.002)


def test_choices_make_a_space_of_recipes(tmp_path):
    space = written(tmp_path, "lr: {range: [0.1, 0.3, 0.1]}\noptimizer: {choices: [sgd, adamw]}\n")
    assert [(c.name, c.options) for c in space.choices] == [("lr", (0.1, 0.2, 0.3)), ("optimizer", ("sgd", "adamw"))]
    assert (space.at({"lr": 2, "optimizer": 1}).lr, space.at({"lr": 2, "optimizer": 1}).optimizer) == (0.3, "adamw")
    with pytest.raises(InputError, match="lr, optimizer are choices"):
        space.fixed()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("lr: 0.1\nlearning: 2\n", "mine.yaml:2: learning: unknown field"),
        ("epochs: 5\nmixupp: 1\n", "did you mean 'mixup'"),
        ("epochs: 0\n", "mine.yaml:1: epochs.*above 0"),
        ("lr: -1\n", "mine.yaml:1: lr"),
        ("lr: .nan\n", "mine.yaml:1: lr"),
        ("lr: fast\n", "accepted: a number above 0"),
        ("batch_size: 1.5\n", "batch_size.*integer"),
        ("batch_size: true\n", "batch_size.*integer"),
        ("optimizer: lion\n", "one of sgd, rmsprop, adamw"),
        ("dropout: 1\n", "below 1"),
        ("flip: 1\n", "true or false"),
        ("validation: 0\n", "above 0, below 1"),
        ("schedule: step\n", "schedule 'step' needs it"),
        ("decay_epochs: [3, 2]\n", "rising"),
        ("decay_epochs: {choices: [1, 2]}\n", "cannot be searched"),
        ("epochs: 5\nwarmup_epochs: 5\n", "mine.yaml:2: warmup_epochs.*whole training"),
        ("lr: 0.1\nlr_floor: 0.2\n", "mine.yaml:2: lr_floor"),
        ("lr: {choices: [0.1, -1]}\n", "found -1"),
        ("lr: {range: [0.1, 0.3]}\n", "not a choice"),
        ("lr: 1\nlr: 2\n", "mine.yaml:2: the key 'lr' stands twice"),
        ("lr: !!python/object/apply:os.system [ls]\n", "mine.yaml:1"),
        ("- lr\n", "not a recipe"),
        ("name: 3\n", "not text"),
    ],
)
def test_a_mistake_names_file_line_and_what_is_accepted(tmp_path, text, said):
    with pytest.raises(InputError, match=said):
        written(tmp_path, text).fixed()


def test_an_unknown_name_suggests_the_nearest():
    with pytest.raises(InputError, match="did you mean 'fbnetv3'"):
        read_recipe("fbnetv4")
    with pytest.raises(InputError, match="nowhere.yaml"):
        read_recipe("nowhere.yaml")


def test_options_of_the_command_are_checked_alike():
    recipe = read_recipe("quick").fixed()
    assert with_values(recipe, {"epochs": 3, "lr": None}).epochs == 3.0
    with pytest.raises(InputError, match="--epochs"):
        with_values(recipe, {"epochs": -1.0})
    with pytest.raises(InputError, match="lr_floor"):
        with_values(read_recipe("efficientformer").fixed(), {"lr": 1e-6})


def test_other_epochs_keep_the_shape_of_the_schedule():
    quick, fbnet = (read_recipe(name).fixed() for name in ("quick", "fbnet"))
    assert with_values(quick, {"epochs": 6}).warmup_epochs == quick.warmup_epochs / 2
    assert with_values(fbnet, {"epochs": 36}).decay_epochs == pytest.approx((9, 18, 27))


SPACE = """
input: {channels: 1, classes: 3, resolution: 8}
trunk: [{conv: {out: {choices: [4, 8]}}}]
head: [{pool: {}}, {linear: {out: $classes}}]
"""


def space_with(tmp_path, recipe: str):
    file = tmp_path / "space.yaml"
    file.write_text(f"{SPACE}recipe: {recipe}\n")
    return read_space(file)


def test_a_space_may_say_which_trainings_are_tried(tmp_path):
    """Its section stands in place of the recipe's fields; choices are named by their path, as the space's own are."""
    space = space_with(tmp_path, "{lr: {log_range: [0.01, 1, 3]}, mixup: {choices: [0, 0.2]}, epochs: 2}")
    recipes = joined(read_recipe("quick"), space)
    assert [(c.name, c.options) for c in recipes.choices] == [
        ("recipe.lr", (0.01, 0.1, 1.0)), ("recipe.mixup", (0.0, 0.2)),
    ]  # fmt: skip
    assert [c.name for c in space.choices] == ["trunk.0.out"]  # a search of architectures alone is as it was
    taken = recipes.at({"recipe.lr": 1, "recipe.mixup": 0})
    assert (taken.lr, taken.mixup, taken.epochs, taken.label_smoothing) == (0.1, 0.0, 2.0, 0.05)
    assert written(tmp_path, taken.to_yaml()).fixed() == taken


def test_other_epochs_of_a_space_keep_the_shape_of_the_schedule(tmp_path):
    """As those of the command line do; what the section says of the schedule itself stays."""
    fbnet = read_recipe("fbnet").fixed()
    recipes = joined(read_recipe("fbnet"), space_with(tmp_path, "{epochs: {choices: [36, 72]}}"))
    for number, epochs in enumerate((36, 72)):
        assert recipes.at({"recipe.epochs": number}) == with_values(fbnet, {"epochs": epochs})
    one = joined(read_recipe("quick"), space_with(tmp_path, "{epochs: 1}"))
    assert one.at({}).warmup_epochs == pytest.approx(1 / 12)
    stated = joined(read_recipe("quick"), space_with(tmp_path, "{epochs: 6, warmup_epochs: 2}"))
    assert stated.at({}).warmup_epochs == 2


def test_choices_of_the_recipe_itself_stay_choices(tmp_path):
    names = [c.name for c in joined(read_recipe("fbnetv3_search"), space_with(tmp_path, "{lr: 0.5}")).choices]
    assert "recipe.lr" not in names and {"recipe.optimizer", "recipe.ema"} <= set(names)


@pytest.mark.parametrize(
    ("recipe", "said"),
    [
        ("{mixap: 0.1}", "space.yaml:5: recipe.mixap: unknown field 'mixap', did you mean 'mixup'?"),
        ("{lr: {log_range: [0, 1, 3]}}", "space.yaml:5: recipe.lr: not a range of logarithms"),
        ("{lr: {log_range: [0.1, 1, 1]}}", "2 to 512 numbers"),
        ("{lr: {choices: [0.1], log_range: [0.1, 1, 2]}}", "'choices', 'range' or 'log_range'"),
        ("{mixup: {choices: [0, -1]}}", "space.yaml:5: recipe.mixup: not accepted here (found -1"),
        ("[lr]", "space.yaml:5: recipe: not a mapping"),
        ("{validation: {choices: [0.1, 0.2]}}", "space.yaml:5: recipe.validation: cannot be searched"),
    ],
)
def test_a_section_that_says_what_cannot_be_is_refused(tmp_path, recipe, said):
    with pytest.raises(InputError) as error:
        joined(read_recipe("quick"), space_with(tmp_path, recipe))
    assert said in str(error.value)


def test_numbers_of_one_ratio_keep_their_ends():
    options = Options(log_range=(0.003, 3, 4)).options("here")
    assert options == (0.003, 0.03, 0.3, 3.0)
