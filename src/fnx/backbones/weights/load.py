"""Weights files read without executing anything, and put into a network under timm's names."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fnx.backbones.architectures import NAME_MAPS, architecture
from fnx.backbones.weights.caffe import read_caffemodel
from fnx.backbones.weights.checkpoint import read_checkpoint
from fnx.backbones.weights.keras import read_keras
from fnx.errors import WeightsError

if TYPE_CHECKING:
    from torch import Tensor, nn

log = logging.getLogger(__name__)

_LISTED = 6  # tensors named in an error before "… and N more"
_LONGEST = 200  # letters of each
_DEEPEST = 8  # containers, and words before a tensor's name, that are looked through
#: What names a second copy of a network in a checkpoint: averages of its weights, momentum …
_COPY = re.compile(r"ema|swa|averag|optim|moment|teacher|target", re.I)

#: Tensors by name, of one dictionary of a file.
State = dict[str, "Tensor"]


def _read_safetensors(path: Path) -> Any:
    from safetensors.torch import load_file

    return load_file(path)


#: Reader of each file ending; a reader returns the file's names and tensors, nested or not.
READERS: Mapping[str, Callable[[Path], Any]] = {
    ".pth": read_checkpoint,
    ".pt": read_checkpoint,
    ".bin": read_checkpoint,
    ".ckpt": read_checkpoint,
    ".tar": read_checkpoint,
    ".pkl": read_checkpoint,
    ".safetensors": _read_safetensors,
    ".caffemodel": read_caffemodel,
    ".h5": read_keras,
    ".hdf5": read_keras,
}


def read_state_dict(path: Path) -> dict[str, State]:
    """Names and tensors of a weights file, as the file names them.

    Returns:
        The tensors of each dictionary of the file that holds some, by where it stands in it: ``""``
        for the outermost, ``"state_dict."``, ``"optimizer.state."`` …

    Raises:
        WeightsError: unknown ending, damaged file, or no tensors by name.
    """
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise WeightsError(unknown_ending(path))
    try:
        content = reader(path)
    except WeightsError:
        raise
    except Exception as error:  # a damaged file can fail in any way a parser can
        raise WeightsError(f"{path} cannot be read as weights: {first_line(error)}") from error
    parts, holds_network = _parts(content)
    if not parts:
        raise WeightsError(
            f"{path} holds a whole pickled network, which only its own code can make: save its "
            "state_dict() instead"
            if holds_network
            else f"{path} holds no tensors by name"
        )
    return parts


def _parts(content: Any) -> tuple[dict[str, State], bool]:
    """Find the dictionaries that hold tensors, each once, and whether there is a pickled network.

    A dictionary may hold itself, and one that is held twice at each of many levels would be found
    on as many ways as there are grains of sand.
    """
    from torch import Tensor

    parts: dict[str, State] = {}
    holds_network = False
    level, seen = [("", content)], {id(content)}
    for _ in range(_DEEPEST):
        deeper = []
        for place, node in level:
            if not isinstance(node, Mapping):
                continue
            if "_parameters" in node and "_modules" in node:
                holds_network = True
                continue
            if tensors := {str(k): v for k, v in node.items() if isinstance(v, Tensor)}:
                parts[place] = tensors
            for key, value in node.items():
                if isinstance(value, Mapping) and id(value) not in seen:
                    seen.add(id(value))
                    deeper.append((f"{place}{key}.", value))
        level = deeper
    return parts, holds_network


def load(
    net: nn.Module,
    parts: Mapping[str, State],
    *,
    timm_name: str,
    source: str,
    needed: Callable[[str], bool],
    layer_names: Mapping[str, str],
) -> None:
    """Copy a weights file's tensors into `net`.

    What stands before the names of a network's tensors (``state_dict``, ``model.``, ``module.``,
    ``_orig_mod.`` …) is found by what the names after it are, dropped, and logged. Of several
    copies of the network in a file the first that is no average is taken, and the others are
    warned of.

    Args:
        net: timm's network.
        parts: what `read_state_dict` returned; timm's names or any that the architecture's name
            map or timm's own converter for it knows.
        timm_name: the architecture.
        source: what an error calls the weights.
        needed: whether a module (by path) takes part in what is read; tensors of others may be
            missing or of another shape.
        layer_names: names of layers by module path, for errors.

    Raises:
        WeightsError: listing tensors that are missing, unexpected or of another shape, or that
            hold NaN or infinite values.
    """
    wanted = net.state_dict()
    rename = NAME_MAPS.get(architecture(timm_name), dict)
    # timm keeps its converter of published weights beside the network's class.
    convert = getattr(sys.modules.get(type(net).__module__), "checkpoint_filter_fn", None)
    first: dict[str, list[str]] = {}
    for candidate in _candidates(parts, set(wanted), rename):
        state = rename(candidate.state)
        misfits = _misfits(wanted, state, needed, layer_names)
        if misfits and convert:
            with suppress(Exception):  # one that it is not made for is reported as it is
                state = dict(convert(dict(state), net))
            misfits = _misfits(wanted, state, needed, layer_names)
        if not misfits:
            candidate.say(source)
            break
        first = first or misfits
    else:
        parts_of = [f"{len(names)} {what}: {_some(names)}" for what, names in first.items()]
        hint = " (tensors of layers that model.layers leaves out may be missing)"
        raise WeightsError(
            f"{source} does not fit {architecture(timm_name)}: {'; '.join(parts_of)}"
            f"{hint if 'missing' in first else ''}"
        )
    fitting = {k: v for k, v in state.items() if k in wanted and v.shape == wanted[k].shape}
    net.load_state_dict(fitting, strict=False)
    _refuse_nonfinite(net, source, needed, layer_names)


@dataclass(frozen=True)
class _Candidate:
    """Tensors of a file that may be the network's, without what stands before their names."""

    state: State
    prefix: str = ""
    left_out: tuple[str, ...] = ()  # other tensors of the same dictionary
    copies: tuple[str, ...] = ()  # what stands before each copy's names, this one's first

    def say(self, source: str) -> None:
        """Log what was dropped."""
        if self.prefix:
            log.info("%s: %r before the tensors' names is dropped", source, self.prefix)
        if self.left_out:
            others = _some(self.left_out)
            log.info("%s: tensors that are not the network's are left out: %s", source, others)
        if len(self.copies) > 1:
            taken, *copies = map(repr, self.copies)
            log.warning(
                "%s holds the network more than once: taking %s, not %s",
                source,
                taken,
                ", ".join(copies),
            )


def _candidates(
    parts: Mapping[str, State], wanted: set[str], rename: Callable[[State], State]
) -> Iterator[_Candidate]:
    """Yield the tensors that may be the network's, the likeliest first.

    That is where most names after a prefix are the network's; then the dictionary with the most
    tensors, as it is and without what stands before all its names, for timm's converter knows
    other names.
    """
    found: dict[tuple[str, str], State] = {}
    for place, tensors in parts.items():
        for name, value in tensors.items():
            words = name.split(".", _DEEPEST)
            for depth in range(len(words)):
                prefix = "".join(f"{word}." for word in words[:depth])
                found.setdefault((place, prefix), {})[".".join(words[depth:])] = value
    known = {where: len(wanted & rename(state).keys()) for where, state in found.items()}
    most = max(known.values())
    if 2 * most >= min(len(wanted), max(map(len, parts.values()))):
        same = [where for where, number in known.items() if number == most]
        same.sort(key=lambda where: bool(_COPY.search("".join(where))))
        (place, prefix), *others = same
        copies = tuple(map("".join, same))
        inside = tuple(inner for where, inner in others if where == place and inner)
        yield _Candidate(
            {
                name: value
                for name, value in found[place, prefix].items()
                if not (prefix + name).startswith(inside)
            },
            prefix,
            tuple(n for n in parts[place] if not n.startswith((prefix, *inside))),
            copies,
        )
    largest = max(parts, key=lambda place: len(parts[place]))
    yield _Candidate(parts[largest])
    common = ""
    for (place, prefix), state in found.items():
        if place == largest and len(state) == len(parts[place]) and len(prefix) > len(common):
            common = prefix
    if common:
        yield _Candidate(found[largest, common], common)


def _refuse_nonfinite(
    net: nn.Module,
    source: str,
    needed: Callable[[str], bool],
    layer_names: Mapping[str, str],
) -> None:
    """Refuse weights that are NaN or infinite, of which every feature behind them would be."""
    for name, tensor in net.state_dict().items():
        module = name.rpartition(".")[0]
        if needed(module) and not tensor.isfinite().all():
            what = "NaN" if tensor.isnan().any() else "infinite"
            raise WeightsError(
                f"{source} holds {what} values in {_described(name, layer_names)}: "
                "its training may have diverged"
            )


def _misfits(
    wanted: Mapping[str, Tensor],
    state: Mapping[str, Tensor],
    needed: Callable[[str], bool],
    layer_names: Mapping[str, str],
) -> dict[str, list[str]]:
    """Name the tensors that do not fit, by what is wrong with them; empty if all fit."""
    # A counter of training steps, which old files lack and inference does not use.
    counter = ".num_batches_tracked"
    asked = [k for k in wanted if needed(k.rpartition(".")[0])]
    found = {
        "missing": [
            _described(k, layer_names) for k in asked if k not in state and not k.endswith(counter)
        ],
        "unexpected": [k for k in state if k not in wanted and not k.endswith(counter)],
        "of another shape": [
            f"{k} {tuple(state[k].shape)} where {tuple(wanted[k].shape)} is expected"
            for k in asked
            if k in state and state[k].shape != wanted[k].shape
        ],
    }
    return {what: names for what, names in found.items() if names}


def _described(tensor: str, layer_names: Mapping[str, str]) -> str:
    module = tensor.rpartition(".")[0]
    layer = layer_names.get(module, module)
    return tensor if layer == module else f"{tensor} ({layer})"


def _some(names: Sequence[str]) -> str:
    rest = len(names) - _LISTED
    cut = (n if len(n) <= _LONGEST else f"{n[:_LONGEST]}…" for n in names[:_LISTED])
    return ", ".join(cut) + (f" … and {rest} more" if rest > 0 else "")


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, at most 200 characters of it."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def unknown_ending(path: Path) -> str:
    """Return the message that a file's ending is none of those that can be read."""
    return f"{path}: weights files end in {', '.join(READERS)}, not '{path.suffix}'"
