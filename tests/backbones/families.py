"""A small network of each family of timm, and what is found in it: the table of docs/backbones.md.

python tests/backbones/families.py > docs/backbones.md
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.overrides import TorchFunctionMode

from fnx.backbones.layers import Layer, select
from fnx.backbones.networks import traced
from fnx.backbones.trace import Trace, is_activation

#: timm's module -> one of its smallest networks (timm's own test networks apart), and the side in
#: pixels of the images it is made for.
FAMILIES: dict[str, tuple[str, int]] = {
    "beit": ("beit_base_patch16_224", 224),
    "byoanet": ("halonet_h1", 256),
    "byobnet": ("regnetz_b16", 224),
    "cait": ("cait_xxs24_224", 224),
    "coat": ("coat_tiny", 224),
    "convit": ("convit_tiny", 224),
    "convmixer": ("convmixer_768_32", 224),
    "convnext": ("convnext_atto_rms", 224),
    "cpubone": ("cpubone_nano", 224),
    "crossvit": ("crossvit_tiny_240", 240),
    "csatv2": ("csatv2", 512),
    "cspnet": ("cs3darknet_s", 256),
    "cspnext": ("cspnext_tiny", 224),
    "davit": ("davit_tiny", 224),
    "deepseek_vit": ("deepseek_vit_412m", 546),
    "deit": ("deit_tiny_patch16_224", 224),
    "densenet": ("densenet121", 224),
    "dla": ("dla46_c", 224),
    "dpn": ("dpn48b", 224),
    "edgenext": ("edgenext_xx_small", 256),
    "efficientformer": ("efficientformer_l1", 224),
    "efficientformer_v2": ("efficientformerv2_s0", 224),
    "efficientnet": ("mnasnet_small", 224),
    "efficientvim": ("efficientvim_m1", 224),
    "efficientvit_mit": ("efficientvit_b0", 224),
    "efficientvit_msra": ("efficientvit_m0", 224),
    "eva": ("vit_tiny_patch16_dinov3_qkvb", 256),
    "fasternet": ("fasternet_t0", 224),
    "fastvit": ("fastvit_t8", 256),
    "focalnet": ("focalnet_tiny_srf", 224),
    "gcvit": ("gcvit_xxtiny", 224),
    "gemma4_vit": ("gemma4_vit_167m", 768),
    "ghostnet": ("ghostnet_050", 224),
    "hardcorenas": ("hardcorenas_b", 224),
    "hgnet": ("hgnetv2_b0", 224),
    "hiera": ("hiera_tiny_224", 224),
    "hieradet_sam2": ("sam2_hiera_tiny", 896),
    "hrnet": ("hrnet_w18_small", 224),
    "iformer": ("iformer_m", 224),
    "inception_next": ("inception_next_atto", 224),
    "inception_resnet_v2": ("inception_resnet_v2", 299),
    "inception_v3": ("inception_v3", 299),
    "inception_v4": ("inception_v4", 299),
    "lcnetv2": ("lcnetv2_small", 224),
    "levit": ("levit_128s", 224),
    "lowformer": ("lowformer_b0", 224),
    "mambaout": ("mambaout_femto", 224),
    "maxxvit": ("maxvit_pico_rw_256", 256),
    "metaformer": ("caformer_s18", 224),
    "mlp_mixer": ("gmlp_ti16_224", 224),
    "mobilenetv3": ("mobilenetv3_small_050", 224),
    "mobilenetv5": ("mobilenetv5_base", 256),
    "mobilevit": ("mobilevit_xxs", 256),
    "mvitv2": ("mvitv2_tiny", 224),
    "naflexvit": ("naflexvit_base_patch16_gap", 384),
    "nasnet": ("nasnetalarge", 331),
    "nest": ("nest_tiny", 224),
    "nextvit": ("nextvit_small", 224),
    "nfnet": ("nf_regnet_b0", 192),
    "pit": ("pit_ti_224", 224),
    "pnasnet": ("pnasnet5large", 331),
    "pvt_v2": ("pvt_v2_b0", 224),
    "qwen3_vit": ("qwen3_vit_88m", 768),
    "rdnet": ("rdnet_tiny", 224),
    "regnet": ("regnetx_002", 224),
    "repghost": ("repghostnet_050", 224),
    "repvit": ("repvit_m1", 224),
    "res2net": ("res2net50_14w_8s", 224),
    "resnest": ("resnest14d", 224),
    "resnet": ("resnet10t", 176),
    "resnetv2": ("resnetv2_18", 224),
    "rexnet": ("rexnet_100", 224),
    "selecsls": ("selecsls42", 224),
    "senet": ("legacy_seresnet18", 224),
    "sequencer": ("sequencer2d_s", 224),
    "shvit": ("shvit_s1", 224),
    "sknet": ("skresnet18", 224),
    "starnet": ("starnet_s050", 224),
    "swiftformer": ("swiftformer_xs", 224),
    "swin_transformer": ("swin_tiny_patch4_window7_224", 224),
    "swin_transformer_v2": ("swinv2_tiny_window8_256", 256),
    "swin_transformer_v2_cr": ("swinv2_cr_tiny_224", 224),
    "tiny_vit": ("tiny_vit_5m_224", 224),
    "tnt": ("tnt_s_legacy_patch16_224", 224),
    "tresnet": ("tresnet_m", 224),
    "twins": ("twins_svt_small", 224),
    "vgg": ("vgg11", 224),
    "visformer": ("visformer_tiny", 224),
    "vision_transformer": ("vit_tiny_patch16_224", 224),
    "vision_transformer_hybrid": ("vit_tiny_r_s16_p8_224", 224),
    "vision_transformer_relpos": ("vit_srelpos_small_patch16_224", 224),
    "vision_transformer_sam": ("samvit_base_patch16_224", 224),
    "vitamin": ("vitamin_small_224", 224),
    "volo": ("volo_d1_224", 224),
    "vovnet": ("ese_vovnet19b_slim_dw", 224),
    "xception": ("legacy_xception", 299),
    "xception_aligned": ("xception41", 299),
    "xcit": ("xcit_nano_12_p8_224", 224),
}

_FUNCTIONS = ("relu", "relu_", "relu6", "gelu", "silu", "hardswish", "leaky_relu", "mish", "elu")


class _Functional(TorchFunctionMode):
    """Notes activations that are called as functions, which no hook can tell from arithmetic."""

    def __init__(self) -> None:
        super().__init__()
        self.inside: list[nn.Module] = []
        self.found: set[str] = set()

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        name = getattr(func, "__name__", "")
        if name in _FUNCTIONS and self.inside and not any(map(is_activation, self.inside)):
            self.found.add(f"{name.rstrip('_')} in {type(self.inside[-1]).__name__}")
        return func(*args, **(kwargs or {}))


@contextmanager
def _functional() -> Iterator[_Functional]:
    mode = _Functional()

    def enter(module: nn.Module, _: Any) -> None:
        mode.inside.append(module)

    def leave(*_: Any) -> None:
        mode.inside.pop()

    before = nn.modules.module.register_module_forward_pre_hook(enter)
    after = nn.modules.module.register_module_forward_hook(leave, always_call=True)
    try:
        with mode:
            yield mode
    finally:
        before.remove()
        after.remove()


@dataclass(frozen=True)
class Found:
    """What a network has: its trace, the layers of `model.layers=all`, functional activations."""

    trace: Trace
    layers: list[Layer]
    functional: list[str]


def look(name: str, size: int) -> Found:
    with _functional() as mode:
        trace = traced(name, size)
    return Found(trace, select(trace.layers, "all"), sorted(mode.found))


def row(family: str, name: str, size: int) -> str:
    """One line of the table."""
    found = look(name, size)
    kinds = Counter(layer.kind for layer in found.layers)
    unseen = Counter(re.sub(r"\d+", "*", path) for path in found.trace.unseen)
    notes = [f"not seen: {', '.join(f'`{p}`' for p in list(unseen)[:4])}"] if unseen else []
    notes[:1] = [note + (" …" if len(unseen) > 4 else "") for note in notes[:1]]
    if found.functional:
        notes.append(f"called as functions: {', '.join(found.functional[:4])}")
    cells = (
        family,
        f"`{name}`",
        size,
        kinds["conv"],
        kinds["fc"],
        f"{sum(layer.units for layer in found.layers):,}",
        len(found.trace.unseen) or "",
        "; ".join(notes),
    )
    return f"| {' | '.join(map(str, cells))} |"


HEAD = """\
# Networks of timm

What `model=timm model.name=…` finds in a small network of each of timm's families (timm
{version}), with `model.layers=all`: convolutions and linear layers but the final classifier, and
their units. Made by `tests/backbones/families.py`; a test compares it with the networks.

* *not seen*: layers that no hook can read, because the network calls `F.linear` or `F.conv2d` with
  their weights, or their output is not one of the image (position tables). They are logged, and
  missing in the embedding.
* *called as functions*: activations that are no modules. A layer before one of these is read before
  its activation for both values of `model.tap`.
* Paths with `*` stand for several numbers.

| family | network | px | conv | linear | features | not seen | notes |
|---|---|---|---|---|---|---|---|
"""


FOOT = """
## Receptive fields

`fnx.backbones.receptive` measures, for every layer, the box of pixels that each position of its map
can see. No weights are needed: the network's functions are made linear and positive (its maps
depend on the same pixels then, and nothing cancels), and the pixels with a gradient other than 0
are looked up for the first three and the last position of a map. That gives size, stride and start
of the boxes, or shows that they are no regular grid. Fields that do not fit into the image are
measured on a longer one. EfficientNet-Lite0 takes about a second.

```python
from fnx.backbones.receptive import receptive_fields

field = receptive_fields("vgg16", 224)["conv4_3"]
field.size, field.stride, field.start  # ((92, 92), (8, 8), (-42, -42))
field.box(0, 3)  # (-42, -18, 50, 74): top, left, bottom, right
```

* A box is as large at the border as inside and so may reach beyond the image.
* Squeeze-and-excitation and its kin (one value per channel of a whole map) and the statistics of
  norms are left out: strictly, they make every later unit depend a little on the whole image.
* A layer has no field (None, and its pictures show whole images) if it sees the whole image
  (attention from the first block of ViT on), if its boxes are no regular grid (windows of
  attention, maps of different strides put together), or if the network cannot be measured.
* A layer that is called several times has the field of its first call.
"""


def main() -> None:
    import timm

    lines = [HEAD.format(version=timm.__version__)]
    for family, (name, size) in FAMILIES.items():
        print(family, file=sys.stderr)
        lines.append(row(family, name, size) + "\n")
    sys.stdout.write("".join([*lines, FOOT]))


if __name__ == "__main__":
    main()
