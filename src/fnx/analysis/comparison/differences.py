"""Settings in which runs differ: keys of their configurations, versions and weights."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from fnx.analysis.run import Run

IGNORED = ("paths", "logger", "hydra")
"""Parts of a configuration that only say where results lie."""

KEY = "key"


def flattened(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten nested mappings into one, with dots between the keys.

    >>> flattened({"model": {"tap": "post", "weights": {"path": None}}, "seed": 0})
    {'model.tap': 'post', 'model.weights.path': None, 'seed': 0}
    """
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            flat |= flattened(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def settings(run: Run) -> dict[str, str]:
    """Return a run's configuration, versions and weights as text, without where its files lie."""
    config = {key: value for key, value in run.record.config.items() if key not in IGNORED}
    made_with = {
        "weights digest": run.record.weights_digest,
        "fnx version": run.record.fnx_version,
        "version": run.record.versions,
    }
    return {
        key: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for key, value in (flattened(config) | flattened(made_with)).items()
    }


def config_differences(runs: Sequence[Run], labels: Sequence[str]) -> pl.DataFrame:
    """Return the settings in which some runs differ.

    Args:
        runs: at least one.
        labels: the name of each run's column, all different.

    Returns:
        ``key`` and a column a run: the value as text (``null`` for none), null where a run has no
        such key. No rows if nothing differs.
    """
    found = [settings(run) for run in runs]
    keys = list(dict.fromkeys(key for one in found for key in one))
    differing = [key for key in keys if len({one.get(key) for one in found}) > 1]
    columns = {
        f"{label} (run)" if label == KEY else label: [one.get(key) for key in differing]
        for label, one in zip(labels, found, strict=True)
    }
    return pl.DataFrame(
        {KEY: differing} | columns, schema=dict.fromkeys((KEY, *columns), pl.String())
    )
