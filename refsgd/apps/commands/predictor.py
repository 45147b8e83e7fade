"""The result of a fit: coefficients, the meaning of the outputs, and the file that holds both."""

from __future__ import annotations

import json
import zipfile
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from ..._errors import message
from ..._files import atomic_write
from ...linear.losses import LOSSES, MARGIN_LOSSES, LossName, probabilities
from ..textdata import Chunk

VERSION = 1
FORMATS = {"svmlight": "svmlight text", "vw": "Vowpal Wabbit text"}


class Predictor(NamedTuple):
    """A linear model with one output, or one per class."""

    coef: NDArray[np.float64]
    """``(n_outputs, n_features)``; one output for two classes and for a regression."""
    intercept: NDArray[np.float64]
    """``(n_outputs,)``."""
    loss: LossName
    epsilon: float
    classes: NDArray[np.float64] | None
    """Labels in rising order; None for a regression."""
    format: str
    """Of the text it was fitted to, ``"svmlight"`` or ``"vw"``."""
    bits: int
    """``"vw"`` text has ``2**bits`` columns."""

    def scores(self, X: csr_array) -> NDArray[np.float64]:
        """Scores ``(n, n_outputs)``; features that the fit never saw are ignored."""
        n, width = X.shape[0], self.coef.shape[1]
        if X.shape[1] > width:
            X = X[:, :width]
        elif X.shape[1] < width:
            X = csr_array((X.data, X.indices, X.indptr), shape=(n, width))
        return np.stack([X @ coef for coef in self.coef], axis=1) + self.intercept

    def labels(self, scores: NDArray[np.float64]) -> NDArray[np.int64]:
        """Number of the predicted class of each sample, ``(n,)``."""
        return scores.argmax(axis=1) if scores.shape[1] > 1 else (scores[:, 0] > 0).astype(np.int64)

    def probabilities(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Probabilities ``(n, n_classes)``; those of several outputs are divided by their sum."""
        return probabilities(self.loss, scores[:, 0] if scores.shape[1] == 1 else scores)

    def means(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Predictions of a regression, ``(n,)``."""
        return LOSSES[self.loss].mean(scores[:, 0])

    def save(self, path: str) -> None:
        """Write an ``.npz`` with the two arrays and a header in JSON, whole or not at all."""
        header = {
            "refsgd_model": VERSION,
            "loss": self.loss,
            "epsilon": self.epsilon,
            "classes": None if self.classes is None else self.classes.tolist(),
            "format": self.format,
            "bits": self.bits,
            "hash": "MurmurHash3 x86_32, as Vowpal Wabbit's" if self.format == "vw" else None,
        }
        with atomic_write(path) as file:
            np.savez(file, header=json.dumps(header), coef=self.coef, intercept=self.intercept)


def as_label(value: float) -> str:
    """A label as text; whole numbers have no decimal point."""
    return str(int(value)) if value == int(value) else repr(float(value))


def check_format(chunk: Chunk, path: str, predictor: Predictor) -> None:
    """Refuse text in another format than the fit's, as its columns would have another meaning."""
    if chunk.format != predictor.format:
        must, got = f"be {FORMATS[predictor.format]}, as the model's data was", FORMATS[chunk.format]
        raise ValueError(message(path, must, got, "convert it"))


def load(path: str) -> Predictor:
    """Read what `Predictor.save` wrote."""
    with open(path, "rb") as file:
        if file.read(2) != b"PK":
            _refuse(path, "a file that is no .npz")
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
            header: dict[str, Any] = json.loads(str(arrays["header"]))
            coef, intercept = arrays["coef"], arrays["intercept"]
        version = header["refsgd_model"]
        classes = None if header["classes"] is None else np.array(header["classes"], float)
        predictor = Predictor(
            coef, intercept, header["loss"], header["epsilon"], classes, header["format"], header["bits"]
        )
        n_outputs = len(classes) if classes is not None and len(classes) > 2 else 1
        is_whole = coef.shape[:-1] == (n_outputs,) == intercept.shape and predictor.loss in LOSSES
        is_whole &= (classes is not None) == (predictor.loss in MARGIN_LOSSES)
    except (ValueError, EOFError, KeyError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        _refuse(path, f"{type(error).__name__}: {error}".rstrip("."))
    if version != VERSION:
        _refuse(path, f"version {version} of the format")
    if not is_whole:
        _refuse(path, "arrays that do not belong together")
    return predictor


def _refuse(path: str, got: str) -> None:
    must = "be a model that this version's `python -m refsgd fit --model` wrote"
    raise ValueError(message(path, must, got, "fit it again")) from None
