from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest

from fnx.analysis.record import Kept
from fnx.analysis.summary import Summary
from fnx.report.verdict import traces, verdict


def found(signal: float) -> Summary:
    return Summary(100, {"+": Kept(0.5, signal, 10 + signal, 10.0)}, pl.DataFrame())


def advice(accuracy: float = 0.9, untrained: float | None = None, **more: Any) -> Any:
    row = {"entry": "conv5", "accuracy": accuracy, "standard_error": 0.02}
    given = {"advised": row, "chance": 0.1, "measure": "accuracy", "untrained": untrained}
    return SimpleNamespace(**given | more)


@pytest.mark.parametrize(
    ("signal", "word"),
    [
        (25.0, "clear"),
        (24.99, "noticeable"),
        (8.0, "noticeable"),
        (7.99, "faint"),
        (2.0, "faint"),
        (1.99, None),
        (-3.0, None),
    ],
)
def test_a_word_says_what_traces_classes_leave(signal: float, word: str | None) -> None:
    assert traces(found(signal)) == word
    told, caution = verdict(found(signal))
    assert told.startswith(f"These classes leave {word or 'hardly more'} traces")
    assert ("untrained networks show traces too" in caution) == (word is not None)


def test_accuracy_is_compared_with_chance_and_an_untrained_network() -> None:
    beyond = (
        "A linear probe of conv5 tells these classes apart with 90 % accuracy; chance gives 10 %"
    )
    assert verdict(found(60), advice()) == (f"{beyond}.", "")
    assert verdict(found(60), advice(untrained=0.859)) == (
        f"{beyond}, an untrained network 86 %.",
        "",
    )
    told, caution = verdict(found(60), advice(untrained=0.861))  # within two standard errors
    assert told == f"{beyond}."
    assert caution.startswith("An untrained network of the same architecture reaches 86 %")
    assert verdict(found(60), advice(advised=None)) == (
        "No layer tells these classes apart better than chance (10 %).",
        "",
    )
