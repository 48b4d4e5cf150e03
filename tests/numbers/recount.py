"""Counts every number of a run again, by plain NumPy, from its distances and its images' labels.

Nothing here is imported from fnx: only names and kinds are read from a run's tables.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray
from scipy import stats

Array = NDArray[Any]


class Recount:
    """The numbers of one run.

    Attributes:
        real, random: [F, C] and [R, F, C] distances.
        signs: "+-", or "+" for a statistic without sign.
        layers: the ids of each layer's features, by name.
        neutral: between presence and absence.
    """

    def __init__(
        self, folder: Path, signs: str = "+-", *, bounded: bool = True, neutral: float = 0.0
    ) -> None:
        self.folder, self.signs, self.bounded, self.neutral = folder, signs, bounded, neutral
        self.real: Array = np.load(folder / "distances.npy")
        self.random: Array = np.load(folder / "distances_random.npy")
        images = pl.read_parquet(folder / "images.parquet")
        used = images.filter(status="ok")
        self.failed = images.filter(pl.col("status") != "ok")
        self.class_names = pl.read_parquet(folder / "classes.parquet")["class_name"].to_list()
        self.sizes = [used.filter(class_name=name).height for name in self.class_names]
        features = pl.read_parquet(folder / "features.parquet")
        self.units = features["unit"].to_list()
        self.constant = features["constant"].to_numpy()
        self.layer_of = features["layer"].to_list()
        self.kinds = dict(features.select("layer", "kind").iter_rows())
        self.layers = {
            name: [i for i, layer in enumerate(self.layer_of) if layer == name]
            for name in dict.fromkeys(self.layer_of)
        }

    # ---- thresholds (Section 7, Eq. 4)

    @cached_property
    def grid(self) -> Array:
        """Candidates in thousandths of 1, or of the mean magnitude of an unbounded statistic.

        The latter go on by a thousandth of themselves, or a little less, to the largest distance.
        """
        if self.bounded:
            return np.arange(501 if self.neutral else 1001) / 1000
        every = np.concatenate([self.real.ravel(), self.random.ravel()]).astype(np.float64)
        size = np.abs(every[np.isfinite(every) & (every != 0)])
        unit = stats.gmean(size)
        count = int(np.ceil(np.log(size.max() / unit) / np.log(1.001)))
        return np.append(unit * np.arange(1000) / 1000, np.geomspace(unit, size.max(), count + 1))

    def count(self, values: Array, x: Array, sign: str) -> Array:
        """[C, X]: features with D > x (for "-": D < -x) from neutral, compared in float32."""
        if sign == "+":
            found = [(values > np.float32(self.neutral + one)).sum(axis=0) for one in x]
        else:
            found = [(values < np.float32(self.neutral - one)).sum(axis=0) for one in x]
        return np.array(found).T

    @property
    def plus(self) -> bool:
        """Whether distances are written with their sign, which tells presence from absence."""
        return not self.neutral

    def away(self, values: Array) -> Array:
        """How far above (or, negative, below) the neutral value."""
        return np.asarray(values, np.float64) - self.neutral

    @cached_property
    def excess(self) -> dict[str, Array]:
        """d_avg at every candidate, by sign."""
        found = {}
        for sign in self.signs:
            real = self.count(self.real, self.grid, sign).sum(axis=0)
            random = sum(self.count(one, self.grid, sign).sum(axis=0) for one in self.random)
            whole = len(self.random) * real - random  # whole numbers, so that ties are ties
            found[sign] = whole / (len(self.random) * len(self.sizes))
        return found

    @cached_property
    def thresholds(self) -> dict[str, float]:
        """t of each sign: the smallest x with the largest d_avg."""
        found = {sign: float(self.grid[np.argmax(self.excess[sign])]) for sign in self.signs}
        return {
            sign: self.neutral + (t if sign == "+" or not t else -t) for sign, t in found.items()
        }

    def beyond(self, values: Array, sign: str) -> NDArray[np.bool_]:
        """Which distances the threshold keeps."""
        limit = np.float32(self.thresholds[sign])
        return values > limit if sign == "+" else values < limit

    def side(self, sign: str) -> dict[str, float | None]:
        """A row of the run's thresholds."""
        chance = [self.beyond(one, sign).sum(axis=0).mean() for one in self.random]
        kept = self.beyond(self.real, sign).sum(axis=0).mean()
        return {
            "threshold": self.thresholds[sign],
            "davg": kept - np.mean(chance),
            "kept": kept,
            "kept_random": np.mean(chance),
            "spread_random": np.std(chance, ddof=1) if len(chance) > 1 else None,
        }

    # ---- layers, classes and features

    def share(self, layer: str, sign: str) -> tuple[float, float]:
        """Percent of a layer's pairs kept under real and under random labels."""
        rows = self.layers[layer]
        real, random = self.real[rows], self.random[:, rows]
        return 100 * self.beyond(real, sign).mean(), 100 * self.beyond(random, sign).mean()

    def both(self, layer: str) -> tuple[float, float]:
        """The same of all signs together."""
        shares = [self.share(layer, sign) for sign in self.signs]
        return sum(real for real, _ in shares), sum(random for _, random in shares)

    @cached_property
    def by_excess(self) -> list[str]:
        """Layers by what they keep beyond chance, most first."""
        return sorted(self.layers, key=lambda name: -(self.both(name)[0] - self.both(name)[1]))

    def kept_by_class(self, sign: str) -> Array:
        """[C] features kept."""
        return self.beyond(self.real, sign).sum(axis=0)

    def ranked(self, values: Array, sign: str) -> list[int]:
        """Places of the values of a sign, the farthest out first, ties in order of place."""
        size = self.away(values) if sign == "+" else -self.away(values)
        return sorted((i for i in range(len(size)) if size[i] > 0), key=lambda i: (-size[i], i))

    def name(self, feature: int) -> str:
        """A feature as layer/unit."""
        return f"{self.layer_of[feature]}/{self.units[feature]}"

    # ---- distributions

    @cached_property
    def high(self) -> float:
        """The end of the axis of distances."""
        return self.axis_end(self.real, self.random)

    @property
    def real_high(self) -> float:
        """The same without random labels."""
        return self.axis_end(self.real)

    def axis_end(self, *arrays: Array) -> float:
        """1, or for an unbounded statistic a round number that few distances pass."""
        if self.neutral:
            return 2 * self.neutral
        every = np.concatenate([one.ravel() for one in arrays]).astype(np.float64)
        size = np.sort(np.abs(every[np.isfinite(every) & (every != 0)]))
        if size[-1] <= 1:
            return 1.0
        # All but a thousandth, up to the next 32nd of an octave; one digit, rounded up.
        most = size[int(np.ceil(0.999 * len(size))) - 1]
        end = min(size[-1], 2 ** ((np.floor(np.log2(most) * 32) + 1) / 32))
        digit = 10.0 ** np.floor(np.log10(end))
        return float(np.ceil(end / digit) * digit)

    def edges(self, bins: int) -> Array:
        """Edges of equal bins over the axis."""
        low = 0.0 if self.neutral or "-" not in self.signs else -self.high
        return low + (self.high - low) * np.arange(bins + 1) / bins

    def histogram(self, values: Array, bins: int) -> Array:
        """Numbers of pairs in each bin; the last edge belongs to the last bin."""
        edges, finite = self.edges(bins), values[np.isfinite(values)].astype(np.float64)
        ends = zip(edges[:-1], [*edges[1:-1], edges[-1] + 1e-9], strict=True)
        return np.array([((finite >= low) & (finite < high)).sum() for low, high in ends])

    def spread(self, values: Array, sign: str, law: str = "empirical") -> list[float | None]:
        """Mode, and the ends of the bars that hold 68 % on each side of it."""
        values = self.away(values)
        size = np.abs(values[values > 0 if sign == "+" else values < 0])
        finite = size[np.isfinite(size)]
        if not len(finite):
            return [None] * 3
        if law == "lognormal":
            logs = np.log(finite)
            fitted = stats.lognorm(logs.std(), scale=np.exp(logs.mean()))
            mode = np.exp(logs.mean() - logs.std() ** 2)
            below = fitted.cdf(mode)
            found = [mode, fitted.ppf(0.32 * below), fitted.ppf(below + 0.68 * (1 - below))]
        else:
            ends = finite.min(), finite.max()
            width = max(0.01 * max(1, ends[1]), (ends[1] - ends[0]) / np.sqrt(len(finite)))
            counts = np.bincount(np.floor(finite / width).astype(int))
            mode = (int(np.flatnonzero(counts == counts.max())[0]) + 0.5) * width
            middle = mode if self.neutral else np.float32(mode)  # the precision of the distances
            lower, upper = size[size <= middle], size[size >= middle]
            found = [
                mode,
                np.quantile(lower, 1 - 0.68, method="inverted_cdf") if len(lower) else mode,
                np.quantile(upper, 0.68, method="inverted_cdf") if len(upper) else mode,
            ]
        if sign == "-":
            found = [-found[0], -found[2], -found[1]]
        return [self.neutral + end for end in found]

    # ---- the answer

    @cached_property
    def answer(self) -> dict[str, float]:
        """What the headline says of an average class."""
        kept = sum(float(self.side(sign)["kept"] or 0) for sign in self.signs)
        noise = sum(float(self.side(sign)["kept_random"] or 0) for sign in self.signs)
        return {
            "kept": kept,
            "noise": noise,
            "noise_share": 100 * noise / kept,
            "below": 100 * (1 - kept / len(self.real)),
            "signal": 100 * (kept - noise) / len(self.real),
        }

    # ---- columns of the run's tables

    @property
    def by_sign(self) -> list[tuple[str, str]]:
        """Layer and sign of each row of the table of layers."""
        return [(layer, sign) for layer in self.layers for sign in self.signs]

    def spreads(self, law: str = "empirical") -> dict[str, list[float | None]]:
        """Modes and ends of the bars of all layers, under real and random labels."""
        found: dict[str, list[float | None]] = {}
        for layer, sign in self.by_sign:
            rows = self.layers[layer]
            for suffix, values in (("", self.real[rows]), ("_random", self.random[:, rows])):
                ends = self.spread(values, sign, law)
                for name, value in zip(("mode", "low", "high"), ends, strict=True):
                    found.setdefault(name + suffix, []).append(value)
        return found

    def shares(self) -> dict[str, list[float]]:
        """What is kept of all layers."""
        found = [self.share(*one) for one in self.by_sign]
        return {"pct_kept": [real for real, _ in found], "pct_kept_random": [r for _, r in found]}

    def table3(self) -> dict[str, float | None]:
        """The run's row of Table 3."""
        images, classes = sum(self.sizes), len(self.sizes)
        row: dict[str, float | None] = {
            "images": images, "classes": classes, "images_per_class": images / classes,
            "features": len(self.real),
        }  # fmt: skip
        columns = {"t": "threshold", "davg": "davg", "kept": "kept", "kept_random": "kept_random"}
        for sign, name in (("+", "plus"), ("-", "minus")):
            side = self.side(sign) if sign in self.signs else {}
            row |= {f"{key}_{name}": side.get(column) for key, column in columns.items()}
        return row

    @property
    def curve_x(self) -> Array:
        """Where the curves of Figure 9 are drawn."""
        return np.linspace(0, self.high - self.neutral, 201)


def same(table: pl.DataFrame, expected: dict[str, Any]) -> None:
    """A table has these columns, and these values to twelve digits."""
    for name, values in expected.items():
        found = table[name].to_list()
        if all(value is None or isinstance(value, str) for value in values):
            assert found == list(values), name
        else:
            assert len(found) == len(values), name
            for one, other in zip(found, values, strict=True):
                assert (one is None) == (other is None), (name, found, values)
                assert one is None or one == pytest.approx(other, rel=1e-12, abs=1e-12), name
