from __future__ import annotations

import html
import io
import json
import re
import shutil
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from tests.analysis.comparison.advices import advice
from tests.analysis.comparison.two_networks import D, give_embedding, network
from tests.report.synthetic import Synthetic, write_run

from fnx.analysis import Run
from fnx.cli import command
from fnx.commands.compare import find_runs, make_folder
from fnx.errors import DataError
from fnx.report.comparison.gather import gather, labels
from fnx.report.comparison.page import render
from fnx.report.comparison.text import summary
from fnx.report.terminal.terminal import Terminal


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
    command("compare", [str(sweep), "--out", str(out), "--formats", "png", "svg"])
    table = pl.read_parquet(out / "table3.parquet")
    assert table["dataset"].to_list() == ["small", "middle", "big"]
    assert pl.read_csv(out / "table3.csv")["t_plus"].to_list() == table["t_plus"].to_list()
    fits = pl.read_parquet(out / "fits.parquet")
    assert fits.filter(sign="+", curve="log")["slope"].item() < 0
    drawn = ("fits", "fig05_layers", "fig06_distribution", "fig08_fc", "fig10_kept")
    for name in drawn:
        for suffix in ("png", "svg"):
            assert (out / f"{name}.{suffix}").stat().st_size > 0
    for name in (*drawn, "table2", "table3"):
        for suffix in ("csv", "parquet"):
            assert (out / f"{name}.{suffix}").stat().st_size > 0
    printed = capsys.readouterr().out
    assert printed.index("small") < printed.index("middle") < printed.index("big")
    assert "R2 = " in printed
    assert str(out) in printed


def test_globs_and_folders_stand_for_each_run_once(sweep: Path) -> None:
    runs = find_runs([f"{sweep}/[01]", str(sweep), str(sweep / "0")])
    assert [run.dataset for run in runs] == ["big", "small", "middle"]


def test_a_folder_without_a_finished_run_is_skipped_with_a_line(
    sweep: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As a shell hands on ``outputs/runs/*/*``."""
    unfinished = str(sweep / "unfinished")
    runs = find_runs([str(sweep / "0"), unfinished, f"{sweep}/[12]"])
    assert [run.dataset for run in runs] == ["big", "small", "middle"]
    line = f"skipped {unfinished}: holds no finished run (run.json is missing)\n"
    assert capsys.readouterr().err == line
    assert [run.dataset for run in find_runs([f"{sweep}/*"])] == ["big", "small", "middle"]
    assert capsys.readouterr().err == line


def test_one_run_has_no_fit_and_says_so(
    sweep: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command("compare", [str(sweep / "1"), "--out", str(tmp_path), "--formats", "png"])
    assert "no fit" in capsys.readouterr().out
    assert pl.read_parquet(tmp_path / "fits.parquet").is_empty()


def test_statistics_do_not_share_an_axis(sweep: Path, tmp_path: Path) -> None:
    kl = write_run(tmp_path / "kl", Synthetic(statistic="kl", unbounded=True))
    out = tmp_path / "out"
    command("compare", [str(sweep / "0"), str(kl), "--out", str(out), "--formats", "png"])
    assert {path.name for path in out.glob("fig0*.png")} == {
        "fig05_layers_kl.png",
        "fig05_layers_ks.png",
        "fig06_distribution_kl.png",
        "fig06_distribution_ks.png",
        "fig08_fc_kl.png",
        "fig08_fc_ks.png",
    }


def test_runs_of_places_have_figure_11(sweep: Path, tmp_path: Path) -> None:
    places = Synthetic(dataset="big", model="vgg16_places", class_sizes=(90, 94, 88))
    run = write_run(tmp_path / "places", places)
    out = tmp_path / "out"
    command("compare", [str(sweep / "0"), str(run), "--out", str(out), "--formats", "png"])
    tables = [pl.read_parquet(out / f"{name}_layers.parquet") for name in ("fig05", "fig11")]
    assert [table["run"].unique().to_list() for table in tables] == [
        ["big, tinynet"],
        ["big, vgg16_places"],
    ]


def test_names_tell_runs_apart_by_what_differs(tmp_path: Path) -> None:
    runs = []
    for i, precision in enumerate(("32-true", "bf16-true", "bf16-true")):
        file = write_run(tmp_path / str(i)) / "run.json"
        record = json.loads(file.read_text())
        record["config"]["trainer"] = {"precision": precision}
        file.write_text(json.dumps(record))
        runs.append(Run.open(file.parent))
    assert labels(runs) == ["shapes, 32-true", "shapes, bf16-true (1)", "shapes, bf16-true (2)"]


def test_a_reference_is_compared_with_all_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = [write_run(tmp_path / str(i), Synthetic(seed=i)) for i in range(3)]
    out = tmp_path / "out"
    options = ["--out", str(out), "--formats", "png"]
    command("compare", [*map(str, folders[:2]), "--reference", str(folders[2]), *options])
    pairs = pl.read_parquet(out / "agreement_pairs.parquet")
    assert pairs["run_a"].to_list() == ["shapes (3)"] * 2
    assert "Wasser" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        command("compare", [str(folders[0]), "--reference", str(tmp_path), *options])
    assert "--reference is one run, here are 3" in capsys.readouterr().err


def test_the_summary_says_what_a_comparison_leaves_out(tmp_path: Path) -> None:
    specs = (
        Synthetic(),
        Synthetic(layers=(("conv1_2", 16, "conv"),)),
        Synthetic(statistic="kl", unbounded=True),
    )
    runs = [Run.open(write_run(tmp_path / str(i), spec)) for i, spec in enumerate(specs)]
    compared = gather(runs)
    stream = io.StringIO()
    Terminal(stream).print(summary(compared, tmp_path))
    printed = " ".join(stream.getvalue().split())
    assert printed.isascii()
    assert "2 layers of the first run alone, not compared: conv1_1, fc6." in printed
    assert "ks and kl have no common scale" in printed
    assert compared.layers.height == 1 + 3 + 1
    assert compared.layers["note"].str.len_chars().min() > 0


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
        command("compare", [str(folder / what)])
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert reason in error
    assert error.count("\n") == 1


def test_without_options_it_goes_to_a_folder_of_its_own(
    sweep: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    command("compare", [str(sweep / "0"), str(sweep / "1"), "--reference", str(sweep / "1")])
    (folder,) = (tmp_path / "outputs/compare").iterdir()
    assert re.fullmatch(r"\d{4}-\d\d-\d\d-\d{6}", folder.name)
    assert {path.suffix for path in folder.glob("fig05*")} == {".csv", ".parquet", ".png", ".svg"}
    table = pl.read_parquet(folder / "table3.parquet")
    assert sorted(table["dataset"]) == ["big", "small"]  # the reference stands there once


def test_comparisons_of_the_same_second_have_folders_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = datetime(2026, 1, 2, 12, 0, 0)
    monkeypatch.setattr("fnx.commands.compare.datetime", SimpleNamespace(now=lambda: now))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    made = [str(make_folder(out)) for out in (None, None, "a (1)", "a (1)", "~/b")]
    assert made == [
        "outputs/compare/2026-01-02-120000",
        "outputs/compare/2026-01-02-120000-2",
        *("a (1)", "a (1)", f"{tmp_path}/home/b"),
    ]
    Path("file").touch()
    line = r"^file/a cannot be written \(Not a directory\): choose another folder with --out$"
    with pytest.raises(DataError, match=line):
        make_folder("file/a")


def test_runs_of_a_folder_are_in_the_order_of_their_paths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("b", "a/c", "a[1]"):
        write_run(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    paths = [str(run.path) for run in find_runs(["."])]
    assert paths == ["a/c", "a[1]", "b"]
    assert [str(run.path) for run in find_runs(["a[1]"])] == ["a[1]"]  # itself, not a glob
    monkeypatch.chdir(tmp_path / "a")
    assert [run.path for run in find_runs(["../b", "c"])] == [tmp_path / "b", Path("c")]


def test_two_networks_on_the_same_images_are_compared_by_layers_and_units(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(30, 5))
    runs = [network(tmp_path / "a", dataset="zoo"), network(tmp_path / "b", D[::-1].copy(),
            layers=(("x", 3, "conv"), ("<y>", 2, "fc")), dataset="zoo")]  # fmt: skip
    give_embedding(runs[0], values)
    turned = values[:, 2:] @ np.linalg.qr(rng.normal(size=(3, 3)))[0]
    give_embedding(runs[1], np.hstack([turned, rng.normal(size=(30, 2))]))
    advice([0.30, 0.70, 0.6], 1).write(runs[0].path)
    advice([0.71, 0.60, 0.6], 0).write(runs[1].path)
    paths, out = [str(run.path) for run in runs], tmp_path / "out"
    command("compare", [*paths, "--out", str(out), "--formats", "png"])
    printed = capsys.readouterr().out
    assert re.search(r"1 +l1 +20 +70\.0 ± 2\.0 +10\.0 +–", printed)
    best = (
        "Best for zoo: zoo, b with l0 (10 features), 71.0 % accuracy ± 2.0. As good, within one"
        " standard error: zoo, a with l1 (20 features), 70.0 %."
    )
    assert best in " ".join(printed.split())
    assert re.search(r"1 : 2 +30 +1\.000 +late : x", printed)
    assert re.search(r"1 +late/0 +2 +x/2 +1\.000 +bee +\+0\.600 +\+0\.600", printed)
    pair = pl.read_parquet(out / "networks.parquet").row(0, named=True)
    assert (pair["run_a"], pair["run_b"]) == ("zoo, a", "zoo, b")
    assert (pair["layer_a"], pair["layer_b"], pair["units"]) == ("late", "x", 4)
    for name, height in (("cka", 4), ("matched_layers", 2), ("matched_units", 4)):
        table = pl.read_parquet(out / f"{name}.parquet")
        assert table.height == pl.read_csv(out / f"{name}.csv").height == height
    assert pl.read_parquet(out / "probes.parquet")["entry"].to_list() == ["l1", "l0"]
    assert pl.read_csv(out / "probe_accuracy.csv").height == 6
    for name in ("cka", "matched_layers", "probe_accuracy"):
        assert (out / f"{name}.png").stat().st_size > 5000
    page = (out / "compare.html").read_text()
    answer = "zoo, a and zoo, b have 30 images in common; their most alike layers are late and x"
    assert f"{answer} (linear CKA 1.00; of the last layers {pair['cka_last']:.2f})" in page
    assert f"<li>{best}</li>" in page
    assert page.index('<section id="probes">') < page.index('id="probe_accuracy"')
    assert '<td class="n">70.0 ± 2.0</td>' in page
    section = page[page.index('<section id="networks">') : page.index('<section id="settings">')]
    assert "&lt;y&gt;" in section
    assert 'href="#networks"' in page
    assert section.index('id="cka"') < section.index('id="matched_layers"')
    assert "Of 4 pairs of units that are each other's best" in html.unescape(section)

    shutil.rmtree(tmp_path / "embedding-b")
    (runs[1].path / "advice.json").unlink()
    compared = gather([Run.open(path) for path in paths])
    stream = io.StringIO()
    Terminal(stream).print(summary(compared, out))
    printed = " ".join(stream.getvalue().split())
    told = "[1] No CKA: zoo, b: the embedding is gone ("
    assert told in printed
    assert re.search(r"1 : 2 30 - - - 1\.000", printed)
    page = html.unescape(render(compared, {}, out, ()))
    lacking = f"no advice: python -m fnx advise {runs[1].path}"
    assert f"[2] {lacking}" in printed
    assert lacking in page
    assert "1 of the 2 runs has no advice on which layer to use: python -m fnx advise RUN." in page
    assert "Best for" not in page
    assert told[4:] in page
    assert "Of 4 pairs of units that are each other's best" in page
