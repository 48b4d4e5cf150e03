"""What every feature of a network says about every class: by presence, by absence, or noise.

The public Python API; nothing heavy is imported until it is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fnx import sklearn as sklearn
    from fnx.analysis.adviser import advise as advise
    from fnx.analysis.comparison.cka import cka as cka
    from fnx.analysis.detectors import detectors as detectors
    from fnx.commands.report import redraw as redraw
    from fnx.commands.run import analyze as analyze
    from fnx.commands.run import run as run
    from fnx.embedding import Embedding as Embedding
    from fnx.embedding.export import export as export
    from fnx.embedding.new_images import embed as embed
    from fnx.registry import backbone as backbone
    from fnx.registry import statistic as statistic
    from fnx.registry import threshold as threshold
    from fnx.report.notebook import Run as Run
    from fnx.statistics.api import distances as distances
    from fnx.statistics.calibration import calibrate as calibrate
    from fnx.statistics.null import Null as Null
    from fnx.statistics.null import null as null
    from fnx.thresholds import find_thresholds as find_thresholds

    __version__: str

_HOMES = {
    "advise": "fnx.analysis.adviser",
    "analyze": "fnx.commands.run",
    "Embedding": "fnx.embedding",
    "Null": "fnx.statistics.null",
    "Run": "fnx.report.notebook",
    "backbone": "fnx.registry",
    "calibrate": "fnx.statistics.calibration",
    "cka": "fnx.analysis.comparison.cka",
    "detectors": "fnx.analysis.detectors",
    "distances": "fnx.statistics.api",
    "embed": "fnx.embedding.new_images",
    "export": "fnx.embedding.export",
    "find_thresholds": "fnx.thresholds",
    "null": "fnx.statistics.null",
    "redraw": "fnx.commands.report",
    "run": "fnx.commands.run",
    "statistic": "fnx.registry",
    "threshold": "fnx.registry",
}
_MODULES = ("sklearn",)
__all__ = ["__version__", *_HOMES, *_MODULES]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from fnx.utils.version import fnx_version

        return fnx_version()
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    if name in _MODULES:
        return import_module(f"fnx.{name}")
    raise AttributeError(f"module 'fnx' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
