"""The configuration: composed from words, from Python's keywords, and in parts."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path
from typing import Any

import hydra
import numpy as np
import pytest
from hydra.core.global_hydra import GlobalHydra

from fnx.config.compose import (
    CONF,
    compose_keywords,
    default_options,
    folder_name,
    options,
    reference_dataset,
)
from fnx.config.compose import compose as compose_words
from fnx.config.schema import Config, DatasetConfig
from fnx.errors import ConfigError

Compose = Callable[..., Config]


def test_digits_take_one_crop_unless_told_otherwise(compose: Compose) -> None:
    assert compose().crops.name == "center"
    assert compose("crops=ten").crops.name == "ten"
    assert compose("dataset=folder", "dataset.root=x").crops.name == "ten"


def test_the_recipe_of_the_paper(compose: Compose) -> None:
    config = compose("experiment=paper", "dataset=folder", "dataset.root=x")
    assert config.model.name == "vgg16"
    assert config.crops.name == "ten"
    assert config.statistic == {"name": "ks", "bins": 100}
    assert config.threshold == {"name": "randomized_labels", "permutations": 1, "step": 0.001}


ONE_OR_MORE = (
    "dataset.depth dataset.limit_per_class dataset.max_pixels model.input_size crops.resize "
    "crops.size trainer.num_nodes trainer.batch_size engine.threads engine.workers report.top_k "
    "report.pictures_per_feature report.reference_limit_per_class calibration.draws "
    "dataset.certainty"
)
USUAL = {
    "dataset.depth": 1, "dataset.path_column": "path", "dataset.intensity_range": "auto",
    "dataset.max_pixels": 178_956_970, "dataset.on_error": "skip", "dataset.download": False,
    "dataset.include_background": False, "dataset.splits": [], "model.tap": "post",
    "model.layers": "all", "model.class_token": False, "model.weights.source": "hub",
    "model.preprocess.channels": "RGB", "model.preprocess.scale": 1.0, "crops.resize": 256,
    "crops.size": 224, "crops.resize_mode": "short_side", "trainer.accelerator": "auto",
    "trainer.strategy": "auto", "trainer.devices": "auto", "trainer.num_nodes": 1,
    "trainer.precision": "32-true", "trainer.batch_size": "auto", "trainer.compile": False,
    "logger.project": "fnx", "logger.tags": [], "logger.mode": "offline", "report.figures": True,
    "report.formats": ["png", "svg"], "report.mode": "empirical", "report.top_k": 10,
    "report.advice": 500,
    "report.pictures": "top", "report.pictures_per_feature": 9, "report.pairs": [],
    "report.distance": "raw", "calibration.draws": 2_000,
    "dataset.certainty": 1, "dataset.concept_columns": [],
    "report.reference_crops": "center", "seed": 0, "debug": False,
}  # fmt: skip


def fields_of(node: Any, before: str = "") -> Iterator[tuple[str, dataclasses.Field[Any]]]:
    for item in dataclasses.fields(node):
        if dataclasses.is_dataclass(item.default_factory):
            yield from fields_of(item.default_factory, f"{before}{item.name}.")
        else:
            yield before + item.name, item


def test_the_keys_have_these_limits_and_usual_values() -> None:
    least, usual = {}, {}
    for key, item in fields_of(Config):
        made = item.default_factory is not dataclasses.MISSING
        value = item.default_factory() if made else item.default  # type: ignore[misc]
        if value not in (None, "???", dataclasses.MISSING):
            usual[key] = value
        if item.metadata["minimum"] is not None:
            least[key] = item.metadata["minimum"]
    assert usual == USUAL
    or_none = dict.fromkeys(("seed", "trainer.num_workers", "report.advice"), 0)
    assert least == dict.fromkeys(ONE_OR_MORE.split(), 1) | or_none


def test_every_option_of_every_group_composes(compose: Compose) -> None:
    groups = [
        [f"{folder.name}={file.stem}" for file in sorted(folder.glob("*.yaml"))]
        for folder in sorted(CONF.iterdir())
        if folder.is_dir() and folder.name != "hydra"
    ]
    assert sum(map(len, groups)) >= 40
    for words in zip_longest(*groups):
        given = ["model.name=resnet18"] if "model=timm" in words else []
        assert isinstance(compose(*filter(None, words), *given), Config), words


def test_no_option_that_is_shipped_puts_the_environment_into_an_address() -> None:
    plugins = CONF.parent / "plugins"
    files = [*CONF.rglob("*.yaml"), *plugins.rglob("*.yaml")]
    assert len(files) >= 40
    for file in files:
        text = file.read_text()
        if file != CONF / "paths/default.yaml":
            assert not re.search(r"oc\.env|fnx\.environment", text), file
        assert not re.search(r"://\S*\$|\b(url|address|source): .*\$", text), file


def test_the_default_options_are_those_of_the_primary_config() -> None:
    found = default_options()
    assert found["dataset"] == "digits"
    assert found["crops"] == "ten"
    assert "schema" not in found


def test_options_are_files_and_registered_functions() -> None:
    found = options("crops", "statistic", "nothing")
    assert found["crops"] == ["center", "dense", "five", "ten"]
    assert {"ks", "kl", "auroc"} <= set(found["statistic"])
    assert found["nothing"] == []


@pytest.mark.parametrize(
    ("keywords", "expected"),
    [
        (
            {"dataset": "folder", "root": Path("/a/my birds"), "seed": 3, "crops.size": 32},
            {
                "dataset.root": "/a/my birds",
                "dataset.name": "my-birds",
                "seed": 3,
                "crops.size": 32,
            },
        ),
        (
            {"limit_per_class": np.int64(3), "layers": ("conv1", "fc*"), "bins": None},
            {
                "dataset.limit_per_class": 3,
                "model.layers": ["conv1", "fc*"],
                "statistic": {"name": "ks", "bins": None},
            },
        ),
        (
            {"limit_per_class": None, "layers": "conv", "model.weights.path": Path("w.pth")},
            {
                "dataset.limit_per_class": None,
                "model.layers": "conv",
                "model.weights.path": "w.pth",
            },
        ),
        (
            {"epsilon": 0.5, "statistic": "kl", "figures": True, "report": "tables"},
            {
                "statistic": {"name": "kl", "bins": 100, "epsilon": 0.5},
                "report.figures": True,
                "report.pictures": "none",
            },
        ),
        (
            {"experiment": "paper", "dataset": "wood", "hydra/launcher": "basic"},
            {"model.name": "vgg16", "dataset.name": "wood", "threshold.permutations": 1},
        ),
    ],
)
def test_keywords_are_words_of_the_command_line(
    keywords: dict[str, Any], expected: dict[str, Any]
) -> None:
    config, _ = compose_keywords(keywords)
    for key, value in expected.items():
        found: Any = config
        for part in key.split("."):
            found = found[part] if isinstance(found, dict) else getattr(found, part)
        assert found == value, key
        assert type(found) is type(value), key


def test_a_text_is_that_text() -> None:
    texts = ["a b", "a,b", "[a]", "{a: b}", "x=y", "null", "1", "'\"", "${a}", r"\${a}", r"a\\${"]
    texts += ["${", "a}${b}c", "é\n", ""]
    assert compose_keywords({"tags": texts})[0].logger.tags == texts
    assert compose_keywords({"project": texts[-3]})[0].logger.project == texts[-3]


@pytest.mark.parametrize(
    ("keywords", "line"),
    [
        (
            {"name": "x"},
            "'name' is a key of several groups: write dataset.name or model.name or crops.name or ",
        ),
        ({"sed": 1}, "unknown key 'sed' (did you mean 'seed'?); allowed: calibration, "),
        ({"epsilon": 1}, "unknown key 'epsilon'; allowed: calibration, "),
        ({"crops.sise": 1}, "unknown key of crops 'sise' (did you mean 'size'?); allowed: "),
        ({"dataset": "digit"}, "unknown option of dataset 'digit' (did you mean 'digits'?)"),
        ({"dataset": None}, "dataset=None: must be the name of an option"),
        ({"dataset": ["a"]}, "dataset=['a']: must be the name of an option"),
        ({"seed": "abc"}, "seed: Value 'abc' of type 'str' could not be converted to Integer"),
    ],
)
def test_a_mistaken_keyword_is_refused(keywords: dict[str, Any], line: str) -> None:
    with pytest.raises(ConfigError, match=f"^{re.escape(line)}"):
        compose_keywords(keywords)


def test_the_folder_of_a_run_is_that_of_the_command_line() -> None:
    keywords = {"outputs": "out", "dataset": "folder", "root": "birds", "model": "vgg16"}
    _, folder = compose_keywords(keywords)
    assert re.fullmatch(r"out/runs/\d{4}-\d\d-\d\d/\d\d-\d\d-\d\d-birds-vgg16", str(folder))
    assert compose_keywords({"hydra.run.dir": "here"})[1] == Path("here")


def test_a_program_with_a_hydra_of_its_own_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("mine: 1\n")
    with hydra.initialize_config_dir(str(tmp_path), version_base="1.3"):
        assert compose_keywords({"seed": 5})[0].seed == 5
        assert hydra.compose("config") == {"mine": 1}


def test_within_a_run_its_own_search_path_is_used(compose: Compose, tmp_path: Path) -> None:
    """As with --config-dir."""
    (tmp_path / "more/dataset").mkdir(parents=True)
    (tmp_path / "more/dataset/mine.yaml").write_text("name: mine\nlayout: wood\nroot: w\n")
    config = compose("report.reference_dataset=mine")
    with pytest.raises(ConfigError, match="no folder and no data set of this name"):
        reference_dataset(config)
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        loader: Any = GlobalHydra.instance().config_loader()
        path = loader.get_search_path()
        path.prepend(provider="command-line", path=f"file://{tmp_path}/more")
        loader.repository.initialize_sources(path)
        found = reference_dataset(config)
    assert found is not None
    assert found.root == "w"


def test_a_reference_data_set_is_an_option_below_the_paths_of_the_run(compose: Compose) -> None:
    config = compose(
        "paths.data=there", "report.reference_dataset=wood", "report.reference_limit_per_class=3"
    )
    assert reference_dataset(config) == DatasetConfig(
        "wood", "wood", root="there/wood", limit_per_class=3
    )
    config.report.pictures = "none"
    assert reference_dataset(config) is None


def test_a_reference_data_set_is_a_folder(
    compose: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "birds").mkdir()
    monkeypatch.chdir(tmp_path)
    config = compose("report.reference_dataset=birds", "report.reference_limit_per_class=50")
    expected = DatasetConfig("birds", "folder", root=str(tmp_path / "birds"))
    assert reference_dataset(config) == replace(expected, limit_per_class=50)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert reference_dataset(compose("report.reference_dataset=~/birds")) == expected


def test_no_reference_data_set_is_the_images_of_the_run(compose: Compose) -> None:
    assert reference_dataset(compose()) is None


@pytest.mark.parametrize(
    ("root", "name"),
    [
        ("/data/flowers", "flowers"),
        ("/data/flowers/", "flowers"),
        ("flowers/TRAIN", "flowers-TRAIN"),
        ("/a/b/images", "b-images"),
        ("/images", "images"),
        ("/", "folder"),
        ("/a/x (1)!", "x-1"),
        ("v1.2_é", "v1.2_é"),
        (None, "folder"),
        (".", "robin"),
        ("..", "birds"),
        ("../", "birds"),
        ("../../birds/wren/..", "birds"),
        ("link/..", "birds"),
        ("link", "link"),
        ("~", "birds"),
        ("~/wren/", "wren"),
        ("~nobody-of-this-name", "nobody-of-this-name"),
        ("caf\udce9", "caf"),
        ("x" * 100, "x" * 100),
        ("x" * 101, "x" * 100),
        ("a" + "é" * 99, "a" + "é" * 49),
    ],
)
def test_a_data_set_is_called_as_its_folder(
    root: str | None, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for bird in ("robin", "wren"):
        (tmp_path / "birds" / bird).mkdir(parents=True)
    (tmp_path / "birds/robin/link").symlink_to(tmp_path / "birds/wren")
    monkeypatch.chdir(tmp_path / "birds/robin")
    monkeypatch.setenv("HOME", str(tmp_path / "birds"))
    assert folder_name(root) == name


PATHS = ["dataset.root", "dataset.file", "dataset.source", "model.weights.path"]
PATHS += ["model.weights.folder", "report.reference_dataset"]
PATHS += ["paths.data", "paths.outputs", "paths.cache"]


@pytest.mark.parametrize(
    ("given", "expected"),
    [("~/a", "/home/me/a"), ("~", "/home/me"), ("~no one/a", "./~no one/a"), ("a/~", "a/~")],
)
def test_a_tilde_is_expanded_in_every_path(
    given: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    for config in (compose_words([f"{k}={given}" for k in PATHS]), keywords(given)):
        for key in PATHS:
            assert value_of(config, key) == expected, key
    assert compose_keywords({"hydra.run.dir": given})[1] == Path(expected)
    assert compose_words([f"logger.project={given}"]).logger.project == given


def keywords(path: str) -> Config:
    return compose_keywords(dict.fromkeys(PATHS, path))[0]


def value_of(config: Any, key: str) -> Any:
    for part in key.split("."):
        config = getattr(config, part)
    return config


@pytest.mark.parametrize(
    ("variable", "key", "usual"),
    [
        ("FNX_DATA", "paths.data", "data"),
        ("FNX_CACHE", "paths.cache", "outputs/embeddings"),
    ],
)
def test_folders_of_the_environment_are_expanded_and_an_empty_one_is_none(
    variable: str, key: str, usual: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    for value, expected in (("~/x", "/home/me/x"), ("é (1)", "é (1)"), ("", usual)):
        monkeypatch.setenv(variable, value)
        assert value_of(compose_words(), key) == expected
    monkeypatch.delenv(variable)
    assert value_of(compose_words(), key) == usual
