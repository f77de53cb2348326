"""What happened in an incident, for those who look back: Markdown, or one HTML page with its charts. Times are UTC."""

from collections.abc import Sequence
from html import escape

from hark.alerts.desk import Shown
from hark.alerts.explain import OTHER, Contribution
from hark.alerts.incidents import Bar, Member
from hark.alerts.report import STYLE, contributions
from hark.core.clock import from_ms
from hark.core.protocols import Hit

_LISTS = ("topics", "sources", "authors", "places", "terms")
_WIDTH, _HEIGHT, _LEFT, _FLOOR = 860, 170, 44, 148


def as_markdown(shown: Shown, hits: Sequence[Hit]) -> str:
    """Return the report; `hits` are the representative mentions that are still there."""
    lines = [f"# {_plain(shown.headline)}", "", *_facts(shown), ""]
    for name, parts in _divided(shown):
        lines += [f"## The excess by {name}", "", f"| {name} | observed | expected | excess |"]
        lines += ["| --- | ---: | ---: | ---: |"]
        lines += [
            f"| {_plain(part.value)} | {part.observed} | {part.expected:.2f} | {part.excess:+.2f} |"
            for part in parts
        ]
        lines += [""]
    if hits:
        lines += ["## What was said", ""]
        for hit in hits:
            lines += [f"> {_plain(hit.mention.text)}", ">", f"> {_plain(_by(hit))}", ""]
    lines += ["## What was done", "", "| time (UTC) | what | who | |", "| --- | --- | --- | --- |"]
    lines += [
        f"| {from_ms(event.at_ms):%Y-%m-%d %H:%M} | {event.kind} | {_plain(event.who or 'Hark')} | {_plain(event.note)} |"
        for event in shown.timeline
    ]
    return "\n".join(lines) + "\n"


def as_html(shown: Shown, hits: Sequence[Hit]) -> str:
    """Return the same as a page that needs nothing else, with a chart for each series."""
    parts = [
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(shown.headline)}</title>',
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head><body>',
        f"<h1>{escape(shown.headline)}</h1>",
        *(f"<p>{escape(fact.removeprefix('- '))}</p>" for fact in _facts(shown)),
    ]
    for member in shown.incident.members:
        if member.chart:
            parts += [f"<h2>{escape(member.group or 'all')}</h2>", _chart(member)]
    parts += [contributions(name, found) for name, found in _divided(shown)]
    if hits:
        parts.append("<h2>What was said</h2>")
        parts += [
            f"<blockquote>{escape(hit.mention.text)}<br>{escape(_by(hit))}</blockquote>" for hit in hits
        ]
    rows = "".join(
        f"<tr><td>{from_ms(event.at_ms):%Y-%m-%d %H:%M}</td><td>{escape(event.kind)}</td>"
        f"<td>{escape(event.who or 'Hark')}</td><td>{escape(event.note)}</td></tr>"
        for event in shown.timeline
    )
    parts.append(f"<h2>What was done</h2><table><tbody>{rows}</tbody></table></body></html>\n")
    return "\n".join(parts)


def _facts(shown: Shown) -> list[str]:
    incident = shown.incident
    ended = f"{shown.ended_at:%Y-%m-%d %H:%M}" if shown.ended_at else "not yet"
    facts = [
        f"- Rule: {_plain(incident.title)} ({incident.rule}); series: {_plain(', '.join(shown.series))}",
        f"- Began {shown.since:%Y-%m-%d %H:%M}, told {shown.opened_at:%Y-%m-%d %H:%M}, over: {ended}",
        f"- Severity: {shown.severity}, up to {shown.worst} of 10; status: {shown.status}",
        f"- Observed {shown.observed}, expected {shown.expected:.2f} ({shown.low}–{shown.high})",
    ]
    who = incident.concentration
    if who is not None and who.mentions:
        few = (
            who.pile_on
            or f"the first author wrote {who.top_author_share:.0%}, the first five {who.top_five_share:.0%}"
        )
        facts.append(f"- {who.mentions} mentions of {who.authors} authors; {few}")
    if shown.owner:
        facts.append(f"- Owner: {_plain(shown.owner)}")
    if shown.cases:
        facts.append(f"- Cases: {_plain(', '.join(shown.cases))}")
    if incident.related:
        facts.append(f"- About the same, at the same time: {', '.join(incident.related)}")
    return facts


def _divided(shown: Shown) -> list[tuple[str, Sequence[Contribution]]]:
    explanation = shown.incident.explanation
    if explanation is None:
        return []
    lists = [(name.removesuffix("s"), getattr(explanation, name)) for name in _LISTS]
    return [(name, parts) for name, parts in lists if parts and parts[0].value != OTHER]


def _chart(member: Member) -> str:
    """Return one series as SVG: bars observed, a band of what nineteen in twenty would have been."""
    bars = member.chart
    top = max([1.0, *(bar.value or 0.0 for bar in bars), *(float(bar.high) for bar in bars)])
    step = (_WIDTH - _LEFT) / len(bars)

    def height(value: float) -> float:
        return _FLOOR - value / top * (_FLOOR - 8)

    def at(number: float) -> float:
        return _LEFT + number * step

    band = [f"{at(n + 0.5):.1f},{height(bar.high):.1f}" for n, bar in enumerate(bars)]
    band += [f"{at(n + 0.5):.1f},{height(bar.low):.1f}" for n, bar in reversed(list(enumerate(bars)))]
    drawn = "".join(_rect(bar, at(n), max(step - 1, 0.5), height, member) for n, bar in enumerate(bars))
    marks = "".join(
        f'<text x="{at(n):.1f}" y="{_HEIGHT - 6}">{from_ms(bar.start):%m-%d %H:%M}</text>'
        for n, bar in enumerate(bars)
        if n % max(1, len(bars) // 6) == 0 and at(n) < _WIDTH - 60
    )
    name = escape(member.group or "all")
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img"><title>{name}: observed, and what was to be expected</title>'
        f'<text x="4" y="14">{top:.0f}</text><text x="4" y="{_FLOOR}">0</text>'
        f'<polygon points="{" ".join(band)}" fill="var(--accent)" opacity="0.2"/>{drawn}{marks}</svg>'
    )


def _rect(bar: Bar, x: float, width: float, height: object, member: Member) -> str:
    assert callable(height)
    inside = member.begin <= bar.start < member.until
    y = 8.0 if bar.value is None else height(bar.value)
    colour = "var(--negative)" if inside else "var(--muted)"
    opacity = "0.15" if bar.value is None else "1"
    value = (
        "gap" if bar.value is None else f"{bar.value:g}, expected {bar.expected:.2f} ({bar.low}–{bar.high})"
    )
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{_FLOOR - y:.1f}" fill="{colour}" '
        f'opacity="{opacity}"><title>{from_ms(bar.start):%Y-%m-%d %H:%M}: {value}</title></rect>'
    )


def _by(hit: Hit) -> str:
    author = hit.mention.author
    who = f"@{author.handle}, " if author is not None and author.handle else ""
    return f"{who}{hit.mention.source}, {hit.mention.created_at:%Y-%m-%d %H:%M}, {hit.mention.id}"


def _plain(text: str) -> str:
    """Return text on one line that Markdown takes as text."""
    for sign in "\\`*_[]<>|#":
        text = text.replace(sign, "\\" + sign)
    return " ".join(text.split())
