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
from pathlib import Path
from typing import NamedTuple

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
LINEAR = "refsgd/kernels/linear_numpy.py"
STATS, ESTIMATORS, EM = (f"refsgd/directional/{name}.py" for name in ("stats", "estimators", "em"))

STEP = "test_dense_kernels.py::test_step_is_what_the_equations_say"
PROBE = "test_dense_kernels.py::test_probe_and_land_are_what_the_equations_say"
SECANT = "test_dense_kernels.py::test_secant_sums_are_what_the_equations_say"
BITS = "test_dense_kernels.py::test_kernels_have_the_bits_of_the_oracle"
DENSE_LOOPS = "test_vsgd.py::test_dense_run_is_what_plain_loops_give"
ANY_LOOPS = "test_vsgd.py::test_any_gradients_give_what_plain_loops_give"
GROUP_LOOPS = "test_vsgd.py::test_groups_that_begin_late_are_what_plain_loops_give"
CEILING_LOOPS = "test_vsgd.py::test_ceiling_is_what_plain_loops_give"
SPARSE_LOOPS = "test_vsgd.py::test_sparse_run_is_what_plain_loops_give"
SAVED = "test_vsgd.py::test_saved_run_continues_bit_for_bit"
PUBLISHED_STEP = "test_kernels.py::test_step_is_what_the_equations_say"
PUBLISHED_LOOPS = "test_published.py::test_run_is_what_plain_loops_give"
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
        "return min(1.0, 9 / (counters.n_moves + 9))",
        "return min(1.0, 8 / (counters.n_moves + 8))",
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
        "self._count(batch, second, 1, 0)\n\n",
        "self._count(batch, second, 0, 0)\n\n",
        DENSE_LOOPS,
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
        "np.where(h > 0, FIRST_TAU, 0)",
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
        "return float(self._weight.sum() ** 2 / self._weight2.sum())",
        "return float(self.n)",
        "test_direction_stats.py::test_effective_n_is_that_of_the_weights",
        "",
    ),
    Bug(
        STATS,
        "+ 2.0 * (shift @ other._sums[b])",
        "+ (shift @ other._sums[b])",
        "test_direction_stats.py::test_merged_parts_equal_one_pass",
        "",
    ),
    Bug(
        STATS,
        "own, w = (self.n + b) % self.n_blocks, other",
        "own, w = b, other",
        "test_direction_stats.py::test_merged_parts_equal_one_pass",
        "",
    ),
    Bug(
        STATS,
        "self.n_zero += other.n_zero",
        "pass",
        "test_direction_stats.py::test_merged_parts_equal_one_pass",
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
        "        if epoch >= 0:\n",
        "        if epoch > 0:\n",
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
        "refsgd/_checkpoint.py",
        "if name in state and not np.array_equal(state[name], mine[name]):",
        "if False:",
        "test_vsgd.py::test_state_of_another_kind_is_refused_whole",
    ),
    Bug(
        "refsgd/_checkpoint.py",
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
        sys.exit(done.stdout)


def survives(tree: Path, bug: Bug) -> bool:
    """Whether the test passes with the bug; anything but a failed test is a fault of the list."""
    path = tree / bug.file
    text = path.read_text("utf-8")
    path.write_text(text.replace(bug.before, bug.after), "utf-8")
    try:
        if bug.file.startswith("csrc"):
            build(tree)
        done = test(tree, [bug.test], bug.backend)
    finally:
        path.write_text(text, "utf-8")
        if bug.file.startswith("csrc"):
            build(tree)
    if done.returncode not in (0, 1):
        sys.exit(f"{bug.file}: {bug.after!r}\n{done.stdout}")
    return done.returncode == 0


def main() -> int:
    wanted = sys.argv[1] if len(sys.argv) > 1 else ""
    bugs = [bug for bug in BUGS if wanted in bug.file or wanted in bug.test]
    faults = [bug for bug in bugs if (ROOT / bug.file).read_text("utf-8").count(bug.before) != 1]
    for bug in faults:
        print(f"not there exactly once: {bug.file}: {bug.before!r}")
    bugs = [bug for bug in bugs if bug not in faults]
    with tempfile.TemporaryDirectory() as folder:
        ignored = shutil.ignore_patterns(
            ".*", "build", "dist", "*.egg-info", "__pycache__", "_kernels.c", "*.o"
        )
        tree = Path(shutil.copytree(ROOT, Path(folder) / "tree", ignore=ignored))
        if any(bug.backend != "numpy" for bug in bugs):
            build(tree)
        for backend in sorted({bug.backend for bug in bugs}):
            done = test(tree, sorted({bug.test for bug in bugs if bug.backend == backend}), backend)
            if done.returncode:
                print(f"without any bug, with REFSGD_BACKEND={backend}:\n{done.stdout}")
                return 2
        n_survivors = 0
        for number, bug in enumerate(bugs, 1):
            alive = survives(tree, bug)
            n_survivors += alive
            verdict = "SURVIVES" if alive else "caught"
            print(f"{number:3d} {verdict:8s}  {bug.file}: {bug.after.strip()!r}  {bug.test}", flush=True)
    print(f"{len(bugs) - n_survivors} of {len(bugs)} caught, {len(faults)} lines not found")
    return 1 if n_survivors or faults else 0


if __name__ == "__main__":
    sys.exit(main())
