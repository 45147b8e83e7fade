"""``python -m refsgd predict``: one line per sample of a text file."""

from __future__ import annotations

import argparse
import os
import sys
from contextlib import nullcontext
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..._errors import message
from ..._files import atomic_write, check_folder
from ...linear.losses import WITH_PROBABILITY
from ...progress import bar
from ..textdata import read_chunks
from .predictor import Predictor, as_label, check_format, load

WHAT = ("label", "score", "probability")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("model", metavar="MODEL", help="a file that fit --model wrote")
    add("data", metavar="DATA", help="text in the fit's format, labels may be missing; - for stdin")
    add("--out", metavar="FILE", help="write to this file instead of standard output")
    add("--write", choices=WHAT, default="label", help="for a regression, the label is the predicted value")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    predictor = load(options.model)
    if options.write == "probability" and (
        predictor.classes is None or predictor.loss not in WITH_PROBABILITY
    ):
        must, remedy = f"go with a model of {' or '.join(WITH_PROBABILITY)}", "pass --write score"
        raise ValueError(message("--write probability", must, predictor.loss, remedy))
    if options.out:
        check_folder("--out", options.out)
    size = None if options.data == "-" else os.path.getsize(options.data)
    out: Any = atomic_write(options.out) if options.out else nullcontext(sys.stdout.buffer)
    try:
        with out as file, bar(size, "B", unit_scale=True) as progress:
            for chunk in read_chunks(options.data, bits=predictor.bits):
                check_format(chunk, options.data, predictor)
                file.write(text(predictor, predictor.scores(chunk.X), options.write).encode())
                progress.update(chunk.position - progress.n)
            file.flush()
    except KeyboardInterrupt:
        what = f"{options.out} is not written" if options.out else "rows are missing"
        print(f"\nrefsgd: interrupted, {what}", file=sys.stderr)
        return 130
    return 0


def text(predictor: Predictor, scores: NDArray[np.float64], what: str) -> str:
    """One line per sample: a label, or numbers in the order of the outputs or classes."""
    if what == "score":
        rows = scores
    elif what == "probability":
        rows = predictor.probabilities(scores)
    elif predictor.classes is None:
        rows = predictor.means(scores)[:, None]
    else:
        names = [as_label(value) for value in predictor.classes]
        return "".join(f"{names[k]}\n" for k in predictor.labels(scores).tolist())
    return "".join(" ".join(map(repr, row)) + "\n" for row in rows.tolist())
