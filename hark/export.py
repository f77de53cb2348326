"""Mentions as files, one after the other, with personal data masked: JSONL, CSV, Parquet."""

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from io import BufferedIOBase, TextIOWrapper
from itertools import islice
from typing import IO, Any, cast

import msgspec
from msgspec import structs

from enrich.pii import covered, masked
from hark.core.mention import Author, Metrics, Place, flat
from hark.core.protocols import Hit, Store, cursor_of
from hark.core.tree import Query
from hark.tables import Columns, CsvFile, ParquetFile, Row

FORMATS = ("jsonl", "csv", "parquet")
PAGE = 1_000
_ROW_GROUP = 10_000

COLUMNS: Columns = {
    "id": "text",
    "source": "text",
    "kind": "text",
    "created_at": "time",
    "collected_at": "time",
    "edit": "int",
    "title": "text",
    "text": "text",
    "url": "text",
    "author.handle": "text",
    "author.id": "text",
    "author.name": "text",
    "author.followers": "int",
    "author.verified": "bool",
    "conversation": "text",
    "in_reply_to": "text",
    "repost_of": "text",
    "place.name": "text",
    "place.country": "text",
    "metrics.likes": "int",
    "metrics.reposts": "int",
    "metrics.replies": "int",
    "metrics.quotes": "int",
    "metrics.views": "int",
    "language": "text",
    "brands": "text",
    "sentiment": "text",
    "sentiment_score": "float",
    "sentiment_confidence": "float",
    "topics": "text",
    "intent": "text",
    "urgency": "text",
    "journey": "text",
    "priority": "int",
    "reach": "int",
    "influence": "int",
    "automation": "float",
    "fingerprint": "text",
    "version": "text",
}
"""Of CSV and Parquet; several brands or topics are joined by "; ". Those of a mention are as `hark import` reads them."""


def hits_of(store: Store, query: Query, since: datetime | None, until: datetime | None) -> Iterator[Hit]:
    """Yield all mentions of a query, newest first, every copy, a page at a time.

    A slow reader holds no instant of the store: what is deleted meanwhile is not in the pages to come.
    """
    after = None
    while True:
        page = list(store.search(query, since, until, limit=PAGE, after=after))
        yield from page
        if len(page) < PAGE:
            return
        after = cursor_of(page[-1])


def export(hits: Iterable[Hit], file: IO[bytes], format: str, wrote: Callable[[int], None]) -> None:
    """Write `hits` to `file` in one of FORMATS; `wrote` hears of every further thousand or so.

    Memory does not grow with their number. The file is whole only when this returns. Raises SettingsError where
    pyarrow is needed and missing.
    """
    for data, number in parts(hits, format):
        file.write(data)
        wrote(number)
    file.flush()


def parts(hits: Iterable[Hit], format: str) -> Iterator[tuple[bytes, int]]:
    """Yield the file of `hits` in one of FORMATS part by part, and how many mentions each part brings.

    As for `export`; the first part is there when the first thousand or so are.
    """
    if format == "jsonl":
        for some in _cut(hits, PAGE):
            lines = [msgspec.json.encode(flat(hit.mention, hit.enrichment)) + b"\n" for hit in some]
            yield b"".join(lines), len(some)
        return
    taken = _Taken()
    if format == "csv":
        text = TextIOWrapper(cast(IO[bytes], taken), encoding="utf-8", newline="", write_through=True)
        table: CsvFile | ParquetFile = CsvFile(text, COLUMNS)
    else:
        table = ParquetFile(cast(IO[bytes], taken), COLUMNS)
    for some in _cut(hits, PAGE if format == "csv" else _ROW_GROUP):
        table.write(map(row_of, some))
        yield taken.take(), len(some)
    table.close()
    yield taken.take(), 0


class _Taken(BufferedIOBase):
    """A file that is written to and taken away part by part."""

    def __init__(self) -> None:
        self._written: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._written.append(bytes(data))
        return len(self._written[-1])

    def take(self) -> bytes:
        data = b"".join(self._written)
        self._written.clear()
        return data


def row_of(hit: Hit) -> Row:
    """Return a mention as a row of COLUMNS."""
    mention, tags = hit.mention, hit.enrichment
    author, place, metrics = (
        mention.author or Author(),
        mention.place or Place(),
        mention.metrics or Metrics(),
    )
    return [
        *(mention.id, mention.source, mention.kind, mention.created_at, mention.collected_at, mention.edit),
        *(mention.title, mention.text, mention.url),
        *(author.handle, author.id, author.name, author.followers, author.verified),
        *(mention.conversation, mention.in_reply_to, mention.repost_of, place.name, place.country),
        *(metrics.likes, metrics.reposts, metrics.replies, metrics.quotes, metrics.views),
        *(tags.language.code, "; ".join(tags.brands)),
        *(tags.sentiment.label, tags.sentiment.score, tags.sentiment.confidence),
        *("; ".join(topic.id for topic in tags.topics), tags.intent, tags.urgency, tags.journey),
        *(tags.priority, tags.reach, tags.influence, tags.automation, tags.fingerprint, tags.version),
    ]


def mask(hit: Hit) -> Hit:
    """Return the mention with "[e-mail address]" and the like where its texts hold personal data (enrich.pii).

    Places of reasons and entities are those in the masked text; what stood in what is masked is left out. Handles
    and names of authors, which are public, stay; what stands inside a link does too.
    """
    mention, tags = hit.mention, hit.enrichment
    text, pieces = covered(mention.text)
    entities, reasons = tags.entities, tags.reasons
    if pieces:
        entities = tuple(
            structs.replace(each, start=place[0], end=place[1])
            for each in entities
            if (place := moved(each.start, each.end, pieces)) is not None
        )
        reasons = tuple(
            structs.replace(each, start=place[0], end=place[1])
            for each in reasons
            if (place := moved(each.start, each.end, pieces, each.tag.startswith("pii:"))) is not None
        )
    return Hit(
        structs.replace(
            mention,
            text=text,
            title=_masked(mention.title),
            author=mention.author and _masked_author(mention.author),
            media=tuple(structs.replace(media, alt=_masked(media.alt)) for media in mention.media),
        ),
        structs.replace(tags, entities=entities, reasons=reasons),
    )


def _masked(text: str | None) -> str | None:
    return masked(text) if text else text


def _masked_author(author: Author) -> Author:
    return structs.replace(author, name=_masked(author.name), description=_masked(author.description))


def moved(
    start: int, end: int, pieces: list[tuple[int, int, int]], covers: bool = False
) -> tuple[int, int] | None:
    """Return a place in the masked text, None where it overlaps a piece (unless it `covers` one).

    `pieces` are those of `enrich.pii.covered`.
    """
    shift = 0
    if start == end == 0:
        return 0, 0  # no single place
    for begin, stop, reached in pieces:
        if end <= begin:
            break
        if start < stop:
            return (start + shift, reached) if covers else None
        shift = reached - stop
    return start + shift, end + shift


def _cut(hits: Iterable[Hit], size: int) -> Iterator[list[Hit]]:
    left = iter(hits)
    while some := list(islice(left, size)):
        yield some
