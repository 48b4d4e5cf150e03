"""What --help prints."""

from __future__ import annotations

import dataclasses
import re

import pytest

from fnx.config import schema
from fnx.config.help import help_text


@pytest.fixture(scope="module")
def text() -> str:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", "100")
        text = help_text({"show": "a run in the terminal", "advise": "what to keep"})
    return re.sub(r"\n {31}", " ", text)  # as it is before it is folded


def keys(node: object, prefix: str = "") -> list[str]:
    found: list[str] = []
    for item in dataclasses.fields(node):  # type: ignore[arg-type]
        inner = item.default_factory
        nested = dataclasses.is_dataclass(inner)
        found += keys(inner, f"{prefix}{item.name}.") if nested else [prefix + item.name]
    return found


def test_every_key_has_a_line(text: str) -> None:
    for key in keys(schema.Config):
        assert re.search(rf"^ +{re.escape(key)}[ :]", text, re.M), key


def test_every_group_lists_its_options_and_marks_the_default(text: str) -> None:
    assert re.search(r"^  crops +center, dense, five, \[ten\]$", text, re.M)
    assert re.search(r"^  statistic +auroc, .*\[ks\], ks_exact", text, re.M)
    assert re.search(r"^  experiment +paper$", text, re.M)
    assert not re.search(r"^  seed +\[", text, re.M)


def test_commands_are_listed(text: str) -> None:
    assert "\n  show                         a run in the terminal\n  advise  " in text


def test_a_key_has_its_help_its_choices_or_its_default(text: str) -> None:
    line = "    model.tap                  read a layer after or before its activation (post|pre)\n"
    assert line in text
    assert re.search(r"trainer.batch_size .*what memory allows\n", text)
    assert re.search(r"^  seed  +seed of the random labels .* \[0\]$", text, re.M)
    assert "  crops: The views of an image that are averaged into its embedding.\n" in text


def test_statistics_have_their_parameters_and_defaults(text: str) -> None:
    assert re.search(
        r"^    kl  +Kullback-Leibler .*\n      statistic.bins  +default 100\n"
        r"      statistic.epsilon +default 1e-10$",
        text,
        re.M,
    )
    assert re.search(r"^      threshold.t_minus +default null$", text, re.M)


@pytest.mark.parametrize(("columns", "width"), [(40, 60), (80, 80), (200, 100)])
def test_it_fits_the_terminal(columns: int, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    listed = help_text({}).partition("Keys (GROUP.KEY=VALUE)")[2]
    longest = max(len(line) for line in listed.splitlines() if line.startswith("    "))
    assert width - 8 < longest <= width
