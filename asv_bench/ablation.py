"""What each departure from the published rule is worth: train on the bundled digits without it.

    python asv_bench/ablation.py [--seeds 3]

Prints train loss / test error in % after the epochs named, a mean over seeds. Variants replace one function
of the NumPy oracle.
"""

from __future__ import annotations

import argparse

import numpy as np
from quality import train

import refsgd
from refsgd.datasets import load_digits
from refsgd.kernels import reference
from refsgd.models import MLP, Softmax

TASKS = [
    ("tanh n=10", MLP((64, 120, 10), "tanh"), 10, 20),
    ("relu n=100", MLP((64, 120, 10), "relu"), 100, 20),
    ("softmax n=1", Softmax(64, 10), 1, 5),
]


def rates(power=0.75, error=True):
    """`reference.robust_rates` with another power of rho, or without the error in H**2."""

    def variant(h_avg, h2_avg, tau_inv, rho, scale):
        curv2 = h_avg**2
        if error:
            curv2 = curv2 + reference.variance(h2_avg, h_avg) * tau_inv
        return np.where(curv2 > 0, rho**power / np.sqrt(np.where(curv2 > 0, curv2, 1)), rho**power * scale)

    return variant


def published_curvature(h_avg, h2_avg, tau_inv, rho, scale):
    return np.abs(h_avg) / np.where(h2_avg > 0, h2_avg, 1) * rho**0.75


VARIANTS = {
    "default": (reference.robust_rates, refsgd.VSGD()),
    "rate ~ rho (the greedy power)": (rates(power=1), refsgd.VSGD()),
    "rate ~ sqrt(rho)": (rates(power=0.5), refsgd.VSGD()),
    "without the error of h_avg": (rates(error=False), refsgd.VSGD()),
    "curvature h2_avg / h_avg, as published": (published_curvature, refsgd.VSGD()),
    "without outlier detection": (reference.robust_rates, refsgd.VSGD(outliers=None)),
    "faithful": (reference.robust_rates, refsgd.VSGD(faithful=True)),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    refsgd.use_backend("numpy")
    data = load_digits()
    print(f"{'':40s}" + "".join(f"{f'{name}, {epochs} epochs':>24s}" for name, _, _, epochs in TASKS))
    for name, (rate_function, rule) in VARIANTS.items():
        reference.robust_rates = rate_function
        line = f"{name:40s}"
        for _, model, batch_size, epochs in TASKS:
            runs = [
                train(model, batch_size, seed, data, {epochs}, rule)[epochs] for seed in range(options.seeds)
            ]
            loss, error = np.mean(runs, axis=0)
            line += f"{f'{loss:.2g} / {error:.1f}':>24s}"
        print(line, flush=True)


if __name__ == "__main__":
    main()
