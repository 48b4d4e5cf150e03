"""Which pixels each value of a forward pass depends on, followed from tensor to tensor.

Beside every tensor that comes from the image go four of the same shape: the edges of the box of
pixels that each element depends on. What moves elements (reshapes, windows, rolls, concatenations)
moves the boxes; what mixes elements (convolutions, pools, products, softmax) unites them. So
nothing has to be known of a network's layout, and an operation without a rule is still sound: each
of its outputs depends on the union of all its inputs.

Where a map is padded its boxes go on beyond its edge at their own distance, so that they are as
large at the border as inside; cut to the image they are what a unit can see.

Three things are left out, for they would make the whole image of every box: what is broadcast from
one value a channel to a whole map (squeeze-and-excitation and its kin, global context), the means
and deviations over a map that group, instance and global response norms divide by, and weights that
are themselves made from the image.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten
from torch.utils.weak import WeakTensorKeyDictionary

from fnx.backbones.box_rules import RULES, attention, pointwise, reduction
from fnx.backbones.boxes import Boxes, everything


class Following(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """While active, keeps the boxes of every tensor that comes from the `images` given."""

    def __init__(self, images: Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._boxes: Any = WeakTensorKeyDictionary()
        height, width = images.shape[-2:]
        rows = torch.arange(height, dtype=torch.float32)[:, None].expand(images.shape)
        columns = torch.arange(width, dtype=torch.float32).expand(images.shape)
        self._boxes[images] = (rows, columns, -rows - 1, -columns - 1)

    def of(self, value: Any) -> Boxes | None:
        """The boxes of a tensor; None for what does not come from the image."""
        found: Boxes | None = self._boxes.get(value) if isinstance(value, Tensor) else None
        return found

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run one operation, and give its outputs their boxes."""
        kwargs = kwargs or {}
        names = [argument.name for argument in func._schema.arguments]
        named = {**dict(zip(names, args, strict=False)), **kwargs}
        boxes = [own for a in tree_flatten(named)[0] if (own := self.of(a)) is not None]
        target = named.get("self")
        before = self.of(target)
        result = func(*args, **kwargs)
        outputs = [r for r in tree_flatten(result)[0] if isinstance(r, Tensor)]
        if not boxes or not outputs:
            return result
        found = self._apply(func, named, outputs, boxes)
        for output, own in zip(outputs, found, strict=True):
            if own is not None:
                self._boxes[output] = own
        if func._schema.is_mutable and isinstance(target, Tensor) and target._is_view():
            self._into_base(target, before)
        return result

    def _apply(
        self, func: Any, named: dict[str, Any], outputs: Sequence[Tensor], boxes: Sequence[Any]
    ) -> list[Boxes | None]:
        name = func.overloadpacket._qualified_op_name.removeprefix("aten::")
        rule = RULES.get(name) or RULES.get(name.removesuffix("_"))
        if rule is None and name.startswith("_scaled_dot_product"):
            rule = attention
        if rule is None and torch.Tag.pointwise in func.tags:
            rule = pointwise
        if rule is None and torch.Tag.reduction in func.tags and "dim" in named:
            rule = reduction
        found = None if rule is None else rule(func, named, outputs, self.of)
        if found is None:
            found = [everything(boxes, output) for output in outputs]
        elif found and isinstance(found[0], Tensor):
            found = [found]
        found = [*found, *[None] * (len(outputs) - len(found))]
        for output, own in zip(outputs, found, strict=True):
            assert own is None or own[0].shape == output.shape, (name, own[0].shape, output.shape)
        return found

    def _into_base(self, view: Tensor, before: Boxes | None) -> None:
        """What is written into a part of a tensor is somewhere in the tensor from now on."""
        base, written = view._base, self.of(view)
        if base is not None and written is not None and written is not before:
            known = [written, *([own] if (own := self.of(base)) is not None else [])]
            self._boxes[base] = everything(known, base)
