"""Pieces of the claims of arXiv 1810.00150, against closed forms and slow twins."""

import json

import numpy as np
import pytest
from scipy import stats as scipy_stats

from refsgd import DirectionStats, datasets
from refsgd.__main__ import main
from refsgd.apps.experiments import gradients
from refsgd.apps.experiments import mean_direction_theorem as theorem
from refsgd.apps.experiments import random_angles as angles
from refsgd.baselines import SGD
from refsgd.models import Softmax

# -- gradients over training


def test_gradients_are_those_of_the_moment_and_report_what_numpy_says():
    data, model = datasets.load_digits(np.float64), Softmax(64, 10)
    x = np.random.default_rng(1).normal(size=model.n_params)
    report = gradients.gradients_at(model, x, data, 20, np.random.default_rng(0))
    rows = np.random.default_rng(0).integers(len(data.y_train), size=(20, gradients.BATCH_SIZE))
    g = np.array([model.grad(x, data.X_train[r], data.y_train[r]).mean(axis=0) for r in rows])
    lengths = np.linalg.norm(g, axis=1)
    r = np.linalg.norm((g / lengths[:, None]).mean(axis=0))
    expected = (
        np.linalg.norm(g.mean(axis=0)) / np.sqrt(g.var(axis=0, ddof=1).sum()),
        lengths.mean() / lengths.std(ddof=1),
        r * (g.shape[1] - r**2) / (1 - r**2),
    )
    # Sums of 20 numbers in another order; 1 - r**2 of about 0.1 loses a digit.
    assert (report.snr, report.norm_snr, report.kappa) == pytest.approx(expected, rel=1e-12)


def test_gradients_of_one_length_have_an_snr_that_kappa_determines():
    """The arithmetic in the docstring of snr_follows_uniformity."""
    rng = np.random.default_rng(0)
    n, d = 30, 50
    u = rng.normal(size=(n, d)) + 0.5
    u /= np.linalg.norm(u, axis=1)[:, None]

    class Directions:
        def moments(self, x, X, y, squares):
            return len(X), 7.0 * next(rows), None

    rows = iter(u)
    report = gradients.gradients_at(Directions(), None, datasets.load_digits(), n, rng)
    r = np.linalg.norm(u.mean(axis=0))
    assert report.snr**2 == pytest.approx((1 - 1 / n) * r**2 / (1 - r**2), rel=1e-12)
    assert report.kappa == pytest.approx(r * (d - r**2) / (1 - r**2), rel=1e-12)


def test_history_is_of_the_parameters_after_each_epoch_and_of_the_start():
    data, model = datasets.load_digits(), Softmax(64, 10)
    history = gradients.follow(model, SGD(0.1), data, gradients.Size(1, 2, 5), seed=0)
    assert history.keys() == set(gradients.RECORDED)
    assert all(len(values) == 3 for values in history.values())
    assert history["loss"][0] == pytest.approx(np.log(10), rel=1e-6)  # float32
    assert history["loss"][0] > history["loss"][1] > history["loss"][2]
    assert history == gradients.follow(model, SGD(0.1), data, gradients.Size(1, 2, 5), seed=0)
    assert history != gradients.follow(model, SGD(0.1), data, gradients.Size(1, 2, 5), seed=1)


@pytest.mark.parametrize(("kappa", "expected"), [([4, 3, 2, 1], -1), ([1, 2, 3, 9], 1), ([2, 4, 1, 3], 0)])
def test_trend_is_the_rank_correlation_with_the_epoch(kappa, expected):
    assert gradients.trend({"kappa": kappa}) == pytest.approx(expected, abs=1e-12)


def test_correlations_are_of_logarithms():
    history = {"snr": [1, 2, 4, 8], "kappa": [3, 12, 48, 192], "norm_snr": [8, 4, 2, 1]}
    assert gradients.correlations(history) == pytest.approx((1, -1), abs=1e-12)


def test_one_run_that_rises_in_spite_of_the_rest_is_counted():
    down, up = {"kappa": [3.0, 2.0, 1.0]}, {"kappa": [1.0, 2.0, 3.0]}
    assert gradients.falling({"a": [down, down]})[0]
    holds, text = gradients.falling({"a": [down], "b": [down, up]})
    assert not holds
    assert text == "kappa ends lower in 2 of 3 runs, its trend is below -0.5 in 2"


# -- the mean direction


def test_slope_of_two_points_at_a_right_angle():
    """m = (1, 1)/sqrt(2) and 1 - (m'u)**2 = 1/2 of both, at distances 1 and 4: -(1/2 + 1/8)."""
    exact, difference = theorem.slope(np.array([[1.0, 0.0], [0.0, 4.0]]))
    assert exact == pytest.approx(-0.625, rel=1e-14)
    assert difference == pytest.approx(-0.625, rel=1e-7)  # t**2 = 1e-8 of the third derivative


@pytest.mark.parametrize("kind", theorem.KINDS)
def test_kappa_is_that_of_direction_stats(kind):
    points = theorem.configuration(kind, 10, 5, np.random.default_rng(0))
    stats = DirectionStats(5)
    stats.update(points)
    assert theorem.kappa(points) == pytest.approx(stats.concentration("banerjee"), rel=1e-12)


def test_kappa_does_not_move_on_a_line_but_off_it():
    """Two points ahead and one behind: on one ray they are not, and yet the resultant stays 1."""
    line = np.array([[1.0, 0.0], [2.0, 0.0], [-1.0, 0.0]])
    assert theorem.slope(line)[0] == 0
    step = np.array([0.1, 0.0])
    assert theorem.kappa(line - step) == theorem.kappa(line)
    bent = line + np.array([[0.0, 0.1], [0.0, 0.0], [0.0, 0.0]])
    assert theorem.slope(bent)[0] < 0
    assert not theorem.changes_on_a_line(9, 4, np.random.default_rng(0))


def test_points_that_balance_have_no_concentration():
    assert theorem.kappa(np.array([[1.0, 0.0], [-2.0, 0.0]])) == 0


def test_falls_says_which_steps_are_too_long():
    """From a corner of a square: Weiszfeld's step leads inside, ten of them far out."""
    square = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    falls = theorem.falls(square)
    assert falls[: theorem.STEPS.index(1.0) + 1] == [True] * 6
    assert not falls[-1]


# -- angles


def test_exact_law_in_two_and_three_dimensions():
    """The angle is uniform on a circle, and its cosine on a sphere.

    At the ends the angle is an ill-conditioned function of its sine: hence 1e-12.
    """
    t = np.linspace(-3, 3, 101)
    inside = np.clip(t / np.sqrt(2), -np.pi / 2, np.pi / 2)
    assert angles.exact(t, 2) == pytest.approx(0.5 + inside / np.pi, abs=1e-12)
    inside = np.clip(t / np.sqrt(3), -np.pi / 2, np.pi / 2)
    assert angles.exact(t, 3) == pytest.approx(0.5 + np.sin(inside) / 2, abs=1e-12)


def test_distance_comes_to_its_limit():
    """The maximum of t (9 - t**2) phi(t) / 12; the next term of the distance is of 1/d**2."""
    t = np.arange(0, 6, 1e-4)
    limit = np.max(t * (9 - t**2) * np.exp(-(t**2) / 2) / np.sqrt(2 * np.pi) / 12)
    assert 10_000 * angles.distance(10_000) == pytest.approx(limit, rel=1e-3)


def test_sample_distance_is_that_of_scipy():
    t = angles.angles(3, np.random.default_rng(0))
    to_exact, to_normal = angles.empirical(angles.exact(t, 3)), angles.empirical(scipy_stats.norm.cdf(t))
    assert to_exact == pytest.approx(scipy_stats.kstest(t, lambda s: angles.exact(s, 3)).statistic, rel=1e-12)
    # A fixed seed: 1,000 angles are further from their own law in one of 20. The normal law is not theirs.
    assert to_exact < angles.bound(1000) < to_normal


def test_bound_is_exceeded_in_one_of_twenty():
    assert scipy_stats.kstwobign.sf(angles.bound(400) * 20) == pytest.approx(0.05, rel=1e-9)


def test_enough_is_the_first_dimension_below_a_tenth_of_the_bound():
    numbers = {"dims": [2, 5, 100], "distance": [1 / 2, 1 / 5, 1 / 100]}
    n = 50
    expected = int(np.ceil(10 / angles.bound(n)))  # where 1/d is a tenth of the bound
    assert 5 < expected < 100
    assert angles.enough(numbers, n) == expected


# -- from command to files


SHORT = {"Size": lambda *full: gradients.Size(1, 2, 5)}


def refuse(name):
    pytest.fail(f"{name} in the file")


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("uniformity_falls", SHORT),
        ("snr_follows_uniformity", SHORT),
        ("mean_direction_theorem", {"DIMS": (2, 20), "COUNTS": (2, 3)}),
        ("random_angles", {"DIMS": (2, 100)}),
        ("convolutional_networks", SHORT | {"OPTIONS": {"Res-CNN+BN": (True, True)}}),
    ],
)
def test_directional_claim_runs(name, changes, tmp_path, monkeypatch):
    if name == "convolutional_networks":
        pytest.importorskip("torch")
    for attribute, value in changes.items():
        monkeypatch.setattr(f"refsgd.apps.experiments.{name}.{attribute}", value)
    assert main(["reproduce", name, "--quick", "--out", str(tmp_path)]) == 0
    record = json.loads((tmp_path / f"{name}.json").read_text(), parse_constant=refuse)  # NaN and inf
    assert "nan" not in record["by"]
    if name in ("mean_direction_theorem", "random_angles"):
        assert record["holds"]
