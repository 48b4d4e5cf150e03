"""Keras' weights: every way in which its .h5 files name VGG's tensors gives the same network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from fnx.backbones.architectures import NAME_MAPS
from fnx.backbones.build import build
from fnx.backbones.weights.load import read_state_dict
from fnx.backbones.weights.locate import locate
from fnx.config.schema import Config
from fnx.errors import WeightsError

h5py = pytest.importorskip("h5py", reason="the extra `keras` is not installed")

LAYERS = {"block1_conv1": (64, 3, 3, 3), "block1_conv2": (64, 64, 3, 3)}


@pytest.fixture(scope="module")
def tensors() -> dict[str, tuple[Tensor, Tensor]]:
    """Weights and biases in torch's layout."""
    generator = torch.Generator().manual_seed(2)
    return {
        name: (torch.randn(*shape, generator=generator) / 20, torch.randn(64, generator=generator))
        for name, shape in LAYERS.items()
    }


def write(path: Path, tensors: dict[str, tuple[Tensor, Tensor]], style: str) -> Path:
    names = {
        "keras1": "{0}/{0}_{1}_1:0",  # fchollet's deep-learning-models v0.1
        "keras2": "{0}/{0}/{2}:0",
        "model": "model_weights/{0}/{0}/{2}:0",  # a whole model
    }[style]
    with h5py.File(path, "w") as file:
        file.require_group(("model_weights/" if style == "model" else "") + "block1_pool")
        for layer, (weight, bias) in tensors.items():
            kernel = weight.permute(2, 3, 1, 0).numpy()
            file[names.format(layer, "W", "kernel")] = np.ascontiguousarray(kernel)
            file[names.format(layer, "b", "bias")] = bias.numpy()
        if style == "model":
            file["optimizer_weights/adam/block1_conv1/kernel:0"] = np.zeros(3)
    return path


@pytest.mark.parametrize("style", ["keras1", "keras2", "model"])
def test_every_naming_gives_the_same_network(
    tmp_path: Path,
    compose: Callable[..., Config],
    tensors: dict[str, tuple[Tensor, Tensor]],
    style: str,
) -> None:
    path = write(tmp_path / "vgg16.h5", tensors, style)
    model = compose("model=vgg16_caffe", f"model.weights.path={path}", "model.layers=[conv1_*]")
    net = build(model.model, locate(model.model, 0), image_size=32, seed=0).net
    state = net.state_dict()
    for name, module in (("block1_conv1", "features.0"), ("block1_conv2", "features.2")):
        assert torch.equal(state[f"{module}.weight"], tensors[name][0])
        assert torch.equal(state[f"{module}.bias"], tensors[name][1])


def test_fc6_sees_the_map_in_the_order_in_which_keras_flattens_it() -> None:
    kernel, maps = torch.randn(7 * 7 * 512, 8), torch.randn(2, 512, 7, 7)
    weight = NAME_MAPS["vgg16"]({"fc1.kernel": kernel})["pre_logits.fc1.weight"]
    keras = maps.permute(0, 2, 3, 1).flatten(1) @ kernel
    torch.testing.assert_close(
        torch.nn.functional.conv2d(maps, weight)[:, :, 0, 0], keras, rtol=1e-4, atol=1e-3
    )
    other = NAME_MAPS["vgg16"]({"fc2.kernel": torch.arange(6.0).reshape(2, 3)})
    assert other["pre_logits.fc2.weight"].flatten(1).tolist() == [[0, 3], [1, 4], [2, 5]]


def test_a_damaged_file_is_refused_in_one_line(
    tmp_path: Path, tensors: dict[str, tuple[Tensor, Tensor]]
) -> None:
    whole = write(tmp_path / "whole.h5", tensors, "keras2").read_bytes()
    for content in (whole[:5_000], b"no HDF5" * 99, b""):
        (tmp_path / "cut.h5").write_bytes(content)
        with pytest.raises(WeightsError, match=r"cut.h5 cannot be read as weights") as caught:
            read_state_dict(tmp_path / "cut.h5")
        assert "\n" not in str(caught.value)


def test_a_file_of_far_more_values_than_it_could_hold_is_refused(tmp_path: Path) -> None:
    """Chunks that were never written take no space, and any number of values."""
    h5py = pytest.importorskip("h5py", reason="the extra keras is not installed")
    with h5py.File(tmp_path / "w.h5", "w") as file:
        file.create_dataset("a/kernel:0", (10**6, 10**6), np.float32, chunks=(100, 100))
    with pytest.raises(WeightsError, match=r"w.h5 cannot .* it holds more than 20 times its size"):
        read_state_dict(tmp_path / "w.h5")
