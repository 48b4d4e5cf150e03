"""The answer in a few numbers: which layers speak about the classes, how much is worth keeping."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import polars as pl

from fnx.analysis.record import Kept, noise_share
from fnx.analysis.run import Run


@dataclass(frozen=True)
class Summary:
    """What a run says, before any figure."""

    n_features: int
    kept: dict[str, Kept]
    layers: pl.DataFrame
    """``layer``, ``kind``, ``features``, ``pct_kept``, ``pct_kept_random`` (both signs together),
    ``excess`` = their difference in percentage points; in the network's order."""

    @property
    def kept_per_class(self) -> float:
        """Mean number of features kept per class, by presence and by absence."""
        return sum(kept.kept for kept in self.kept.values())

    @property
    def kept_random_per_class(self) -> float:
        """Mean number of features per class that random labels keep at the same thresholds."""
        return sum(kept.kept_random for kept in self.kept.values())

    @property
    def noise_share(self) -> float:
        """Percent of the kept features that random labels would have kept as well."""
        return noise_share(self.kept_per_class, self.kept_random_per_class)

    @property
    def pct_below(self) -> float:
        """Percent of the features that pass no threshold for an average class."""
        return 100 * max(0.0, 1 - self.kept_per_class / self.n_features)

    @property
    def signal(self) -> float:
        """Kept beyond noise, in percent of the features: near 0 where labels say nothing."""
        return 100 * (self.kept_per_class - self.kept_random_per_class) / self.n_features

    def top_layers(self, count: int = 3) -> pl.DataFrame:
        """Return the layers that keep most beyond random labels."""
        return self.layers.sort("excess", descending=True, maintain_order=True).head(count)

    def bottom_layer(self) -> dict[str, Any]:
        """Return the layer that keeps least beyond random labels."""
        return self.layers.sort("excess", maintain_order=True).row(0, named=True)


def summarize(run: Run) -> Summary:
    """Return the answer of a run, from its tables alone."""
    sizes = run.features.group_by("layer", maintain_order=True).agg(
        pl.col("kind").first(), pl.len().cast(pl.Int64).alias("features")
    )
    shares = run.layers.group_by("layer").agg(pl.col("pct_kept", "pct_kept_random").sum())
    layers = sizes.join(shares, on="layer", maintain_order="left").with_columns(
        excess=pl.col("pct_kept") - pl.col("pct_kept_random")
    )
    return Summary(run.features.height, run.kept, layers)


def kept_by_class(run: Run) -> pl.DataFrame:
    """Return the features kept per class: ``class_id``, ``kept_plus``, ``kept_minus``.

    The latter is null for an unsigned statistic.
    """
    plus, *minus = (side.kept.sum(axis=0) for side in run.scan.sides)
    absent = [None] * run.classes.height
    return run.classes.select(
        "class_id",
        pl.Series("kept_plus", plus),
        pl.Series("kept_minus", minus[0] if minus else absent, dtype=pl.Int64),
    )
