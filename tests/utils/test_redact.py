"""No secret in anything that a run leaves or says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fnx.utils.redact import HIDDEN, redacted


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("https://me:pass@host/a.pth", f"https://{HIDDEN}@host/a.pth"),
        ("https://tok3n@host/a.pth", f"https://{HIDDEN}@host/a.pth"),
        ("x=https://h/a?api_key=abc&b=1", f"x=https://h/a?api_key={HIDDEN}&b=1"),
        ("https://h/a?X-Amz-Signature=ff00&v=2", f"https://h/a?X-Amz-Signature={HIDDEN}&v=2"),
        ("https://h/a?download=true", "https://h/a?download=true"),
        ("me@example.org, features@2x.png", "me@example.org, features@2x.png"),
    ],
)
def test_addresses_keep_what_is_no_secret(text: str, clean: str) -> None:
    assert redacted(text) == clean


def test_secrets_of_the_environment_are_hidden_wherever_they_stand(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SOME_API_KEY", "0123456789abcdef")
    monkeypatch.setenv("MONKEY_NAME", "harmless-name")
    given = {"a": ["say 0123456789abcdef!", 3, None], "b": {"c": "harmless-name"}}
    assert redacted(given) == {"a": [f"say {HIDDEN}!", 3, None], "b": {"c": "harmless-name"}}


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
