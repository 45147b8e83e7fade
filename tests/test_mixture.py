import io
import itertools
import pickle
import re
import subprocess
import sys
import textwrap
import tracemalloc
from pathlib import Path

import numpy as np
import oracles_mixture as oracle
import pytest
from scipy import sparse, special

import refsgd
from refsgd import VonMisesFisher, vmf
from refsgd.directional import em
from refsgd.directional.directions import unit_directions

pytest.importorskip("sklearn")

from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.metrics import normalized_mutual_info_score
from sklearn.pipeline import make_pipeline
from sklearn.utils import estimator_checks

from refsgd.adapters.mixture import VonMisesFisherMixture

CHOICES = [(c, a) for c in ("free", "shared") for a in ("soft", "hard")]


def directions(k, dim, seed=0):
    rows = np.random.default_rng(seed).normal(size=(k, dim))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def drawn(means, kappa, counts, seed=1):
    """Rows of components in turn, and which each is of."""
    rng = np.random.default_rng(seed)
    parts = [VonMisesFisher(m, c).rvs(n, rng) for m, c, n in zip(means, kappa, counts, strict=True)]
    return np.concatenate(parts), np.repeat(np.arange(len(counts)), counts)


def texts(n, n_words, k, seed=0, length=100, topical=0.3):
    """Counts of words, the most by Zipf's law over all words and some by one over the words of a topic."""
    rng = np.random.default_rng(seed)
    zipf = 1.0 / np.arange(1.0, n_words + 1.0)
    of_topic = np.array([rng.choice(np.arange(50, n_words), 200, replace=False) for _ in range(k)])
    labels = rng.integers(k, size=n)
    own = rng.choice(200, (n, int(topical * length)), p=zipf[:200] / zipf[:200].sum())
    words = np.hstack(
        [
            rng.choice(n_words, (n, length - own.shape[1]), p=zipf / zipf.sum()),
            np.take_along_axis(of_topic[labels], own, axis=1),
        ]
    )
    counts = np.ones(words.size), (np.repeat(np.arange(n), length), words.ravel())
    return sparse.coo_array(counts, shape=(n, n_words)).tocsr(), labels


def matched(mixture, means):
    """Components of the mixture in the order of the true means, each of which must have its own."""
    order = (mixture.means_ @ means.T).argmax(axis=0)
    assert len(set(order)) == len(means)
    return order


# -- scikit-learn


LEFT_OUT = {
    name: "scikit-learn takes whatever has predict_proba and accepts sparse rows for a classifier"
    for name in ("check_estimator_sparse_array", "check_estimator_sparse_matrix")
}


@pytest.mark.filterwarnings("ignore:X must have rows that are not zero", "ignore:max_iter must suffice")
@estimator_checks.parametrize_with_checks(
    [
        VonMisesFisherMixture(),
        VonMisesFisherMixture(2, concentration="shared"),
        VonMisesFisherMixture(3, assignment="hard", n_init=2),
    ],
    expected_failed_checks=lambda _: LEFT_OUT,
)
def test_passes_the_checks_of_scikit_learn(estimator, check):
    check(estimator)


@pytest.mark.filterwarnings("ignore:X must have rows that are not zero")
@pytest.mark.parametrize("name", LEFT_OUT)
def test_the_checks_left_out_fail_for_want_of_classes_and_nothing_else(name):
    with pytest.raises(AssertionError) as caught:
        getattr(estimator_checks, name)("VonMisesFisherMixture", VonMisesFisherMixture())
    assert isinstance(caught.value.__cause__, AttributeError)
    assert "multi_class" in str(caught.value.__cause__)


@pytest.mark.parametrize("container", [sparse.csr_array, sparse.csr_matrix])
@pytest.mark.parametrize(
    "form", ["csr", "csc", "coo", "lil", "dok", "dia", "bsr", "64-bit csr", "64-bit coo"]
)
def test_takes_every_sparse_format(form, container):
    dense = np.random.default_rng(0).uniform(size=(40, 3))
    dense[:, :2][dense[:, :2] < 0.6] = 0.0  # what the checks left out pass, but for rows that are zero
    rows = container(dense).asformat(form[-3:])
    if form == "64-bit csr":
        rows.indices, rows.indptr = rows.indices.astype(np.int64), rows.indptr.astype(np.int64)
    if form == "64-bit coo":
        rows.row, rows.col = rows.row.astype(np.int64), rows.col.astype(np.int64)
    mixture = VonMisesFisherMixture(2, random_state=0).fit(rows)
    assert mixture.predict(rows).shape == (40,)
    assert mixture.predict_proba(rows).shape == (40, 2)
    np.testing.assert_array_equal(mixture.predict(rows), mixture.predict(dense))


def test_pickle_and_clone():
    rows, _ = drawn(directions(2, 5), (20.0, 40.0), (50, 50))
    mixture = VonMisesFisherMixture(2, concentration="shared", random_state=0).fit(rows)
    again = pickle.loads(pickle.dumps(mixture))
    np.testing.assert_array_equal(again.predict_proba(rows), mixture.predict_proba(rows))
    fresh = clone(mixture)
    assert fresh.get_params() == mixture.get_params()
    assert not hasattr(fresh, "means_")
    np.testing.assert_array_equal(fresh.fit(rows).means_, mixture.means_)


def test_stands_at_the_end_of_a_pipeline_of_text():
    counts, topic = texts(300, 2000, 3)
    pipeline = make_pipeline(TfidfTransformer(), VonMisesFisherMixture(3, n_init=5, random_state=0))
    assert normalized_mutual_info_score(topic, pipeline.fit_predict(counts)) > 0.95
    np.testing.assert_array_equal(pipeline.predict(counts), pipeline[-1].labels_)
    assert pipeline.score(counts) == pytest.approx(pipeline[-1].lower_bound_, rel=1e-12)  # rounding


# -- the law


@pytest.mark.parametrize(("concentration", "assignment"), CHOICES)
@pytest.mark.parametrize("kappa", [(3.0, 9.0, 0.5), (1e8, 2e8, 1e7)], ids=["broad", "tight"])
@pytest.mark.parametrize("dim", [2, 3, 40])
def test_a_step_is_that_of_the_oracle(dim, kappa, concentration, assignment):
    # Tight components at a distance of their own width, so that rows are shared there as well.
    means = directions(3, dim)
    if kappa[0] > 1e6:
        means, _ = unit_directions(means[0] + 2e-4 * means)
    rows, _ = drawn(means, kappa, (4, 5, 6))
    weights = np.array([0.5, 0.2, 0.3])
    is_shared, is_hard = concentration == "shared", assignment == "hard"
    true = oracle.em_step(rows, means, kappa, weights, is_shared=is_shared, is_hard=is_hard)
    before = em.Components(means, np.array(kappa), weights)
    joint = em.log_joint(em.gaps(rows, means), before)
    bound, shares = em.hard(joint) if is_hard else em.soft(joint)
    after, gap = em.maximized(rows, shares, before, is_shared)
    # Gaps from 1e-6 on are known to 1e-16, by cosines, and kappa times that is in the log densities.
    near = 1e-13 if kappa[0] < 1e6 else 1e-7
    np.testing.assert_allclose(bound, true.log_likelihood, rtol=1e-14, atol=near)
    np.testing.assert_allclose(shares.T, true.shares, atol=near)
    np.testing.assert_allclose(after.means, true.means, atol=near)
    np.testing.assert_allclose(after.weights, true.weights, atol=near)
    np.testing.assert_allclose(after.kappa, true.kappa, rtol=100 * near)  # kappa moves by more than shares do
    np.testing.assert_array_equal(gap, em.gaps(rows, after.means))


@pytest.mark.parametrize(("concentration", "assignment"), CHOICES)
@pytest.mark.parametrize("is_sparse", [False, True], ids=["dense", "sparse"])
@pytest.mark.parametrize("dim", [2, 3, 50, 3000])
def test_what_em_climbs_never_falls(dim, is_sparse, concentration, assignment):
    rows, _ = drawn(directions(4, dim), dim * np.array([0.5, 1.0, 2.0, 8.0]), (60, 50, 40, 30))
    if is_sparse:
        rows[np.random.default_rng(0).random(rows.shape) < 0.5] = 0.0
        rows = sparse.csr_array(rows)
    rows, is_zero = unit_directions(rows)
    rows = rows[~is_zero]
    first = rows[:4].toarray() if is_sparse else rows[:4]
    steps = em.steps(rows, first, is_shared=concentration == "shared", is_hard=assignment == "hard")
    bounds = np.array([step.bound for step in itertools.islice(steps, 30)])
    assert np.diff(bounds).min() >= -1e-13 * np.abs(bounds).max()  # rounding of sums over 180 rows
    assert bounds[-1] > bounds[0] + 1e-3


@pytest.mark.parametrize("kappa", [0.0, 1e-300, 1e-3, 1.0, 1e5, 1e10, 1e300])
def test_probabilities_hold_at_any_concentration_in_many_dimensions(kappa):
    dim = 100_000
    means = directions(2, dim)
    largest = em.largest_kappa(dim)
    assert 1e17 < largest < 1e18  # (d-1)/2 * 1e13
    kappa = min(kappa, largest)
    both = em.Components(means, np.array([kappa, largest]), np.array([1e-9, 1.0 - 1e-9]))
    rows = np.vstack([means, directions(2, dim, 1), -means])
    joint = em.log_joint(em.gaps(rows, means), both)
    assert np.isfinite(joint).all()
    log_likelihood, shares = em.soft(joint)
    assert np.isfinite(log_likelihood).all()
    np.testing.assert_allclose(shares.sum(axis=0), 1.0, rtol=1e-15)
    assert shares[1, 1] == 1.0  # at the mean of the tight one
    if kappa < largest:
        np.testing.assert_array_equal(shares[0, [0, 2, 3, 4, 5]], 1.0)
    # log(w f) = log w + log C(0) + kappa mu @ u - log H, all of which float64 holds to 1e-16 of the largest
    if kappa < 1e11:
        plain = (
            np.log(1e-9) + vmf.log_normalizer(0.0, dim) + kappa * (rows @ means[0]) - vmf.log_h(kappa, dim)
        )
        again = em.log_joint(em.gaps(rows, means), both)[0]
        np.testing.assert_allclose(again, plain, rtol=1e-13, atol=1e-14 * kappa)


def test_one_component_is_the_fit_of_the_distribution():
    rows, _ = drawn(directions(1, 7), (12.0,), (80,))
    mixture = VonMisesFisherMixture().fit(rows)
    law = VonMisesFisher.fit(rows)
    np.testing.assert_allclose(mixture.means_[0], law.mu, atol=1e-14)  # rounding
    assert mixture.concentrations_[0] == pytest.approx(law.kappa, rel=1e-13)
    np.testing.assert_allclose(mixture.score_samples(rows), law.logpdf(rows), rtol=1e-12)


def test_scores_are_of_the_weighted_sum_of_densities():
    rows, _ = drawn(directions(2, 3), (5.0, 30.0), (80, 40))
    mixture = VonMisesFisherMixture(2, random_state=0).fit(rows)
    parts = zip(mixture.means_, mixture.concentrations_, mixture.weights_, strict=True)
    joint = np.array([np.log(w) + VonMisesFisher(mu, kappa).logpdf(rows) for mu, kappa, w in parts]).T
    each = special.logsumexp(joint, axis=1)
    # Terms of size kappa are rounded
    np.testing.assert_allclose(mixture.score_samples(rows), each, atol=1e-13)
    np.testing.assert_allclose(mixture.predict_proba(rows), np.exp(joint - each[:, None]), atol=1e-13)
    np.testing.assert_array_equal(mixture.predict(rows), joint.argmax(axis=1))
    np.testing.assert_array_equal(mixture.predict(rows), mixture.labels_)
    assert mixture.score(rows) == pytest.approx(each.mean(), rel=1e-13)
    assert mixture.lower_bound_ == pytest.approx(each.mean(), rel=1e-13)


def test_hard_assignment_climbs_the_likelihood_of_rows_and_labels():
    rows, _ = drawn(directions(2, 3), (5.0, 30.0), (80, 40))
    mixture = VonMisesFisherMixture(2, assignment="hard", random_state=0).fit(rows)
    most = np.log(mixture.predict_proba(rows).max(axis=1))
    assert mixture.lower_bound_ == pytest.approx((mixture.score_samples(rows) + most).mean(), rel=1e-13)
    assert mixture.lower_bound_ < mixture.score(rows)
    np.testing.assert_allclose(mixture.weights_, np.bincount(mixture.labels_) / 120, rtol=1e-15)


@pytest.mark.parametrize(
    ("concentration", "n_parameters"), [("free", 2 * 4 + 2 + 1), ("shared", 2 * 4 + 1 + 1)]
)
def test_criteria_count_the_free_parameters(concentration, n_parameters):
    rows, _ = drawn(directions(2, 5), (20.0, 20.0), (30, 30))
    mixture = VonMisesFisherMixture(2, concentration=concentration, random_state=0).fit(rows)
    deviance = -2.0 * mixture.score_samples(rows).sum()
    assert mixture.aic(rows) == pytest.approx(deviance + 2.0 * n_parameters, rel=1e-13)
    assert mixture.bic(rows) == pytest.approx(deviance + np.log(60) * n_parameters, rel=1e-13)


# -- what it finds


@pytest.mark.parametrize("assignment", ["soft", "hard"])
@pytest.mark.parametrize("dim", [3, 100])
def test_recovers_the_components(dim, assignment):
    means, kappa, counts = np.eye(dim)[:3], dim * np.array([8.0, 12.0, 20.0]), (2000, 4000, 6000)
    rows, label = drawn(means, kappa, counts)
    mixture = VonMisesFisherMixture(3, assignment=assignment, n_init=5, random_state=0).fit(rows)
    order = matched(mixture, means)
    assert mixture.converged_
    # Rows that are nearer another component are fewer than 1 in 1000 here: a bias below one deviation.
    assert np.mean(order[label] == mixture.labels_) > 0.998
    # Five standard deviations, of three components each: false alarms below 1 in 100,000, but for that bias.
    np.testing.assert_allclose(mixture.weights_[order], np.array(counts) / 12_000, atol=0.002)
    slope = vmf.mean_resultant_length_derivative(kappa, dim)
    deviation = 1.0 / np.sqrt(np.array(counts) * slope)
    # Maximum likelihood is too large by (d - 1)/(2 n) of kappa or so: 0.025 at most.
    bias = 0.5 * (dim - 1) / np.array(counts) * kappa
    assert (np.abs(mixture.concentrations_[order] - kappa) < 6.0 * deviation + 2.0 * bias).all()
    # |mean - mu|**2 is about (d - 1)/(n kappa A)
    off = np.sum((mixture.means_[order] - means) ** 2, axis=1)
    spread = (dim - 1) / (np.array(counts) * kappa * vmf.mean_resultant_length(kappa, dim))
    assert (off < 15.0 * spread).all()


@pytest.mark.parametrize(("concentration", "assignment"), CHOICES)
def test_recovers_the_components_where_there_are_fewer_rows_than_dimensions(concentration, assignment):
    dim, kappa, counts = 10_000, (3000.0, 4000.0, 8000.0), (50, 100, 150)
    means = directions(3, dim)
    rows, label = drawn(means, kappa, counts)
    mixture = VonMisesFisherMixture(
        3, concentration=concentration, assignment=assignment, n_init=4, random_state=0
    ).fit(rows)
    order = matched(mixture, means)
    np.testing.assert_array_equal(order[label], mixture.labels_)  # log densities are hundreds of nats apart
    np.testing.assert_allclose(mixture.weights_[order], np.array(counts) / 300, rtol=1e-12)
    laws = [VonMisesFisher.fit(rows[label == j]) for j in range(3)]
    np.testing.assert_allclose(mixture.means_[order], [law.mu for law in laws], atol=1e-12)
    if concentration == "free":
        np.testing.assert_allclose(mixture.concentrations_[order], [law.kappa for law in laws], rtol=1e-10)
    else:
        lengths = [n * vmf.mean_resultant_length(law.kappa, dim) for n, law in zip(counts, laws, strict=True)]
        np.testing.assert_allclose(
            mixture.concentrations_, vmf.concentration(sum(lengths) / 300, dim), rtol=1e-10
        )


@pytest.mark.slow
def test_bic_finds_the_number_of_components():
    rows, _ = drawn(np.vstack([np.eye(3)[:2], -np.ones(3) / 3**0.5]), (30.0, 20.0, 40.0), (300, 200, 100))
    fits = [VonMisesFisherMixture(k, n_init=5, random_state=0).fit(rows) for k in range(1, 6)]
    assert np.argmin([mixture.bic(rows) for mixture in fits]) == 2
    assert np.diff([mixture.lower_bound_ for mixture in fits]).min() > 0.0


@pytest.mark.parametrize(("concentration", "assignment"), CHOICES)
def test_finds_the_topics_of_texts(concentration, assignment):
    counts, topic = texts(1000, 20_000, 5)
    rows = TfidfTransformer(sublinear_tf=True).fit_transform(counts)
    mixture = VonMisesFisherMixture(
        5, concentration=concentration, assignment=assignment, n_init=10, random_state=0
    ).fit(rows)
    assert normalized_mutual_info_score(topic, mixture.labels_) > 0.98
    assert np.isfinite(mixture.concentrations_).all()


def test_samples_are_of_the_fitted_law():
    rows, _ = drawn(directions(2, 4), (50.0, 20.0), (300, 100))
    mixture = VonMisesFisherMixture(2, random_state=0).fit(rows)
    x, y = mixture.sample(4000)
    assert x.shape == (4000, 4)
    np.testing.assert_allclose(np.linalg.norm(x, axis=1), 1.0, rtol=1e-14)
    np.testing.assert_array_equal(y, np.sort(y))
    # Five deviations each: false alarms below 1 in 100,000.
    share = mixture.weights_[0]
    assert abs(np.mean(y == 0) - share) < 5.0 * np.sqrt(share * (1 - share) / 4000)
    for j in range(2):
        law, n = VonMisesFisher.fit(x[y == j]), np.count_nonzero(y == j)
        kappa = mixture.concentrations_[j]
        slope = vmf.mean_resultant_length_derivative(kappa, 4)
        assert abs(law.kappa - kappa) < 5.0 / np.sqrt(n * slope) + 3.0 / n * kappa
        assert law.mu @ mixture.means_[j] > 0.998
    np.testing.assert_array_equal(mixture.sample(4000)[0], x)
    with pytest.raises(ValueError, match="n_samples must be at least 1, got 0"):
        mixture.sample(0)


@pytest.mark.slow
def test_the_example_of_the_guide_prints_what_it_claims(capsys):
    text = (Path(__file__).parents[1] / "docs" / "mixtures.md").read_text(encoding="utf-8")
    code, claim = re.search(r"```python\n(.*?)```\n\n((?:    [^\n]*\n)+)", text, re.DOTALL).groups()
    exec(code, {})
    assert capsys.readouterr().out == textwrap.dedent(claim)


# -- what must not matter


@pytest.mark.parametrize(("concentration", "assignment"), CHOICES)
def test_sparse_is_dense(concentration, assignment):
    counts, _ = texts(200, 1000, 3)
    mixtures = [
        VonMisesFisherMixture(
            3, concentration=concentration, assignment=assignment, random_state=0, tol=1e-9
        ).fit(rows)
        for rows in (counts, counts.toarray())
    ]
    first, second = mixtures
    assert first.n_iter_ == second.n_iter_
    np.testing.assert_array_equal(first.labels_, second.labels_)
    # Sums of 100 to 1000 terms in another order, over the iterations
    np.testing.assert_allclose(first.means_, second.means_, atol=1e-12)
    np.testing.assert_allclose(first.concentrations_, second.concentrations_, rtol=1e-10)
    np.testing.assert_allclose(
        first.score_samples(counts), second.score_samples(counts.toarray()), rtol=1e-10
    )
    assert first.means_.flags.c_contiguous


def test_entries_that_a_sparse_row_holds_twice_are_added():
    dense = directions(20, 3)
    halves = np.repeat(dense.ravel(), 2) * np.tile([0.25, 0.75], 60)
    twice = sparse.csr_array((halves, np.tile(np.repeat([0, 1, 2], 2), 20), 6 * np.arange(21)), shape=(20, 3))
    one, other = (VonMisesFisherMixture(2, init=dense[:2]).fit(rows) for rows in (dense, twice))
    np.testing.assert_allclose(other.means_, one.means_, atol=1e-13)  # rounding


def test_means_that_all_rows_turn_away_from_are_a_start_all_the_same():
    means = np.eye(5)[:2]
    rows, label = drawn(means, (50.0, 50.0), (40, 40))
    mixture = VonMisesFisherMixture(2, init=-means).fit(rows)
    assert len(set(mixture.labels_[label == 0])) == len(set(mixture.labels_[label == 1])) == 1
    assert mixture.labels_[0] != mixture.labels_[-1]


def test_sparse_rows_are_not_made_dense():
    rng = np.random.default_rng(0)
    n, dim = 300, 1_000_000  # 2.4 GB if they were
    rows = sparse.csr_array(
        (rng.random(30 * n), rng.integers(dim, size=30 * n), np.arange(0, 30 * n + 1, 30)), shape=(n, dim)
    )
    tracemalloc.start()
    VonMisesFisherMixture(2, concentration="shared", random_state=0).fit(rows).predict(rows)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 12 * 2 * dim * 8  # a dozen copies of the means


def test_input_is_left_as_it_was():
    dense = directions(30, 4) * 3.0
    for rows in (dense.copy(), sparse.csr_array(dense)):
        VonMisesFisherMixture(2, random_state=0).fit(rows).predict(rows)
        np.testing.assert_array_equal(rows.toarray() if sparse.issparse(rows) else rows, dense)


@pytest.mark.parametrize(("concentration", "assignment"), CHOICES)
def test_order_of_rows_features_and_components_does_not_matter(concentration, assignment):
    dim = 6
    rows, _ = drawn(directions(3, dim), (5.0, 10.0, 20.0), (40, 50, 60))
    rng = np.random.default_rng(0)
    init = rows[[0, 50, 120]]
    row, column, component = rng.permutation(150), rng.permutation(dim), np.array([2, 0, 1])
    one = VonMisesFisherMixture(3, concentration=concentration, assignment=assignment, init=init).fit(rows)
    other = clone(one).set_params(init=init[component][:, column]).fit(rows[row][:, column])
    # Sums in another order, over some iterations
    np.testing.assert_allclose(other.means_, one.means_[component][:, column], atol=1e-11)
    np.testing.assert_allclose(other.concentrations_, one.concentrations_[component], rtol=1e-10)
    np.testing.assert_allclose(other.weights_, one.weights_[component], atol=1e-12)
    np.testing.assert_array_equal(component[other.labels_], one.labels_[row])


def test_lengths_of_rows_and_of_init_do_not_matter():
    rows, _ = drawn(directions(2, 5), (20.0, 40.0), (50, 50))
    scale = 2.0 ** np.random.default_rng(0).integers(-900, 900, size=(100, 1))  # exact in float64
    one = VonMisesFisherMixture(2, init=rows[:2]).fit(rows)
    other = VonMisesFisherMixture(2, init=7.0 * rows[:2]).fit(scale * rows)
    np.testing.assert_array_equal(other.labels_, one.labels_)
    np.testing.assert_allclose(other.means_, one.means_, atol=1e-13)  # rounding
    by_entry = VonMisesFisherMixture(2, init=rows[:2]).fit(sparse.csr_array(scale * rows))
    np.testing.assert_allclose(by_entry.means_, one.means_, atol=1e-12)


@pytest.mark.slow
def test_more_starts_are_no_worse():
    rows, _ = drawn(directions(6, 3), (30.0,) * 6, (30,) * 6)
    bounds = [VonMisesFisherMixture(6, n_init=n, random_state=3).fit(rows).lower_bound_ for n in (1, 3, 10)]
    assert bounds == sorted(bounds)
    assert bounds[0] < bounds[-1]


# -- degenerate rows


@pytest.mark.parametrize("is_sparse", [False, True], ids=["dense", "sparse"])
@pytest.mark.parametrize("dim", [2, 3, 50_000])
def test_equal_rows_have_a_concentration_of_inf_and_finite_scores(dim, is_sparse):
    row = np.zeros(dim)
    row[:50] = np.random.default_rng(0).normal(size=min(50, dim))
    rows = np.tile(row, (10, 1)) * np.arange(1.0, 11.0)[:, None]
    rows = sparse.csr_array(rows) if is_sparse else rows
    mixture = VonMisesFisherMixture().fit(rows)
    assert mixture.converged_
    np.testing.assert_array_equal(mixture.concentrations_, np.inf)
    np.testing.assert_allclose(mixture.means_[0], row / np.linalg.norm(row), atol=1e-15)
    at_cap = VonMisesFisher(mixture.means_[0], em.largest_kappa(dim)).logpdf(mixture.means_[0])
    assert mixture.score(rows) == pytest.approx(at_cap, rel=1e-12)
    assert mixture.lower_bound_ == pytest.approx(at_cap, rel=1e-12)
    np.testing.assert_array_equal(mixture.sample(3)[0], np.tile(mixture.means_, (3, 1)))


@pytest.mark.parametrize("is_sparse", [False, True], ids=["dense", "sparse"])
@pytest.mark.parametrize("assignment", ["soft", "hard"])
def test_copies_of_one_row_leave_the_other_components_alone(assignment, is_sparse):
    means = np.eye(30)[:3]
    rows, label = drawn(means, (200.0, 300.0, np.inf), (60, 60, 30))
    rows = sparse.csr_array(rows) if is_sparse else rows
    mixture = VonMisesFisherMixture(3, assignment=assignment, init=means).fit(rows)
    assert mixture.converged_
    np.testing.assert_array_equal(mixture.labels_, label)
    np.testing.assert_array_equal(np.isinf(mixture.concentrations_), [False, False, True])
    own = [VonMisesFisher.fit(rows[label == j]).kappa for j in range(2)] if not is_sparse else None
    if own:
        np.testing.assert_allclose(mixture.concentrations_[:2], own, rtol=1e-10)
    probabilities = mixture.predict_proba(rows)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, rtol=1e-14)
    np.testing.assert_array_equal(probabilities[120:, 2], 1.0)


@pytest.mark.parametrize("kappa", [1e4, 1e8, 1e11])
def test_tight_rows_keep_the_digits_of_their_concentration(kappa):
    rows, _ = drawn(directions(1, 3), (kappa,), (100,))
    # Rows are stored to 1e-16, and are 1/sqrt(kappa) from their mean: 3e-11 of that.
    expected = VonMisesFisher.fit(rows).kappa
    assert VonMisesFisherMixture().fit(rows).concentrations_[0] == pytest.approx(expected, rel=1e-9)


@pytest.mark.slow
def test_a_start_that_collapses_on_one_row_is_not_the_best():
    rows, _ = drawn(np.eye(20)[:2], (100.0, 100.0), (30, 30))
    rows = np.vstack([rows, -np.eye(20)[19:]])
    single = [VonMisesFisherMixture(3, random_state=s).fit(rows) for s in range(30)]
    has_collapsed = np.array([np.isinf(mixture.concentrations_).any() for mixture in single])
    bounds = np.array([mixture.lower_bound_ for mixture in single])
    assert has_collapsed.any()
    assert bounds[has_collapsed].max() > bounds[~has_collapsed].max()  # what makes it tempting
    best = VonMisesFisherMixture(3, n_init=30, random_state=0).fit(rows)
    assert np.isfinite(best.concentrations_).all()


@pytest.mark.parametrize("concentration", ["free", "shared"])
def test_an_emptied_component_gets_weight_zero_and_stays(concentration):
    rows, _ = drawn(np.eye(4)[:1], (100.0,), (50,))
    init = np.vstack([np.eye(4)[0], -np.eye(4)[0]])
    mixture = VonMisesFisherMixture(2, concentration=concentration, assignment="hard", init=init)
    with pytest.warns(ConvergenceWarning, match="n_components must leave rows .*, got 1 of 2 .* without any"):
        mixture.fit(rows)
    np.testing.assert_array_equal(mixture.weights_, [1.0, 0.0])
    np.testing.assert_array_equal(mixture.means_[1], init[1])
    assert np.isfinite(mixture.concentrations_).all()
    np.testing.assert_array_equal(mixture.predict_proba(-rows), np.tile([1.0, 0.0], (50, 1)))
    assert np.isfinite(mixture.score(-rows))
    assert set(mixture.sample(20)[1]) == {0}


def test_fewer_distinct_rows_than_components_still_fit():
    rows = np.repeat(np.eye(3)[:2], 5, axis=0)
    mixture = VonMisesFisherMixture(4, random_state=0).fit(rows)
    assert len(set(mixture.labels_[:5])) == len(set(mixture.labels_[5:])) == 1
    assert mixture.labels_[0] != mixture.labels_[5]
    assert np.isfinite(mixture.score(rows))
    with pytest.warns(ConvergenceWarning, match="got 2 of 4 components without any"):
        VonMisesFisherMixture(4, assignment="hard", random_state=0).fit(rows)


def test_opposite_rows_that_cancel_are_uniform():
    rows = np.vstack([np.eye(3), -np.eye(3)])
    mixture = VonMisesFisherMixture().fit(rows)
    assert mixture.concentrations_[0] < 1e-12
    assert mixture.score(rows) == pytest.approx(-np.log(4 * np.pi), rel=1e-12)


@pytest.mark.parametrize("is_sparse", [False, True], ids=["dense", "sparse"])
def test_rows_of_length_zero_take_no_part(is_sparse):
    rows, _ = drawn(directions(2, 5), (20.0, 40.0), (30, 60))
    holes = np.insert(rows, [0, 7, 40], 0.0, axis=0)
    given = sparse.csr_array(holes) if is_sparse else holes
    mixture = VonMisesFisherMixture(2, init=rows[[0, 60]])
    with pytest.warns(UserWarning, match=r"X must have rows that are not zero, got 3 of 93 .*first: row 0\)"):
        mixture.fit(given)
    plain = VonMisesFisherMixture(2, init=rows[[0, 60]]).fit(rows)
    np.testing.assert_allclose(mixture.means_, plain.means_, atol=1e-13)  # rounding
    is_zero = ~holes.any(axis=1)
    np.testing.assert_array_equal(mixture.labels_[~is_zero], plain.labels_)
    np.testing.assert_array_equal(mixture.labels_, mixture.predict(given))
    np.testing.assert_allclose(mixture.predict_proba(given)[is_zero], np.tile(mixture.weights_, (3, 1)))
    np.testing.assert_allclose(mixture.score_samples(given)[is_zero], 0.0, atol=1e-15)
    for criterion in ("score", "aic", "bic"):
        same = getattr(plain, criterion)(rows)
        assert getattr(mixture, criterion)(given) == pytest.approx(same, rel=1e-12)
    assert mixture.score(np.zeros((2, 5))) == 0.0


# -- refusals


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"n_components": 0}, ValueError, "n_components must be at least 1, got 0"),
        ({"n_components": 2.0}, TypeError, "n_components must be an integer"),
        ({"n_init": 0}, ValueError, "n_init must be at least 1"),
        ({"max_iter": 0}, ValueError, "max_iter must be at least 1"),
        ({"tol": -1.0}, ValueError, "tol must be 0 or more, got -1.0"),
        ({"tol": np.nan}, ValueError, "tol must be 0 or more, got nan"),
        ({"concentration": "tied"}, ValueError, "concentration must be one of 'free', 'shared', got 'tied'"),
        ({"assignment": "fuzzy"}, ValueError, "assignment must be one of 'soft', 'hard', got 'fuzzy'"),
        ({"init": "random"}, ValueError, "init must be one of 'k-means.*, got 'random'"),
        (
            {"init": np.ones((3, 4))},
            ValueError,
            r"init must have shape \(2, 4\), got \(3, 4\); pass one mean",
        ),
        ({"init": np.zeros((2, 4))}, ValueError, r"init must have rows that are not zero, got 2 of 2"),
        ({"init": np.full((2, 4), np.nan)}, ValueError, "init must be finite"),
        ({"n_components": 21}, ValueError, "X must have at least 21 rows that are not zero, got 20 of 20"),
    ],
)
def test_bad_parameter_is_refused_by_fit(change, error, match):
    with pytest.raises(error, match=match):
        VonMisesFisherMixture(**({"n_components": 2} | change)).fit(directions(20, 4))


@pytest.mark.parametrize(
    ("rows", "match"),
    [
        (np.zeros((5, 3)), "X must have at least 2 rows that are not zero, got 0 of 5 for n_components=1"),
        (np.ones((1, 3)), "1 sample"),
        (np.ones((5, 1)), r"1 feature\(s\)"),
        (np.full((5, 3), np.nan), "NaN"),
    ],
)
def test_bad_rows_are_refused(rows, match):
    with pytest.raises(ValueError, match=match):
        VonMisesFisherMixture().fit(rows)


def test_too_few_iterations_warn():
    rows, _ = drawn(directions(3, 3), (3.0, 3.0, 3.0), (50, 50, 50))
    mixture = VonMisesFisherMixture(3, max_iter=2, random_state=0)
    with pytest.warns(
        ConvergenceWarning, match="max_iter must suffice, got 2 iterations without convergence"
    ):
        mixture.fit(rows)
    assert (mixture.n_iter_, mixture.converged_) == (2, False)


# -- verbose


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("verbose", [False, True])
def test_verbose_shows_a_bar_on_a_terminal(monkeypatch, verbose):
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    VonMisesFisherMixture(2, n_init=3, max_iter=50, random_state=0, verbose=verbose).fit(directions(30, 4))
    assert ("/150 " in terminal.getvalue()) == verbose


# -- the lazy name


def test_the_package_offers_the_class():
    assert refsgd.VonMisesFisherMixture is VonMisesFisherMixture
    assert "VonMisesFisherMixture" in dir(refsgd)
    assert "VonMisesFisherMixture" not in refsgd.__all__
    with pytest.raises(AttributeError, match="module 'refsgd' has no attribute 'Mixture'"):
        refsgd.Mixture  # noqa: B018


@pytest.mark.process
@pytest.mark.parametrize("missing", ["sklearn", "scipy.special"])
def test_a_missing_scikit_learn_names_the_extra_and_nothing_else_does(missing):
    program = (
        "import sys, refsgd\n"
        f"sys.modules[{missing!r}] = None\n"
        "try: refsgd.VonMisesFisherMixture\n"
        "except ImportError as error: print(error)\n"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    says = "refsgd.VonMisesFisherMixture is not available ("
    assert run.stdout.startswith(says) == (missing == "sklearn")
    assert ('pip install "refsgd[sklearn]"' in run.stdout) == (missing == "sklearn")
    assert missing in run.stdout
