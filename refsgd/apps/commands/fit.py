"""``python -m refsgd fit``: learn a linear model online from a text file."""

from __future__ import annotations

import argparse
import itertools
import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from ..._config import BACKENDS, backend_name
from ..._errors import message
from ..._files import check_folder
from ...linear.losses import LOSSES, MARGIN_LOSSES
from ...progress import bar
from ...sgd.interrupts import Interrupts
from ..textdata import Chunk, read_chunks
from .learner import Learner
from .predictor import FORMATS, Predictor, as_label, check_format
from .scores import LabelSample, Tally

PEEK = 2**24  # bytes of text that are searched for classes
MOST_CLASSES = 1000
ONE_OUTPUT = tuple(loss for loss in LOSSES if loss != "multinomial")  # classes are learnt one by one


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "data",
        metavar="DATA",
        help="svmlight or Vowpal Wabbit text, also gzip or bzip2; - for stdin",
    )
    add("--loss", choices=ONE_OUTPUT, default="log_loss", help="the last five are for regression")
    add("--alpha", type=float, default=0.0, help="strength of the penalty alpha / 2 * sum(coef**2)")
    add("--epsilon", type=float, default=0.1, help="of huber and epsilon_insensitive, in units of the label")
    add("--passes", type=int, default=1, metavar="N", help="passes over DATA, in the order of its lines")
    add("--classes", type=numbers, metavar="A,B,...", help="all labels (default: those in the first 16 MiB)")
    add("--bits", type=int, default=18, metavar="N", help="hash Vowpal Wabbit's features into 2**N columns")
    add("--average", action="store_true", help="average over the latest half to three quarters of samples")
    add("--no-intercept", action="store_true", help="make the score 0 where all features are 0")
    add("--test", metavar="FILE", help="measure the model on this file")
    add("--model", metavar="FILE", help="write the model, for predict")
    add("--backend", choices=BACKENDS, help="kernels to use, else REFSGD_BACKEND, else auto")
    parser.set_defaults(run=run)


def numbers(text: str) -> NDArray[np.float64]:
    try:
        classes = np.unique([float(word) for word in text.split(",")])
    except ValueError:
        classes = np.zeros(0)
    if classes.size < 2 or not np.isfinite(classes).all():
        raise argparse.ArgumentTypeError(f"must be two numbers or more with commas between, got {text!r}")
    return classes


def run(options: argparse.Namespace) -> int:
    _check(options)
    fit = Fit(options)
    is_interrupted = fit.train()
    assert fit.learner is not None
    predictor = fit.learner.predictor()
    print(fit.summary(predictor), flush=True)
    if options.model:
        predictor.save(options.model)
        print(f"model in {options.model}", flush=True)
    if is_interrupted:
        print("interrupted: the model has learnt the rows above and no more", flush=True)
        return 130
    if options.test:
        print(test(options.test, predictor, fit.constant(predictor)), flush=True)
    return 0


def _check(options: argparse.Namespace) -> None:
    """Refuse bad options before any data is read."""
    if options.passes < 1:
        raise ValueError(message("--passes", "be at least 1", options.passes, "pass --passes 1"))
    if options.data == "-" and options.passes > 1:
        raise ValueError(message("--passes", "be 1 for standard input", options.passes, "name a file"))
    if options.data == options.test == "-":
        raise ValueError(message("--test", "be a file where DATA is standard input", "-", "name a file"))
    if options.classes is not None and options.loss not in MARGIN_LOSSES:
        remedy = f"leave it out or choose --loss from {', '.join(MARGIN_LOSSES)}"
        raise ValueError(message("--classes", "go with a loss of classes", options.loss, remedy))
    if options.model:
        check_folder("--model", options.model)
    for path in (options.data, options.test):
        if path not in (None, "-"):
            open(path, "rb").close()


@dataclass
class Pass:
    """Progress of one pass."""

    number: int
    began: float
    n_rows: int = 0
    n_entries: int = 0
    n_bytes: int = 0

    def add(self, chunk: Chunk) -> None:
        self.n_rows += chunk.y.size
        self.n_entries += chunk.X.nnz
        self.n_bytes += chunk.n_bytes

    def row(self, loss: float) -> str:
        """One line of the table under `HEADER`."""
        seconds = time.perf_counter() - self.began
        return (
            f"{self.number:4d}  {self.n_rows:12,d}  {loss:16.4f}"
            f"  {seconds:8.1f}  {self.n_bytes / 1e6 / seconds:6.1f}"
        )


HEADER = "pass          rows  progressive loss   seconds    MB/s"


class Fit:
    """All passes over the data."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.learner: Learner | None = None
        self._options = options
        self._classes: NDArray[np.float64] | None = options.classes
        self._first: Pass | None = None
        self._labels = LabelSample()

    def train(self) -> bool:
        """Learn, and print one line per pass; True if interrupted, once there is a model."""
        options = self._options
        size = None if options.data == "-" else os.path.getsize(options.data) * options.passes
        interrupts = Interrupts()
        with interrupts.handled(), bar(size, "B", unit_scale=True) as progress:
            for number in range(1, options.passes + 1):
                current = Pass(number, time.perf_counter())
                try:
                    for chunk in self._chunks(progress):
                        with interrupts:
                            learner = self._learner(chunk)
                            learner.learn(chunk)
                            current.add(chunk)
                            if number == 1:
                                self._labels.add(chunk.y, chunk.weights)
                        progress.set_postfix_str(f"loss {learner.progressive_loss:.4f}", refresh=False)
                    is_interrupted = False
                except KeyboardInterrupt:
                    if self.learner is None:
                        raise
                    is_interrupted = True
                if self.learner is None:
                    raise ValueError(message(options.data, "hold samples", "none", "name another file"))
                progress.clear()
                if number == 1:
                    self._first = current
                    print(HEADER)
                print(current.row(self.learner.progressive_loss), flush=True)
                if is_interrupted:
                    return True
                self.learner.begin_pass()
        return False

    def summary(self, predictor: Predictor) -> str:
        """What was read, and the loss to beat."""
        first = self._first
        assert first is not None
        held, width = np.count_nonzero(predictor.coef.any(axis=0)), predictor.coef.shape[1]
        lines = [
            f"{self._options.data}: {FORMATS[predictor.format]}, {first.n_rows:,} rows, "
            f"{first.n_entries:,} non-zeros, {held:,} features of {width:,} columns"
        ]
        if predictor.classes is not None:
            lines.append(f"classes {', '.join(as_label(c) for c in predictor.classes)}")
        _, loss = self._labels.constant(predictor.loss, predictor.epsilon, predictor.classes)
        lines.append(f"the best constant has a loss of {loss:.4f}")
        return "\n".join(lines)

    def constant(self, predictor: Predictor) -> Predictor:
        """The best model that ignores the features, for comparison."""
        scores, _ = self._labels.constant(predictor.loss, predictor.epsilon, predictor.classes)
        return predictor._replace(coef=np.zeros((scores.size, 0)), intercept=scores)

    def _learner(self, chunk: Chunk) -> Learner:
        if self.learner is None:
            options = self._options
            self.learner = Learner(
                chunk,
                options.bits,
                self._classes,
                options.loss,
                alpha=options.alpha,
                epsilon=options.epsilon,
                fit_intercept=not options.no_intercept,
                average=options.average,
                backend=backend_name(options.backend),
            )
        return self.learner

    def _chunks(self, progress: Any) -> Iterator[Chunk]:
        """The chunks of one pass with checked labels; the bar advances after each."""
        options, position = self._options, 0
        chunks: Iterable[Chunk] = read_chunks(options.data, bits=options.bits)
        if options.loss in MARGIN_LOSSES and self._classes is None:
            chunks, self._classes = _with_classes(iter(chunks), options.data)
        for chunk in chunks:
            check_labels(chunk, options.data, options.loss, self._classes)
            yield chunk
            progress.update(chunk.position - position)
            position = chunk.position


def _with_classes(chunks: Iterator[Chunk], path: str) -> tuple[Iterable[Chunk], NDArray[np.float64] | None]:
    """The same chunks, and the labels in the first of them; None if there are no samples."""
    seen, n_bytes = [], 0
    for chunk in chunks:
        seen.append(chunk)
        n_bytes += chunk.n_bytes
        if n_bytes >= PEEK:
            break
    if not seen:
        return seen, None
    for chunk in seen:
        _refuse_missing(chunk, path)
    classes = np.unique(np.concatenate([chunk.y for chunk in seen]))
    if classes.size > MOST_CLASSES or (classes.size > 2 and (classes != np.round(classes)).any()):
        got = f"{classes.size} labels, {as_label(classes[0])} to {as_label(classes[-1])}"
        must = f"hold at most {MOST_CLASSES} labels, whole numbers if more than two"
        raise ValueError(message(path, must, got, "pass --loss squared_error for a regression"))
    if classes.size < 2:
        n_rows = sum(chunk.y.size for chunk in seen)
        must, got = f"show two labels in its first {n_rows:,} rows", f"only {as_label(classes[0])}"
        remedy = "shuffle the file, or pass --classes=-1,1 if these are all"
        raise ValueError(message(path, must, got, remedy))
    return itertools.chain(seen, chunks), classes


def check_labels(chunk: Chunk, path: str, loss: str, classes: NDArray[np.float64] | None) -> None:
    """Refuse labels that are missing, of unknown classes or unfit for the loss; name file and line."""
    _refuse_missing(chunk, path)
    if classes is not None:
        bad = np.flatnonzero(~np.isin(chunk.y, classes))
        if bad.size:
            known = ", ".join(map(as_label, classes)) if classes.size <= 20 else f"the {classes.size} classes"
            _refuse_label(chunk, bad[0], path, f"be one of {known}", "name all labels with --classes")
    if loss == "poisson":
        bad = np.flatnonzero(chunk.y < 0)
        if bad.size:
            _refuse_label(chunk, bad[0], path, "be a count for the loss poisson", "correct the line")


def _refuse_missing(chunk: Chunk, path: str) -> None:
    bad = np.flatnonzero(np.isnan(chunk.y))
    if bad.size:
        remedy = "write it first" + ("" if chunk.format == "svmlight" else ", and a blank before the bar")
        _refuse_label(chunk, bad[0], path, "be there", remedy)


def _refuse_label(chunk: Chunk, row: int, path: str, must: str, remedy: str) -> NoReturn:
    got = "none" if np.isnan(chunk.y[row]) else as_label(chunk.y[row])
    raise ValueError(message(f"{path}:{chunk.lines[row]}: label", must, got, remedy))


def test(path: str, predictor: Predictor, constant: Predictor) -> str:
    """A table of how the model and the constant do on a file."""
    tallies = {"model": Tally(predictor), "constant": Tally(constant)}
    size = None if path == "-" else os.path.getsize(path)
    with bar(size, "B", unit_scale=True) as progress:
        for chunk in read_chunks(path, bits=predictor.bits):
            check_format(chunk, path, predictor)
            check_labels(chunk, path, predictor.loss, predictor.classes)
            for tally in tallies.values():
                tally.add(chunk.X, chunk.y, chunk.weights)
            progress.update(chunk.position - progress.n)
    measures = {name: tally.measures for name, tally in tallies.items()}
    names = list(measures["model"])
    lines = [
        f"test on {path}, {tallies['model'].n_rows:,} rows",
        " " * 12 + "".join(f"{n:>10s}" for n in names),
    ]
    lines += [f"{who:12s}" + "".join(f"{found[n]:10.4f}" for n in names) for who, found in measures.items()]
    return "\n".join(lines)
