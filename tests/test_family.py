"""All published rules: against the printed algorithms, each other, and what they refuse."""

from __future__ import annotations

import functools

import numpy as np
import oracles
import pytest
from backends import compared_with_numpy
from driving import (
    FAMILY,
    assert_same,
    assert_same_state,
    curvatures,
    draws,
    feed,
    is_active,
    resumed,
    slopes,
    tell,
)
from driving import name as rule_name
from driving import start as start_run

import refsgd
from refsgd import PublishedVSGD
from refsgd.sgd.orthogonal import weights
from refsgd.sgd.published import PRESETS

X0 = np.array([5.0, -4.0, 1.0, 8.0, -0.5])
each_rule = pytest.mark.parametrize("rule", FAMILY, ids=rule_name)
each_batch_size = pytest.mark.parametrize("n", [1, 4])


# -- as published


BLOCKS = (2, 3)
PUBLISHED = {
    "vSGD-l": (oracles.BackProp, PRESETS["vsgd-l"]),
    "vSGD-g": (oracles.GlobalBackProp, PRESETS["vsgd-g"]),
    "vSGD-b": (functools.partial(oracles.BlockBackProp, lengths=BLOCKS), PRESETS["vsgd-b"]),
    "vSGD-fd": (oracles.Published, PRESETS["vsgd-fd"]),
    "vSGD-fd, sparse": (oracles.PublishedSparse, PublishedVSGD(weighting="sparse")),
    "vSGD-fd, orthogonal": (oracles.PublishedOrthogonal, PublishedVSGD(weighting="orthogonal")),
}


@each_batch_size
@pytest.mark.parametrize("published", PUBLISHED)
def test_run_is_the_printed_algorithm(backend, published, n):
    twin, rule = PUBLISHED[published]
    d = 25 if published == "vSGD-l" else 5  # more than 10 parameters raise the over-estimate of g2_avg
    x0 = np.resize(X0, d)
    scales = np.resize([1.0, 0.1, 30.0, 2.0, 1.0], d)
    oracle, run = twin(x0), start_run(rule, x0, backend)
    is_fd = rule.curvature == "fd"

    for c in draws(200, n, d, seed=3):
        scale = scales * is_active(c) if rule.weighting == "sparse" else scales

        def gradient(point, c=c, scale=scale):
            return (scale * slopes(np.asarray(point) - c)).tolist()

        def hessian(point, c=c, scale=scale):
            return (scale * curvatures(np.asarray(point) - c)).tolist()

        told = [] if is_fd else [np.array(hessian(run.x))]
        oracle.step(lambda points: [*map(gradient, points), *([] if is_fd else [hessian(points[0])])])
        tell(run, gradient, *told)
        # A probe of about |x| / 1000 costs a secant 3 digits, and an error made once lives on in x; without
        # probes there are some ten roundings a step.
        tolerance = 1e-9 if is_fd else 1e-12
        for average in oracles.NAMES:
            got, want = getattr(run.state, average), oracle.values(average)
            np.testing.assert_allclose(got, want, rtol=tolerance, atol=1e-13, err_msg=average)
    assert not is_fd or oracle.outliers > 0
    assert np.linalg.norm(run.x) < 0.7 * np.linalg.norm(x0)


@pytest.mark.parametrize("lengths", [[5], [1] * 5], ids=["one", "singles"])
def test_blocks_of_all_and_of_one_are_the_other_rules(backend, lengths):
    alike = "vsgd-g" if len(lengths) == 1 else "vsgd-l"
    blocks = PublishedVSGD.preset("vsgd-b").start(X0, blocks=lengths, backend=backend)
    other = PublishedVSGD.preset(alike).start(X0, backend=backend)
    for run in (blocks, other):
        feed(run, draws(100, 3, 5))
    # The norm of a single gradient is the root of its square: an ulp a step, and no decision to amplify it.
    np.testing.assert_allclose(blocks.state, other.state, rtol=0 if alike == "vsgd-g" else 1e-12)


# -- one run, however it is computed


@functools.cache
def numpy_run(rule, dtype, n):
    run = start_run(rule, X0.astype(dtype), "numpy")
    feed(run, draws(100, n, 5, dtype=dtype))
    return run


@compared_with_numpy
@each_rule
@each_batch_size
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_run_has_the_bits_of_numpy_in_every_backend(backend, rule, dtype, n):
    run = start_run(rule, X0.astype(dtype), backend)
    feed(run, draws(100, n, 5, dtype=dtype))
    assert run.x.dtype == dtype and np.isfinite(run.state).all()
    assert (run.x != X0).all()
    assert_same(run, numpy_run(rule, dtype, n))


@each_rule
@pytest.mark.parametrize("at", [5, 37])
def test_resumed_run_has_the_bits_of_an_uninterrupted_one(backend, rule, at):
    samples = draws(50, 3, 5)
    straight, saved = (start_run(rule, X0, backend) for _ in range(2))
    feed(straight, samples)
    feed(saved, samples[:at])
    other = resumed(saved, start_run(rule, np.zeros(5), backend))
    feed(other, samples[at:])
    assert_same(other, straight)
    np.testing.assert_array_equal(other.rates, straight.rates)


@pytest.mark.parametrize("preset", PRESETS)
def test_saved_run_goes_on_only_by_its_own_rule(preset):
    rule = PRESETS[preset]
    run = start_run(rule, X0)
    feed(run, draws(12, 2, 5))
    before = run.state_dict()
    for foreign in FAMILY:
        with pytest.raises(ValueError, match=r"\w+ of state must be .*|state must have the entries"):
            run.load_state_dict(start_run(foreign, X0).state_dict() | {"outliers": np.array(7.0)})
    assert_same_state(run.state_dict(), before)
    if rule.sharing == "blocks":
        other = rule.start(X0, blocks=[3, 2])
        with pytest.raises(
            ValueError, match=r"blocks of state must be \[3 2\], got \[2 3\]; load it into an object"
        ):
            other.load_state_dict(before)


THREADED = [
    PublishedVSGD(),
    PublishedVSGD(weighting="orthogonal"),
    PublishedVSGD.preset("vsgd-l"),
    PublishedVSGD.preset("vsgd-b"),
]


@compared_with_numpy
@pytest.mark.parametrize("rule", THREADED, ids=rule_name)
def test_bits_do_not_depend_on_the_number_of_threads(backend, rule):
    d, before, runs = 100_000, refsgd.get_num_threads(), []
    samples = np.random.default_rng(0).normal(size=(1, 2, d)) * np.linspace(0.5, 2, 13).reshape(13, 1, 1)
    try:
        for threads in (1, 2):
            refsgd.set_num_threads(threads)
            runs.append(start_run(rule, np.full(d, 3.0), backend))
            feed(runs[-1], samples)
    finally:
        refsgd.set_num_threads(before)
    assert (runs[0].x != 3).any()
    assert_same(*runs)


# -- the rules at work


@pytest.mark.parametrize("preset", PRESETS)
def test_loss_of_a_noisy_quadratic_is_reduced(backend, preset):
    h = np.array([1.0, 4.0, 0.5, 2.0, 1.0])
    run = start_run(PRESETS[preset], X0, backend)
    noise = np.random.default_rng(0).normal(size=(500, 4, 5))
    for samples in noise:
        told = [h] if run.rule.curvature == "bbprop" else []
        tell(run, lambda point: h * (point - samples), *told)  # noqa: B023
    before, after = (h @ x**2 / 2 for x in (X0, run.x))
    # The mean of all samples is off by 1/45, which is a loss of 0.002.
    assert before > 70 and after < 0.05


@pytest.mark.parametrize("sharing", ["element", "global"])
def test_curvature_of_the_minibatch_may_be_told_instead_of_each_sample(backend, sharing):
    """Small whole numbers, of which sums and means of 4 are exact."""
    runs = [PublishedVSGD("bbprop", sharing).start(X0, backend=backend) for _ in range(2)]
    for k, c in enumerate(draws(20, 4, 5)):
        h = np.arange(1.0, 6.0) + k % 3
        runs[0].tell(slopes(runs[0].x - c), h)
        runs[1].tell(slopes(runs[1].x - c), np.tile(h, (4, 1)))
    assert_same(*runs)


@pytest.mark.parametrize("sharing", ["element", "global"])
def test_curvature_is_absolute(sharing):
    h = np.array([2.0, -2.0, 1.0, -1.0, 3.0])
    run = PublishedVSGD("bbprop", sharing).start(X0)
    for c in draws(12, 2, 5):
        run.tell(slopes(run.x - c), h)
    np.testing.assert_array_equal(run.state.h_avg, np.abs(h))


# -- orthogonal reweighting


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (np.tile([1.0, -2.0, 3.0], (4, 1)), [1 / 4] * 4),
        (np.outer([1.0, -3.0, 0.5], [1.0, 2.0, 2.0]), [1 / 3] * 3),  # the other way is aligned too
        (np.diag([1.0, -20.0, 3.0]), [1, 1, 1]),
        ([[1.0, 1.0], [1.0, -1.0]], [1, 1]),
        ([[1.0, 0.0], [0.0, 0.0], [2.0, 0.0], [0.0, 5.0]], [1 / 2, 0, 1 / 2, 1]),
        ([[0.0, 0.0]], [0]),
        ([[7.0, 0.0]], [1]),
        ([[3.0, 4.0], [1.0, 0.0]], [1 / 1.6] * 2),
    ],
)
@pytest.mark.parametrize("size", [1.0, 1e200, 1e-200, 1e308 / 20])
def test_samples_that_agree_share_a_vote(rows, expected, size):
    got = weights(np.asarray(rows) * size)
    np.testing.assert_allclose(got, expected, rtol=1e-15, atol=1e-15)  # a cosine of unit vectors: eps


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_weights_are_what_plain_loops_give_at_any_scale(dtype):
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(6, 4)).astype(dtype)
    rows[4], rows[5] = -rows[0], 0
    got = weights(rows)
    # sums of 4 products and 6 cosines
    np.testing.assert_allclose(got, oracles.orthogonal_weights(rows.tolist()), rtol=20 * np.finfo(dtype).eps)
    powers = np.ldexp(np.ones((6, 1), dtype), rng.integers(-60, 60, size=(6, 1)))
    np.testing.assert_array_equal(weights(powers * rows), got)


@pytest.mark.parametrize(
    ("rows", "n", "total"),
    [
        (np.tile([1.0, -2.0, 3.0], (4, 1)), 4, lambda rows: rows.mean(axis=0)),
        (np.diag([1.0, -2.0, 3.0]), 1, lambda rows: rows.sum(axis=0)),
        (
            [[1.0, -2.0, 0.0], [1.0, -2.0, 0.0], [0.0, 0.0, 3.0], [0.0, 0.0, 0.0]],
            1.5,
            lambda rows: rows[1:].sum(0),
        ),
        (np.zeros((2, 3)), 1, lambda rows: rows[0]),
    ],
    ids=["copies", "orthogonal", "two-and-one", "zero"],
)
def test_copies_move_as_their_mean_and_orthogonal_samples_as_their_sum(backend, rows, n, total):
    """By the printed rate for as many samples as reinforce each other, which are all of n, or single."""
    run = PublishedVSGD(weighting="orthogonal", outliers=None).start(np.zeros(3), backend=backend)
    feed(run, draws(15, 3, 3))
    rows, before = np.array(rows), run.x.copy()
    run.tell(rows)
    run.tell(rows + 0.1 * run.state.g_avg)
    _, g, g2, h, h2, _ = run.state
    rate = h / h2 * n * g**2 / (g2 + (n - 1) * g**2)
    # x keeps an ulp of its own, a thousandth of the move
    np.testing.assert_allclose(run.x - before, -rate * total(rows), rtol=1e-12, atol=1e-15)


def test_copies_give_the_dense_run(backend):
    runs = [PublishedVSGD(weighting=w).start(X0, backend=backend) for w in ("dense", "orthogonal")]
    for run in runs:
        feed(run, np.repeat(draws(100, 1, 5), 4, axis=1))
    # Weights of 1/4 to an ulp; the sums of probes are taken in another order.
    np.testing.assert_allclose(runs[1].state, runs[0].state, rtol=1e-9)


# -- what is refused


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"curvature": "hessian"}, "curvature must be one of 'fd', 'bbprop', got 'hessian'; choose one"),
        ({"sharing": "layer"}, "sharing must be one of 'element', 'global', 'blocks', got 'layer'"),
        ({"weighting": None}, "weighting must be one of 'dense', 'sparse', 'orthogonal', got None"),
        ({"outliers": 0.0}, r"outliers must be a positive number of standard deviations, or None, got 0\.0"),
        ({"outliers": -1.0}, r"outliers must be a positive number .*got -1\.0; keep the published 2\.0"),
        ({"outliers": np.nan}, "outliers must be a positive number .*got nan"),
        ({"outliers": np.inf}, "outliers must be a positive number .*got inf; .*or pass None to switch"),
        (
            {"sharing": "global", "weighting": "sparse"},
            "sharing must be 'element' with weighting='sparse', got global; .*weight densely",
        ),
        (
            {"sharing": "blocks", "weighting": "sparse", "curvature": "bbprop"},
            "sharing must be 'element' with",
        ),
        (
            {"sharing": "global"},
            "sharing must be 'element', got global; no paper shares rates with curvature='fd': pass curvat",
        ),
        ({"sharing": "blocks"}, "sharing must be 'element', got blocks; no paper"),
    ],
)
def test_contradictory_options_are_refused(options, match):
    with pytest.raises(ValueError, match=match):
        PublishedVSGD(**options)


def test_unknown_preset_is_refused():
    with pytest.raises(
        ValueError, match=r"name must be one of 'vsgd-fd', .*'vsgd-b', got 'adam'; choose one"
    ):
        PublishedVSGD.preset("adam")


@pytest.mark.parametrize(
    ("preset", "needs"),
    [
        ("vsgd-fd", ()),
        ("vsgd-l", ("diag_hess",)),
        ("vsgd-g", ("diag_hess",)),
        ("vsgd-b", ("diag_hess", "blocks")),
    ],
)
def test_rules_say_what_they_require(preset, needs):
    assert PublishedVSGD.preset(preset).requires == needs
    assert PublishedVSGD.preset(preset, weighting="orthogonal").requires == (*needs, "rows")


@pytest.mark.parametrize(
    ("sharing", "blocks", "error", "match"),
    [
        (
            "blocks",
            None,
            ValueError,
            "blocks must be given where sharing is 'blocks', got None; they go with",
        ),
        ("element", [5], ValueError, r"blocks must be None where sharing is 'element', got \[5\]"),
        ("global", [5], ValueError, r"blocks must be None where sharing is 'global', got \[5\]"),
        ("blocks", [2, 2], ValueError, "blocks must add up to 5 parameters, got 4; give the number of"),
        ("blocks", [4, 2], ValueError, "blocks must add up to 5 parameters, got 6"),
        ("blocks", [], ValueError, "blocks must add up to 5 parameters, got 0"),
        ("blocks", [5, 0], ValueError, "each of blocks must be at least 1, got 0"),
        ("blocks", [6, -1], ValueError, "each of blocks must be at least 1, got -1"),
        ("blocks", [2.5, 2.5], TypeError, r"each of blocks must be an integer, got 2\.5"),
    ],
)
def test_refused_blocks(sharing, blocks, error, match):
    with pytest.raises(error, match=match):
        PublishedVSGD("bbprop", sharing).start(X0, blocks=blocks)


ONES = np.ones((2, 5))
UNEQUAL = np.array([1.0, np.nan, 1.0, 1.0, 1.0])
MISSING_HESSIAN = "diag_hess must be given where curvature is 'bbprop', got None; it goes with .*vsgd-l"


@pytest.mark.parametrize(
    ("rule", "grad", "diag_hess", "error", "match"),
    [
        *[(rule, ONES, None, ValueError, MISSING_HESSIAN) for rule in FAMILY if rule.curvature == "bbprop"],
        *[
            (rule, ONES, ONES[0], ValueError, "diag_hess must be None where curvature is 'fd', got one")
            for rule in FAMILY
            if rule.curvature == "fd"
        ],
        *[
            (rule, wrong, ONES if rule.curvature == "bbprop" else None, ValueError, match)
            for rule in FAMILY
            for wrong, match in [
                (np.ones((2, 4)), r"grad must have shape \(n, 5\), got \(2, 4\); pass one row per sample"),
                (np.ones((0, 5)), r"grad must have at least one row, got \(0, 5\); drop empty minibatches"),
            ]
        ],
        *[
            (rule, (2, ONES[0], ONES[0]), ONES if rule.curvature == "bbprop" else None, ValueError, match)
            for rule in FAMILY
            for weighting, match in [
                (
                    "orthogonal",
                    "grad must be an array for weighting='orthogonal', got sums or CSR; pass per-s",
                ),
                (
                    "sparse",
                    "grad must be rows for weighting='sparse', got moments; pass per-sample gradients",
                ),
            ]
            if rule.weighting == weighting
        ],
        (
            PublishedVSGD("bbprop"),
            ONES,
            np.ones(4),
            ValueError,
            r"diag_hess must have shape \(5,\), got \(4,\)",
        ),
        (
            PublishedVSGD("bbprop"),
            ONES,
            np.ones((2, 4)),
            ValueError,
            r"diag_hess must have shape \(n, 5\), got \(2, 4\)",
        ),
        (
            PublishedVSGD("bbprop"),
            ONES,
            np.ones((3, 5)),
            ValueError,
            "diag_hess must have 2 rows, got 3; give one row",
        ),
        (
            PublishedVSGD("bbprop"),
            ONES,
            np.ones(5, int),
            TypeError,
            "diag_hess must have dtype float32 or float64, got",
        ),
        (
            PublishedVSGD("bbprop"),
            ONES,
            UNEQUAL,
            FloatingPointError,
            "diag_hess must be finite, .* got 1 of 5 entries",
        ),
        (
            PublishedVSGD("bbprop"),
            ONES,
            ONES * 1e200,
            FloatingPointError,
            "diag_hess must be finite, and its square too",
        ),
    ],
    ids=lambda value: rule_name(value) if isinstance(value, PublishedVSGD) else "",
)
@pytest.mark.parametrize("steps", [0, 4, 12])
def test_refusal_leaves_the_run_as_it_was(rule, steps, grad, diag_hess, error, match):
    run = start_run(rule, X0)
    feed(run, draws(steps, 2, 5))
    before = run.state_dict()
    with pytest.raises(error, match=match):
        run.tell(grad, diag_hess)
    assert not run.is_open
    assert_same_state(run.state_dict(), before)
    feed(run, draws(3, 2, 5))
    assert np.isfinite(run.state).all()
