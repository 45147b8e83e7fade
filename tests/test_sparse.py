"""Published sparse weighting: CSR and dense rows, what is not touched, what is refused; its kernels."""

import numpy as np
import pytest
import scipy.sparse
from driving import assert_same, tell

from refsgd import Moments, PublishedVSGD, kernels
from refsgd.kernels.contract import BBPROP, FD, PublishedMoments, StepRule
from refsgd.sgd.averages import zeros

RULES = {
    "fd": PublishedVSGD(weighting="sparse"),
    "bbprop": PublishedVSGD(curvature="bbprop", weighting="sparse"),
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
        diag_hess = [form(mask.astype(dtype))] if rule.curvature == "bbprop" else []
        tell(run, lambda point: form((point - samples) * mask), *diag_hess)  # noqa: B023
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


def test_rule_is_the_dense_one_where_nothing_is_zero(backend):
    runs = [PublishedVSGD(weighting=w).start(np.full(3, 4.0), backend=backend) for w in ("dense", "sparse")]
    for step in range(100):
        samples = np.random.default_rng(step).normal(size=(2, 3))
        for run in runs:
            tell(run, lambda point: point - samples)  # noqa: B023
    # the sum of secants is divided by the probe before or after the mean: a rounding each
    np.testing.assert_allclose(runs[1].x, runs[0].x, rtol=1e-9)


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
            "column indices that grow in each row, got row 0; call .*grad.sum",
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
    run, untouched = (PublishedVSGD(weighting=weighting).start(np.ones(3)) for _ in range(2))
    for each in (run, untouched):
        for _ in range(12):
            tell(each, lambda point: point + np.zeros((2, 3)))
    for _ in range(2):  # at x, then at the probe
        with pytest.raises(error, match=match):
            run.tell(rows)
        assert_same(run, untouched)
        for each in (run, untouched):
            each.tell(np.linspace(-1, 1, 6).reshape(2, 3))
        assert_same(run, untouched)


def test_probe_gradient_of_another_minibatch_is_refused():
    run, untouched = (PublishedVSGD(weighting="sparse").start(np.ones(3)) for _ in range(2))
    for each in (run, untouched):
        each.tell(np.ones((2, 3)))
        each.tell(np.ones((2, 3)))
    with pytest.raises(
        ValueError, match="probe grad must have 2 rows, got 3; evaluate all on the same minibatch"
    ):
        run.tell(np.ones((3, 3)))
    assert run.is_open
    for each in (run, untouched):
        each.tell(np.ones((2, 3)))
    assert_same(run, untouched)


def test_open_minibatch_is_not_in_the_checkpoint(backend):
    rule = RULES["fd"]
    run, closed, other = (drive(rule, np.asarray, steps=25, backend=backend) for _ in range(3))
    samples, mask = touched(25, 3, float)
    run.tell((run.ask() - samples) * mask)
    assert run.is_open and (run.ask() != run.x).any()
    for entry, array in closed.state_dict().items():
        np.testing.assert_array_equal(run.state_dict()[entry], array, err_msg=entry)
    other.load_state_dict(run.state_dict())
    assert_same(other, closed)
    run.tell((run.ask() - samples) * mask)
    tell(closed, lambda point: (point - samples) * mask)
    assert_same(run, closed)


def test_numpy_set_to_raise_and_scratch_of_any_content_change_nothing(backend):
    """An error within a step may leave anything in the scratch arrays; the next step has to be right."""
    d = 64

    def row(columns, factor):
        def gradient(point):
            data = factor * point[columns]
            return scipy.sparse.csr_array((data, columns, [0, len(columns)]), shape=(1, d))

        return gradient

    run, plain = (RULES["fd"].start(np.ones(d), backend=backend) for _ in range(2))
    every, last = np.arange(d), np.array([d - 1])
    for each in (run, plain):
        for _ in range(3):
            tell(each, row(every, 1.0))
    with np.errstate(all="raise"):
        tell(run, row(every, 1e-200))
    tell(plain, row(every, 1e-200))
    assert_same(run, plain)
    for content in (1, d, -1, np.iinfo(np.int32).max, np.iinfo(np.int32).min):
        run._slots[:] = content
        for each in (run, plain):
            tell(each, row(last, 1.0))
        assert_same(run, plain)
    np.testing.assert_array_equal(run.tau[:-1], -4)


@pytest.mark.parametrize("n", [1, 4])
def test_csr_rows_weigh_densely_as_the_same_dense_rows(n):
    """CSR rows give the curvature of the mean, as moments do."""
    runs = [PublishedVSGD().start(np.linspace(-3, 3, D)) for _ in range(2)]
    for step in range(40):
        samples, mask = touched(step, n, float)
        for run, form in zip(runs, (Moments.from_rows, scipy.sparse.csr_array), strict=True):
            tell(run, lambda point: form((point - samples) * mask))  # noqa: B023
    assert_same(*runs)


ENTRIES = {
    "none": ([], []),
    "one": ([3], [2.0]),
    "repeated": ([5, 0, 5, 2, 5, 0], [1.0, -2.0, 0.1, 0.3, 1e-9, 4.0]),
    "zeros": ([1, 1, 4, 6], [0.0, 2.0, 0.0, -0.0]),
}


#: What slots may hold before: nothing, the places of another set, and what no set has.
GARBAGE = [
    np.zeros(8),
    np.arange(8)[::-1],
    np.full(8, 1),
    np.full(8, 6),
    np.full(8, -1),
    np.full(8, np.iinfo(np.int32).max),
    np.full(8, np.iinfo(np.int32).min),
]


@pytest.mark.parametrize("garbage", GARBAGE, ids=lambda slots: str(int(slots[0])))
@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("entries", ENTRIES)
def test_columns_are_collected_in_order_of_appearance_whatever_slots_hold(backend, entries, dtype, garbage):
    indices, data = np.array(ENTRIES[entries][0], np.int64), np.array(ENTRIES[entries][1], dtype)
    kernel = kernels.load(backend)
    # columns that were left by another set, too, at which garbage may point
    slots, columns, count = garbage.astype(np.int32), np.arange(8)[::-1].copy(), np.full(8, -1)
    total, total_sq = np.full((2, 8), 7, dtype)
    expected = list(dict.fromkeys(i for i, value in zip(indices, data, strict=True) if value))
    k = kernel.collect(indices, data, slots, columns, count, total, total_sq)
    assert columns[:k].tolist() == expected
    for j, column in enumerate(expected):
        values = data[(indices == column) & (data != 0)]
        assert slots[column] == j + 1 and count[j] == len(values)
        by_hand, by_hand_sq = dtype(0), dtype(0)
        for value in values:
            by_hand, by_hand_sq = by_hand + value, by_hand_sq + value * value
        assert (total[j], total_sq[j]) == (by_hand, by_hand_sq)
    others = np.delete(np.arange(8), expected)
    np.testing.assert_array_equal(slots[others], garbage[others])
    assert (total[len(data) :] == 7).all() and (columns[len(data) :] == np.arange(8)[::-1][len(data) :]).all()


@pytest.mark.parametrize("garbage", GARBAGE, ids=lambda slots: str(int(slots[0])))
@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
def test_entries_are_added_where_their_columns_were_collected(backend, dtype, garbage):
    kernel, slots, columns, count = (
        kernels.load(backend),
        garbage.astype(np.int32),
        *np.empty((2, 3), np.int64),
    )
    found, (sums, squares) = np.array([6, 2, 6]), np.empty((2, 3), dtype)
    k = kernel.collect(found, np.ones(3, dtype), slots, columns, count, sums, squares)
    room = np.full(k + 2, 5, dtype)
    every = np.arange(8).repeat(2)
    kernel.add(every, np.arange(16, dtype=dtype), slots, columns[:k], room[:k])
    assert room.tolist() == [5 + 12 + 13, 5 + 4 + 5, 5, 5]
    kernel.add(every, np.arange(16, dtype=dtype), slots, columns[:0], room[:0])
    assert room.tolist() == [5 + 12 + 13, 5 + 4 + 5, 5, 5]


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("variant", [FD, BBPROP], ids=["fd", "bbprop"])
def test_step_at_some_columns_is_the_step_there_and_nothing_elsewhere(backend, variant, dtype):
    rng = np.random.default_rng(0)
    d, columns = 40, np.array([7, 3, 39, 20])
    before, _ = zeros(d, np.dtype(dtype))
    before[:, :d] = rng.random((6, d)) + np.array([[0], [-0.5], [0.5], [0.5], [0.5], [2]])
    parts = rng.normal(size=(4, d)).astype(dtype)
    parts[1] = parts[0] ** 2 + 1
    parts[2] = np.abs(parts[2])
    parts[3] = parts[2] ** 2
    everywhere, there = before.copy(), before.copy()
    kernel = kernels.load(backend)
    rule = StepRule(4.0, variant)
    kernel.published_step(everywhere, PublishedMoments(*parts), parts[0], 3.0, rule)
    some = PublishedMoments(*np.ascontiguousarray(parts[:, columns]))
    kernel.published_step_at(there, columns, np.full(4, 3), some, rule)
    np.testing.assert_array_equal(there[:, columns], everywhere[:, columns])
    others = np.delete(np.arange(d), columns)
    np.testing.assert_array_equal(there[:, others], before[:, others])
    assert (there[0, columns] != before[0, columns]).any()
