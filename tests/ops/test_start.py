"""Weights start with a variance by the number of products that each entry of a result sums (He et al. 2015)."""

from __future__ import annotations

import numpy as np
import pytest

from dnas.cost.ledger import at, macs
from dnas.nn.supernet import _drawn
from tests.ops.test_contract import EXAMPLES, SOURCES, WIDTHS, graph_of

LARGEST = {"w": len(WIDTHS) - 1}
GAIN = {"circulant": 1 / 3}
"""That of the authors of augmented shortcuts (He et al. 2015 for a leaky slope of sqrt(5)); others have 2."""


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_the_fan_is_the_products_of_an_entry(name):
    graph = graph_of(name, SOURCES["first"])
    drawn = [parameter for parameter in graph.parameters.values() if parameter.start is None]
    if not drawn:
        return
    (parameter,) = drawn
    entries = at((graph.output.elements,), LARGEST)
    products = at(macs(graph.ledger), LARGEST) / entries
    assert parameter.deviation**2 == pytest.approx(GAIN.get(name, 2) / products)


def test_numbers_are_drawn_with_that_deviation():
    graph = graph_of("linear", SOURCES["first"])
    parameter = graph.parameters[".op.weight"]._replace(shape=(100, 100))
    values = _drawn("weight", parameter, [0])
    assert np.std(values) == pytest.approx(0.02**0.5, rel=0.03) and abs(np.mean(values)) < 0.005
