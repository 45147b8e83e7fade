"""``python -m refsgd fit`` and ``predict``, from the outside."""

from __future__ import annotations

import functools
import gzip
import re
import signal
import subprocess
import sys

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from textfiles import refused, samples, write

from refsgd.__main__ import main
from refsgd._config import backend_name
from refsgd.apps.commands import fit, learner, predictor
from refsgd.apps.commands.fit import ONE_OUTPUT
from refsgd.linear.losses import MARGIN_LOSSES
from refsgd.linear.model import LinearModel
from refsgd.textdata import read_chunks


@pytest.fixture
def train(tmp_path):
    return write(tmp_path / "train.dat", *samples(2000))


@pytest.fixture
def held_out(tmp_path):
    return write(tmp_path / "test.dat", *samples(500, 1))


def table(out):
    """The numbers of the test report: {"model": {"loss": ...}, "constant": ...}."""
    header, *rows = out[out.index("test on") :].splitlines()[1:]
    return {
        who: dict(zip(header.split(), map(float, found), strict=True)) for who, *found in map(str.split, rows)
    }


def small_chunks(monkeypatch, size=2000):
    monkeypatch.setattr(fit, "read_chunks", functools.partial(read_chunks, chunk_bytes=size))


# Fit


@pytest.mark.parametrize("loss", ONE_OUTPUT)
def test_each_loss_learns_better_than_a_constant(tmp_path, capsys, loss):
    kind = "classes" if loss in MARGIN_LOSSES else "counts" if loss == "poisson" else "scores"
    paths = [write(tmp_path / f"{seed}.dat", *samples(1000, seed, kind)) for seed in (0, 1)]
    assert main(["fit", paths[0], "--loss", loss, "--test", paths[1]]) == 0
    found = table(capsys.readouterr().out)
    assert found["model"]["loss"] < 0.8 * found["constant"]["loss"]
    if kind == "classes":
        assert found["model"]["error"] < 0.1 and found["model"]["AUC"] > 0.95
        assert found["constant"]["error"] > 0.4 and found["constant"]["AUC"] == 0.5
    elif kind == "scores":
        assert found["model"]["R2"] > 0.9 and abs(found["constant"]["R2"]) < 0.05


def test_report_says_what_was_read_and_learnt(train, held_out, tmp_path, capsys):
    model = str(tmp_path / "model.npz")
    assert main(["fit", train, "--test", held_out, "--model", model, "--passes", "2"]) == 0
    out, err = capsys.readouterr()
    assert err == ""  # no bar without a terminal
    passes = re.findall(r"^ +(\d)  +2,000  +(0\.\d{4})  +[\d.]+  +[\d.]+$", out, re.MULTILINE)
    assert [number for number, _ in passes] == ["1", "2"]
    assert float(passes[1][1]) < float(passes[0][1]) < 0.5
    n = sum(chunk.X.nnz for chunk in read_chunks(train))
    assert f"{train}: svmlight text, 2,000 rows, {n:,} non-zeros, 20 features of 20 columns\n" in out
    assert "classes -1, 1\nthe best constant has a loss of 0.69" in out
    assert f"model in {model}\ntest on {held_out}, 500 rows\n" in out


def test_progressive_loss_is_that_of_linear_model(train, capsys, monkeypatch):
    small_chunks(monkeypatch)
    assert main(["fit", train]) == 0
    loss = float(re.search(r"2,000 +(0\.\d{4})", capsys.readouterr().out)[1])
    (chunk,) = read_chunks(train)
    assert_allclose(
        loss, LinearModel(20, "log_loss", backend=backend_name()).learn(chunk.X, chunk.y), atol=5e-5
    )  # what is printed


@pytest.mark.parametrize("bar", ["", "|f "])
def test_model_does_not_depend_on_chunks_or_on_when_features_come(tmp_path, monkeypatch, bar):
    X, y = samples(300)
    X[:100, 5:] = X[100:200, 12:] = 0  # later rows have larger indices
    path, whole, parts = write(tmp_path / "data", X, y, bar), str(tmp_path / "whole"), str(tmp_path / "parts")
    arguments = ["fit", path, "--bits", "8", "--classes=-1,1", "--model"]
    assert main([*arguments, whole]) == 0
    small_chunks(monkeypatch, 300)
    assert main([*arguments, parts]) == 0
    for mine, its in zip(predictor.load(whole), predictor.load(parts), strict=True):
        assert_array_equal(mine, its)


def test_vowpal_wabbit_and_svmlight_text_give_one_model(tmp_path):
    X, y = samples(200)
    models = []
    for k, bar in enumerate(["", "| "]):  # without a namespace a number is its own column
        path, model = write(tmp_path / str(k), X, y, bar), str(tmp_path / f"{k}.npz")
        assert main(["fit", path, "--bits", "6", "--model", model]) == 0
        models.append(predictor.load(model))
    assert_array_equal(models[0].coef, models[1].coef[:, :20])
    assert models[1].coef.shape == (1, 64)


def test_importance_counts(tmp_path, capsys):
    """A row of importance 0 teaches nothing and is not counted in a loss."""
    path, right = tmp_path / "data", tmp_path / "right"
    right.write_text("1 | a\n-1 | b\n" * 50)
    path.write_text("1 1 | a\n-1 0 | a\n-1 1 | b\n" * 50)
    assert main(["fit", str(right), "--test", str(right)]) == 0
    expected = table(capsys.readouterr().out)
    assert main(["fit", str(path), "--test", str(path)]) == 0
    found = table(capsys.readouterr().out)
    assert found["model"]["error"] == 0 and found["model"]["AUC"] == 1
    assert found["constant"]["loss"] == expected["constant"]["loss"] == 0.6931
    assert_allclose(
        found["model"]["loss"], expected["model"]["loss"], atol=0.05
    )  # the curvature sees the row


def test_options_reach_the_model(train, tmp_path):
    models = {}
    for name, more in {"plain": [], "alpha": ["--alpha", "1"], "through 0": ["--no-intercept"]}.items():
        assert main(["fit", train, "--model", str(tmp_path / "model"), *more]) == 0
        models[name] = predictor.load(str(tmp_path / "model"))
    assert np.linalg.norm(models["alpha"].coef) < 0.5 * np.linalg.norm(models["plain"].coef)
    assert models["through 0"].intercept == 0 != models["plain"].intercept


@pytest.mark.process
def test_standard_input_is_read(train, tmp_path):
    model = tmp_path / "model"
    command = [sys.executable, "-m", "refsgd", "fit", "-", "--model", str(model)]
    with open(train, "rb") as file:
        run = subprocess.run(command, input=gzip.compress(file.read()), capture_output=True)
    assert run.returncode == 0 and run.stderr == b""
    assert main(["fit", train, "--model", str(tmp_path / "expected")]) == 0
    assert_array_equal(predictor.load(str(model)).coef, predictor.load(str(tmp_path / "expected")).coef)


def interrupt_learning(monkeypatch, n_calls):
    """Press Ctrl-C while the model learns its n-th chunk."""
    learn, calls = LinearModel.learn, []

    def interrupted(self, *args, **kwargs):
        calls.append(1)
        if len(calls) == n_calls:
            signal.raise_signal(signal.SIGINT)
        return learn(self, *args, **kwargs)

    monkeypatch.setattr(LinearModel, "learn", interrupted)


def test_interrupt_saves_and_reports_what_was_learnt(train, held_out, tmp_path, monkeypatch, capsys):
    small_chunks(monkeypatch)
    n = sum(chunk.y.size for _, chunk in zip(range(3), fit.read_chunks(train), strict=False))
    interrupt_learning(monkeypatch, 3)
    model = str(tmp_path / "model.npz")
    assert main(["fit", train, "--passes", "4", "--test", held_out, "--model", model]) == 130
    out = capsys.readouterr().out
    assert f"svmlight text, {n:,} rows" in out
    assert out.endswith(f"model in {model}\ninterrupted: the model has learnt the rows above and no more\n")
    assert np.count_nonzero(predictor.load(model).coef) == 20
    assert main(["predict", model, held_out]) == 0


def test_interrupt_before_the_first_chunk_leaves_nothing(train, tmp_path, monkeypatch, capsys):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(fit, "read_chunks", interrupted)
    assert main(["fit", train, "--model", str(tmp_path / "model.npz")]) == 130
    assert not (tmp_path / "model.npz").exists()


# Classes


@pytest.mark.parametrize("names", [(-1, 1), (0, 1), (1, 2), (2.5, 7)])
def test_two_classes_of_any_names_are_one_problem(tmp_path, capsys, names):
    X, y = samples(300)
    path, model = write(tmp_path / "data", X, np.where(y > 0, names[1], names[0])), str(tmp_path / "model")
    assert main(["fit", path, "--model", model]) == 0
    (chunk,) = read_chunks(path)
    expected = LinearModel(20, "log_loss", backend=backend_name())
    expected.learn(chunk.X, y.astype(float))
    assert_array_equal(predictor.load(model).coef, [expected.coef])
    capsys.readouterr()
    assert main(["predict", model, path]) == 0
    found = np.array(capsys.readouterr().out.split(), float)
    assert_array_equal(found, np.where(expected.decision_function(chunk.X) > 0, names[1], names[0]))


@pytest.mark.parametrize("loss", ["log_loss", "hinge"])
def test_more_classes_are_learnt_one_against_the_rest(tmp_path, capsys, loss):
    paths = [write(tmp_path / f"{seed}.dat", *samples(2000, seed, n_classes=4)) for seed in (0, 1)]
    assert (
        main(["fit", paths[0], "--loss", loss, "--test", paths[1], "--model", str(tmp_path / "model")]) == 0
    )
    out = capsys.readouterr().out
    assert "classes 1, 2, 3, 4\n" in out
    found = table(out)
    assert found["model"]["error"] < 0.2 < 0.6 < found["constant"]["error"]
    assert found["model"]["loss"] < 0.6 * found["constant"]["loss"]
    assert "AUC" not in found["model"]
    if loss == "log_loss":
        main(["predict", str(tmp_path / "model"), paths[1], "--write", "probability"])
        rows = np.array([line.split() for line in capsys.readouterr().out.splitlines()], float)
        assert_allclose(rows.sum(axis=1), 1, rtol=1e-15)
        main(["predict", str(tmp_path / "model"), paths[1]])
        assert_array_equal(rows.argmax(axis=1) + 1, np.array(capsys.readouterr().out.split(), int))


def test_label_that_comes_late_is_refused_by_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(fit, "PEEK", 100)
    small_chunks(monkeypatch, 50)
    path = tmp_path / "data"
    path.write_text("1 1:1\n2 1:1\n" * 30 + "3 1:1\n")
    assert main(["fit", str(path)]) == 2
    says = f"refsgd: {path}:61: label must be one of 1, 2, got 3; name all labels with --classes.\n"
    assert capsys.readouterr().err == says
    assert main(["fit", str(path), "--classes", "3,1,2"]) == 0
    path.write_text("1 1:1\n" * 30 + "2 1:1\n")
    assert main(["fit", str(path)]) == 2
    assert re.search(
        "must show two labels in its first 25 rows, got only 1; shuffle", capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("content", "more", "reason"),
    [
        ("", [], "data must hold samples, got none; name another file."),
        ("1 1:1\n1:1\n", [], "data:2: label must be there, got none; write it first."),
        (
            "1 |f a\n1|f a\n",
            [],
            "data:2: label must be there, got none; write it first, and a blank before the bar.",
        ),
        ("1 1:1\n1 1:x\n", [], "data:2: value must be a finite number, got 'x' in '1:x'"),
        (
            "1.5 1:1\n2.5 1:1\n3 1:1\n",
            [],
            "got 3 labels, 1.5 to 3; pass --loss squared_error for a regression.",
        ),
        (
            "3 1:1\n-1 1:1\n",
            ["--loss", "poisson"],
            "data:2: label must be a count for the loss poisson, got -1;",
        ),
        ("1 1:1\n", ["--passes", "0"], "--passes must be at least 1, got 0"),
        ("1 1:1\n", ["--alpha", "-1", "--classes=0,1"], "alpha must be at least 0 and finite, got -1.0"),
        ("1 1:1\n", ["--bits", "99"], "bits must be at most 30, got 99"),
        (
            "1 1:1\n",
            ["--loss", "huber", "--classes=0,1"],
            "--classes must go with a loss of classes, got huber;",
        ),
        (
            "1 1:1\n",
            ["--model", "no/such/folder/m"],
            "--model must name a file in a folder that can be written to",
        ),
        ("1 1:1\n", ["--test", "absent"], "No such file or directory: 'absent'"),
    ],
)
def test_what_cannot_be_fitted_is_refused(tmp_path, capsys, content, more, reason):
    (tmp_path / "data").write_text(content)
    assert reason in refused(capsys, "fit", str(tmp_path / "data"), *more)


@pytest.mark.parametrize("classes", ["1", "a,b", "1,1", "nan,1"])
def test_bad_classes_are_refused_by_the_parser(capsys, classes):
    with pytest.raises(SystemExit):
        main(["fit", "data", "--classes", classes])
    assert "--classes: must be two numbers or more with commas between" in capsys.readouterr().err


def test_standard_input_cannot_be_read_twice(capsys):
    assert "--passes must be 1 for standard input" in refused(capsys, "fit", "-", "--passes", "2")
    assert "--test must be a file where DATA is standard input" in refused(capsys, "fit", "-", "--test", "-")


# Memory


@pytest.mark.parametrize("first", ["1 1:1\n", ""])
def test_indices_without_memory_are_explained(tmp_path, monkeypatch, capsys, first):
    def no_memory(*args, **kwargs):
        raise MemoryError

    (tmp_path / "data").write_text(first + "-1 999999999:1\n")
    monkeypatch.setattr(LinearModel, "grow", no_memory)
    if not first:
        monkeypatch.setattr(learner, "LinearModel", no_memory)
    small_chunks(monkeypatch, 1)
    assert main(["fit", str(tmp_path / "data"), "--classes=-1,1"]) == 2
    assert "data must have indices for which there is memory, got 999999999" in capsys.readouterr().err


PEAK = "import resource, sys; from refsgd.__main__ import main; main(sys.argv[1:]); print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"  # noqa: E501


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="units of ru_maxrss differ")
def test_memory_does_not_grow_with_the_file(tmp_path):
    """Parsed, all rows of the larger file would take 18 MB more than those of the smaller."""
    content = "".join(
        f"{k % 2} " + " ".join(f"{j}:{k + j}e-3" for j in range(40)) + "\n" for k in range(2000)
    )
    peaks = []
    for times in (6, 24):
        path = tmp_path / f"{times}.gz"
        path.write_bytes(gzip.compress(content.encode(), 1) * times)
        run = subprocess.run(
            [sys.executable, "-c", PEAK, "fit", str(path), "--classes", "0,1"], capture_output=True, text=True
        )
        assert f"{2000 * times:,} rows" in run.stdout
        peaks.append(int(run.stdout.splitlines()[-1]) / 1024)
    assert peaks[1] - peaks[0] < 6  # MB; allocators keep a few, and runs differ by one or two
