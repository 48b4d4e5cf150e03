"""What of a run can be shown: its answer, a class, a feature or a layer; as text, JSON, picture."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from rich.console import RenderableType

from fnx.analysis import Run, profiles
from fnx.analysis.labelling import labelling
from fnx.analysis.lookup import find_class, find_feature, find_layer
from fnx.analysis.summary import summarize
from fnx.errors import DataError
from fnx.report.terminal import show
from fnx.report.values import Values, feature_values, open_embedding

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from fnx.analysis.contrast import Contrast


_NOTHING = (None, None, False)


@dataclass(frozen=True)
class Subject:
    """Something of a run that is shown: `told` is what JSON holds of it."""

    name: str
    text: Iterable[RenderableType]
    told: Any
    draw: Callable[[], Figure]

    @property
    def file_name(self) -> str:
        """A file's name without its suffix, made of the subject's."""
        return re.sub(r"[^\w.-]+", "_", f"fnx-{self.name}")[:100]

    def save_picture(self, path: Path) -> None:
        """Draw it as a .png, .svg or .pdf."""
        from fnx.report.figures import style

        with style.style():
            style.save(self.draw(), path.with_suffix(""), [path.suffix.lower()[1:]])


def subject(
    run: Run,
    *,
    class_name: str | None = None,
    against: str | None = None,
    feature: str | None = None,
    layer: str | None = None,
    top: int = 10,
    every_class: bool = False,
    detectors: bool = False,
) -> Subject:
    """Find what is to be shown of a run; its answer, if nothing is named.

    The arguments are those of `fnx.report.notebook.Run.show`.

    Raises:
        DataError: the run has no such class, feature or layer; a class against itself.
    """
    if against is not None and (class_name is None or (feature, layer, detectors) != _NOTHING):
        raise DataError("--against sets a class against another: it needs --class NAME, and alone")
    source = f"{run.dataset}-{run.model}-{run.statistic}"
    if feature is not None:
        return _feature(run, source, feature, class_name, every_class=every_class)
    if layer is not None:
        of_layer = profiles.layer_profile(run, find_layer(run, layer), top)
        return Subject(
            f"{source}-{of_layer.layer}",
            show.show_layer(run, of_layer),
            _jsonable(asdict(of_layer)),
            lambda: _figures().draw_layer(run, of_layer),
        )
    if class_name is not None and against is not None:
        return _contrast(run, source, class_name, against, top)
    if class_name is not None:
        of_class = profiles.class_profile(run, find_class(run, class_name), top)
        return Subject(
            f"{source}-{of_class.name}",
            show.show_class(run, of_class),
            _jsonable(asdict(of_class)),
            lambda: _figures().draw_class(run, of_class),
        )
    if detectors:
        if not run.has("detectors"):
            raise DataError(f"{run.path} has no detectors: it was made by an older version")
        return Subject(
            f"{source}-detectors",
            show.show_detectors(run),
            _jsonable(run.detectors),
            lambda: _figures().draw_run(run),
        )
    record = asdict(run.record)
    told = {
        **{key: record[key] for key in ("dataset", "model", "statistic", "counts", "seconds")},
        "run": str(run.path),
        "thresholds": run.thresholds,
        "layers": summarize(run).layers,
    }
    return Subject(source, show.show_run(run), _jsonable(told), lambda: _figures().draw_run(run))


def _contrast(run: Run, source: str, class_name: str, against: str, top: int) -> Subject:
    from fnx.analysis.contrast import contrast  # imports Numba, which the others need not
    from fnx.report.terminal.contrast import show_contrast

    ids = find_class(run, class_name), find_class(run, against)
    features: Any
    try:
        embedding = open_embedding(run)
        labels, features = embedding.labelling, embedding.features
    except DataError as error:  # what the run itself holds is there without the embedding
        labels, features = labelling(run.images), str(error)
    found = contrast(run, labels, *ids, features, top)
    return Subject(
        f"{source}-{found.name}-against-{found.against}",
        show_contrast(run, found),
        _jsonable(asdict(found)),
        lambda: _draw_contrast(run, found),
    )


def _draw_contrast(run: Run, found: Contrast) -> Figure:
    from fnx.report.figures.contrast import draw

    return draw(run, found)


def _feature(
    run: Run, source: str, feature: str, class_name: str | None, *, every_class: bool
) -> Subject:
    profile = profiles.feature_profile(run, find_feature(run, feature))
    if class_name is not None:
        class_id = find_class(run, class_name)
    else:  # the class that it says most about
        most = (profile.classes["distance"] - run.neutral).abs().arg_max()
        class_id = int(profile.classes["class_id"][most or 0])
    values: Values | str
    try:
        values = feature_values(run, profile.feature_id, class_id)
    except DataError as error:  # the rest is there without the embedding
        values = str(error)
    told = asdict(profile) | {"values": asdict(values) if isinstance(values, Values) else None}
    return Subject(
        f"{source}-{profile.layer}-{profile.unit}",
        show.show_feature(run, profile, values, every_class=every_class),
        _jsonable(told),
        lambda: _figures().draw_feature(run, profile, values),
    )


def _figures() -> Any:
    """Import Matplotlib, which takes a second, only where something is drawn."""
    from fnx.report.figures import profiles as figures

    return figures


def _jsonable(value: Any) -> Any:
    """Turn tables into lists of rows, arrays into lists, and infinities into text."""
    if isinstance(value, pl.DataFrame):
        return _jsonable(value.to_dicts())
    if isinstance(value, np.ndarray):
        return _jsonable(value.tolist())
    if isinstance(value, dict):
        return {key: _jsonable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_jsonable(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    return value
