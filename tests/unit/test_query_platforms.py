import re

import pytest
from hypothesis import given, settings

from hark.core.errors import SettingsError
from hark.core.mention import Enrichment, Mention
from hark.query import parse
from hark.query.match import Document, compile_query
from hark.query.platforms import PLATFORMS, reddit_searches, translate, x_rules, x_searches
from hark.settings import load
from tests.support.queries import NOW, TAXONOMY, mentions, parsed, queries

STREAM, SEARCH, REDDIT = PLATFORMS
LIMITS = {STREAM: 1_024, SEARCH: 512, REDDIT: 512}


class XFilter:
    """X's rule language as its documentation has it, for the operators that Hark uses; AND is white space.

    Words are matched against the text cut at punctuation and symbols, @ and # against its entities.
    """

    TOKEN = re.compile(r'\(|\)|-?"[^"]*"|-?[^\s()"]+')

    def __init__(self, rule: str) -> None:
        self.pieces = self.TOKEN.findall(rule)
        assert "".join(self.pieces).replace(" ", "") == rule.replace(" ", ""), rule
        self.at = 0
        self.tree = self.either()
        assert self.at == len(self.pieces), rule

    def either(self) -> tuple:
        parts = [self.both()]
        while self.at < len(self.pieces) and self.pieces[self.at] == "OR":
            self.at += 1
            parts.append(self.both())
        return ("or", parts)

    def both(self) -> tuple:
        parts = [self.one()]
        while self.at < len(self.pieces) and self.pieces[self.at] not in ("OR", ")"):
            if self.pieces[self.at] == "AND":  # Reddit writes it out
                self.at += 1
            parts.append(self.one())
        assert any(not (part[0] == "is" and part[1].startswith("-")) for part in parts), "only negations"
        return ("and", parts)

    def one(self) -> tuple:
        piece = self.pieces[self.at]
        self.at += 1
        if piece == "(":
            inner = self.either()
            assert self.pieces[self.at] == ")"
            self.at += 1
            return inner
        return ("is", piece)

    def passes(self, mention: Mention) -> bool:
        text = f"{mention.title or ''}\n{mention.text}".lower()
        author = (mention.author and mention.author.handle) or ""
        return self.holds(self.tree, text, author.lower())

    def holds(self, node: tuple, text: str, author: str) -> bool:
        kind, value = node
        if kind == "or":
            return any(self.holds(part, text, author) for part in value)
        if kind == "and":
            return all(self.holds(part, text, author) for part in value)
        if value.startswith("-"):
            return not self.holds(("is", value[1:]), text, author)
        if value.startswith(("from:", "author:")):
            return value.partition(":")[2] == author
        if value[0] in "@#":
            return re.search(rf"{re.escape(value)}(?![\w])", text) is not None
        words, wanted = (re.findall(r"[^\W_]+", part) for part in (text, value))
        return any(words[i : i + len(wanted)] == wanted for i in range(len(words)))


@settings(max_examples=200)
@given(queries(), mentions())
def test_what_matches_passes_the_platforms_filter(text: str, pair: tuple[Mention, Enrichment]) -> None:
    query = parsed(text)
    matching = compile_query(query).matches(Document(*pair, TAXONOMY))
    for platform in PLATFORMS:
        translation = translate(query, platform)
        assert bool(translation.filters) != bool(translation.problem)
        assert all(len(rule) <= LIMITS[platform] for rule in translation.filters)
        passes = [XFilter(rule).passes(pair[0]) for rule in translation.filters]
        if matching and translation.filters:
            assert any(passes)


@pytest.mark.parametrize(
    ("query", "rule"),
    [
        ("delta", "delta"),
        ("@Delta OR #SWA", "@delta OR #swa"),
        ("o'hare", '"o\'hare"'),
        ("a b OR c", "(a b) OR c"),
        ("(a OR b) (c OR d)", "(a OR b) (c OR d)"),
        ('"rapid rewards"', "rapid rewards"),
        ("a NEAR/5 (b OR c)", "a (b OR c)"),
        ("or and not", '"or" "and" "not"'),
        ("a -from:b", "a -from:b"),
        ("a -b", "a"),
        ("a -@b -#c", "a"),
        ("a OR (a b)", "a"),
        ("dela* bag", "bag"),
        ("bag followers>10 brand:x lang:en", "bag"),
        ("hashtag:swa OR mentions:delta", "#swa OR @delta"),
        ("#737", "737"),
        ("@name@host.social", '"name@host.social"'),
    ],
)
def test_rules_of_the_filtered_stream(query: str, rule: str) -> None:
    assert translate(parse(query), STREAM).filters == (rule,)


@pytest.mark.parametrize(
    "query", ["", "NOT a", "source:x", "dela*", "a OR dela*", "a OR 日", "a OR -b", "😡"]
)
def test_a_query_without_a_word_in_each_alternative_cannot_be_filtered(query: str) -> None:
    for platform in PLATFORMS:
        translation = translate(parse(query), platform)
        assert translation.filters == ()
        assert translation.problem.startswith(platform)
    with pytest.raises(SettingsError, match="cannot filter"):
        x_rules([parse("delta"), parse(query)])


def test_what_a_platform_cannot_say_is_listed() -> None:
    query = parse('bag (delay* OR late) "love field" a NEAR/3 b followers>5 -c -from:d -(e OR f)')
    assert translate(query, STREAM).dropped == (
        "delay*",
        "the alternatives beside delay*",
        'the order of "love field"',
        "the distance of a NEAR/3 b",
        "followers>5",
        "NOT c",
        "NOT e",
        "NOT f",
    )


def test_reddit_has_words_where_x_has_handles_and_hashtags() -> None:
    assert reddit_searches([parse('@delta OR #swa OR "love field" -from:x')]) == (
        "delta OR swa OR (love AND field)",
    )


def test_many_brands_share_the_rules() -> None:
    brands = [parse(f"brand{i} OR @handle{i} OR (word{i} (flight OR plane))") for i in range(300)]
    for rules, limit in ((x_rules(brands), 1_024), (x_searches(brands), 512)):
        assert max(map(len, rules)) <= limit
        assert sum(map(len, rules)) > 0.8 * limit * (len(rules) - 1)
        text = Mention("x:1", "x", "a word299 plane", NOW, NOW)
        assert [XFilter(rule).passes(text) for rule in rules].count(True) == 1


LONG = {
    "alternatives": " OR ".join(f"longword{i}" for i in range(900)),
    "conditions": " ".join(f"longword{i}" for i in range(900)),
    "alternatives beside words": "(" + " OR ".join(f"w{i}" for i in range(800)) + ") aa bb cc -from:d",
    "two lists": " ".join("(" + " OR ".join(f"w{k}x{i}" for i in range(400)) + ")" for k in range(2)),
    "five lists": " ".join("(" + " OR ".join(f"w{k}x{i}" for i in range(190)) + ")" for k in range(5)),
    "long conditions as alternatives": " OR ".join(
        "(" + " ".join(f"w{k}x{i}" for i in range(300)) + ")" for k in range(3)
    ),
    "one phrase": '"' + "word " * 99 + '"',
    "forbidden": "a " + " ".join(f"-from:u{i}" for i in range(900)),
}


@pytest.mark.timeout(60)  # a fraction of a second; without end where every way to combine the lists is tried
@pytest.mark.parametrize("name", LONG)
def test_long_queries_become_several_filters_within_the_limits(name: str) -> None:
    query = parse(LONG[name])
    for platform in PLATFORMS:
        filters = translate(query, platform).filters
        assert 1 <= len(filters) <= 1_000
        assert all(len(rule) <= LIMITS[platform] for rule in filters)
        everything = re.sub(r"\W", " ", LONG[name].replace("from", ""))
        for words in ("longword7", "aa bb cc w700", "w0x3 w1x3 w2x3 w3x3 w4x3", "a", everything):
            text = Mention("x:1", "x", words, NOW, NOW)
            if compile_query(query).matches(Document(text)):
                assert any(XFilter(rule).passes(text) for rule in filters)


def test_the_shipped_brands_can_be_asked_for_everywhere() -> None:
    brands = [brand.query for brand in load().brands]
    for rules in (x_rules(brands), x_searches(brands), reddit_searches(brands)):
        assert rules
    assert "@southwestair" in x_rules(brands)[0]
    assert x_rules([]) == ()
