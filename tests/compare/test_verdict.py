"""Standard errors and the sentence, on made figures."""

from __future__ import annotations

import math

import pytest

from dnas.compare.verdict import Figure, legend, of_group, of_network, scatter, sentence, verdict


def test_the_error_of_a_network_is_over_its_seeds():
    figure = of_network([0.80, 0.82, 0.84], 1000)
    assert (figure.mean, figure.over) == (0.82, "seeds")
    assert figure.error == pytest.approx(0.02 / math.sqrt(3))


def test_with_one_seed_it_is_the_binomial_of_the_test_images():
    figure = of_network([0.8], 1000)
    assert figure.over == "test images" and figure.error == pytest.approx(math.sqrt(0.8 * 0.2 / 1000), rel=0.01)
    assert of_network([1.0], 1000).error > 0, "all right is not certain"


def test_the_error_of_a_group_is_over_its_networks_means():
    figure = of_group([[0.80, 0.82], [0.84, 0.86], [0.76, 0.78]], 1000)
    assert figure.mean == pytest.approx(0.81) and figure.over == "networks and seeds"
    assert figure.error == pytest.approx(0.04 / math.sqrt(3))
    assert of_group([[0.8, 0.9]], 1000) == of_network([0.8, 0.9], 1000)


def test_networks_that_agree_by_chance_make_no_difference_certain():
    """Two networks drawn with equal accuracies: their mean is not certain because of that."""
    group, one = of_group([[0.8], [0.8]], 1000), of_network([0.8], 1000)
    assert group.error == pytest.approx(one.error / math.sqrt(2))
    assert verdict("x", Figure(0.826, one.error, "test images"), group).word == "not to be told apart from"
    assert of_group([[0.8, 0.8], [0.8, 0.8]], 1000, least=0.004).error == pytest.approx(0.004 / math.sqrt(2))


def test_scatter_is_pooled_over_networks():
    assert scatter([[0.80, 0.82], [0.5, 0.5]], 1000) == pytest.approx(0.01)
    assert scatter([[0.8], [0.5]], 1000) == 0


def test_one_image_is_no_difference_where_all_seeds_agree():
    """Of 20 images, two seeds each: any gap was ahead."""
    tests = [[0.85, 0.85], [0.8, 0.8]]
    found, other = (of_network(row, 20) for row in tests)
    assert verdict("other", found, other, scatter(tests, 20) / 2**0.5).word == "not to be told apart from"


@pytest.mark.parametrize(
    ("found", "word"),
    [(0.85, "ahead of"), (0.821, "not to be told apart from"), (0.819, "not to be told apart from"), (0.79, "behind")],
)
def test_two_standard_errors_tell_apart(found, word):
    assert verdict("x", Figure(found, 0.01, "seeds"), Figure(0.82, 0.005, "seeds")).word == word


def test_seeds_that_agree_by_chance_make_no_difference_certain():
    same = Figure(0.801, 0.0, "seeds"), Figure(0.800, 0.0, "seeds")
    assert verdict("x", *same).word == "ahead of"
    assert verdict("x", *same, least=0.004).word == "not to be told apart from"
    group = Figure(0.8, 0.001, "networks and seeds")
    assert verdict("x", same[0], group, least=0.004).error == pytest.approx(math.hypot(0.004, 0.001))


def test_equal_networks_are_not_told_apart():
    figure = of_network([0.1, 0.1], 1000)
    assert verdict("x", figure, figure).word == "not to be told apart from"


def test_the_sentence_names_everyone_under_the_right_word():
    found = Figure(0.853, 0.003, "seeds")
    others = {"8 drawn evenly at its cost": 0.829, "f3": 0.841, "f4": 0.854, "f5": 0.853, "big": 0.9}
    verdicts = [verdict(name, found, Figure(mean, 0.004, "seeds")) for name, mean in others.items()]
    text = sentence("mine", found, verdicts, 3, 1000)
    assert text == (
        "With 3 seeds and 1,000 test images, mine (85.3 +- 0.3 %) is ahead of 8 drawn evenly at its cost "
        "(+2.4 +- 0.5 points) and f3 (+1.2 +- 0.5 points); not to be told apart from f4 (-0.1 +- 0.5 points) and f5 "
        "(+0.0 +- 0.5 points); and behind big (-4.7 +- 0.5 points)."
    )
    assert sentence("mine", found, verdicts[:1], 1, 50).startswith("With 1 seed and 50 test images, mine")
    assert "nothing to compare" in sentence("mine", found, [], 1, 50)


def test_it_is_said_what_the_errors_are_over():
    assert "over seeds" in legend(3, 8) and "over networks and seeds" in legend(3, 8)
    assert "binomial" in legend(1, 0) and "networks" not in legend(1, 0)
