"""``python -m fnx.show``: its numbers worked out again from the arrays; its text and pictures."""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from PIL import Image
from tests.report.looks import assert_looks_approved
from tests.report.synthetic import Synthetic, write_run

import fnx
from fnx import Run
from fnx.cli import command
from fnx.embedding import Embedding, store
from fnx.embedding.store import Manifest
from fnx.report.pictures.paths import class_path, sprite_path

NAMES = ("Zebra", "zebu", "3", "Great Albatross", "fog\x1b[31m\n<b>")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with an embedding, pictures and the images behind its features."""
    root = tmp_path_factory.mktemp("show")
    folder = write_run(root / "outputs/runs/today/one", Synthetic(class_names=NAMES))
    record = json.loads((folder / "run.json").read_text())
    images, features = (pl.read_parquet(folder / f"{n}.parquet") for n in ("images", "features"))
    manifest = Manifest(record["fingerprint"], {"weights": ""}, 150, features.height, 150)
    embedding = root / record["embedding"]
    store.create(embedding, manifest, images, features)
    values = np.random.default_rng(1).gamma(2, 1, (150, features.height)).astype(np.float32)
    store.write_shard(embedding, manifest, 0, values)
    store.finish(embedding, manifest)
    strongest = pl.DataFrame(
        {"feature_id": [14, 14], "rank": [2, 1], "image_id": [7, 9], "activation": [1.5, 2.5]}
    )
    strongest.write_parquet(folder / "strongest.parquet")
    pl.DataFrame(
        {
            "image_id": [7, 9],
            "path": ["a/7.jpg", "b/9.jpg"],
            "class_name": ["Zebra", None],
            "dataset": ["shapes", "shapes"],
        }
    ).write_parquet(folder / "strongest_images.parquet")
    for path in (sprite_path(folder, "conv1_2", 2), class_path(folder, 0)):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (30, 30), (200, 10, 10)).save(path)
    return folder


@pytest.fixture
def run(folder: Path) -> Run:
    return Run.open(folder)


def shown(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    command("show", [str(word) for word in words])
    return capsys.readouterr().out


def told(capsys: pytest.CaptureFixture[str], *words: object) -> dict[str, Any]:
    held: dict[str, Any] = json.loads(shown(capsys, *words, "--json"))
    return held


def limits(run: Run) -> tuple[np.float32, np.float32]:
    plus, minus = run.threshold("+"), run.threshold("-")
    assert plus is not None
    assert minus is not None
    return np.float32(plus["threshold"]), np.float32(minus["threshold"])


def test_without_a_subject_it_tells_the_answer(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    text = shown(capsys, run.path)
    plus, minus = limits(run)
    assert (
        f"keeps {np.mean((run.distances > plus).sum(0)):,.0f} features per class by presence"
        in text
    )
    rows = (run.features["layer"] == "conv1_2").to_numpy()
    real = run.distances[rows]
    share = 100 * ((real > plus).mean() + (real < minus).mean())
    assert re.search(rf"conv1_2 +conv +16 +{share:.1f} ", text)


def test_a_class_is_what_its_column_says(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    found = told(capsys, run.path, "--class", "great", "--top", 4)
    column = np.array(run.distances[:, 3])
    plus, minus = limits(run)
    assert (found["class_id"], found["n_images"]) == (3, 36)
    kept = {row["sign"]: (row["kept"], row["kept_random"]) for row in found["kept"]}
    random = np.array(run.distances_random[:, :, 3])
    assert kept["+"] == ((column > plus).sum(), pytest.approx((random > plus).sum(1).mean()))
    assert kept["-"] == ((column < minus).sum(), pytest.approx((random < minus).sum(1).mean()))
    for sign, order in (("+", np.argsort(-column)), ("-", np.argsort(column))):
        rows = [row for row in found["strongest"] if row["sign"] == sign]
        assert [row["feature_id"] for row in rows] == order[:4].tolist()
        assert [row["rank"] for row in rows] == [1, 2, 3, 4]
        for row in rows:
            assert row["distance"] == column[row["feature_id"]]
            names = run.features.row(row["feature_id"], named=True)
            assert (row["layer"], row["unit"]) == (names["layer"], names["unit"])
    of_layers = {row["layer"]: row for row in found["layers"]}
    rows = (run.features["layer"] == "fc6").to_numpy()
    assert of_layers["fc6"]["features"] == 20
    assert of_layers["fc6"]["kept_plus"] == (column[rows] > plus).sum()
    assert of_layers["fc6"]["kept_minus"] == (column[rows] < minus).sum()


def test_a_feature_is_what_its_row_says(
    run: Run, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = told(capsys, run.path, "--feature", "conv1_2/2", "--class", "zebra")
    row, random = np.array(run.distances[14]), np.array(run.distances_random[:, 14])
    plus, minus = limits(run)
    assert found["feature_id"] == 14
    assert [c["distance"] for c in found["classes"]] == sorted(row.tolist(), reverse=True)
    for entry in found["classes"]:
        distance = row[entry["class_id"]]
        expected = "+" if distance > plus else "-" if distance < minus else None
        assert entry["sign"] == expected
    assert (found["random_low"], found["random_high"]) == (random.min(), random.max())
    assert [image["path"] for image in found["images"]] == ["b/9.jpg", "a/7.jpg"]
    embedding = run.embedding_path
    assert embedding is not None
    values = Embedding.open(embedding).features[:, 14]
    inside = run.images.filter(pl.col("status") == "ok")["class_name"].to_numpy() == "Zebra"
    edges = np.array(found["values"]["edges"])
    assert (edges[0], edges[-1]) == (values.min(), values.max())
    for name, part in (("inner", values[inside]), ("outer", values[~inside])):
        counts = [((part >= a) & (part < b)).sum() for a, b in itertools.pairwise(edges)]
        counts[-1] += (part == edges[-1]).sum()
        assert found["values"][name] == pytest.approx((100 * np.array(counts) / len(part)).tolist())


def test_a_layer_is_what_its_rows_say(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    found = told(capsys, run.path, "--layer", "conv1_1", "--top", 3)
    real, random = np.array(run.distances[:12]), np.array(run.distances_random[:, :12])
    edges = np.array(found["edges"])
    for name, array in (("real", real), ("random", random)):
        expected = 100 * np.histogram(array, edges)[0] / array.size
        assert found[name] == pytest.approx(expected.tolist())
    highest = np.argsort(-real, axis=None)[:3]
    pairs = [pair for pair in found["pairs"] if pair["sign"] == "+"]
    for pair, place in zip(pairs, highest, strict=True):
        feature, class_id = divmod(int(place), real.shape[1])
        assert (pair["feature_id"], pair["class_id"]) == (feature, class_id)
        assert pair["distance"] == real[feature, class_id]
        assert pair["unit"] == feature
    shares = {row["sign"]: row for row in found["shares"]}
    plus, _ = limits(run)
    assert shares["+"]["pct_kept"] == pytest.approx(100 * (real > plus).mean())


def test_the_text_tells_the_same(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, run.path, "--feature", "conv1_2/2")
    row = run.distances[14]
    for name, value in zip(("Zebra", "zebu", "3"), row, strict=False):
        number = f"{value:+.3f}".replace("-", "−")
        assert re.search(rf"^  {name} +{re.escape(number)}", text, re.M)
    plus, minus = limits(run)
    counts = f"{(row > plus).sum()} by presence, {(row < minus).sum()} by absence, of 5 classes"
    assert counts in text
    assert "b/9.jpg" in text
    assert "\x1b" not in text  # neither colour in a file, nor that of a class's name
    text = shown(capsys, run.path, "--layer", "fc6")
    assert "distribution of D" in text
    assert "top pairs by absence" in text


@pytest.mark.parametrize(
    ("word", "expected"),
    [("Zebra", 0), ("ZEBU", 1), ("3", 2), ("4", 4), ("great alb", 3), ("fog", 4)],
)
def test_a_class_is_found_by_name_beginning_or_id(
    run: Run, capsys: pytest.CaptureFixture[str], word: str, expected: int
) -> None:
    assert told(capsys, run.path, "--class", word)["class_id"] == expected


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--class", "zeb"], "class 'zeb' may be Zebra, zebu"),
        (["--class", "albatros"], "no class 'albatros'; near: Great Albatross"),
        (["--class", "zebrra"], "no class 'zebrra'; near: Zebra, zebu"),
        (["--class", "5"], "no class '5'; there are Zebra, zebu, 3, Great Albatross, fog"),
        (["--class", "Zebra", "--against", "zebrra"], "no class 'zebrra'; near: Zebra, zebu"),
        (["--class", "zebra", "--against", "0"], "class 'Zebra' against itself: name another"),
        (["--against", "zebu"], "--against sets a class against another: it needs --class NAME"),
        (["--class", "3", "--against", "zebu", "--layer", "fc6"], "--against sets a class against"),
        (["--layer", "conv1"], "layer 'conv1' may be conv1_1, conv1_2"),
        (["--layer", "cnov1_1"], "no layer 'cnov1_1'; near: conv1_1, conv1_2"),
        (["--feature", "fc6"], "'fc6' is not a feature: LAYER/UNIT, as conv4_3/458"),
        (["--feature", "fc6/20"], "no unit 20 in fc6: it has the units 0 to 19"),
        (["--picture", "x.jpg"], "--picture x.jpg: the name must end with .png, .svg or .pdf"),
        (["--picture", "no/x.png"], "--picture no/x.png: no such folder as no"),
    ],
)
def test_a_mistake_is_told_in_one_line(
    run: Run, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    with pytest.raises(SystemExit) as left:
        command("show", [str(run.path), *words])
    assert left.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith(f"fnx show: {message}")
    assert error.count("\n") == 1


def test_last_is_the_newest_run(
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(folder.parents[3])
    older = write_run(Path("outputs/sweeps/today/now/0-shapes"))
    os.utime(older / "run.json", (time.time() - 100, time.time() - 100))
    assert told(capsys)["run"] == str(folder.relative_to(Path.cwd()))
    os.utime(older / "run.json", (time.time() + 100, time.time() + 100))
    assert told(capsys, "last")["run"] == str(older)
    shutil.rmtree(older)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        command("show", [])
    assert "no finished run below outputs/" in capsys.readouterr().err


def test_without_the_embedding_the_rest_is_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_run(tmp_path / "run")
    text = shown(capsys, folder, "--feature", "fc6/0")
    assert "D for each class" in text
    assert "its values are not shown: the embedding is gone" in text
    assert "top-activating images" not in text


def test_a_class_is_set_against_another(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--class", "great", "--against", "zebu", "--top", 3)
    found = told(capsys, run.path, *words)
    embedding = Embedding.open(run.path)
    rows = np.isin(embedding.labels, (1, 3))
    labels = (embedding.labels[rows] == 3).astype(int)
    distances = fnx.distances(embedding.features[:][rows], labels)[:, 1]
    assert (found["class_id"], found["against_id"], found["n_images"]) == (3, 1, 36)
    assert [row["sign"] for row in found["features"]] == ["+"] * 3 + ["-"] * 3
    for sign, order in (("+", np.sort(distances)[::-1]), ("-", np.sort(distances))):
        rows_of_sign = [row for row in found["features"] if row["sign"] == sign]
        assert [row["distance"] for row in rows_of_sign] == order[:3].tolist()
    first = found["features"][0]
    text = shown(capsys, run.path, *words)
    assert text.startswith("Great Albatross against zebu\n")
    assert "36 of Great Albatross, 24 of zebu" in text
    label = f"{first['layer']}/{first['unit']}"
    assert re.search(rf"1  {label} +\{first['distance']:+.3f} .* {100 * first['share']:.0f} ", text)
    below, above = text.split("features higher in zebu than in Great Albatross")
    assert "features higher in Great Albatross than in zebu" in below
    assert above.count("−") >= 3
    kept = {row["sign"]: row for row in found["kept"]}
    assert f"{kept['+']['kept']} of 48 features are higher in Great Albatross, D > +" in text
    run.show("great", against="zebu", top=3)
    assert capsys.readouterr().out == text


def test_without_the_embedding_a_class_is_set_against_another_by_the_runs_distances(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_run(tmp_path / "run")
    drawn = tmp_path / "drawn.svg"
    text = shown(capsys, folder, "--class", 0, "--against", 1, "--picture", drawn)
    assert "not measured: the embedding is gone" in text
    assert "D here  D there  top-activating image" in text
    assert "each against all others" in drawn.read_text()


def test_an_unsigned_statistic_has_no_absence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_run(tmp_path / "run", Synthetic(statistic="kl", unbounded=True))
    for words in ([], ["--class", "class 0"], ["--layer", "fc6"], ["--feature", "conv1_1/0"]):
        picture = tmp_path / "drawn.svg"
        text = shown(capsys, folder, *words, "--picture", picture)
        assert "absence" not in text
        assert "absence" not in picture.read_text()
    found = told(capsys, folder, "--class", "class 0")
    assert found["strongest"][0]["distance"] == "inf"


def test_a_long_list_of_classes_is_cut_unless_all_are_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_run(tmp_path / "run", Synthetic(class_sizes=[5] * 30))
    text = shown(capsys, folder, "--feature", "fc6/0")
    assert "… 10 more: --all" in text
    assert len(re.findall(r"^  class \d+ ", text, re.M)) == 20
    text = shown(capsys, folder, "--feature", "fc6/0", "--all")
    assert len(re.findall(r"^  class \d+ ", text, re.M)) == 30


@pytest.mark.parametrize(
    "words",
    [
        *([], ["--class", "0"], ["--feature", "conv1_2/2"], ["--layer", "fc6", "--top", "4"]),
        ["--class", "0", "--against", "1"],
    ],
)
@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_the_picture_is_written_where_it_is_asked_for(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], suffix: str
) -> None:
    path = tmp_path / f"drawn.{suffix}"
    assert shown(capsys, run.path, *words, "--picture", path).endswith(f"picture: {path}\n")
    starts = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}
    assert path.read_bytes().startswith(starts[suffix])
    if suffix == "svg":
        name = "show" + "".join(words).replace("--", "/")
        assert_looks_approved(**{name: path.read_text()})


def test_the_picture_has_a_name_of_its_own(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = shown(capsys, run.path.resolve(), "--class", "fog", "--picture")
    (written,) = tmp_path.iterdir()
    assert written.name == "fnx-shapes-tinynet-ks-fog_31m_b_.png"
    assert text.endswith(f"picture: {written.name}\n")


def test_it_starts_without_anything_heavy(folder: Path) -> None:
    code = (
        "import sys; from fnx import show; show.main(sys.argv[1:]);"
        "heavy = 'torch timm lightning hydra omegaconf wandb matplotlib numba sklearn scipy';"
        "sys.exit(' '.join(name for name in heavy.split() if name in sys.modules) or None)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder), "--feature", "conv1_2/2"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=os.environ | {"PYTHONIOENCODING": "ascii", "COLUMNS": "60"},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.isascii()
    assert max(map(len, done.stdout.splitlines())) <= 60


@pytest.mark.parametrize("number", ["0", "-1", "1.5", "x"])
def test_the_length_of_a_list_is_a_positive_number(
    run: Run, capsys: pytest.CaptureFixture[str], number: str
) -> None:
    with pytest.raises(SystemExit, match="2"):
        command("show", [str(run.path), "--layer", "fc6", "--top", number])
    assert f"'{number}' is not a positive whole number" in capsys.readouterr().err


def test_ten_are_listed_unless_told_otherwise(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    for words, length in (([], 10), (["--top", 1], 1)):
        found = told(capsys, run.path, "--layer", "fc6", *words)
        assert len([pair for pair in found["pairs"] if pair["sign"] == "+"]) == length


def test_with_json_the_picture_is_told_beside_it(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.PNG"
    command("show", [str(run.path), "--layer", "fc6", "--json", "--picture", str(path)])
    printed = capsys.readouterr()
    assert printed.err == f"picture: {path}\n"
    assert json.loads(printed.out)["layer"] == "fc6"
