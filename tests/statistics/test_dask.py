"""The statistic on a Dask cluster: the same bits, wherever the columns lie and whoever dies."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from fnx.errors import ConfigError, DataError
from fnx.registry import load_folder, load_installed, statistics
from fnx.statistics import dask as on_dask
from fnx.statistics import engine
from fnx.statistics.permutations import permutations

distributed = pytest.importorskip("distributed")
load_installed()

N, F, C = 200, 640, 5  # ten blocks


@pytest.fixture(scope="module")
def features() -> Any:
    return np.maximum(np.random.default_rng(0).normal(size=(N, F)), 0).astype(np.float32)


@pytest.fixture(scope="module")
def labellings() -> Any:
    labels = (np.arange(N) % C).astype(np.int32)
    return np.stack([labels, *permutations(labels, 2, seed=1)])


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    with distributed.LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        dashboard_address=":0",
        memory_limit=0,
        silence_logs=logging.CRITICAL,
    ) as cluster:
        yield cluster


def test_every_kind_of_array_gives_what_the_engine_gives_to_the_bit(
    cluster: Any, features: Any, labellings: Any, tmp_path: Path
) -> None:
    np.save(tmp_path / "c.npy", features)
    np.save(tmp_path / "f.npy", np.asfortranarray(features))
    stored = zarr.create_array(tmp_path / "v.zarr", shape=(N, F), dtype="f4", chunks=(N, 64))
    stored[:] = features
    mapped = np.load(tmp_path / "c.npy", mmap_mode="r")
    ks = statistics.get("ks")
    expected = engine.all_distances(features, labellings, C, ks, {"bins": 50})
    for same in (
        features,
        stored,
        mapped,
        np.load(tmp_path / "f.npy", mmap_mode="r"),
        mapped[:, ::1][::1],
    ):
        found = on_dask.all_distances(
            same, labellings, C, ks, {"bins": 50}, address=cluster.scheduler_address
        )
        np.testing.assert_array_equal(found.values, expected.values)
    part = on_dask.all_distances(
        mapped[:, 30:90], labellings, C, ks, {"bins": 50}, address=cluster.scheduler_address
    )
    np.testing.assert_array_equal(part.values, expected.values[:, 30:90])


def test_a_worker_that_is_killed_changes_nothing(
    cluster: Any, features: Any, labellings: Any, tmp_path: Path
) -> None:
    stored = zarr.create_array(tmp_path / "v.zarr", shape=(N, F), dtype="f4", chunks=(N, 64))
    stored[:] = features
    with distributed.Client(cluster, set_as_default=False) as client:
        before = client.run(os.getpid)
    steps: list[int] = []

    def progress(count: int) -> None:
        if not steps:
            os.kill(next(iter(before.values())), signal.SIGKILL)
        steps.append(count)

    exact = statistics.get("ks_exact")
    out = np.full((3, F, C), np.nan, dtype=np.float32)
    found = on_dask.all_distances(
        stored,
        labellings,
        C,
        exact,
        out=out,
        address=cluster.scheduler_address,
        progress=progress,
    )
    expected = engine.all_distances(features, labellings, C, exact)
    np.testing.assert_array_equal(out, expected.values)
    np.testing.assert_array_equal(found.constant, expected.constant)
    assert sum(steps) == F
    with distributed.Client(cluster, set_as_default=False) as client:
        client.wait_for_workers(2)
        after = client.run(os.getpid)
    assert set(before.values()) != set(after.values())  # it did die


def test_a_cluster_of_its_own_runs_a_plugin_that_only_the_caller_has(
    features: Any, labellings: Any, tmp_path: Path, restored_registry: None
) -> None:
    (tmp_path / "dask_plugin_of_a_test.py").write_text(
        "from fnx import statistic\n"
        "FACTOR = 0.5\n\n"
        "def helper(x):\n    return FACTOR * x\n\n"
        "@statistic('dask_plugin_of_a_test', range=(0, 1))\n"
        "def total_variation(inner, outer, power: float = 1.0):\n"
        "    '''Half the L1 distance.'''\n"
        "    total = 0.0\n"
        "    for b in range(inner.size):\n"
        "        total += abs(inner[b] - outer[b])\n"
        "    return helper(total) ** power\n"
    )
    load_folder(tmp_path)  # which the workers do not look into
    plugin = statistics.get("dask_plugin_of_a_test")
    found = on_dask.all_distances(
        features[:, :70], labellings, C, plugin, {"power": 2.0}, workers=1
    )
    expected = engine.all_distances(features[:, :70], labellings, C, plugin, {"power": 2.0})
    np.testing.assert_array_equal(found.values, expected.values)


def test_faults_are_named_as_by_the_engine(cluster: Any, features: Any, labellings: Any) -> None:
    features = features.copy()
    features[41, 300] = features[7, 600] = np.nan
    with pytest.raises(DataError, match="feature 300 of image 41 is nan"):
        on_dask.all_distances(
            features, labellings, C, statistics.get("ks"), address=cluster.scheduler_address
        )


def test_an_address_where_nobody_answers(
    features: Any, labellings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(on_dask, "TIMEOUT", "1s")
    with pytest.raises(ConfigError, match=r"engine.address=tcp://127.0.0.1:9: no scheduler"):
        on_dask.all_distances(
            features, labellings, C, statistics.get("ks"), address="tcp://127.0.0.1:9"
        )


@pytest.mark.parametrize("address", ["cluster", "host:port", "http://127.0.0.1:9", ""])
def test_what_is_no_address_is_refused_before_a_client_waits_for_it(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distributed, "Client", None)
    with (
        pytest.raises(ConfigError, match=f"engine.address={address}: no scheduler"),
        on_dask.connect(address),
    ):
        pass
