"""Runs whose numbers are told apart: signed, about 0.5, without sign, and without sign or bound.

Their distances lie on a coarse grid, so that many tie with the thresholds and with each other.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from tests.numbers.recount import Recount
from tests.report.synthetic import Synthetic, write_run

from fnx.analysis import Run
from fnx.config.schema import ReportConfig
from fnx.report import write_report

# Names hold no digits, so that all digits in a text are numbers of the run.
LAYERS = (
    ("stem", 5, "conv"),
    ("body.a", 9, "conv"),
    ("body.b", 7, "other"),
    ("neck", 4, "conv"),
    ("head", 12, "fc"),
)
CLASSES = ("ant", "bee", "cat", "dog", "eel", "fox", "gnu")
SIZES = (3, 4, 6, 9, 14, 22, 31)
CONSTANT = (6, 30)
FAILED = (("ant/x.jpg", "truncated"), ("ant/y.jpg", "no image"))


def drawn_distances(kind: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Real [37, 7] and random [3, 37, 7] distances on a grid, layers of different loudness."""
    rng = np.random.default_rng(seed)
    loud = np.repeat([0.06, 0.22, 0.11, 0.17, 0.3], [units for _, units, _ in LAYERS])[:, None]
    real = rng.laplace(0.02, loud * rng.uniform(0.6, 1.6, len(CLASSES)), (37, 7))
    random = rng.laplace(-0.01, 0.09, (3, 37, 7))
    if kind == "unbounded":
        real, random = 20 * np.abs(real), 13 * np.abs(random)
    if kind == "unsigned":
        real, random = np.abs(real), np.abs(random)
    step, most = (0.2, 28) if kind == "unbounded" else (0.02, 0.98)
    real, random = (np.clip(np.rint(a / step) * step, -most, most) for a in (real, random))
    if kind == "centred":
        real, random = (1 + real) / 2, (1 + random) / 2
    real[[20, 8], 4] = real[:, 4].max() + 0.004  # the best of a class, twice
    real[15, [2, 5]] = real[15].max() + 0.003  # the best class of a feature, twice
    if kind == "unbounded":
        real[[3, 25], [1, 6]] = random[1, 12, 0] = np.inf
    real[list(CONSTANT)] = random[:, list(CONSTANT)] = NEUTRAL.get(kind, 0)
    return real.astype(np.float32), random.astype(np.float32)


NEUTRAL = {"centred": 0.5}
KINDS: dict[str, dict[str, Any]] = {
    "signed": {"statistic": "ks", "limits": (-1.0, 1.0)},
    "centred": {"statistic": "auroc", "limits": (0.0, 1.0), "neutral": 0.5},
    "unsigned": {"statistic": "hellinger", "limits": (0.0, 1.0)},
    "unbounded": {"statistic": "kl", "limits": (0.0, np.inf)},
}


@contextmanager
def undrawn() -> Iterator[None]:
    """Figures become empty drawings: their numbers are what counts here, and drawing takes long."""

    def save(figure: Figure, file: Any, **options: Any) -> None:
        if isinstance(file, io.StringIO):
            file.write("<svg ></svg>")
        else:
            Path(file).touch()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", save)
        patch.setattr(Figure, "draw_without_rendering", lambda figure: None)
        yield


def report(folder: Path, config: ReportConfig) -> None:
    """Write a run's figures' tables and its page."""
    with undrawn():
        write_report(Run.open(folder), config)


def make(folder: Path, kind: str) -> Recount:
    """Write a run with its figures and page; what its numbers ought to be."""
    arrays = drawn_distances(kind, seed=3 if kind == "unbounded" else 1)
    spec = Synthetic(
        layers=LAYERS, class_sizes=SIZES, class_names=CLASSES, permutations=3, constant=CONSTANT,
        failed=FAILED, arrays=arrays, **KINDS[kind],
    )  # fmt: skip
    write_run(folder, spec)
    report(folder, ReportConfig(formats=[]))
    signs = "+-" if kind in ("signed", "centred") else "+"
    return Recount(folder, signs, bounded=kind != "unbounded", neutral=NEUTRAL.get(kind, 0))
