"""The length of a step: the bounds of one change, which runs reach rarely."""

import pytest

from refsgd.kernels.contract import N_START
from refsgd.sgd import length
from refsgd.sgd.length import StepLength


@pytest.mark.parametrize(("slope", "expected"), [(9.0, 4.0), (6.0, 3.0), (1.0, 2.0), (0.0, 2.0)])
def test_ceiling_halves_the_length_at_most_and_never_lengthens(slope, expected):
    assert length.capped(StepLength(4.0, slope=slope, bend=2.0)).length == expected


def test_no_bend_means_no_ceiling():
    assert length.capped(StepLength(4.0, slope=1.0, bend=0.0)).length == 4.0


@pytest.mark.parametrize(("curv", "expected"), [(0.25, 4.0), (0.2, 5.0), (0.01, 8.0), (10.0, 2.0)])
def test_probe_changes_the_length_by_a_factor_of_two_at_most(curv, expected):
    after = length.followed(StepLength(4.0), curv, 1.0, 1.0)
    assert after.length == pytest.approx(expected, rel=1e-15)


def test_length_grows_without_curvature_only_below_its_limit():
    flat = StepLength(4.0)
    assert length.followed(flat, 0.0, 0.1, 5.0).length == 8.0
    assert length.followed(flat, 0.0, 0.1, 4.0).length == 4.0
    assert length.followed(flat, 1e-9, 0.1, 4.0).length == 8.0


def test_averages_are_over_the_start_at_least():
    assert length.weight(3.0, 1) == 1 / N_START
    assert length.weight(40.0, 2) == 1 / 20
