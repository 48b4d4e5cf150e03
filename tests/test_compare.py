from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
from tests.report.synthetic import Synthetic, write_run

from fnx import compare


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sweep")
    for i, (name, size) in enumerate((("big", 90), ("small", 12), ("middle", 40))):
        sizes = (size, size + 4, size - 2)
        write_run(folder / str(i), Synthetic(dataset=name, class_sizes=sizes, seed=i))
    (folder / "unfinished").mkdir()
    return folder


def test_a_sweep_gives_table_3_fits_and_figures(
    sweep: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    compare.main([str(sweep), "--out", str(out), "--formats", "png", "svg"])
    table = pl.read_parquet(out / "table3.parquet")
    assert table["dataset"].to_list() == ["small", "middle", "big"]
    assert pl.read_csv(out / "table3.csv")["t_plus"].to_list() == table["t_plus"].to_list()
    fits = pl.read_parquet(out / "fits.parquet")
    assert fits.filter(sign="+", curve="log")["slope"].item() < 0
    for name in ("table3", "fits", "fig05_layers", "fig06_distribution"):
        for suffix in ("csv", "parquet", "png", "svg"):
            assert (out / f"{name}.{suffix}").stat().st_size > 0
    printed = capsys.readouterr().out
    assert printed.index("small") < printed.index("middle") < printed.index("big")
    assert "R2 = " in printed
    assert str(out) in printed


def test_globs_and_folders_stand_for_each_run_once(sweep: Path) -> None:
    runs = compare.find_runs([f"{sweep}/[01]", str(sweep), str(sweep / "0")])
    assert [run.dataset for run in runs] == ["big", "small", "middle"]


def test_one_run_has_no_fit_and_says_so(
    sweep: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    compare.main([str(sweep / "1"), "--out", str(tmp_path), "--formats", "png"])
    assert "no fit" in capsys.readouterr().out
    assert pl.read_parquet(tmp_path / "fits.parquet").is_empty()


def test_statistics_do_not_share_an_axis(sweep: Path, tmp_path: Path) -> None:
    kl = write_run(tmp_path / "kl", Synthetic(statistic="kl", unbounded=True))
    out = tmp_path / "out"
    compare.main([str(sweep / "0"), str(kl), "--out", str(out), "--formats", "png"])
    assert {path.name for path in out.glob("fig0*.png")} == {
        "fig05_layers_kl.png",
        "fig05_layers_ks.png",
        "fig06_distribution_kl.png",
        "fig06_distribution_ks.png",
    }


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("nowhere", "no such folder, and no folder matches it"),
        ("unfinished", "holds no finished run of fnx"),
        ("damaged", "cannot be read"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    sweep: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], what: str, reason: str
) -> None:
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged/run.json").write_text(json.dumps([])[:-1])
    folder = sweep if what == "unfinished" else tmp_path
    with pytest.raises(SystemExit) as stopped:
        compare.main([str(folder / what)])
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert reason in error
    assert error.count("\n") == 1
