"""Incidents and alert rules: what is going on, what is done about it, and rules tried on history."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, HTTPException, Query, Request, Response
from fastapi import Path as InPath
from pydantic import AwareDatetime, BaseModel, Field

from hark.alerts import desk
from hark.alerts.desk import Action, Shown, Status
from hark.alerts.explain import Contribution
from hark.alerts.incidents import Member, interval
from hark.alerts.outbox import enqueuer
from hark.alerts.post_mortem import as_html, as_markdown
from hark.alerts.rules import Rule, RuleError, find_rule, load_file, load_rules
from hark.alerts.targets import load_targets
from hark.console.access import Asker, Who, allow
from hark.console.center import Center, Parts
from hark.console.found import FlatMention, told_whole
from hark.console.incidents import deliveries, listed, mentions, seen
from hark.console.problems import problem
from hark.console.trial import RuleIn, Trial, tried
from hark.core.clock import EARLIEST, from_ms
from hark.core.errors import SettingsError
from hark.export import mask
from hark.query import parse

router = APIRouter(prefix="/api/v1", tags=["alerts"])
DONE: dict[Action, str] = {
    "acknowledge": "acknowledged",
    "silence": "silenced",
    "own": "handed over",
    "note": "noted on",
    "link": "linked a case to",
    "resolve": "resolved",
    "reopen": "reopened",
}
_DAY_MINUTES = 1_440
_WRONG: dict[int | str, dict[str, Any]] = {
    400: {"description": "Something cannot be done; `detail` says what and why"}
}
_NONE: dict[int | str, dict[str, Any]] = {404: {"description": "No such incident, or none of your brands"}}
_Id = Annotated[str, InPath(max_length=60, description="The incident's id", examples=["k3j9x2ab"])]


class Row(BaseModel):
    """An incident in figures: those of its leading series, the one furthest from what was expected."""

    id: str
    status: Status
    severity: int = Field(description="1 to 10 now; 0 once it is over")
    worst: int = Field(description="The highest severity that it had")
    headline: str
    rule: str
    title: str
    series: list[str]
    observed: int
    expected: float
    low: int = Field(description="With `high` the counts that nineteen in twenty such windows would have had")
    high: int
    trend: Literal["rising", "steady", "falling"]
    since: datetime
    opened_at: datetime
    ended_at: datetime | None = Field(description="When the figures were back to what is usual")
    owner: str
    acknowledged_at: datetime | None
    acknowledged_by: str
    silenced_until: datetime | None


class Rows(BaseModel):
    """Incidents, the newest first. Ask for `next` as `cursor` to get those that follow."""

    incidents: list[Row]
    next: str | None


class Part(BaseModel):
    """One part of an excess; `query` finds its observed mentions between `since` and `until`."""

    value: str
    observed: int
    expected: float
    excess: float
    query: str


class Excess(BaseModel):
    """What was counted beyond what was expected, divided in five ways; each list adds up to it in hundredths."""

    excess: float
    since: datetime
    until: datetime
    query: str
    core: str = Field(description="Finds the mentions that the incident is about")
    topics: list[Part]
    sources: list[Part]
    authors: list[Part]
    places: list[Part]
    terms: list[Part]


class Five(BaseModel):
    """Five minutes of a series: the count (null in a gap), what was expected, and the interval around it."""

    at: datetime
    value: float | None
    expected: float
    low: float
    high: float


class Series(BaseModel):
    """One series of an incident."""

    rule: str
    series: str
    since: datetime
    begin: datetime
    until: datetime
    observed: int
    expected: float
    low: int
    high: int
    severity: int
    ended_at: datetime | None
    chart: list[Five]


class Event(BaseModel):
    """One entry of the timeline; `who` is empty for Hark itself."""

    number: int
    at: datetime
    kind: str
    who: str
    note: str
    severity: int


class Told(BaseModel):
    """What became of one event for one target."""

    number: int
    kind: str
    target: str
    via: str
    state: Literal["pending", "sent", "failed", "cancelled"]
    attempts: int
    error: str
    due_at: datetime
    sent_at: datetime | None


class Whole(Row):
    """All that is known of an incident."""

    place: str
    excess: Excess | None
    members: list[Series]
    concentration: dict[str, Any] | None = Field(description="How many speak, and whether a few make it up")
    mentions: list[FlatMention] = Field(description="The nearest to the middle of all; personal data masked")
    timeline: list[Event]
    deliveries: list[Told]
    related: list[str] = Field(description="Incidents about the same that began within the hour")
    cases: list[str]


class Act(BaseModel):
    """What goes with an action: a note, the new owner's name, the case's id; or for how long to be silent."""

    text: str = Field(default="", max_length=10_000, pattern=r"^[^\x00]*$")
    minutes: int | None = Field(default=None, ge=1, le=30 * _DAY_MINUTES, description="silence: for how long")


class RuleOut(RuleIn):
    """A rule as it stands in alerts.toml, and what it watches in words."""

    watches: str


@router.get("/incidents", dependencies=[allow("alerts")], responses=_WRONG)
def list_incidents(
    center: Parts,
    who: Asker,
    status: Annotated[
        list[Status] | None, Query(max_length=3, description="Several may be given; all when left out")
    ] = None,
    since: Annotated[AwareDatetime | None, Query(description="Opened from this time on")] = None,
    rule: Annotated[str, Query(max_length=100, description="Of this rule alone")] = "",
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
    cursor: Annotated[str, Query(max_length=100, description="`next` of the page before")] = "",
) -> Rows:
    """Return incidents, the newest first."""
    found = listed(center, who, status, None if since is None else _sound(since), limit, cursor, rule)
    return Rows(incidents=[Row(**_row(shown)) for shown in found.incidents], next=found.next)


@router.get("/incidents/{id}", dependencies=[allow("alerts")], responses=_NONE)
def show_incident(id: _Id, center: Parts, who: Asker) -> Whole:
    """Return one incident: figures, reasons, mentions, timeline, and who was told."""
    return _whole(center, who, seen(center, who, id))


@router.get(
    "/incidents/{id}/post-mortem",
    dependencies=[allow("alerts")],
    responses={**_NONE, 200: {"content": {"text/markdown": {}, "text/html": {}}}},
    response_class=Response,
)
def download_post_mortem(
    id: _Id,
    center: Parts,
    who: Asker,
    format: Annotated[Literal["md", "html"], Query(description="Markdown, or a page with charts")] = "md",
) -> Response:
    """Return what happened as one file, for those who look back; personal data masked."""
    shown = seen(center, who, id)
    hits = [mask(hit) for hit in mentions(center, who, shown.incident)]
    center.people.note(who.name, "exported", f"post-mortem of incident {shown.id}", who.address)
    text, media = (as_markdown(shown, hits), "markdown") if format == "md" else (as_html(shown, hits), "html")
    named = {"Content-Disposition": f'attachment; filename="incident-{shown.id}.{format}"'}
    return Response(text, media_type=f"text/{media}; charset=utf-8", headers=named)


@router.post("/incidents/{id}/{action}", dependencies=[allow("respond")], responses={**_NONE, **_WRONG})
def act(id: _Id, action: Action, center: Parts, who: Asker, given: Act | None = None) -> Whole:
    """Do something about an incident, in one's own name; it stands in the timeline and in the audit log.

    `acknowledge`, `resolve` and `reopen` take a note if you like, `note` needs one; `silence` needs `minutes`; `own`
    takes the name of whose it is from now on ("" for nobody's), `link` the id of a case.
    """
    seen(center, who, id)
    given = given or Act()
    if action == "silence" and given.minutes is None:
        raise SettingsError("minutes: expected for how long to be silent")
    if action == "own" and given.text.strip() and center.people.find(given.text.strip()) is None:
        raise SettingsError(f"text: nobody here is named {given.text.strip()[:60]!r}")
    moment = center.clock()
    until = moment + timedelta(minutes=given.minutes or 0) if action == "silence" else None
    enqueue = enqueuer(load_targets(center.settings.config), center.clock)
    shown = desk.act(center.state, id, who.name, action, given.text, until, enqueue, center.clock)
    center.people.note(
        who.name, "incident", f"{DONE[action]} {id}: {shown.timeline[-1].note}"[:500], who.address
    )
    return _whole(center, who, seen(center, who, id))


@router.get("/rules", dependencies=[allow("alerts")], responses=_WRONG)
def list_rules(center: Parts, who: Asker) -> list[RuleOut]:
    """Return the rules of alerts.toml; to those who see some brands alone, the rules that look at each brand."""
    rules = load_rules(center.settings.config)
    return [
        RuleOut(**_entry(entry, who), watches=watches(rules[entry.name]))
        for entry in load_file(center.settings.config).rule
        if who.brands is None or "brand" in rules[entry.name].group_by
    ]


class Question(BaseModel):
    """Which rule to try: one of alerts.toml by `name`, or any by `rule`; and on which time."""

    name: str | None = Field(default=None, max_length=100, examples=["complaint-spike"])
    rule: RuleIn | None = None
    since: AwareDatetime | None = Field(default=None, description="30 days ago when left out")
    until: AwareDatetime | None = Field(
        None, description="The last five minutes that are closed when left out"
    )
    incidents: str = Field(
        default="",
        max_length=100_000,
        pattern=r"^[^\x00]*$",
        description="Incidents that you know of, as CSV: begin, end, and if you like name, series, peak",
    )


@router.post(
    "/rules/backtest",
    dependencies=[allow("rules")],
    response_model=Trial,
    responses={**_WRONG, 503: {"description": "Others are being tried right now; try again"}},
)
def backtest(asked: Question, request: Request, center: Parts, who: Asker) -> Any:
    """Try a rule on history: when it would have told, of what and why, and what other thresholds would have done.

    It takes at most some twenty seconds; what would take longer is told so, and is for `hark backtest`.
    """
    if who.brands is not None:
        raise HTTPException(403, "A trial looks at all brands; you see some of them alone.")
    if (asked.name is None) == (asked.rule is None):
        raise SettingsError("expected name or rule, one of them")
    config = center.settings.config
    if asked.name is not None:
        find_rule(config, asked.name)
        entry = next(one for one in load_file(config).rule if one.name == asked.name)
    else:
        assert asked.rule is not None
        entry = asked.rule.entry()
    until = _sound(asked.until) if asked.until is not None else center.clock()
    since = _sound(asked.since) if asked.since is not None else until - timedelta(days=30)
    try:
        found = tried(center.settings, entry, since, until, asked.incidents)
    except RuleError as error:
        place = {"key": error.key, "problem": error.problem, "position": error.position}
        return problem(request, 400, str(error), rule=place)
    center.people.note(who.name, "tried a rule", f"{entry.name}: {found.alerts_found} alerts", who.address)
    return found


_MOVED = {"up": "higher", "down": "lower", "either": "higher or lower"}


def watches(rule: Rule) -> str:
    """Return in one sentence what a rule looks at."""
    what = {
        "count": "mentions",
        "complaints": "complaints",
        "share-negative": "the share of negative mentions",
        "net-sentiment": "net sentiment",
        "share": f"the share of {rule.part.text if rule.part else ''}",
        "reach": "mentions weighted by reach",
        "authors": "distinct authors",
    }[rule.metric]
    minutes = rule.window_seconds // 60
    window = f"{minutes} minutes" if minutes < 120 or minutes % 60 else f"{minutes // 60} hours"
    amount = f"{rule.threshold:.0%}" if 0 < rule.threshold <= 1 else f"{rule.threshold:g}"
    how = {
        "spike": "above what level, hour and weekday led one to expect",
        "threshold": f"at {amount} or more within {window}",
        "flatline": f"far fewer than usual for {window}, though the sources answer",
        "change": f"{_MOVED[rule.direction]} than is usual, within {window}",
        "ratio": f"more than its usual part of all, within {window}",
        "new-term": f"a word, pair, hashtag or link hardly ever said before is said by several within {window}",
        "source": f"a source does not answer for {window}",
    }[rule.detector]
    if rule.detector == "source":
        return how.capitalize() + "."
    of = f" of each {' and '.join(rule.group_by)}" if rule.group_by else ""
    where = f", among {rule.query.text.strip()}" if rule.query.text.strip() else ""
    return f"{what.capitalize()}{of}{where}: {how}."


def _row(shown: Shown) -> dict[str, Any]:
    incident = shown.incident
    own = {name: getattr(shown, name) for name in Row.model_fields if hasattr(shown, name)}
    return {
        **own,
        "series": list(shown.series),
        "rule": incident.rule,
        "title": incident.title,
        "trend": incident.trend,
    }


def _whole(center: Center, who: Who, shown: Shown) -> Whole:
    incident = shown.incident
    explanation, window = incident.explanation, incident.explained
    excess = None
    if explanation is not None and window is not None:
        excess = Excess(
            excess=explanation.excess,
            since=from_ms(window.begin),
            until=from_ms(window.end),
            query=explanation.query,
            core=explanation.core,
            topics=_parts(explanation.topics),
            sources=_parts(explanation.sources),
            authors=_parts(explanation.authors),
            places=_parts(explanation.places),
            terms=_parts(explanation.terms),
        )
    return Whole(
        **_row(shown),
        place=incident.place,
        excess=excess,
        members=[_series(member) for member in incident.members],
        concentration=msgspec.to_builtins(incident.concentration),
        mentions=[
            FlatMention(told_whole(hit, parse(""), center.taxonomy))
            for hit in mentions(center, who, incident)
        ],
        timeline=[
            Event(
                number=one.number,
                at=from_ms(one.at_ms),
                kind=one.kind,
                who=one.who,
                note=one.note,
                severity=one.severity,
            )
            for one in shown.timeline
        ],
        deliveries=[
            Told(
                number=one.number,
                kind=one.kind,
                target=one.target,
                via=one.via,
                state=one.state,
                attempts=one.attempts,
                error=one.error,
                due_at=from_ms(one.due_ms),
                sent_at=None if one.sent_ms is None else from_ms(one.sent_ms),
            )
            for one in deliveries(center, who, shown.id)
        ],
        related=list(incident.related),
        cases=list(shown.cases),
    )


def _parts(found: tuple[Contribution, ...]) -> list[Part]:
    return [Part(**msgspec.structs.asdict(part)) for part in found]


def _series(member: Member) -> Series:
    low, high = interval(member)
    return Series(
        rule=member.rule,
        series=member.group or "all",
        since=from_ms(member.since),
        begin=from_ms(member.begin),
        until=from_ms(member.until),
        observed=member.observed,
        expected=round(member.expected, 2),
        low=low,
        high=high,
        severity=member.severity,
        ended_at=None if member.ended is None else from_ms(member.ended),
        chart=[
            Five(at=from_ms(bar.start), value=bar.value, expected=bar.expected, low=bar.low, high=bar.high)
            for bar in member.chart
        ],
    )


def _entry(entry: Any, who: Who) -> dict[str, Any]:
    found = RuleIn.of(entry).model_dump()
    return found if who.brands is None else {**found, "notify": []}


def _sound(instant: datetime) -> datetime:
    # A time at the edge of the calendar cannot be brought to UTC.
    try:
        return max(instant.astimezone(UTC), EARLIEST)
    except OverflowError:
        return EARLIEST
