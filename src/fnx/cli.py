"""The command line: Hydra composes the config, `fnx.app.run` does the work, errors take one line.

Nothing heavy is imported before a job starts, so that ``--help``, ``--cfg job`` and tab completion
answer at once.
"""

from __future__ import annotations

import dataclasses
import errno
import logging
import os
import re
import shutil
import signal
import sys
import tempfile
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import hydra
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.errors import (
    ConfigCompositionException,
    HydraException,
    MissingConfigException,
    OverrideParseException,
)
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from fnx.config import schema
from fnx.errors import FnxError, unknown
from fnx.registry import Registry, discovery, load_folder, load_installed, statistics, thresholds
from fnx.targets import refuse_composed_targets, refuse_targets
from fnx.utils import launch
from fnx.utils.redact import Redacting, redact_files, redacted

USER_ERROR = 2

# In an installed wheel conf/ lies inside the package; in a checkout at the top level.
_INSTALLED = Path(__file__).parent / "conf"
CONF = _INSTALLED if _INSTALLED.is_dir() else Path(__file__).parents[2] / "conf"


class _PluginConfigs(SearchPathPlugin):
    """Lets the conf/ folders that plugins bring be found."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        for number, folder in enumerate(discovery.conf_folders()):
            search_path.append(provider=f"fnx-plugin-{number}", path=f"file://{folder}")


# Hydra calls what a config's `hydra.callbacks` and logging name before anything of ours runs, and
# has no hook before that: so each config is looked at where it is composed, whichever process.
_load_configuration = ConfigLoaderImpl.load_configuration


def _load_checked(self: ConfigLoaderImpl, *arguments: Any, **options: Any) -> DictConfig:
    config = _load_configuration(self, *arguments, **options)
    refuse_composed_targets(OmegaConf.to_container(config))
    return config


ConfigLoaderImpl.load_configuration = _load_checked  # type: ignore[method-assign]

# What jobs of this process were told; a sweep goes on with its other jobs.
_refused: list[str] = []
# The process that somebody started, which says what went wrong; a launcher's only import this.
_main_process: int | None = None
_asked_to_end = False
# What the system says of a disk that takes no more.
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


def main() -> None:
    """Run ``python -m fnx``; exit code 2 and one line for what the user can mend."""
    global _main_process
    _main_process = os.getpid()
    # Hydra would print its own errors and exit with 1; this makes it raise them instead.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    signal.signal(signal.SIGTERM, _terminate)
    try:
        _load_plugins()
        _prepare()
        if {"--help", "-h"} & set(sys.argv[1:]):
            print(help_text())  # noqa: T201
            return
        refuse_targets(sys.argv[1:])
        with _folder_of_other_rank() as words:
            sys.argv += words
            _hydra_main()
    except KeyboardInterrupt:
        _leave(*_interrupted())
    except (FnxError, HydraException, OmegaConfBaseException) as error:
        if debugging():
            raise
        _leave(one_line(error), USER_ERROR)
    if _refused:
        sys.exit(USER_ERROR)


@contextmanager
def _folder_of_other_rank() -> Iterator[list[str]]:
    """Words that keep a rank that leaves after the extraction from a run's folder of its own."""
    if launch.is_first():
        yield []
        return
    with tempfile.TemporaryDirectory(prefix="fnx-rank-") as folder:
        yield [f"hydra.run.dir={folder}", "hydra.output_subdir=null"]


class _Terminated(KeyboardInterrupt):
    """SIGTERM: what ends an extraction in order on Ctrl-C does so here too."""


def _terminate(*_: object) -> None:
    global _asked_to_end
    _asked_to_end = True
    raise _Terminated


def _interrupted() -> tuple[str, int]:
    """What to say of Ctrl-C and SIGTERM, and the shell's exit codes for them."""
    word, code = ("terminated", 143) if _asked_to_end else ("interrupted", 130)
    return f"{word}; the same command goes on where this one stopped", code


def compose(overrides: Sequence[str] = ()) -> schema.Config:
    """The checked config that ``python -m fnx OVERRIDES…`` would run with, for tests and notebooks.

    >>> compose(["dataset=digits"]).crops.name
    'center'
    """
    return schema.typed(_composed(overrides))


def dataset_option(name: str, paths: schema.PathsConfig) -> schema.DatasetConfig:
    """The data set that ``dataset=NAME`` chooses, below `paths`; within a run too.

    Raises:
        HydraException, OmegaConfBaseException: see `one_line`.
    """
    composed = _composed([f"dataset={name}"])
    composed.paths = OmegaConf.structured(paths)
    made = OmegaConf.to_object(composed.dataset)
    assert isinstance(made, schema.DatasetConfig)
    return made


def _composed(overrides: Sequence[str]) -> DictConfig:
    if GlobalHydra.instance().is_initialized():  # within a run
        return hydra.compose("config", overrides=list(overrides))
    _prepare()
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        return hydra.compose("config", overrides=list(overrides))


def _load_plugins() -> None:
    """Load what is installed and the plugins folder, which the Python API leaves alone."""
    load_installed()
    load_folder(Path(os.environ.get("FNX_PLUGINS") or "plugins"))


def _prepare() -> None:
    """Tell Hydra of the schema, of the statistics and strategies, and of the plugins' conf/."""
    load_installed()
    store = ConfigStore.instance()
    for registry in (statistics, thresholds):
        for entry in registry:
            for group in (registry.group, f"{registry.group}/{entry.package}"):
                node = entry.config_class()
                store.store(group=group, name=entry.name, node=node, package=registry.group)
    schema.register(store)
    Plugins.instance().register(_PluginConfigs)


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")
def _hydra_main(config: DictConfig) -> None:
    try:
        run_dir = Path(HydraConfig.get().runtime.output_dir)
        redact_files(run_dir / ".hydra", "*.yaml")
        for handler in logging.getLogger().handlers:
            handler.addFilter(Redacting())
        if not launch.is_first():  # the first says the same
            logging.getLogger().setLevel(logging.WARNING)
        _load_plugins()  # in a process of a launcher nobody has
        typed = schema.typed(config)
        from fnx import app  # torch and all that: only now, when there is work

        app.run(typed, run_dir, sweep=_sweep())
    except launch.OtherRank:
        return
    except (FnxError, OmegaConfBaseException, OSError) as error:
        other = isinstance(error, OSError) and error.errno not in _NO_SPACE
        if other or debugging() or os.getpid() != _main_process:
            raise
        # Raised through Hydra it would come with a line of Hydra's own.
        _refused.append(one_line(error))
        sys.stderr.write(f"fnx: {redacted(_refused[-1])}\n")


def _sweep() -> str | None:
    """The id of the sweep that this job belongs to, or None: the runs' group in a tracker."""
    hydra_config = HydraConfig.get()
    if hydra_config.mode != hydra.types.RunMode.MULTIRUN:
        return None
    return "/".join(Path(hydra_config.sweep.dir).parts[-2:])


def debugging() -> bool:
    """Whether the user asked for tracebacks, by the words typed: a config may not compose."""
    return any(re.fullmatch(r"\+{0,2}debug=(true|1|yes|on)", word, re.I) for word in sys.argv[1:])


def one_line(error: BaseException) -> str:
    """The user's mistake in one line: what was found, and what is allowed.

    Hydra and OmegaConf say the same in many lines, with Python's words for YAML's values.
    """
    if isinstance(error, FnxError):
        return str(error)
    if isinstance(error, OSError) and error.errno in _NO_SPACE:
        where = f" ({error.filename})" if error.filename else ""
        return (
            f"{error.strerror}{where}: nothing that is finished is lost; the same command goes on "
            "once there is space"
        )
    if isinstance(error, MissingConfigException):
        return _unknown_option(error) or _first_line(error)
    if isinstance(error, OverrideParseException):
        return f"'{error.override}' is not KEY=VALUE: {_first_line(error)}"
    ambiguous = re.search(r"Ambiguous value for argument '([^']+)'", str(error))
    if ambiguous:
        return f"{ambiguous.group(1)} names several values: add -m to sweep over them"
    cause = error.__cause__ if isinstance(error, ConfigCompositionException) else None
    detail = _first_line(cause if cause is not None else error)
    key = _full_key(error, cause) or ""
    missing = re.search(r"[Mm]issing mandatory value: (\S+)", detail)
    if missing:
        name = key if key.endswith(f".{missing.group(1)}") else missing.group(1)
        return f"{name} is missing: give it as {name}=…"
    stranger = re.match(r"Key '(.+)' (?:is )?not in '(.+)'", detail)
    if stranger:
        return _unknown_key(key or stranger.group(1), stranger.group(2))
    typed = re.search(r"Error merging override (\S+)", str(error))
    where = typed.group(1) if typed else key
    return f"{where}: {detail}" if where and where not in detail else detail


def _full_key(*errors: BaseException | None) -> str | None:
    keys = (getattr(error, "full_key", None) for error in errors)
    return next((key for key in keys if key), None)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _unknown_option(error: MissingConfigException) -> str | None:
    """``dataset=foo``: Hydra's error knows the group's options."""
    name, options = error.missing_cfg_file, error.options
    if name is None or options is None:
        return None
    group, _, option = str(name).rpartition("/")
    extra = {"submitit_slurm": "slurm", "submitit_local": "slurm", "joblib": "joblib"}.get(option)
    if group == "hydra/launcher" and extra:
        return f'{group}={option} is not installed: pip install "fnx[{extra}]"'
    return unknown(f"option of {group}", option, options) if group else None


def _unknown_key(key: str, owner: str) -> str:
    """``dataset.foo=1`` or ``foo=1``: `owner` is the name of the class that has no such key."""
    parent, _, name = key.rpartition(".")
    if parent in ("statistic", "threshold"):
        allowed = list(_registry(parent).get(owner.partition("_")[2]).parameters)
    else:
        node: Any = schema.Config
        for part in filter(None, parent.split(".")):
            node = schema.child(node, part)
        allowed = [item.name for item in dataclasses.fields(node)]
    return unknown(f"key of {parent}" if parent else "key", name, allowed)


def _registry(group: str) -> Registry[Any]:
    return statistics if group == "statistic" else thresholds


def groups() -> dict[str, list[str]]:
    """The config groups and their options, plugins' included."""
    names = [item.name for item in dataclasses.fields(schema.Config)] + ["experiment"]
    found: dict[str, list[str]] = {}
    for name in names:
        options = {path.stem for folder in _folders() for path in (folder / name).glob("*.yaml")}
        stored = ConfigStore.instance().repo.get(name, {})
        options |= {entry.removesuffix(".yaml") for entry in stored if entry.endswith(".yaml")}
        if options:
            found[name] = sorted(options)
    return found


def _folders() -> list[Path]:
    return [CONF, *discovery.conf_folders()]


def help_text() -> str:
    """What ``--help`` prints: how to call, the options of each group, every key with its help."""
    lines = [
        "fnx tells what every feature of a pretrained network says about every class of a labelled",
        "image set: by its presence, by its absence, or only noise.",
        "",
        "Usage",
        "  python -m fnx                                          the embedded default",
        "  python -m fnx dataset=folder dataset.root=PATH model=vgg16",
        "  python -m fnx -m statistic=ks,ks_exact                 a sweep; embeddings are reused",
        "  python -m fnx --cfg job                                show the config, run nothing",
        "  python -m fnx.compare outputs/sweeps/…                 several runs side by side",
        "  python -m fnx.show RUN --class NAME                    a run in the terminal",
        '  eval "$(fnx --shell-completion install=bash)"          tab completion',
        "",
        "Options (GROUP=OPTION)",
    ]
    defaults = _defaults()
    for group, options in groups().items():
        marked = ", ".join(f"[{o}]" if o == defaults.get(group) else o for o in options)
        lines.append(_described(2, group, marked))
    lines += ["  [in brackets: the default]", "", "Keys (GROUP.KEY=VALUE)"]
    for item in dataclasses.fields(schema.Config):
        node = schema.child(schema.Config, item.name)
        if node is not None:
            lines += [f"  {item.name}: {(node.__doc__ or '').strip()}"]
            lines += _key_lines(node, item.name)
        elif item.name in ("statistic", "threshold"):
            lines += [f"  {item.name}: {item.metadata['help']}"]
            lines += _entry_lines(item.name)
        else:
            lines += [f"  {item.name:<29}{item.metadata['help']} [{item.default}]"]
    lines += [
        "",
        "Exit code 0: done; 2: something you can mend, in one line (debug=true: with traceback).",
        "Hydra's own flags: --hydra-help. Documentation: docs/ and README.md.",
    ]
    return "\n".join(lines)


def _key_lines(node: Any, prefix: str) -> list[str]:
    lines = []
    for item in dataclasses.fields(node):
        inner = schema.child(node, item.name)
        if inner is not None:
            lines += _key_lines(inner, f"{prefix}.{item.name}")
            continue
        choices = item.metadata.get("choices")
        allowed = f" ({'|'.join(choices)})" if choices else ""
        lines.append(_described(4, f"{prefix}.{item.name}", item.metadata["help"] + allowed))
    return lines


def _described(indent: int, name: str, text: str) -> str:
    """A name and what it is, in a column of its own that is folded at the terminal's width."""
    label = f"{' ' * indent}{name} ".ljust(31)
    width = min(100, shutil.get_terminal_size().columns)
    folded = textwrap.wrap(text, max(60, width) - len(label), break_on_hyphens=False)
    return label + f"\n{' ' * 31}".join(folded)


def _entry_lines(group: str) -> list[str]:
    """The statistics or strategies, each with what it is and the parameters that it takes."""
    lines = []
    for entry in _registry(group):
        lines.append(_described(4, entry.name, entry.summary))
        for key, parameter in entry.parameters.items():
            default = "null" if parameter.default is None else parameter.default
            lines.append(_described(6, f"{group}.{key}", f"default {default}"))
    return lines


def _defaults() -> dict[str, str]:
    primary = OmegaConf.load(CONF / "config.yaml")
    assert isinstance(primary, DictConfig)
    chosen: dict[str, str] = {}
    for entry in primary.defaults:
        if isinstance(entry, DictConfig):
            chosen.update({str(key): str(value) for key, value in entry.items()})
    return chosen


def _leave(message: str, code: int) -> NoReturn:
    sys.stderr.write(f"fnx: {redacted(message)}\n")
    sys.exit(code)
