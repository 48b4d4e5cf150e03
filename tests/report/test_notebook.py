"""`fnx.Run` in a notebook: its summary, and what `show` prints."""

from __future__ import annotations

import base64
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.report.page.test_page import HOSTILE, Page
from tests.report.synthetic import Synthetic, write_run

from fnx.commands import show
from fnx.report.notebook import Run
from fnx.report.pictures.paths import sprite_path


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return Run.open(write_run(tmp_path_factory.mktemp("notebook") / "run"))


def summary(run: Run) -> str:
    return re.sub(r"\s+", " ", " ".join(Page(run._repr_html_()).text))


def test_the_summary_has_the_numbers_of_the_run(run: Run) -> None:
    text = summary(run)
    assert "shapes, tinynet, signed KS distance (100 bins): 150 images, 5 classes, 48 feat" in text
    real, random = np.asarray(run.distances), np.asarray(run.distances_random)
    beyond = np.zeros(48)
    for mark, sign in (("+", 1), ("−", -1)):
        limit = next(
            row["threshold"] for row in run.thresholds.rows(named=True)
            if row["sign"] == ("+" if sign > 0 else "-")
        )  # fmt: skip
        kept = (sign * real > np.float32(sign * limit)).sum(axis=0).mean()
        noise = (sign * random > np.float32(sign * limit)).sum(axis=1).mean()
        number = f"{limit:.3f}".replace("-", "−")
        assert f"t {mark} {number} {kept:.1f} {noise:.1f}" in text
        beyond += (sign * real > np.float32(sign * limit)).mean(axis=1)
        beyond -= (sign * random > np.float32(sign * limit)).mean(axis=(0, 2))
    layers = run.features["layer"].to_numpy()
    excess = {name: beyond[layers == name].mean() for name in ("conv1_1", "conv1_2", "fc6")}
    best = sorted(excess, key=lambda name: -excess[name])
    assert re.findall("conv1_1|conv1_2|fc6", text.partition("Layers that keep most")[2])[:3] == best


def test_the_top_features_are_those_farthest_out_each_once(run: Run, tmp_path: Path) -> None:
    text = summary(run)
    distances = np.asarray(run.distances)
    for how, values in (("presence", distances), ("absence", -distances)):
        farthest = values.max(axis=1)
        order = np.argsort(-farthest, kind="stable")[:4]
        told = text.partition(f"Top features by {how}:")[2]
        for feature in order:
            row = run.features.row(int(feature), named=True)
            class_id = values[feature].argmax()
            number = f"{distances[feature, class_id]:.3f}".replace("-", "−")
            label = f"{row['layer']}/{row['unit']} class {class_id} D = {number}"
            assert told.lstrip().startswith(label)
            told = told.lstrip().removeprefix(label)
        assert not told.lstrip() or told.lstrip().startswith("Top features by absence")


def test_pictures_are_in_it_and_the_page_is_linked_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run.open(write_run(tmp_path / "a run"))
    assert Page(run._repr_html_()).references == []
    best = int(np.asarray(run.distances).max(axis=1).argmax())
    picture = sprite_path(run.path, *run.features.row(best)[1:3])
    picture.parent.mkdir(parents=True)
    Image.new("RGB", (12, 12), "teal").save(picture)
    (run.path / "report.html").touch()
    uri = f"data:image/jpeg;base64,{base64.b64encode(picture.read_bytes()).decode()}"
    page = (run.path / "report.html").resolve()
    assert Page(run._repr_html_()).references == [page.as_uri(), uri]
    monkeypatch.chdir(tmp_path)  # a notebook there asks its server for it
    assert Page(run._repr_html_()).references == ["a%20run/report.html", uri]


def test_names_do_no_harm(tmp_path: Path) -> None:
    spec = Synthetic(
        dataset=HOSTILE,
        model="<img src=x>",
        class_sizes=(15, 15),
        class_names=[HOSTILE, "b"],
        layers=(("<b>/conv", 6, "conv"), ("fc", 6, "fc")),
    )
    run = Run.open(write_run(tmp_path / "run", spec))
    text = run._repr_html_()
    assert "<script" not in text
    assert "<img" not in text
    assert "<b>/" not in text
    assert Page(text).open == []


def test_an_unsigned_statistic_has_no_absence(tmp_path: Path) -> None:
    run = Run.open(write_run(tmp_path / "run", Synthetic(statistic="kl", unbounded=True)))
    assert "Top features by distance:" in summary(run)
    assert "D = ∞" in summary(run)
    assert "absence" not in summary(run)
    assert "t −" not in summary(run)


@pytest.mark.parametrize(
    ("words", "given"),
    [
        ([], {}),
        (["--class", "class 1", "--top", "3"], {"class_name": "class 1", "top": 3}),
        (["--layer", "fc6"], {"layer": "fc6"}),
        (["--feature", "fc6/2", "--all"], {"feature": "fc6/2", "every_class": True}),
    ],
)
def test_show_prints_what_the_command_prints(
    run: Run, capsys: pytest.CaptureFixture[str], words: list[str], given: dict[str, object]
) -> None:
    show.main([str(run.path), *words])
    expected = capsys.readouterr().out
    run.show(**given)  # type: ignore[arg-type]
    assert capsys.readouterr().out == expected
