"""Top rows: those of an array with the highest values of each feature, by their text or name."""

from __future__ import annotations

import polars as pl

from fnx.analysis import Run
from fnx.analysis.labelling import used
from fnx.embedding import Embedding
from fnx.report.pictures.top_images import rank

LONGEST = 300  # characters of a text


def write_top_rows(run: Run, embedding: Embedding, count: int) -> pl.DataFrame:
    """Write ``top_images.parquet`` of a run without images, and return it.

    Returns:
        One row per feature and rank: ``feature_id``, ``rank`` (from 1), ``image_id``,
        ``activation`` (the value), ``path`` (the row's text where there is one, else its name),
        ``class_name``, ``dataset``.
    """
    rows = used(embedding.images).with_row_index("row")
    shown = "text" if "text" in rows.columns else "path"
    rows = rows.select(
        pl.col("row").cast(pl.Int64),
        "image_id",
        pl.col(shown).str.slice(0, LONGEST).alias("path"),
        "class_name",
    )
    table = rank(embedding, rows["row"].to_numpy(), count)
    table = table.join(rows, on="row", maintain_order="left").drop("row")
    table = table.with_columns(dataset=pl.lit(run.dataset)).select(
        "feature_id", "rank", "image_id", "activation", "path", "class_name", "dataset"
    )
    table.write_parquet(run.path / "top_images.parquet")
    return table
