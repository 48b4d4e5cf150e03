"""The command line: what it says, how fast, and how it says no."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from fnx import cli
from fnx.config.schema import Config


def fnx(*words: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "fnx", *words],
        cwd=cwd,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["dataset.rooot=x"],
            r"unknown key of dataset 'rooot' \(did you mean 'root'\?\); allowed:",
        ),
        (["sed=1"], r"unknown key 'sed' \(did you mean 'seed'\?\)"),
        (["model.weights.pth=x"], r"unknown key of model.weights 'pth'"),
        (["trainer.batch_size=abc"], r"trainer.batch_size=abc: must be auto or an integer from 1"),
        (["statistic.bins=abc"], r"statistic.bins.*'abc'.*Integer"),
        (["statistic.bin=3"], r"unknown key of statistic 'bin' \(did you mean 'bins'\?\)"),
        (["dataset=digit"], r"unknown option of dataset 'digit' \(did you mean 'digits'\?\)"),
        (["statistic=kss"], r"unknown option of statistic 'kss' \(did you mean 'ks'\?\)"),
        (["statistic.bins=0"], r"statistic.bins=0: must lie in 1 … 65,536"),
        (["+foo=1"], r"unknown key 'foo'"),
        (["+dataset.rot=1"], r"unknown key 'dataset.rot' \(did you mean 'dataset.root'\?\)"),
        (["+statistic.foo=1"], r"unknown parameter of statistic 'ks'"),
        (["datset=digits"], r"unknown key 'datset' \(did you mean 'dataset'\?\)"),
        (["trainer.precision=half"], r"trainer.precision=half: allowed are 32-true, "),
        (["crops.size=300"], r"crops.size=300: must not exceed crops.resize=256"),
        (["threshold.permutations=0"], r"threshold.permutations=0: must be at least 1"),
        (["dataset=folder"], r"dataset.root is missing: give it as dataset.root="),
        (["model=timm"], r"model.name is missing: give it as model.name="),
        (
            ["model=vgg16", "model.layers=[conv9_9]"],
            r"unknown layer 'conv9_9' .*allowed: .*conv1_1",
        ),
        (["model=timm", "model.name=resnet_18"], r"no model 'resnet_18' \(did you mean resnet18,"),
        (["dataset=folder", "dataset.root=nowhere"], r"nowhere"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_is_one_line_and_exit_code_2(words: list[str], said: str, tmp_path: Path) -> None:
    done = fnx(*words, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert re.search(said, done.stderr), done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert done.stderr.startswith("fnx: ")
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.rglob("*.zarr")), "work had begun"


def test_the_traceback_is_there_when_asked_for(tmp_path: Path) -> None:
    done = fnx("dataset.rooot=x", "debug=true", cwd=tmp_path)
    assert done.returncode != 0
    assert "Traceback" in done.stderr


def test_help_lists_every_group_option_and_key(tmp_path: Path) -> None:
    done = fnx("--help", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for word in ("digits", "folder", "vgg16", "vgg19", "efficientnet_lite0", "ks_exact", "wandb"):
        assert word in done.stdout
    for key in ("model.weights.sha256", "dataset.on_error", "trainer.precision", "seed", "bins"):
        assert key in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 100


@pytest.mark.parametrize("words", [["--help"], ["--cfg", "job"]], ids=" ".join)
def test_light_commands_import_nothing_heavy(words: list[str], tmp_path: Path) -> None:
    code = (
        "import sys; from fnx.cli import main\n"
        f"sys.argv = ['fnx', *{words!r}]\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'timm', 'lightning', 'numba', 'wandb', 'matplotlib', 'zarr'}\n"
        "print('HEAVY', sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "HEAVY []" in done.stdout


def test_completion_offers_options_and_keys(tmp_path: Path) -> None:
    line = "fnx dataset="
    done = fnx(
        "-sc",
        "query=bash",
        cwd=tmp_path,
        COMP_LINE=line,
        COMP_POINT=str(len(line)),
    )
    assert "dataset=digits" in done.stdout, done.stderr
    assert "dataset=folder" in done.stdout


def test_the_config_is_shown_without_running(tmp_path: Path) -> None:
    done = fnx(
        "--cfg", "job", "model=vgg16", "dataset=folder", "dataset.root=a/birds", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert "timm_name: vgg16.tv_in1k" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_digits_take_one_crop_unless_told_otherwise(compose: Callable[..., Config]) -> None:
    assert compose().crops.name == "center"
    assert compose("crops=ten").crops.name == "ten"
    assert compose("dataset=folder", "dataset.root=x").crops.name == "ten"


def test_the_papers_recipe(compose: Callable[..., Config]) -> None:
    config = compose("experiment=paper", "dataset=folder", "dataset.root=x")
    assert config.model.name == "vgg16"
    assert config.crops.name == "ten"
    assert config.statistic == {"name": "ks", "bins": 100}
    assert config.threshold["permutations"] == 1


def test_every_option_of_every_group_composes(compose: Callable[..., Config]) -> None:
    given = {"folder": ["dataset.root=x"], "timm": ["model.name=resnet18"]}
    composed = 0
    for group, options in cli.groups().items():
        for option in options:
            extra = given.get(option, [])
            if group == "experiment":
                extra = ["dataset=folder", "dataset.root=x"]
            assert isinstance(compose(f"{group}={option}", *extra), Config), (group, option)
            composed += 1
    assert composed >= 20


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["+trainer._target_=os.system"], "trainer._target_=os.system: only Hydra's own"),
        (
            ["-m", "hydra.launcher._target_=subprocess.run"],
            "hydra.launcher._target_=subprocess.run",
        ),
        (["model.layers={_target_: os.system, command: ls}"], "must not hold a _target_"),
    ],
)
def test_no_config_chooses_what_python_calls(words: list[str], said: str, tmp_path: Path) -> None:
    done = fnx(*words, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert said in done.stderr
    assert not list(tmp_path.rglob("run.json"))


def test_nor_does_a_config_file(tmp_path: Path) -> None:
    experiment = tmp_path / "plugins/evil/conf/experiment"
    experiment.mkdir(parents=True)
    (experiment / "evil.yaml").write_text(
        "# @package _global_\nmodel:\n  layers:\n    - _target_: os.system\n      command: ls\n"
    )
    (experiment.parents[1] / "__init__.py").touch()
    done = fnx("experiment=evil", cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert "model.layers[0]._target_=os.system: only Hydra's own" in done.stderr


@pytest.mark.parametrize("mode", [[], ["-m"]])
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("callbacks.x._target_", "{callbacks: {x: {_target_: pathlib.Path.touch, self: made}}}"),
        ("launcher._target_", "{launcher: {_target_: hydra.utils.call}}"),
        ("job_logging.handlers.x.()", "{job_logging: {handlers: {x: {(): os.mkdir, path: made}}}}"),
        (
            "hydra_logging.handlers.x.class",
            "{hydra_logging: {handlers: {x: {class: os.mkdir, path: made}}}}",
        ),
    ],
)
def test_nor_what_hydra_calls_before_a_run(
    key: str, value: str, mode: list[str], tmp_path: Path
) -> None:
    recipe = tmp_path / "recipes/experiment/evil.yaml"
    recipe.parent.mkdir(parents=True)
    recipe.write_text(f"# @package _global_\nhydra: {value}\n")
    done = fnx(*mode, "--config-dir", "recipes", "experiment=evil", cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert f"hydra.{key}=" in done.stderr
    assert "only Hydra's own" in done.stderr
    assert list(tmp_path.iterdir()) == [tmp_path / "recipes"]
