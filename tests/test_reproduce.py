"""Claims as programs: verdicts that can fail, files that are written, and the command."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from refsgd import DirectionStats, VonMisesFisher, experiments
from refsgd.__main__ import main
from refsgd.experiments import claims, concentration_estimators

#: Numbers that support a claim, and numbers that contradict it.
FALLING = [1.0] * 100 + [0.1] * 100
NUMBERS = {
    "rates_adapt": (
        {"default": [FALLING + FALLING], "published": [FALLING + FALLING]},
        {"default": [FALLING + FALLING], "published": [[1.0] * 400]},
    ),
    "minibatch_gain": (
        {"sizes": [1, 10, 100, 1000, 10_000], "steps": [[900], [90], [10], [9], [9]], "ratio": 100},
        {"sizes": [1, 10, 100, 1000, 10_000], "steps": [[900], [90], [10], [3], [1]], "ratio": 100},
    ),
    "sparse_weighting": tuple(
        {
            f"{rule} {weighting}": [[loss]] * 3
            for rule in ("default", "published")
            for weighting, loss in (("dense", dense), ("sparse", 1.0))
        }
        for dense in (2.0, 0.5)
    ),
    "orthogonal_weighting": (
        {"votes": [[16.0], [8.0], [5.0], [4.0], [3.0], [2.0], [1.0]]},
        {"votes": [[17.0], [8.0], [5.0], [4.0], [3.0], [2.0], [1.0]]},
    ),
    "outlier_detection": tuple(
        {
            f"{rule}, {case}": [loss]
            for rule in ("default", "published")
            for case, loss in (("no outliers", 1.0), ("with detection", detected), ("without detection", 9.0))
        }
        for detected in (1.5, 10.0)
    ),
    "finite_differences": tuple(
        {
            f"{rule} {name} {curvature}": [loss]
            for rule in ("default", "published")
            for name in ("absolute", "rectified", "quadratic")
            for curvature, loss in (("fd", left), ("bbprop", 0.01 if name == "quadratic" else 1.0))
        }
        for left in (0.01, 0.5)
    ),
    "linear_cost": tuple(
        {name: [[1, 10, 100], [1.0, 10.0, 100.0]] for name in ("d", "n", "nnz")}
        | {"d, sparse": [[1, 10, 100], times]}
        for times in ([1.0, 1.0, 1.0], [1.0, 10.0, 100.0])
    ),
    "no_hyperparameter": tuple(
        {"one": {"default": 1.0, "0.1": 1.0, "1": 1e9}, "two": {"default": loss, "0.1": 9.0, "1": 1.0}}
        for loss in (1.5, 20.0)
    ),
    "concentration_estimators": tuple(
        {
            "repeats": 1000,
            "uniform": {"dim": [10, 1000], "mle": [0.7, 70.0], "score": [0.95, 0.95]} | honest,
            "von Mises-Fisher": {"kappa": [1.0, 100.0], "unbiased": [0.9, 99.0], "score": [0.95, 0.95]}
            | honest,
            "1/j, no mean": {"isotropic": [0.3]} | honest,
            "1/j, with mean": {"score": [0.4]} | honest,
        }
        for jackknife in (0.95, 0.8)
        for honest in [{"wald": [0.8, 0.0], "jackknife": [jackknife], "signflip": [0.05]}]
    ),
}
ALL = [name for group in claims.GROUPS.values() for name in group]


@pytest.mark.parametrize("name", ALL)
def test_verdict_follows_the_numbers(name):
    claim = claims.load(name)
    supporting, contradicting = NUMBERS[name]
    assert claim.verdict(supporting).holds
    assert not claim.verdict(contradicting).holds


@pytest.mark.parametrize("name", ALL)
def test_claim_is_a_short_program_of_its_name(name):
    path = Path(experiments.__file__).with_name(f"{name}.py")
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 150
    assert claims.load(name).name == name


def test_list_names_every_claim(capsys):
    assert main(["reproduce", "list"]) == 0
    out = capsys.readouterr().out
    assert all(f"{name} " in out and claims.load(name).statement in out for name in ALL)
    assert all(f"{group}:" in out for group in claims.GROUPS)


@pytest.mark.parametrize("name", ["orthogonal_weighting", "minibatch_gain"])
def test_reproduce_writes_numbers_and_a_picture(name, tmp_path, capsys):
    assert main(["reproduce", name, "--quick", "--out", str(tmp_path / "new")]) == 0
    record = json.loads((tmp_path / "new" / f"{name}.json").read_text())
    assert record["quick"] and record["holds"] and record["claim"] == claims.load(name).statement
    assert claims.load(name).verdict(record["numbers"]).by == record["by"]
    assert f"holds: {record['by']}" in capsys.readouterr().out
    pytest.importorskip("matplotlib")
    assert (tmp_path / "new" / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_folder_that_cannot_be_made_is_refused_first(tmp_path, capsys):
    (tmp_path / "file").write_text("mine")
    assert main(["reproduce", "rates", "--out", str(tmp_path / "file")]) == 2
    assert "file" in capsys.readouterr().err
    assert (tmp_path / "file").read_text() == "mine"


def test_interrupted_reproduction_keeps_what_is_written(tmp_path, capsys, monkeypatch):
    def interrupted(claim, folder, *, quick):
        if claim.name == claims.RATES[2]:
            raise KeyboardInterrupt
        (folder / f"{claim.name}.json").write_text("{}")
        return claims.Verdict(True, "by far")

    monkeypatch.setattr(claims, "reproduce", interrupted)
    assert main(["reproduce", "rates", "--out", str(tmp_path)]) == 0
    assert sorted(path.stem for path in tmp_path.iterdir()) == sorted(claims.RATES[:2])
    assert "interrupted" in capsys.readouterr().out


@pytest.mark.parametrize("dim", [30, 1000])
def test_directions_drawn_in_their_span_have_the_law_of_those_in_the_space(dim):
    # Squared lengths of the means of 200 directions, 300 of each kind: equal laws are told apart with
    # probability 1e-3. In 30 dimensions nothing is saved, in 1,000 there are 201 of them.
    kappa = concentration_estimators.truth("von Mises-Fisher", dim)
    law, rng = VonMisesFisher(np.eye(1, dim)[0], kappa), np.random.default_rng(0)
    spans = [concentration_estimators.draw("von Mises-Fisher", dim, rng) for _ in range(300)]
    assert spans[0].shape == (200, min(dim, 201))
    lengths = [
        [(u.mean(axis=0) ** 2).sum() for u in kind] for kind in (spans, (law.rvs(200, rng) for _ in spans))
    ]
    assert stats.ks_2samp(*lengths).pvalue > 1e-3


def test_true_concentration_of_directions_that_are_not_isotropic_is_that_of_many():
    # Over seeds, kappa of 40,000 directions has a deviation of 0.5 %.
    rng = np.random.default_rng(0)
    many = DirectionStats(100)
    for _ in range(200):
        many.update(concentration_estimators.draw("1/j, with mean", 100, rng))
    true = concentration_estimators.truth("1/j, with mean", 100)
    assert many.concentration("unbiased") == pytest.approx(true, rel=0.03)
