"""``python -m refsgd predict``, from the outside."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from numpy.testing import assert_allclose
from textfiles import refused, samples, write

from refsgd.__main__ import main
from refsgd.apps.commands import predict
from refsgd.textdata import read_chunks


@pytest.fixture
def train(tmp_path):
    return write(tmp_path / "train.dat", *samples(2000))


@pytest.fixture
def held_out(tmp_path):
    return write(tmp_path / "test.dat", *samples(500, 1))


def test_predictions_are_those_of_the_arrays_in_the_file(train, held_out, tmp_path, capsys):
    model = str(tmp_path / "model")
    assert main(["fit", train, "--model", model]) == 0
    capsys.readouterr()
    with np.load(model) as arrays:
        assert json.loads(str(arrays["header"]))["loss"] == "log_loss"
        X, _ = samples(500, 1)
        z = X @ arrays["coef"][0] + arrays["intercept"][0]
    for what, expected in {"score": z, "label": np.where(z > 0, 1, -1)}.items():
        assert main(["predict", model, held_out, "--write", what, "--out", str(tmp_path / "out")]) == 0
        assert capsys.readouterr() == ("", "")
        # dense and sparse sums differ in their order
        assert_allclose(np.loadtxt(tmp_path / "out"), expected, rtol=1e-12, atol=1e-12)
    assert main(["predict", model, held_out, "--write", "probability"]) == 0
    rows = np.array([line.split() for line in capsys.readouterr().out.splitlines()], float)
    assert_allclose(rows, np.stack([1 / (1 + np.exp(z)), 1 / (1 + np.exp(-z))], axis=1), rtol=1e-9)


def test_features_that_the_fit_never_saw_count_nothing(tmp_path, capsys):
    train, other = tmp_path / "train", tmp_path / "other"
    train.write_text("1 1:1\n-1 2:1\n" * 9)
    other.write_text("1:1 9:100\n2:1\n1 1:1\n")  # labels may be missing
    main(["fit", str(train), "--model", str(tmp_path / "model")])
    capsys.readouterr()
    assert main(["predict", str(tmp_path / "model"), str(other)]) == 0
    assert capsys.readouterr().out == "1\n-1\n1\n"


def test_regression_predicts_values(tmp_path, capsys):
    for loss, kind in (("squared_error", "scores"), ("poisson", "counts")):
        X, y = samples(2000, 0, kind)
        model = str(tmp_path / "model")
        main(["fit", write(tmp_path / "data", X, y), "--loss", loss, "--model", model])
        capsys.readouterr()
        assert main(["predict", model, str(tmp_path / "data")]) == 0
        found = np.array(capsys.readouterr().out.split(), float)
        assert np.corrcoef(found, y)[0, 1] > 0.6
        assert_allclose(found.mean(), y.mean(), atol=0.1)  # standard error of the mean 0.05


def test_a_poisson_model_has_one_answer_whoever_is_asked(tmp_path, capsys):
    pytest.importorskip("sklearn")
    from refsgd.adapters.regressor import VSGDRegressor

    X, y = samples(2000, 0, "counts")
    model = str(tmp_path / "model")
    main(["fit", write(tmp_path / "data", X, y), "--loss", "poisson", "--model", model])
    arrays = np.load(model)
    regressor = VSGDRegressor("poisson", max_iter=1, tol=None).fit(X, y)
    regressor._models[0]._records[:-1, 0, 0] = arrays["coef"][0]
    regressor._models[0]._records[-1, 0, 0] = arrays["intercept"][0]
    far = 1e6 * X[:50]
    capsys.readouterr()
    assert main(["predict", model, write(tmp_path / "far", far, y[:50])]) == 0
    found = np.array(capsys.readouterr().out.split(), float)
    assert found.max() == np.exp(80.0)
    np.testing.assert_array_equal(found, regressor.predict(far))


def test_what_cannot_be_predicted_is_refused(train, tmp_path, capsys):
    model, text = str(tmp_path / "model"), tmp_path / "text"
    main(["fit", train, "--loss", "hinge", "--model", model])
    capsys.readouterr()
    text.write_text("1 |f a\n")
    says = "text must be svmlight text, as the model's data was, got Vowpal Wabbit text; convert it."
    assert says in refused(capsys, "predict", model, str(text))
    says = "--write probability must go with a model of log_loss or modified_huber, got hinge; pass --write"
    assert says in refused(capsys, "predict", model, train, "--write", "probability")
    (tmp_path / "out").write_text("before")
    text.write_text("1 1:1\n1 1:x\n")
    assert "text:2: value must" in refused(
        capsys, "predict", model, str(text), "--out", str(tmp_path / "out")
    )
    assert (tmp_path / "out").read_text() == "before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "out", "text", "train.dat"]


def test_other_files_are_no_models(train, tmp_path, capsys):
    model = tmp_path / "model"
    main(["fit", train, "--model", str(model)])
    good = model.read_bytes()
    with np.load(model) as arrays:
        header, coef, intercept = (arrays[name] for name in ("header", "coef", "intercept"))
    capsys.readouterr()
    new = {**json.loads(str(header)), "refsgd_model": 9}
    for content, reason in (
        (b"", "a file that is no .npz"),
        (b"1 2:3\n", "a file that is no .npz"),
        (good[:-30], "BadZipFile"),
        ({"coef": coef}, "KeyError"),
        ({"header": json.dumps(new), "coef": coef, "intercept": intercept}, "version 9 of the format"),
        ({"header": header, "coef": coef[0], "intercept": intercept}, "arrays that do not belong together"),
    ):
        if isinstance(content, bytes):
            model.write_bytes(content)
        else:
            with model.open("wb") as file:
                np.savez(file, **content)
        err = refused(capsys, "predict", str(model), train)
        assert "must be a model that this version's `python -m refsgd fit --model` wrote, got " in err
        assert reason in err


def test_interrupted_predictions_leave_no_file(train, tmp_path, monkeypatch, capsys):
    def interrupted(*args, **kwargs):
        yield from read_chunks(*args, **kwargs)
        raise KeyboardInterrupt

    model, out = str(tmp_path / "model"), str(tmp_path / "out")
    main(["fit", train, "--model", model])
    capsys.readouterr()
    monkeypatch.setattr(predict, "read_chunks", interrupted)
    assert main(["predict", model, train, "--out", out]) == 130
    assert capsys.readouterr() == ("", f"\nrefsgd: interrupted, {out} is not written\n")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "train.dat"]
    assert main(["predict", model, train]) == 130
    assert capsys.readouterr().err == "\nrefsgd: interrupted, rows are missing\n"


@pytest.mark.process
@pytest.mark.skipif(os.name == "nt", reason="pipes")
def test_a_closed_pipe_is_no_error(train, tmp_path):
    main(["fit", train, "--model", str(tmp_path / "model")])
    os.link(train, tmp_path / "again")
    command = f"{sys.executable} -m refsgd predict {tmp_path / 'model'} {train} --write score | head -1"
    run = subprocess.run(["sh", "-c", command], capture_output=True, text=True)
    assert run.stderr == "" and len(run.stdout.splitlines()) == 1
