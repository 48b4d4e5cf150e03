"""Weights files read without executing anything, and put into a network under timm's names."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fnx.backbones.architectures import NAME_MAPS, architecture
from fnx.backbones.weights.caffe import read_caffemodel
from fnx.backbones.weights.keras import read_keras
from fnx.errors import WeightsError

if TYPE_CHECKING:
    from torch import Tensor, nn

_LISTED = 6  # tensors named in an error before "… and N more"
_WRAPPERS = ("state_dict", "model_state_dict", "model", "state_dict_ema", "model_ema")


def _read_torch(path: Path) -> Any:
    import torch

    # weights_only: a pickle is a program, and this one comes from strangers.
    return torch.load(path, map_location="cpu", weights_only=True)


def _read_safetensors(path: Path) -> Any:
    from safetensors.torch import load_file

    return load_file(path)


#: Reader of each file ending; a reader returns the file's names and tensors, nested or not.
READERS: Mapping[str, Callable[[Path], Any]] = {
    ".pth": _read_torch,
    ".pt": _read_torch,
    ".bin": _read_torch,
    ".safetensors": _read_safetensors,
    ".caffemodel": read_caffemodel,
    ".h5": read_keras,
    ".hdf5": read_keras,
}


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Names and tensors of a weights file, as the file names them.

    A state dict inside a checkpoint (``{"state_dict": …}``) is taken out, and DataParallel's
    ``module.`` before every name dropped.

    Raises:
        WeightsError: unknown ending, damaged file, a pickle that would run code, or no tensors.
    """
    import torch

    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise WeightsError(unknown_ending(path))
    try:
        state = reader(path)
    except WeightsError:
        raise
    except Exception as error:  # a damaged file can fail in any way a parser can
        raise WeightsError(f"{path} cannot be read as weights: {first_line(error)}") from error
    while isinstance(state, Mapping) and (inner := [k for k in _WRAPPERS if k in state]):
        if not isinstance(state[inner[0]], Mapping):
            break
        state = state[inner[0]]
    tensors = (
        {str(k): v for k, v in state.items() if isinstance(v, torch.Tensor)}
        if isinstance(state, Mapping)
        else {}
    )
    if not tensors:
        raise WeightsError(f"{path} holds no tensors by name")
    if all(name.startswith("module.") for name in tensors):
        tensors = {name.removeprefix("module."): value for name, value in tensors.items()}
    return tensors


def load(
    net: nn.Module,
    state: dict[str, Tensor],
    *,
    timm_name: str,
    source: str,
    needed: Callable[[str], bool],
    layer_names: Mapping[str, str],
) -> None:
    """Copy a weights file's tensors into `net`.

    Args:
        net: timm's network.
        state: what `read_state_dict` returned; timm's names or any that the architecture's name
            map or timm's own converter for it knows.
        timm_name: the architecture.
        source: what an error calls the weights.
        needed: whether a module (by path) takes part in what is read; tensors of others may be
            missing or of another shape.
        layer_names: names of layers by module path, for errors.

    Raises:
        WeightsError: listing tensors that are missing, unexpected or of another shape.
    """
    wanted = net.state_dict()
    state = NAME_MAPS.get(architecture(timm_name), dict)(state)
    # timm keeps its converter of published weights beside the network's class.
    convert = getattr(sys.modules[type(net).__module__], "checkpoint_filter_fn", None)
    if convert and _misfits(wanted, state, needed, layer_names):
        with suppress(Exception):  # one that it is not made for is reported as it is
            state = dict(convert(dict(state), net))
    if misfits := _misfits(wanted, state, needed, layer_names):
        parts = [f"{len(names)} {what}: {_some(names)}" for what, names in misfits.items()]
        hint = " (tensors of layers that model.layers leaves out may be missing)"
        raise WeightsError(
            f"{source} does not fit {architecture(timm_name)}: {'; '.join(parts)}"
            f"{hint if 'missing' in misfits else ''}"
        )
    fitting = {k: v for k, v in state.items() if k in wanted and v.shape == wanted[k].shape}
    net.load_state_dict(fitting, strict=False)


def _misfits(
    wanted: Mapping[str, Tensor],
    state: Mapping[str, Tensor],
    needed: Callable[[str], bool],
    layer_names: Mapping[str, str],
) -> dict[str, list[str]]:
    """Name the tensors that do not fit, by what is wrong with them; empty if all fit."""

    def described(tensor: str) -> str:
        module = tensor.rpartition(".")[0]
        layer = layer_names.get(module, module)
        return tensor if layer == module else f"{tensor} ({layer})"

    # A counter of training steps, which old files lack and inference does not use.
    counter = ".num_batches_tracked"
    asked = [k for k in wanted if needed(k.rpartition(".")[0])]
    found = {
        "missing": [described(k) for k in asked if k not in state and not k.endswith(counter)],
        "unexpected": [k for k in state if k not in wanted and not k.endswith(counter)],
        "of another shape": [
            f"{k} {tuple(state[k].shape)} where {tuple(wanted[k].shape)} is expected"
            for k in asked
            if k in state and state[k].shape != wanted[k].shape
        ],
    }
    return {what: names for what, names in found.items() if names}


def _some(names: Sequence[str]) -> str:
    rest = len(names) - _LISTED
    return ", ".join(names[:_LISTED]) + (f" … and {rest} more" if rest > 0 else "")


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, at most 200 characters of it."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def unknown_ending(path: Path) -> str:
    """Return the message that a file's ending is none of those that can be read."""
    return f"{path}: weights files end in {', '.join(READERS)}, not '{path.suffix}'"
