"""Sparse weighting: CSR and dense rows, what is not touched, what is refused; and the kernels below."""

import numpy as np
import pytest
import scipy.sparse

import refsgd
from refsgd import VSGD, kernels
from refsgd.kernels import contract
from refsgd.sgd.averages import allocate

RULES = {
    "default": VSGD(weighting="sparse"),
    "published": VSGD(weighting="sparse", faithful=True),
    "bbprop": VSGD(curvature="bbprop", weighting="sparse"),
}
FORMS = {
    "csr": scipy.sparse.csr_array,
    "csr_matrix": scipy.sparse.csr_matrix,
    "csc": scipy.sparse.csc_array,
    "coo": scipy.sparse.coo_array,
}
D = 12


def touched(step, n, dtype):
    """Samples of a quadratic, and which of its parameters they touch: none at all now and then."""
    rng = np.random.default_rng([step, n])
    mask = rng.random((n, D)) < (0.25 if step % 7 else 0)
    mask[:, 0] = False  # never touched
    return rng.normal(size=(n, D)).astype(dtype), mask


def drive(rule, form, *, steps=60, n=3, dtype=np.float64, backend=None):
    run = rule.start(np.linspace(-3, 3, D).astype(dtype), backend=backend)
    for step in range(steps):
        samples, mask = touched(step, n, dtype)
        rows = [form((point - samples) * mask) for point in run.ask()]
        run.tell(rows, form(mask.astype(dtype)) if rule.curvature == "bbprop" else None)
    return run


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("n", [1, 3])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", RULES)
def test_dense_rows_with_zeros_are_sparse_rows(backend, name, form, n, dtype):
    dense = drive(RULES[name], np.asarray, n=n, dtype=dtype, backend=backend)
    sparse = drive(RULES[name], FORMS[form], n=n, dtype=dtype, backend=backend)
    for entry, array in dense.state_dict().items():
        np.testing.assert_array_equal(sparse.state_dict()[entry], array, err_msg=entry)


@pytest.mark.parametrize("name", RULES)
def test_stored_zeros_touch_nothing(name):
    def with_zeros(rows):
        csr = scipy.sparse.csr_array(np.where(rows == 0, 1, rows))
        csr.data = rows.ravel().copy()
        return csr

    one, other = drive(RULES[name], with_zeros), drive(RULES[name], np.asarray)
    np.testing.assert_array_equal(one.state, other.state)


@pytest.mark.parametrize("name", RULES)
def test_parameter_that_nothing_touches_stays_as_it_began(backend, name):
    run = drive(RULES[name], np.asarray, backend=backend)
    assert run.x[0] == -3 and run.rates[0] == 0
    assert [getattr(run.state, average)[0] for average in ("g_avg", "g2_avg", "h_avg", "h2_avg", "tau")] == [
        0
    ] * 5
    assert (run.x[1:] != np.linspace(-3, 3, D)[1:]).any()


def test_published_rule_is_the_dense_one_where_nothing_is_zero(backend):
    runs = [
        VSGD(weighting=w, faithful=True).start(np.full(3, 4.0), backend=backend) for w in ("dense", "sparse")
    ]
    for step in range(100):
        samples = np.random.default_rng(step).normal(size=(2, 3))
        for run in runs:
            run.tell([point - samples for point in run.ask()])
    # the sum of secants is divided by the probe before or after the mean: a rounding each
    np.testing.assert_allclose(runs[1].x, runs[0].x, rtol=1e-9)


def test_sparse_logistic_regression_learns_in_one_pass():
    """Zipf features: the published rule overshoots in common coordinates, each of which steps as if alone."""
    rng = np.random.default_rng(0)
    n, d = 3000, 500
    share = 1 / np.arange(2, d + 2)
    X = scipy.sparse.csr_array((rng.random((n, d)) < share).astype(float))
    y = (rng.random(n) < 1 / (1 + np.exp(-(X @ rng.normal(0, 2, d))))).astype(float)

    def grad(x, X, y):
        return X.multiply((1 / (1 + np.exp(-(X @ x))) - y)[:, np.newaxis]).tocsr()

    def loss(x, X, y):
        return np.logaddexp(0, X @ x) - y * (X @ x)

    res = refsgd.minimize(grad, np.zeros(d), (X, y), fun=loss, weighting="sparse", random_state=0)
    base = -np.mean(y) * np.log(np.mean(y)) - np.mean(1 - y) * np.log(np.mean(1 - y))
    assert res.success and res.fun < 0.97 * base


def bad_csr(**change):
    csr = scipy.sparse.csr_array(np.array([[1.0, 2.0, 0.0], [0.0, 3.0, 4.0]]))
    for name, value in change.items():
        setattr(csr, name, np.array(value))
    return csr


@pytest.mark.parametrize(
    ("rows", "error", "match"),
    [
        (
            bad_csr(indices=[1, 0, 1, 2]),
            ValueError,
            "column indices that grow in each row, got row 0; call grad.sum",
        ),
        (bad_csr(indices=[0, 1, 2, 2]), ValueError, "column indices that grow in each row, got row 1"),
        (bad_csr(indices=[0, 3, 1, 2]), ValueError, r"column indices of 0 to 2, got 1 outside \(first: 3\)"),
        (
            bad_csr(indices=[-1, 1, 1, 2]),
            ValueError,
            r"column indices of 0 to 2, got 1 outside \(first: -1\)",
        ),
        (
            bad_csr(indptr=[0, 2, 3]),
            ValueError,
            "be a valid CSR matrix, got indptr, indices and data that do not",
        ),
        (bad_csr(indptr=[0, 5, 4]), ValueError, "be a valid CSR matrix"),
        (bad_csr(indptr=[1, 2, 4]), ValueError, "be a valid CSR matrix"),
        (bad_csr(data=[1.0, 2.0, 3.0]), ValueError, "be a valid CSR matrix"),
        (bad_csr(data=[1, 2, 3, 4]), TypeError, "have dtype float32 or float64, got int64; convert it"),
        (bad_csr(data=[1.0, np.nan, 3.0, 4.0]), FloatingPointError, "be finite"),
        (scipy.sparse.csr_array((2, 4)), ValueError, r"have shape \(n, 3\), got \(2, 4\)"),
        (scipy.sparse.csr_array((0, 3)), ValueError, r"have shape \(n, 3\), got \(0, 3\)"),
        (np.ones((0, 3)), ValueError, "have at least one row"),
        (
            (1, np.ones(3)),
            ValueError,
            "be rows for weighting='sparse', got moments; pass per-sample gradients",
        ),
    ],
)
@pytest.mark.parametrize("weighting", ["sparse", "dense"])
def test_refused_rows_leave_the_run_as_it_was(weighting, rows, error, match):
    if weighting == "dense" and isinstance(rows, tuple):
        pytest.skip("moments are welcome there")
    run = VSGD(weighting=weighting).start(np.ones(3))
    for _ in range(12):
        run.tell([point + np.zeros((2, 3)) for point in run.ask()])
    before = run.state_dict()
    with pytest.raises(error, match=match):
        run.tell([rows, np.ones((2, 3))])
    for entry, array in run.state_dict().items():
        np.testing.assert_array_equal(before[entry], array, err_msg=entry)


def test_probe_gradient_of_another_minibatch_is_refused():
    run = VSGD(weighting="sparse").start(np.ones(3))
    run.tell([np.ones((2, 3))])
    with pytest.raises(
        ValueError, match="probe grad must have 2 rows, got 3; evaluate all on the same minibatch"
    ):
        run.tell([np.ones((2, 3)), np.ones((3, 3))])


@pytest.mark.parametrize("n", [1, 4])
def test_csr_rows_weigh_densely_as_the_same_dense_rows(n):
    runs = [VSGD().start(np.linspace(-3, 3, D)) for _ in range(2)]
    for step in range(40):
        samples, mask = touched(step, n, float)
        for run, form in zip(runs, (np.asarray, scipy.sparse.csr_array), strict=True):
            run.tell([form((point - samples) * mask) for point in run.ask()])
    np.testing.assert_array_equal(runs[0].x, runs[1].x)


ENTRIES = {
    "none": ([], []),
    "one": ([3], [2.0]),
    "repeated": ([5, 0, 5, 2, 5, 0], [1.0, -2.0, 0.1, 0.3, 1e-9, 4.0]),
    "zeros": ([1, 1, 4, 6], [0.0, 2.0, 0.0, -0.0]),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("entries", ENTRIES)
def test_columns_are_collected_in_order_of_appearance(backend, entries, dtype):
    indices, data = np.array(ENTRIES[entries][0], np.int64), np.array(ENTRIES[entries][1], dtype)
    kernel = kernels.load(backend)
    slots, columns, count = np.zeros(8, np.int32), np.full(6, -1), np.full(6, -1)
    total, total_sq = np.empty((2, 6), dtype)
    k = kernel.collect(indices, data, slots, columns, count, total, total_sq)
    expected = list(dict.fromkeys(i for i, value in zip(indices, data, strict=True) if value))
    assert columns[:k].tolist() == expected
    for j, column in enumerate(expected):
        values = data[(indices == column) & (data != 0)]
        assert slots[column] == j + 1 and count[j] == len(values)
        by_hand, by_hand_sq = dtype(0), dtype(0)
        for value in values:
            by_hand, by_hand_sq = by_hand + value, by_hand_sq + value * value
        assert (total[j], total_sq[j]) == (by_hand, by_hand_sq)
    assert np.count_nonzero(slots) == k
    more = np.zeros(6, dtype)
    kernel.add(indices, data, slots, more)
    np.testing.assert_array_equal(more[:k], total[:k])


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("variant", [contract.DEFAULT, contract.FAITHFUL_FD, contract.FAITHFUL_BBPROP])
def test_step_at_some_columns_is_the_step_there_and_nothing_elsewhere(backend, variant, dtype):
    rng = np.random.default_rng(0)
    d, columns = 40, np.array([7, 3, 39, 20])
    before, _ = allocate(d, np.dtype(dtype))
    before[:, :d] = rng.random((6, d)) + np.array([[0], [-0.5], [0.5], [-0.5], [0.5], [2]])
    parts = rng.normal(size=(4, d)).astype(dtype)
    parts[1] = parts[0] ** 2 + 1
    parts[3] = parts[2] ** 2
    everywhere, there = before.copy(), before.copy()
    kernel = kernels.load(backend)
    limit = 4 / 3 if variant == contract.DEFAULT else 4.0
    kernel.step(
        everywhere, *parts, parts[0], 3.0, dtype(4) / dtype(3) if limit < 4 else 4.0, 4.0, 0.5, variant
    )
    kernel.step_at(
        there, columns, np.full(4, 3), *np.ascontiguousarray(parts[:, columns]), 4.0, 4.0, 0.5, variant
    )
    np.testing.assert_array_equal(there[:, columns], everywhere[:, columns])
    others = np.delete(np.arange(d), columns)
    np.testing.assert_array_equal(there[:, others], before[:, others])
    assert (there[0, columns] != before[0, columns]).any()
