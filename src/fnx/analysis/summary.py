"""The answer in a few numbers: which layers speak about the classes, how much is worth keeping."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from fnx.analysis.distributions import Sign
from fnx.analysis.run import Run


@dataclass(frozen=True)
class Kept:
    """One threshold: it and the mean number of features a class that it keeps."""

    sign: str
    threshold: float
    davg: float
    kept: float
    kept_random: float
    spread_random: float | None = None

    @property
    def noise_share(self) -> float:
        """Percent of the kept that random labels would have kept as well."""
        return 100 * min(self.kept_random / self.kept, 1.0) if self.kept else 0.0


@dataclass(frozen=True)
class Findings:
    """What a run says, before any figure."""

    n_features: int
    kept: tuple[Kept, ...]
    layers: pl.DataFrame
    """``layer``, ``kind``, ``features``, ``pct_kept``, ``pct_kept_random`` (both signs together),
    ``excess`` = their difference in percentage points; in the network's order."""

    @property
    def worth_keeping(self) -> float:
        """Mean number of features kept a class, by presence and by absence."""
        return sum(kept.kept for kept in self.kept)

    @property
    def expected_noise(self) -> float:
        """Mean number of features a class that random labels keep at the same thresholds."""
        return sum(kept.kept_random for kept in self.kept)

    @property
    def noise_share(self) -> float:
        """Percent of the kept features that random labels would have kept as well."""
        return (
            100 * min(self.expected_noise / self.worth_keeping, 1.0) if self.worth_keeping else 0.0
        )

    @property
    def below(self) -> float:
        """Percent of the features that, for a mean class, pass no threshold."""
        return 100 * max(0.0, 1 - self.worth_keeping / self.n_features)

    @property
    def signal(self) -> float:
        """Kept beyond noise, in percent of the features: near 0 where labels say nothing."""
        return 100 * (self.worth_keeping - self.expected_noise) / self.n_features

    def speaking(self, count: int = 3) -> pl.DataFrame:
        """The layers that keep most beyond random labels."""
        return self.layers.sort("excess", descending=True, maintain_order=True).head(count)

    def silent(self) -> pl.DataFrame:
        """The layer that keeps least beyond random labels."""
        return self.layers.sort("excess", maintain_order=True).head(1)


def findings(run: Run) -> Findings:
    """The answer of a run, from its tables alone."""
    kept = tuple(Kept(**row) for row in run.thresholds.rows(named=True))
    sizes = run.features.group_by("layer", maintain_order=True).agg(
        pl.col("kind").first(), pl.len().cast(pl.Int64).alias("features")
    )
    shares = run.layers.group_by("layer", maintain_order=True).agg(
        pl.col("pct_kept").sum(), pl.col("pct_kept_random").sum()
    )
    layers = sizes.join(shares, on="layer", how="left", maintain_order="left").with_columns(
        excess=pl.col("pct_kept") - pl.col("pct_kept_random")
    )
    return Findings(run.features.height, kept, layers)


def kept_by_class(run: Run) -> pl.DataFrame:
    """Return the features kept per class: ``class_id``, ``kept_plus``, ``kept_minus``.

    The latter is null for an unsigned statistic.
    """
    names: dict[Sign, str] = {"+": "kept_plus", "-": "kept_minus"}
    counts = {names[side.sign]: side.kept.sum(axis=0) for side in run.scan.sides}
    return run.classes.select(
        "class_id",
        *(
            pl.Series(name, counts.get(name), dtype=pl.Int64)
            if name in counts
            else pl.lit(None, dtype=pl.Int64).alias(name)
            for name in names.values()
        ),
    )
