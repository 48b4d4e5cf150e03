"""What W&B gets, counted again from the distances."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest
from tests.numbers.recount import Recount
from tests.numbers.runs import CONSTANT

from fnx.analysis import Run
from fnx.config.schema import LoggerConfig
from fnx.report import track


def metrics(counted: Recount) -> dict[str, Any]:
    """The scalars that a tracker gets."""
    record = json.loads((counted.folder / "run.json").read_text())
    found: dict[str, Any] = {k: v for k, v in counted.table3().items() if v is not None}
    found |= {
        "failed": 2, "constant": len(CONSTANT), "noise_share": counted.answer["noise_share"],
        "signal": counted.answer["signal"], "seconds/all": math.fsum(record["seconds"].values()),
    }  # fmt: skip
    for sign, name in zip(counted.signs, ("plus", "minus"), strict=False):
        for layer in counted.layers:
            for key, share in zip(("pct_kept", "pct_kept_random"), counted.share(layer, sign),
                                  strict=True):  # fmt: skip
                found[f"layers/{layer}/{key}_{name}"] = share
    return found


def test_wandb(counted: Recount, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held: dict[str, Any] = {}
    fake = SimpleNamespace(
        summary={}, offline=True, log=lambda values, step: held.update(values),
        finish=lambda exit_code: held.update(exit=exit_code),
    )  # fmt: skip
    monkeypatch.setattr("wandb.init", lambda **options: fake)
    folder = shutil.copytree(counted.folder, tmp_path / "run")
    track(Run.open(folder), LoggerConfig(name="wandb"))
    assert held["exit"] == 0
    told = {key: v for key, v in fake.summary.items() if isinstance(v, (int, float))}
    expected = metrics(counted)
    assert {key: told[key] for key in expected} == pytest.approx(expected)
    shown = {
        name: pl.DataFrame(value.data, schema=value.columns, orient="row")
        for name, value in held.items()
        if hasattr(value, "columns")
    }
    for name, sign in (("kept_plus", "+"), ("kept_minus", "-")):
        kept = counted.kept_by_class(sign).tolist() if sign in counted.signs else [None] * 7
        assert shown["classes"][name].to_list() == kept
    for name in ("thresholds", "davg", "layers"):
        table = pl.read_parquet(counted.folder / f"{name}.parquet")
        floats = [column for column, dtype in table.schema.items() if dtype.is_float()]
        finite = table.with_columns(
            pl.when(pl.col(column).is_finite()).then(pl.col(column)) for column in floats
        )
        assert shown[name].rows() == finite.rows()
    best = shown["top_features"].filter(class_id=4, sign="+")
    ranked = counted.ranked(counted.real[:, 4], "+")[:10]
    assert best["feature_id"].to_list() == ranked
    assert [f"{a}/{b}" for a, b in best.select("layer", "unit").rows()] == [
        counted.name(i) for i in ranked
    ]
    assert shown["table3"]["davg_plus"].to_list() == pytest.approx([counted.side("+")["davg"]])
