"""No secret in anything that a run leaves or says."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fnx.utils.redact import HIDDEN, Redacting, redact_files, redacted


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
        ("me@example.org, features@2x.png", "me@example.org, features@2x.png"),
    ],
)
def test_addresses_keep_what_is_no_secret(text: str, clean: str) -> None:
    assert redacted(text) == clean


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
        ("MONKEY_NAME", "harmless", False),
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


def test_a_log_keeps_its_lines_without_their_secrets() -> None:
    record = logging.LogRecord("x", logging.INFO, "", 0, "from %s", ("https://a:b@h",), None)
    assert Redacting().filter(record)
    assert record.getMessage() == f"from https://{HIDDEN}@h"


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


def test_a_run_leaves_no_secret(tmp_path: Path, tiny_words: tuple[str, ...]) -> None:
    secrets = {"WANDB_API_KEY": "k" * 40, "HF_TOKEN": "hf_verysecrettoken"}
    address = "https://me:open-sesame@127.0.0.1:9/w.pth?token=in-the-query"
    words = [*tiny_words, f"paths.outputs={tmp_path}/outputs", "dataset.limit_per_class=2"]
    words += [
        f"model.weights.url='{address}'",
        f"logger.tags=[{secrets['HF_TOKEN']}]",
        "logger=csv",
    ]
    command = [sys.executable, "-m", "fnx", *words]

    def run(*more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*command, *more],
            cwd=tmp_path,
            env={**os.environ, **secrets},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    done = run()
    assert done.returncode == 0, done.stderr
    failing = run("model.weights.source=url", f"model.weights.folder={tmp_path}/weights")
    assert failing.returncode == 2
    assert "127.0.0.1:9/w.pth" in failing.stderr
    hidden = ["open-sesame", "in-the-query", *secrets.values()]
    for said in (done.stdout, done.stderr, failing.stdout, failing.stderr):
        assert not [secret for secret in hidden if secret in said], said
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert {"run.json", "report.html", "run.log", "overrides.yaml"} <= {file.name for file in files}
    for file in files:
        content = file.read_bytes()
        assert not [secret for secret in hidden if secret.encode() in content], file
