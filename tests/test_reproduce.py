"""Claims as programs: verdicts that can fail, files that are written, and the command."""

import json
import struct
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from refsgd import DirectionStats, VonMisesFisher
from refsgd.__main__ import main
from refsgd.apps import experiments
from refsgd.apps.experiments import claims, concentration_estimators

#: Numbers that support a claim, and numbers that contradict it.
FALLING = [1.0] * 100 + [0.1] * 100


def histories(kappa, norm_snr, networks=("FNN, SGD", "DFNN, SGD")):
    """Runs with an SNR of 8, 4, 2, 1."""
    runs = {"snr": [8.0, 4.0, 2.0, 1.0], "kappa": kappa, "kappa_unbiased": kappa, "norm_snr": norm_snr}
    return {name: [runs] * 2 for name in networks}


DOWN, RISEN, UP_AND_DOWN = [90.0, 50.0, 30.0, 20.0], [10.0, 50.0, 30.0, 20.0], [25.0, 20.0, 30.0, 24.0]
NUMBERS = {
    "rates_adapt": (
        {"default": [FALLING + FALLING], "published": [FALLING + FALLING]},
        {"default": [FALLING + FALLING], "published": [[1.0] * 400]},
    ),
    "minibatch_gain": (
        *(
            {
                "sizes": [1, 10, 100, 1000, 10_000],
                "steps": {"default": [[900], [90], [10], [9], [9]], "published": published},
                "ratio": 100,
            }
            for published in ([[900], [90], [10], [9], [9]], [[900], [90], [10], [3], [1]])
        ),
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
            f"{name}: {case}": [loss]
            for name, contaminated in (
                ("default", default),
                ("published", detected),
                ("published, no detection", undetected),
            )
            for case, loss in (("clean", 1.0), ("outliers", contaminated))
        }
        for default, detected, undetected in ((1.5, 1.5, 9.0), (2.5, 1.5, 9.0))
    ),
    "finite_differences": tuple(
        {
            f"{rule}, {name}": [loss]
            for name in ("absolute", "rectified", "quadratic")
            for rule, loss in (
                ("default", left),
                ("published fd", 0.01),
                ("published bbprop", 0.01 if name == "quadratic" else 1.0),
            )
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
        for loss in (1.5, 2.5)
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
    "uniformity_falls": (histories(DOWN, DOWN), histories(RISEN, DOWN)),
    "snr_follows_uniformity": (histories(DOWN, RISEN), histories(UP_AND_DOWN, DOWN)),
    "mean_direction_theorem": tuple(
        {
            "falls": {"uniform": [falls, *[50] * 8]},
            "configurations": 60,
            "not negative": 0,
            "error of slope": 1e-8,
            "lines": 100,
            "changes on a line": 0,
        }
        for falls in (60, 59)
    ),
    "random_angles": tuple(
        {
            "dims": [2, 10, 100, 1000],
            "distance": distance,
            "samples": {law: {"2": [0.01] * 20, "1000": [0.01] * 20} for law in ("exact", "normal")},
        }
        for distance in ([0.1, 0.01, 0.001, 0.0001], [0.1, 0.09, 0.08, 0.07])
    ),
    "convolutional_networks": (histories(DOWN, RISEN, ["CNN"]), histories(DOWN, DOWN, ["CNN"])),
}


@pytest.mark.parametrize("name", claims.NAMES)
def test_verdict_follows_the_numbers(name):
    claim = claims.load(name)
    supporting, contradicting = NUMBERS[name]
    assert claim.verdict(supporting).holds
    assert not claim.verdict(contradicting).holds


@pytest.mark.parametrize("name", claims.NAMES)
def test_claim_is_a_short_program_of_its_name(name):
    path = Path(experiments.__file__).with_name(f"{name}.py")
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 150
    assert claims.load(name).name == name


def test_list_names_every_claim(capsys):
    assert main(["reproduce", "list"]) == 0
    out = capsys.readouterr().out
    assert all(f"{group}:" in out for group in claims.GROUPS)
    assert all(f"{name} " in out and claims.load(name).statement in out for name in claims.NAMES)


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
    def interrupted(claim, **options):
        if claim.name == claims.RATES[2]:
            raise KeyboardInterrupt
        return {"holds": True, "by": "far"}

    monkeypatch.setattr(claims, "reproduce", interrupted)
    monkeypatch.setattr("refsgd.__main__.plot_claim", lambda *_: None)
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


# -- claims on images, and those that need more


def test_claim_on_images_is_measured_on_the_folder_of_the_user(tmp_path, capsys, monkeypatch):
    rng = np.random.default_rng(0)
    for name, array in (
        ("images-idx3", rng.integers(0, 256, (100, 4, 4), np.uint8)),
        ("labels-idx1", rng.integers(0, 10, 100, np.uint8)),
    ):
        header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
        (tmp_path / f"t10k-{name}-ubyte").write_bytes(header + array.tobytes())
    claim = claims.load("uniformity_falls")
    seen = []

    def measure(quick, data):
        seen.append((quick, data.X_train.shape))
        return NUMBERS["uniformity_falls"][0]

    monkeypatch.setattr(claims, "load", lambda name: claim._replace(measure=measure))
    command = ["reproduce", "uniformity_falls", "--quick", "--out", str(tmp_path)]
    assert main([*command, "--data", str(tmp_path)]) == 0
    assert json.loads((tmp_path / "uniformity_falls.json").read_text())["data"] == "mnist-t10k"
    assert main(command) == 0
    assert json.loads((tmp_path / "uniformity_falls.json").read_text())["data"] == "digits"
    assert seen == [(True, (80, 16)), (True, (1437, 64))]


def test_images_for_a_claim_without_are_refused(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("refsgd.datasets.load_mnist", lambda folder: "images")
    assert main(["reproduce", "rates", "--data", "images", "--out", str(tmp_path / "new")]) == 2
    assert capsys.readouterr().err == (
        "refsgd: --data is not for rates, which takes no images; leave it out.\n"
    )
    assert not (tmp_path / "new").exists()


def test_claim_that_needs_what_is_missing_is_skipped_by_name(tmp_path, capsys, monkeypatch):
    measured = []

    def reproduce(claim, **options):
        measured.append(claim.name)
        return {"holds": True, "by": "far"}

    monkeypatch.setattr(claims, "reproduce", reproduce)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert main(["reproduce", "directional", "--out", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert 'skipped: torch is missing; pip install "refsgd[torch]"' in out
    assert "\nconvolutional_networks    skipped: torch is missing\n" in out
    assert measured == [name for name in claims.DIRECTIONAL if name != "convolutional_networks"]
