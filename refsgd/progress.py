"""A progress bar on a terminal, nothing elsewhere."""

from __future__ import annotations

from typing import Any


def bar(total: int | None, unit: str, *, show: bool = True, **kwargs: Any) -> Any:
    """A tqdm bar on standard error; silent where that is no terminal, or where ``show`` is False."""
    from tqdm import tqdm

    return tqdm(total=total, unit=f" {unit}", disable=None if show else True, leave=False, **kwargs)
