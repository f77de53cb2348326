"""What Reddit shows into what Hark says of it: posts and comments, as praw's objects hold them.

An attribute that praw does not have it would fetch by a request of its own; so only what came is looked at.
"""

import re
import zlib
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from msgspec import Struct

from hark.core.change import Rejected
from hark.core.mention import Author, Media, Mention, Metrics

_SITE = "https://www.reddit.com"
_NAME = re.compile(r"t[13]_[0-9a-z]{1,13}")
_IMAGE = re.compile(
    r"https?://(?:i|preview)\.redd\.it/|https?://[^?#]+\.(?:png|jpe?g|gif|webp)(?:[?#]|$)", re.I
)
_INSIDE_REDDIT = re.compile(r"https?://(?:v\.redd\.it|(?:[a-z]+\.)?reddit\.com/gallery)/", re.I)
_GONE_TEXTS = {"[deleted]": "deleted by its author", "[removed]": "removed by Reddit or its moderators"}
_GONE_BY = {"author": "deleted by its author", "deleted": "deleted by its author"}
_MOST_MEDIA = 20
# Before Reddit was, and the far future: such a date would lead the cursor astray.
_FIRST = datetime(2005, 6, 1, tzinfo=UTC).timestamp()
_AHEAD = timedelta(days=1)
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


class Post(Struct, frozen=True):
    """One post or comment as it stands now; `name` is Reddit's fullname, t3_… or t1_…, `created` in seconds."""

    name: str
    created: int
    digest: int
    """Of the text: within three minutes an edit leaves no other trace."""
    mention: Mention
    gone: str = ""
    """Why it is gone, if it is."""


class _Thing(Struct, frozen=True):
    name: str
    created_utc: float
    author: str | None = None
    author_fullname: str | None = None
    title: str | None = None
    selftext: str | None = None
    body: str | None = None
    permalink: str | None = None
    link_id: str | None = None
    parent_id: str | None = None
    edited: bool | float | None = None
    score: int | None = None
    num_comments: int | None = None
    num_crossposts: int | None = None
    url: str | None = None
    is_self: bool | None = None
    is_video: bool | None = None
    media: Any = None
    media_metadata: Any = None
    crosspost_parent: str | None = None
    crosspost_parent_list: Any = None
    removed_by_category: str | None = None


def read_item(item: object, source: str, now: datetime) -> Post | Rejected | None:
    """Return what one of praw's objects says; None for what is neither post nor comment. Never raises.

    What cannot be read is rejected with the fields that Hark looks at: the answer's bytes are praw's.
    """
    fields = _fields(item)
    name = fields.get("name")
    if not isinstance(name, str) or not name.startswith(("t1_", "t3_")):
        return None
    try:
        return _post(msgspec.convert(fields, _Thing), source, now)
    except (msgspec.ValidationError, ValueError, OverflowError) as error:
        original = msgspec.json.encode(fields, enc_hook=str)
        return Rejected(
            f"{source}:{name}", source, "ingest", f"not a post of Reddit's: {error}", original, now
        )


def _fields(item: object) -> dict[str, Any]:
    known = vars(item) if hasattr(item, "__dict__") else {}
    fields = {name: known[name] for name in _Thing.__struct_fields__ if name in known}
    if fields.get("author") is not None:
        fields["author"] = vars(fields["author"]).get("name")
    return {name: _clean(value) for name, value in fields.items()}


def _clean(value: Any) -> Any:
    """Replace halves of characters, which JSON can spell and UTF-8 cannot."""
    if isinstance(value, str):
        return _LONE_SURROGATE.sub("\ufffd", value)
    if isinstance(value, list):
        return [_clean(inner) for inner in value]
    if isinstance(value, Mapping):
        return {_clean(key): _clean(inner) for key, inner in value.items()}
    return value


def _post(thing: _Thing, source: str, now: datetime) -> Post:
    if not _NAME.fullmatch(thing.name):
        raise ValueError(f"no id of Reddit's: {thing.name!r}")
    if not _FIRST <= thing.created_utc <= (now + _AHEAD).timestamp():
        raise ValueError(f"created at {thing.created_utc}")
    is_comment = thing.name.startswith("t1_")
    parent = _original(thing)
    text = (thing.body or "") if is_comment else _post_text(thing, parent)
    mention = Mention(
        id=f"{source}:{thing.name}",
        source=source,
        kind="comment" if is_comment else "post",
        text=text,
        title=None if is_comment else thing.title,
        url=_url(thing, is_comment),
        author=Author(handle=thing.author, id=thing.author_fullname) if thing.author else None,
        created_at=datetime.fromtimestamp(thing.created_utc, UTC),
        collected_at=now,
        edit=_edit(thing.edited),
        conversation=_id(source, thing.link_id if is_comment else thing.name),
        in_reply_to=_id(source, thing.parent_id if is_comment else None),
        repost_of=_id(source, thing.crosspost_parent),
        media=() if is_comment and not thing.media_metadata else _media(thing, parent, is_comment),
        metrics=Metrics(likes=thing.score, replies=thing.num_comments, reposts=thing.num_crossposts),
    )
    digest = zlib.crc32(text.encode())
    return Post(thing.name, int(thing.created_utc), digest, mention, _gone(thing, is_comment))


def _gone(thing: _Thing, is_comment: bool) -> str:
    if thing.removed_by_category:
        return _GONE_BY.get(thing.removed_by_category, _GONE_TEXTS["[removed]"])
    text = ((thing.body if is_comment else thing.selftext) or "").strip()
    # Somebody may write "[removed]"; a moderator's leaves no author at a comment, but does at a post.
    if thing.author is None or not is_comment:
        if text in _GONE_TEXTS:
            return _GONE_TEXTS[text]
        if thing.author is None:
            return "its author's account is deleted"
    return ""


def _original(thing: _Thing) -> dict[str, Any]:
    originals = thing.crosspost_parent_list
    if isinstance(originals, list) and originals and isinstance(originals[0], dict):
        return originals[0]
    return {}


def _post_text(thing: _Thing, parent: dict[str, Any]) -> str:
    """Return what a reader sees under the title: the text, a crosspost's original, or the link."""
    inherited = parent.get("selftext")
    text = thing.selftext or (inherited if isinstance(inherited, str) else "")
    link = _link(thing)
    return text or (link if link and not _IMAGE.match(link) else "")


def _link(thing: _Thing) -> str | None:
    if thing.is_self or not thing.url or not thing.url.startswith(("http://", "https://")):
        return None
    if (thing.permalink and thing.url.endswith(thing.permalink)) or _INSIDE_REDDIT.match(thing.url):
        return None
    return thing.url


def _media(thing: _Thing, parent: dict[str, Any], is_comment: bool) -> tuple[Media, ...]:
    found: list[Media] = []
    metadata = thing.media_metadata or parent.get("media_metadata")
    for part in metadata.values() if isinstance(metadata, dict) else ():
        best = part.get("s") if isinstance(part, dict) else None
        url = (best.get("u") or best.get("gif")) if isinstance(best, dict) else None
        if isinstance(url, str):
            found.append(Media("image", url))
    if is_comment:
        return tuple(found[:_MOST_MEDIA])
    media = thing.media or parent.get("media")
    video = media.get("reddit_video") if isinstance(media, dict) else None
    if isinstance(video, dict) and isinstance(video.get("fallback_url"), str):
        found.append(Media("video", video["fallback_url"]))
    elif thing.is_video:
        found.append(Media("video", thing.url))
    link = _link(thing)
    if link:
        found.append(Media("image" if _IMAGE.match(link) else "link", link))
    return tuple(found[:_MOST_MEDIA])


def _url(thing: _Thing, is_comment: bool) -> str:
    if thing.permalink and thing.permalink.startswith("/"):
        return _SITE + thing.permalink
    id = thing.name.partition("_")[2]
    if is_comment and thing.link_id:
        return f"{_SITE}/comments/{thing.link_id.partition('_')[2]}/_/{id}"
    return f"{_SITE}/comments/{id}"


def _edit(edited: bool | float | None) -> int:
    # True stands for "edited, nobody remembers when": old posts have it, and do not change any more.
    return 1 if edited is True else int((edited or 0.0) * 1000)


def _id(source: str, name: str | None) -> str | None:
    return f"{source}:{name}" if name and _NAME.fullmatch(name) else None
