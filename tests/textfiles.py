"""Text files to fit and to predict, for the tests of both commands."""

from __future__ import annotations

import numpy as np

from refsgd.__main__ import main


def write(path, X, y, bar=""):
    """Rows without their zeros, as svmlight or with a bar as Vowpal Wabbit text."""
    lines = (
        f"{label:g} {bar}" + " ".join(f"{j}:{v!r}" for j, v in enumerate(row.tolist()) if v)
        for label, row in zip(y, X, strict=True)
    )
    path.write_text("".join(f"{line}\n" for line in lines))
    return str(path)


def samples(n, seed=0, kind="classes", n_classes=2):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 20)) * (rng.random((n, 20)) < 0.5)
    score = X @ np.random.default_rng(99).normal(size=(20, n_classes))
    if kind == "classes":
        return X, np.where(score[:, 0] > 0, 1, -1) if n_classes == 2 else score.argmax(axis=1) + 1
    if kind == "counts":
        return X, rng.poisson(np.exp(score[:, 0] / 4))
    return X, score[:, 0] + rng.normal(size=n) / 10


def refused(capsys, *arguments):
    """What a command that must not work says."""
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    return err
