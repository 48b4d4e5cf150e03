"""The command line: what it says, how fast, and how it says no."""

from __future__ import annotations

import errno
import logging
import os
import pty
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from datetime import datetime
from functools import partial
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from polars.exceptions import ComputeError
from tests.utils.test_ending import SIGNALS

from fnx import cli
from fnx.config import compose
from fnx.config.schema import Config
from fnx.errors import ConfigError, DataError
from fnx.utils.lock import is_in_use, sole_use

FULL = "No space left on device"
KEPT = ": what is finished is kept; the same command goes on once there is space"

Ran = list[tuple[Config, Path, str | None]]


def fnx(*words: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "fnx", *words],
        cwd=cwd,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            ["dataset.rooot=x"],
            "fnx: unknown key of dataset 'rooot' (did you mean 'root'?); allowed",
        ),
        (["statistic.bins=0"], "fnx: statistic.bins=0: must lie in 1 … 65,536\n"),
        (
            ["shwo"],
            "fnx: unknown command 'shwo' (did you mean 'show'?); allowed: advise, cache",
        ),
        (["hydra.run.dir="], "fnx: hydra.run.dir is empty: give it as hydra.run.dir=FOLDER\n"),
        (["-m", "--cfg", "job"], "fnx: Only one of --run, --multirun, --cfg, --info and --shell"),
        (["show", "nowhere"], "fnx show: "),
        (["datasets", "paths.date=x"], "fnx datasets: unknown key of paths 'date' (did you mean"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_is_one_line_and_exit_code_2(words: list[str], line: str, tmp_path: Path) -> None:
    done = fnx(*words, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith(line)
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""
    assert not list(tmp_path.rglob("*.zarr")), "work had begun"


def test_the_traceback_is_there_when_asked_for(tmp_path: Path) -> None:
    done = fnx("dataset.rooot=x", "debug=true", cwd=tmp_path)
    assert done.returncode != 0
    assert "Traceback" in done.stderr


def test_help_lists_the_commands(tmp_path: Path) -> None:
    done = fnx("--help", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for name, description in cli.COMMANDS.items():
        assert re.search(rf"^  {name} +{description[:20]}", done.stdout, re.M)
        assert import_module(f"fnx.commands.{name}").main
    assert "model.weights.sha256" in done.stdout


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_a_command_has_its_help_and_a_module_of_its_name(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["fnx", name, "--help"])
    home = "fnx" if name in ("compare", "datasets", "show") else "fnx.commands"
    for start in (cli.main, partial(import_module(f"{home}.{name}").main, ["--help"])):
        with pytest.raises(SystemExit, match="0"):
            start()
        assert capsys.readouterr().out.startswith(f"usage: fnx {name} ")


@pytest.mark.parametrize(
    ("error", "said", "code"),
    [
        (DataError("a\nb"), "fnx show: a b\n", 2),
        (ConfigError("no API_TOKEN-value here"), "fnx show: no [secret] here\n", 2),
        (OSError("odd"), "fnx show: odd\n", 2),
        (PermissionError(13, "Permission denied"), "fnx show: Permission denied\n", 2),
        (
            PermissionError(13, "Permission denied", "a/b"),
            "fnx show: Permission denied (a/b)\n",
            2,
        ),
        (
            OSError(errno.ENOSPC, "No space left on device", "x.npy"),
            f"fnx show: No space left on device (x.npy){KEPT}\n",
            2,
        ),
        (ComputeError(f"parquet: {FULL} (os error 28)"), f"fnx show: {FULL}{KEPT}\n", 2),
        (OSError(f"{FULL} (os error 28)"), f"fnx show: {FULL}{KEPT}\n", 2),
        (OSError("100000 requested and 5104 written"), f"fnx show: {FULL}{KEPT}\n", 2),
        (OSError("Input/output error (os error 5)"), "fnx show: Input/output error\n", 2),
        (
            OSError(errno.EFBIG, "File too large"),
            "fnx show: File too large: what is finished is kept; the same command goes on once "
            "files may be larger (ulimit -f)\n",
            2,
        ),
        (KeyboardInterrupt(), "fnx show: interrupted\n", 130),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_error_is_one_line_with_its_exit_code(
    error: BaseException,
    said: str,
    code: int,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "argv", ["fnx"])
    monkeypatch.setenv("MY_API_TOKEN", "API_TOKEN-value")
    with pytest.raises(SystemExit) as left, cli.exit_codes("fnx show"):
        raise error
    assert left.value.code == code
    assert capsys.readouterr().err == said


@pytest.mark.parametrize("kind", [ZeroDivisionError, ComputeError])
@pytest.mark.parametrize("text", ["x (os error x)", "1 requested and 0 written"])
def test_other_errors_pass(kind: type[Exception], text: str) -> None:
    with pytest.raises(kind), cli.exit_codes("fnx show"):
        raise kind(text)


def test_an_interrupted_run_goes_on(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    advice = "the same command goes on where this one stopped"
    with pytest.raises(SystemExit, match="130"), cli.exit_codes("fnx"):
        raise KeyboardInterrupt
    assert capsys.readouterr().err == f"fnx: interrupted; {advice}\n"


@pytest.mark.parametrize(("number", "word"), SIGNALS)
def test_a_run_ends_in_order_once_it_is_told_to(
    number: int,
    word: str,
    ran: Ran,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = signal.getsignal(number)

    def run(*_: object, **__: object) -> None:
        os.kill(os.getpid(), number)
        time.sleep(5)

    monkeypatch.setattr("fnx.app.run", run)
    ended_at_once: list[int] = []
    monkeypatch.setattr(cli, "end_at_once", lambda number, *_, **__: ended_at_once.append(number))
    with pytest.raises(SystemExit, match=str(128 + number)):
        start(monkeypatch)
    advice = "the same command goes on where this one stopped"
    assert f"fnx: {word}; {advice}\n" in capsys.readouterr().err
    assert signal.getsignal(number) is before
    assert ended_at_once == []
    with pytest.raises(KeyboardInterrupt):
        cli._stop(number)  # a second one, while it ends
    assert ended_at_once == [number]


@pytest.mark.parametrize(
    ("word", "asked"),
    [
        ("debug=true", True),
        ("++debug=Yes", True),
        ("+debug=1", True),
        ("debug=on", True),
        ("debug=false", False),
        ("debug=", False),
        ("xdebug=true", False),
        ("debug=true2", False),
    ],
)
def test_a_traceback_is_for_those_who_ask(
    word: str, asked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["fnx", "seed=1", word])
    with pytest.raises(DataError if asked else SystemExit), cli.exit_codes("fnx"):
        raise DataError("x")


def test_a_reader_that_has_seen_enough_is_no_error(tmp_path: Path) -> None:
    code = (
        "import sys; from fnx import cli\n"
        "with cli.exit_codes('fnx show'):\n"
        "    for _ in range(2_000): print('line' * 100)\n"
    )
    started = f'{sys.executable} -c "{code}" | head -1; exit ${{PIPESTATUS[0]}}'
    done = subprocess.run(["bash", "-c", started], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "line" * 100 + "\n", "")


@pytest.mark.parametrize("words", [["--help"], ["--cfg", "job"]], ids=" ".join)
def test_light_commands_import_nothing_heavy(words: list[str], tmp_path: Path) -> None:
    code = (
        "import sys; from fnx.cli import main\n"
        f"sys.argv = ['fnx', *{words!r}]\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'timm', 'lightning', 'numba', 'wandb', 'matplotlib', 'zarr'}\n"
        "print('HEAVY', sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "HEAVY []" in done.stdout


def test_who_imports_a_command_keeps_his_own_answers_to_signals() -> None:
    code = (
        "import signal; before = signal.getsignal(signal.SIGINT)\n"
        "import fnx.compare, fnx.datasets, fnx.show\n"
        "assert signal.getsignal(signal.SIGINT) is before"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_completion_offers_options_and_keys(tmp_path: Path) -> None:
    line = "fnx dataset="
    done = fnx(
        "-sc",
        "query=bash",
        cwd=tmp_path,
        COMP_LINE=line,
        COMP_POINT=str(len(line)),
    )
    assert "dataset=digits" in done.stdout, done.stderr
    assert "dataset=folder" in done.stdout


def test_the_config_is_shown_without_running(tmp_path: Path) -> None:
    done = fnx(
        "--cfg", "job", "model=vgg16", "dataset=folder", "dataset.root=a/birds", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert "timm_name: vgg16.tv_in1k" in done.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def ran(command_line: object, monkeypatch: pytest.MonkeyPatch) -> Ran:
    """Let the command line be called in this process: what it runs is noted, not done."""
    noted: Ran = []

    def run(config: Config, run_dir: Path, *, sweep: str | None) -> None:
        if config.seed == 13:
            raise DataError("seed 13")
        noted.append((config, run_dir, sweep))

    app = SimpleNamespace(run=run)
    monkeypatch.setitem(sys.modules, "fnx.app", app)
    monkeypatch.setattr("fnx.app", app, raising=False)
    return noted


def start(monkeypatch: pytest.MonkeyPatch, *words: str) -> None:
    monkeypatch.setattr(sys, "argv", ["fnx", *words])
    cli.main()


def test_a_run_is_given_its_config_and_a_folder(
    ran: Ran,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("MY_SECRET", "hidden-value")
    start(
        monkeypatch, "seed=5", "dataset=folder", "dataset.root=birds", "logger.tags=[hidden-value]"
    )
    ((config, run_dir, sweep),) = ran
    assert (config.seed, config.dataset.root, sweep) == (5, "birds", None)
    assert run_dir.parents[2] == tmp_path / "outputs"
    assert run_dir.name.endswith("-birds-efficientnet_lite0")
    composed = (run_dir / ".hydra/config.yaml").read_text()
    assert "[secret]" in composed
    assert "hidden-value" not in composed
    assert (run_dir / "run.log").is_file()


def test_a_sweep_goes_on_after_a_mistake(
    ran: Ran,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit, match="2"):
        start(monkeypatch, "-m", "seed=1,13,2")
    assert [config.seed for config, _, _ in ran] == [1, 2]
    (sweep,) = {sweep for _, _, sweep in ran}
    assert re.fullmatch(r"\d{4}-\d\d-\d\d/\d\d-\d\d-\d\d", sweep or "")
    assert [run_dir.name for _, run_dir, _ in ran] == [
        "0-digits-efficientnet_lite0-ks",
        "2-digits-efficientnet_lite0-ks",
    ]
    assert capsys.readouterr().err.count("fnx: seed 13\n") == 1


def test_a_sweep_leaves_and_says_no_secret(
    ran: Ran,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("GH_PAT", "hidden-value")
    address = "https://me:open@sesame@host/w.pth"
    words = ["logger.tags=[hidden-value]", f"model.weights.url={address}", "seed=1,13"]
    words += ["+hydra.job.env_set.MY_DBPASS=on-the-line", "hydra.output_subdir=kept"]
    with pytest.raises(SystemExit, match="2"):
        start(monkeypatch, "-m", *words)
    assert ran[0][0].model.weights.url == address
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    names = {"multirun.yaml", "config.yaml", "overrides.yaml", "hydra.yaml", "run.log"}
    assert {file.name for file in files} == names
    said = [file.read_text(encoding="utf-8") for file in files] + list(capsys.readouterr())
    assert "#0 : logger.tags=[[secret]]" in said[-2]
    for text in said:
        assert not re.search("hidden-value|sesame|on-the-line", text), text


@pytest.fixture
def noon(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is always the same second."""
    now = datetime(2026, 1, 2, 12, 0, 0)
    monkeypatch.setattr("hydra.core.utils.datetime", SimpleNamespace(now=lambda: now))


@pytest.mark.usefixtures("noon")
def test_runs_and_sweeps_of_the_same_second_have_folders_of_their_own(
    ran: Ran, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    outputs = "a (1) [x] {y} $z it's #1 %d; é 照片 = \\"
    for _ in range(3):
        start(monkeypatch, f"paths.outputs={outputs}")
    for _ in range(2):
        start(monkeypatch, "-m", "seed=1,2", f"paths.outputs={outputs}")
    first = tmp_path / f"{outputs}/runs/2026-01-02/12-00-00-digits-efficientnet_lite0"
    swept = tmp_path / f"{outputs}/sweeps/2026-01-02/12-00-00"
    assert [str(folder) for _, folder, _ in ran] == [
        *(f"{first}{suffix}" for suffix in ("", "-2", "-3")),
        *(
            f"{swept}{suffix}/{job}-digits-efficientnet_lite0-ks"
            for suffix in ("", "-2")
            for job in (0, 1)
        ),
    ]
    assert [sweep for *_, sweep in ran[2:]] == [None, *["2026-01-02/12-00-00"] * 2] + [
        "2026-01-02/12-00-00-2"
    ] * 2
    assert all((folder / "run.log").is_file() for _, folder, _ in ran)
    assert (
        sorted(path.name for path in swept.parent.rglob("multirun.yaml")) == ["multirun.yaml"] * 2
    )


def test_a_folder_that_is_named_is_that_folder_unless_a_run_is_writing_there(
    ran: Ran, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    named = tmp_path / "home/mine"
    for _ in range(2):
        start(monkeypatch, "hydra.run.dir=~/mine")
    with sole_use(named):
        start(monkeypatch, "hydra.run.dir=~/mine")
    assert [folder for _, folder, _ in ran] == [named, named, named.with_name("mine-2")]
    assert not list(tmp_path.rglob(".lock"))


def test_a_run_has_its_folder_to_itself(ran: Ran, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fnx.app.run", lambda _, folder, **__: held.append(is_in_use(folder)))
    held: list[bool] = []
    start(monkeypatch)
    assert held == [True]


@pytest.mark.parametrize(
    ("words", "place"),
    [
        (["paths.outputs=file"], "file/runs"),
        (["-m", "paths.outputs=file", "seed=1,2"], "file/sweeps"),
        (["hydra.run.dir=file/a"], "file/a"),
        (["hydra.run.dir=taken"], "taken/run.log"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_folder_that_cannot_be_written_is_one_line_that_names_the_key(
    words: list[str],
    place: str,
    ran: Ran,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("file").touch()
    Path("taken/run.log").mkdir(parents=True)
    with pytest.raises(SystemExit, match="2"):
        start(monkeypatch, *words)
    said = capsys.readouterr().err
    assert re.fullmatch(
        rf"fnx: \S*{place}\S* cannot be written \((Not a directory|File exists|Is a directory)\): "
        "choose another folder with paths.outputs=…\n",
        said,
    ), said
    assert ran == []


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["statistic=kss"], "option of statistic 'kss' (did you mean 'ks'?)"),
        (["-m", "dataset=digits,foldr"], "option of dataset 'foldr' (did you mean 'folder'?)"),
        (["crops.sze=3"], "key of crops 'sze' (did you mean 'size'?)"),
    ],
    ids=str,
)
def test_what_does_not_compose_is_named_with_what_is_allowed(
    words: list[str],
    named: str,
    ran: Ran,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit, match="2"):
        start(monkeypatch, *words)
    assert capsys.readouterr().err.startswith(f"fnx: unknown {named}; allowed: ")
    assert ran == []


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left", "a/run.log"), ValueError()]
)
def test_of_hydras_own_errors_a_full_disk_and_faults_stay_what_they_are(error: Exception) -> None:
    def fail() -> None:
        raise error

    with pytest.raises(type(error)) as raised:
        cli._start(fail)
    assert raised.value is error


def test_a_rank_that_is_not_the_first_leaves_no_folder(
    ran: Ran,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    start(monkeypatch)
    ((_, run_dir, _),) = ran
    assert "fnx-rank-" in str(run_dir)
    assert not run_dir.exists()
    assert not (tmp_path / "outputs").exists()
    assert logging.getLogger().level == logging.WARNING


@pytest.fixture
def trap(tmp_path: Path) -> Path:
    """A file that is there once the plugin of the working directory was executed."""
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins/evil.py").write_text(
        "with open('executed', 'a') as file: file.write('x')\n"
    )
    (tmp_path / "plugins/other.py").touch()
    return tmp_path / "executed"


def test_the_api_executes_nothing_of_the_working_directory(trap: Path) -> None:
    code = "import fnx; fnx.distances([[1.0], [2.0]], ['a', 'b'])\n"
    code += "from fnx.config.compose import compose; compose()"
    subprocess.run([sys.executable, "-c", code], cwd=trap.parent, check=True)
    assert not trap.exists()


SHOWN = ["--help", "-h", "--hydra-help", "--version", "--cfg job", "-c job", "--cf job", "-cjob"]
SHOWN += ["--info", "-i", "-sc query=bash", "--shell-completion query=bash", "--cfg=job", "shwo"]
SHOWN += ["datasets paths.data=x"]


@pytest.mark.parametrize("words", SHOWN)
def test_nor_does_a_command_that_runs_nothing(
    words: str, trap: Path, monkeypatch: pytest.MonkeyPatch, ran: Ran
) -> None:
    monkeypatch.setenv("COMP_LINE", "fnx ")
    monkeypatch.delenv("FNX_PLUGINS", raising=False)
    with suppress(SystemExit):
        start(monkeypatch, *words.split())
    assert not trap.exists()
    assert ran == []


@pytest.mark.usefixtures("restored_registry")
@pytest.mark.parametrize(
    "words",
    [
        [],
        pytest.param(["-m", "seed=1,2"], marks=pytest.mark.slow),
        ["--config-dir=plugins", "seed=1"],
    ],
)
def test_a_run_loads_and_names_the_plugins_of_the_working_directory(
    words: list[str],
    trap: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    ran: Ran,
) -> None:
    monkeypatch.setenv("FNX_PLUGINS", "")
    start(monkeypatch, *words)
    assert not trap.exists()
    assert "plugins" not in capsys.readouterr().err
    monkeypatch.delenv("FNX_PLUGINS")
    start(monkeypatch, *words)
    start(monkeypatch, *words)
    assert trap.read_text() == "x"
    assert capsys.readouterr().err.count("plugins: 2 from ./plugins\n") == 1
    assert len(ran) == (6 if "-m" in words else 3)


@pytest.mark.usefixtures("restored_registry")
def test_the_plugins_of_a_checkout_are_not_named(
    trap: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(trap.parent)
    monkeypatch.delenv("FNX_PLUGINS", raising=False)
    monkeypatch.setattr(compose, "CONF", trap.parent / "conf")
    compose.load_plugins()
    assert trap.exists()
    assert capsys.readouterr().err == ""


def test_a_folder_of_plugins_may_be_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "mine/extra/conf/experiment").mkdir(parents=True)
    (tmp_path / "mine/extra/__init__.py").touch()
    (tmp_path / "mine/extra/conf/experiment/quick.yaml").write_text(
        "# @package _global_\nseed: 77\n"
    )
    (tmp_path / "there").mkdir()
    done = fnx(
        "--cfg",
        "job",
        "experiment=quick",
        cwd=tmp_path / "there",
        FNX_PLUGINS=str(tmp_path / "mine"),
    )
    assert "seed: 77" in done.stdout, done.stderr


def test_a_recipe_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "my conf/experiment").mkdir(parents=True)
    (tmp_path / "my conf/experiment/mine.yaml").write_text(
        "# @package _global_\ndefaults: [{override /statistic: kl}]\nseed: 77\n"
    )
    for where in (["--config-dir", "my conf"], ["--config-dir=~/my conf"]):
        words = ["--cfg", "job", *where, "+experiment=mine"]
        done = fnx(*words, cwd=tmp_path, HOME=str(tmp_path))
        assert "seed: 77" in done.stdout, done.stderr
        assert "name: kl\n" in done.stdout


def test_the_process_of_a_launcher_hands_its_error_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    errors: list[Exception] = [DataError("no images"), OSError(5, "I/O error", "a")]
    errors += [ComputeError("parquet: I/O error (os error 5)"), DataError("no images")]

    def fail(config: object) -> None:
        raise errors.pop(0)

    monkeypatch.setattr(cli, "_run_job", fail)
    monkeypatch.setattr(cli, "_refused", None)
    for line in (r"^no images$", r"^I/O error \(a\)$", r"^Input/output error$"):
        with pytest.raises(DataError, match=line):
            cli.job(SimpleNamespace())
    monkeypatch.setattr(cli, "_refused", [])
    cli.job(SimpleNamespace())
    assert cli._refused == ["no images"]
    assert capsys.readouterr().err == "fnx: no images\n"


@pytest.mark.parametrize("terminal", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_run_is_plain_in_a_pipe_and_on_a_terminal_without_colours(
    tmp_path: Path, *, terminal: bool
) -> None:
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(40, 6)))
    (tmp_path / "y.txt").write_text("a\nb\n" * 20)
    words = ["dataset=array", "dataset.file=x.npy", "dataset.labels=y.txt", "report=tables"]
    command = [sys.executable, "-m", "fnx", *words, "logger=none"]
    environment = {key: value for key, value in os.environ.items() if key != "DISPLAY"}
    if terminal:
        environment |= {"TERM": "dumb", "NO_COLOR": "1"}
        ours, its = pty.openpty()
        with subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=its, stderr=its):
            os.close(its)
            written = b""
            with suppress(OSError):  # the end of a terminal on Linux
                while part := os.read(ours, 4096):
                    written += part
        os.close(ours)
    else:
        environment |= {"TERM": "xterm-256color"}
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, check=True
        )
        written = done.stderr + done.stdout
        assert b"\r" not in written
    assert not set(written) & {*range(8), *range(11, 13), *range(14, 32)}  # but tabs and line ends
    lines = written.decode().splitlines()
    assert lines[-4:-3] == ["next"]
    assert [line.split()[:4] for line in lines[-3:]] == [
        ["python", "-m", "fnx", command] for command in ("show", "compare", "export")
    ]
