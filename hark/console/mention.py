"""One mention with all that is known of it: why each tag was given, its thread, its author's earlier mentions."""

from collections.abc import Iterator, Sequence
from itertools import groupby

from msgspec import Struct

from hark.console.said import LONGEST, Piece, pieces
from hark.core.errors import RefusedError
from hark.core.mention import Reason
from hark.core.protocols import Hit, Store
from hark.core.tree import All, And, Field, Query
from hark.query.fields import Taxonomy
from hark.query.match import Document, compile_query
from hark.settings import Brand
from hark.state.people import People

MOST_IN_THREAD = 50
MOST_EARLIER = 5
_SEARCHED = 100_000
"""Characters of a text in which the query's words are looked for."""


class Why(Struct, frozen=True):
    """One tag, how sure it is, its reasons, and who gave it if a person did."""

    tag: str
    value: str
    confidence: float | None
    reasons: tuple[Reason, ...]
    words: tuple[str, ...]
    """What of the text each reason points to; empty where it points to no single place, or to personal data."""
    person: str
    """Who labelled it; empty where nobody did."""


class Detail(Struct, frozen=True):
    """What the two right columns of the feed show."""

    hit: Hit
    pieces: list[Piece]
    cut: bool
    """Whether the text is longer than what is shown at first."""
    masked: bool
    """Whether personal data is masked."""
    whys: tuple[Why, ...]
    priority: tuple[Reason, ...]
    thread: list[Hit]
    earlier: list[Hit]
    earlier_count: int


def detail(
    hit: Hit,
    query: Query,
    store: Store,
    taxonomy: Taxonomy,
    brands: Sequence[Brand] = (),
    whole: bool = False,
) -> Detail:
    """Return what is known of a mention; `whole` for all of a long text."""
    mention, reasons = hit.mention, hit.enrichment.reasons
    thread = _thread(hit, store)
    earlier, count = _earlier(hit, store)
    return Detail(
        hit,
        pieces(hit, _marks(hit, query, taxonomy), longest=None if whole else LONGEST),
        not whole and len(mention.text) > LONGEST,
        any(reason.tag.startswith("pii:") for reason in reasons),
        tuple(_whys(hit, brands)),
        tuple(reason for reason in reasons if reason.tag == "priority"),
        thread,
        earlier,
        count,
    )


def reveal(hit: Hit, people: People, who: str, address: str) -> list[Piece]:
    """Return the text with its personal data; that it was looked at is written down first."""
    people.note(who, "personal data shown", hit.mention.id, address)
    return pieces(hit, revealed=True, longest=None)


def _marks(hit: Hit, query: Query, taxonomy: Taxonomy) -> Iterator[tuple[int, int, str, str]]:
    if not isinstance(query.root, All) and len(hit.mention.text) <= _SEARCHED:
        found = compile_query(query).spans(Document(hit.mention, hit.enrichment, taxonomy))
        for start, end in found.text:
            yield start, end, "word", "matches the query"
    for reason in hit.enrichment.reasons:
        if reason.end > reason.start:
            if reason.tag == "sentiment":
                kind = "neg" if reason.weight < 0 else "pos"
                yield reason.start, reason.end, kind, f"sentiment: {reason.why} {reason.weight:+.1f}"
            elif not reason.tag.startswith("pii:"):
                yield reason.start, reason.end, "topic", f"{reason.tag}: {reason.why}"


def _whys(hit: Hit, brands: Sequence[Brand]) -> Iterator[Why]:
    found = hit.enrichment
    ordered = sorted(found.reasons, key=lambda reason: (reason.tag, -abs(reason.weight)))
    by_tag = {tag: tuple(some) for tag, some in groupby(ordered, key=lambda reason: reason.tag)}

    def why(tag: str, value: str, confidence: float | None, key: str) -> Why:
        reasons = by_tag.get(key, ()) or by_tag.get(tag, ())
        person = next(
            (r.why.removeprefix("labelled by ") for r in reasons if r.why.startswith("labelled by ")), ""
        )
        words = tuple(_words(hit, reason) for reason in reasons)
        return Why(tag, value, confidence, reasons, words, person)

    yield why("sentiment", found.sentiment.label, found.sentiment.confidence, "sentiment")
    for topic in found.topics:
        yield why("topic", topic.id, topic.confidence, f"topic:{topic.id}")
    queries = {brand.name: brand.query for brand in brands}
    for name in found.brands:
        given = why("brand", name, None, f"brand:{name}")
        if name in queries and not given.reasons and len(hit.mention.text) <= _SEARCHED:
            given = _matched(hit, given, queries[name])
        yield given
    for tag, value in (("intent", found.intent), ("urgency", found.urgency), ("journey", found.journey)):
        if value:
            yield why(tag, value, None, tag)


def _matched(hit: Hit, why: Why, query: Query) -> Why:
    """Return the brand's tag with the words of its query as the reasons."""
    spans = compile_query(query).spans(Document(hit.mention, hit.enrichment)).text[:6]
    reasons = tuple(Reason("brand", "in the brand's query", 0.0, start, end) for start, end in spans)
    return Why(why.tag, why.value, None, reasons, tuple(_words(hit, reason) for reason in reasons), "")


def _words(hit: Hit, reason: Reason) -> str:
    if reason.end <= reason.start:
        return ""
    hidden = [r for r in hit.enrichment.reasons if r.tag.startswith("pii:")]
    if any(reason.start < other.end and other.start < reason.end for other in hidden):
        return ""
    return hit.mention.text[reason.start : reason.end][:80]


def _thread(hit: Hit, store: Store) -> list[Hit]:
    """Return the conversation, oldest first, as far as it was collected; [] for a mention that stands alone."""
    conversation = hit.mention.conversation or hit.mention.id
    found = _search(store, (Field("conversation", "=", conversation.lower()),), hit, MOST_IN_THREAD)
    if all(other.mention.id != conversation for other in found):
        first = store.get(conversation)
        found += [first] if first is not None else []
    found.sort(key=lambda other: (other.mention.created_at, other.mention.id))
    return found if len(found) > 1 else []


def _earlier(hit: Hit, store: Store) -> tuple[list[Hit], int]:
    author = hit.mention.author
    name = (author.handle or author.name) if author is not None else None
    if not name:
        return [], 0
    fields = (Field("author", "=", name.lower()), Field("source", "=", hit.mention.source.lower()))
    query = Query("", And(fields))
    try:
        newest = list(store.search(query, until=hit.mention.created_at, limit=MOST_EARLIER))
        return newest, store.count(query, until=hit.mention.created_at)
    except RefusedError:
        return [], 0


def _search(store: Store, fields: Sequence[Field], hit: Hit, limit: int) -> list[Hit]:
    root = And(tuple(fields)) if len(fields) > 1 else fields[0]
    return list(store.search(Query("", root), limit=limit))
