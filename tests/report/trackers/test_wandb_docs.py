"""What docs/wandb/ offers fits what a run tells W&B, and what the command line takes."""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from fnx.analysis import Run
from fnx.analysis.record import Extraction
from fnx.config.schema import Config
from fnx.report.trackers.track import metrics, tracked_config, tracked_tables

DOCS = Path(__file__).parents[3] / "docs" / "wandb"


@pytest.fixture(scope="module")
def dashboard() -> ModuleType:
    pytest.importorskip("wandb_workspaces", reason="the extra workspaces is not installed")
    spec = importlib.util.spec_from_file_location("workspace", DOCS / "workspace.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_workspace_asks_for_what_a_run_tells(dashboard: ModuleType, finished: Path) -> None:
    run = Run.open(finished)
    run = Run(finished, replace(run.record, extraction=Extraction(150, 60.0)))
    made = dashboard.workspace("me", "fnx", layers=("conv1_1", "fc6"), group="sweep-7")
    sent = made._to_model().model_dump_json(by_alias=True)
    told = metrics(run)
    asked = set(re.findall(r'"summary_metrics\.([^"]+)"|"summary:([^"]+)"', sent))
    names = {name or other for name, other in asked}
    assert {"davg_plus", "layers/fc6/pct_kept_minus", "images_per_second"} <= names
    # The synthetic run has no stage of the report.
    assert names - {"seconds/report"} <= set(told)
    options = set(re.findall(r'"config:([^".]+)', sent))
    assert options == {"dataset", "model", "statistic"}
    assert options <= set(tracked_config(run))
    view = json.loads(sent)
    sections = view["spec"]["section"]["panelBankConfig"]["sections"]
    panels = {section["name"]: section["panels"] for section in sections}
    assert list(panels)[:2] == ["What is worth keeping", "Layers"]
    shown = [json.dumps(panel) for panel in panels["Tables"]]
    tables = {name for name in tracked_tables(run) if any(f'"{name}"' in panel for panel in shown)}
    assert len(tables) == len(shown)
    figures = {key for panel in panels["Figures"] for key in panel["config"]["mediaKeys"]}
    assert figures <= {f"figures/{file.stem}" for file in (finished / "figures").glob("*.png")}


def test_every_trial_of_the_sweep_is_a_command_that_composes(
    compose: Callable[..., Config],
) -> None:
    sweep: dict[str, Any] = yaml.safe_load((DOCS / "sweep.yaml").read_text())
    words = sweep["command"]
    assert words[:4] == ["${env}", "python", "-m", "fnx"]
    assert words[-1] == "${args_no_hyphens}"
    for number in range(2):
        trial = {
            name: values["values"][number % len(values["values"])]
            for name, values in sweep["parameters"].items()
        }
        config = compose(*words[4:-1], *(f"{name}={value}" for name, value in trial.items()))
        assert config.logger.mode == "online"
        assert config.seed == trial["seed"]
        assert config.statistic["name"] == trial["statistic"]
        assert config.threshold["permutations"] == trial["threshold.permutations"]
