import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossagent_openha.camera import CameraBins

SCHEMES = [CameraBins(), CameraBins(binsize=1, mu=20.0), CameraBins(scheme="linear")]


def test_the_middles_are_those_of_the_published_table() -> None:
    found = CameraBins().decode(range(11))
    assert [round(angle, 2) for angle in found] == [-10, -5.81, -3.22, -1.61, -0.62, 0, 0.62, 1.61, 3.22, 5.81, 10]
    assert CameraBins(scheme="linear").decode(range(11)) == tuple(range(-10, 11, 2))
    edges = [0.268, 0.274, 1.03, 1.06, 2.3, 2.34]  # around 11 ** 0.1 - 1, 11 ** 0.3 - 1 and 11 ** 0.5 - 1
    assert CameraBins().encode(edges) == (5, 6, 6, 7, 7, 8)
    assert [bins.count for bins in SCHEMES] == [11, 21, 11]


@pytest.mark.parametrize("bins", SCHEMES)
def test_a_bin_decodes_into_itself(bins: CameraBins) -> None:
    assert bins.encode(bins.decode(range(bins.count))) == tuple(range(bins.count))
    assert bins.encode([0.0]) == (bins.count // 2,)


@given(st.sampled_from(SCHEMES), st.floats(-180, 180), st.floats(-180, 180))
def test_bins_are_ordered_symmetric_and_nearest(bins: CameraBins, a: float, b: float) -> None:
    (low,), (high,) = bins.encode([min(a, b)]), bins.encode([max(a, b)])
    assert low <= high
    mirrored = bins.count - 1 - bins.encode([-a])[0]
    assert abs(mirrored - bins.encode([a])[0]) <= 1  # 1 only on an edge, where halves go to the even bin
    ((index,), clipped) = bins.encode([a]), max(-10.0, min(10.0, a))
    edges = bins.decode([max(index - 1, 0)]) + bins.decode([min(index + 1, bins.count - 1)])
    assert edges[0] <= clipped <= edges[1]


def test_what_is_no_angle_or_no_bin_is_refused() -> None:
    with pytest.raises(ValueError, match="finite"):
        CameraBins().encode([math.nan])
    with pytest.raises(ValueError, match="expected 0 to 10"):
        CameraBins().decode([11])
    with pytest.raises(ValueError, match="divide"):
        CameraBins(maxval=10, binsize=3)
    with pytest.raises(ValueError, match="mu"):
        CameraBins(mu=0)
