"""Who speaks: how many people a mention may reach, how far its author's word carries, whether a program writes.

Judged from what the platform gave with this one mention: the account's numbers, its handle, name and description,
and the mention's own counts. No traits of persons (sex, age, origin, belief, health, party) are looked for.

- reach: 10 · log10(1 + people), people being the largest of followers, views, and reactions (likes + reposts +
  replies + quotes): at least so many could see it, or did. 30 is a thousand, 60 a million.
- influence, 0 to 100: a sum of named parts. Followers alone do not make people pass on or answer what one says
  (M. Cha and others, "Measuring user influence in Twitter: the million follower fallacy", ICWSM 2010): hence the
  audience (5 · log10(1 + followers), up to 40), what is passed on (10 · log10(1 + reposts + quotes), up to 30) and
  what is answered (5 · log10(1 + replies), up to 15) are parts of their own. Then the ratio of followers to
  following (I. Anger and C. Kittl, "Measuring influence on Twitter", i-KNOW 2011): up to 10, where both are known
  and it has 100 followers; and 5 for a verified account. The weights are chosen by hand.
- automation: log-odds, from one in ten (9 to 15 % of accounts were programs: O. Varol and others, "Online human-bot
  interactions", ICWSM 2017), plus the weight of each sign. Signs: it says so itself; a client that posts by itself;
  50 posts a day and more, year in, year out (B. Kollanyi and others, "Bots and automation over Twitter during the
  U.S. election", 2016); following many times as many as follow back (Z. Chu and others, "Detecting automation of
  Twitter accounts", IEEE TDSC 9, 2012); a young account; an empty profile; a handle as platforms propose it. What
  speaks against it: verified, or older than five years. Never above .95 unless the platform marks it as a bot.

Each is None where nothing was given to judge by.
"""

import re
from collections.abc import Sequence
from datetime import UTC
from math import exp, log10

from enrich import Context
from hark.core.draft import Draft
from hark.core.mention import Author, Mention, Metrics, Reason

_PRIOR = -2.2
"""Log-odds of one in ten."""
_MOST_TEXT = 1_000
_HANDLE = re.compile(r"(?:[_-](?:[Bb]ot|BOT)|[a-z0-9]B(?:ot|OT))\d{0,4}$|^[Bb]ot[_-]|^[Aa]uto[Mm]oderator$")
_PROPOSED = re.compile(r"[A-Za-z]\d{8,}$|^[A-Z][a-z]+[_-][A-Z][a-z]+[_-]?\d{3,}$")
_SAYS_SO = re.compile(
    r"\b(?:i am|i'm|i’m|this is|just|only) an? (?:\w+ ){0,2}(?:bot|robot)\b|\bbot (?:account|by|made by|run by|that)\b"
    r"|\bautomated (?:account|bot|feed|posts|tweets|updates)\b|\btweets automatically\b|\bposts automatically\b|🤖"
)
_POSTS_BY_ITSELF = re.compile(
    r"\b(?:ifttt|dlvr\.?it|twitterfeed|twittbot|zapier|feed2\w*|rss|make\.com|cron\w*)\b|bot\b|bots\b",
    re.IGNORECASE,
)


class AuthorSigns:
    """Fills in `reach`, `influence` and `automation`; what was counted stands among the reasons."""

    name = "author"
    version = "1"

    def enrich(self, drafts: Sequence[Draft]) -> None:
        """Judge each draft by its author and its counts."""
        for draft in drafts:
            mention = draft.mention
            author, counts = mention.author, mention.metrics
            if author is None and counts is None and mention.client is None:
                continue
            draft.reach = _reach(author, counts, draft.reasons)
            draft.influence = _influence(author, counts, draft.reasons)
            draft.automation = _automation(mention, draft.reasons)


def build(context: Context) -> AuthorSigns:
    """Return the step; it has no options."""
    return AuthorSigns()


def _reach(author: Author | None, counts: Metrics | None, reasons: list[Reason]) -> int | None:
    people, what = -1, ""
    if author is not None and author.followers is not None:
        people, what = max(0, author.followers), "followers"
    if counts is not None:
        if counts.views is not None and counts.views > people:
            people, what = counts.views, "views"
        reactions = _sum(counts.likes, counts.reposts, counts.replies, counts.quotes)
        if reactions is not None and reactions > people:
            people, what = reactions, "reactions"
    if not what:
        return None
    value = round(10 * _magnitude(people))
    reasons.append(Reason("reach", f"{people:,} {what}", value))
    return value


def _influence(author: Author | None, counts: Metrics | None, reasons: list[Reason]) -> int | None:
    followers = following = passed_on = answered = None
    if author is not None:
        followers, following = author.followers, author.following
    if counts is not None:
        passed_on, answered = _sum(counts.reposts, counts.quotes), counts.replies
    if followers is None and passed_on is None and answered is None:
        return None
    parts = []
    if followers:
        parts.append((min(40, round(5 * _magnitude(followers))), f"audience: {followers:,} followers"))
    if passed_on:
        parts.append((min(30, round(10 * _magnitude(passed_on))), f"passed on: {passed_on:,} times"))
    if answered:
        parts.append((min(15, round(5 * _magnitude(answered))), f"answered: {answered:,} replies"))
    if followers is not None and followers >= 100 and following is not None and following >= 0:
        share = round(10 * followers / (followers + following))
        parts.append((share, f"followed more than following: {following:,}"))
    if author is not None and author.verified:
        parts.append((5, "verified"))
    total = 0
    for points, why in parts:
        if points > 0:
            total += points
            reasons.append(Reason("influence", why, points))
    return total


def _automation(mention: Mention, reasons: list[Reason]) -> float | None:
    author = mention.author or _NOBODY
    if author.bot:
        reasons.append(Reason("automation", "the platform marks it as a bot", 1.0))
        return 0.99
    signs = _said(mention, author) + _measured(mention, author)
    # A proposed handle alone, or the plain absence of signs, is no ground where the account is not described.
    described = author.bot, author.verified, author.created_at, author.following, author.posts
    if not signs and described == _UNDESCRIBED:
        return None
    handle = (author.handle or "").partition("@")[0]
    if _PROPOSED.search(handle):
        signs.append((0.5, "a handle as platforms propose it"))
    reasons += [Reason("automation", why, weight) for weight, why in signs]
    odds = _PRIOR + sum(weight for weight, _ in signs)
    return round(min(0.95, 1 / (1 + exp(-odds))), 2)


def _said(mention: Mention, author: Author) -> list[tuple[float, str]]:
    """Return the signs in words: (log-odds, why)."""
    signs = []
    handle, name, description, client = author.handle, author.name, author.description, mention.client
    if handle and _HANDLE.search(handle.removeprefix("@").partition("@")[0].partition(".")[0]):
        signs.append((3.0, "its handle says bot"))
    elif (description and _says_so(description[:_MOST_TEXT])) or (name and "🤖" in name[:_MOST_TEXT]):
        signs.append((4.0, "it says that it is a program"))
    if client and _POSTS_BY_ITSELF.search(client[:_MOST_TEXT]):
        signs.append((3.0, "posted by a program that posts by itself"))
    return signs


def _says_so(text: str) -> bool:
    lower = text.lower()
    if "bot" not in lower and "automat" not in lower and "🤖" not in lower:
        return False  # nearly all, at a tenth of the price of the search
    return _SAYS_SO.search(lower) is not None


def _measured(mention: Mention, author: Author) -> list[tuple[float, str]]:
    """Return the signs in numbers: (log-odds, why)."""
    signs = []
    followers, following, posts = author.followers, author.following, author.posts
    made = author.created_at
    if made is not None:
        made = made if made.tzinfo is not None else made.replace(tzinfo=UTC)
        days = (mention.created_at - made).total_seconds() / 86_400
        if 0 <= days < 30:
            signs.append((0.7, "an account younger than 30 days"))
        elif days > 5 * 365:
            signs.append((-0.5, "an account older than five years"))
        if posts is not None and days >= 0 and posts >= 50 * max(30.0, days):
            signs.append((2.5, "50 posts a day and more, all the time"))
        if not author.description:
            signs.append((0.3, "no description"))
    if followers is not None and following is not None and following >= 1_000 and following > 10 * followers:
        signs.append((1.0, "follows more than ten times as many as follow it"))
    if author.verified:
        signs.append((-1.5, "verified"))
    return signs


def _magnitude(number: int) -> float:
    """Return log10(1 + number), 10 at most; below nothing is nothing."""
    return min(10.0, log10(1 + number)) if number > 0 else 0.0


def _sum(*numbers: int | None) -> int | None:
    total = None
    for number in numbers:
        if number is not None:
            total = (total or 0) + max(0, number)
    return total


_NOBODY = Author()
_UNDESCRIBED = (None,) * 5
