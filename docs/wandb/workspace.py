"""Makes the W&B workspace that docs/wandb.md describes: python docs/wandb/workspace.py --entity ME.

Needs a W&B account (`wandb login`) and `pip install 'fnx-features[workspaces]'`.
"""

from __future__ import annotations

import argparse
from typing import Any

from wandb_workspaces import workspaces as ws
from wandb_workspaces.reports.v2 import interface as wr

NUMBERS = ("t_plus", "t_minus", "davg_plus", "davg_minus", "kept_plus", "kept_minus", "noise_share")
"""Scalars of a run that stand as columns beside its name."""


def workspace(
    entity: str, project: str, *, layers: tuple[str, ...] = (), group: str | None = None
) -> ws.Workspace:
    """The dashboard of a project's runs; nothing is sent before its `save()`.

    Args:
        entity: W&B user or team.
        project: W&B project, `logger.project`.
        layers: layers whose shares are drawn side by side, in this order.
        group: show the runs of one sweep only.
    """
    sections = [
        ws.Section(name="What is worth keeping", panels=_answer(), is_open=True),
        ws.Section(name="Tables", panels=_tables(), is_open=True),
        ws.Section(name="Figures", panels=_figures()),
        ws.Section(name="Time", panels=_time()),
    ]
    if layers:
        sections.insert(
            1, ws.Section(name="Layers", panels=[_layers(layers, s) for s in ("plus", "minus")])
        )
    filters = [ws.Metric("JobType") != "compare"]
    if group:
        filters.append(ws.Metric("Group") == group)
    return ws.Workspace(
        entity=entity,
        project=project,
        name="fnx",
        sections=sections,
        settings=ws.WorkspaceSettings(sort_panels_alphabetically=False, max_runs=100),
        runset_settings=ws.RunsetSettings(
            filters=ws.And(*filters),
            order=[ws.Ordering(ws.Summary("images_per_class"), ascending=True)],
            pinned_columns=[
                "run:displayName",
                "config:dataset",
                "config:model",
                "config:statistic",
                *(f"summary:{name}" for name in NUMBERS),
            ],
        ),
    )


def _bars(title: str, metrics: list[str], unit: str) -> wr.BarPlot:
    return wr.BarPlot(
        title=title,
        metrics=[wr.SummaryMetric(name) for name in metrics],
        title_x=unit,
        max_runs_to_show=100,
        orientation="h",
    )


def _answer() -> list[Any]:
    fits = [
        wr.ScatterPlot(
            title=f"t{mark} against images per class (Table 3)",
            x=wr.SummaryMetric("images_per_class"),
            y=wr.SummaryMetric(f"t_{name}"),
            log_x=True,
        )
        for mark, name in (("+", "plus"), ("-", "minus"))
    ]
    return [
        *fits,
        _bars("Kept by presence", ["kept_plus", "kept_random_plus"], "features per class"),
        _bars("Kept by absence", ["kept_minus", "kept_random_minus"], "features per class"),
        _bars("Share of the kept that is chance", ["noise_share"], "percent"),
        wr.ParallelCoordinatesPlot(
            title="Options and what they keep",
            columns=[
                *(
                    wr.ParallelCoordinatesPlotColumn(metric=wr.Config(option))
                    for option in ("dataset", "model", "statistic")
                ),
                wr.ParallelCoordinatesPlotColumn(metric=wr.SummaryMetric("davg_plus")),
                wr.ParallelCoordinatesPlotColumn(metric=wr.SummaryMetric("davg_minus")),
            ],
        ),
    ]


def _layers(layers: tuple[str, ...], sign: str) -> wr.BarPlot:
    how = {"plus": "presence", "minus": "absence"}[sign]
    metrics = [f"layers/{layer}/pct_kept_{sign}" for layer in layers]
    return _bars(f"Pairs kept by {how} (Fig. 10)", metrics, "percent of the layer's pairs")


def _tables() -> list[Any]:
    names = ("table3", "top_features", "classes", "layers", "thresholds")
    return [wr.WeavePanelSummaryTable(table_name=name) for name in names]


def _figures() -> list[Any]:
    names = ("fig05_layers", "fig06_distribution", "fig09_presence", "fig09_absence", "fig10_kept")
    return [
        wr.MediaBrowser(title=name, media_keys=[f"figures/{name}"], num_columns=3) for name in names
    ]


def _time() -> list[Any]:
    return [
        _bars("Extraction", ["images_per_second"], "images per second"),
        _bars("Stages", [f"seconds/{s}" for s in ("embedding", "distances", "report")], "seconds"),
    ]


def main() -> None:
    """Save the workspace and say where it is."""
    parser = argparse.ArgumentParser(description="Make fnx's workspace in a W&B project.")
    parser.add_argument("--entity", required=True, help="W&B user or team")
    parser.add_argument("--project", default="fnx", help="as logger.project (default: fnx)")
    parser.add_argument("--group", help="only the runs of one sweep")
    parser.add_argument("--layers", nargs="*", default=[], help="layers to compare, as conv4_3")
    options = parser.parse_args()
    made = workspace(
        options.entity, options.project, layers=tuple(options.layers), group=options.group
    )
    made.save()  # type: ignore[no-untyped-call]
    print(made.url)


if __name__ == "__main__":
    main()
