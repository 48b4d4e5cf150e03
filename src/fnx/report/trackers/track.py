"""Hands a finished run to the configured tracker: options, scalars, tables, figures, embedding."""

from __future__ import annotations

import dataclasses
import json
import logging
import math
from itertools import islice
from typing import Any

import polars as pl

from fnx.analysis import Run
from fnx.analysis.advice import Advice
from fnx.analysis.comparison.table3 import table3, table3_row
from fnx.analysis.summary import kept_by_class, summarize
from fnx.config.schema import LoggerConfig
from fnx.report.pictures.paths import sprite_path
from fnx.report.tables import named_top_features
from fnx.report.trackers.open import open_tracker
from fnx.report.trackers.tracker import PICTURE, StoredEmbedding
from fnx.utils.redact import redacted

log = logging.getLogger(__name__)

MAX_PICTURES = 200  # features whose pictures are handed on: the top feature of each class first

MAX_ROWS = 10_000
"""Rows of the table of top features; a W&B table has no more. The run's own has them all."""

OPTIONS = ("model", "crops", "statistic", "threshold", "engine")


def track(run: Run, config: LoggerConfig, *, sweep: str | None = None) -> None:
    """Hand a finished run's numbers, tables and figures to the configured tracker.

    A tracker that fails does not harm a finished run: the reason is logged as a warning. What W&B's
    server did not take is kept offline, for `wandb sync`.
    """
    try:
        _track(run, config, sweep)
    except Exception as error:
        reason = redacted((str(error) or type(error).__name__).splitlines()[0])
        log.warning("logger=%s failed, the run's folder is complete: %s", config.name, reason)
        if config.name == "wandb" and config.mode == "online":
            log.warning("kept offline instead; later: wandb sync %s/wandb/offline-run-*", run.path)
            track(run, dataclasses.replace(config, mode="offline"), sweep=sweep)


def _track(run: Run, config: LoggerConfig, sweep: str | None) -> None:
    tags = [run.dataset, run.model, run.statistic]
    tracker = open_tracker(
        config,
        run.path,
        run_config=tracked_config(run),
        name="-".join(tags),
        # The stage where the run's work began: W&B groups runs by it.
        job_type="distances" if run.record.embedding_reused else "embedding",
        group=sweep,
        tags=tags,
    )
    try:
        tracker.log_summary(metrics(run))
        for name, table in tracked_tables(run).items():
            tracker.log_table(name, table)
        for path in sorted((run.path / "figures").glob("*.png")):
            tracker.log_figure(f"figures/{path.stem}", path)
        embedding = stored_embedding(run)
        if embedding is not None:
            tracker.log_embedding(embedding)
    except BaseException:
        tracker.close(failed=True)
        raise
    tracker.close()


def tracked_config(run: Run) -> dict[str, Any]:
    """Return what a run was made with, without secrets.

    The top level holds the options as on the command line, ``statistic: ks``: a W&B sweep writes
    its own parameters under the same names, so that runs of a sweep and others line up. The whole
    configuration is under ``settings``.
    """
    settings = run.record.config
    chosen = {
        option: settings[option]["name"]
        for option in OPTIONS
        if isinstance(settings.get(option), dict) and "name" in settings[option]
    }
    recorded = ("seed", "tap", "fingerprint", "weights_digest", "fnx_version", "versions")
    config: dict[str, Any] = redacted(
        {
            "dataset": run.dataset,
            **{"model": run.model, "statistic": run.statistic} | chosen,
            **{key: getattr(run.record, key) for key in recorded},
            "settings": settings,
        }
    )
    return config


def metrics(run: Run) -> dict[str, float | int | str | bool]:
    """Return a run's scalars: sizes, thresholds with what they keep, layers' shares, times.

    ``layers/<layer>/pct_kept_plus`` and the like are percent of the layer's (feature, class) pairs,
    ``mode_plus`` and ``calibrated_mode_plus`` the modes of Fig 5, where the layer has one, and
    ``accuracy`` that of its probe; ``advice/layer`` is the layer to use, with its accuracy;
    ``noise_share`` is the percentage of kept features that random labels keep as well,
    ``images_per_second`` the speed of the extraction where this run did it.
    """
    row = {key: value for key, value in table3_row(run).items() if value is not None}
    found = summarize(run)
    row |= {
        "failed": run.failed.height,
        "constant": int(run.features["constant"].sum()),
        "noise_share": found.noise_share,
        "signal": found.signal,
        "embedding_reused": run.record.embedding_reused,
    }
    for layer in run.layers.rows(named=True):
        sign = "plus" if layer["sign"] == "+" else "minus"
        for share in ("pct_kept", "pct_kept_random"):
            row[f"layers/{layer['layer']}/{share}_{sign}"] = layer[share]
        for mode in ("mode", "calibrated_mode"):
            if layer.get(mode) is not None:
                row[f"layers/{layer['layer']}/{mode}_{sign}"] = layer[mode]
    row |= _advice_metrics(run.advice)
    seconds = run.record.seconds
    row |= {f"seconds/{stage}": value for stage, value in seconds.items()}
    row["seconds/all"] = math.fsum(seconds.values())
    extraction = run.record.extraction
    if extraction and extraction.images and extraction.seconds:
        row["images_per_second"] = extraction.images / extraction.seconds
    return row


def _advice_metrics(advice: Advice | None) -> dict[str, float | int | str | bool]:
    """Return which layer to use, how good it is, and the accuracy of every layer."""
    if advice is None:
        return {}
    layers = advice.table.filter(kind="layer")
    row: dict[str, float | int | str | bool] = {
        f"layers/{layer}/accuracy": accuracy
        for layer, accuracy in layers.select("entry", "accuracy").iter_rows()
    }
    row |= {"advice/layer": advice.recommended or "none", "advice/chance": advice.chance}
    row["advice/last_layer_accuracy"] = layers["accuracy"][-1]
    if advice.advised is not None:
        row["advice/accuracy"] = advice.advised["accuracy"]
        row["advice/standard_error"] = advice.advised["standard_error"]
    return row


def tracked_tables(run: Run) -> dict[str, pl.DataFrame]:
    """Return the tables that are compared across runs; features and classes by their names."""
    return {
        "table3": table3([run]),
        "thresholds": run.thresholds,
        "davg": run.davg,
        "layers": run.layers,
        "classes": run.classes.join(kept_by_class(run), on="class_id", maintain_order="left"),
        "top_features": _top_features(run),
        **({} if run.advice is None else {"advice": run.advice.table}),
    }


def _top_features(run: Run) -> pl.DataFrame:
    """Return the top features of each class, with the path of their picture where there is one."""
    ranks = max(1, MAX_ROWS // (2 * run.classes.height))
    top = named_top_features(run).filter(pl.col("rank") <= ranks).head(MAX_ROWS)
    # Every class gets its first before any gets its second.
    candidates = top.sort("rank", maintain_order=True).unique("feature_id", maintain_order=True)
    pictures = (
        (feature, path.relative_to(run.path).as_posix())
        for feature, layer, unit in candidates.select("feature_id", "layer", "unit").iter_rows()
        if (path := sprite_path(run.path, layer, unit)).is_file()
    )
    shown = pl.DataFrame(
        list(islice(pictures, MAX_PICTURES)),
        schema={"feature_id": pl.Int64, PICTURE: pl.String},
        orient="row",
    )
    return top.join(shown, on="feature_id", how="left", maintain_order="left")


def stored_embedding(run: Run) -> StoredEmbedding | None:
    """Return the run's embedding, None if it is no longer there."""
    path = run.embedding_path
    if path is None:
        return None
    manifest = json.loads((path / "manifest.json").read_text(encoding="utf-8"))
    described = {key: manifest.get(key) for key in ("rows", "features", "format", "inputs")}
    return StoredEmbedding(
        path.resolve(),
        run.record.fingerprint,
        redacted({"dataset": run.dataset, "model": run.model, **described}),
        reused=run.record.embedding_reused,
    )
