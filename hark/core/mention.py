"""A mention: one thing that somebody said in public, and what Hark found out about it."""

from datetime import datetime

import msgspec
from msgspec import Struct


class Author(Struct, frozen=True, omit_defaults=True, gc=False):
    """Who wrote a mention, as the platform showed it at that moment."""

    handle: str | None = None
    """Without the leading @, as written; compared without regard to case."""
    id: str | None = None
    """The platform's own id, which outlives a changed handle."""
    name: str | None = None
    followers: int | None = None
    following: int | None = None
    """How many accounts it follows."""
    posts: int | None = None
    """How many posts it has written since it was made."""
    verified: bool | None = None
    bot: bool | None = None
    """Whether the platform or the account itself says that a program writes."""
    url: str | None = None
    description: str | None = None
    created_at: datetime | None = None


class Media(Struct, frozen=True, omit_defaults=True, gc=False):
    """A picture, video or sound that came with a mention; never fetched by Hark."""

    kind: str
    """image, video, audio or link."""
    url: str | None = None
    alt: str | None = None


class Metrics(Struct, frozen=True, omit_defaults=True, gc=False):
    """What the platform counted when the mention was collected."""

    likes: int | None = None
    reposts: int | None = None
    replies: int | None = None
    quotes: int | None = None
    views: int | None = None


class Place(Struct, frozen=True, omit_defaults=True, gc=False):
    """Where a mention was written, as far as its author shared it."""

    name: str | None = None
    country: str | None = None
    """ISO 3166-1 alpha-2, upper case."""
    latitude: float | None = None
    longitude: float | None = None


class Mention(Struct, frozen=True, omit_defaults=True, gc=False):
    """One post, reply, comment, review or article.

    `id` is "source:native id" and never changes, not by an edit either. `edit` is 0 for the first text and
    grows with every edit (a count, or milliseconds of the edit's time: each source keeps to one of them).
    """

    id: str
    source: str
    text: str
    created_at: datetime
    collected_at: datetime
    kind: str = "post"
    """post, reply, repost, quote, comment, review, article or message."""
    edit: int = 0
    title: str | None = None
    url: str | None = None
    author: Author | None = None
    conversation: str | None = None
    """Id of the mention that the conversation began with, in the form of `id`."""
    in_reply_to: str | None = None
    repost_of: str | None = None
    lang: str | None = None
    """The language that the platform claims, if any; Hark's own finding is in the enrichment."""
    media: tuple[Media, ...] = ()
    metrics: Metrics | None = None
    place: Place | None = None
    client: str | None = None
    """The program that it was posted with, where the platform tells: "Mastodon for iOS", "IFTTT"."""


class Language(Struct, frozen=True, gc=False):
    """ISO 639-1 code, or "unknown"; confidence 0 to 1."""

    code: str
    confidence: float


class Vader(Struct, frozen=True, gc=False):
    """The four numbers of vaderSentiment, to its own last digit."""

    neg: float
    neu: float
    pos: float
    compound: float


class Sentiment(Struct, frozen=True, gc=False):
    """The judgement (label, signed score -1..1, confidence 0..1) beside vaderSentiment's own numbers.

    `label` is positive, neutral or negative, or whatever labels a trained model was given.
    """

    label: str
    score: float
    confidence: float
    vader: Vader


class Topic(Struct, frozen=True, gc=False):
    """One node of the taxonomy (the most specific that matched); confidence 0..1."""

    id: str
    confidence: float


class Entity(Struct, frozen=True, omit_defaults=True, gc=False):
    """Something named in the text: `kind` airport, flight, amount, date, …; `value` its normal form."""

    kind: str
    value: str
    start: int
    end: int


class Reason(Struct, frozen=True, omit_defaults=True, gc=False):
    """Why a tag was given: `start` and `end` count characters of the mention's text (0, 0: no single place)."""

    tag: str
    """sentiment, topic:late-flight, intent, urgency, brand:southwest, …"""
    why: str
    weight: float = 0.0
    start: int = 0
    end: int = 0


class Enrichment(Struct, frozen=True, omit_defaults=False, gc=False):
    """The tags of one mention and the version of taxonomy, rules and models that made them."""

    version: str
    language: Language
    brands: tuple[str, ...]
    sentiment: Sentiment
    topics: tuple[Topic, ...] = ()
    """Most confident first; parents are not listed, a query for a parent finds its children."""
    intent: str | None = None
    urgency: str | None = None
    journey: str | None = None
    entities: tuple[Entity, ...] = ()
    fingerprint: str | None = None
    """Equal for copies of the same text; the store groups by it."""
    priority: int | None = None
    """0 to 100."""
    reasons: tuple[Reason, ...] = ()
    generation: int = 0
    """Grows with each reprocessing; orders enrichments of the same edit."""
    reach: int | None = None
    """How many people it may have reached: 10 more is ten times as many (30: a thousand, 60: a million)."""
    influence: int | None = None
    """0 to 100, how far the author's word carries; the parts are among the reasons."""
    automation: float | None = None
    """0 to 1, how likely a program wrote it; None where the platform says nothing about the account."""


def native_id(mention_id: str) -> str:
    """Return the platform's part of an id "source:native id"."""
    return mention_id.partition(":")[2]


def source_of(mention_id: str) -> str:
    """Return the source's part of an id "source:native id"."""
    return mention_id.partition(":")[0]


def flat(mention: Mention, enrichment: Enrichment | None) -> dict[str, object]:
    """Return what a person or a tool is shown: Mention's fields flat, and `enrichment` beside them."""
    fields: dict[str, object] = msgspec.to_builtins(mention)
    if enrichment is not None:
        fields["enrichment"] = msgspec.to_builtins(enrichment)
    return fields
