"""Tables 1 and 2: the network of a run, and its data set beside the paper's counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import polars as pl

from fnx.analysis import Run
from fnx.images.official import OFFICIAL
from fnx.utils.text import without_formulas

MAX_STAGES = 60  # stages of a network that Table 1 lists; a longer network is shown by its blocks


def condensed(network: pl.DataFrame, most: int = MAX_STAGES) -> pl.DataFrame:
    """Return the stages of a network or, where they are more than `most`, its blocks, with sums.

    Blocks are consecutive stages whose names begin alike ("layer1.0"), as short as needed.

    Returns:
        The columns of `fnx.analysis.Run.network` and ``stages``, how many a row stands for.
    """
    parts = pl.col("name").str.split(".")
    deepest = int(network.select(parts.list.len().max()).item() or 1)
    for depth in range(deepest, 0, -1):
        block = parts.list.head(depth).list.join(".")
        table = (
            network.with_columns(block=block.rle_id(), name=block)
            .group_by("block", maintain_order=True)
            .agg(
                pl.col("name").first(),
                pl.col("kind").last(),
                pl.when(pl.len() == 1).then(pl.col("filters").first()).alias("filters"),
                pl.col("parameters", "neurons", "features").sum(),
                pl.col("height", "width").last(),
                pl.when(pl.col("receptive_field").is_not_null().all())
                .then(pl.col("receptive_field").max())
                .alias("receptive_field"),
                stages=pl.len(),
            )
            .drop("block")
        )
        if table.height <= most:
            break
    return table


def write_csv(table: pl.DataFrame, path: Path) -> None:
    """Write a CSV file in which no text is a formula to a spreadsheet, as `fnx.utils.text.cell`."""
    without_formulas(table).write_csv(path)


def named_top_features(run: Run) -> pl.DataFrame:
    """Return the top features of each class with ``class_name``, ``layer`` and ``unit``.

    A run that is calibrated has ``calibrated_distance`` as well, features with names ``name``.
    """
    classes = run.classes.select("class_id", "class_name")
    features = run.features.select("feature_id", "layer", "unit", pl.col("^name$"))
    top = run.top_features
    if run.calibrated is not None:
        at = top["feature_id"].to_numpy(), top["class_id"].to_numpy()
        place = top.get_column_index("distance") + 1
        values = pl.Series("calibrated_distance", run.calibrated[at])
        top = top.clone().insert_column(place, values)
    top = top.join(classes, on="class_id", how="left", maintain_order="left")
    return top.join(features, on="feature_id", how="left", maintain_order="left")


def datasets_table(runs: Sequence[Run]) -> pl.DataFrame:
    """Return one row per data set: images that were used, classes, and images per class.

    Returns:
        ``dataset``; ``images``, ``classes``, ``smallest``, ``largest``, ``mean`` (images per
        class); the same with ``paper_`` before them, as Table 2 has them (null for other data sets;
        its mean is images over classes).
    """
    whole = dict.fromkeys(("images", "classes", "smallest", "largest"), pl.Int64())
    counts = whole | {"mean": pl.Float64()}
    schema = {"dataset": pl.String(), **counts, **{f"paper_{k}": v for k, v in counts.items()}}
    return pl.DataFrame([_row(run) for run in runs], schema=schema).unique(
        keep="first", maintain_order=True
    )


def _row(run: Run) -> dict[str, Any]:
    sizes = run.classes["n_images"]
    row: dict[str, Any] = {
        "dataset": run.dataset,
        "images": run.n_images,
        "classes": run.classes.height,
        "smallest": sizes.min(),
        "largest": sizes.max(),
        "mean": run.images_per_class,
    }
    official = OFFICIAL.get(str(run.record.setting("dataset.layout"))) or OFFICIAL.get(run.dataset)
    if official is not None:
        paper = asdict(official.published)
        paper["mean"] = paper["images"] / paper["classes"]
        row |= {f"paper_{name}": value for name, value in paper.items()}
    return row
