"""Criteria: when each stops and what it says, how they compose, and how they serve many runs."""

from __future__ import annotations

import gc
import math
import re
import weakref

import numpy as np
import pytest

import refsgd
from refsgd.baselines import SGD
from refsgd.sgd import stopping
from refsgd.sgd.stopping import (
    AllOf,
    AnyOf,
    MaxSamples,
    MaxSteps,
    MaxTime,
    NotFinite,
    Patience,
    TargetLoss,
    criterion,
)


class Stub:
    """What a criterion reads of a run. The parameter is the number of steps."""

    def __init__(self, n_steps=0, batch_size=1):
        self.batch_size = batch_size
        self.x = np.empty(1)
        self.go(n_steps)

    def go(self, n_steps):
        self.n_steps, self.n_samples = n_steps, n_steps * self.batch_size
        self.x[0] = n_steps


class Losses:
    """A loss that is scripted by step and counts its calls."""

    def __init__(self, loss):
        self.loss, self.steps = loss, []

    def __call__(self, x):
        self.steps.append(int(x[0]))
        return self.loss(self.steps[-1])


class Clock:
    def __init__(self, monkeypatch):
        self.now = 1000.0
        monkeypatch.setattr(stopping, "monotonic", lambda: self.now)


def says(reason):
    return lambda run: reason


def stopped_at(stop, run=None, limit=1000):
    """The step at which a criterion stops a run, and why."""
    run = run or Stub()
    for n_steps in range(run.n_steps, limit):
        run.go(n_steps)
        if why := stop(run):
            return n_steps, why
    return None


# -- counts


@pytest.mark.parametrize("n", [1, 7, 300])
def test_max_steps_stops_at_that_step(n):
    assert stopped_at(MaxSteps(n)) == (n, f"{n} steps were asked for and are done")


@pytest.mark.parametrize(("n", "batch_size", "steps"), [(12, 1, 12), (12, 4, 3), (13, 4, 4), (1, 50, 1)])
def test_max_samples_stops_at_the_step_that_reaches_them(n, batch_size, steps):
    assert stopped_at(MaxSamples(n), Stub(batch_size=batch_size)) == (
        steps,
        f"{n} samples were asked for and are done",
    )


def test_counts_include_the_steps_before_a_resume():
    assert stopped_at(MaxSteps(10), Stub(8))[0] == 10
    assert stopped_at(MaxSteps(10), Stub(15))[0] == 15


# -- time


def test_max_time_counts_from_its_first_call(monkeypatch):
    clock, run, stop = Clock(monkeypatch), Stub(), MaxTime(2.5)
    clock.now += 100
    assert stop(run) == ""
    clock.now += 2.4
    assert stop(run) == ""
    clock.now += 0.1 + 1e-9  # of a difference of numbers near 1000
    assert stop(run) == "2.5 seconds have passed"
    assert stop(run) == "2.5 seconds have passed"


def test_max_time_begins_anew_with_another_run(monkeypatch):
    clock, run, stop = Clock(monkeypatch), Stub(), MaxTime(2.0)
    stop(run)
    clock.now += 3
    other = Stub()
    assert stop(other) == ""
    clock.now += 1.5
    assert stop(other) == ""
    clock.now += 1.5
    assert stop(other)


# -- losses


@pytest.mark.parametrize("every", [1, 10, 30])
def test_target_loss_stops_at_the_first_evaluation_at_or_below_it(every):
    fun = Losses(lambda step: 100 - step)
    step, why = stopped_at(TargetLoss(fun, 40, every))
    assert step == 60  # which is a multiple of every
    assert why == "the loss is 40: the target 40 is reached"
    assert fun.steps == list(range(0, 61, every))


def test_target_that_holds_at_the_start_stops_at_once():
    assert stopped_at(TargetLoss(lambda x: 0.5, 1.0))[0] == 0


def test_losses_are_evaluated_at_the_first_call_and_every_so_many_steps_after():
    for first in (0, 1, 57):
        fun = Losses(lambda step: 1.0)
        stopped_at(TargetLoss(fun, 0.0, every=100), Stub(first), limit=first + 301)
        assert fun.steps == [first, first + 100, first + 200, first + 300]


def test_criterion_that_is_not_called_after_each_step_still_evaluates():
    fun, run = Losses(lambda step: 1.0), Stub()
    stop = TargetLoss(fun, 0.0, every=10)
    for step in range(0, 100, 7):
        run.go(step)
        stop(run)
    assert fun.steps == [0, 14, 28, 42, 56, 70, 84, 98]


def test_patience_stops_after_so_many_evaluations_without_a_lower_loss():
    script = [5.0, 4.0, 4.0, 4.5, 3.0, 3.5, 3.0, 3.1, 2.0]  # a tie is no improvement
    fun = Losses(lambda step: script[step // 10])
    stop = Patience(fun, patience=3, every=10)
    assert stopped_at(stop) == (70, "the loss has not gone below 3 in 3 evaluations")
    assert stop.best_loss == 3.0
    np.testing.assert_array_equal(stop.best_x, [40.0])
    patient = Patience(fun, patience=4, every=10)
    assert stopped_at(patient, limit=90) is None
    assert patient.best_loss == 2.0


def test_best_x_is_a_copy():
    run, stop = Stub(), Patience(lambda x: x[0], every=1)
    assert (stop.best_x, stop.best_loss) == (None, math.inf)
    stop(run)
    run.go(1)
    np.testing.assert_array_equal(stop.best_x, [0.0])


def test_infinite_loss_tries_the_patience():
    fun = Losses(lambda step: math.inf)
    stop = Patience(fun, patience=2, every=1)
    assert stopped_at(stop) == (2, "the loss has not gone below inf in 2 evaluations")
    np.testing.assert_array_equal(stop.best_x, [0.0])


@pytest.mark.parametrize("make", [lambda f: TargetLoss(f, -1.0, 10), lambda f: Patience(f, 5, 10)])
def test_nan_loss_is_a_reason_to_stop(make):
    fun = Losses(lambda step: math.nan if step == 30 else 1.0 / (1 + step))
    assert stopped_at(make(fun)) == (30, "the loss is nan at step 30")


def test_patience_keeps_the_best_where_a_nan_ends_it():
    stop = Patience(Losses(lambda step: [3.0, 2.0, math.nan][step]), every=1)
    assert stopped_at(stop)[0] == 2
    assert stop.best_loss == 2.0
    np.testing.assert_array_equal(stop.best_x, [1.0])


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_not_finite_stops_at_a_loss_that_is_not(bad):
    stop = NotFinite(lambda x: bad if x[0] >= 25 else 1.0, every=10)
    assert stopped_at(stop) == (30, f"the loss is {bad} at step 30")


def test_not_finite_stops_at_an_x_that_is_not_without_calling_the_loss():
    run, fun = Stub(3), Losses(lambda step: 0.0)
    run.x = np.array([1.0, np.nan, -np.inf])
    assert NotFinite(fun)(run) == "2 of 3 entries of x are not finite at step 3"
    assert fun.steps == []


def test_answer_holds_until_the_next_evaluation():
    run = Stub()
    stop = TargetLoss(lambda x: float(x[0] != 10), target=0.5, every=10)
    answers = []
    for step in range(25):
        run.go(step)
        answers.append(bool(stop(run)))
    assert answers == [False] * 10 + [True] * 10 + [False] * 5


def test_loss_that_raises_is_evaluated_again():
    fun = Losses(lambda step: 1 / step)
    run, stop = Stub(), TargetLoss(fun, 0.0)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            stop(run)
    run.go(1)
    assert stop(run) == ""
    assert fun.steps == [0, 0, 1]


# -- composition


def test_any_of_gives_the_first_reason():
    assert AnyOf(says(""), says("b"), says("c"))(Stub()) == "b"
    assert AnyOf(says(""), says(""))(Stub()) == ""
    assert stopped_at(AnyOf(MaxSteps(20), MaxSamples(30)), Stub(batch_size=2)) == (
        15,
        "30 samples were asked for and are done",
    )


def test_all_of_waits_for_the_last_and_gives_all_reasons():
    assert AllOf(says("a"), says(""))(Stub()) == ""
    assert AllOf(says("a"), says("b"))(Stub()) == "a; b"
    assert stopped_at(AllOf(MaxSteps(20), MaxSamples(30)), Stub(batch_size=2))[0] == 20


def test_all_of_lets_each_see_every_step():
    seen = []
    stop = AllOf(says(""), lambda run: seen.append(run.n_steps) or "")
    stopped_at(stop, limit=5)
    assert seen == [0, 1, 2, 3, 4]


def test_all_of_need_not_be_evaluated_at_the_same_step():
    stop = AllOf(MaxSteps(45), Patience(lambda x: 1.0, patience=2, every=10))
    assert stopped_at(stop)[0] == 45


def test_list_means_any_also_inside():
    nested = AllOf(MaxSteps(10), [MaxSteps(40), MaxSamples(30)])
    assert repr(nested) == "AllOf(MaxSteps(n=10), AnyOf(MaxSteps(n=40), MaxSamples(n=30)))"
    assert stopped_at(nested)[0] == 30
    assert stopped_at(criterion([MaxSteps(40), (MaxSteps(12), MaxSteps(50))]))[0] == 12


def test_single_criterion_is_itself():
    for stop in (MaxSteps(3), says("x")):
        assert criterion(stop) is stop


# -- many runs in turn


def used(stop):
    """The steps at which a criterion stops three runs: one, another, and that one set back."""
    first, second = Stub(), Stub()
    steps = [stopped_at(stop, first)[0], stopped_at(stop, second)[0]]
    second.go(0)
    return [*steps, stopped_at(stop, second)[0]]


def test_criteria_begin_anew_with_another_run_and_one_that_is_set_back():
    assert used(Patience(lambda x: 1.0, patience=2, every=10)) == [20, 20, 20]
    assert used(TargetLoss(lambda x: float(x[0] != 30), 0.5, every=10)) == [30, 30, 30]
    assert used(NotFinite(lambda x: math.nan if x[0] == 30 else 0.0, every=10)) == [30, 30, 30]
    assert used(AnyOf(MaxSteps(50), Patience(lambda x: 1.0, patience=3, every=5))) == [15, 15, 15]


def test_best_is_of_the_latest_run():
    stop, first, second = Patience(lambda x: x[0], every=1), Stub(1), Stub(5)
    stop(first)
    stop(second)
    assert stop.best_loss == 5.0
    np.testing.assert_array_equal(stop.best_x, [5.0])
    second.go(4)  # set back: what was reached after it counts no more
    stop(second)
    assert stop.best_loss == 4.0
    second.go(9)
    stop(second)
    assert stop.best_loss == 4.0


def test_nothing_is_best_of_a_run_that_begins_with_nan():
    stop = Patience(Losses(lambda step: math.nan if step == 5 else 1.0), every=1)
    stop(Stub(1))
    assert stop(Stub(5)) == "the loss is nan at step 5"
    assert (stop.best_x, stop.best_loss) == (None, math.inf)


def test_new_run_is_known_even_where_it_is_further_than_the_one_before():
    stop = Patience(lambda x: 1.0, patience=1, every=10)
    assert stopped_at(stop, Stub(0))[0] == 10
    assert stopped_at(stop, Stub(10))[0] == 20


def test_run_that_goes_on_is_not_begun_anew():
    run, stop = Stub(), Patience(lambda x: 1.0, patience=2, every=10)
    assert stopped_at(stop, run)[0] == 20
    assert stopped_at(stop, run)[0] == 20
    run.go(30)
    assert stop(run) == "the loss has not gone below 1 in 3 evaluations"


# -- real runs


@pytest.mark.parametrize(
    "rule", [refsgd.VSGD(), refsgd.PublishedVSGD(), SGD(0.1)], ids=["vsgd", "published", "sgd"]
)
def test_criteria_stop_runs_of_every_rule(rule):
    run, stop = (
        rule.start(np.array([3.0, -4.0])),
        AnyOf(TargetLoss(lambda x: x @ x / 2, 0.1, 5), MaxSteps(500)),
    )
    while not (why := stop(run)):
        run.tell(run.ask().copy())
        if run.is_open:
            run.tell(run.ask().copy())
    assert re.match(r"the loss is 0(\.0\d*)?: the target 0.1 is reached", why)
    assert run.x @ run.x / 2 <= 0.1


def test_criterion_keeps_no_run_alive():
    run, stop = Stub(), Patience(lambda x: 1.0)
    stop(run)
    alive = weakref.ref(run)
    del run
    gc.collect()
    assert alive() is None


# -- what is refused


@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (lambda: MaxSteps(0), ValueError, "n must be at least 1, got 0"),
        (lambda: MaxSteps(1.5), TypeError, r"n must be an integer, got 1\.5"),
        (lambda: MaxSamples(-1), ValueError, "n must be at least 1, got -1"),
        (lambda: MaxTime(0), ValueError, "seconds must be positive and finite, got 0; pass seconds=60"),
        (lambda: MaxTime(math.nan), ValueError, "seconds must be positive and finite, got nan"),
        (
            lambda: TargetLoss(0.1, 0.1),
            TypeError,
            r"fun must be callable, got 0\.1; pass a function fun\(x\)",
        ),
        (lambda: TargetLoss(len, math.nan), ValueError, "target must be a number, got nan; pass a loss"),
        (lambda: TargetLoss(len, 0.1, every=0), ValueError, "every must be at least 1, got 0"),
        (lambda: Patience(len, 0), ValueError, "patience must be at least 1, got 0"),
        (lambda: Patience(len, every=True), TypeError, "every must be an integer, got True"),
        (lambda: Patience(None), TypeError, "fun must be callable, got None"),
        (lambda: NotFinite(3), TypeError, "fun must be callable, got 3"),
        (lambda: AnyOf(), ValueError, "criteria must be one or more, got 0; pass for example MaxSteps"),
        (lambda: criterion([]), ValueError, "criteria must be one or more, got 0"),
        (
            lambda: AllOf(5),
            TypeError,
            r"stop must be a callable criterion\(run\) -> str, or a list of them, got 5",
        ),
        (
            lambda: criterion([MaxSteps]),
            TypeError,
            "stop must be a callable .*got <class .*; pass for example",
        ),
    ],
)
def test_refused_arguments(make, error, match):
    with pytest.raises(error, match=match):
        make()
