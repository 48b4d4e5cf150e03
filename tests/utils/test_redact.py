"""No secret in anything that a run leaves or says."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from fnx.utils.redact import HIDDEN, clean_logs, redact_files, redacted


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("https://me:pass@host/a.pth", f"https://{HIDDEN}@host/a.pth"),
        ("https://tok3n@host/a.pth", f"https://{HIDDEN}@host/a.pth"),
        ("x=https://h/a?api_key=abc&b=1", f"x=https://h/a?api_key={HIDDEN}&b=1"),
        ("https://h/a?X-Amz-Signature=ff00&v=2", f"https://h/a?X-Amz-Signature={HIDDEN}&v=2"),
        ("https://h/a?download=true", "https://h/a?download=true"),
        ("https://h/a?design=1&sigma=2", "https://h/a?design=1&sigma=2"),
        ("https://h/a?x=1;SIG=ab'", f"https://h/a?x=1;SIG={HIDDEN}'"),
        ("'https://h/a?token=ab' more", f"'https://h/a?token={HIDDEN}' more"),
        ("https://h/a?token=ab#part", f"https://h/a?token={HIDDEN}#part"),
        ("https://a:b@h https://c:d@h", f"https://{HIDDEN}@h https://{HIDDEN}@h"),
        ("https://me:p@ss@host/a", f"https://{HIDDEN}@host/a"),
        ("https://me:pa/ss@host/a", f"https://{HIDDEN}@host/a"),
        ("s3://KEY:sec-ret@bucket/a", f"s3://{HIDDEN}@bucket/a"),
        ("https://h:8080/x@2x.png", "https://h:8080/x@2x.png"),
        ("https://h/a#access_token=ab", f"https://h/a#access_token={HIDDEN}"),
        ("me@example.org, features@2x.png", "me@example.org, features@2x.png"),
    ],
)
def test_addresses_keep_what_is_no_secret(text: str, clean: str) -> None:
    assert redacted(text) == clean


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("+hydra.job.env_set.GH_PAT=ab c", f"+hydra.job.env_set.GH_PAT={HIDDEN} c"),
        ("X_PASSPHRASE='a b' y", f"X_PASSPHRASE='{HIDDEN}' y"),
        ("dbpass=it, y", f"dbpass={HIDDEN}, y"),
        ("  WANDB_API_KEY: ab\n", f"  WANDB_API_KEY: {HIDDEN}\n"),
        ('{"MY_AUTH": "a\\"b", "x": 1}', f'{{"MY_AUTH": "{HIDDEN}", "x": 1}}'),
        ("password: 'it''s'", f"password: '{HIDDEN}'"),
        ("Authorization: Bearer ab", f"Authorization: Bearer {HIDDEN}"),
        ("model.class_token=true class_token: false", "model.class_token=true class_token: false"),
        ("token=null X_KEY=12.5 KEY: ''", "token=null X_KEY=12.5 KEY: ''"),
        ("token=${oc.env:HF_TOKEN}", "token=${oc.env:HF_TOKEN}"),
        ("author=me compass=7a path=b monkey=c", "author=me compass=7a path=b monkey=c"),
        ("unknown token: must be", "unknown token: must be"),
        ("[hf_abcdefghijklmnopqrstu]", f"[{HIDDEN}]"),
        ("ghp_0123456789abcdefghij.", f"{HIDDEN}."),
        ("AKIA0123456789ABCDEF AKIA0123", f"{HIDDEN} AKIA0123"),
    ],
)
def test_what_is_named_a_secret_is_hidden(text: str, clean: str) -> None:
    assert redacted(text) == clean


def test_the_items_of_a_structure_are_hidden_by_their_keys() -> None:
    given = {"MY_PWD": "ab", "class_token": "false", "a": {"api_key": "x y"}, "pwd": 7}
    assert redacted(given) == given | {"MY_PWD": HIDDEN, "a": {"api_key": HIDDEN}}


@pytest.mark.parametrize(
    "form",
    ['it\'s a "secret"', "it''s a \"secret\"", 'it\'s a \\"secret\\"', "it%27s%20a%20%22secret%22"],
)
def test_a_value_is_hidden_as_yaml_json_and_addresses_write_it(
    form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "environ", {"MY_TOKEN": 'it\'s a "secret"'})
    assert redacted(f"x {form} y") == f"x {HIDDEN} y"


@pytest.mark.parametrize(
    ("name", "value", "hidden"),
    [
        ("SOME_API_KEY", "01234567", True),
        ("SOME_API_KEY", "0123456", False),  # may stand anywhere by chance
        ("HF_TOKEN", "harmless", True),
        ("client_secret", "harmless", True),
        ("PASSWD", "harmless", True),
        ("APIKEY_OF", "harmless", True),
        ("ACCESS_KEY_ID", "harmless", True),
        ("CREDENTIALS", "harmless", True),
        ("SIGNING_KEY", "harmless", True),
        ("GH_PAT", "harmless", True),
        ("DBPASS", "harmless", True),
        ("SSHPASS_OF", "harmless", True),
        ("MYSQL_PWD", "harmless", True),
        ("BASIC_AUTH", "harmless", True),
        ("KEY_PASSPHRASE", "harmless", True),
        ("OAUTHORIZATION", "harmless", True),
        ("SENTRY_DSN", "harmless", True),
        ("AWSKEY", "/+harmless", True),
        ("PATTERN", "harmless", False),
        ("GIT_AUTHOR_NAME", "harmless", False),
        ("COMPASS", "harmless", False),
        ("MONKEY_NAME", "harmless", False),
        ("MONKEY", "harmless", False),
        ("KEYBOARD", "harmless", False),
        ("SSH_KEY", "/home/me/.ssh/key", False),  # where it lies is no secret
    ],
)
def test_secrets_of_the_environment_are_hidden_wherever_they_stand(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, hidden: bool
) -> None:
    monkeypatch.setattr(os, "environ", {name: value})
    shown = HIDDEN if hidden else value
    given = {value: [f"say {value}!", 3, None], "b": {"c": (value, value)}}
    assert redacted(given) == {shown: [f"say {shown}!", 3, None], "b": {"c": (shown, shown)}}


@pytest.mark.filterwarnings("default:of ")  # the test's own, which is to be logged
def test_a_log_keeps_its_lines_without_secrets_and_what_steers_a_terminal(
    caplog: pytest.LogCaptureFixture,
) -> None:
    log = logging.getLogger("of anybody")
    before, shows = logging.getLogRecordFactory(), warnings.showwarning
    with clean_logs():
        log.warning("from %s\n\x1b[31m%d\u202e", "https://a:b@h", 7)
        log.warning("%d", "no number")
        try:
            raise ValueError("https://a:b@h")
        except ValueError:
            log.exception("it failed")
        with clean_logs():
            pass
        warnings.warn("of \x1b[31m", stacklevel=1)
        assert not logging.raiseExceptions
        log.warning("token=ab")
    assert caplog.records[-1].getMessage() == "token=[secret]"
    assert "UserWarning: of ?[31m\n" in caplog.records[-2].getMessage()
    assert caplog.records[0].getMessage() == f"from https://{HIDDEN}@h\n?[31m7?"
    assert f"ValueError: https://{HIDDEN}@h" in caplog.text
    assert "a:b" not in caplog.text
    assert logging.raiseExceptions
    assert logging.getLogRecordFactory() is before
    assert warnings.showwarning is shows


def test_files_that_match_are_rewritten_if_they_hold_a_secret(tmp_path: Path) -> None:
    for name in ("a.yaml", "b.txt"):
        (tmp_path / name).write_text("é https://a:b@h\n", encoding="utf-8")
    (tmp_path / "clean.yaml").write_text("é\n", encoding="utf-8")
    before = (tmp_path / "clean.yaml").stat()
    redact_files(tmp_path, "*.yaml")
    assert (tmp_path / "a.yaml").read_text(encoding="utf-8") == f"é https://{HIDDEN}@h\n"
    assert "a:b" in (tmp_path / "b.txt").read_text(encoding="utf-8")
    assert (tmp_path / "clean.yaml").stat().st_mtime_ns == before.st_mtime_ns
    assert (tmp_path / "clean.yaml").stat().st_ino == before.st_ino


def test_a_run_leaves_no_secret(
    command_line: Callable[..., None],
    tiny_words: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    secrets = {"WANDB_API_KEY": "k" * 40, "HF_TOKEN": "hf_verysecrettoken", "GH_PAT": "pat-word"}
    for name, secret in secrets.items():
        monkeypatch.setenv(name, secret)
    address = "https://me:open-sesame@127.0.0.1:9/w.pth?token=in-the-query"
    words = [*tiny_words, f"paths.outputs={tmp_path}/outputs", "dataset.limit_per_class=2"]
    words += [
        f"model.weights.url='{address}'",
        f"logger.tags=[{secrets['HF_TOKEN']}]",
        f"logger.group={secrets['GH_PAT']}",
        "logger=wandb",
        "report=tables",
    ]
    command_line(*words)
    of_the_run = capfd.readouterr()
    with pytest.raises(SystemExit, match="2"):
        command_line(*words, "model.weights.source=url", f"model.weights.folder={tmp_path}/weights")
    failing = capfd.readouterr()
    assert "127.0.0.1" in failing.err
    hidden = ["open-sesame", "in-the-query", *secrets.values()]
    for said in (*of_the_run, *failing):
        assert not [secret for secret in hidden if secret in said], said
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert {"run.json", "run.log", "overrides.yaml"} <= {file.name for file in files}
    (tracked,) = (file for file in files if file.suffix == ".wandb")
    assert b"[secret]" in tracked.read_bytes()
    for file in files:
        content = file.read_bytes()
        assert not [secret for secret in hidden if secret.encode() in content], file
