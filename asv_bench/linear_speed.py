"""Time of one pass of a linear classifier, per non-zero, beside its peers: one table, ratios within one run.

    python asv_bench/linear_speed.py           200,000 texts, and rows over 4.2 million columns
    python asv_bench/linear_speed.py --quick   a tenth of both

Bars are of the whole: of a tenth, what a call costs once is a larger part. Times are of the processor, one
thread, medians of turns. Ours and SGDClassifier's are those of `fit` and `partial_fit` with their checks, of
rows that SciPy has noted nothing of; Vowpal Wabbit reads its cache, or learns from examples that it holds in
memory; river takes dictionaries, of which a part is timed. A peer that is missing is named and skipped.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from claims import Claim, print_claims, ratio
from linear import sgd, write
from linear_tasks import scattered, zipf

# isort: split
import numpy as np
from scipy.sparse import csr_array
from threadpoolctl import threadpool_limits

import refsgd

ROUNDS = 5
BARS = {
    ("text, shuffled", "float32"): "<= 0.95",
    ("text, shuffled", "float64"): "<= 1.3",
    ("text, in order", "float32"): "<= 1.45",
    ("text, in order", "float64"): "<= 2.2",
    ("4.2 million columns", "float32"): "<= 0.55",
}


def against_sgd(name: str, X: csr_array, y: np.ndarray, is_shuffled: bool) -> Iterator[Claim]:
    def peer(X: csr_array) -> Any:
        return sgd(1, 0, shuffle=is_shuffled).fit(X, y)

    def ours(X: csr_array) -> Any:
        if is_shuffled:
            return refsgd.VSGDClassifier(max_iter=1, tol=None).fit(X, y)
        return refsgd.VSGDClassifier().partial_fit(X, y, classes=[-1.0, 1.0])

    fits = {"SGDClassifier": (peer, X), "float32": (ours, X.astype(np.float32)), "float64": (ours, X)}
    times: dict[str, list[float]] = {method: [] for method in fits}
    with threadpool_limits(1):  # else threads of BLAS wait busily, and the next method pays for it
        for _ in range(ROUNDS):
            for method, (fit, rows) in fits.items():
                unseen = csr_array((rows.data, rows.indices, rows.indptr), shape=rows.shape)
                times[method].append(processor_time(lambda fit=fit, rows=unseen: fit(rows)))
    each = {method: float(np.median(times[method])) / X.nnz for method in fits}
    for dtype in ("float32", "float64"):
        text = f"VSGDClassifier {dtype}, {name}: SGDClassifier"
        yield ratio(text, each[dtype], each["SGDClassifier"], BARS.get((name, dtype), "<="))


def processor_time(run: Callable[[], Any]) -> float:
    began = time.process_time()
    run()
    return time.process_time() - began


def cache_of_vowpal_wabbit(X: csr_array, y: np.ndarray) -> float:
    import vowpalwabbit

    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder, "train"), X, y)
        arguments = f"-d {folder}/train --cache_file {folder}/cache --loss_function logistic -b 18 --quiet"
        vowpalwabbit.Workspace(arguments).finish()  # writes the cache
        return min(processor_time(lambda: vowpalwabbit.Workspace(arguments).finish()) for _ in range(3))


def memory_of_vowpal_wabbit(X: csr_array, y: np.ndarray) -> float:
    import vowpalwabbit

    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder, "train"), X, y)
        lines = Path(folder, "train").read_text().splitlines()
    workspace = vowpalwabbit.Workspace("--loss_function logistic -b 18 --quiet")
    examples = [workspace.example(line) for line in lines]
    return processor_time(lambda: [workspace.learn(example) for example in examples])


def river(X: csr_array, y: np.ndarray) -> float:
    from river import linear_model

    rows = [
        dict(zip(X.indices[i:j].tolist(), X.data[i:j].tolist(), strict=True))
        for i, j in zip(X.indptr[:-1], X.indptr[1:], strict=True)
    ]
    model = linear_model.LogisticRegression()

    def learn() -> None:
        for row, target in zip(rows, y, strict=True):
            model.learn_one(row, target > 0)

    return processor_time(learn)


PEERS: dict[str, tuple[Callable[[csr_array, np.ndarray], float], int, str]] = {
    "Vowpal Wabbit, cache": (cache_of_vowpal_wabbit, 200_000, ">= 3"),
    "Vowpal Wabbit, memory": (memory_of_vowpal_wabbit, 20_000, ">= 4"),
    "river": (river, 2_000, ">= 30"),
}


def claims(quick: bool) -> Iterator[Claim]:
    """Seconds are those a non-zero."""
    warnings.simplefilter("ignore")
    task = zipf(20_000 if quick else 200_000)
    X, y = task.X, task.Y[:, 0]
    yield from against_sgd("text, shuffled", X, y, is_shuffled=True)
    in_order = list(against_sgd("text, in order", X, y, is_shuffled=False))
    yield from in_order
    wide = scattered(10_000 if quick else 100_000, 4_200_075)
    yield from against_sgd("4.2 million columns", *wide, is_shuffled=True)
    for name, (peer, most, bar) in PEERS.items():
        part, targets = X[:most], y[:most]
        try:
            seconds = peer(part, targets) / part.nnz
        except ImportError as error:
            yield Claim(f"skipped, {error}: {name}")
        else:
            yield ratio(f"VSGDClassifier float32, text, in order: {name}", in_order[0].ours, seconds, bar)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true")
    print_claims(claims(parser.parse_args().quick))


if __name__ == "__main__":
    main()
