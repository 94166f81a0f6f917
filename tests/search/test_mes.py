"""Mobile efficiency scores of the published networks, from their published figures."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dnas.errors import InputError
from dnas.search.mes import mobile_efficiency_score

# M parameters, milliseconds on an iPhone 12, score with a minus, score with a plus.
PUBLISHED = {
    "efficientformerv2_s0": (3.5, 0.9, 97.6, 102.5),
    "efficientformerv2_s1": (6.1, 1.1, 66.9, 149.6),
    "efficientformerv2_s2": (12.6, 1.6, 38.6, 259.2),
    "efficientformerv2_l": (26.1, 2.7, 20.6, 484.7),
    "efficientformer_l1": (12.3, 1.4, 41.7, 239.6),
    "efficientformer_l3": (31.3, 2.7, 18.8, 530.8),
    "efficientformer_l7": (82.1, 6.6, 7.4, 1343.9),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_networks(name):
    params, ms, minus, plus = PUBLISHED[name]
    metrics = {"params": params * 1e6, "ms": ms}
    assert round(mobile_efficiency_score(metrics), 1) == minus
    assert round(mobile_efficiency_score(metrics, sign="plus"), 1) == plus


positive = st.floats(1e-3, 1e9)


@given(params=positive, ms=positive, alpha=st.floats(0.01, 1))
def test_signs_and_units(params, ms, alpha):
    metrics, exponents = {"params": params, "ms": ms}, {"params": alpha}
    down = mobile_efficiency_score(metrics, exponents=exponents)
    up = mobile_efficiency_score(metrics, exponents=exponents, sign="plus")
    assert math.isclose(down * up, 100**2, rel_tol=1e-9)
    assert math.isclose(mobile_efficiency_score(metrics, units=metrics), 100)
    assert mobile_efficiency_score({**metrics, "ms": 4 * ms}) == pytest.approx(
        mobile_efficiency_score(metrics) / 2, rel=1e-9
    )


@pytest.mark.parametrize(
    "metrics, options, said",
    [
        ({"params": 0}, {}, "metric 'params': not accepted here"),
        ({"ms": math.nan}, {}, "metric 'ms'"),
        ({"joules": 1}, {}, "has no unit"),
        ({"ms": 1}, {"exponents": {"ms": 0}}, "exponent of 'ms'"),
        ({"ms": 1}, {"units": {"ms": -1}}, "unit 'ms'"),
    ],
)
def test_mistakes(metrics, options, said):
    with pytest.raises(InputError, match=said):
        mobile_efficiency_score(metrics, **options)
