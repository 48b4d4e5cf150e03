"""A text on the command line is that text, whatever Hydra's grammar makes of it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import QuotedString
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from fnx.config.compose import compose
from fnx.config.words import prepared, quoted
from fnx.errors import ConfigError

CHARACTERS = ["a (1)", "a [x]", "[x]", "{a}", "a{b}", "a,b", "a#b", "it's", 'a"b', "a&b", "a;b"]
CHARACTERS += ["a=b", "a$b", "${b}", "${", "100%", "a\\", "a\\b", "-x", " a", "a ", "a\nb", "café"]
CHARACTERS += ["照片", "007", "1_0", "1e3", "true", "None,", "photos(1)", "a|b<c>", "`a`!", "a: b"]
CHARACTERS += ["\\${a}", "'a'b", "x@2"]


def read(word: str) -> object:
    """Return the value that Hydra and OmegaConf read from a word."""
    value = OverridesParser.create().parse_override(word).value()
    known = {"paths": {"data": "D"}, "value": value}
    return OmegaConf.create(known).value if not isinstance(value, QuotedString) else _text(value)


def _text(value: QuotedString) -> object:
    return OmegaConf.create({"paths": {"data": "D"}, "value": value.text}).value


@pytest.mark.parametrize("text", CHARACTERS)
def test_a_path_is_taken_literally(text: str) -> None:
    for sweep in (False, True)[: 1 if "," in text else 2]:
        assert read(*prepared([f"dataset.root={text}"], sweep=sweep)) == text


@given(st.text(st.characters(exclude_categories=["Cs"])).filter(lambda text: text != "null"))
def test_quotes_hold_any_text(text: str) -> None:
    assert read(f"a.b={quoted(text)}") == text


TEXTS = ["dataset.file", "dataset.name", "model.weights.path", "paths.outputs", "report.pair"]
TEXTS += ["logger.group", "hydra.run.dir", "hydra.sweep.dir", "hydra.sweep.subdir"]


@pytest.mark.parametrize("key", TEXTS)
def test_so_is_every_key_that_holds_one_text(key: str) -> None:
    assert prepared([f"{key}=a (1)", f"++{key}=7"], sweep=False)[0] == f'{key}="a (1)"'


@pytest.mark.parametrize(
    ("word", "read_as"),
    [
        ("dataset.root=null", None),
        ("dataset.root='a b'", "a b"),
        ('dataset.root="a, b"', "a, b"),
        ("dataset.root=a\\,b", "a,b"),
        ("dataset.root=${paths.data}/x", "D/x"),
        ("dataset.root=${paths.data}/x (1)", "D/x (1)"),
        ("dataset.root=", ""),
        ("crops.size=3", 3),
        ("report.mode=true", True),  # of allowed values, none is any text
        ("dataset.download=true", True),
        ("report.pairs=[a,b]", ["a", "b"]),
        ("model.layers=[a,b]", ["a", "b"]),
    ],
)
def test_what_is_written_for_hydra_is_left_to_it(word: str, read_as: object) -> None:
    assert prepared([word], sweep=False) == [word] or "(1)" in word
    assert read(*prepared([word], sweep=False)) == read_as


OTHERS = ["-m", "--config-dir=a (1)", "statistic=ks,kl", "~threshold", "dataset.root=choice(a,b)"]
OTHERS += ["dataset.rooot=a (1)", "dataset=a,b", "dataset.root='a','b'", "hydra.run=a (1)", "shwo"]
OTHERS += ["dataset.root.x=a (1)", "dataset.root=${hydra.job.num}", "dataset.root=${.name}"]
OTHERS += ["dataset.root=${oc.env:HOME}", "dataset.root=${seed}"]


@pytest.mark.parametrize("word", OTHERS)
def test_other_words_stay_as_they_are(word: str) -> None:
    assert prepared([word], sweep=False) == [word]


def test_an_escaped_path_is_itself_where_it_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    word = "dataset.root=a\\\\b"
    assert read(*prepared([word], sweep=False)) == "a\\b"
    Path("a\\\\b").mkdir()
    assert read(*prepared([word], sweep=False)) == "a\\\\b"


@pytest.mark.parametrize("key", ["paths.outputs", "hydra.run.dir", "hydra.sweep.dir"])
def test_a_folder_that_hydra_could_not_make_is_refused(key: str) -> None:
    assert prepared([f"{key}=${{paths.data}}/a $ {{}}"], sweep=False)
    with pytest.raises(
        ConfigError, match=rf"^{key}=a/\$\{{b\}}: choose a folder without '\$\{{' in"
    ):
        prepared([f"{key}=a/${{b}}"], sweep=False)
    for value in ("", " ", "''", '""'):  # it would be the working directory, or the root
        with pytest.raises(ConfigError, match=f"^{key} is empty: give it as {key}=FOLDER$"):
            prepared([f"{key}={value}"], sweep=True)


def test_a_comma_of_a_sweep_that_may_be_a_texts_is_refused_with_both_ways_to_write_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert prepared(["dataset.root=a,b"], sweep=True) == ["dataset.root=a,b"]
    Path("a,b").mkdir()
    assert prepared(["dataset.root=a,b"], sweep=False) == ['dataset.root="a,b"']
    line = (
        "dataset.root=a,b: a comma separates the values of a sweep; write 'dataset.root=\"a,b\"'"
        ' for one value, or \'dataset.root="a","b"\' for several'
    )
    with pytest.raises(ConfigError, match=f"^{re.escape(line)}$"):
        prepared(["dataset.root=a,b"], sweep=True)
    line = "dataset.root=a (1),b: a comma separates the values of a sweep; write"
    with pytest.raises(ConfigError, match=f"^{re.escape(line)}"):
        prepared(["dataset.root=a (1),b"], sweep=True)


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("+experiment=paper", "experiment=paper"),
        ("++dataset=wood", "dataset=wood"),
        ("+dataset.root=a", "dataset.root=a"),
        ("+seed=1", "seed=1"),
        ("+mine=1", "+mine=1"),
        ("++hydra.job.x=1", "++hydra.job.x=1"),
    ],
)
def test_a_plus_before_what_is_there_is_left_out(word: str, expected: str) -> None:
    assert prepared([word], sweep=False) == [expected]


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("crops=10", 'crops="10"'),
        ("threshold=0.1, fixed", 'threshold="0.1","fixed"'),
        ("+logger=null", 'logger="null"'),
        ("hydra/launcher=true", 'hydra/launcher="true"'),
        ("crops=ten,five", "crops=ten,five"),
        ("dataset=[a]", "dataset=[a]"),
        ("experiment=[paper,quick]", "experiment=[paper,quick]"),
        ("dataset={name:1}", "dataset={name:1}"),
        ("statistic=a(b", "statistic=a(b"),
        ("seed=1,2", "seed=1,2"),
    ],
)
def test_an_option_is_a_name_whatever_it_looks_like(word: str, expected: str) -> None:
    assert prepared([word], sweep=True) == [expected]


@pytest.mark.parametrize(
    ("word", "each"),
    [
        ("crops=[ten,center]", "ten,center"),
        ("+dataset=[a, b]", "a,b"),
        ("crops=['ten','a b']", "ten,a b"),
        ("crops=choice([ten,'center'],five)", "ten,center"),
    ],
)
def test_a_group_has_one_option_at_a_time(word: str, each: str) -> None:
    key, _, value = word.strip("+").partition("=")
    expected = f"{key}={value}: choose one option, or sweep over them: -m {key}={each}"
    with pytest.raises(ConfigError, match=f"^{re.escape(expected)}$"):
        prepared([word], sweep="choice" in word)


@pytest.mark.parametrize(
    "word",
    ["crops=[1]", "dataset=[a,1]", "experiment=[paper,true]", "crops=[[ten]]", "a/b=[{c:1}]"],
)
def test_the_options_of_a_list_are_names(word: str) -> None:
    with pytest.raises(ConfigError, match=f"^{re.escape(word)}: must be the name of an option$"):
        prepared([word], sweep=False)


def test_the_configuration_is_composed_of_prepared_words() -> None:
    config = compose(["+experiment=paper", "dataset=folder", "dataset.root=a, b (1)"])
    assert (config.dataset.root, config.dataset.name) == ("a, b (1)", "a-b-1")
    assert config.threshold["permutations"] == 1


def test_a_tilde_of_a_folder_of_options_is_expanded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert prepared(["--config-dir=~/conf"], sweep=False) == ["--config-dir=/home/me/conf"]
