import os
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.texts import texts
from enrich import ENRICHERS, Context, build
from enrich.chain import Chain, build_chain
from hark.core.draft import LONGEST_TEXT, Draft
from hark.core.errors import SettingsError
from hark.core.mention import Enrichment
from hark.settings import SHIPPED, load
from tests.support.drafts import mention_of
from tests.support.hostile import in_proportion
from tests.support.require import REPOSITORY

shipped = load(SHIPPED, Path("unused"))
chain = build_chain(shipped.config, shipped.brands)


def tag(text: str) -> Enrichment:
    """Return the tags of one text by the shipped chain."""
    (found,) = chain.tag([mention_of(text)])
    return found


def test_every_enricher_can_be_built_is_in_the_shipped_order_and_documented() -> None:
    documented = (REPOSITORY / "docs" / "enrichment.md").read_text(encoding="utf-8")
    assert {step.name for step in chain.steps} == set(ENRICHERS)
    for name in ENRICHERS:
        step = build(name, Context(shipped.config, shipped.brands, None, {}))
        assert (step.name, bool(step.version)) == (name, True)
        assert f"\n## {name}\n" in documented


def test_a_chain_without_a_second_opinion_loads_no_torch_and_leaves_it_to_be_loaded() -> None:
    code = (
        "import sys; from pathlib import Path; from enrich.chain import build_chain; from hark.settings import load;"
        "settings = load(None, Path('unused')); build_chain(settings.config, settings.brands);"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=False).returncode == 0


def test_one_mention_alone_gets_the_same_tags_as_among_others() -> None:
    mentions = [mention_of(text) for text in texts(150, seed=3)]
    together = chain.tag(mentions)
    assert together == [chain.tag([mention])[0] for mention in mentions]
    assert together == build_chain(shipped.config, shipped.brands).tag(mentions)


def test_nothing_is_nothing() -> None:
    assert chain.tag([]) == []
    tags = tag("")
    assert tags.language.code == "unknown"
    assert (tags.brands, tags.topics, tags.entities) == ((), (), ())
    assert tags.sentiment.label == "neutral"


def test_tags_survive_their_way_through_the_log() -> None:
    tags = tag("@SouthwestAir cancelled WN1234 DAL-HOU, I want my $200 back!! call 555-123-4567")
    assert msgspec.json.decode(msgspec.json.encode(tags), type=Enrichment) == tags
    assert tags.brands == ("southwest",)
    assert {entity.kind for entity in tags.entities} == {"flight", "airport", "amount"}
    assert tags.priority == sum(reason.weight for reason in tags.reasons if reason.tag == "priority")


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=400))
def test_any_text_is_tagged_and_every_place_lies_in_it(text: str) -> None:
    tags = tag(text)
    assert tags.sentiment.label in ("positive", "neutral", "negative")
    assert -1 <= tags.sentiment.score <= 1
    assert 0 <= tags.sentiment.confidence <= 1
    assert tags.priority is not None
    assert 0 <= tags.priority <= 100
    for place in (*tags.reasons, *tags.entities):
        assert 0 <= place.start <= place.end <= len(text)
    msgspec.json.encode(tags)


HOSTILE = {
    "emoji": "🙄" * 400_000,
    "one long word": "x" * 3_000_000,
    "handles": "@SouthwestAir " * 100_000,
    "bidi and zero width": "\u202ebag\u200b\u202d lost\u2066 " * 30_000,
    "zalgo": "".join(letter + "\u0301\u0316\u0489" * 40 for letter in "southwest lost my bag ") * 300,
    "one phrase over and over": "not lost my bag but never so good " * 12_000,
    "digits": "1 " * 150_000 + "$1,1.1/1-" * 20_000,
    "spaces": "bag" + " " * 3_000_000 + "lost",
    "line ends": "\n\r\t" * 1_000_000,
    "exclamation marks": "!" * 3_000_000,
    "signs of a handle": "@" * 3_000_000,
    "brackets within brackets": "(" * 1_500_000 + "lost" + ")" * 1_500_000,
    "one long number": "1234567890" * 200_000,
    "what might be phone numbers": "+1 (555) " * 50_000,
    "what might be addresses": "a@b." * 250_000 + "https://a:b@" * 100_000,
    "signs that NFKC makes eighteen of": "\ufdfa" * 200_000,
    "control characters": "".join(map(chr, range(32))) * 50_000 + " lost my bag",
}
HIDDEN = {
    "zero width": "\u200b",
    "the other way round": "\u202e",
    "a soft hyphen": "\u00ad",
    "a joiner": "\u2060",
}


@in_proportion
@pytest.mark.parametrize("name", HOSTILE)
def test_no_more_of_a_hostile_text_is_judged_than_its_beginning(name: str) -> None:
    tags = tag(HOSTILE[name])
    assert all(0 <= reason.start <= reason.end <= LONGEST_TEXT for reason in tags.reasons)


@in_proportion
@pytest.mark.parametrize("name", HOSTILE)
def test_each_step_takes_time_in_proportion_to_the_length_of_a_hostile_text(name: str) -> None:
    # All of it: the chain would cut off most.
    draft = Draft(mention_of(HOSTILE[name]), HOSTILE[name])
    for step in chain.steps:
        step.enrich([draft])


@pytest.mark.parametrize("name", HIDDEN)
def test_words_that_are_taken_apart_by_what_cannot_be_seen_are_found_in_their_places(name: str) -> None:
    plain = "they lost my bag again, flight WN1234 delayed"
    text = HIDDEN[name].join(plain)
    tags = tag(text)
    assert tags.language.code == "en"
    assert [topic.id for topic in tags.topics] == [topic.id for topic in tag(plain).topics]
    told = {text[reason.start : reason.end].replace(HIDDEN[name], "") for reason in tags.reasons}
    assert {"lost my bag", "delayed"} <= told
    assert all(words in plain for words in told)


def test_brands_are_found_behind_the_part_that_is_judged() -> None:
    tags = tag("x " * LONGEST_TEXT + "@southwestair lost my bag")
    assert tags.brands == ("southwest",)


def test_version_changes_with_the_steps_the_brands_and_the_lists(tmp_path: Path) -> None:
    config = tmp_path / "config"
    shutil.copytree(SHIPPED, config)
    assert Chain(chain.steps[:-1]).version != chain.version
    for name, file, old, new in [
        ("brands", "brands.toml", "#southwest ", "#southwest OR #wn "),
        ("sentiment", "lexicon.toml", '"worst", ', ""),
    ]:
        (before,) = [step.version for step in chain.steps if step.name == name]
        text = (config / file).read_text(encoding="utf-8")
        assert old in text
        (config / file).write_text(text.replace(old, new, 1), encoding="utf-8")
        settings = load(config, tmp_path)
        assert build(name, Context(config, settings.brands, None, {})).version != before


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ('order = ["text", "tea-leaves"]', "no enricher is called 'tea-leaves'; there are: text, language"),
        ('order = ["language", "text"]', '"text" first'),
        ('order = ["text", "vader", "vader"]', "each enricher once"),
        ("order = []", '"text" first'),
        ('order = ["text"]\n[options.runes]\n', "no enricher is called 'runes'"),
        ('ordre = ["text"]', "enrichment.toml"),
    ],
)
def test_mistakes_in_the_settings_are_told(tmp_path: Path, content: str, told: str) -> None:
    (tmp_path / "enrichment.toml").write_text(content, encoding="utf-8")
    with pytest.raises(SettingsError, match=r"enrichment\.toml") as error:
        build_chain(tmp_path, shipped.brands)
    assert told in str(error.value)


def test_memory_stays_flat_over_texts_that_do_not_repeat() -> None:
    process = psutil.Process(os.getpid())

    def feed(seed: int) -> None:
        batch = [mention_of(text + f" word{seed}x{n}") for n, text in enumerate(texts(1_000, seed))]
        for begin in range(0, 1_000, 200):
            chain.tag(batch[begin : begin + 200])

    for seed in range(2):
        feed(seed)
    before = process.memory_info().rss
    for seed in range(2, 6):
        feed(seed)
    # 4,000 texts with as many new words: what is kept of each would show as megabytes.
    assert process.memory_info().rss - before < 12_000_000
