"""The reports of a run as one table, and the files that hold it."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._files import atomic_write
from .report import DirectionReport

COLUMNS = [
    (name, "i8" if name in ("n", "n_zero", "dim") else "f8")
    for field in DirectionReport._fields[:-1]
    for name in (("kappa_low", "kappa_high") if field == "kappa_interval" else (field,))
]


def table(reports: Sequence[tuple[int, DirectionReport]]) -> NDArray[Any]:
    """Reports, each with the number of gradients up to it, as `refsgd.DirectionMonitor.history`."""
    rows = [
        (step, name, *row(report))
        for step, whole in reports
        for name, report in (("", whole), *whole.groups.items())
    ]
    width = max([1, *(len(name) for _, name, *_ in rows)])
    return np.array(rows, dtype=[("step", "i8"), ("group", f"U{width}"), *COLUMNS])


def reports(history: NDArray[Any]) -> list[tuple[int, DirectionReport]]:
    """The reports in a table that `table` made."""
    found: list[tuple[int, DirectionReport]] = []
    for step, name, *values in history.tolist():
        fields = dict(zip((name for name, _ in COLUMNS), values, strict=True))
        interval = fields.pop("kappa_low"), fields.pop("kappa_high")
        report = DirectionReport(kappa_interval=interval, groups={}, **fields)
        if name:
            found[-1][1].groups[name] = report
        else:
            found.append((step, report))
    return found


def row(report: DirectionReport) -> list[Any]:
    fields = report._asdict() | dict(zip(("kappa_low", "kappa_high"), report.kappa_interval, strict=True))
    return [fields[name] for name, _ in COLUMNS]


def to_csv(history: NDArray[Any], path: str | Path) -> None:
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(history.dtype.names or ())
    writer.writerows(history.tolist())
    write(path, file.getvalue())


def to_json(columns: dict[str, list[Any]], path: str | Path) -> None:
    strict = {name: [for_json(value) for value in values] for name, values in columns.items()}
    write(path, json.dumps(strict, allow_nan=False))


def for_json(value: Any) -> Any:
    """NaN becomes null and inf the string "inf", because JSON has neither."""
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    return value


def write(path: str | Path, text: str) -> None:
    with atomic_write(path) as file:
        file.write(text.encode("utf-8"))
