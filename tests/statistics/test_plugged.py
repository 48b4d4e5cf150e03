"""Statistics of others inside the all-pairs loop: on histograms and samples, compiled and not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fnx
from fnx import registry
from fnx.errors import ConfigError, PluginError
from fnx.statistics.definitions import ks, ks_exact


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    registry.discover()
    monkeypatch.setattr(registry, "_ENTRIES", {k: dict(v) for k, v in registry._ENTRIES.items()})


RNG = np.random.default_rng(0)
LABELS = np.arange(60) % 4
VALUES = (RNG.normal(size=(60, 70)) + 0.3 * LABELS[:, None]).astype(np.float32)
VALUES[:, 5] = 1


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_definition_as_a_plugin_gives_what_the_kernel_gives(compiled: bool, dtype: Any) -> None:
    fnx.statistic("ks_plug", range=(-1, 1), compiled=compiled)(ks)
    fnx.statistic("exact_plug", range=(-1, 1), on="samples", compiled=compiled)(ks_exact)
    for plug, own in (("ks_plug", "ks"), ("exact_plug", "ks_exact")):
        np.testing.assert_allclose(
            fnx.distances(VALUES.astype(dtype), LABELS, statistic=plug),
            fnx.distances(VALUES.astype(dtype), LABELS, statistic=own),
            atol=1e-6,
        )


def test_parameters_reach_the_function() -> None:
    @fnx.statistic("shifted", range=(0, 100))
    def shifted(inner, outer, shift: float = 1.0, times: int = 2, mode: str = "add"):  # type: ignore[no-untyped-def]
        return shift * times if mode == "add" else shift

    one = VALUES[:, :1]
    assert fnx.distances(one, LABELS, statistic="shifted")[0, 0] == 2
    assert fnx.distances(one, LABELS, statistic="shifted", shift=4, times=3)[0, 0] == 12
    assert fnx.distances(one, LABELS, statistic="shifted", mode="as it is")[0, 0] == 1


def test_what_numba_cannot_compile_is_refused_with_a_way_out() -> None:
    @fnx.statistic("cannot", range=(0, 1))
    def cannot(inner, outer):  # type: ignore[no-untyped-def]
        return [print, inner][0]("x")

    with pytest.raises(PluginError, match=r"'cannot' .*compiled: .*compiled=False") as caught:
        fnx.distances(VALUES, LABELS, statistic="cannot")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [np.nan, 1.5, -0.5, np.inf])
def test_values_outside_the_declared_range_name_the_plugin(value: float) -> None:
    @fnx.statistic("liar", range=(0, 1))
    def liar(inner, outer):  # type: ignore[no-untyped-def]
        return value

    with pytest.raises(PluginError, match=r"'liar' .* for feature 0 and class 0"):
        fnx.distances(VALUES, LABELS, statistic="liar")


def test_only_ks_has_an_exact_form() -> None:
    @fnx.statistic("on_bins", range=(0, 1))
    def on_bins(inner, outer):  # type: ignore[no-untyped-def]
        return 0.0

    with pytest.raises(ConfigError, match="must be int"):
        fnx.distances(VALUES, LABELS, statistic="on_bins", bins=None)
