"""`python -m fnx.datasets`: Table 2, and what is found."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.images.archives import picture

from fnx.cli import command
from fnx.commands import datasets
from fnx.images.official import OFFICIAL, Counts


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


@pytest.mark.parametrize(
    ("found", "state"),
    [
        (Counts(438, 7, 14, 179), "as in Table 2"),
        (Counts(437, 7, 14, 179), "differs from Table 2"),
    ],
)
def test_counts_are_held_against_the_papers(
    found: Counts, state: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "wood/dry_knot").mkdir(parents=True)
    (tmp_path / "wood/edge_knot").mkdir(parents=True)
    for name in ("dry_knot/1.jpg", "edge_knot/1.jpg"):
        (tmp_path / "wood" / name).write_bytes(picture(name))
    monkeypatch.setattr(datasets, "count", lambda classes: found)
    row = rows(tmp_path)["wood"]
    assert row.endswith(f"   {state}")
    assert row.split()[4:7] == [f"{found.images}", "7", "14–179"]


def test_why_counts_differ_is_told_where_it_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    published, note = OFFICIAL["caltech101"].published, OFFICIAL["caltech101"].note
    assert note
    other = Counts(published.images, published.classes + 1, published.smallest, published.largest)
    for found, told in ((published, ""), (other, f" ({note})")):
        monkeypatch.setattr(datasets, "_found", lambda name, root, found=found: (found, "state"))
        assert rows(tmp_path)["caltech101"].endswith(f"   state{told}")
        assert "fetch:" not in rows(tmp_path)


def test_lines_are_printed(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    command("datasets", [f"paths.data={tmp_path}"])
    lines = capsys.readouterr().out.splitlines()
    assert lines == list(datasets.table([f"paths.data={tmp_path}"]))
    assert lines[0] == f"data sets in {tmp_path} (paths.data, or FNX_DATA)"
    assert lines[1] == ""
    assert lines[3].split() == 2 * ["images", "classes", "per", "class"]


def test_the_paper_is_one_multirun_of_all_data_sets_and_both_sources() -> None:
    from omegaconf import OmegaConf

    from fnx.config.compose import CONF

    recipe = OmegaConf.load(CONF / "experiment/paper.yaml")
    swept = {key: str(value).split(",") for key, value in recipe.hydra.sweeper.params.items()}
    assert set(swept["dataset"]) == set(OFFICIAL)
    assert swept["model"] == ["vgg16", "vgg16_places"]
    assert all((CONF / f"{key}/{name}.yaml").is_file() for key in swept for name in swept[key])
