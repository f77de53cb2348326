"""The shapes of what X sends, as far as Hark reads them (API v2 JSON); unknown fields are passed over.

X gives every edit an id of its own. An id is a snowflake: its upper bits are milliseconds since 2010-11-04, so
that ids and instants convert.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

import msgspec
from msgspec import Struct

from hark.core.clock import from_ms, to_ms

FIELDS: Mapping[str, str] = {
    "tweet_fields": "attachments,author_id,conversation_id,created_at,edit_history_tweet_ids,entities,geo,lang,"
    "note_tweet,public_metrics,referenced_tweets,text,withheld",
    "user_fields": "created_at,description,name,public_metrics,username,verified",
    "media_fields": "alt_text,media_key,preview_image_url,type,url",
    "place_fields": "country_code,full_name",
    "expansions": "author_id,attachments.media_keys,geo.place_id,referenced_tweets.id,"
    "referenced_tweets.id.author_id",
}
"""What is asked for with every post, in tweepy's names."""

_EPOCH_MS = 1_288_834_974_657

Instant = Annotated[datetime, msgspec.Meta(tz=True)]


class UserMetrics(Struct):
    """Counts of a user."""

    followers_count: int | None = None
    following_count: int | None = None
    tweet_count: int | None = None


class User(Struct):
    """Who wrote a post."""

    id: str
    username: str
    name: str | None = None
    description: str | None = None
    verified: bool | None = None
    created_at: Instant | None = None
    public_metrics: UserMetrics = msgspec.field(default_factory=UserMetrics)


class Media(Struct):
    """A picture or video of a post."""

    media_key: str
    type: str
    url: str | None = None
    preview_image_url: str | None = None
    alt_text: str | None = None


class Place(Struct):
    """A place that a post names."""

    id: str
    full_name: str | None = None
    country_code: str | None = None


class Reference(Struct):
    """The post that another one replies to, quotes or reposts (`type`)."""

    type: str
    id: str


class Url(Struct):
    """A link in a text: t.co in place of what was written."""

    url: str
    expanded_url: str | None = None
    media_key: str | None = None


class Entities(Struct):
    """What X found in a text."""

    urls: tuple[Url, ...] = ()


class Note(Struct):
    """The whole text of a post longer than 280 characters."""

    text: str
    entities: Entities = msgspec.field(default_factory=Entities)


class Attachments(Struct):
    """What hangs on a post, by keys into the includes."""

    media_keys: tuple[str, ...] = ()


class Point(Struct):
    """Longitude and latitude."""

    coordinates: tuple[float, float] | None = None


class Geo(Struct):
    """Where a post was written."""

    place_id: str | None = None
    coordinates: Point | None = None


class PostMetrics(Struct):
    """Counts of a post."""

    like_count: int | None = None
    retweet_count: int | None = None
    reply_count: int | None = None
    quote_count: int | None = None
    impression_count: int | None = None


class Withheld(Struct):
    """The countries that do not see a post."""

    country_codes: tuple[str, ...] = ()


class Post(Struct):
    """One post, in its state when it was sent."""

    id: str
    text: str
    author_id: str | None = None
    created_at: Instant | None = None
    conversation_id: str | None = None
    edit_history_tweet_ids: tuple[str, ...] = ()
    lang: str | None = None
    referenced_tweets: tuple[Reference, ...] = ()
    entities: Entities = msgspec.field(default_factory=Entities)
    note_tweet: Note | None = None
    attachments: Attachments = msgspec.field(default_factory=Attachments)
    geo: Geo = msgspec.field(default_factory=Geo)
    public_metrics: PostMetrics | None = None
    withheld: Withheld = msgspec.field(default_factory=Withheld)


class Includes(Struct):
    """What posts refer to by id."""

    users: tuple[User, ...] = ()
    media: tuple[Media, ...] = ()
    places: tuple[Place, ...] = ()
    tweets: tuple[Post, ...] = ()


class Rule(Struct):
    """A rule that a post matched, or any other thing that is only its id."""

    id: str | int  # recordings of 2021 have numbers, today's documentation has strings


class Error(Struct):
    """What X says about a request or a connection."""

    title: str = ""
    detail: str = ""


class Line(Struct):
    """One line of a stream."""

    data: msgspec.Raw = msgspec.Raw()
    includes: Includes = msgspec.field(default_factory=Includes)
    matching_rules: tuple[Rule, ...] = ()
    errors: tuple[Error, ...] = ()


class Gone(Struct):
    """Of a deletion, in the compliance stream's shape: {"tweet": {"id": …}, "event_at": …}."""

    tweet: Rule
    event_at: Instant | None = None
    withheld_in_countries: tuple[str, ...] = ()


class Head(Struct):
    """Tells a post, which has an id, from an event about one, which has none."""

    id: str | None = None


class Named(Struct):
    """Reads no more than the id of a post, on its own or in its line, to name what is refused."""

    id: str | None = None
    data: Head = msgspec.field(default_factory=Head)


class Event(Struct):
    """Something that happened to a post, from the compliance streams."""

    delete: Gone | None = None
    drop: Gone | None = None
    withheld: Gone | None = None
    undrop: Gone | None = None


class Page(Struct):
    """The envelope of a page of recent search; the posts stay bytes, so that one broken post is one refused."""

    data: tuple[msgspec.Raw, ...] = ()
    includes: Includes = msgspec.field(default_factory=Includes)
    meta: dict[str, Any] = {}


def id_at(instant: datetime) -> int:
    """Return the smallest id that a post of this instant can have."""
    return max(0, to_ms(instant) - _EPOCH_MS) << 22


def instant_of(id: int) -> datetime:
    """Return when the post with this id was written, to the millisecond; OverflowError for an impossible id."""
    return from_ms((id >> 22) + _EPOCH_MS)


def decode_page(body: bytes) -> Page:
    """Decode the envelope of a page; msgspec.MsgspecError when it is none."""
    return msgspec.json.decode(body, type=Page)
