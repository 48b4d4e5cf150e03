"""The advice of several runs side by side: which network, and which layer of it, for the data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

from fnx.analysis.comparison.shared import same_data
from fnx.analysis.run import Run
from fnx.errors import DataError

PROBE_COLUMNS: dict[str, Any] = {
    **dict.fromkeys(("run", "dataset", "model", "entry"), pl.String()),
    "recommended": pl.Boolean(),
    "features": pl.Int64(),
    **dict.fromkeys(("accuracy", "standard_error", "chance", "untrained"), pl.Float64()),
    **{"measure": pl.String(), "rows": pl.Int64(), "group": pl.Int64(), "note": pl.String()},
}
DEPTH_COLUMNS: dict[str, Any] = {
    **dict.fromkeys(("run", "dataset", "model", "entry", "kind"), pl.String()),
    **{"relative_depth": pl.Float64(), "features": pl.Int64()},
    **dict.fromkeys(("accuracy", "standard_error", "chance"), pl.Float64()),
    **{"recommended": pl.Boolean(), "measure": pl.String(), "group": pl.Int64()},
}


def probes(runs: Sequence[Run], labels: Sequence[str]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Put the advice of some runs side by side.

    Args:
        runs: with or without advice.
        labels: what each is called in the tables.

    Returns:
        One row per run: the ``entry`` that its advice recommends or, where it recommends none, the
        most accurate one (``recommended`` is then false); the ``features`` it has; ``accuracy``,
        ``standard_error``, ``chance``, ``untrained``, ``measure`` and ``rows`` of the advice;
        ``group``, the same number for runs of one data set; ``note``, why there is none of this.

        One row per run and entry of its advice: ``entry``, ``kind``, ``relative_depth`` from 0, the
        first layer, to 1, the last one (null for entries of several layers), ``features``,
        ``accuracy``, ``standard_error``, ``chance``, ``recommended``, ``measure``, ``group``.
    """
    rows, depths = [], [pl.DataFrame(schema=DEPTH_COLUMNS)]
    for place, (run, label) in enumerate(zip(runs, labels, strict=True)):
        group = next(i for i, other in enumerate(runs) if i == place or same_data(other, run))
        row: dict[str, Any] = {"run": label, "dataset": run.dataset, "model": run.model}
        try:
            advice = run.advice
            note = f"no advice: python -m fnx advise {run.path}"
        except DataError as error:
            advice, note = None, str(error)
        if advice is None:
            rows.append(row | {"group": group, "note": note})
            continue
        shared = {"chance": advice.chance, "measure": advice.measure, "group": group}
        used = advice.advised or advice.best
        names = ("entry", "recommended", "features", "accuracy", "standard_error")
        more = {"untrained": advice.untrained, "rows": advice.rows, "note": ""}
        rows.append(row | {name: used[name] for name in names} | shared | more)
        last = pl.col("depth").max()
        depth = pl.when(last == 0).then(pl.col("depth") + 1.0).otherwise(pl.col("depth") / last)
        known = (pl.lit(value).alias(name) for name, value in (row | shared).items())
        table = advice.table.with_columns(*known, relative_depth=depth)
        columns = [pl.col(name).cast(kind) for name, kind in DEPTH_COLUMNS.items()]
        depths.append(table.select(columns))
    return pl.DataFrame(rows, schema=PROBE_COLUMNS), pl.concat(depths)


def best_networks(table: pl.DataFrame) -> list[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """Return, for each data set of several advised runs, the best one and those as good as it.

    A run is as good if its accuracy is no more than one standard error of the best one below it.
    Runs of which no layer is better than chance do not take part.

    Args:
        table: the first one of `probes`.
    """
    found = []
    advised = table.filter("recommended").sort("accuracy", descending=True, maintain_order=True)
    for _, rows in advised.group_by("group", "measure", maintain_order=True):
        compared = table.filter(group=rows["group"][0], measure=rows["measure"][0])
        if compared.height < 2:
            continue
        best, *others = rows.rows(named=True)
        least = best["accuracy"] - best["standard_error"]
        found.append((best, [row for row in others if row["accuracy"] >= least]))
    return found
