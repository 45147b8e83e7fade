"""What ``python -m refsgd fit`` measures: losses, the best constant, AUC."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from refsgd.apps.commands import scores
from refsgd.apps.commands.fit import ONE_OUTPUT
from refsgd.linear.losses import MARGIN_LOSSES, values


@pytest.mark.parametrize("loss", ONE_OUTPUT)
def test_no_constant_is_better_than_the_best(loss):
    rng = np.random.default_rng(0)
    y, w = rng.poisson(2.0, 501).astype(float), rng.random(501)
    classes = np.array([0.0, 1.0]) if loss in MARGIN_LOSSES else None
    y = np.minimum(y, 1) if classes is not None else y
    sample = scores.LabelSample()
    sample.add(y, w)
    epsilon = 0.0 if loss == "absolute_error" else 0.1
    _, found = sample.constant(loss, epsilon, classes)
    t = scores.targets(y, classes)[:, 0]
    least = min(
        np.average(values(loss, np.full(t.shape, c), t, epsilon), weights=w) for c in np.linspace(-3, 4, 1401)
    )
    assert found <= least * 1.01  # of the losses with corners the median is not quite the best


def test_auc_is_that_of_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    z, y, w = rng.integers(0, 9, 200) / 8.0, rng.integers(0, 2, 200), rng.random(200)
    assert_allclose(scores.auc(z, y, w), metrics.roc_auc_score(y, z, sample_weight=w), rtol=1e-13)
    assert np.isnan(scores.auc(z, np.ones(200), w))


@pytest.mark.parametrize("sizes", [[1] * 4000, [4000], [30, 1500, 70, 2400]])
def test_sample_of_labels_is_even_and_bounded(monkeypatch, sizes):
    monkeypatch.setattr(scores.LabelSample, "LARGEST", 400)
    sample, begin = scores.LabelSample(), 0
    for size in sizes:
        sample.add(np.arange(begin, begin + size, dtype=float), np.full(size, 2.0))
        begin += size
        assert sample._kept.shape == (3, min(begin, 400))
    _, rows, weights = sample._kept
    assert np.unique(rows).size == 400 and (weights == 2).all()
    # Kolmogorov-Smirnov: 1.95 / sqrt(400) is passed once in 1,000 seeds; the seed is fixed
    assert np.abs(np.sort(rows) / 4000 - np.arange(400) / 400).max() < 0.0975
