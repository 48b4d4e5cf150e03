"""Table 1: every stage of a small network, the blocks of a large one."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from fnx.report.tables import condensed, write_csv


def network(blocks: int, each: int) -> pl.DataFrame:
    rows = [("input", "input", None, 0, 3072, 0, 32, 32, 1, 1)]
    rows += [
        (f"block{b}.conv{i}", "conv", 8, 100 + b, 64, 8, 8, 8, 3 + b, 4)
        for b in range(blocks)
        for i in range(each)
    ]
    rows += [("fc", "fc", 10, 650, 10, 0, None, None, None, None)]
    names = "name kind filters parameters neurons features height width receptive_field stride"
    return pl.DataFrame(rows, schema=names.split(), orient="row")


@pytest.mark.parametrize(
    ("blocks", "each", "rows"), [(3, 4, 14), (29, 2, 60), (59, 1, 61), (30, 20, 32), (1, 200, 3)]
)
def test_a_large_network_is_shown_by_its_blocks_and_nothing_is_lost(
    blocks: int, each: int, rows: int
) -> None:
    whole = network(blocks, each)
    table = condensed(whole)
    assert table.height == rows
    for column in ("parameters", "neurons", "features"):
        assert table[column].sum() == whole[column].sum()
    assert table["stages"].sum() == whole.height


def test_a_block_has_its_last_map_its_widest_field_and_filters_only_alone() -> None:
    rows = [
        ("a.x", "conv", 8, 10, 64, 0, 16, 12, 3, 1),
        ("a.y", "pool", None, 0, 32, 8, 8, 6, 5, 2),
        ("b.x", "conv", 4, 7, 16, 4, 4, 3, 9, 2),
        ("b.y", "fc", 2, 5, 2, 2, None, None, None, None),
        ("c", "fc", 3, 1, 3, 3, None, None, None, None),
        ("a.z", "conv", 6, 2, 5, 6, 2, 1, 11, 4),
    ]
    names = "name kind filters parameters neurons features height width receptive_field stride"
    whole = pl.DataFrame(rows, schema=names.split(), orient="row")
    assert condensed(whole, 6).drop("stages").equals(whole.drop("stride"))
    blocks = condensed(whole, 5)
    assert blocks.rows() == [
        ("a", "pool", None, 10, 96, 8, 8, 6, 5, 2),
        ("b", "fc", None, 12, 18, 6, None, None, None, 2),
        ("c", "fc", 3, 1, 3, 3, None, None, None, 1),
        ("a", "conv", 6, 2, 5, 6, 2, 1, 11, 1),  # apart from the first: not one after the other
    ]
    assert condensed(whole, 1).equals(blocks)  # names have no shorter beginning


def test_no_text_of_a_csv_file_is_a_formula(tmp_path: Path) -> None:
    table = pl.DataFrame(
        {"=a": ["=1+1", "-", "-x", None], "b": [-1.5, 2.0, None, 0.0], "c": ["a", "@b", "+", "\r="]}
    )
    write_csv(table, tmp_path / "a.csv")
    read = pl.read_csv(tmp_path / "a.csv")
    assert read["=a"].to_list() == ["'=1+1", "-", "'-x", None]
    assert read["c"].to_list() == ["a", "'@b", "+", "'\r="]
    assert read["b"].equals(table["b"])
    write_csv(table.select("b"), tmp_path / "a.csv")
    assert pl.read_csv(tmp_path / "a.csv").equals(table.select("b"))
