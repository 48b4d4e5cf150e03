"""Composes the configuration with Hydra: from overrides, from Python's keywords, and in parts.

Hydra is told where ``conf/`` is, what conf/ folders plugins bring, and of the schema.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import hydra
import numpy as np
from hydra.core.config_loader import ConfigLoader
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import DictConfig, OmegaConf, open_dict

from fnx.config.messages import in_one_line
from fnx.config.schema import Config, DatasetConfig
from fnx.config.words import literal, prepared
from fnx.errors import ConfigError
from fnx.registry import (
    backbones,
    discovery,
    load_folder,
    load_installed,
    statistics,
    thresholds,
)
from fnx.registry.backbones import parse_call_name
from fnx.utils.files import expand_user

# In an installed wheel conf/ lies inside the package; in a checkout at the top level.
_INSTALLED = Path(__file__).parents[1] / "conf"
CONF = _INSTALLED if _INSTALLED.is_dir() else Path(__file__).parents[3] / "conf"

_LONGEST_NAME = 100  # bytes
# Names of folders that say nothing about the images in them.
_GENERIC = {"images", "image", "img", "imgs", "jpg", "train", "test", "val", "data"}


class _PluginConfigs(SearchPathPlugin):
    """Adds the conf/ folders of plugins to Hydra's search path."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        for number, folder in enumerate(discovery.conf_folders()):
            search_path.append(provider=f"fnx-plugin-{number}", path=f"file://{folder}")


def load_plugins(*, here: bool = True) -> None:
    """Load what the command line does: installed plugins, and those of the plugins folder.

    The folder is ``FNX_PLUGINS``, or ``plugins/`` of the working directory, which is named when it
    is first loaded; an empty ``FNX_PLUGINS`` is none.

    Args:
        here: whether something is run: without, nothing of the working directory is executed.
    """
    load_installed()
    named = os.environ.get("FNX_PLUGINS")
    if named == "" or (named is None and not here):
        return
    folder, before = Path(expand_user(named or "plugins")), discovery.number_loaded()
    load_folder(folder, asked_for="FNX_PLUGINS" if named else None)
    number = discovery.number_loaded() - before
    if number and named is None and folder.resolve() != CONF.parent / "plugins":
        sys.stderr.write(f"plugins: {number} from ./plugins\n")


def prepare() -> None:
    """Tell Hydra of the schema, of the statistics and strategies, and of the plugins' conf/."""
    load_installed()
    store = ConfigStore.instance()
    store.store(name="schema", node=Config)
    for registry in (statistics, thresholds):
        for entry in registry:
            for group in (registry.group, f"{registry.group}/{entry.package}"):
                node = entry.config_class()
                store.store(group=group, name=entry.name, node=node, package=registry.group)
    for network in backbones:
        store.store(group="model", name=network.name, node=network.config_class(), package="model")
    OmegaConf.register_new_resolver("fnx.folder_name", folder_name, replace=True)
    OmegaConf.register_new_resolver("fnx.environment", _environment, replace=True)
    Plugins.instance().register(_PluginConfigs)


def compose(overrides: Sequence[str] = ()) -> Config:
    """Return the config of ``python -m fnx OVERRIDES…``; its values are not checked yet.

    Raises:
        ConfigError: an override that names no key or option, or has another type.

    >>> compose(["dataset=digits"]).crops.name
    'center'
    """
    with in_one_line(), _hydra():
        return typed(hydra.compose("config", overrides=prepared(overrides, sweep=False)))


def compose_keywords(keywords: Mapping[str, Any]) -> tuple[Config, Path]:
    """Return the config that keywords of Python stand for, and the folder that its run would have.

    A key that is at the top level (``seed``) or a group (``dataset``) stands for itself, and a
    dotted key (``crops.size``) for what it names. Any other key belongs to the one group of the
    composed config that has it: with ``dataset="folder"``, ``root`` is ``dataset.root``.

    Raises:
        ConfigError: a key that no group has, or several have; else see `compose`.
    """
    with in_one_line(), _hydra():
        known = _loader().list_groups("")
        groups = {key: keywords[key] for key in keywords if key in known or "/" in key}
        for key, value in groups.items():
            if not isinstance(value, str):
                raise ConfigError(f"{key}={value!r}: must be the name of an option")
        overrides = [f"{key}={value}" for key, value in groups.items()]
        config = hydra.compose("config", overrides=overrides, return_hydra_config=True)
        for key, value in keywords.items():
            if key not in groups:
                OmegaConf.update(config, _full_key(config, key), _node(value))
        folder = Path(expand_user(config.hydra.run.dir))
        with open_dict(config):
            del config["hydra"]
        return typed(config), folder


def recorded(values: Mapping[str, Any]) -> Config:
    """Return the config that a run's record holds, for what is done with the run afterwards.

    What an older version did not know has its default; statistic, threshold and all that measured
    the distances are left out.

    Raises:
        ConfigError: a value of another type, in a record that was changed by hand.
    """
    with in_one_line(), _hydra():
        config = hydra.compose("config")
        for group in ("dataset", "model", "crops", "trainer", "report", "paths"):
            _overlay(config[group], values.get(group))
        return typed(config)


def _overlay(node: DictConfig, values: Any) -> None:
    """Put recorded values in place of those of a config group; keys it lacks are left out."""
    for key, value in values.items() if isinstance(values, Mapping) else ():
        known = list(node)  # `in` does not see keys whose value is missing
        if key in known and isinstance(value, Mapping):
            _overlay(node[key], value)
        elif key in known:
            node[key] = _node(value)


def _full_key(config: DictConfig, key: str) -> str:
    if "." in key or key in config:
        return key
    groups = {str(name): config.get(name) for name in config if name != "hydra"}
    # Listed, for `in` does not see keys whose value is missing.
    owners = [
        name for name, node in groups.items() if isinstance(node, DictConfig) and key in list(node)
    ]
    if len(owners) > 1:
        which = " or ".join(f"{group}.{key}" for group in owners)
        raise ConfigError(f"'{key}' is a key of several groups: write {which}")
    return f"{owners[0]}.{key}" if owners else key


def _node(value: Any) -> Any:
    """Return a value as OmegaConf takes it; a text is that text, whatever it holds."""
    if isinstance(value, (str, Path)):
        return literal(str(value))
    if isinstance(value, (list, tuple)):
        return [_node(item) for item in value]
    return value.item() if isinstance(value, np.generic) else value


def options(*groups: str) -> dict[str, list[str]]:
    """Return the names of the options of each config group, those of plugins included."""
    with _hydra():
        return {group: _loader().get_group_options(group) for group in groups}


def reference_dataset(config: Config) -> DatasetConfig | None:
    """Return the data set that ``report.reference_dataset`` names; None if none is wanted.

    An option of the group ``dataset`` is that data set below the run's ``paths``; any other name is
    a folder of images, whose layout is then ``folder``.

    Raises:
        ConfigError: neither an option nor a folder.
    """
    name, limit = config.report.reference_dataset, config.report.reference_limit_per_class
    if name is None or config.report.pictures == "none":
        return None
    known = options("dataset")["dataset"]
    if name not in known:
        folder = Path(name).absolute()
        if not folder.is_dir():
            raise ConfigError(
                f"report.reference_dataset={name}: no folder and no data set of this name; allowed "
                f"are a folder with images and {', '.join(known)}"
            )
        return DatasetConfig(
            folder_name(str(folder)), "folder", root=str(folder), limit_per_class=limit
        )
    paths = {f"paths.{key}": path for key, path in vars(config.paths).items()}
    wanted = {"dataset": name, "dataset.limit_per_class": limit, **paths}
    return compose_keywords(wanted)[0].dataset


def default_options() -> dict[str, str]:
    """Return the option of each group that ``conf/config.yaml`` chooses."""
    chosen = OmegaConf.load(CONF / "config.yaml").defaults
    entries = [entry for entry in chosen if isinstance(entry, DictConfig)]
    return {str(group): str(entry[group]) for entry in entries for group in entry}


def typed(config: DictConfig) -> Config:
    """Return the composed config as `Config`; ``statistic`` and ``threshold`` are plain dicts.

    In every path ``~`` and ``~user`` are expanded; what names no user is a folder of that name.

    Raises:
        OmegaConfBaseException: a mandatory value that is missing.
    """
    found = OmegaConf.to_object(config)
    assert isinstance(found, Config)
    for group in ("statistic", "threshold"):
        node = OmegaConf.to_container(config[group], resolve=True, throw_on_missing=True)
        setattr(found, group, node)
    _expand_user(found)
    if (own := parse_call_name(found.model.timm_name)) is not None:
        found.model.timm_name = own[0].call_name(found.model)
    return found


def _expand_user(node: Any) -> None:
    for item in fields(node):
        value = getattr(node, item.name)
        if is_dataclass(value):
            _expand_user(value)
        elif item.metadata["path"] and value is not None:
            setattr(node, item.name, expand_user(value))


def _environment(name: str, default: str) -> str:
    """Return a variable of the environment; an empty one is as none."""
    return os.environ.get(name) or default


def folder_name(root: str | None) -> str:
    """Return a data set's name from its folder; `images`, `train` and the like say nothing alone.

    >>> folder_name("/data/my birds/"), folder_name("flowers/train"), folder_name("a/dtd/images")
    ('my-birds', 'flowers-train', 'dtd-images')
    """
    if root is None:
        return "folder"  # the checks will say that the root is missing
    path = Path(expand_user(root)).absolute()
    if ".." in path.parts:  # of a link, the folder above is that of where it leads to
        path = path.resolve()
    parts = path.parts[-2:] if path.name.lower() in _GENERIC else path.parts[-1:]
    name = re.sub(r"[^\w.-]+", "-", "-".join(parts)).strip("-")
    # With a time and a model it names a folder, which may be 255 bytes long.
    return name.encode()[:_LONGEST_NAME].decode(errors="ignore") or "folder"


@contextmanager
def _hydra() -> Iterator[None]:
    """Provide Hydra with fnx's conf/: that of the run within a run, else one of its own.

    A program which calls fnx may have a Hydra too: it is left as it was.
    """
    instance = GlobalHydra.instance()
    if instance.is_initialized():
        searched = {element.path for element in _loader().get_search_path().get_path()}
        if {str(CONF), f"file://{CONF}"} & searched:
            yield
            return
    prepare()
    others = instance.hydra
    instance.clear()
    try:
        with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
            yield
    finally:
        GlobalHydra.instance().hydra = others


def _loader() -> ConfigLoader:
    return GlobalHydra.instance().config_loader()
