"""What can be new in what people say: words, pairs of words, hashtags, links and sites; and how many say it.

Counted are mentions and voices. A voice is an author, and a text with all its reposts and copies: a mention is a new
voice for a term when neither its author nor another copy of it has said the term in the time of a window before. So
within any window no author and no chain of reposts counts twice, and what a bucket counts depends on one window of
mentions before it and on nothing else.
"""

import re
from collections import Counter
from collections.abc import Iterable

from msgspec import Struct

from hark.core.mention import Mention
from hark.core.protocols import Hit
from hark.core.tokens import tokens
from hark.core.tree import Field, Node
from hark.query.fields import normal_of
from hark.trends.rising import either, said_in

SITE, LINK = "site:", "url:"
"""What the terms begin with that are no words: no token has a colon."""
_SHORTEST_WORD, _SHORTEST_OF_PAIR = 3, 4
_LONGEST_LINK = 200
_LINK = re.compile(r"https?://\S+")
_ALWAYS_SAID = frozenset(
    tokens("""
    about after again also always amp and any are because been before being but can cannot can't could
    did didn't does doesn't doing don't down even every for from get gets getting going gonna got had
    has have haven't having her here him his how i'm isn't it's its i've just know let like made make
    many may more most much must need never not now off one only other our out over own put really said
    same say says see she should since some still such take than that that's the their them then there
    these they they're thing this those though through too try under until upon use very via wait want
    was wasn't way we're well were what what's when where which while who why will with won't would
    wouldn't yes yet you you're your yours
    """)
)
"""Words of English that say nothing by themselves. Those of other languages are soon known to be said always."""


class Saying(Struct, frozen=True, gc=False):
    """One mention: when (ms), in which bucket, for which series, by whom, and the terms that it says."""

    at: int
    id: str
    start: int
    groups: tuple[str | None, ...]
    source: str
    author: str
    copy: str
    terms: tuple[str, ...]


def terms_of(hit: Hit) -> tuple[str, ...]:
    """Return what a mention says that could be new, in order; handles are left out, as they name people."""
    found = [term for term in said_in(hit) if _counts(term)]
    mention = hit.mention
    found += {LINK + link for link in _links(mention)}
    if mention.url is not None and (site := normal_of("site", mention.url)):
        found.append(SITE + site)
    return tuple(sorted(found))


def node_of(term: str) -> Node:
    """Return the condition that finds what says a term."""
    if term.startswith(SITE):
        return Field("site", "=", term.removeprefix(SITE))
    if term.startswith(LINK):
        return Field("url", "=", term.removeprefix(LINK))
    return either([term])


def term_in_words(term: str) -> str:
    """Return a term as people write it."""
    return term.removeprefix(SITE).removeprefix(LINK)


def counted(
    said: Iterable[Saying], window_ms: int, begin: int, between: str
) -> dict[int, dict[str | None, dict[str, tuple[int, int]]]]:
    """Return, for each bucket from `begin` (ms) on, series and source: mentions, and new voices.

    Of the series of `groups` themselves there are no voices; those of a term are named "group × term", with `between`.
    `said` begins at least a window before `begin`.
    """
    ordered = sorted(said, key=lambda one: (one.at, one.id))
    often = Counter(term for one in ordered for term in one.terms)
    names: dict[tuple[str | None, str], str] = {}
    heard: dict[tuple[str, str], int] = {}
    cells: dict[int, dict[str | None, dict[str, tuple[int, int]]]] = {}
    for one in ordered:
        here = cells.setdefault(one.start, {}) if one.start >= begin else None
        for group in one.groups:
            if here is not None:
                _add(here, group, one.source, False)
            for term in one.terms:
                name = names.get((group, term)) or f"{group}{between}{term}" if group is not None else term
                if often[term] == 1:
                    fresh = True
                else:
                    names[group, term] = name
                    fresh = _is_fresh(heard, name, one, window_ms)
                if here is not None:
                    _add(here, name, one.source, fresh)
    return cells


def _is_fresh(heard: dict[tuple[str, str], int], name: str, one: Saying, window_ms: int) -> bool:
    """Say whether neither author nor copy said a term in a window before, and remember that they did."""
    before = one.at - window_ms
    author, copy = (name, "by " + one.author), (name, "copy " + one.copy)
    fresh = heard.get(author, before) <= before and heard.get(copy, before) <= before
    heard[author] = heard[copy] = one.at
    return fresh


def _add(
    here: dict[str | None, dict[str, tuple[int, int]]], name: str | None, source: str, fresh: bool
) -> None:
    by = here.get(name)
    if by is None:
        here[name] = {source: (1, int(fresh))}
    else:
        mentions, voices = by.get(source, (0, 0))
        by[source] = mentions + 1, voices + fresh


def _counts(term: str) -> bool:
    if not term.isascii() and tokens(term) != term.split(" "):
        return False  # a query could not ask for it
    first, space, second = term.partition(" ")
    if space:
        return _is_word(first, _SHORTEST_OF_PAIR) and _is_word(second, _SHORTEST_OF_PAIR)
    return _is_word(term, _SHORTEST_WORD)


def _is_word(token: str, shortest: int) -> bool:
    if token[0] == "@" or token in _ALWAYS_SAID:
        return False
    long_enough = len(token) >= shortest if token.isascii() else len(token) > 1
    return long_enough and any(map(str.isalpha, token))


def _links(mention: Mention) -> Iterable[str]:
    if "://" not in mention.text:
        return ()
    found = (normal_of("url", link) for link in _LINK.findall(mention.text))
    return (link for link in found if link and len(link) <= _LONGEST_LINK)
