"""Checkpoints of people's own training: what they hold beside the weights, and how names begin."""

from __future__ import annotations

import argparse
import datetime
import io
import logging
import os
import pathlib
import pickle
import re
import zipfile
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from torch import Tensor, nn

from fnx.backbones.networks import untrained
from fnx.backbones.weights import checkpoint
from fnx.backbones.weights.checkpoint import Inert, read_checkpoint
from fnx.backbones.weights.load import load, read_state_dict
from fnx.errors import WeightsError

State = dict[str, Tensor]


@pytest.fixture(scope="module")
def state() -> State:
    return untrained("test_resnet", 160, seed=7).state_dict()


def loaded(path: Path, needed: Callable[[str], bool] = lambda _: True) -> State:
    """Tensors of the network after it got those of the file."""
    net = untrained("test_resnet", 160, seed=1)
    load(
        net,
        read_state_dict(path),
        timm_name="test_resnet",
        source=path.name,
        needed=needed,
        layer_names={"layer1.0.conv1": "first"},
    )
    return net.state_dict()


def same(found: State, expected: State) -> bool:
    return all(torch.equal(found[name], value) for name, value in expected.items())


def before(prefix: str, state: State) -> State:
    return {prefix + name: value for name, value in state.items()}


class Settings(dict[str, Any]):
    """As Lightning, easydict and yacs keep hyperparameters: items and attributes are one."""

    __getattr__ = dict.__getitem__
    __setattr__ = dict.__setitem__  # type: ignore[assignment]


BESIDE = {
    "args": argparse.Namespace(lr=0.1, out=pathlib.PurePosixPath("runs/1")),
    "scores": [np.float64(0.5), np.arange(3), {1: np.bool_(True)}],
    "best": {"path": Path("a/b"), "at": datetime.datetime(2026, 1, 2), 0.1: {1, 2}},
    "config": OmegaConf.create({"lr": 0.1, "sizes": [1, 2]}),
    "hyper_parameters": Settings(lr=0.1, net=nn.Linear(2, 2)),
    "counts": Counter("aab"),
    "lists": defaultdict(list, a=[1]),
    "frozen": frozenset({(1, 2)}),
    "optimizer": {"state": {0: {"exp_avg": torch.ones(2)}}, "groups": [{"lr": 1}]},
    "loss": torch.tensor(0.3),
    "type": torch.float32,
    "complex": torch.ones(2, dtype=torch.complex64),
    "sparse": torch.eye(2).to_sparse(),
}


@pytest.mark.parametrize(
    ("ending", "protocol", "is_zip"),
    [("a.pth.tar", 2, True), ("a.ckpt", 4, True), ("a.pkl", 5, False), ("a.bin", 2, False)],
)
def test_what_stands_beside_the_weights_does_not_matter(
    state: State, tmp_path: Path, ending: str, protocol: int, is_zip: bool
) -> None:
    torch.save(
        {"epoch": 3, **BESIDE, "state_dict": state},
        tmp_path / ending,
        pickle_protocol=protocol,
        _use_new_zipfile_serialization=is_zip,
    )
    assert same(loaded(tmp_path / ending), state)


@pytest.mark.parametrize(
    ("wrap", "said"),
    [
        (lambda s: s, []),
        (lambda s: {"model_state": s}, []),
        (lambda s: Settings(weights=s), []),
        (lambda s: before("module.", s), ["'module.' before the tensors' names is dropped"]),
        (lambda s: {"model": before("module.", s)}, ["'module.' before"]),
        (lambda s: before("_orig_mod.module.", s), ["'_orig_mod.module.' before"]),
        (lambda s: {"state_dict": before("a.b.c.d._orig_mod.", s)}, ["'a.b.c.d._orig_mod.' b"]),
        (
            lambda s: {"state_dict": before("model.", s) | {"loss_fn.weight": torch.ones(2)}},
            [
                "'model.' before",
                "that are not the network's are left out: loss_fn.weight",
            ],
        ),
        (
            lambda s: before("module.", s) | {"n_averaged": torch.tensor(4)},
            ["'module.' before", "are left out: n_averaged"],
        ),
        (lambda s: {"state_dict_ema": s}, []),
        (
            lambda s: {"state_dict_ema": twice(s), "state_dict": s},
            ["more than once: taking 'state_dict.', not 'state_dict_ema.'"],
        ),
        (lambda s: {"model": s, "ema": {"module": twice(s)}}, ["taking 'model.', not 'ema.module"]),
        (
            lambda s: before("ema_model.", twice(s)) | before("net.", s) | before("teacher.", s),
            ["'net.' before", "taking 'net.', not 'ema_model.', 'teacher.'"],
        ),
        (
            lambda s: before("encoder_q.", s) | before("encoder_k.", twice(s)),
            ["'encoder_q.' before", "taking 'encoder_q.', not 'encoder_k.'"],
        ),
        (lambda s: s | before("swa.", twice(s)), ["taking '', not 'swa.'"]),
    ],
)
def test_the_network_is_found_by_its_names(
    state: State,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    wrap: Callable[[State], Any],
    said: list[str],
) -> None:
    torch.save(wrap(state), tmp_path / "a.pt")
    with caplog.at_level(logging.INFO):
        assert same(loaded(tmp_path / "a.pt"), state)
    assert len(caplog.messages) == len(said)
    for part, message in zip(said, caplog.messages, strict=True):
        assert part in message
        assert message.startswith("a.pt")


def twice(state: State) -> State:
    return {name: 2 * value for name, value in state.items()}


def test_parts_of_a_network_are_found_too(state: State, tmp_path: Path) -> None:
    """A backbone without its head, and the first layers alone, under a name of their own."""
    head, low = ("fc.",), ("fc.", "layer2", "layer3", "layer4")
    for left_out in (head, low):
        part = {name: value for name, value in state.items() if not name.startswith(left_out)}
        torch.save({"state_dict": before("backbone.", part)}, tmp_path / "a.ckpt")
        found = loaded(tmp_path / "a.ckpt", lambda name, out=left_out: not name.startswith(
            tuple(prefix.rstrip(".") for prefix in out)
        ))  # fmt: skip
        assert same(found, part)


def test_names_that_only_timm_s_converter_knows_may_have_a_prefix(tmp_path: Path) -> None:
    """ResNets of torchvision are timm's own; here EfficientNet's of the package, behind `net.`."""
    source = untrained("tf_efficientnet_lite0", 64, seed=2).state_dict()
    outside = {"conv_stem.": "_conv_stem.", "bn1.": "_bn0.", "conv_head.": "_conv_head."}
    theirs = {}
    for name, value in source.items():
        first = next((ours for ours in outside if name.startswith(ours)), "")
        theirs["net." + outside.get(first, "") + name.removeprefix(first)] = value
    torch.save(theirs, tmp_path / "a.pth")
    net = untrained("tf_efficientnet_lite0", 64, seed=1)
    load(
        net,
        read_state_dict(tmp_path / "a.pth"),
        timm_name="tf_efficientnet_lite0",
        source="a",
        needed=lambda _: True,
        layer_names={},
    )
    assert same(net.state_dict(), source)


@pytest.mark.parametrize(
    ("value", "said"),
    [(float("nan"), "NaN values"), (float("inf"), "infinite values"), (-1e300, "infinite values")],
)
def test_weights_that_are_no_numbers_are_refused_by_name(
    state: State, tmp_path: Path, value: float, said: str
) -> None:
    bad = state["layer1.0.conv1.weight"].double()
    bad[1, 0, 0, 0] = value
    torch.save(state | {"layer1.0.conv1.weight": bad}, tmp_path / "a.pth")
    with pytest.raises(WeightsError) as caught:
        loaded(tmp_path / "a.pth")
    assert str(caught.value) == (
        f"a.pth holds {said} in layer1.0.conv1.weight (first): its training may have diverged"
    )
    loaded(tmp_path / "a.pth", lambda module: module != "layer1.0.conv1")


class Call:
    """Pickled as the call of a function, or as an object of a class with a state."""

    def __init__(self, *reduced: Any) -> None:
        self.reduced = reduced

    def __reduce__(self) -> tuple[Any, ...]:
        return self.reduced


@pytest.mark.parametrize(
    "harm",
    [
        Call(os.mkdir, ("harm",)),
        Call(eval, ("__import__('os').mkdir('harm')",)),
        Call(exec, ("open('harm', 'w')",)),
        Call(torch.load, ("harm.pth",)),
        Call(argparse.Namespace, (), {"__setstate__": 1}),
        Call(torch._utils._rebuild_tensor_v2, (torch.ones(1), 0, (1,), (1,)), {"_data": 1}),
    ],
)
@pytest.mark.parametrize("is_zip", [True, False])
def test_nothing_is_executed(
    state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, harm: Call, is_zip: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    for key in ("first", "state_dict"):
        content = {key: harm, "model": state}
        torch.save(content, "a.pth", _use_new_zipfile_serialization=is_zip)
        harmless = [path.name for path in tmp_path.iterdir()]
        try:
            assert same(loaded(tmp_path / "a.pth"), state)
        except WeightsError as error:
            assert "damaged" in str(error)  # noqa: PT017 - a call that makes no sense
        assert harmless == ["a.pth"] == [path.name for path in tmp_path.iterdir()]


def test_a_class_or_function_of_a_checkpoint_is_none_and_stays_as_it_is(tmp_path: Path) -> None:
    torch.save({"f": torch._utils._rebuild_tensor_v2, "g": os.mkdir, "x": [1, 2.5]}, tmp_path / "a")
    found = read_checkpoint(tmp_path / "a")
    assert type(found) is Inert
    assert type(found["g"]) is Inert
    assert type(found["g"]("harm")) is Inert
    assert found["x"] == [1, 2.5]
    at_once = b"\x80\x02(X\x01\x00\x00\x00aK\x07NK\x08d."  # {"a": 7, None: 8}
    rewritten(tmp_path / "a", lambda name, old: at_once if name.endswith("data.pkl") else old)
    assert read_checkpoint(tmp_path / "a") == {"a": 7}


def test_a_checkpoint_that_holds_itself_or_the_same_in_many_places_ends(
    state: State, tmp_path: Path
) -> None:
    content: dict[str, Any] = {"model": before("module.", state)}
    content["state_dict"] = content
    levels: dict[str, Any] = {"a": {}}
    for _ in range(60):
        levels = {"a": levels, "b": levels}
    key: tuple[Any, ...] = ()
    for _ in range(60):
        key = (key, key)
    content |= {"levels": levels, "set": Call(frozenset, ([key],))}
    torch.save(content, tmp_path / "a.pth")
    assert same(loaded(tmp_path / "a.pth"), state)


def rewritten(path: Path, change: Callable[[str, bytes], bytes | None], **options: Any) -> None:
    """Write a checkpoint's archive again, with other members."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", **options) as archive:
        for name, content in members.items():
            if (changed := change(name, content)) is not None:
                archive.writestr(name, changed)


def test_damage_is_found_and_said_in_one_line(state: State, tmp_path: Path) -> None:
    def said(change: Callable[[str, bytes], bytes | None] | None = None, **options: Any) -> str:
        path = tmp_path / "a.pth"
        if change is not None:
            torch.save(state, path)
            rewritten(path, change, **options)
        with pytest.raises(WeightsError) as caught:
            read_state_dict(path)
        text = str(caught.value).removeprefix(f"{path} cannot be read as weights: ")
        assert "\n" not in text
        assert "\x1b" not in text
        return text

    def only(ending: str, content: bytes | None) -> Callable[[str, bytes], bytes | None]:
        return lambda name, old: content if name.endswith(ending) else old

    assert said(only("data.pkl", None)) == "it is a zip archive, but not of torch.save"
    assert said(only("byteorder", b"big")) == "it was written on a machine of another byte order"
    assert said(only("data/3", b"123")).startswith("it is damaged: 3 bytes where a tensor needs ")
    assert said(only("data/3", None)).startswith("it is damaged or not of torch.save (KeyError: ")
    assert (
        said(only("data.pkl", b"\x80\x02<")) == "it is damaged or not of torch.save (KeyError: 60)"
    )
    zeros = {"a": torch.zeros(100_000)}
    torch.save(zeros, tmp_path / "a.pth")
    rewritten(tmp_path / "a.pth", lambda _, old: old, compression=zipfile.ZIP_DEFLATED)
    assert said() == "it is compressed or damaged: it holds more than its own size"
    torch.save(state, tmp_path / "a.pth")
    content = bytearray((tmp_path / "a.pth").read_bytes())
    place = content.index(state["fc.weight"].numpy().tobytes())
    content[place] ^= 1
    (tmp_path / "a.pth").write_bytes(content)
    assert "Bad CRC-32" in said()
    for other, part in (
        (pickle.dumps([1]), "it is a pickle, but not of torch.save"),
        (b"<html>404", "it is damaged or not of torch.save"),
        (b"", "it is damaged or not of torch.save (EOFError)"),
    ):
        (tmp_path / "a.pth").write_bytes(other)
        assert said().startswith(part)


def test_old_files_that_are_damaged(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    values = torch.arange(5.0)
    torch.save({"a": values, "b": values[2:]}, buffer, _use_new_zipfile_serialization=False)
    whole = buffer.getvalue()
    path = tmp_path / "a.pth"

    def said(content: bytes) -> str:
        path.write_bytes(content)
        with pytest.raises(WeightsError) as caught:
            read_state_dict(path)
        return str(caught.value).removeprefix(f"{path} cannot be read as weights: ")

    path.write_bytes(whole)
    found = read_state_dict(path)[""]
    assert found["a"].tolist() == [0, 1, 2, 3, 4]
    assert found["b"].tolist() == [2, 3, 4]
    assert said(whole[:-1]) == "it is damaged: 19 bytes where a tensor needs 20"
    assert said(whole[:-28] + b"\6" + whole[-27:]) == (
        "it is damaged: a tensor is of another size than it says"
    )
    assert said(whole.replace(b"little_endian\x94\x88", b"little_endian\x94\x89").replace(
        b"little_endianq\x02\x88", b"little_endianq\x02\x89"
    )) == "it was written on a machine of another byte order"  # fmt: skip
    key = re.findall(rb"\d{9,}", whole)[-1]  # in the list of storages, which comes last
    before, _, after = whole.rpartition(key)
    assert said(before + key[::-1] + after) == (
        "it is damaged: its list of tensors is another than they are"
    )
    huge = whole.replace(b"K\x05N", b"J\xff\xff\xff\x7fN", 1)
    assert huge != whole
    assert said(huge) == "it is damaged, or of a version of torch that is too old"


@pytest.mark.filterwarnings("ignore:.*deprecated:FutureWarning")
def test_programs_are_refused_by_what_they_are(tmp_path: Path) -> None:
    torch.save({"model": nn.Linear(2, 2)}, tmp_path / "whole.pt")
    with pytest.raises(WeightsError, match=r"whole.pt holds a whole pickled network, .*state_dict"):
        read_state_dict(tmp_path / "whole.pt")
    torch.jit.save(torch.jit.trace(nn.Linear(2, 2), torch.ones(1, 2)), str(tmp_path / "script.pt"))
    with pytest.raises(WeightsError, match=r"script.pt cannot be read .* TorchScript, a program: "):
        read_state_dict(tmp_path / "script.pt")


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor")  # until torch has no such tensors
def test_quantised_tensors_beside_the_weights_do_not_matter(state: State, tmp_path: Path) -> None:
    quantised = torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8)
    torch.save({"quantised": quantised, "model": state}, tmp_path / "a.pth")
    assert same(loaded(tmp_path / "a.pth"), state)


def test_names_of_parameters_and_kinds_of_numbers_are_kept(tmp_path: Path) -> None:
    kinds = [torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16]
    kinds += [torch.int8, torch.uint8, torch.bool, torch.float8_e4m3fn, torch.uint16]
    kinds += [torch.complex64, torch.complex128]
    tensors = OrderedDict((str(kind), torch.arange(6).to(kind).view(2, 3).T) for kind in kinds)
    tensors["parameter"] = nn.Parameter(torch.ones(2))
    tensors["empty"] = torch.ones(0, 3)
    torch.save(tensors, tmp_path / "a.pth")
    found = read_state_dict(tmp_path / "a.pth")[""]
    assert list(found) == list(tensors)
    for name, value in tensors.items():
        assert found[name].dtype == value.dtype
        assert torch.equal(found[name].cfloat(), value.cfloat())
    assert type(found["parameter"]) is Tensor


def test_a_tensor_may_not_be_of_any_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One number may stand for all values of a tensor, which would be made of it."""
    monkeypatch.setattr(checkpoint, "_LARGEST_VIEW", 100)
    torch.save({"a": torch.ones(1).expand(10, 10)}, tmp_path / "a.pth")
    assert read_state_dict(tmp_path / "a.pth")[""]["a"].shape == (10, 10)
    torch.save({"a": torch.ones(1).expand(1, 101)}, tmp_path / "a.pth")
    with pytest.raises(WeightsError, match="a tensor has more values than are stored"):
        read_state_dict(tmp_path / "a.pth")
    torch.save({"a": torch.ones(1, 101)}, tmp_path / "a.pth")
    size = len(zipfile.ZipFile(tmp_path / "a.pth").read("a/data.pkl"))
    for most, refused in ((size, False), (size - 1, True)):
        monkeypatch.setattr(checkpoint, "_LARGEST_PICKLE", most)
        if refused:
            with pytest.raises(WeightsError, match=f"its pickle is larger than {most} bytes"):
                read_state_dict(tmp_path / "a.pth")
        else:
            assert read_state_dict(tmp_path / "a.pth")[""]["a"].shape == (1, 101)


def test_names_in_messages_are_six_and_not_longer_than_200_letters(
    state: State, tmp_path: Path
) -> None:
    for number, rest in ((6, ""), (7, " … and 1 more")):
        others = ["x" * 200, "y" * 201, *(f"z{n}" for n in range(number - 2))]
        torch.save(state | dict.fromkeys(others, torch.ones(1)), tmp_path / "a.pth")
        with pytest.raises(WeightsError) as caught:
            loaded(tmp_path / "a.pth")
        assert str(caught.value) == (
            f"a.pth does not fit test_resnet: {number} unexpected: {'x' * 200}, {'y' * 200}…, "
            f"z0, z1, z2, z3{rest}"
        )
