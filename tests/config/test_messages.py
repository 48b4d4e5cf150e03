"""Errors of Hydra and OmegaConf, each in one line."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from hydra.errors import HydraException, MissingConfigException
from omegaconf.errors import OmegaConfBaseException

from fnx.config.messages import in_one_line
from fnx.config.schema import Config
from fnx.errors import ConfigError


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            ["dataset.rooot=x"],
            "unknown key of dataset 'rooot' (did you mean 'root'?); allowed: array, certainty, ",
        ),
        (["sed=1"], "unknown key 'sed' (did you mean 'seed'?); allowed: calibration, "),
        (["datset=digits"], "unknown key 'datset' (did you mean 'dataset'?); allowed: calibration"),
        (
            ["model.weights.pth=x"],
            "unknown key of model.weights 'pth' (did you mean 'path'?); allowed: file, folder, ",
        ),
        (
            ["statistic.bin=3"],
            "unknown key of statistic 'bin' (did you mean 'bins'?); allowed: bin",
        ),
        (
            ["threshold=quantile", "threshold.steps=3"],
            "unknown key of threshold 'steps' (did you mean 'step'?); allowed: permutations, q, st",
        ),
        (
            ["dataset=digit"],
            "unknown option of dataset 'digit' (did you mean 'digits'?); allowed: array, caltech",
        ),
        (["statistic=kss"], "unknown option of statistic 'kss' (did you mean 'ks'?); allowed: "),
        (
            ["statistic.bins=abc"],
            "statistic.bins=abc: Value 'abc' of type 'str' could not be converted to Integer",
        ),
        (
            ["crops.size=1.5"],
            "crops.size=1.5: Value '1.5' of type 'float' could not be converted to",
        ),
        (["~threshold"], "threshold is missing: give it as threshold=…"),
        (["model=timm"], "model.name is missing: give it as model.name=…"),
        (
            ["model.layers=[a(1), it's]"],
            "model.layers=[a(1), it's]: its value has characters that must be in quotes, as in"
            """ 'model.layers=["a(1)","it'"'"'s"]'""",
        ),
        (
            ["seed=a(1)"],
            "seed=a(1): its value has characters that must be in quotes, as in 'seed=\"a(1)\"'",
        ),
        (["seed='a"], "'seed='a' is not KEY=VALUE: "),
        (["shwo"], "'shwo' is not KEY=VALUE: missing EQUAL at '<EOF>'"),
        (["statistic=ks,kl"], "statistic=ks,kl names several values: add -m to sweep over them"),
        (["hydra.foo=1"], "hydra.foo: Key 'foo' not in 'HydraConf'"),
        (["model.layers=${nothing}"], "model.layers: Interpolation key 'nothing' not found"),
        (["crops=10"], "unknown option of crops '10'; allowed: center, dense, five, ten"),
        (["threshold=null"], "unknown option of threshold 'null'; allowed: "),
        (
            ["model.weights=a.pth"],
            "model.weights has no value of its own: give model.weights.KEY=…, KEY one of source, ",
        ),
        (["hydra/launcher=slurmm"], "unknown option of hydra/launcher 'slurmm' (did you mean 's"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_takes_one_line(
    words: list[str], line: str, compose: Callable[..., Config]
) -> None:
    with pytest.raises(ConfigError, match=f"^{re.escape(line)}") as error:
        compose(*words)
    assert "\n" not in str(error.value)
    assert isinstance(error.value.__cause__, HydraException | OmegaConfBaseException)


@pytest.mark.parametrize(
    ("option", "extra"),
    [("submitit_slurm", "slurm"), ("submitit_local", "slurm"), ("joblib", "joblib")],
)
def test_a_launcher_that_is_not_installed_names_its_extra(option: str, extra: str) -> None:
    error = MissingConfigException("", f"hydra/launcher/{option}", ["basic"])
    line = f"hydra/launcher={option} is not installed: pip install 'fnx-features[{extra}]'"
    with pytest.raises(ConfigError, match=f"^{re.escape(line)}$"), in_one_line():
        raise error


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (MissingConfigException("No such file\nin the search path", None, None), "No such file"),
        (MissingConfigException("No such file\n", "config", ["a"]), "No such file"),
        (MissingConfigException("No such file", "dataset/foo", None), "No such file"),
        (MissingConfigException("", "paths/joblib", ["a"]), "unknown option of paths 'joblib'; al"),
        (HydraException("  first\nsecond"), "first"),
        (HydraException(""), "HydraException"),
        (OmegaConfBaseException("bad"), "bad"),
    ],
)
def test_what_is_not_known_is_said_by_its_first_line(error: Exception, line: str) -> None:
    with pytest.raises(ConfigError, match=f"^{re.escape(line)}"), in_one_line():
        raise error


def test_other_errors_pass() -> None:
    with pytest.raises(ZeroDivisionError), in_one_line():
        raise ZeroDivisionError
