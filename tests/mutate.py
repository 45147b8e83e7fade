"""Bugs of one line that the tests must catch: for a run by hand before a release.

    python tests/mutate.py            every bug in turn
    python tests/mutate.py sparse     those whose file or test has this in its name

Each bug is planted in a copy of the tree, and the test that is named for it must fail there. Before, all
these tests must pass. A line that is not found exactly once is a fault of this list: mend it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]


class Bug(NamedTuple):
    """``before`` becomes ``after`` in a file; ``test``, with one backend, must fail."""

    file: str
    before: str
    after: str
    test: str
    backend: str = "numpy"


NUMPY, NUMBA, C = "refsgd/kernels/dense_numpy.py", "refsgd/kernels/dense_numba.py", "csrc/dense.inc"
LENGTH, RUN, SPARSE = "refsgd/sgd/length.py", "refsgd/sgd/run.py", "refsgd/sgd/sparse.py"
PUBLISHED, PUBLISHED_RUN = "refsgd/kernels/published_numpy.py", "refsgd/sgd/published_run.py"
LINEAR, LOSSES = "refsgd/kernels/linear_numpy.py", "refsgd/linear/losses.py"
CHECKPOINT = "refsgd/_checkpoint.py"
STATS, FOLD_SUMS, ESTIMATORS, EM = (
    f"refsgd/directional/{name}.py" for name in ("stats", "fold_sums", "estimators", "em")
)

STEP = "test_dense_kernels.py::test_step_is_what_the_equations_say"
PROBE = "test_dense_kernels.py::test_probe_and_land_are_what_the_equations_say"
SECANT = "test_dense_kernels.py::test_secant_sums_are_what_the_equations_say"
BITS = "test_dense_kernels.py::test_kernels_have_the_bits_of_the_oracle"
DENSE_LOOPS = "test_vsgd.py::test_dense_run_is_what_plain_loops_give"
ANY_LOOPS = "test_vsgd.py::test_any_gradients_give_what_plain_loops_give"
GROUP_LOOPS = "test_vsgd.py::test_groups_that_begin_late_are_what_plain_loops_give"
CEILING_LOOPS = "test_vsgd.py::test_ceiling_is_what_plain_loops_give"
SPARSE_LOOPS = "test_vsgd.py::test_sparse_run_is_what_plain_loops_give"
OUTLIER_LOOPS = "test_vsgd.py::test_outlier_in_the_start_is_what_plain_loops_give_and_does_no_lasting_harm"
OUT_OF_RANGE = "test_run_edges.py::test_gradient_whose_square_overflows_is_an_outlier_like_any_other"
OUT_OF_RANGE_START = "test_run_edges.py::test_gradient_out_of_range_in_the_start_counts_as_in_a_wider_range"
OUT_OF_RANGE_LATER = (
    "test_run_edges.py::test_gradient_out_of_range_in_a_later_start_counts_as_in_a_wider_range"
)
SAVED = "test_vsgd.py::test_saved_run_continues_bit_for_bit"
PUBLISHED_STEP = "test_kernels.py::test_step_is_what_the_equations_say"
PUBLISHED_LOOPS = "test_published.py::test_run_is_what_plain_loops_give"
MERGED = "test_direction_stats.py::test_merged_parts_equal_one_pass"
SLOPES = "test_linear.py::test_slope_and_curvature_are_derivatives_of_the_value"
FAMILY = "test_family.py::test_run_is_the_printed_algorithm"

BUGS = [
    # The step of the default rule
    Bug(NUMPY, "tau += (g - m) ** 2 > 4 *", "tau += (g - m) ** 2 > 9 *", STEP),
    Bug(NUMPY, "    m += keep * (g - m)\n", "    m += keep * g\n", STEP),
    Bug(NUMPY, "v += keep * (g * g - v)", "v += keep * ((g - m) ** 2 - v)", STEP),
    Bug(NUMPY, "rho = np.minimum(np.abs(m) * gain, 1)", "rho = np.minimum(gain, 1)", STEP),
    Bug(NUMPY, "tau[:] = (1 - rho) * tau + 1", "tau[:] = (1 - rho) * (tau + 1)", STEP),
    Bug(NUMPY, "reach = LIMIT * np.sqrt(np.abs(v - m * m))", "reach = LIMIT * np.sqrt(v)", STEP),
    Bug(NUMPY, "gain = over(np.abs(m), v)", "gain = over(np.abs(m), np.sqrt(v))", STEP),
    Bug(NUMPY, "x_avg += x.dtype.type(weight) * (x - x_avg)", "x_avg[:] = x", STEP),
    Bug(
        NUMPY,
        "return np.where(np.isfinite(there), there, x), gain",
        "return there, gain",
        "test_dense_kernels.py::test_step_that_would_overflow_is_not_taken",
    ),
    Bug(
        NUMPY,
        "energy > GUARD**2 * g2_sum > 0",
        "energy > GUARD * g2_sum > 0",
        "test_dense_kernels.py::test_advance_is_check_guard_and_step",
    ),
    Bug(NUMPY, "shortest = WIDEN * np", "shortest = np", PROBE),
    Bug(NUMPY, "add_up([d * d * D, d * change,", "add_up([d * d, d * change,", SECANT),
    Bug(NUMBA, "keep = one / t", "keep = one / (t + one)", BITS, "numba"),
    Bug(NUMBA, "limited if limited < high else high", "limited", BITS, "numba"),
    Bug(NUMBA, "offset = math.copysign(shortest, offset)", "offset = shortest", BITS, "numba"),
    Bug(C, "REAL reach = (REAL)REFSGD_LIMIT * SQRT", "REAL reach = 2 * SQRT", BITS, "c"),
    Bug(C, "tau[k] = (1 - rho) * tau[k] + 1;", "tau[k] = (1 - rho) * tau[k];", BITS, "c"),
    Bug(
        "refsgd/_numba.py",
        "(self._cache_file._source_stamp, sources_digest())",
        "(self._cache_file._source_stamp, 0)",
        "test_numba_cache.py",
        "",
    ),
    # Its length
    Bug(LENGTH, "return min(abs(along) / d2_metric, MOST)", "return min(along / d2_metric, MOST)", ANY_LOOPS),
    Bug(
        LENGTH,
        "min(1 / bound if bound > 0 else math.inf, 2 * s.length)",
        "min(1 / bound if bound > 0 else math.inf, 4 * s.length)",
        DENSE_LOOPS,
    ),
    Bug(LENGTH, "s.curv_sq / OVERESTIMATE, s.bound", "s.curv_sq / root, s.bound", DENSE_LOOPS),
    Bug(LENGTH, "length = root / s.bound if", "length = 1 / s.bound if", DENSE_LOOPS),
    Bug(LENGTH, "return 1 / max(memory / n_steps, N_START)", "return 1 / max(memory, N_START)", DENSE_LOOPS),
    Bug(LENGTH, "wanted = mean / mean_sq if", "wanted = 1 / mean if", DENSE_LOOPS),
    Bug(
        LENGTH,
        "max(wanted, s.length / 2)",
        "max(wanted, 0)",
        "test_length.py::test_probe_changes_the_length_by_a_factor_of_two_at_most",
    ),
    Bug(
        LENGTH,
        "longest = 2 * s.length if curv > 0 or s.length < limit else s.length",
        "longest = 2 * s.length",
        "test_length.py::test_length_grows_without_curvature_only_below_its_limit",
    ),
    Bug(LENGTH, "share = share if s.slope > 0 else 1.0", "share = share", CEILING_LOOPS),
    Bug(
        LENGTH,
        "max(s.slope / s.bend, s.length / 2)",
        "s.slope / s.bend",
        "test_length.py::test_ceiling_halves_the_length_at_most_and_never_lengthens",
    ),
    # Its runs
    Bug(RUN, "0 if second is Second.PROBE else c.since_probe + moves", "c.since_probe + moves", DENSE_LOOPS),
    Bug(
        RUN,
        "return min(1.0, 9 / (n_moves + 9))",
        "return min(1.0, 8 / (n_moves + 8))",
        DENSE_LOOPS,
    ),
    Bug(
        RUN,
        "self._lengths[fresh].sum() > NEWCOMERS * before",
        "self._lengths[fresh].sum() > before",
        GROUP_LOOPS,
    ),
    Bug(RUN, "v[part] *= x.dtype.type(OVERESTIMATE)", "pass", DENSE_LOOPS),
    Bug(
        RUN,
        "batch._replace(grad=self._kept), second",
        "batch, second",
        "test_vsgd.py::test_gradient_may_be_overwritten_by_the_next",
    ),
    Bug(
        RUN,
        "if other.n_samples != batch.n_samples:",
        "if other.n_samples < batch.n_samples:",
        "test_vsgd.py::test_another_number_of_samples_at_the_second_point_is_refused",
    ),
    Bug(RUN, 'StepLength(*arrays["step_length"].tolist())', "self.step_length", SAVED),
    Bug(RUN, '        self._seen[:] = arrays["seen"]\n', "", SAVED),
    Bug(
        RUN,
        "    if not 0 < largest < math.inf:\n",
        "    if largest:\n",
        "test_vsgd.py::test_unit_of_the_loss_changes_no_bit",
    ),
    Bug(
        RUN,
        "if g2_sum > GROWN * self._g2_first > 0:",
        "if False:",
        "test_vsgd.py::test_gradients_that_grow_without_end_are_named",
    ),
    Bug(
        RUN,
        "self.step_length = s\n        self._count(batch, second, 1, 0)",
        "self.step_length = s\n        self._count(batch, second, 0, 0)",
        DENSE_LOOPS,
    ),
    # Outliers of the start, and gradients out of range
    Bug(RUN, "factor = math.sqrt(median / mean)", "factor = median / mean", OUTLIER_LOOPS),
    Bug(RUN, "float(np.median(self._start_energies))", "float(np.min(self._start_energies))", OUTLIER_LOOPS),
    Bug(RUN, "float(np.mean(self._start_energies))", "float(np.max(self._start_energies))", OUTLIER_LOOPS),
    Bug(
        RUN,
        "mean > GUARD**2 * median > 0",
        "mean > GUARD * median > 0",
        "test_vsgd.py::test_large_minibatch_of_the_start_counts_as_it_is",
    ),
    Bug(
        RUN,
        "            if not joined:\n                s = self",
        "            if True:\n                s = self",
        "test_vsgd.py::test_outlier_in_a_later_start_is_what_plain_loops_give",
    ),
    Bug(RUN, "g2_avg[:] *= real(factor * factor)", "g2_avg[:] *= real(factor)", OUTLIER_LOOPS),
    Bug(RUN, "self.state.g_avg[:] *= real(factor)", "pass", OUTLIER_LOOPS),
    Bug(RUN, "return length.in_metric(s, factor)", "return s", OUTLIER_LOOPS),
    Bug(LENGTH, "StepLength(s.length * factor, curv", "StepLength(s.length, curv", OUTLIER_LOOPS),
    Bug(LENGTH, "s.curv / factor, s.curv_sq / factor**2", "s.curv, s.curv_sq / factor**2", OUTLIER_LOOPS),
    Bug(LENGTH, "s.curv_sq / factor**2", "s.curv_sq / factor", OUTLIER_LOOPS),
    Bug(RUN, "v *= v.dtype.type(factor**2)", "v *= v.dtype.type(factor)", OUT_OF_RANGE_START),
    Bug(RUN, "m *= m.dtype.type(factor)", "pass", OUT_OF_RANGE_START),
    Bug(RUN, "self.unit *= factor", "self.unit *= factor / 2", OUT_OF_RANGE_START),
    Bug(RUN, "self._start_energies *= factor**2", "pass", OUT_OF_RANGE_START),
    Bug(RUN, "self._g2_first * factor**2", "self._g2_first", OUT_OF_RANGE_LATER),
    Bug(RUN, "slope=s.slope * factor", "slope=s.slope", OUT_OF_RANGE_LATER),
    Bug(RUN, "bend=s.bend * factor", "bend=s.bend", OUT_OF_RANGE_LATER),
    Bug(RUN, "factor = GUARD * usual / math", "factor = usual / math", OUT_OF_RANGE),
    Bug(RUN, "self._usual_square(batch)) / self.unit", "self._usual_square(batch))", OUT_OF_RANGE),
    Bug(RUN, "direction = batch.grad / largest", "direction = np.abs(batch.grad) / largest", OUT_OF_RANGE),
    Bug(
        RUN,
        "return bool(self.counters.start_left)",
        "return True",
        "test_run_edges.py::test_gradient_out_of_range_opens_no_minibatch",
    ),
    Bug(
        RUN,
        'self._is_in_range("grad at the second point", other)',
        "pass",
        "test_vsgd.py::test_bad_gradient_is_refused_and_changes_nothing",
    ),
    Bug(
        RUN,
        "self.kernels.check(grad, self.unit or first_unit(grad), sums)",
        "self.kernels.check(grad, self.unit or 1.0, sums)",
        "test_run_edges.py::test_unit_of_the_loss_changes_no_bit_of_x",
    ),
    # The sparse rule
    Bug(SPARSE, "self.x.dtype.type(OVERESTIMATE) * g[is_new] ** 2", "g[is_new] ** 2", SPARSE_LOOPS),
    Bug(SPARSE, "tau[is_new] = N_START", "tau[is_new] = 1", SPARSE_LOOPS),
    Bug(SPARSE, "tau[is_new] = np.inf", "tau[is_new] = N_START", SPARSE_LOOPS),
    Bug(SPARSE, "float(tau.mean(dtype=np.float64))", "float(self.tau[self.tau > 0].mean())", SPARSE_LOOPS),
    Bug(SPARSE, "np.minimum(np.abs(m) / safe, 1 / np.sqrt(safe)) * g", "m / np.sqrt(safe)", SPARSE_LOOPS),
    Bug(SPARSE, "1 / np.sqrt(safe)) * g", "1 / np.sqrt(safe)) * m", SPARSE_LOOPS),
    Bug(
        SPARSE, "self.step_length = s\n", "self.step_length = s if left else self.step_length\n", SPARSE_LOOPS
    ),
    Bug(
        SPARSE,
        "np.where(is_new, 0, grad)",
        "grad",
        "test_vsgd.py::test_first_touch_of_a_sparse_run_is_no_reason_for_the_guard",
    ),
    Bug(SPARSE, ">= math.sqrt(self._memory())", ">= self._memory()", SPARSE_LOOPS),
    Bug(SPARSE, "is_due and is_old.any()", "is_due", SPARSE_LOOPS),
    Bug(SPARSE, "tau[:] = np.where(v > 0, N_START, 0)", "tau[:] = N_START", SPARSE_LOOPS),
    Bug(
        SPARSE,
        "touched = g * g != 0",
        "touched = g == g",
        "test_vsgd.py::test_samples_that_cancel_touch_no_parameter_of_a_sparse_run",
    ),
    Bug(SPARSE, "moves = (tau > 0) & (v > 0)", "moves = v >= 0", SPARSE_LOOPS),
    Bug(
        SPARSE,
        '        self._memory_touched = float(arrays["memory"])\n',
        "",
        "test_vsgd.py::test_loaded_sparse_run_remembers_the_memory_of_what_was_touched_last",
    ),
    # The published rules
    Bug(PUBLISHED, "total = g2_avg + (n - 1) * square", "total = g2_avg + n * square", PUBLISHED_STEP),
    Bug(PUBLISHED, "is_outlier |= (curv - h_avg)", "is_outlier &= (curv - h_avg)", PUBLISHED_STEP),
    Bug(
        PUBLISHED,
        "h2_avg += tau_inv * (curv_sq - h2_avg)",
        "h2_avg += tau_inv * (curv - h2_avg)",
        PUBLISHED_STEP,
    ),
    Bug(
        PUBLISHED_RUN,
        "self._curvature(here, probe), step - 1)",
        "self._curvature(here, probe), step)",
        PUBLISHED_LOOPS,
    ),
    Bug(
        PUBLISHED_RUN,
        "reinforcing = np.count_nonzero(weights) /",
        "reinforcing = n /",
        "test_family.py::test_copies_move_as_their_mean_and_orthogonal_samples_as_their_sum",
    ),
    Bug("refsgd/sgd/averages.py", "factor = max(1.0, d / 10)", "factor = 1.0", FAMILY),
    Bug("refsgd/sgd/block_rates.py", "blocks.largest(state.h_avg)", "state.h_avg", FAMILY),
    Bug(
        "refsgd/sgd/orthogonal.py",
        "np.abs(unit @ unit.T)",
        "unit @ unit.T",
        "test_family.py::test_weights_are_what_plain_loops_give_at_any_scale",
    ),
    # Linear models
    Bug(
        LINEAR,
        "curv.astype(real) * row_sum * np.abs(x) * scale",
        "curv.astype(real) * x * x",
        "test_linear.py::test_oracle_equals_plain_loops_that_penalise_at_each_sample",
    ),
    Bug(
        LINEAR,
        "np.where(h > 0, contract.FIRST_TAU, 0)",
        "np.where(h > 0, 1, 0)",
        "test_linear.py::test_oracle_equals_plain_loops_that_penalise_at_each_sample",
    ),
    Bug(
        LINEAR,
        "    lazy[..., 0] += theta * np.where(pull > 0",
        "    lazy[..., 0] += 2 * theta * np.where(pull > 0",
        "test_linear.py::test_oracle_equals_plain_loops_that_penalise_at_each_sample",
    ),
    Bug(
        LINEAR,
        "strength[d] = 0",
        "strength[d] = alpha",
        "test_linear.py::test_oracle_equals_plain_loops_that_penalise_at_each_sample",
    ),
    Bug(LOSSES, "_gap(z, y), -4 * y)", "_gap(z, y), -2 * y)", SLOPES),
    Bug(LOSSES, "slope=lambda z, y, _: _mean(z) - y,", "slope=lambda z, y, _: z - y,", SLOPES),
    Bug(LOSSES, "z - y, e * np.sign(z - y))", "z - y, np.sign(z - y))", SLOPES),
    Bug(
        LOSSES, "_wrong(z, y) / 4)", "_wrong(z, y) / 2)", "test_linear.py::test_kernel_equals_the_oracle", "c"
    ),
    Bug(
        LOSSES,
        "value=lambda z, y, _: _gap(z, y) ** 2,",
        "value=lambda z, y, _: _gap(z, y) ** 2 / 2,",
        "test_linear_losses.py::test_values_are_those_that_the_kernels_learn_from",
        "c",
    ),
    Bug(
        LOSSES,
        "        mean=_mean,\n",
        "",
        "test_linear_estimators.py::test_poisson_predicts_means_as_the_exact_fit_does",
        "",
    ),
    Bug(
        LOSSES,
        "reached[-1] / 2.0",
        "reached[-1] / 3.0",
        "test_linear_losses.py::test_weighted_median_has_the_least_absolute_error",
    ),
    Bug(
        "refsgd/adapters/classifier.py",
        "np.divide(total.sum(), len(classes) * total",
        "np.divide(total.sum(), total",
        "test_linear_estimators.py::test_balanced_weights_of_three_classes_have_the_mean_1",
        "",
    ),
    # Statistics of directions
    Bug(
        STATS,
        "return float(self._sums.weight.sum() ** 2 / self._sums.weight2.sum())",
        "return float(self.n)",
        "test_direction_stats.py::test_effective_n_is_that_of_the_weights",
        "",
    ),
    Bug(FOLD_SUMS, "2.0 * (shift @ s)", "(shift @ s)", MERGED, ""),
    Bug(FOLD_SUMS, "+ w * square\n", "\n", MERGED, ""),
    Bug(FOLD_SUMS, "self.sums[to] += w * shift", "pass", MERGED, ""),
    Bug(FOLD_SUMS, "[(first_fold + b) % k for", "[b for", MERGED, ""),
    Bug(FOLD_SUMS, "self.weight2[to] += other.weight2", "pass", MERGED, ""),
    Bug(
        FOLD_SUMS,
        "shifted(gram, along, self.weight), [self",
        "gram, [self",
        "test_monitor.py::test_report_is_what_all_gradients_together_give",
        "",
    ),
    Bug(
        FOLD_SUMS,
        "dim=self.dim + other.dim",
        "dim=other.dim",
        "test_monitor.py::test_every_group_and_the_whole_are_what_all_gradients_together_give",
        "",
    ),
    Bug(
        FOLD_SUMS,
        "weight**2, 1.0) / (1.0 + r)",
        "weight**2, 1.0) / 2.0",
        "test_direction_stats.py::test_lengths_match_mpmath",
        "",
    ),
    Bug(
        STATS,
        "self.n_zero += other.n_zero",
        "pass",
        MERGED,
        "",
    ),
    Bug(
        ESTIMATORS,
        "float((n * r * r - 1.0) / (n - 1.0))",
        "float(r * r)",
        "test_estimators.py::test_mean_pairwise_cosine_is_the_mean_over_pairs",
        "",
    ),
    Bug(
        ESTIMATORS,
        "special.stdtrit(k - 1, 0.5",
        "special.stdtrit(k, 0.5",
        "test_direction_stats.py::test_jackknife_and_sign_flips_match_plain_recomputation",
        "",
    ),
    Bug(
        EM,
        "weights[is_alive] = n_alive / n_alive.sum()",
        "weights[is_alive] = 1 / n_alive.size",
        "test_mixture.py::test_a_step_is_that_of_the_oracle",
        "",
    ),
    # Minibatches, criteria, checkpoints, the command line
    Bug(
        "refsgd/sgd/sampler.py",
        "self._order = self._rng.permutation(self.n_samples)",
        "self._order = np.arange(self.n_samples)",
        "test_minimize.py::test_random_state_makes_a_run_reproducible",
        "",
    ),
    Bug(
        "refsgd/sgd/sampler.py",
        "self._epoch = max(epoch, 0) - 1",
        "self._epoch = epoch",
        "test_resume.py::test_resumed_run_has_the_bits_of_an_uninterrupted_one",
        "",
    ),
    Bug(
        "refsgd/sgd/stopping.py",
        "if self._in_vain < self.patience:",
        "if self._in_vain <= self.patience:",
        "test_stopping.py::test_patience_stops_after_so_many_evaluations_without_a_lower_loss",
        "",
    ),
    Bug(
        CHECKPOINT,
        "for name in must_equal:",
        "for name in ():",
        "test_vsgd.py::test_state_of_another_kind_is_refused_whole",
    ),
    Bug(
        CHECKPOINT,
        "if name not in must_equal and (have",
        "if (have",
        "test_vsgd.py::test_settings_of_a_state_may_be_of_another_dtype",
    ),
    Bug(
        CHECKPOINT,
        "if missing := sorted(mine.keys() - set(state)):",
        "if missing := sorted(set(must_equal) - set(state)):",
        "test_vsgd.py::test_state_of_another_kind_is_refused_whole",
    ),
    Bug(
        CHECKPOINT,
        "(have.shape, have.dtype) != (want.shape, want.dtype)",
        "have.shape != want.shape",
        "test_vsgd.py::test_state_of_another_kind_is_refused_whole",
    ),
    Bug(
        "refsgd/apps/textdata/murmur.py",
        "0xC2B2AE35",
        "0xC2B2AE3D",
        "test_textdata.py::test_hash_is_murmurhash3",
        "",
    ),
]


def run(tree: Path, command: list[str], backend: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(tree)} | ({"REFSGD_BACKEND": backend} if backend else {})
    return subprocess.run(
        command, cwd=tree, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def test(tree: Path, tests: list[str], backend: str) -> subprocess.CompletedProcess[str]:
    options = ["-q", "-x", "-p", "no:cacheprovider"]
    return run(
        tree, [sys.executable, "-m", "pytest", *options, *(f"tests/{name}" for name in tests)], backend
    )


def build(tree: Path) -> None:
    done = run(tree, [sys.executable, "csrc/build_cffi.py"], "")
    if done.returncode:
        raise RuntimeError(done.stdout)


def verdict(tree: Path, bug: Bug) -> str:
    """ "caught" if the test fails with the bug; what it prints if it cannot be run, a fault of the list."""
    changed = [tree / bug.file, *(tree.glob("refsgd/_kernels*") if bug.file.startswith("csrc") else ())]
    before = [path.read_bytes() for path in changed]
    changed[0].write_text(before[0].decode().replace(bug.before, bug.after), "utf-8")
    try:
        if bug.file.startswith("csrc"):
            build(tree)
        done = test(tree, [bug.test], bug.backend)
    finally:
        for path, content in zip(changed, before, strict=True):
            path.write_bytes(content)
    return {0: "SURVIVES", 1: "caught"}.get(done.returncode, f"CANNOT BE TRIED\n{done.stdout}")


def copies(folder: Path, n: int, is_built: bool) -> list[Path]:
    """Copies of the tree, one for each bug that is tried at the same time."""
    ignored = shutil.ignore_patterns(
        ".*", "build", "dist", "*.egg-info", "__pycache__", "_kernels.c", "*.so", "*.o"
    )
    first = Path(shutil.copytree(ROOT, folder / "tree0", ignore=ignored))
    if is_built:
        build(first)
    return [first, *(Path(shutil.copytree(first, folder / f"tree{i}")) for i in range(1, n))]


def main() -> int:
    wanted = sys.argv[1] if len(sys.argv) > 1 else ""
    listed = [bug for bug in BUGS if wanted in bug.file or wanted in bug.test]
    bugs = [bug for bug in listed if (ROOT / bug.file).read_text("utf-8").count(bug.before) == 1]
    for bug in listed:
        if bug not in bugs:
            print(f"not there exactly once: {bug.file}: {bug.before!r}")
    n_workers = min(4, len(os.sched_getaffinity(0)))
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(n_workers) as pool:
        free: SimpleQueue[Path] = SimpleQueue()
        for tree in copies(Path(folder), n_workers, any(bug.backend != "numpy" for bug in bugs)):
            free.put(tree)

        def in_a_copy(call: Callable[..., Any], *arguments: Any) -> Any:
            tree = free.get()
            try:
                return call(tree, *arguments)
            finally:
                free.put(tree)

        backends = sorted({bug.backend for bug in bugs})
        tests = [sorted({bug.test for bug in bugs if bug.backend == backend}) for backend in backends]
        for backend, done in zip(backends, pool.map(partial(in_a_copy, test), tests, backends), strict=True):
            if done.returncode:
                print(f"without any bug, with REFSGD_BACKEND={backend}:\n{done.stdout}")
                return 2
        n_caught = 0
        verdicts = pool.map(partial(in_a_copy, verdict), bugs)
        for number, (bug, what) in enumerate(zip(bugs, verdicts, strict=True), 1):
            n_caught += what == "caught"
            print(f"{number:3d} {what:8s}  {bug.file}: {bug.after.strip()!r}  {bug.test}", flush=True)
    print(f"{n_caught} of {len(listed)} caught, {len(listed) - len(bugs)} lines not found")
    return 0 if n_caught == len(listed) else 1


if __name__ == "__main__":
    sys.exit(main())
