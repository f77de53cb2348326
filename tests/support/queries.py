"""Random queries and mentions over one small vocabulary, so that matches happen: for the matcher and every store.

Every text of `queries()` is a valid query; parse it with `parsed`, whose clock stands still at NOW.
"""

from datetime import UTC, datetime, timedelta

from hypothesis import strategies as st

from hark.core.mention import (
    Author,
    Enrichment,
    Language,
    Media,
    Mention,
    Place,
    Sentiment,
    Topic,
    Vader,
)
from hark.core.tree import Query
from hark.query import parse
from hark.query.fields import ancestors

NOW = datetime(2026, 11, 3, 12, tzinfo=UTC)
TAXONOMY = ancestors(
    {
        "operations": (),
        "delay": ("operations",),
        "late-flight": ("delay",),
        "cancelled": ("operations",),
        "baggage": (),
    }
)

WORDS = (
    "delta",
    "delay",
    "delayed",
    "delays",
    "flight",
    "flights",
    "bag",
    "love",
    "field",
    "southwest",
    "o'hare",
    "color",
    "colour",
    "or",
    "not",
    "737",
    "café",
    "straße",
    "日",
    "本",
    "😡",
    "@delta",
    "@southwestair",
    "#delta",
    "#swa",
    "x_y",
)
PATTERNS = (
    "dela*",
    "DELAY*",
    "fl?ght*",
    "colo?r",
    "colo*r",
    "*ght",
    "??ve",
    "#d*ta",
    "@del*",
    "c?fé",
    "xy*",
    "str*e",
    "d*l*y*",
)
SOURCES = ("x", "reddit", "reviews")
KINDS = ("post", "reply", "repost", "review")
BRANDS = ("southwest", "delta", "love field")
HANDLES = ("Delta", "southwestair", "some body")
PLACES = ("Dallas, TX", "Köln", "100%")
COUNTRIES = ("US", "DE")
ADDRESSES = ("https://www.example.com/Help/Bags?x=1", "https://news.example.com/a", "http://example.org")
SENTIMENTS = ("positive", "neutral", "negative")
LANGUAGES = ("en", "de", "unknown")
_BEGIN = NOW - timedelta(days=3)

_VALUES: dict[str, tuple[str, ...]] = {
    "source": SOURCES,
    "kind": KINDS,
    "brand": BRANDS,
    "topic": tuple(TAXONOMY),
    "sentiment": SENTIMENTS,
    "intent": ("complaint", "praise"),
    "journey": ("boarding",),
    "urgency": ("high", "low"),
    "author": (*HANDLES, "@delta"),
    "lang": LANGUAGES,
    "country": COUNTRIES,
    "place": (*PLACES, "dallas", "TX"),
    "url": (*ADDRESSES, "example.com", "www.example.com/help/", "example.org"),
    "site": ("example.com", "news.example.com", "example.org"),
    "hashtag": ("swa", "#Delta"),
    "mentions": ("delta", "@SouthwestAir"),
    "has": (
        "media",
        "image",
        "link",
        "place",
        "reply",
        "repost",
        "title",
        "hashtag",
        "mentions",
        "topic",
        "brand",
    ),
    "id": ("x:1", "reddit:2"),
    "conversation": ("x:1", "reddit:2"),
}


def parsed(text: str) -> Query:
    """Return the query's tree, with `now` at NOW."""
    return parse(text, clock=lambda: NOW)


def _quoted(value: str) -> str:
    return f'"{value}"' if any(character in value for character in ' "()') else value


def _cased(word: str) -> st.SearchStrategy[str]:
    # the words "or" and "not" stay small: in capitals they are operators
    forms = [word] if word in ("or", "not") else [word, word.upper(), word.capitalize()]
    return st.sampled_from([form for form in forms if form.lower() == word])


_words = st.sampled_from(WORDS).flatmap(_cased)
_patterns = st.sampled_from(PATTERNS)
_phrases = st.lists(st.one_of(_words, _words, _words, _patterns), min_size=1, max_size=3).map(
    lambda parts: '"' + " ".join(parts) + '"'
)
_texts = st.one_of(_words, _words, _patterns, _phrases)
_sides = st.one_of(
    _texts,
    st.lists(_texts, min_size=2, max_size=3).map(lambda sides: "(" + " OR ".join(sides) + ")"),
)
_nears = st.builds(
    lambda left, name, distance, right: f"{left} {name}/{distance} {right}",
    _sides,
    st.sampled_from(["NEAR", "ONEAR"]),
    st.sampled_from([0, 1, 2, 5, 100]),
    _sides,
)
_values = st.sampled_from(sorted(_VALUES)).flatmap(
    lambda name: st.one_of(
        st.sampled_from(_VALUES[name]).map(lambda value: f"{name}:{_quoted(value)}"),
        st.lists(st.sampled_from(_VALUES[name]), min_size=1, max_size=3).map(
            lambda values: f"{name}:(" + " OR ".join(map(_quoted, values)) + ")"
        ),
        st.sampled_from(_VALUES[name]).map(lambda value: f"{name}:(NOT {_quoted(value)})"),
    )
)
_comparisons = st.builds(
    lambda name, operator, bound: f"{name}{operator}{bound}",
    st.sampled_from(["followers", "priority", "reach", "influence", "automation", "bot"]),
    st.sampled_from([":", "<", "<=", ">", ">="]),
    st.sampled_from([0, 10, 50, 90, 100, 1023, 1024, 5000]),
)
_times = st.one_of(
    st.builds(
        lambda operator, bound: f"created{operator}{bound}",
        st.sampled_from(["<", "<=", ">", ">="]),
        st.sampled_from(["2026-11-02", "now-2h", "now-1d", "2026-11-01T12:00:00+01:00", "2026-11-02T06:30"]),
    ),
    st.sampled_from(["created:2026-11-01", "created:2026-11-02"]),
)
_leaves = st.one_of(_texts, _texts, _texts, _nears, _values, _comparisons, _times)


def _combined(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    parts = st.lists(inner, min_size=2, max_size=3)
    return st.one_of(
        parts.map(" AND ".join),
        parts.map(" ".join),
        parts.map(" OR ".join),
        parts.map(lambda some: "(" + " OR ".join(some) + ")"),
        inner.map(lambda one: f"NOT ({one})"),
        inner.map(lambda one: f"-({one})"),
        inner.map(lambda one: f"( {one} )"),
    )


def queries(max_leaves: int = 8) -> st.SearchStrategy[str]:
    """Return texts of valid queries over the whole grammar; the empty one is among them."""
    return st.one_of(st.just(""), *[st.recursive(_leaves, _combined, max_leaves=max_leaves)] * 9)


_separators = st.sampled_from(
    [" ", " ", " ", " ", ", ", ". ", "-", "'s ", " https://t.co/a ", " #", " @", "\n", "!? "]
)
_bodies = st.lists(
    st.tuples(st.one_of(_words, st.sampled_from(["the", "my", "is"])), _separators), max_size=8
).map(lambda parts: "".join(word + separator for word, separator in parts))
_instants = st.one_of(
    st.integers(0, 3 * 24 * 60).map(lambda minutes: _BEGIN + timedelta(minutes=minutes)),
    st.sampled_from(
        [
            datetime(2026, 11, 2, tzinfo=UTC),
            NOW - timedelta(hours=2),
            NOW - timedelta(hours=2, milliseconds=1),
        ]
    ),
)


def _maybe(some: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    return st.one_of(st.none(), some)


@st.composite
def mentions(draw: st.DrawFn) -> tuple[Mention, Enrichment]:
    """Draw a mention and its enrichment; ids repeat now and then (see `collections`)."""
    source = draw(st.sampled_from(SOURCES))
    author = Author(
        handle=draw(_maybe(st.sampled_from(HANDLES))),
        name=draw(_maybe(st.sampled_from(["Delta", "Anna"]))),
        followers=draw(_maybe(st.sampled_from([0, 9, 10, 11, 100, 1023, 1024, 5000]))),
    )
    place = Place(
        name=draw(_maybe(st.sampled_from(PLACES))), country=draw(_maybe(st.sampled_from(COUNTRIES)))
    )
    created = draw(_instants)
    mention = Mention(
        id=f"{source}:{draw(st.integers(1, 50))}",
        source=source,
        text=draw(_bodies),
        created_at=created,
        collected_at=created + timedelta(seconds=30),
        kind=draw(st.sampled_from(KINDS)),
        title=draw(st.one_of(st.none(), st.none(), _bodies)),
        url=draw(_maybe(st.sampled_from(ADDRESSES))),
        author=draw(_maybe(st.just(author))),
        conversation=draw(_maybe(st.sampled_from(["x:1", "reddit:2"]))),
        in_reply_to=draw(_maybe(st.just("x:1"))),
        repost_of=draw(_maybe(st.just("x:1"))),
        media=tuple(
            Media(kind=kind)
            for kind in draw(st.lists(st.sampled_from(["image", "video", "link"]), max_size=2))
        ),
        place=draw(_maybe(st.just(place))),
    )
    return mention, draw(_enrichments())


@st.composite
def _enrichments(draw: st.DrawFn) -> Enrichment:
    label = draw(st.sampled_from(SENTIMENTS))
    score = {"positive": 0.6, "neutral": 0.0, "negative": -0.6}[label]
    topics = draw(st.lists(st.sampled_from(sorted(TAXONOMY)), max_size=2, unique=True))
    return Enrichment(
        version="test",
        language=Language(draw(st.sampled_from(LANGUAGES)), 0.9),
        brands=tuple(draw(st.lists(st.sampled_from(BRANDS), max_size=2, unique=True))),
        sentiment=Sentiment(label, score, 0.8, Vader(0.0, 1.0, 0.0, score)),
        topics=tuple(Topic(topic, 0.7) for topic in topics),
        intent=draw(_maybe(st.sampled_from(["complaint", "praise"]))),
        urgency=draw(_maybe(st.sampled_from(["high", "low"]))),
        journey=draw(_maybe(st.just("boarding"))),
        priority=draw(_maybe(st.sampled_from([0, 10, 50, 90]))),
        reach=draw(_maybe(st.sampled_from([0, 10, 60]))),
        influence=draw(_maybe(st.sampled_from([0, 50, 100]))),
        automation=draw(_maybe(st.sampled_from([0.0, 0.1, 0.5, 0.99]))),
    )


def collections(max_size: int = 12) -> st.SearchStrategy[list[tuple[Mention, Enrichment]]]:
    """Return lists of mentions with distinct ids."""
    return st.lists(mentions(), max_size=max_size, unique_by=lambda pair: pair[0].id)


HOSTILE = {
    "10,000 parentheses": "(" * 10_000 + "a" + ")" * 9_000,
    "parentheses at the limit": "(" * 30 + "a" + ")" * 30,
    "nested groups": "(a OR b AND NOT " * 40 + "a" + ")" * 40,
    "5,000 alternatives": " OR ".join(f"w{i}" for i in range(5_000)),
    "5,000 short alternatives": " OR ".join(["a"] * 3_300),
    "1,000 alternatives": " OR ".join(f"w{i}*" for i in range(1_000)),
    "NOT upon NOT": "NOT " * 4_990 + "a",
    "minus upon minus": "-" * 19_000 + "a",
    "NEAR upon NEAR": "a NEAR/5 " * 2_000 + "a",
    "leading wildcard": "*air",
    "nothing but wildcards": "*?*?*?*?" * 1_000,
    "catastrophic pattern": "a*" * 40 + "b",
    "quotes": '"' * 20_000,
    "escapes": '"' + "\\" * 19_000,
    "control characters": "\x00\x01\x1b[31m\x7f a \x9f brand:\x00x",
    "SQL": "'; DROP TABLE mentions; --",
    "SQL in a value": 'author:"x\' OR 1=1 --"',
    "JSON": '{"query": {"match_all": {}}}',
    "FTS": 'a" OR NEAR(b c) *',
    "one long word": "a" * 20_000,
    "one long phrase": '"' + "ab " * 6_000 + '"',
    "Chinese": "日" * 19_000,
    "combining marks": "a" + "\u0301" * 19_000,
    "spaces": "a" + " " * 19_000 + "b",
    "a megabyte": "a " * 500_000,
    "right to left": "\u202eabc OR \u2066def",
}
"""Queries that would harm a careless program."""
