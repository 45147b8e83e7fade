"""The one form of every message about bad input: name, requirement, what came, remedy."""

from __future__ import annotations


class BackendError(ImportError):
    """A kernel backend that was asked for by name cannot be used."""


class NumericalWarning(RuntimeWarning):
    """A run met a value that is not finite and stopped with its last good state."""


def message(name: str, must: str, got: object, remedy: str) -> str:
    """``<name> must <requirement>, got <value>; <remedy>.``

    >>> message("grad", "have shape (n, 784)", (784, 32), "pass one row per sample")
    'grad must have shape (n, 784), got (784, 32); pass one row per sample.'
    """
    return f"{name} must {must}, got {got}; {remedy}."
