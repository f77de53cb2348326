"""What travels between the stages: changes to mentions, and their codec.

Topic `hark.mentions` carries `Change`, `hark.enriched` carries `Item`, `hark.rejected` carries `Rejected`; all as
JSON, keyed by the mention's id, so that changes of one mention stay in order.
"""

from datetime import datetime
from typing import Literal, TypeVar

import msgspec
from msgspec import Struct

from hark.core.errors import RefusedError
from hark.core.mention import Enrichment, Mention

T = TypeVar("T")

MENTIONS = "hark.mentions"
ENRICHED = "hark.enriched"
REJECTED = "hark.rejected"
TOPICS = (MENTIONS, ENRICHED, REJECTED)

_EDIT_BITS = 16
DELETED_VERSION = (1 << 62) - 1
"""Version of a deletion: above every edit, so that nothing written later or replayed brings it back."""


class Seen(Struct, frozen=True, tag="seen"):
    """A mention was collected."""

    mention: Mention


class Edited(Struct, frozen=True, tag="edited"):
    """A mention has a new text (or title); `mention.edit` is higher than before."""

    mention: Mention


class Labelled(Struct, frozen=True, tag="labelled"):
    """A person corrected a tag; it stands above whatever a model says.

    `tag` is "sentiment", "topic" (value an id, or several with commas), "intent", "urgency" or "brand".
    """

    id: str
    tag: str
    value: str
    by: str
    at: datetime


class Deleted(Struct, frozen=True, tag="deleted"):
    """A mention is gone: deleted by its author or the platform, or erased on request (`why` says which)."""

    id: str
    why: str
    at: datetime


class Tagged(Struct, frozen=True, tag="tagged"):
    """A mention (first seen or edited) with its enrichment, on its way to the store."""

    mention: Mention
    enrichment: Enrichment

    @property
    def version(self) -> int:
        """The order of writes of one mention: its edit first, then the generation of enrichment."""
        return (self.mention.edit << _EDIT_BITS) | self.enrichment.generation


class Rejected(Struct, frozen=True):
    """Something that a stage could not take, with its bytes as they came.

    `id` is the mention's id where one could be read, else "source:" and the place it came from.
    """

    id: str
    source: str
    stage: Literal["ingest", "enrich", "index"]
    reason: str
    original: bytes
    at: datetime


Change = Seen | Edited | Labelled | Deleted
Item = Tagged | Labelled | Deleted

encode = msgspec.json.Encoder().encode
_change: msgspec.json.Decoder[Change] = msgspec.json.Decoder(Change)
_item: msgspec.json.Decoder[Item] = msgspec.json.Decoder(Item)
_rejected: msgspec.json.Decoder[Rejected] = msgspec.json.Decoder(Rejected)


def key_of(change: Change | Item) -> str:
    """Return the id of the mention that `change` is about: the key in the log."""
    return change.mention.id if isinstance(change, Seen | Edited | Tagged) else change.id


def decode_change(data: bytes) -> Change:
    """Decode a record of topic `mentions`; RefusedError says what is wrong and where."""
    return _decode(_change, data)


def decode_item(data: bytes) -> Item:
    """Decode a record of topic `enriched`; RefusedError says what is wrong and where."""
    return _decode(_item, data)


def decode_rejected(data: bytes) -> Rejected:
    """Decode a record of topic `rejected`; RefusedError says what is wrong and where."""
    return _decode(_rejected, data)


def _decode(decoder: "msgspec.json.Decoder[T]", data: bytes) -> T:
    try:
        return decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RefusedError(f"not readable: {error}") from error
