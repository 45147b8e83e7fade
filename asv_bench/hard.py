"""Networks on the bundled digits, and problems picked to hurt the default rule: plain NumPy, float32."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
from contests import Array, Problem
from networks import Task

from refsgd.datasets import Dataset, load_digits

DIGITS = load_digits()
WIDTHS = {"tanh": (64, 120, 10), "relu": (64, 120, 10), "deep": (64, 100, 60, 10), "softmax": (64, 10)}


def task(name: str, n: int, widths: tuple[int, ...] | None = None) -> Task:
    activation = {"relu": "relu", "softmax": ""}.get(name, "tanh")
    return Task(name, widths or WIDTHS[name], activation, n, ())


def network(
    task: Task,
    seed: int,
    data: Dataset = DIGITS,
    x0: Array | None = None,
    change: Callable[[Array, Any], Array] | None = None,
) -> Problem:
    """A network as `networks.Task` has it; ``change`` makes another gradient of a minibatch's."""
    batches = task.batches(data, seed)

    def gradient(x: Array, batch: Any) -> Array:
        g = task.gradient(x, *batch)[1]
        return g if change is None else change(g, batch)

    def figures(x: Array) -> tuple[float, float]:
        with np.errstate(all="ignore"):
            return task.score(x, data)

    start = task.model.init(seed, np.float32) if x0 is None else x0
    return Problem(start, lambda: next(batches), gradient, figures)


def scaled_start(seed: int, factor: float) -> Problem:
    """The deep network with all initial weights times a factor."""
    deep = task("deep", 10)
    return network(deep, seed, x0=deep.model.init(seed, np.float32) * np.float32(factor))


def scaled_loss(seed: int, factor: float) -> Problem:
    return network(task("tanh", 10), seed, change=lambda g, batch: g * np.float32(factor))


def wrong_labels(seed: int) -> Problem:
    """A ReLU network learns from another one, with a fifth of the training labels drawn at random."""
    rng = np.random.default_rng([seed, 1])
    teacher = task("relu", 10, (20, 20, 5)).model
    x = teacher.init(rng, np.float32)
    X = rng.normal(size=(6000, 20)).astype(np.float32)
    y = np.array([np.argmin(teacher.losses(x, np.tile(row, (5, 1)), np.arange(5))) for row in X])
    noisy = np.where(rng.random(4000) < 0.2, rng.integers(0, 5, 4000), y[:4000])
    data = Dataset(X[:4000], noisy, X[4000:], y[4000:], "teacher")
    return network(task("relu", 10, (20, 100, 5)), seed, data)


def late_inputs(seed: int) -> Problem:
    """The lower half of each image is blank in the first ten epochs."""
    batches = task("tanh", 10).batches(DIGITS, seed)
    problem = network(task("tanh", 10), seed)
    count = 0

    def draw() -> tuple[Array, Array]:
        nonlocal count
        X, y = next(batches)
        count += 1
        return np.where(np.arange(64) < (32 if count <= 1440 else 64), X, np.float32(0)), y

    return problem._replace(draw=draw)


def twenty_layers(seed: int) -> Problem:
    """ReLU units, begun as PyTorch does by default: almost no signal of the input reaches the output."""
    deep = task("relu", 10, (64,) * 21 + (10,))
    rng = np.random.default_rng(seed)
    layers = [rng.uniform(-1, 1, (n_in + 1) * n_out) / np.sqrt(n_in) for n_in, n_out in pairwise(deep.widths)]
    return network(deep, seed, x0=np.concatenate(layers).astype(np.float32))


def mostly_noise(seed: int) -> Problem:
    """To each minibatch's gradient noise is added that is ten times as long."""
    rng = np.random.default_rng([seed, 2])
    problem = network(task("tanh", 100), seed)

    def draw() -> Any:
        z = rng.normal(size=problem.x0.size).astype(np.float32)
        return problem.draw(), z / np.linalg.norm(z)

    def gradient(x: Array, batch: Any) -> Array:
        minibatch, direction = batch
        g = problem.gradient(x, minibatch)
        return g + 10 * np.linalg.norm(g) * direction

    return problem._replace(draw=draw, gradient=gradient)


def softmax(z: Array) -> Array:
    p = np.exp(z - z.max(axis=-1, keepdims=True))
    return p / p.sum(axis=-1, keepdims=True)  # type: ignore[no-any-return]


def policy_gradient(seed: int) -> Problem:
    """A linear policy names the digit and is rewarded if it is right; actions are drawn where x is.

    The second gradient of a minibatch is that of the same actions. Figures: 1 - the mean chance of the right
    action, in training and testing.
    """
    rng = np.random.default_rng([seed, 3])
    batches = task("softmax", 32).batches(DIGITS, seed)

    def chances(x: Array, X: Array) -> Array:
        return softmax(X @ x[:640].reshape(64, 10) + x[640:])

    def draw() -> list[Any]:
        X, y = next(batches)
        return [X, y, rng.random((len(y), 1)), None]  # the actions come with the first gradient

    def gradient(x: Array, batch: list[Any]) -> Array:
        X, y, u, actions = batch
        p = chances(x, X)
        if actions is None:
            actions = batch[3] = np.minimum((np.cumsum(p, axis=1) < u).sum(axis=1), 9)
        reward = (actions == y).astype(x.dtype)
        p[np.arange(len(y)), actions] -= 1
        p *= (reward - reward.mean())[:, None] / len(y)
        return np.concatenate([(X.T @ p).ravel(), p.sum(axis=0)]).astype(x.dtype)

    def figures(x: Array) -> tuple[float, float]:
        with np.errstate(all="ignore"):
            train, test = (
                1 - float(chances(x, X)[np.arange(len(y)), y].mean())
                for X, y in ((DIGITS.X_train, DIGITS.y_train), (DIGITS.X_test, DIGITS.y_test))
            )
        return train, test

    return Problem(np.zeros(650, np.float32), draw, gradient, figures)


def routed_experts(seed: int) -> Problem:
    """Four linear experts, of which a router takes the likeliest for each sample, times its chance."""
    n_experts = 4
    rng = np.random.default_rng([seed, 4])
    batches = task("softmax", 1).batches(DIGITS, seed)
    x0 = (rng.uniform(-1, 1, n_experts * 64 + n_experts * 650) / 8).astype(np.float32)

    def parts(x: Array) -> tuple[Array, Array, Array]:
        router, experts = x[: 64 * n_experts].reshape(64, n_experts), x[64 * n_experts :].reshape(-1, 65, 10)
        return router, experts[:, :64], experts[:, 64]

    def gradient(x: Array, batch: Any) -> Array:
        (a,), (label,) = batch
        router, W, b = parts(x)
        chance = softmax(a @ router)
        k = int(chance.argmax())
        scores = a @ W[k] + b[k]
        by_z = softmax(chance[k] * scores)
        by_z[label] -= 1
        g = np.zeros_like(x)
        of_router, of_W, of_b = parts(g)
        of_W[k], of_b[k] = np.outer(a, chance[k] * by_z), chance[k] * by_z
        by_chance = float(by_z @ scores) * chance[k]
        of_router[:] = np.outer(a, by_chance * ((np.arange(n_experts) == k) - chance))
        return g

    def losses(x: Array, X: Array, y: Array) -> tuple[float, float]:
        router, W, b = parts(x)
        chance = softmax(X @ router)
        k = chance.argmax(axis=1)
        z = chance.max(axis=1)[:, None] * (np.einsum("ni,nio->no", X, W[k]) + b[k])
        p = softmax(z)[np.arange(len(y)), y]
        return float(-np.log(np.maximum(p, 1e-30)).mean()), 100 * float((z.argmax(axis=1) != y).mean())

    def figures(x: Array) -> tuple[float, float]:
        train, test = ((DIGITS.X_train, DIGITS.y_train), (DIGITS.X_test, DIGITS.y_test))
        with np.errstate(all="ignore"):
            return losses(x, *train)[0], losses(x, *test)[1]

    return Problem(x0, lambda: next(batches), gradient, figures)


def rare_class(seed: int) -> Problem:
    """Logistic regression on one sample at a time, of which one in two hundred is positive.

    Figures: the mean loss, and the mean over both classes of their mean losses.
    """
    rng = np.random.default_rng([seed, 5])
    y = np.where(rng.random(20_000) < 0.005, 1.0, -1.0).astype(np.float32)
    direction = rng.normal(size=30) / np.sqrt(30)
    X = rng.normal(size=(20_000, 30)) + 3 * (y[:, None] > 0) * direction
    X = np.column_stack([X, np.ones(len(y))]).astype(np.float32)

    def figures(x: Array) -> tuple[float, float]:
        with np.errstate(all="ignore"):
            losses = np.logaddexp(0, -y * (X @ x))
        return float(losses.mean()), float((losses[y > 0].mean() + losses[y < 0].mean()) / 2)

    return Problem(
        x0=np.zeros(31, np.float32),
        draw=lambda: int(rng.integers(0, len(y))),
        gradient=lambda x, i: -y[i] / (1 + np.exp(np.clip(y[i] * (X[i] @ x), -80, 80))) * X[i],
        figures=figures,
    )


def next_word(seed: int) -> Problem:
    """Each word of 2,000 by the two before it: 16 numbers a word, and a softmax; minibatches of 32.

    In the text a word is followed by one of its own twenty successors in seven cases of ten, and otherwise
    by any; frequencies are Zipf's. Figures: train and validation loss.
    """
    n_words, width, n_text = 2000, 16, 42_000
    rng = np.random.default_rng([seed, 6])
    zipf = 1 / np.arange(1, n_words + 1)
    any_word = rng.choice(n_words, n_text, p=zipf / zipf.sum())
    successors = rng.choice(n_words, (n_words, 20), p=zipf / zipf.sum())
    which = rng.choice(20, n_text, p=zipf[:20] / zipf[:20].sum())
    follows = rng.random(n_text) < 0.7
    text = any_word.copy()
    for i in range(1, n_text):
        if follows[i]:
            text[i] = successors[text[i - 1], which[i]]
    context, target = np.column_stack([text[:-2], text[1:-1]]), text[2:]
    n_train, n_embedding, n_out = 40_000, n_words * width, 2 * width * n_words
    bound = 1 / np.sqrt(2 * width)
    x0 = np.concatenate([rng.normal(size=n_embedding), rng.uniform(-bound, bound, n_out + n_words)])

    def scores(x: Array, rows: Array) -> tuple[Array, Array, Array]:
        embedding, W = x[:n_embedding].reshape(n_words, width), x[n_embedding:-n_words].reshape(-1, n_words)
        hidden = embedding[context[rows]].reshape(len(rows), 2 * width)
        return hidden, W, hidden @ W + x[-n_words:]

    def gradient(x: Array, rows: Array) -> Array:
        hidden, W, z = scores(x, rows)
        p = softmax(z)
        p[np.arange(len(rows)), target[rows]] -= 1
        p /= np.float32(len(rows))
        g = np.zeros_like(x)
        by_hidden = (p @ W.T).reshape(-1, width)
        np.add.at(g[:n_embedding].reshape(n_words, width), context[rows].ravel(), by_hidden)
        g[n_embedding:-n_words] = (hidden.T @ p).ravel()
        g[-n_words:] = p.sum(axis=0)
        return g

    def loss(x: Array, rows: Array) -> float:
        with np.errstate(all="ignore"):
            z = scores(x, rows)[2].astype(np.float64)
            top = z.max(axis=1)
            total = np.log(np.exp(z - top[:, None]).sum(axis=1)) + top
        return float((total - z[np.arange(len(rows)), target[rows]]).mean())

    return Problem(
        x0=x0.astype(np.float32),
        draw=lambda: rng.integers(0, n_train, 32),
        gradient=gradient,
        figures=lambda x: (loss(x, np.arange(2000)), loss(x, np.arange(n_train, len(target)))),
    )
