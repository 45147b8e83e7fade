"""vSGD as a method of scipy.optimize.minimize, and as an iterator."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from scipy import optimize

import refsgd
from refsgd.models import Logistic

MODEL = Logistic(3)
OPTIONS = {"batch_size": 10, "epochs": 2, "random_state": 0}


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 3))
    return X, (X @ [2.0, -1.0, 0.5] > 0).astype(int)


def test_callable_jac_gives_the_run_of_refsgd_minimize(data):
    res = optimize.minimize(
        MODEL.loss, MODEL.init(), args=data, jac=MODEL.grad, method=refsgd.VSGD(), options=OPTIONS
    )
    own = refsgd.minimize(MODEL.grad, MODEL.init(), data, fun=MODEL.loss, **OPTIONS)
    assert_array_equal(res.x, own.x)
    assert res.fun == own.fun == MODEL.loss(res.x, *data)
    assert (res.success, res.nit, res.njev, res.nsamples) == (True, 80, own.njev, 800)
    assert 80 < res.njev < 160  # some minibatches are evaluated at a second point


def test_jac_true_sees_each_minibatch_and_not_a_cached_one(data):
    seen = []

    def loss_and_grad(x, X, y):
        seen.append(X[0, 0])
        return MODEL.loss(x, X, y), MODEL.grad(x, X, y)

    res = optimize.minimize(
        loss_and_grad, MODEL.init(), args=data, jac=True, method=refsgd.VSGD(), options=OPTIONS
    )
    own = refsgd.minimize(MODEL.grad, MODEL.init(), data, fun=MODEL.loss, **OPTIONS)
    assert_array_equal(res.x, own.x)
    assert len(set(seen)) > 40  # 40 minibatches an epoch, in two orders


def test_gradient_of_a_minibatch_counts_as_one_sample(data):
    def mean_grad(x, X, y):
        return MODEL.grad(x, X, y).mean(axis=0)

    res = optimize.minimize(
        MODEL.loss, MODEL.init(), args=data, jac=mean_grad, method=refsgd.VSGD(), options=OPTIONS
    )
    assert res.nsamples == res.nit == 80
    assert MODEL.error(res.x, *data) < 0.05


def test_callbacks_come_in_both_of_scipys_forms_and_may_stop(data):
    points, results = [], []

    def on_x(xk):
        points.append(xk)

    def on_result(intermediate_result):
        results.append(intermediate_result)
        if intermediate_result.nit == 5:
            raise StopIteration

    solve = {"args": data, "jac": MODEL.grad, "method": refsgd.VSGD(), "options": OPTIONS}
    optimize.minimize(MODEL.loss, MODEL.init(), callback=on_x, **solve)
    res = optimize.minimize(MODEL.loss, MODEL.init(), callback=on_result, **solve)
    assert len(points) == 80
    assert [r.nit for r in results] == [1, 2, 3, 4, 5]
    assert_array_equal(res.x, points[4])
    assert "callback" in res.message


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({}, "jac must be True or a callable, got None"),
        ({"jac": MODEL.grad, "options": {"eta": 1.0}}, "options must be among .*, got eta"),
        ({"jac": MODEL.grad, "bounds": [(0, 1)] * 4}, "bounds and constraints must be absent"),
        ({"jac": MODEL.grad, "tol": 1e-3}, "got tol"),
    ],
)
def test_what_does_not_apply_is_refused(data, arguments, match):
    with pytest.raises(ValueError, match=match):
        optimize.minimize(MODEL.loss, MODEL.init(), args=data, method=refsgd.VSGD(), **arguments)


def test_iterate_takes_the_steps_of_minimize(data):
    steps = [step.x.copy() for step in refsgd.iterate(MODEL.grad, MODEL.init(), data, **OPTIONS)]
    own = refsgd.minimize(MODEL.grad, MODEL.init(), data, **OPTIONS)
    assert len(steps) == own.nit
    assert_array_equal(steps[-1], own.x)


def test_iterate_refuses_bad_arguments_before_the_first_step(data):
    with pytest.raises(ValueError, match="batch_size must be at least 1"):
        refsgd.iterate(MODEL.grad, MODEL.init(), data, batch_size=0)
