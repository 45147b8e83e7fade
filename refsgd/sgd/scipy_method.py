"""vSGD as a method of SciPy: ``scipy.optimize.minimize(f, x0, args=(X, y), jac=g, method=refsgd.VSGD())``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from .._errors import message

if TYPE_CHECKING:
    from scipy.optimize import OptimizeResult

OPTIONS = (
    "batch_size",
    "epochs",
    "max_iter",
    "diag_hess",
    "blocks",
    "groups",
    "stop",
    "resume",
    "random_state",
    "progress",
    "backend",
)


def solve(
    rule: Any,
    fun: Any,
    x0: NDArray[Any],
    args: tuple[Any, ...] = (),
    *,
    jac: Any = None,
    callback: Any = None,
    hess: Any = None,
    hessp: Any = None,
    bounds: Any = None,
    constraints: Any = (),
    **options: Any,
) -> OptimizeResult:
    """What SciPy calls. ``args`` are cut into minibatches; ``options`` are those of `refsgd.minimize`.

    ``jac(x, *batch)`` returns what ``grad`` returns there, usually the gradient (d,) of the minibatch. With
    ``jac=True``, ``fun(x, *batch)`` returns loss and gradient.

    Raises
    ------
    ValueError
        If there is no ``jac``, or an option, bounds or constraints that do not apply.

    Examples
    --------
    >>> import numpy as np, refsgd, scipy.optimize
    >>> rng = np.random.default_rng(0)
    >>> X, y = rng.normal(size=(500, 2)), rng.normal(size=500)
    >>> y += X @ [1.0, -2.0]
    >>> def loss_and_grad(x, X, y):
    ...     residual = X @ x - y
    ...     return 0.5 * np.mean(residual**2), X.T @ residual / len(y)
    >>> res = scipy.optimize.minimize(loss_and_grad, np.zeros(2), args=(X, y), jac=True, method=refsgd.VSGD(),
    ...                               options={"batch_size": 10, "epochs": 10, "random_state": 0})
    >>> bool(np.abs(res.x - np.linalg.lstsq(X, y)[0]).max() < 0.1)
    True
    """
    from scipy.optimize._optimize import MemoizeJac

    from .minimize import minimize  # which needs the rules, and they this module

    unknown = sorted(options.keys() - set(OPTIONS))
    if unknown:
        must = f"be among {', '.join(OPTIONS)}"
        raise ValueError(message("options", must, ", ".join(unknown), "leave out the others"))
    if bounds is not None or len(constraints):
        raise ValueError(message("bounds and constraints", "be absent", "some", "minimise without them"))
    if isinstance(fun, MemoizeJac):
        # SciPy splits fun and caches by x alone, which gives the gradient of an earlier minibatch.
        both = fun.fun

        def loss(x: NDArray[Any], *batch: Any) -> Any:
            return both(x, *batch)[0]

        def grad(x: NDArray[Any], *batch: Any) -> Any:
            return both(x, *batch)[1]
    elif callable(jac):
        loss, grad = fun, jac
    else:
        remedy = "pass jac=gradient, or jac=True with a function that returns loss and gradient"
        raise ValueError(message("jac", "be True or a callable", repr(jac), remedy))
    return minimize(grad, x0, args, fun=loss, method=rule, callback=callback, **options)


class ScipyMethod:
    """What makes a rule a ``method`` of `scipy.optimize.minimize`."""

    def __call__(self, fun: Any, x0: NDArray[Any], args: tuple[Any, ...] = (), **options: Any) -> Any:
        """What SciPy calls: see `refsgd.sgd.scipy_method.solve`."""
        return solve(self, fun, x0, args, **options)
