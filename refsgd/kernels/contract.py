"""What a backend must offer: per-parameter hot loops, the same in every backend.

Arrays are C-contiguous and all of one dtype (float32 or float64); outputs are preallocated and come last;
nothing is checked. ``state`` has shape (rows, width), of which the first d columns count: rows x, g_avg,
g2_avg, tau, of the default rule, whose kernels begin at a column of their own, and after them the average of
x, if one is kept; rows x, g_avg, g2_avg, h_avg, h2_avg, tau, of the published rules.

Everything but ``sums`` is element-wise and must equal the oracles of NumPy to the last
bit. ``sums`` too is defined to the bit: see `Check`. So no result depends on vector width or number of
threads.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from numpy.typing import NDArray

Array = NDArray[Any]

LANES = 16
BLOCK = 4096

#: Minibatches of a start, at a fixed x; factor by which mean squares are over-estimated after it, so that
#: first steps are careful.
N_START, OVERESTIMATE = 10, 10.0

#: The default rule: standard deviations beyond which a step does not follow an entry; root mean squares
#: beyond which a whole minibatch counts as that.
LIMIT, GUARD = 3.0, 8.0

#: The ``variant`` of `StepRule`: how curvature becomes a rate.
FD = 0  #: ``rho * h_avg / h2_avg``: vSGD-fd
BBPROP = 1  #: ``rho / h_avg``: vSGD-l

#: The losses of a linear model. The first four have targets -1 and 1.
LOG, HINGE, SQUARED_HINGE, MODIFIED_HUBER, SQUARED, HUBER, INSENSITIVE, POISSON, MULTINOMIAL = range(9)

#: Memory of a linear model's parameter after its first sample. The parameter has then taken a full step, so
#: the second sample, whose gradient is taken at the new point, counts for more than the first.
FIRST_TAU = 1.5

#: Largest exponent of a predicted Poisson mean, and largest score.
MAX_LOG_MEAN, MAX_SCORE = 80.0, 1e30

#: Entries of samples below this power of 2 count as zeros in a linear model: their squares stay normal.
SMALLEST_ENTRY_EXPONENT = {"float32": -40, "float64": -300}

#: What `RowFlaws` finds: an entry that is too large, a column that does not exist, columns that do not rise.
ENTRY_BEYOND, INDEX_OUTSIDE, INDEX_FALLS = 1, 2, 4

#: A feature's scale stays as it is after 2 to this power entries: a larger count would not be exact.
MAX_COUNT_EXPONENT = {"float32": 24, "float64": 53}

#: Partial sums of a tile of columns in statistics of directions.
DIRECTION_LANES = 32

#: Most folds of directions: the sign-flip test tries ``2**(n_folds - 1)`` sign vectors.
MAX_FOLDS = 20

#: Directions may be summed without subtracting the reference while the squared distances summed before them
#: are at least this times the weight summed with them: the cancellation costs 1/FAR roundings.
FAR = 1 / 16

#: Probe offsets at or below this many units of rounding of ``x`` are widened to it.
WIDEN = 8

#: Curvatures by finite differences are kept within ± this power of 2, so that their squares stay finite.
MAX_CURV_EXPONENT = {"float32": 62, "float64": 510}


def n_blocks(d: int) -> int:
    """Number of blocks that ``d`` columns fill."""
    return -(-d // BLOCK)


class Check(Protocol):
    """Sum of ``(unit * grad)**2`` in the one column of ``sums``: finite only if ``grad`` is fit for a step.

    Here and below ``sums`` has a row per block of `BLOCK` columns, in which `LANES` interleaved partial sums
    are taken in order, in the dtype of the gradient, and then added in order in float64; its last row
    receives the sums of all rows above, added in order. ``unit`` is a power of 2.
    """

    def __call__(self, grad: Array, unit: float, sums: Array) -> None: ...


class Probe(Protocol):
    """The point ``x - length * m / D`` of parameters from ``begin`` on, D = sqrt(v).

    Offsets at or below `WIDEN` units of rounding of x are widened to that.
    """

    def __call__(self, state: Array, begin: int, length: float, point: Array) -> None: ...


class Land(Protocol):
    """The point to which the averages as they are would step along ``grad``."""

    def __call__(
        self, state: Array, begin: int, grad: Array, unit: float, length: float, point: Array
    ) -> None: ...


class Secant(Protocol):
    """What the gradients of one minibatch at x and at ``point`` say of the curvature between them.

    With ``d = x - point``, ``g = unit * grad`` and ``c = g - unit * point_grad`` the four columns of ``sums``
    receive the sums of ``d**2 * D``, ``d * c``, ``c**2 / D`` (0 where D is 0) and ``g * d``.
    """

    def __call__(
        self,
        state: Array,
        begin: int,
        point: Array,
        grad: Array,
        point_grad: Array,
        unit: float,
        sums: Array,
    ) -> None: ...


class Step(Protocol):
    """One step along ``factor * grad``; ``sums`` (n_blocks + 1, 2) receives the sums of the new v and tau.

    Where the state has a fifth row, the average of x, it moves by the share ``weight`` towards the new x.
    """

    def __call__(
        self,
        state: Array,
        begin: int,
        grad: Array,
        factor: float,
        length: float,
        weight: float,
        sums: Array,
    ) -> None: ...


#: ``advance(grad, unit, g2_sum, length, weight)``: see `BindAdvance`.
Advance = Callable[[Array, float, float, float, float], bool]


class BindAdvance(Protocol):
    """`Check`, guard and `Step` of the whole of one state in one call, with addresses looked up once.

    The guard: where the sum of squares E exceeds ``GUARD**2 * g2_sum > 0``, ``factor`` is ``unit *
    (GUARD * sqrt(g2_sum / E))``, else ``unit``. False, and nothing is changed but ``energy``, where E is not
    finite. ``energy`` (n_blocks + 1, 1) and ``sums`` (n_blocks + 1, 2) are those of `Check` and `Step`.
    """

    def __call__(self, state: Array, energy: Array, sums: Array) -> Advance: ...


class Moments(Protocol):
    """Mean and mean square of each column of ``rows`` (n, d); ``mean_sq`` None is not wanted.

    True if all of them, and the squares of the means, are finite.
    """

    def __call__(self, rows: Array, mean: Array, mean_sq: Array | None) -> bool: ...


class Curvature(Protocol):
    """Mean and mean square over samples of the secant ``abs(rows - probe_rows) / abs(x - point)``."""

    def __call__(
        self, rows: Array, probe_rows: Array, x: Array, point: Array, mean: Array, mean_sq: Array
    ) -> None: ...


class PublishedProbe(Protocol):
    """The probe point ``x + g_avg``, widened where the addition would lose it: see `WIDEN`."""

    def __call__(self, state: Array, point: Array) -> None: ...


class PublishedMoments(NamedTuple):
    """Mean and mean square of the gradient and of the curvature, per parameter."""

    grad: Array
    grad_sq: Array
    curv: Array
    curv_sq: Array


class StepRule(NamedTuple):
    """How a published step is taken."""

    limit: float  #: times a variance, the square beyond which a value is an outlier
    variant: int  #: `FD` or `BBPROP`


class PublishedStep(Protocol):
    """One step from the moments of a minibatch of ``n`` samples; updates ``state`` in place.

    The step goes along ``move``, which is the mean gradient unless samples are reweighted; ``n`` is then the
    number of samples that reinforce each other, and need not be whole.
    """

    def __call__(
        self, state: Array, moments: PublishedMoments, move: Array, n: float, rule: StepRule
    ) -> None: ...


class PublishedStepFD(Protocol):
    """`PublishedStep` with the curvature of the mean, by finite differences to its gradient at the probe.

    ``grad_sq`` None stands for ``grad * grad``: a single sample.
    """

    def __call__(
        self, state: Array, grad: Array, grad_sq: Array | None, probe_grad: Array, n: int, limit: float
    ) -> None: ...


class Collect(Protocol):
    """Sort the entries ``data`` at ``indices`` (int64) of sparse rows by column, in order of appearance.

    Entries that are 0 are left out. For each of the k columns found: its index in ``columns`` (int64), the
    number of its entries in ``count`` (int64), their sum and sum of squares. Returns k; the outputs have room
    for ``data.size``.

    ``slots`` (d,), int32, and ``columns`` make up a sparse set: column c is the one at ``slots[c] - 1``, if
    that is a place from 0 to k - 1 where ``columns`` has c. So ``slots`` may hold anything before.
    """

    def __call__(
        self,
        indices: Array,
        data: Array,
        slots: Array,
        columns: Array,
        count: Array,
        total: Array,
        total_sq: Array,
    ) -> int: ...


class Add(Protocol):
    """Add the entries ``data`` at ``indices`` to ``total`` (k,), where `Collect` found the k ``columns``."""

    def __call__(self, indices: Array, data: Array, slots: Array, columns: Array, total: Array) -> None: ...


class PublishedStepAt(Protocol):
    """`PublishedStep` of the k parameters ``columns``, entry j of each array belonging to the j-th of them.

    ``count`` (k,), int64, is the number of samples of each.
    """

    def __call__(
        self, state: Array, columns: Array, count: Array, moments: PublishedMoments, rule: StepRule
    ) -> None: ...


class Csr(NamedTuple):
    """Samples in CSR form or, where ``indptr`` and ``indices`` are None, dense: ``data`` is then (n * d,)."""

    indptr: Array | None  #: int64
    indices: Array | None  #: int32 or int64
    data: Array


class RowFlaws(Protocol):
    """Bitwise OR of the flaws found in the rows of ``samples``, whose ``indptr`` must be sound.

    `ENTRY_BEYOND`: an entry is not within plus or minus ``bound``. `INDEX_OUTSIDE`: an index is not from 0
    to d - 1. `INDEX_FALLS`: the indices of some row do not rise.
    """

    def __call__(self, samples: Csr, d: int, bound: float) -> int: ...


class LinearRule(NamedTuple):
    """How a linear model learns."""

    loss: int
    epsilon: float  #: parameter of the Huber and the insensitive loss
    alpha: float  #: the penalty is ``alpha / 2 * sum(theta**2)``, without the intercept
    batch_size: int
    has_intercept: bool


class LinearState(NamedTuple):
    """What a linear model has learnt."""

    records: Array
    """(d + 1, n_outputs, 8), the intercept last. Per parameter: theta, g_avg, g2_avg, h_avg, tau (0 before
    the first sample), the sum of squares and the number of the feature's entries that count, and the sample
    up to which theta is penalised."""
    lazy: Array | None
    """(d + 1, n_outputs, 2), float64, needed with a penalty or for an average. Per parameter: the sum over
    samples of theta after each, and the pull: the penalty divides theta by 1 + pull at each sample."""
    totals: Array
    """(3,), float64: number of samples, their mean absolute residual (for losses of a residual), and weighted
    sum of losses, each computed before the sample's step."""


class Linear(Protocol):
    """vSGD of a linear model: one step for every ``rule.batch_size`` of the samples numbered in ``order``.

    ``samples`` have no duplicate entries; those below `SMALLEST_ENTRY_EXPONENT` count as zeros. The
    multinomial loss has one output per class, the others have one. Scores and exponentials may differ by
    rounding between backends.
    """

    def __call__(
        self, state: LinearState, samples: Csr, y: Array, weights: Array, order: Array, rule: LinearRule
    ) -> None: ...


class Squares(Protocol):
    """Sum of squares (n,) of each row of ``rows`` (n, d), in float64.

    Tiles of `BLOCK` columns are added in order. In each tile, `DIRECTION_LANES` interleaved partial sums are
    added halves to halves; the remaining columns come in pieces of 16, 8, 4, 2 and 1, each summed the same
    way and added in order.
    """

    def __call__(self, rows: Array, squares: Array) -> None: ...


class DirectionBatch(NamedTuple):
    """Vectors (n, d) whose directions u are to be added to folds, vector j to fold ``(first_fold + j) % k``.

    Where ``is_unit``, u is the vector itself; else the vector is divided by its length. ``squares`` (n,)
    holds their squares if ``chunk`` is 0; else the kernel goes through ``chunk`` vectors at a time and begins
    by computing their squares. It is overwritten.
    """

    rows: Array
    weights: Array | None  #: (n,), float64; None: all 1
    squares: Array  #: (n,), float64
    least: float  #: bounds of the squares
    most: float
    is_unit: bool
    chunk: int
    first_fold: int


class FoldArrays(NamedTuple):
    """Sums over the directions u of each of k folds, all float64, about a reference direction c."""

    reference: Array  #: c, (d,)
    sums: Array  #: ``sum w (u - c)``, (k, d)
    weight: Array  #: ``sum w``, (k,)
    weight2: Array  #: ``sum w**2``, (k,)
    sq_distance: Array  #: ``sum w |u - c|**2``, (k,)


class AddDirections(Protocol):
    """Add directions to the sums of their folds.

    Where `FAR` allows it for a chunk, with T the sum of ``w u`` and W that of ``w`` over a fold, ``sums``
    gains ``T - W c`` and ``sq_distance`` gains ``2 max(W - T @ c, 0)``.

    Returns True if all squares are in [``least``, ``most``]; else it returns at once, with part of its work
    done.
    """

    def __call__(self, batch: DirectionBatch, folds: FoldArrays) -> bool: ...


class Kernels(NamedTuple):
    """One backend. A missing slot fails when the backend is loaded."""

    description: str
    check: Check
    probe: Probe
    land: Land
    secant: Secant
    step: Step
    bind_advance: BindAdvance
    moments: Moments
    collect: Collect
    add: Add
    curvature: Curvature
    published_probe: PublishedProbe
    published_step: PublishedStep
    published_step_fd: PublishedStepFD
    published_step_at: PublishedStepAt
    row_flaws: RowFlaws
    linear: Linear
    squares: Squares
    directions: AddDirections
