"""Table 1: every stage of a small network, the blocks of a large one."""

from __future__ import annotations

import polars as pl
import pytest

from fnx.report.tables import condensed


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
