"""Table 1 as a picture: every stage of a small network, the blocks of a large one, and totals."""

from __future__ import annotations

import polars as pl
import pytest

from fnx.report.figures import network_table as table1
from fnx.report.figures import style
from fnx.report.figures.network_table import condensed


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


def texts(table: pl.DataFrame) -> list[str]:
    with style.style():
        return [text.get_text() for text in table1.draw(table).axes[0].texts]


def test_every_stage_of_a_small_network_is_named_with_its_numbers() -> None:
    found = texts(network(2, 2))
    for word in ("input", "block1.conv1", "101", "fc", "whole image", "4 px", "8 × 8", "Total"):
        assert word in found


@pytest.mark.parametrize(("blocks", "each", "rows"), [(3, 4, 14), (30, 20, 32), (1, 200, 3)])
def test_a_large_network_is_shown_by_its_blocks_and_nothing_is_lost(
    blocks: int, each: int, rows: int
) -> None:
    whole = network(blocks, each)
    table = condensed(whole)
    assert table.height == rows
    for column in ("parameters", "neurons", "features"):
        assert table[column].sum() == whole[column].sum()
    assert table["stages"].sum() == whole.height


def test_the_total_is_that_of_all_stages() -> None:
    whole = network(30, 20)
    assert f"{whole['parameters'].sum():,}" in texts(whole)
    assert "block7 (20 stages)" in texts(whole)
