"""Convolutional networks for experiments: shapes, gradients, and what their options mean."""

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from refsgd.apps.torch_models import ConvNet, one_thread

OPTIONS = [(False, False), (True, False), (False, True), (True, True)]
RNG = np.random.default_rng(0)
X, Y = RNG.uniform(size=(6, 64)), RNG.integers(0, 3, 6)


def net(residual=False, batch_norm=False):
    return ConvNet(8, residual, batch_norm, channels=2, n_classes=3)


def parts(model, x):
    """The pieces of x in their shapes, as views."""
    ends = np.cumsum([np.prod(shape) for shape in model.shapes])
    return [piece.reshape(shape) for piece, shape in zip(np.split(x, ends[:-1]), model.shapes, strict=True)]


@pytest.mark.parametrize("options", OPTIONS)
def test_gradient_is_the_slope_of_the_loss(options):
    model = net(*options)
    x = model.init(0, np.float64)
    n, mean, squares = model.moments(x, X, Y)
    direction = np.random.default_rng(1).normal(size=x.size)
    t = 1e-6  # of which the square is 1e-12, and rounding is 1e-16 / t = 1e-10
    slope = (model.loss(x + t * direction, X, Y) - model.loss(x - t * direction, X, Y)) / (2 * t)
    assert (n, squares, mean.dtype) == (6, None, np.float64)
    assert mean @ direction == pytest.approx(slope, rel=1e-6)


@pytest.mark.parametrize("options", OPTIONS)
def test_start_has_scales_of_one_and_biases_of_zero(options):
    model = net(*options)
    x = model.init(0)
    assert x.dtype == np.float32 and x.shape == (model.n_params,)
    *pieces, last = parts(model, x)
    assert not last.any()
    vectors = [piece for piece in pieces if piece.ndim == 1]
    assert [set(piece) for piece in vectors] == ([{1}, {0}] * 7 if options[1] else [{0}] * 7)
    assert np.array_equal(x, model.init(0)) and not np.array_equal(x, model.init(1))


def test_batch_normalisation_makes_the_size_of_weights_irrelevant():
    for batch_norm in (True, False):
        model = net(batch_norm=batch_norm)
        x = model.init(0, np.float64)
        before = model.loss(x, X, Y)
        parts(model, x)[0][...] *= 3
        # eps = 1e-5 beside a variance of about 0.1
        assert (model.loss(x, X, Y) == pytest.approx(before, rel=1e-3)) == batch_norm


def test_residual_blocks_of_zero_pass_their_input():
    """So that the loss depends on the image; without residuals all scores are 0 and the loss is log 3."""
    losses = {}
    for residual in (True, False):
        model = net(residual)
        x = model.init(0, np.float64)
        for piece in parts(model, x)[2:-2]:
            piece[...] = 0
        losses[residual] = model.loss(x, X, Y)
    assert losses[False] == pytest.approx(np.log(3), rel=1e-14)
    assert abs(losses[True] - np.log(3)) > 1e-3


def test_number_of_threads_is_given_back_after_an_error():
    before = torch.get_num_threads()

    def interrupted():
        with one_thread():
            raise KeyboardInterrupt(torch.get_num_threads())

    with pytest.raises(KeyboardInterrupt, match="1"):
        interrupted()
    assert torch.get_num_threads() == before
