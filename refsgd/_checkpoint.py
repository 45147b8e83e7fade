"""Loading what `state_dict` returned: whole, of the same version and kind, or not at all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._errors import message


def load(
    state: Mapping[str, Any], mine: Mapping[str, NDArray[Any]], must_equal: Iterable[str]
) -> dict[str, NDArray[Any]]:
    """The entries of ``state`` as arrays, checked against ``mine``, a state of the object that loads them.

    The entries named by ``must_equal`` must be those of ``mine``, the others have their shape and dtype.

    Raises
    ------
    ValueError
        If ``state`` is of another version or kind, or incomplete.
    """
    version = state.get("version")
    if version is None or not np.array_equal(version, mine["version"]):
        must = f"be of version {mine['version']}"
        remedy = "another release of refsgd saved it: load it with that release, or start anew"
        raise ValueError(message("state", must, f"version {version}", remedy))
    for name in must_equal:  # first of all: a state of another rule has other entries, too
        if name in state and not np.array_equal(state[name], mine[name]):
            remedy = "load it into a run of the same rule"
            raise ValueError(message(f"{name} of state", f"be {mine[name]}", state[name], remedy))
    if missing := sorted(mine.keys() - set(state)):
        must, got = f"have the entries {sorted(mine)}", f"none of {missing}"
        raise ValueError(message("state", must, got, "pass the complete one"))
    arrays = {name: np.asarray(state[name]) for name in mine}
    for name, want in mine.items():
        have = arrays[name]
        if name not in must_equal and (have.shape, have.dtype) != (want.shape, want.dtype):
            must = f"have shape {want.shape} and dtype {want.dtype}"
            remedy = "load it into a run with the same number and dtype of parameters"
            raise ValueError(message(f"{name} of state", must, f"{have.shape} and {have.dtype}", remedy))
    return arrays
