"""The one form of all messages about bad input: name, requirement, value, remedy."""

from __future__ import annotations


class BackendError(ImportError):
    """A kernel backend that the user chose by name cannot be used.

    See Also
    --------
    refsgd.show_backends : says why.

    Examples
    --------
    >>> issubclass(BackendError, ImportError)
    True
    """


class NumericalWarning(RuntimeWarning):
    """A run met a value that is not finite and stopped with its last good state.

    Examples
    --------
    >>> import warnings
    >>> warnings.simplefilter("error", NumericalWarning)  # to stop the program too
    """


def message(name: str, must: str, got: object, remedy: str) -> str:
    """``<name> must <requirement>, got <value>; <remedy>.``

    >>> message("grad", "have shape (n, 784)", (784, 32), "pass one row per sample")
    'grad must have shape (n, 784), got (784, 32); pass one row per sample.'
    """
    return f"{name} must {must}, got {got}; {remedy}."
