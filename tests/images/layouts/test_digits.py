"""`dataset=digits`: scikit-learn's digits, without files."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from fnx.config.schema import DatasetConfig
from fnx.images import LabelledImages, open_images


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> LabelledImages:
    return open_images(DatasetConfig(name="digits", layout="digits"), tmp_path_factory.mktemp("c"))


def test_all_1797_in_ten_classes(digits: LabelledImages) -> None:
    assert digits.ok().height == digits.table.height == 1797
    assert digits.class_names == tuple("0123456789")
    np.testing.assert_array_equal(digits.labels(), load_digits().target)
    assert digits.table["path"][0] == "digits/0000"
    assert digits.table["path"].n_unique() == 1797


def test_pixels_are_scikit_learns_stretched_to_8_bits(digits: LabelledImages) -> None:
    opener = pickle.loads(pickle.dumps(digits.open))
    for row in (0, 1000, 1796):
        image = opener(digits.table["path"][row])
        expected = np.repeat(load_digits().images[row][..., None], 3, 2)
        np.testing.assert_allclose(np.asarray(image) / 255, expected / 16, atol=0.5 / 255)


def test_nothing_is_written(tmp_path: Path) -> None:
    config = DatasetConfig(name="digits", layout="digits", limit_per_class=3)
    assert open_images(config, tmp_path / "cache").ok().height == 30
    assert not (tmp_path / "cache").exists()
