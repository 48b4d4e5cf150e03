"""`python -m fnx.datasets`: Table 2, and what is found."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.images.archives import picture

from fnx.commands import datasets
from fnx.errors import FnxError
from fnx.images.official import OFFICIAL


def rows(data: Path) -> dict[str, str]:
    lines = datasets.table([f"paths.data={data}"])
    return {line.split()[0]: line for line in lines if line.split()[:1] != [] and line[0] != " "}


def test_table_2_is_the_papers() -> None:
    """Order: ascending average number of images a class, as in the paper."""
    means = {name: d.published.images / d.published.classes for name, d in OFFICIAL.items()}
    assert len(OFFICIAL) == 11
    assert sum(data_set.published.images for data_set in OFFICIAL.values()) == 175_687
    assert list(means)[-1] == "food101"


def test_nothing_is_found(tmp_path: Path) -> None:
    found = rows(tmp_path)
    for name, data_set in OFFICIAL.items():
        assert f"{data_set.published.images:,}" in found[name]
        assert "no such folder" in found[name]
    assert "dataset=cub200 dataset.download=true" in found["fetch:"]
    assert OFFICIAL["imagenet"].page in found["account:"]


def test_what_is_there_is_counted(tmp_path: Path) -> None:
    for name in ("dry_knot/1.jpg", "dry_knot/2.jpg", "edge_knot/3.jpg"):
        (tmp_path / "wood" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "wood" / name).write_bytes(picture(name))
    (tmp_path / "catsdogs/annotations").mkdir(parents=True)
    row = rows(tmp_path)["wood"].split()
    assert row[1:4] == ["438", "7", "14–179"]
    assert row[4:7] == ["3", "2", "1–2"]
    assert "no images, annotations/list.txt" in rows(tmp_path)["catsdogs"]


def test_a_mistake_takes_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["fnx.datasets", "paths.date=x"])
    with pytest.raises(SystemExit, match="2"):
        datasets.main()
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "did you mean 'paths.data'" in error or "date" in error
    assert not isinstance(error, FnxError)


def test_the_paper_is_one_multirun_of_all_data_sets_and_both_sources() -> None:
    from omegaconf import OmegaConf

    from fnx.cli import CONF

    recipe = OmegaConf.load(CONF / "experiment/paper.yaml")
    swept = {key: str(value).split(",") for key, value in recipe.hydra.sweeper.params.items()}
    assert set(swept["dataset"]) == set(OFFICIAL)
    assert swept["model"] == ["vgg16", "vgg16_places"]
    assert all((CONF / f"{key}/{name}.yaml").is_file() for key in swept for name in swept[key])
