"""Taps: every value against a plain computation with torch's functions."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from fnx.backbones.backbone import Preprocessing, plan, read
from fnx.backbones.build import build
from fnx.backbones.fields import decode_position
from fnx.backbones.layers import select
from fnx.backbones.networks import traced, untrained
from fnx.backbones.pooling import encode_position, peak_positions, pooled, token_grid
from fnx.backbones.trace import Trace, trace
from fnx.backbones.weights.locate import locate
from fnx.config.schema import ModelConfig, PreprocessConfig, WeightsConfig

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def model(timm_name: str, **options: object) -> ModelConfig:
    random = WeightsConfig(source="random")
    return ModelConfig(name=timm_name, timm_name=timm_name, weights=random, **options)  # type: ignore[arg-type]


def pixels(images: int = 2, size: int = 64) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (images, 3, size, size), dtype=torch.uint8, generator=generator)


def features(net: nn.Module, images: Tensor, tap: str, layers: object = "all") -> Tensor:
    seen = trace(net, images)
    chosen = select(seen.layers, layers)
    return read(net, images, plan(seen, chosen, tap), sum(layer.units for layer in chosen))[0]


@pytest.fixture(scope="module")
def vgg16() -> nn.Module:
    return untrained("vgg16", 64, seed=0)


@pytest.mark.parametrize("tap", ["pre", "post"])
@torch.no_grad()
def test_vgg16_equals_plain_convolutions(vgg16: nn.Module, tap: str) -> None:
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    state, expected, x = vgg16.state_dict(), [], images
    for name, module in vgg16.features.named_children():  # type: ignore[union-attr,operator]
        if isinstance(module, nn.Conv2d):
            x = functional.conv2d(
                x, state[f"features.{name}.weight"], state[f"features.{name}.bias"], padding=1
            )
            expected.append((x if tap == "pre" else functional.relu(x)).mean((2, 3)))
            x = functional.relu(x)
        elif isinstance(module, nn.MaxPool2d):
            x = functional.max_pool2d(x, 2)
    x = functional.adaptive_avg_pool2d(x, 7).flatten(1)
    for name in ("fc1", "fc2"):
        weight = state[f"pre_logits.{name}.weight"].flatten(1)
        x = functional.linear(x, weight, state[f"pre_logits.{name}.bias"])
        expected.append(x if tap == "pre" else functional.relu(x))
        x = functional.relu(x)

    seen = traced("vgg16", 64)
    rows = read(vgg16, images, plan(seen, seen.layers, tap), 12_416)[0]
    torch.testing.assert_close(rows, torch.cat(expected, 1), rtol=1e-4, atol=1e-5)
    assert bool((rows < 0).any()) is (tap == "pre")


@pytest.mark.parametrize("tap", ["pre", "post"])
@torch.no_grad()
def test_efficientnet_equals_convolution_norm_and_activation(tap: str) -> None:
    config = model("tf_efficientnet_lite0", tap=tap)
    net = untrained(config.timm_name, 64, seed=0)
    for module in net.modules():  # an untrained batch norm would hide a missing one
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.5, 0.5)  # type: ignore[union-attr]
            module.weight.uniform_(0.5, 2)
    inputs: dict[str, Tensor] = {}
    for path, module in net.named_modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_pre_hook(lambda _, x, p=path: inputs.update({p: x[0].clone()}))
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    net(images)

    def expected(path: str) -> Tensor:
        parent, _, name = path.rpartition(".")
        first = path.startswith("blocks.0.")
        norm, active = {
            "conv_stem": ("bn1", True),
            "conv_head": ("bn2", True),
            "conv_dw": ("bn1" if first else "bn2", True),
            "conv_pw": ("bn2" if first else "bn1", not first),
            "conv_pwl": ("bn3", False),
        }[name]
        bn = net.get_submodule(f"{parent}.{norm}".lstrip("."))
        x = net.get_submodule(path)(inputs[path].clone())
        x = functional.batch_norm(
            x, bn.running_mean, bn.running_var, bn.weight, bn.bias, eps=bn.eps
        )  # type: ignore[arg-type]
        return (functional.relu6(x) if active and tap == "post" else x).mean((2, 3))

    seen = traced(config.timm_name, 64)
    layers = select(seen.layers, "all")
    rows = read(net, images, plan(seen, layers, tap), 21_008)[0]
    plain = torch.cat([expected(layer.module) for layer in layers], 1)
    torch.testing.assert_close(rows, plain, rtol=1e-4, atol=1e-5)


class Residual(nn.Module):
    """What timm's ResNets do: the addition changes the norm's output in place."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.bn = nn.BatchNorm2d(3)
        self.act = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.bn(self.conv(x))
        y += x
        return self.act(y)  # type: ignore[no-any-return]


@torch.no_grad()
def test_an_addition_in_place_ends_the_way_to_the_activation() -> None:
    net, x = Residual().eval(), torch.randn(2, 3, 8, 8)
    plain = net.bn(net.conv(x)).mean((2, 3))
    for tap in ("pre", "post"):
        torch.testing.assert_close(features(net, x, tap), plain)


class Shared(nn.Module):
    """One activation for two layers, and one layer called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(4, 4), nn.Linear(4, 4)
        self.act = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.one(x))
        x = self.act(self.two(x))
        return self.act(self.two(x))  # type: ignore[no-any-return]


@torch.no_grad()
def test_shared_activations_and_repeated_layers() -> None:
    net, x = Shared().eval(), torch.randn(5, 4)
    one = net.one(x).relu()
    two = net.two(one).relu()
    three = net.two(two).relu()
    torch.testing.assert_close(features(net, x, "post"), torch.cat([one, (two + three) / 2], dim=1))


@torch.no_grad()
def test_tokens_are_averaged_without_the_class_token_unless_it_is_asked_for() -> None:
    net = untrained("test_vit", 160, seed=0)
    maps: dict[str, Tensor] = {}
    net.get_submodule("blocks.0.attn.qkv").register_forward_hook(
        lambda _, __, out: maps.update(qkv=out.clone())
    )
    images = torch.randn(2, 3, 160, 160)
    rows = features(net, images, "post", ["blocks.0.attn.qkv"])
    assert maps["qkv"].shape[1] == 101
    torch.testing.assert_close(rows, maps["qkv"][:, 1:].mean(1))
    taps = plan(seen := traced("test_vit", 160), select(seen.layers, ["blocks.0.attn.qkv"]), "post")
    assert [tap.prefix for tap in taps] == [1]
    config = model("test_vit", layers=["blocks.0.attn.qkv"], class_token=True)
    backbone = build(config, locate(config, 0), image_size=160, seed=0)
    pictures = pixels(size=160)
    rows, images = backbone(pictures), backbone.preprocessing(pictures)
    net(images)
    torch.testing.assert_close(rows, maps["qkv"].mean(1))


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("swin_s3_tiny_224", marks=pytest.mark.slow),
        "test_vit",
        "test_convnext",
        "test_resnet",
        "mobilevit_xxs",
    ],
)
@torch.no_grad()
def test_a_row_depends_on_its_own_image_only(name: str) -> None:
    size = {"swin_s3_tiny_224": 224, "mobilevit_xxs": 128}.get(name, 160)
    net, images = untrained(name, size, seed=0), torch.randn(2, 3, size, size)
    seen = traced(name, size)
    layers = select(seen.layers, "all")
    taps, units = plan(seen, layers, "post"), sum(layer.units for layer in layers)
    alone = torch.cat([read(net, image[None], taps, units)[0] for image in images])
    assert not torch.allclose(alone[0], alone[1])
    torch.testing.assert_close(read(net, images, taps, units)[0], alone, rtol=1e-3, atol=1e-4)


def test_what_no_hook_reads_is_listed() -> None:
    seen = traced("beit_base_patch16_224", 224)
    assert "blocks.0.attn.qkv" in seen.unseen  # called as functional.linear with its weights
    assert "blocks.0.mlp.fc1" not in seen.unseen
    # Weights of a module that is never called are needed where its parent is.
    assert seen.needs("blocks.0.attn.qkv", last=10**6)
    tables = traced("swinv2_tiny_window8_256", 256).unseen
    assert "layers.0.blocks.0.attn.cpb_mlp.0" in tables  # the same for every image


def test_what_is_called_after_the_last_reading_is_not_needed() -> None:
    seen = Trace(entered={"": 1, "a": 2, "a.b": 3, "c": 5, "c.d": 6, "cd": 7})
    assert [seen.needs(path, 5) for path in ("a.b", "c", "c.d", "cd")] == [True, True, False, False]
    assert [seen.needs(path, 5) for path in ("a.x", "c.d.x.y", "x")] == [True, False, True]
    assert not Trace(entered={"": 9}).needs("x.y", 8)
    assert sorted(seen.beyond(4)) == ["c", "cd"]
    assert sorted(seen.beyond(5)) == ["c.d", "cd"]
    assert seen.beyond(7) == []


@pytest.mark.parametrize(
    ("unseen", "told"),
    [
        ((), None),
        (("a", "b"), "no hook can read 2 layers (a, b)"),
        (tuple("abcde"), "no hook can read 5 layers (a, b, c, d, e)"),
        (tuple("abcdef"), "no hook can read 6 layers (a, b, c, d, e, …)"),
    ],
)
def test_what_differs_from_the_training_or_is_not_read_is_told(
    unseen: tuple[str, ...],
    told: str | None,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    from fnx.backbones import networks

    seen = traced("test_resnet", 64)
    seen.unseen = unseen
    monkeypatch.setattr(networks, "traced", lambda *_: seen)
    sizes = {None: "", 64: "", 160: "test_resnet was trained on images of 160 px and is given 64"}
    for size, warning in sizes.items():
        caplog.clear()
        config = model("test_resnet", layers=["conv1.0"], input_size=size)
        build(config, locate(config, 0), image_size=64, seed=0)
        lines = [record.getMessage() for record in caplog.records]
        expected = [f"{warning} (crops.size)"] if warning else []
        assert lines == expected + ([f"test_resnet: {told}"] if told else [])


def test_the_backbone_stops_after_the_last_layer_and_keeps_nothing_beyond() -> None:
    config = model("vgg11", layers=["conv2_1"])
    backbone = build(config, locate(config, 0), image_size=64, seed=0)
    assert backbone.n_features == 128
    assert sum(p.numel() for p in backbone.parameters()) < 100_000
    assert backbone(pixels()).shape == (2, 128)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in backbone.modules())
    assert not backbone.train().net.training
    assert not any(p.requires_grad for p in backbone.parameters())


def test_columns_are_described_in_their_order() -> None:
    config = model("tf_efficientnet_lite0", layers=["conv_stem", "blocks.0.0.conv_dw"])
    table = build(config, locate(config, 0), image_size=64, seed=0).feature_table()
    assert table["feature_id"].to_list() == list(range(64))
    assert table.row(32, named=True) == {
        "feature_id": 32,
        "layer": "blocks.0.0.conv_dw",
        "unit": 0,
        "kind": "conv",
    }


def test_an_untrained_network_is_the_same_for_the_same_seed() -> None:
    config = model("test_resnet")
    before = torch.random.get_rng_state()
    first, again, other = (
        build(config, locate(config, seed), image_size=160, seed=seed) for seed in (3, 3, 4)
    )
    images = pixels(2, 160)
    torch.testing.assert_close(first(images), again(images), rtol=0, atol=0)
    assert not torch.allclose(first(images), other(images))
    assert torch.equal(before, torch.random.get_rng_state())
    assert first.weights_digest == "random-3"


@pytest.mark.parametrize("cast", ["autocast", "parameters"])
def test_bfloat16_gives_float32_rows_close_to_float32(cast: str) -> None:
    config = model("tf_efficientnet_lite0", layers=["conv_stem", "blocks.1.0.*"])
    backbone = build(config, locate(config, 0), image_size=64, seed=0)
    exact = backbone(pixels())
    if cast == "parameters":
        backbone = backbone.to(torch.bfloat16)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=cast == "autocast"):
        rows = backbone(pixels())
    assert rows.dtype == torch.float32
    assert float((rows - exact).abs().max() / exact.abs().max()) < 0.02


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_means_are_accumulated_in_float32(dtype: torch.dtype, layout: torch.memory_format) -> None:
    # 10,000 positions: a sum in bfloat16 would stop growing after 256 ones.
    maps = torch.rand(3, 5, 100, 100).to(dtype).contiguous(memory_format=layout)
    rows = pooled(maps, channels_last=False, images=3)
    assert rows.dtype == torch.float32
    torch.testing.assert_close(rows.double(), maps.double().mean((2, 3)), rtol=2e-5, atol=0)


@pytest.mark.parametrize(
    ("shape", "channels_last", "plain"),
    [
        ((4, 6), False, lambda x: x),
        ((4, 6), True, lambda x: x),
        ((4, 7, 6), True, lambda x: x.mean(1)),
        ((4, 6, 7), False, lambda x: x.mean(2)),
        ((4, 3, 5, 6), True, lambda x: x.mean((1, 2))),
        ((4, 6, 1, 1), False, lambda x: x[:, :, 0, 0]),
        ((12, 7, 6), True, lambda x: x.reshape(4, 21, 6).mean(1)),  # three windows an image
    ],
)
def test_every_layout_is_pooled_to_a_row_an_image(
    shape: tuple[int, ...], channels_last: bool, plain: Callable[[Tensor], Tensor]
) -> None:
    value = torch.randn(shape)
    torch.testing.assert_close(pooled(value, channels_last=channels_last, images=4), plain(value))


def highest(maps: Tensor) -> Tensor:
    """Where the maximum of (N, C, H, W) is: the row and column of the first one, row by row."""
    found = []
    for unit in maps.flatten(0, 1).tolist():
        cells = [(row, column) for row in range(len(unit)) for column in range(len(unit[0]))]
        found.append(max(cells, key=lambda cell: unit[cell[0]][cell[1]]))
    return torch.tensor(found).view(*maps.shape[:2], 2)


def decoded(codes: Tensor, rows: int, columns: int) -> Tensor:
    assert codes.dtype == torch.uint8
    cells = codes.flatten(0, 1).tolist()
    found = [
        (decode_position(row, rows), decode_position(column, columns)) for row, column in cells
    ]
    return torch.tensor(found).view(codes.shape)


def test_a_position_in_a_map_of_at_most_256_cells_is_kept_exactly() -> None:
    for count in range(1, 257):
        positions = torch.arange(count)
        codes = encode_position(positions, count)
        assert 0 <= int(codes.min()) <= int(codes.max()) <= 255
        assert [decode_position(code, count) for code in codes.tolist()] == positions.tolist()
    assert encode_position(torch.arange(3), 3).tolist() == [42, 128, 213]
    large = encode_position(torch.arange(1000), 1000).tolist()
    assert max(abs(decode_position(code, 1000) - cell) for cell, code in enumerate(large)) == 2
    assert decode_position(np.uint8(255), 256) == 255


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_first_of_the_highest_values_of_a_map_is_found(
    dtype: torch.dtype, layout: torch.memory_format
) -> None:
    maps = torch.randint(-3, 3, (3, 9, 5, 7), generator=torch.Generator().manual_seed(0)).to(dtype)
    given = maps.contiguous(memory_format=layout)
    codes = peak_positions(given, channels_last=False, view=(50, 70))
    assert torch.equal(decoded(codes, 5, 7), highest(maps))
    codes = peak_positions(given.movedim(1, -1), channels_last=True, view=(50, 70))
    assert torch.equal(decoded(codes, 5, 7), highest(maps))


def test_tokens_lie_in_the_view_line_by_line_behind_the_prefix() -> None:
    maps = torch.randn(2, 3, 4, 8)
    tokens = torch.cat([torch.full((2, 3, 2), 9.0), maps.flatten(2)], 2).movedim(1, -1)
    codes = peak_positions(tokens, channels_last=True, view=(64, 128), prefix=2)
    assert torch.equal(decoded(codes, 4, 8), highest(maps))
    assert token_grid(32, (64, 128)) == (4, 8)
    assert token_grid(33, (64, 128)) == (1, 33)
    assert token_grid(1, (10, 1000)) == (1, 1)


@pytest.mark.parametrize("value", [torch.randn(4, 6), torch.randn(4, 6, 2, 2, 2)])
def test_what_is_no_map_has_no_position(value: Tensor) -> None:
    codes = peak_positions(value, channels_last=False, view=(8, 8))
    assert codes.dtype == torch.uint8
    assert codes.shape == (4, 6, 2)
    assert not codes.any()


def test_values_that_are_no_numbers_have_some_position() -> None:
    for value in (torch.nan, -torch.inf, torch.inf):
        maps = torch.full((1, 8, 3, 3), value)
        codes = decoded(peak_positions(maps, channels_last=False, view=(8, 8)), 3, 3)
        assert 0 <= int(codes.min()) <= int(codes.max()) <= 2


def test_a_backbone_finds_positions_in_the_pass_that_gives_its_rows() -> None:
    config = model("test_vit", layers=["patch_embed.proj", "blocks.0.attn.qkv", "head"])
    for class_token in (False, True):
        config.class_token = class_token
        backbone = build(config, locate(config, 0), image_size=160, seed=0)
        given, maps = pixels(5, 160), {}
        for path in ("patch_embed.proj", "blocks.0.attn.qkv"):
            backbone.net.get_submodule(path).register_forward_hook(
                lambda _, __, out, p=path, kept=maps: kept.update({p: out.clone()})
            )
        rows, positions = backbone.with_positions(given, slice(1, None, 3))
        assert torch.equal(rows, backbone(given))
        patches, qkv = maps["patch_embed.proj"][1::3], maps["blocks.0.attn.qkv"][1::3, 1:]
        qkv = qkv.movedim(-1, 1).unflatten(2, (10, 10))
        expected = torch.cat([highest(patches), highest(qkv)], 1)
        assert torch.equal(decoded(positions[:, : expected.shape[1]], 10, 10), expected)
        assert not positions[:, expected.shape[1] :].any()  # the classifier has no map
        rows, positions = backbone.with_positions(given, slice(5, None))
        assert torch.equal(rows, backbone(given))
        assert positions.shape == (0, backbone.n_features, 2)


@torch.no_grad()
def test_the_position_of_a_layer_called_several_times_is_that_of_its_first_call() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 3, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            return self.conv(-self.conv(x))  # type: ignore[no-any-return]

    net, images = Twice().eval(), torch.randn(2, 3, 6, 4)
    seen = trace(net, images)
    taps = plan(seen, seen.layers, "post")
    _, positions = read(net, images, taps, 3, slice(None))
    assert torch.equal(decoded(positions, 6, 4), highest(net.conv(images)))


@torch.no_grad()
def test_windows_folded_into_the_batch_have_no_position() -> None:
    class Folded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mix = nn.Linear(3, 4)

        def forward(self, x: Tensor) -> Tensor:
            windows = x.unflatten(2, (2, 2)).movedim((2, 1), (1, 4)).flatten(0, 1).flatten(1, 2)
            return self.mix(windows)  # type: ignore[no-any-return]

    net, images = Folded().eval(), torch.randn(3, 3, 4, 4)
    seen = trace(net, images)
    rows, positions = read(net, images, plan(seen, seen.layers, "post"), 4, slice(None))
    plain = functional.linear(images.movedim(1, -1), net.mix.weight, net.mix.bias)
    torch.testing.assert_close(rows, plain.mean((1, 2)))
    assert positions.shape == (3, 4, 2)
    assert not positions.any()


def test_preprocessing_belongs_to_the_weights() -> None:
    image = torch.tensor([0, 128, 255], dtype=torch.uint8).view(1, 3, 1, 1)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in IMAGENET)
    usual = Preprocessing("RGB", 1.0, *IMAGENET)
    torch.testing.assert_close(usual(image), (image / 255 - mean) / std)
    caffe = Preprocessing("BGR", 255.0, (104.0, 117.0, 123.0), (1.0, 1.0, 1.0))
    assert caffe(image).flatten().tolist() == pytest.approx([151.0, 11.0, -123.0], abs=1e-4)


@pytest.mark.parametrize(
    ("preprocess", "expected"),
    [
        (PreprocessConfig(), Preprocessing("RGB", 1.0, *IMAGENET)),
        (
            PreprocessConfig(mean=[0.5] * 3, std=[0.5] * 3),
            Preprocessing("RGB", 1.0, (0.5,) * 3, (0.5,) * 3),
        ),
        (
            PreprocessConfig(channels="BGR", scale=2.0),
            Preprocessing("BGR", 2.0, (0.812, 0.912, 0.97), (0.45, 0.448, 0.458)),
        ),
    ],
)
def test_what_the_configuration_leaves_open_is_as_timm_says(
    preprocess: PreprocessConfig, expected: Preprocessing
) -> None:
    from fnx.backbones.networks import preprocessing

    found = preprocessing(model("vgg16.tv_in1k", preprocess=preprocess))
    assert (found.channels, found.scale) == (expected.channels, expected.scale)
    assert found.mean == pytest.approx(expected.mean)
    assert found.std == pytest.approx(expected.std)
