"""How a mention lies in Elasticsearch: the indices, their mappings, and the rows."""

from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import Any

import msgspec
from msgspec import Struct

from hark.core.change import DELETED_VERSION, Tagged
from hark.core.clock import to_ms
from hark.core.mention import Enrichment, Mention
from hark.core.protocols import Hit
from hark.core.tokens import tokens
from hark.query.elastic import GAP, TOKENS, WORDS, clamped
from hark.query.fields import Taxonomy, numbers_of, value_of, words_of
from hark.query.sampling import place
from sinks.groups import GROUPS

LAYOUT = 2
"""Grows when rows of this Hark do not fit into indices of an older one."""
LONGEST_ID_BYTES = 512
LEAST, BEYOND = datetime(1970, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
_TAGGED = b'{"type":"tagged",'
_MONTHS_FROM = datetime(2000, 1, 1, tzinfo=UTC)
_AHEAD = timedelta(days=31)

_SETTINGS: dict[str, Any] = {
    "number_of_shards": 1,
    "auto_expand_replicas": "0-1",  # one copy as soon as there is a second node
    "refresh_interval": "1s",  # said outright, since the default stops refreshing what nobody searches
}
_COUNTED = {"type": "keyword", "index": False, "ignore_above": 8191}
_ROWS: dict[str, Any] = {
    "dynamic": "strict",
    "_meta": {"layout": LAYOUT},
    "properties": {
        TOKENS: {"type": "text", "analyzer": "whitespace", "norms": False, "position_increment_gap": GAP},
        WORDS: {"type": "keyword", "doc_values": False, "ignore_above": 8191},
        "created": {"type": "date", "format": "epoch_millis"},
        "collected": {"type": "date", "format": "epoch_millis"},
        "place_in_sample": {"type": "long"},
        "followers": {"type": "long"},
        "priority": {"type": "long"},
        "reach": {"type": "long"},
        "influence": {"type": "long"},
        "automation": {"type": "long"},
        "id": {"type": "keyword", "index": False},
        **dict.fromkeys(GROUPS, _COUNTED),
        "hit": {"type": "object", "enabled": False},
    },
}
_HEADS: dict[str, Any] = {
    "dynamic": False,
    "_meta": {"layout": LAYOUT},
    "properties": {
        "source": {"type": "keyword", "index": False},
        "state": {"type": "keyword"},
    },
}


class Names(Struct, frozen=True):
    """The names of all that the store owns in the cluster."""

    prefix: str

    @property
    def rows(self) -> str:
        """The alias over all months."""
        return f"{self.prefix}-mentions"

    @property
    def heads(self) -> str:
        """The index of the heads."""
        return f"{self.prefix}-heads"

    def month(self, month: str) -> str:
        """Return the index of one month."""
        return f"{self.rows}-{month}"


def templates(names: Names) -> dict[str, dict[str, Any]]:
    """Return the index templates by name: what every month's index is made from, and that none is made by a write."""
    # An index that is searched before its shard has started fails the search, and heads that somebody removed would
    # come back as an index that counts nothing.
    common = {"priority": 200, "allow_auto_create": False, "_meta": {"layout": LAYOUT}}
    rows = {"settings": {"index": _SETTINGS}, "mappings": _ROWS}
    return {
        names.rows: common | {"index_patterns": [names.month("*")], "template": rows},
        names.heads: common | {"index_patterns": [names.heads]},
    }


def heads_index() -> dict[str, Any]:
    """Return what the index of the heads is made with."""
    # Whoever searches the heads refreshes them first; all others read them by id, which needs no refresh.
    return {"settings": {"index": _SETTINGS | {"refresh_interval": "30s"}}, "mappings": _HEADS}


def month_of(mention: Mention) -> str:
    """Return the part of the index's name that says when: "2026.11".

    A date is its author's claim on some platforms, and every index costs the cluster something: what claims to
    be older than 2000 or from more than a month after it was collected shares one index each.
    """
    created = mention.created_at
    if created.tzinfo is not UTC:
        created = created.astimezone(UTC)
    if created < _MONTHS_FROM:
        return "earlier"
    if created > mention.collected_at + _AHEAD:
        return "later"
    return f"{created.year}.{created.month:02}"


def objection(item: Tagged) -> str | None:
    """Return why the index can never hold a mention that can be encoded, or None."""
    if not LEAST <= item.mention.created_at < BEYOND:
        return f"created_at {item.mention.created_at.isoformat()}: expected a time from 1970 to 2099"
    if not 0 <= item.version < DELETED_VERSION:
        return f"edit {item.mention.edit}: not a number that orders edits"
    return None


def id_objection(id: str) -> str | None:
    """Return why an id can never be one of Elasticsearch's, or None."""
    try:
        size = len(id.encode())
    except UnicodeEncodeError:
        return "its id is not Unicode text"
    if "\0" in id:
        return "its id holds a NUL character"
    if not 0 < size <= LONGEST_ID_BYTES:
        return f"its id has {size} bytes; Elasticsearch takes 1 to {LONGEST_ID_BYTES}"
    return None


def encoded_hit(item: Tagged, record: bytes = b"") -> msgspec.Raw:
    """Return the part of a row that is given back; ValueError says why it cannot be stored.

    `record` is the item as it lies in the log, if known. As Hark writes it, it is a hit with one more name in front,
    all in one line, and is not encoded a second time; what another program wrote there is.
    """
    if record.startswith(_TAGGED) and b"\n" not in record:
        return msgspec.Raw(b"{" + record[len(_TAGGED) :])
    try:
        return msgspec.Raw(msgspec.json.encode(Hit(item.mention, item.enrichment)))
    except OverflowError as error:
        raise ValueError(str(error)) from error


def row_of(
    mention: Mention, enrichment: Enrichment, taxonomy: Taxonomy, encoded: msgspec.Raw | None = None
) -> dict[str, Any]:
    """Return the document of one mention, ready to be encoded; `encoded` spares the encoding of both again."""
    parts = [tokens(part) for part in (mention.title, mention.text) if part]
    words = words_of(mention, enrichment, taxonomy, list(chain.from_iterable(parts)))
    row: dict[str, Any] = {
        TOKENS: [" ".join(part) for part in parts],
        WORDS: words,
        "id": mention.id,
        "collected": to_ms(mention.collected_at),
        "place_in_sample": place(mention.id),
        "hit": Hit(mention, enrichment) if encoded is None else encoded,
    }
    for name, number in numbers_of(mention, enrichment).items():
        row[name] = clamped(number)
    for word in words:
        name, _, value = word.partition("=")
        if name in _COUNTED_NAMES:
            if "%" in value:
                value = value_of(word)
            values = row.get(name)
            if values is None:
                row[name] = [value]
            elif name != "site":  # those above the site come after it
                values.append(value)
    return row


_COUNTED_NAMES = frozenset(GROUPS)
