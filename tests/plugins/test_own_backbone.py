"""The page about own backbones does what it says: its files are written, and its networks run."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.pages import blocks, write_files

from fnx.backbones import build, layer_names
from fnx.backbones.weights.locate import locate
from fnx.config.compose import compose
from fnx.config.help import help_text
from fnx.errors import ConfigError, PluginError
from fnx.registry import load_folder

PAGE = "own-backbone"


@pytest.fixture
def workplace(tmp_path: Path) -> Path:
    return write_files(PAGE, tmp_path)


@pytest.mark.slow
@pytest.mark.usefixtures("restored_registry")
def test_its_command_runs_with_weights_of_a_format_of_ones_own(
    workplace: Path, command_line: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    shapes = {"0.weight": (8, 3, 5, 5), "0.bias": 8, "2.weight": (16, 8, 3, 3), "2.bias": 16}
    shapes |= {"4.weight": (10, 16 * 12 * 12), "4.bias": 10}
    weights = {name: rng.normal(size=shape).astype("f4") for name, shape in shapes.items()}
    np.savez(workplace / "mine.npz", **weights)
    (command,) = (text.split() for kind, _, text in blocks(PAGE) if kind == "sh")
    quick = ["dataset.limit_per_class=3", "logger=none", "report.formats=[png]", "trainer=cpu"]
    assert command[:3] == ["python", "-m", "fnx"]
    monkeypatch.delenv("FNX_PLUGINS", raising=False)
    command_line(*command[3:], *quick, "hydra.run.dir=run")
    run = workplace / "run"
    record = json.loads((run / "run.json").read_text())
    assert record["model"] == "mine"
    assert record["counts"]["features"] == 8 + 16
    assert record["config"]["model"]["file"] == "mine.npz"
    assert len(list((run / "pictures").iterdir())) > 2


@pytest.mark.usefixtures("restored_registry")
def test_torchvisions_and_hugging_faces_networks_are_read(workplace: Path) -> None:
    from transformers import ViTConfig, ViTImageProcessor, ViTModel

    checkpoint = workplace / "checkpoint"
    small = ViTConfig(
        hidden_size=12,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=16,
        image_size=32,
        patch_size=8,
    )
    ViTModel(small).save_pretrained(checkpoint)
    ViTImageProcessor(image_mean=[0.1, 0.2, 0.3]).save_pretrained(checkpoint)
    load_folder(workplace / "plugins")
    images = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    found = {}
    for words in (
        ["model=torchvision", "model.architecture=mobilenet_v3_small", "model.trained=false"],
        ["model=hugging_face", f"model.checkpoint={checkpoint}"],
    ):
        config = compose([*words, "crops.size=32"]).model
        names = [layer.name for layer in layer_names(config, 32)]
        net = build(config, locate(config, 0), image_size=32, seed=0)
        rows = net(images)
        assert rows.shape == (2, net.n_features)
        assert rows.isfinite().all()
        found[config.name] = names, net
    names, net = found["torchvision"]
    assert net.preprocessing.mean == (0.485, 0.456, 0.406)
    assert "features.0.0" in names
    assert not [name for name in names if name.startswith("classifier")]
    names, net = found["hugging_face"]
    assert net.preprocessing.mean == (0.1, 0.2, 0.3)
    assert {"layers.0", "layers.1", "layers.0.mlp.fc1"} <= set(names)
    # Blocks and all: the class token in front of 16 patches is left out.
    blocks = [tap for tap in net.taps if tap.site.module == "layers.1"]
    assert [(tap.left_out, tap.channels_last) for tap in blocks] == [(1, True)]


@pytest.mark.usefixtures("restored_registry")
def test_help_and_refusals_know_its_keys(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    load_folder(workplace / "plugins")
    told = re.search(r"(?s)hugging_face +A vision transformer.{,200}", help_text({}))
    assert told is not None
    assert re.search(r"model\.checkpoint +default", told[0])
    with pytest.raises(ConfigError, match=r"'fil' \(did you mean 'file'\?\)"):
        compose(["model=mine", "model.fil=x"])
    with pytest.raises(PluginError, match=r"model=mine \(.*mine.* failed: FileNotFoundError"):
        layer_names(compose(["model=mine", "model.file=none.npz"]).model, 32)
