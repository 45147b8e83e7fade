"""minimize with any rule: what it requires, when it stops, and how it goes on after a break."""

import copy
import pickle
import signal

import numpy as np
import pytest

import refsgd
from refsgd import VSGD, PublishedVSGD, baselines, stopping
from refsgd.sgd.interrupts import Interrupts
from refsgd.sgd.sampler import Minibatches

DATA = np.random.default_rng(0).normal([1.0, -2.0, 3.0], 0.5, size=(53, 3))
METHODS = {
    "vsgd": {},
    "vsgd, sparse": {"method": "vsgd", "weighting": "sparse"},
    "vsgd, orthogonal": {"method": "vsgd", "weighting": "orthogonal"},
    "vsgd, averaged": {"method": VSGD(average=True)},
    "vsgd, groups": {"method": "vsgd", "groups": [1, 2]},
    "vsgd-fd": {},
    "vsgd-l": {"diag_hess": lambda x, rows: np.ones_like(rows)},
    "vsgd-g": {"diag_hess": lambda x, rows: np.ones(3)},
    "vsgd-b": {"diag_hess": lambda x, rows: np.ones(3), "blocks": [2, 1]},
    "vsgd-fd, sparse": {"method": "vsgd-fd", "weighting": "sparse"},
    "vsgd-fd, orthogonal": {"method": "vsgd-fd", "weighting": "orthogonal"},
    "rule": {"method": PublishedVSGD(outliers=None)},
    "adam": {"method": baselines.Adam(0.05)},
}


def grad(x, rows):
    return x - rows


def solve(name, grad=grad, **options):
    return refsgd.minimize(
        grad, np.zeros(3), DATA, **{"method": name, "batch_size": 4, **METHODS[name], **options}
    )


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("steps", [3, 14, 28, 35])
def test_resumed_run_has_the_bits_of_an_uninterrupted_one(name, steps, tmp_path):
    whole = solve(name, epochs=3, random_state=7)
    part = solve(name, epochs=3, max_iter=steps, random_state=7)
    np.savez(tmp_path / "run.npz", **part.state)
    with np.load(tmp_path / "run.npz") as saved:
        rest = solve(name, epochs=3, resume=saved)
    assert (part.nit, rest.nit, whole.nit) == (steps, 42, 42)  # 14 minibatches an epoch
    for entry in whole.state:
        np.testing.assert_array_equal(rest.state[entry], whole.state[entry], err_msg=entry)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda run: pickle.loads(pickle.dumps(run))])
@pytest.mark.parametrize(
    "rule",
    [
        VSGD(),
        VSGD(weighting="sparse"),
        VSGD(weighting="orthogonal", average=True),
        PublishedVSGD(),
        PublishedVSGD(weighting="sparse"),
        PublishedVSGD("bbprop", "blocks"),
    ],
)
def test_copied_run_goes_on_by_itself_with_the_same_bits(backend, rule, copied):
    run = rule.start(
        np.zeros(3), **({"blocks": [2, 1]} if "blocks" in rule.requires else {}), backend=backend
    )

    def advance(run, steps):
        for rows in DATA[: 4 * steps].reshape(-1, 4, 3):
            run.tell(grad(run.ask(), rows), *([np.ones(3)] if "diag_hess" in rule.requires else []))
            if run.is_open:
                run.tell(grad(run.ask(), rows))
        return run

    other = copied(advance(run, 12))
    before = run.state_dict()
    after = advance(other, 5).state_dict()
    assert all(np.array_equal(before[name], array) for name, array in run.state_dict().items())
    for name, array in advance(run, 5).state_dict().items():
        np.testing.assert_array_equal(array, after[name], err_msg=name)


def test_resuming_a_finished_run_changes_nothing():
    whole = solve("vsgd-fd", epochs=2, random_state=7)
    again = solve("vsgd-fd", epochs=2, resume=whole.state)
    third = solve("vsgd-fd", epochs=3, resume=again.state)
    for entry, array in solve("vsgd-fd", epochs=3, random_state=7).state.items():
        np.testing.assert_array_equal(third.state[entry], array, err_msg=entry)
    assert again.njev == whole.njev


@pytest.mark.parametrize("generator", [np.random.MT19937, np.random.Philox, np.random.SFC64])
def test_any_bit_generator_can_be_resumed(generator):
    def batches(seed):
        return Minibatches([DATA], 4, np.random.Generator(generator(seed)))

    one, other = batches(1), batches(2)
    one.at(20)
    other.load_state_dict(one.state_dict())
    for step in range(21, 60):
        np.testing.assert_array_equal(one.at(step)[0], other.at(step)[0])


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (
            {"batch_size": 5},
            "resume must be of 53 samples in minibatches of 5, got 53 in minibatches of 4; pass the",
        ),
        ({"method": PublishedVSGD(outliers=3.0)}, r"outliers of state must be 3\.0, got 2\.0"),
        ({"resume": {}}, r"resume must say which samples come next, got none of \['sampler', "),
    ],
)
def test_state_of_another_run_is_refused(change, match):
    state = solve("vsgd-fd", max_iter=5).state
    with pytest.raises(ValueError, match=match):
        solve("vsgd-fd", **{"resume": state, **change})


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"method": "vsgd-l"}, "diag_hess must be given with method='vsgd-l', got None; pass it, or use"),
        ({"diag_hess": np.ones_like}, "diag_hess must be None with method='vsgd', got one; leave it out"),
        ({"method": "vsgd-b", "diag_hess": np.ones_like}, "blocks must be given with method='vsgd-b'"),
        ({"blocks": [3]}, "blocks must be None with method='vsgd', got one; leave it out, or choose"),
        ({"method": baselines.SGD(0.1), "blocks": [3]}, "blocks must be None with method=SGD"),
        (
            {"method": VSGD(), "weighting": "sparse"},
            r"weighting must be None where method is a rule, got 'sparse'",
        ),
        ({"weighting": "best"}, "weighting must be one of 'dense', 'sparse', 'orthogonal', got 'best'"),
        ({"method": "vsgd-g", "weighting": "sparse", "diag_hess": np.ones_like}, "sharing must be 'element'"),
    ],
)
def test_contradictory_options_are_refused_before_the_first_gradient(options, match):
    def never(x, rows):
        raise AssertionError("a gradient was asked for")

    with pytest.raises(ValueError, match=match):
        refsgd.minimize(never, np.zeros(3), DATA, **options)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_finds_the_mean_of_the_data(name):
    res = solve(name, epochs=20, random_state=0)
    np.testing.assert_allclose(res.x, DATA.mean(axis=0), atol=0.35)  # 5 standard errors of the mean


def test_criteria_end_a_run_that_has_no_other_end():
    stop = [stopping.TargetLoss(lambda x: np.mean((x - DATA) ** 2), 0.5, every=10), stopping.MaxSteps(5000)]
    res = solve("vsgd", stop=stop)
    assert res.success and res.status == 1 and "target 0.5 is reached" in res.message
    assert 14 < res.nit < 5000


def test_criterion_of_an_unknown_kind_is_refused():
    with pytest.raises(TypeError, match="stop must be a callable criterion"):
        solve("vsgd-fd", stop=3)


def test_loss_that_is_not_finite_at_the_end_is_no_success():
    res = solve("vsgd-fd", fun=lambda x, rows: np.nan)
    assert not res.success and res.message.endswith("fun is nan at the last x")


def test_interrupt_waits_until_a_step_is_complete():
    interrupts, done = Interrupts(), []
    before = signal.getsignal(signal.SIGINT)

    def step():
        with interrupts:
            signal.raise_signal(signal.SIGINT)
            done.append("the rest of the step")

    with interrupts.handled():
        with pytest.raises(KeyboardInterrupt):
            step()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert done == ["the rest of the step"]
    assert signal.getsignal(signal.SIGINT) is before


#: Methods that evaluate minibatches at a second point.
OPENING = [name for name in METHODS if name not in ("vsgd-l", "vsgd-g", "vsgd-b", "adam")]


@pytest.mark.parametrize(
    ("name", "second"), [*((name, False) for name in METHODS), *((name, True) for name in OPENING)]
)
def test_run_interrupted_at_either_point_can_be_resumed_to_the_same_bits(name, second):
    """An open minibatch is not part of the state: it is evaluated again."""
    options = {"epochs": 3, "random_state": 7}
    seen = []  # minibatches, in the order of calls

    def recorded(x, rows):
        seen.append(rows[0, 0])
        return grad(x, rows)

    whole = solve(name, grad=recorded, **options)
    pairs = [call for call in range(30, len(seen) - 1) if seen[call] == seen[call + 1]]
    assert bool(pairs) == (whole.njev > whole.nit) == (name in OPENING)
    at = (pairs[0] if pairs else 30) + second
    calls = []

    def interrupted(x, rows):
        calls.append(rows[0, 0])
        if len(calls) == at + 1:
            raise KeyboardInterrupt
        return grad(x, rows)

    part = solve(name, grad=interrupted, **options)
    assert (part.status, part.success) == (3, False)
    assert calls[:-1] == seen[:at]
    if second:
        assert part.njev == at  # the first of the open minibatch is counted
    del calls[:]
    again = solve(name, grad=recorded_again(calls), epochs=3, resume=part.state)
    assert calls == seen[at - second :]
    assert again.njev == whole.njev
    for entry, array in whole.state.items():
        np.testing.assert_array_equal(again.state[entry], array, err_msg=entry)


def recorded_again(calls):
    def recorded(x, rows):
        calls.append(rows[0, 0])
        return grad(x, rows)

    return recorded


@pytest.mark.parametrize("name", ["vsgd", "vsgd-fd"])
def test_signal_in_a_gradient_ends_the_run_between_steps(name):
    """Ctrl-C as it comes: while Python evaluates a gradient, and not while the run changes."""
    calls = iter(range(10_000))

    def interrupted(x, rows):
        if next(calls) == 50:
            signal.raise_signal(signal.SIGINT)
        return grad(x, rows)

    part = solve(name, grad=interrupted, epochs=3, random_state=7)
    assert part.status == 3 and not part.success and part.njev == 50
    rest = solve(name, epochs=3, resume=part.state)
    for entry, array in solve(name, epochs=3, random_state=7).state.items():
        np.testing.assert_array_equal(rest.state[entry], array, err_msg=entry)
