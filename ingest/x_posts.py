"""What X sends into what Hark says of it: posts, edits, deletions.

X gives every edit an id of its own: a mention carries the first id of `edit_history_tweet_ids` for ever.
"""

import hashlib
import html
import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

import msgspec

from hark.core.change import Change, Deleted, Edited, Rejected, Seen
from hark.core.mention import Author, Media, Mention, Metrics, Place
from ingest import x_payload as payload

_KINDS = {"retweeted": "repost", "replied_to": "reply", "quoted": "quote"}
_MEDIA_KINDS = {"photo": "image", "video": "video", "animated_gif": "video"}
_NO_LANGUAGE = frozenset({"und", "zxx", "art", "qam", "qct", "qht", "qme", "qst"})
_OLD_LANGUAGE_CODES = {"in": "id", "iw": "he", "ji": "yi"}
# X's code for "withheld in all countries", and for "withheld everywhere on a copyright complaint".
_EVERYWHERE = frozenset({"XX", "XY"})
_ATTACHED = re.compile(r"https://(?:twitter|x)\.com/.+/(?:photo|video)/\d+$")
# Ids are trusted for the cursor; one from the far future would make it skip all that comes before.
_AHEAD = timedelta(days=1)


class Read(NamedTuple):
    """What one line or page said. `newest` and `oldest` are ids of posts, 0 where there was none."""

    changes: Sequence[Change] = ()
    rejected: Sequence[Rejected] = ()
    posts: int = 0
    newest: int = 0
    oldest: int = 0
    problem: str = ""
    """What X says about the connection itself ("operational-disconnect: …"), else empty."""


_line = msgspec.json.Decoder(payload.Line)
_post = msgspec.json.Decoder(payload.Post)
_named = msgspec.json.Decoder(payload.Named)
_head = msgspec.json.Decoder(payload.Head)
_event = msgspec.json.Decoder(payload.Event)
_UNREADABLE = (msgspec.MsgspecError, ValueError, OverflowError, RecursionError)


def read_line(line: bytes, source: str, foreign_rules: frozenset[str], now: datetime) -> Read:
    """Return what one line of a stream says; `foreign_rules` are ids of rules that are not Hark's.

    Never raises: what cannot be read is among the rejected, with its bytes. A post that only foreign rules
    matched is counted as read (X charges for it) and left out.
    """
    try:
        envelope = _line.decode(line)
        if not bytes(envelope.data):
            if envelope.errors:
                return Read(problem="; ".join(f"{error.title}: {error.detail}" for error in envelope.errors))
            return Read(_gone(line, source, now))
        if _head.decode(envelope.data).id is None:
            return Read(_gone(envelope.data, source, now))
        post = _post.decode(envelope.data)
        id = _id(post, now)
        matched = {str(rule.id) for rule in envelope.matching_rules}
        mine = not matched or bool(matched - foreign_rules)
        changes = [_change(post, envelope.includes, source, now)] if mine else []
        return Read(changes, posts=1, newest=id, oldest=id)
    except _UNREADABLE as error:
        return Read(rejected=[_refused(line, source, error, now)])


def read_page(page: payload.Page, source: str, now: datetime) -> Read:
    """Return what a page of recent search says. Never raises, like `read_line`."""
    changes: list[Change] = []
    rejected: list[Rejected] = []
    ids: list[int] = []
    for raw in page.data:
        try:
            post = _post.decode(raw)
            ids.append(_id(post, now))
            changes.append(_change(post, page.includes, source, now))
        except _UNREADABLE as error:
            rejected.append(_refused(bytes(raw), source, error, now))
    return Read(changes, rejected, len(page.data), max(ids, default=0), min(ids, default=0))


def _id(post: payload.Post, now: datetime) -> int:
    id = int(post.id)
    if not 0 < id < payload.id_at(now + _AHEAD):
        raise ValueError(f"the id {id} is of no post written until now")
    return id


def _gone(data: bytes | msgspec.Raw, source: str, now: datetime) -> list[Change]:
    """Return what an event says is gone: a post deleted, dropped from view, or withheld in all countries.

    One withheld in some countries is still public elsewhere. A deletion is for ever: a post that is shown again (`undrop`) is not collected a second time.
    """
    event = _event.decode(data)
    if event.delete:
        gone, why = event.delete, "deleted on X"
    elif event.drop:
        gone, why = event.drop, "removed from public view by X"
    elif event.withheld:
        gone, why = event.withheld, "withheld by X everywhere"
        if not _EVERYWHERE & {code.upper() for code in gone.withheld_in_countries}:
            return []
    elif event.undrop:
        return []
    else:
        raise ValueError("neither a post nor a deletion")
    return [Deleted(f"{source}:{int(gone.tweet.id)}", why, gone.event_at or now)]


def _change(post: payload.Post, includes: payload.Includes, source: str, now: datetime) -> Change:
    mention = _mention(post, includes, source, now)
    if _EVERYWHERE & set(post.withheld.country_codes):
        return Deleted(mention.id, "withheld by X everywhere", now)
    return Edited(mention) if mention.edit else Seen(mention)


def _mention(post: payload.Post, includes: payload.Includes, source: str, now: datetime) -> Mention:
    users = {user.id: user for user in includes.users}
    others = {other.id: other for other in includes.tweets}
    user = users.get(post.author_id or "")
    first = _first(post)

    def reference(type: str) -> str | None:
        found = next((r.id for r in post.referenced_tweets if r.type == type), None)
        return None if found is None else f"{source}:{_first(others[found]) if found in others else found}"

    kinds = {r.type for r in post.referenced_tweets}
    kind = next((_KINDS[type] for type in _KINDS if type in kinds), "post")
    conversation = post.conversation_id
    return Mention(
        id=f"{source}:{first}",
        source=source,
        kind=kind,
        edit=post.edit_history_tweet_ids.index(post.id) if post.id in post.edit_history_tweet_ids else 0,
        text=_repost_text(post, others, users) if kind == "repost" else _text(post),
        url=f"https://x.com/{user.username if user else 'i'}/status/{post.id}",
        author=_author(post.author_id, user),
        created_at=_created(post, first),
        collected_at=now,
        # An edit's conversation is the edit itself; the mention's is where its first text stood.
        conversation=conversation and f"{source}:{first if conversation == post.id else conversation}",
        in_reply_to=reference("replied_to"),
        repost_of=reference("retweeted") or reference("quoted"),
        lang=None if post.lang in _NO_LANGUAGE else _OLD_LANGUAGE_CODES.get(post.lang or "", post.lang),
        media=_media(post, includes),
        metrics=_metrics(post.public_metrics),
        place=_place(post.geo, includes),
    )


def _first(post: payload.Post) -> int:
    return int(post.edit_history_tweet_ids[0] if post.edit_history_tweet_ids else post.id)


def _created(post: payload.Post, first: int) -> datetime:
    # X dates an edit by its own time. The mention keeps the time of its first text, which its id tells.
    if post.created_at is None or first != int(post.id):
        return payload.instant_of(first).replace(microsecond=0)
    return post.created_at


def _text(post: payload.Post) -> str:
    """Return the whole text as a reader sees it: long posts in full, links in place of t.co, no & escapes."""
    text, urls = post.text, post.entities.urls
    if post.note_tweet:
        text, urls = post.note_tweet.text, (*post.note_tweet.entities.urls, *post.entities.urls)
    text = html.unescape(text)
    for url in urls:
        if url.expanded_url:
            attached = url.media_key or _ATTACHED.match(url.expanded_url)
            cut_off = url.expanded_url.endswith(f"/i/web/status/{post.id}")
            text = text.replace(url.url, "" if attached or cut_off else url.expanded_url)
    return text.strip()


def _repost_text(
    post: payload.Post, others: Mapping[str, payload.Post], users: Mapping[str, payload.User]
) -> str:
    # X cuts a repost's own text at 140 characters; the original comes along whole.
    original = next((others.get(r.id) for r in post.referenced_tweets if r.type == "retweeted"), None)
    if original is None:
        return _text(post)
    author = users.get(original.author_id or "")
    begin = f"RT @{author.username}: " if author else post.text.partition(": ")[0] + ": "
    return begin + _text(original)


def _author(id: str | None, user: payload.User | None) -> Author | None:
    if user is None:
        return Author(id=id) if id else None
    return Author(
        handle=user.username,
        id=user.id,
        name=user.name,
        followers=user.public_metrics.followers_count,
        following=user.public_metrics.following_count,
        posts=user.public_metrics.tweet_count,
        verified=user.verified,
        url=f"https://x.com/{user.username}",
        description=user.description or None,
        created_at=user.created_at,
    )


def _media(post: payload.Post, includes: payload.Includes) -> tuple[Media, ...]:
    known = {media.media_key: media for media in includes.media}
    found = [known[key] for key in post.attachments.media_keys if key in known]
    return tuple(
        Media(_MEDIA_KINDS.get(media.type, media.type), media.url or media.preview_image_url, media.alt_text)
        for media in found
    )


def _metrics(counts: payload.PostMetrics | None) -> Metrics | None:
    if counts is None:
        return None
    return Metrics(
        likes=counts.like_count,
        reposts=counts.retweet_count,
        replies=counts.reply_count,
        quotes=counts.quote_count,
        views=counts.impression_count,
    )


def _place(geo: payload.Geo, includes: payload.Includes) -> Place | None:
    place = next((place for place in includes.places if place.id == geo.place_id), None)
    longitude, latitude = (geo.coordinates and geo.coordinates.coordinates) or (None, None)
    if latitude is None or longitude is None or not (-90 <= latitude <= 90 and -180 <= longitude <= 180):
        latitude = longitude = None
    if place is None and latitude is None:
        return None
    country = (place.country_code or None) if place else None
    return Place(place.full_name if place else None, country and country.upper(), latitude, longitude)


def _refused(original: bytes, source: str, error: Exception, now: datetime) -> Rejected:
    try:
        named = _named.decode(original)
        native = str(int(named.id or named.data.id or ""))
    except _UNREADABLE:
        # Named by its bytes, so that the same line read again is the same entry.
        native = f"line-{hashlib.blake2b(original, digest_size=8).hexdigest()}"
    return Rejected(f"{source}:{native}", source, "ingest", f"not readable: {error}", original, now)
