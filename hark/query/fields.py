"""The one table of fields: what `name:value` may ask for, and what a mention answers.

Stores and matcher share it. Word fields become *words*, tokens "name=value" without white space, which a store
indexes in one field by splitting at white space; number fields and `created` become integers.
"""

import re
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Literal
from urllib.parse import unquote

from msgspec import Struct

from hark.core.clock import to_ms
from hark.core.errors import SettingsError
from hark.core.mention import Enrichment, Mention
from hark.core.tokens import tokens
from hark.core.tree import Field

Kind = Literal["word", "number", "time"]
Taxonomy = Mapping[str, frozenset[str]]
"""For each topic's id the ids of all its ancestors; made by `ancestors`."""

NO_TAXONOMY: Taxonomy = {}
LONGEST_VALUE = 300
"""Characters of a value that count, in the query and in the mention."""
_MOST_PREFIXES = 8
_LINK = re.compile(r"(?:https?://|www\.)[^\s<>\"“”]+", re.IGNORECASE)
_SIGN = re.compile("[#@＃＠﹟﹫]")  # in the forms that the tokenizer folds into one
# Of a sentence, not of an address.
_ENDS = ".,;:!?)'’" + "".join(filter(str.isspace, map(chr, range(0x3001))))
_MEDIA = frozenset({"image", "video", "audio"})
_ENCODED = re.compile(
    r"[%\s\x00-\x1f\x7f-\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000\ud800-\udfff]"
)


class FieldInfo(Struct, frozen=True):
    """One field: its name, other names for it, what kind of values it has, and one line of help."""

    name: str
    kind: Kind
    help: str
    example: str
    aliases: tuple[str, ...] = ()
    values: tuple[str, ...] = ()
    """All values there are, where these are few and fixed."""


HAS = "media image video audio link place reply repost title hashtag mentions brand topic intent journey urgency"

FIELDS: tuple[FieldInfo, ...] = (
    FieldInfo("brand", "word", "the brand it is about, by its name in brands.toml", "brand:southwest"),
    FieldInfo(
        "topic", "word", "a topic of the taxonomy; finds its children too", "topic:baggage", ("topics",)
    ),
    FieldInfo(
        "sentiment", "word", "positive, neutral or negative, or a trained model's label", "sentiment:negative"
    ),
    FieldInfo("intent", "word", "what its author wants, as tagged", "intent:complaint"),
    FieldInfo("journey", "word", "the stage of the customer's journey, as tagged", "journey:boarding"),
    FieldInfo("urgency", "word", "how urgent it is, as tagged", "urgency:high"),
    FieldInfo(
        "priority",
        "number",
        "0 to 100: how soon to look at it, by tone, urgency, intent and reach",
        "priority>=70",
    ),
    FieldInfo("source", "word", "where it was collected, by its name in sources.toml", "source:reddit"),
    FieldInfo(
        "kind",
        "word",
        "post, reply, repost, quote, comment, review, article or message",
        "kind:reply",
        ("type",),
    ),
    FieldInfo(
        "author",
        "word",
        "its author's handle, with or without @ (the name where there is no handle)",
        "author:southwestair",
        ("from",),
    ),
    FieldInfo("followers", "number", "how many follow its author", "followers>=10000"),
    FieldInfo("reach", "number", "how many people it may reach: 30 a thousand, 60 a million", "reach>=50"),
    FieldInfo("influence", "number", "0 to 100, how far its author's word carries", "influence>=50"),
    FieldInfo("automation", "number", "0 to 100, how likely a program wrote it", "automation<50", ("bot",)),
    FieldInfo("lang", "word", "its language, a code of two letters, or unknown", "lang:en", ("language",)),
    FieldInfo("country", "word", "where it was written, a country's code of two letters", "country:us"),
    FieldInfo(
        "place",
        "word",
        "where it was written: the place's name, or a part between commas",
        'place:"Dallas, TX"',
    ),
    FieldInfo(
        "url",
        "word",
        "its own address or a link in it; what lies below the address too",
        "url:southwest.com/help",
        ("link",),
    ),
    FieldInfo(
        "site", "word", "the site that it stands on; sites below it too", "site:reddit.com", ("domain",)
    ),
    FieldInfo(
        "hashtag", "word", "a hashtag in its title or text, with or without #", "hashtag:swa", ("tag",)
    ),
    FieldInfo(
        "mentions",
        "word",
        "a handle named in its title or text, with or without @",
        "mentions:southwestair",
        ("mention",),
    ),
    FieldInfo("has", "word", "what it has: " + HAS.replace(" ", ", "), "has:media", (), tuple(HAS.split())),
    FieldInfo(
        "conversation",
        "word",
        "everything in the conversation that began with this id",
        "conversation:x:1234",
        ("thread",),
    ),
    FieldInfo("id", "word", "one mention, by its id", "id:x:1234"),
    FieldInfo(
        "created",
        "time",
        "when it was written: a date or time (UTC unless it says otherwise), or now-2h (s, m, h, d, w)",
        "created>now-2h",
        ("date", "time"),
    ),
)

BY_NAME: Mapping[str, FieldInfo] = {name: info for info in FIELDS for name in (info.name, *info.aliases)}
"""Fields by name and by alias."""


def ancestors(parents: Mapping[str, Collection[str]]) -> Taxonomy:
    """Return all ancestors of each topic, from its direct parents; ids are lower-cased.

    Raises SettingsError when a topic is its own ancestor.
    """
    direct = {normal(topic): {normal(parent) for parent in above} for topic, above in parents.items()}
    closed: dict[str, frozenset[str]] = {}
    for topic in direct:
        seen: set[str] = set()
        waiting = list(direct[topic])
        while waiting:
            above = waiting.pop()
            if above not in seen:
                seen.add(above)
                waiting.extend(direct.get(above, ()))
        if topic in seen:
            raise SettingsError(f"topic {topic!r} is its own ancestor: a taxonomy is a tree")
        closed[topic] = frozenset(seen)
    return closed


def normal(value: str) -> str:
    """Return the form in which values are compared: NFKC, lower case, trimmed, at most LONGEST_VALUE characters."""
    if value.isascii():
        return value.lower().strip()[:LONGEST_VALUE].strip()
    lowered = unicodedata.normalize("NFKC", value).lower()
    return unicodedata.normalize("NFKC", lowered).strip()[:LONGEST_VALUE].strip()


def normal_of(name: str, value: str) -> str:
    """Return a query's value of the word field `name` as `words_of` writes it (before encoding)."""
    value = value.strip()
    if name in ("author", "mentions"):
        value = value.removeprefix("@")
    elif name == "hashtag":
        value = value.removeprefix("#").removeprefix("＃")
    elif name == "lang":
        return _language(value)
    elif name == "url":
        return _address(value)
    elif name == "site":
        return _site(_address(value))
    return normal(value)


def word(name: str, value: str) -> str:
    """Return the filter token of a normalised value: "name=value", free of white space.

    White space, control characters and % are percent-encoded; `value_of` is the way back.
    """
    return f"{name}={encode(value)}"


def value_of(token: str) -> str:
    """Return the value in a filter token "name=value"."""
    return unquote(token.partition("=")[2], errors="surrogatepass")


def encode(value: str) -> str:
    """Return `value` without white space and control characters, each of them and % percent-encoded."""
    if value.isascii() and value.isprintable() and " " not in value and "%" not in value:
        return value  # nearly all, and five times as fast as the search
    return _ENCODED.sub(_percent, value)


def _percent(found: re.Match[str]) -> str:
    return "".join(f"%{byte:02x}" for byte in found[0].encode("utf-8", "surrogatepass"))


def words_of(
    mention: Mention,
    enrichment: Enrichment | None,
    taxonomy: Taxonomy = NO_TAXONOMY,
    known: Sequence[str] | None = None,
) -> list[str]:
    """Return the filter tokens of all word fields, each once: what `Field(name, "=", value)` is compared with.

    A topic comes with all its ancestors, a site with the sites above it, an address with those above it.
    `known` spares the tokenizer where the caller has the tokens of title and text already.
    """
    words = _words(mention, enrichment, taxonomy, known)
    joined = " ".join(words)
    # Nearly always; all asked at once, not word by word.
    plain = joined.isascii() and joined.isprintable() and "%" not in joined and "= " not in joined
    if not plain or joined[-1] == "=" or joined.count(" ") >= len(words):
        words = [word(name, value) for name, _, value in (each.partition("=") for each in words) if value]
    return list(dict.fromkeys(words))


def values_of(
    name: str, mention: Mention, enrichment: Enrichment | None, taxonomy: Taxonomy = NO_TAXONOMY
) -> list[str]:
    """Return a mention's values of one word field for lists and histograms, each once: no sites above the site."""
    begin = name + "="
    words = dict.fromkeys(each for each in _words(mention, enrichment, taxonomy) if each.startswith(begin))
    values = [each[len(begin) :] for each in words if each != begin]
    return values[:1] if name == "site" else values


def numbers_of(mention: Mention, enrichment: Enrichment | None) -> dict[str, int]:
    """Return the values of number and time fields, those that are known; `created` in milliseconds since 1970."""
    numbers = {"created": to_ms(mention.created_at)}
    if mention.author is not None and mention.author.followers is not None:
        numbers["followers"] = mention.author.followers
    if enrichment is None:
        return numbers
    if enrichment.priority is not None:
        numbers["priority"] = enrichment.priority
    if enrichment.reach is not None:
        numbers["reach"] = enrichment.reach
    if enrichment.influence is not None:
        numbers["influence"] = enrichment.influence
    if enrichment.automation is not None:
        numbers["automation"] = round(100 * enrichment.automation)
    return numbers


@lru_cache(maxsize=4096)
def number(field: Field) -> int:
    """Return what a number or time field is compared with, in the unit of `numbers_of`."""
    if BY_NAME[field.name].kind == "time":
        return to_ms(datetime.fromisoformat(field.value))
    return int(field.value)


def is_word(field: Field) -> bool:
    """Say whether the field is compared by its words (else by its number)."""
    return BY_NAME[field.name].kind == "word"


def _words(
    mention: Mention, enrichment: Enrichment | None, taxonomy: Taxonomy, known: Sequence[str] | None = None
) -> list[str]:
    """Return "name=value" of all word fields before encoding, some more than once, some without a value.

    Every mention that is written passes here: hence the plain appending.
    """
    id = normal(mention.id)
    words = [
        "source=" + _known(mention.source),
        "kind=" + _known(mention.kind),
        "id=" + id,
        "conversation=" + (normal(mention.conversation) if mention.conversation else id),
    ]
    _add_origin(words, mention)
    _add_text(words, mention, known)
    if enrichment is not None:
        _add_tags(words, enrichment, taxonomy)
    elif mention.lang:
        words.append("lang=" + _language(mention.lang))
    for kind in {_known(media.kind) for media in mention.media}:
        if kind in _MEDIA:
            words += ("has=" + kind, "has=media")
        elif kind == "link":
            words.append("has=link")
    if mention.in_reply_to is not None:
        words.append("has=reply")
    if mention.repost_of is not None:
        words.append("has=repost")
    if mention.title:
        words.append("has=title")
    return words


def _add_origin(words: list[str], mention: Mention) -> None:
    author, place = mention.author, mention.place
    if author is not None:
        handle = author.handle.strip().removeprefix("@") if author.handle else author.name or ""
        words.append("author=" + normal(handle))
    if mention.url:
        address = _address(mention.url)
        words += _above_site(_site(address))
        words += _above_address(address)
    if place is not None:
        name = place.name or ""
        words += ("has=place", "country=" + _known(place.country or ""), "place=" + normal(name))
        words += ["place=" + normal(part) for part in name.split(",")]


def _add_text(words: list[str], mention: Mention, known: Sequence[str] | None) -> None:
    text = f"{mention.title}\n{mention.text}" if mention.title else mention.text
    if "@" in text or "#" in text or (not text.isascii() and _SIGN.search(text)):
        for token in tokens(text) if known is None else known:
            if token[0] == "#":
                words += ("hashtag=" + token[1:], "has=hashtag")
            elif token[0] == "@":
                words += ("mentions=" + token[1:], "has=mentions")
    if "://" in text or "www." in text.lower():
        for link in _LINK.findall(text):
            words.append("has=link")
            words += _above_address(_address(link))


def _add_tags(words: list[str], enrichment: Enrichment, taxonomy: Taxonomy) -> None:
    topics = tuple([topic.id for topic in enrichment.topics])
    words += _tagged(
        enrichment.language.code,
        enrichment.sentiment.label,
        enrichment.brands,
        topics,
        enrichment.intent,
        enrichment.journey,
        enrichment.urgency,
    )
    for topic in topics:
        if above := taxonomy.get(_known(topic)):
            words += _above_topic(above)


@lru_cache(maxsize=20_000)
def _tagged(
    language: str,
    sentiment: str,
    brands: tuple[str, ...],
    topics: tuple[str, ...],
    intent: str | None,
    journey: str | None,
    urgency: str | None,
) -> tuple[str, ...]:
    """Return the words of tags; mentions share few combinations of them."""
    words = ["lang=" + _language(language), "sentiment=" + _known(sentiment)]
    for brand in filter(None, map(_known, brands)):
        words += ("brand=" + brand, "has=brand")
    for topic in filter(None, map(_known, topics)):
        words += ("topic=" + topic, "has=topic")
    for name, value in (("intent", intent), ("journey", journey), ("urgency", urgency)):
        if value := _known(value or ""):
            words += (f"{name}={value}", "has=" + name)
    return tuple(words)


@lru_cache(maxsize=4096)
def _above_topic(above: frozenset[str]) -> tuple[str, ...]:
    return tuple(["topic=" + topic for topic in sorted(above)])


@lru_cache(maxsize=8192)
def _known(value: str) -> str:
    """Return `normal(value)` of a field with few values."""
    return normal(value)


@lru_cache(maxsize=1024)
def _language(code: str) -> str:
    # X says "und" where it cannot tell; platforms write en-US or en_US for what Hark calls en.
    short = normal(code).replace("_", "-").partition("-")[0]
    return "unknown" if short == "und" else short


def _address(url: str) -> str:
    """Return an address as compared: no scheme, no www., no fragment, no full stop, comma or slash at its end."""
    address = normal(url)
    address = address.partition("://")[2] if "://" in address else address
    return address.removeprefix("www.").partition("#")[0].rstrip("/" + _ENDS).strip()


def _site(address: str) -> str:
    return address.partition("/")[0].rstrip(_ENDS).strip()


@lru_cache(maxsize=4096)
def _above_site(site: str) -> tuple[str, ...]:
    labels = site.split(".")
    return tuple(
        ["site=" + ".".join(labels[i:]) for i in range(max(1, min(len(labels) - 1, _MOST_PREFIXES)))]
    )


def _above_address(address: str) -> list[str]:
    path = address.partition("?")[0].rstrip("/")
    above = ["url=" + address, "url=" + path]
    end = -1
    for _ in range(_MOST_PREFIXES):
        end = path.find("/", end + 1)
        if end < 0:
            break
        above.append("url=" + path[:end].rstrip("/"))
    return above
