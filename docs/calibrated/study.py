"""Measures what docs/calibrated.md says of generated data, and draws its figure.

python docs/calibrated/study.py docs/images/calibrated-study.png
"""

from __future__ import annotations

import sys

import matplotlib.pyplot as plt
import numpy as np
from scipy.stats import norm

import fnx

RNG = np.random.default_rng(0)
OTHERS, REPEATED = 600, 200
SIZES = (10, 20, 50, 150)
SHIFTS = (0.0, 0.5, 1.0, 2.0)
QUIET = {"progress": False}


def one_class(n: int, shifts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return D and calibrated D of a class of n images whose features are shifted normal ones."""
    values = RNG.standard_normal((n + OTHERS, shifts.size)).astype(np.float32)
    values[:n] += shifts
    labels = np.repeat([0, 1], [n, OTHERS])
    distances = fnx.distances(values, labels)
    null = fnx.null(values, labels, **QUIET)
    return distances[:, 0], fnx.calibrate(distances, null, [n, OTHERS])[:, 0]


def known_truth(axes: plt.Axes) -> None:
    """Set D and calibrated D against the distance of the two laws."""
    print("shift  truth      n   mean |D|  mean |calibrated D|")
    for colour, shift in enumerate(SHIFTS):
        truth = 2 * norm.cdf(shift / 2) - 1
        means = []
        for n in SIZES:
            raw, calibrated = one_class(n, np.full(REPEATED, shift))
            means.append((np.abs(raw).mean(), np.abs(calibrated).mean()))
            print(f"{shift:5.1f}  {truth:5.3f}  {n:5}   {means[-1][0]:8.3f}  {means[-1][1]:8.3f}")
        for style, part in zip(("o:", "s-"), zip(*means, strict=True), strict=True):
            axes.plot(SIZES, part, style, color=f"C{colour}")
        axes.axhline(truth, color=f"C{colour}", linewidth=0.6, linestyle="--")
    axes.set(xscale="log", xticks=SIZES, xlabel="images of the class", ylabel="mean size of D")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_xticks([], minor=True)
    axes.set_title("dotted: D; solid: calibrated; dashed: truth", fontsize=9)


def two_nulls(axes: plt.Axes) -> None:
    """Set the null second moment by bridges against that by permutation."""
    print("\nclasses  images  values  bridge / permutation: median, 5 % and 95 %")
    drawn, names = [], []
    for classes, n in ((3, 5), (3, 80), (12, 5), (12, 80)):
        labels = np.repeat(np.arange(classes), n)
        for kind in ("normal", "90 % zeros"):
            values = RNG.standard_normal((labels.size, REPEATED)).astype(np.float32)
            if kind != "normal":
                values[values < norm.ppf(0.9)] = 0
            permuted = fnx.null(values, labels, permutations=200, **QUIET).second_moment
            bridge = fnx.null(values, labels, method="bridge", **QUIET).second_moment
            ratio = bridge[permuted > 0] / permuted[permuted > 0]
            low, middle, high = np.quantile(ratio, (0.05, 0.5, 0.95))
            print(f"{classes:7}  {n:6}  {kind:10}  {middle:.3f}  {low:.3f}  {high:.3f}")
            drawn.append(ratio)
            names.append(f"{classes} × {n}, {kind}")
    axes.boxplot(drawn, orientation="horizontal", tick_labels=names, showfliers=False)
    axes.axvline(1, color="0.5", linewidth=0.6)
    axes.set(xlabel="second moment, bridge / permutation")
    axes.set_title("classes × images of each", fontsize=9)


def winners_curse(axes: plt.Axes) -> None:
    """Choose the top tenth by |D|, and measure the chosen again on fresh images."""
    n, shifts = 10, RNG.normal(0, 0.5, 2_000)
    raw, calibrated = one_class(n, shifts)
    chosen = np.argsort(-np.abs(raw))[: shifts.size // 10]
    fresh = one_class(2_000, shifts[chosen])[0] * np.sign(raw[chosen])
    means = {
        "D": np.abs(raw[chosen]).mean(),
        "calibrated D": np.abs(calibrated[chosen]).mean(),
        "D, fresh images": fresh.mean(),
    }
    print("\nmean over the top tenth of 2,000 features, 10 images")
    for name, mean in means.items():
        print(f"{name:15}  {mean:.3f}")
    axes.bar([name.replace(" ", "\n") for name in means], means.values(), color=["C0", "C2", "0.6"])
    axes.set(ylabel="mean of the chosen")
    axes.set_title("the winner's curse is not cured", fontsize=9)


figure, panels = plt.subplots(
    1, 3, figsize=(12, 3.6), layout="constrained", width_ratios=(1, 1, 0.8)
)
known_truth(panels[0])
two_nulls(panels[1])
winners_curse(panels[2])
figure.savefig(sys.argv[1], dpi=110)
