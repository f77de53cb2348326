"""Mistakes in the files of a configuration: each is answered with the file, the key, and what was meant."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from enrich import ENRICHERS, phrasebook, read_enrichment
from hark.alerts.targets import load_alerts
from hark.commands.check import source_findings
from hark.core.errors import SettingsError
from hark.settings import SHIPPED, load
from ingest import check_source

FILES = sorted(path.name for path in SHIPPED.glob("*.toml"))
_EXAMPLE = re.compile(r"(?m)^# ?(?=\[|[a-z_]+ = )")
"""What is commented out in alerts.toml: examples of all that can be said."""
_KEY = re.compile(r"(?m)^\s*([a-z_]+)(?=\s*=)|[{,]\s*([a-z_]+)(?=\s*=)|^\[\[?([a-z._-]+)\]")
_OWN_NAMES = ("sources", "target", "rota", "options")
"""Tables whose keys are the user's own names."""


def written(file: str) -> str:
    text = (SHIPPED / file).read_text(encoding="utf-8")
    return _EXAMPLE.sub("", text) if file == "alerts.toml" else text


def read(config: Path, file: str) -> None:
    """Read what `hark up` reads of a file before it starts anything, and `hark check` in addition."""
    if file in ("hark.toml", "brands.toml", "sources.toml"):
        for source in load(config, config / "data").sources:
            check_source(source)
    elif file == "alerts.toml":
        load_alerts(config)
    elif file == "enrichment.toml":
        read_enrichment(config)
    else:
        phrasebook.check(config)


def misspelt(file: str) -> Iterator[tuple[str, str, str]]:
    """Yield each key that means something to Hark, how it is misspelt, and the file with that mistake."""
    text, table, done = written(file), "", set()
    for found in _KEY.finditer(text):
        group = 1 if found[1] else 2 if found[2] else 3
        name, (start, end) = found[group], found.span(group)
        if group == 3:
            table = name
            first, *rest = name.split(".")
            name = first if first in _OWN_NAMES or not rest else rest[-1]
            end = start + len(first) if name == first else end
        elif table == "words" or table.endswith(".languages"):
            continue
        if (table, group, name) not in done:
            done.add((table, group, name))
            yield name, name + name[-1], text[:end] + name[-1] + text[end:]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    folder = tmp_path / "config"
    shutil.copytree(SHIPPED, folder, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "alerts.toml").write_text(written("alerts.toml"), encoding="utf-8")
    return folder


@pytest.mark.parametrize("file", FILES)
def test_the_files_as_shipped_are_right_with_their_examples_too(config: Path, file: str) -> None:
    read(config, file)


@pytest.mark.parametrize("file", FILES)
def test_each_key_that_is_misspelt_is_named_with_the_one_that_was_meant(config: Path, file: str) -> None:
    mistakes = list(misspelt(file))
    assert mistakes
    for right, wrong, text in mistakes:
        (config / file).write_text(text, encoding="utf-8")
        with pytest.raises(SettingsError) as refused:
            read(config, file)
        told = str(refused.value)
        assert file in told
        assert f"unknown key `{wrong}`; did you mean `{right}`?" in told


@pytest.mark.parametrize("file", FILES)
def test_a_file_that_is_no_utf_8_or_no_toml_is_answered_with_the_line(config: Path, file: str) -> None:
    (config / file).write_bytes(b'# one\n# two\nname = "caf\xe9"\n')
    with pytest.raises(SettingsError, match=rf"{file}: line 3 is not UTF-8"):
        read(config, file)
    for broken in ("# one\nname = \n", "# one\nname = [1\n\n\n", "a = 1\na = 2\n", "[a]\nb = 1\n[a]\n"):
        (config / file).write_text(broken)
        with pytest.raises(SettingsError, match=rf"{file}: .*(at line \d|end of document)"):
            read(config, file)
    for hostile in ("a = " + "[" * 5_000 + "]" * 5_000, "a = " + "9" * 5_000):
        (config / file).write_text(hostile)
        with pytest.raises(SettingsError, match=file):
            read(config, file)


@pytest.mark.parametrize("file", FILES)
def test_an_empty_file_says_nothing_or_what_it_lacks(config: Path, file: str) -> None:
    (config / file).write_text("")
    if file in ("hark.toml", "sources.toml", "alerts.toml"):  # nothing has to stand there
        read(config, file)
    else:
        with pytest.raises(SettingsError, match=rf"{file}: lacks the key `\w+`"):
            read(config, file)


def test_a_mark_at_the_beginning_as_some_editors_write_it_is_no_mistake(config: Path) -> None:
    for file in FILES:
        (config / file).write_bytes(b"\xef\xbb\xbf" + (config / file).read_bytes())
        read(config, file)


@pytest.mark.parametrize(
    ("file", "content", "told"),
    [
        ("hark.toml", "[log]\npartitions = 0", "log.partitions: expected a whole number >= 1, found 0"),
        ("hark.toml", "[log]\nretention_days = -1", "log.retention_days: expected a number > 0.0, found -1"),
        ("hark.toml", "[log]\nretention_days = nan", "expected a number > 0.0, found nan"),
        ("hark.toml", "[log]\nmechanism = 'PLAN'", "found 'PLAN'"),
        ("hark.toml", "[enrich]\nworkers = 1.5", "enrich.workers: expected a whole number, found 1.5"),
        ("hark.toml", "[console]\nhosts = 'a'", "console.hosts: expected a list in [ ], found a text in"),
        ("hark.toml", "[console]\nhosts = ['a', 1]", "console.hosts 2: expected a text in quotes"),
        ("hark.toml", "console = true", "console: expected a table, found true or false"),
        ("hark.toml", "[console.oidc]\nisuer = ''", "console.oidc: unknown key `isuer`; did you mean `issuer`?"),
        ("brands.toml", "[brand]\nname = 'a'", "brand: expected [[brand]] before each, found [brand]"),
        ("brands.toml", "[[brand]]\nname = 'a'\nquery = 3", 'brand "a": query: expected a text in quotes'),
        ("brands.toml", "[[brand]]\nname = 'a'\nquery = 'a'\n" * 2, "two brands are named 'a'"),
        ("sources.toml", "[sources.y]\ntype = 'z'", "no source 'z'; there are"),
        ("sources.toml", "[sources.y]\ntype = 'redit'", "no source 'redit'; did you mean `reddit`?"),
        ("sources.toml", "[sources.x]\nenabled = 'no'", "sources.x: type is a word in quotes, enabled is"),
        ("sources.toml", "[sources.x]\nenabld = false", "sources.x: unknown key `enabld`; did you mean `enabled`"),
        ("sources.toml", "[sources.x]\ntype = 'x'\n[sources.x]", "twice (at line 3"),
        ("alerts.toml", "[target.a]\nadress = ''", "target.a: unknown key `adress`; did you mean `address`?"),
        ("alerts.toml", "[[rule]]\nname = 'a'\ndetector = 'spikes'", 'rule "a": detector: expected one of spike'),
        ("alerts.toml", "[[rule]]\nname = 'a'\ndetector = 'spike'\nnotify = ['b']", "is named 'b'; there are: none"),
        ("enrichment.toml", "order = ['text', 'vadr']", "'vadr'; did you mean `vader`?"),
        ("enrichment.toml", "order = ['text', 'text']", "each enricher once"),
        ("enrichment.toml", "order = ['text']\n[options.recogniser]\npipelin = ''", "did you mean `pipeline`?"),
        ("enrichment.toml", "order = ['text']\n[options.teext]", "'teext'; did you mean `text`?"),
        ("topics.toml", "[[topic]]\nid = 'bags'\n[[topic]]\nid = 'a'\nparent = 'bag'", "did you mean `bags`?"),
        ("topics.toml", "[[topic]]\nid = 'a'\nweight = 0", 'topic "a": weight: expected a number > 0.0, found 0'),
        ("topics.toml", "[[topic]]\nid = 'a'\nlanguages = {german = []}", "such as es or de, found 'german'"),
        ("topics.toml", "[[topic]]\nid = 'a'\nlanguages = {de = ['b', 3]}", 'topic "a": languages.de 2: expected'),
        ("lexicon.toml", "quiet.words = []\ngroup = [{name = 'a', phrases = [], kind = 'iron'}]", "`irony`"),
        ("lexicon.toml", "quiet.words = []\n" + "[[group]]\nname = 'a'\nphrases = []\n" * 2, "'a' stands twice"),
        ("lexicon.toml", "quiet.words = []\n[[group]]\nname = 'a'\nnegative = 3e9", '"a": negative: expected'),
        ("topics.toml", "words.bag = []\n[[topic]]\nid = 'a'\nphrases = ['<bgs>']", "<bgs> is no list of [words]; did"),
        ("signals.toml", "intent = []\nurgency = []\n[[journey]]\nname = 'a'\nphrases = ['(b']", "balanced ( | )"),
        ("signals.toml", "[[intent]]\nname = 'spamm'\nphrases = []", "did you mean `spam`?"),
        ("signals.toml", "intent = []\nurgency = []\n" + "[[journey]]\nname = 'a'\nphrases = []\n" * 2, "twice"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_its_place(config: Path, file: str, content: str, told: str) -> None:
    (config / file).write_text(content)
    with pytest.raises(SettingsError) as refused:
        read(config, file)
    assert told in str(refused.value)
    assert file in str(refused.value)


@pytest.mark.parametrize("name", [name for name in ENRICHERS if name != "recogniser"])
def test_an_option_of_an_enricher_that_has_none_is_refused(config: Path, name: str) -> None:
    (config / "enrichment.toml").write_text(f"order = ['text']\n[options.{name}]\nlongest = 3\n")
    with pytest.raises(SettingsError, match=rf"options\.{name}: unknown key `longest`; there are: none"):
        read_enrichment(config)


def test_a_mistake_in_a_source_that_is_off_is_told_as_well(config: Path) -> None:
    (config / "sources.toml").write_text("[sources.x]\nenabled = false\nbearer_tokn = 'a'\n")
    ((part, condition, text),) = source_findings(load(config, config / "data"))
    assert (part, condition) == ("source x", "wrong")
    assert "sources.x: unknown key `bearer_tokn`; did you mean `bearer_token`?" in text


def test_the_value_of_a_wrong_text_is_never_shown(config: Path) -> None:
    (config / "hark.toml").write_text("[log]\npartitions = 'hunter2'")
    with pytest.raises(SettingsError) as refused:
        load(config, config / "data")
    assert "hunter2" not in str(refused.value)
