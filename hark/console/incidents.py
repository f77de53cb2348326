"""Incidents as people see them: within their brands, and with the words and links that the figures need."""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec
from fastapi import HTTPException
from msgspec import Struct

from hark.alerts import desk
from hark.alerts.desk import Shown, Status
from hark.alerts.incidents import Bar, Incident, Member
from hark.alerts.rules import BETWEEN, Rule, load_rules
from hark.alerts.voices import Concentration
from hark.console.access import Who
from hark.console.center import Center, sight
from hark.core.clock import from_ms, to_ms
from hark.core.errors import SettingsError
from hark.core.protocols import Hit
from hark.query.fields import normal
from hark.state.outbox import Delivery, Outbox

NOT_HERE = "There is no incident of this id, or it is not of your brands."
_PAGE = 200
_FEWEST, _MUCH = 10, 0.4
"""Mentions from which on one may speak of many people, and the share of five authors that is much."""
_SINCE = re.compile(r"^(?P<before>.*), since (?P<at>\d\d:\d\d) UTC, (?P<state>[^,]*)$", re.DOTALL)


class Page(Struct, frozen=True):
    """Incidents, the newest first; `next` is the cursor of those that follow, None at the end."""

    incidents: list[Shown]
    next: str | None


class Sentence(Struct, frozen=True):
    """A headline in parts, so that its times can be told in the viewer's zone; `since` None: all is in `before`."""

    before: str
    since: datetime | None = None
    state: str = ""
    ended: datetime | None = None
    """When it was over, in place of the state."""


def listed(
    center: Center,
    who: Who,
    statuses: Sequence[Status] | None = None,
    since: datetime | None = None,
    limit: int = 100,
    cursor: str = "",
    rule: str = "",
) -> Page:
    """Return the incidents that `who` may see; raises SettingsError for a cursor that is none, TransientError."""
    rules = _rules(center, who)
    after = read_cursor(cursor) if cursor else None
    found: list[Shown] = []
    while True:
        rows = desk.list_incidents(center.state, statuses, since, _PAGE, after)
        for shown in rows:
            after = to_ms(shown.opened_at), shown.id
            if (not rule or _of_rule(shown.incident, rule)) and may_see(who, shown.incident, rules):
                if len(found) == limit:
                    last = found[-1]
                    return Page(found, f"{to_ms(last.opened_at)},{last.id}")
                found.append(_narrowed(center, who, shown, rules))
        if len(rows) < _PAGE:
            return Page(found, None)


def seen(center: Center, who: Who, id: str) -> Shown:
    """Return one incident with its timeline; 404 where there is none, or none that `who` may see."""
    rules = _rules(center, who)
    shown = desk.get(center.state, id) if "\0" not in id else None
    if shown is None or not may_see(who, shown.incident, rules):
        raise HTTPException(404, NOT_HERE)
    return _narrowed(center, who, shown, rules)


def may_see(who: Who, incident: Incident, rules: Mapping[str, Rule]) -> bool:
    """Say whether every series of an incident is one of a brand that `who` sees."""
    if who.brands is None:
        return True
    mine = {normal(brand) for brand in who.brands}
    return all(_brand(member, rules.get(member.rule)) in mine for member in incident.members)


def deliveries(center: Center, who: Who, id: str) -> list[Delivery]:
    """Return who was told of an incident, the newest first; nothing to those who see some brands alone."""
    return Outbox(center.state).deliveries(id) if who.brands is None else []


def mentions(center: Center, who: Who, incident: Incident) -> list[Hit]:
    """Return the representative mentions that are still there, in their order."""
    found = sight(center, who).many(incident.mentions)
    return [found[id] for id in incident.mentions if id in found]


def sentence(shown: Shown) -> Sentence:
    """Return the headline with its time apart."""
    found = _SINCE.match(shown.headline)
    # The figures are those of the leading series; others may have begun earlier.
    times = (began(shown), shown.since)
    since = next((at for at in times if found is not None and f"{at:%H:%M}" == found["at"]), None)
    if found is None or since is None:
        return Sentence(shown.headline)
    over = shown.ended_at if found["state"].startswith("over at ") else None
    return Sentence(found["before"], since, found["state"], over)


def began(shown: Shown) -> datetime:
    """Return since when the leading series, whose figures an incident shows, is out of the usual."""
    return from_ms(shown.incident.leading.since)


def concentration_in_words(found: Concentration | None) -> str:
    """Return who speaks, in one or two plain sentences; "" where nothing is known."""
    if found is None or not found.mentions:
        return ""
    told = [f"{found.mentions:,} mentions by {found.authors:,} authors"]
    told.append(
        f"the first author wrote {found.top_author_share:.0%}, the first five {found.top_five_share:.0%}"
    )
    if found.copies:
        told.append(f"{found.copies:.0%} are reposts and copies of one text")
    if found.bots:
        told.append(f"{found.bots:.0%} were probably written by programs")
    if found.pile_on:
        verdict = f"This looks like the work of a few: {found.pile_on}."
    elif found.mentions < _FEWEST:
        verdict = "Too few to say whether it is many people."
    elif found.top_five_share >= _MUCH:
        verdict = "A few write much of it, though not most."
    else:
        verdict = "No few stand out: these are many people."
    return f"{verdict} {'; '.join(told)}."


def severity_word(severity: int) -> str:
    """Return what a severity of 0 to 10 is called."""
    return "critical" if severity >= 8 else "serious" if severity >= 5 else "slight" if severity else "over"


def spark(bars: Sequence[Bar], width: int = 96, height: int = 20, most: int = 48) -> str:
    """Return the points of a small line of all that was counted, gaps left out; "" where there are too few."""
    size = -(-len(bars) // most) or 1
    points: list[tuple[int, float]] = []
    for first in range(0, len(bars), size):
        known = [bar.value for bar in bars[first : first + size] if bar.value is not None]
        if known:
            points.append((first, sum(known) / len(known)))
    if len(points) < 2:
        return ""
    top = max(1.0, *(value for _, value in points))
    return " ".join(
        f"{first * width / len(bars):.1f},{height - 1 - value / top * (height - 2):.1f}"
        for first, value in points
    )


def read_cursor(text: str) -> tuple[int, str]:
    """Return where a page of incidents begins; raises SettingsError."""
    opened, _, id = text.partition(",")
    if not (opened.isascii() and opened.isdigit() and len(opened) < 16 and id.isalnum()):
        raise SettingsError(f"cursor: expected `next` of the page before, found {text[:40]!r}")
    return int(opened), id


def _rules(center: Center, who: Who) -> Mapping[str, Rule]:
    """Return the rules, where it depends on them what one sees."""
    return {} if who.brands is None else load_rules(center.settings.config)


def _of_rule(incident: Incident, rule: str) -> bool:
    return any(member.rule == rule for member in incident.members)


def _brand(member: Member, rule: Rule | None) -> str | None:
    """Return the brand that a series is of, None where it is not of one alone."""
    if rule is None or "brand" not in rule.group_by or member.group is None:
        return None
    group, _ = rule.divided(member.group)
    values = (group or "").split(BETWEEN)
    return values[rule.group_by.index("brand")] if len(values) == len(rule.group_by) else None


def _narrowed(center: Center, who: Who, shown: Shown, rules: Mapping[str, Rule]) -> Shown:
    """Return an incident as those see it who see some brands alone: without what colleagues wrote, and others'."""
    if who.brands is None:
        return shown
    others = (desk.get(center.state, id) for id in shown.incident.related)
    related = tuple(one.id for one in others if one is not None and may_see(who, one.incident, rules))
    return msgspec.structs.replace(
        shown,
        owner="",
        acknowledged_by="",
        cases=(),
        incident=msgspec.structs.replace(shown.incident, related=related, notify=()),
        timeline=tuple(event for event in shown.timeline if not event.who),
    )
