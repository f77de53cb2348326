"""A backtest as one HTML page that needs nothing else: no script, no fonts, no address outside."""

from collections.abc import Sequence
from datetime import datetime
from html import escape

from hark.alerts.backtest import Alert, Backtest, Bar, Outcome
from hark.alerts.explain import Contribution
from hark.alerts.rules import BUCKET_SECONDS, Rule

_WIDTH, _HEIGHT, _LEFT, _BOTTOM = 860, 170, 44, 22
STYLE = """
:root { --page: #f7f7f5; --card: #fff; --ink: #1b1d22; --muted: #5b6270; --line: #d9dbe0; --accent: #1f5fbf;
  --negative: #b3341f; --warning: #8a5a00; color-scheme: light dark }
@media (prefers-color-scheme: dark) { :root { --page: #14161a; --card: #1c1f25; --ink: #e8eaee; --muted: #a0a7b4;
  --line: #343a44; --accent: #7fb0ff; --negative: #ff8a73; --warning: #e3b04b } }
body { font: 14px/1.45 system-ui, sans-serif; font-variant-numeric: tabular-nums; color: var(--ink);
  background: var(--page); max-width: 900px; margin: 24px auto; padding: 0 16px }
h1 { font-size: 20px } h2 { font-size: 16px; margin-top: 32px } p { margin: 4px 0 }
code { overflow-wrap: anywhere; color: var(--muted) }
svg { width: 100%; height: auto; background: var(--card); border-radius: 6px; margin: 8px 0 }
svg text { font-size: 11px; fill: var(--muted) }
table { border-collapse: collapse; margin: 8px 0 } caption { text-align: left; color: var(--muted) }
th, td { text-align: right; padding: 2px 12px 2px 0; border-bottom: 1px solid var(--line) }
th:first-child, td:first-child { text-align: left }
"""


def page(result: Backtest, rule: Rule) -> str:
    """Return the whole report as HTML; times are UTC."""
    title = f"{rule.title}: tried on {_time(result.since)} to {_time(result.until)}"
    parts = [
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>',
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head><body>',
        f"<h1>{escape(title)}</h1>",
        f"<p>Rule <b>{escape(rule.name)}</b>: {rule.metric} by {rule.by}, detector {rule.detector}, "
        f"threshold {rule.threshold:g}; {result.series} series, {_counted(result)}. "
        f"All times are UTC.</p>",
        f"<p>{_summary(result)}</p>",
        _curve(result),
        _outcomes(result.outcomes),
        *(_alert(alert, rule) for alert in result.alerts),
        "</body></html>\n",
    ]
    return "\n".join(parts)


def _summary(result: Backtest) -> str:
    shipped = result.shipped
    text = f"<b>{shipped.alerts}</b> alerts, {shipped.alerts_a_week:.2f} a week."
    if result.labelled:
        text += (
            f" Of {len(result.outcomes)} known incidents <b>{shipped.hits}</b> were seen and {shipped.misses} missed; "
            f"{shipped.false_alarms} false alarms, {shipped.false_alarms_a_week:.2f} a week."
        )
    if result.blind_buckets:
        text += f" {result.blind_buckets} buckets have gaps of a source, and were judged without it."
    return f"{text} {result.basis}".rstrip()


def _counted(result: Backtest) -> str:
    first = result.counted_from
    return "no mention that it counts" if first is None else f"counted from {_time(first)}"


def _curve(result: Backtest) -> str:
    heads = ["threshold", "alerts", "a week"]
    if result.labelled:
        heads += ["hits", "misses", "false", "false a week", "median delay"]
    rows = []
    for point in result.curve:
        row = [
            f"{point.threshold:g}" + (" (the rule)" if point.threshold == result.shipped.threshold else ""),
            str(point.alerts),
            f"{point.alerts_a_week:.2f}",
        ]
        if result.labelled:
            row += [str(point.hits), str(point.misses), str(point.false_alarms)]
            row += [f"{point.false_alarms_a_week:.2f}", _minutes(point.median_delay_seconds)]
        rows.append(row)
    return "<h2>Other thresholds</h2>" + _table(heads, rows)


def _outcomes(outcomes: Sequence[Outcome]) -> str:
    if not outcomes:
        return ""
    heads = ("incident", "begins", "first told", "after its begin", "before its peak")
    rows = [
        [
            outcome.label.name,
            _time(outcome.label.begin),
            first_told(outcome),
            _minutes(None if outcome.before_begin_seconds is None else -outcome.before_begin_seconds),
            _minutes(outcome.before_peak_seconds),
        ]
        for outcome in outcomes
    ]
    return "<h2>Incidents that are known</h2>" + _table(heads, rows)


def first_told(outcome: Outcome) -> str:
    """Return when an incident was first told of, or that it was missed, in words for a table."""
    if outcome.told_at is not None:
        return _time(outcome.told_at)
    if outcome.lasting_since is not None:
        return f"missed, in the alert of {_time(outcome.lasting_since)}"
    return "missed"


def _alert(alert: Alert, rule: Rule) -> str:
    word = "allowed by the threshold" if rule.detector == "threshold" else "expected"
    minutes = (alert.window_end - alert.window_begin).total_seconds() / 60
    saw = f" Saw {', '.join(alert.incidents)}." if alert.incidents else ""
    over = f"over {_time(alert.ended_at)}" if alert.ended_at else "still lasting"
    return "\n".join(
        [
            f"<h2>{_time(alert.told_at)} · {escape(alert.title)} · severity {alert.severity}</h2>",
            f"<p>{alert.observed:,} in {minutes:g} minutes, {alert.expected:,.2f} {word}: "
            f"<b>{alert.explanation.excess:+.2f}</b>; later up to severity {alert.worst}, {over}.{escape(saw)}</p>",
            chart(alert),
            contributions("topic", alert.explanation.topics),
            contributions("source", alert.explanation.sources),
            contributions("author", alert.explanation.authors),
            contributions("term", alert.explanation.terms),
            f"<p><code>{escape(alert.explanation.query)}</code> from {_time(alert.window_begin)} "
            f"to {_time(alert.window_end)}</p>",
        ]
    )


def contributions(name: str, parts: Sequence[Contribution]) -> str:
    """Return the parts of an excess as a table."""
    rows = [
        [part.value, f"{part.observed:,}", f"{part.expected:,.2f}", f"{part.excess:+,.2f}"] for part in parts
    ]
    return _table((name, "observed", "expected", "difference"), rows)


def chart(alert: Alert) -> str:
    """Return the series around an alert as SVG: bars observed, a line expected, dashes the upper edge, gaps grey."""
    bars = alert.chart
    top = max([1.0, *(bar.value or 0.0 for bar in bars), *(bar.upper for bar in bars)])
    step = (_WIDTH - _LEFT) / max(len(bars), 1)
    floor = _HEIGHT - _BOTTOM

    def height(value: float) -> float:
        return floor - value / top * (floor - 8)

    drawn = []
    for at, bar in enumerate(bars):
        inside = alert.window_begin <= bar.start < alert.window_end
        colour = "var(--negative)" if inside else "var(--muted)"
        y = height(bar.value) if bar.value is not None else 8
        opacity = "1" if bar.value is not None else "0.15"
        said = f"{_time(bar.start)}: " + (
            "gap" if bar.value is None else f"{bar.value:g}, expected {bar.expected:.2f}"
        )
        drawn.append(
            f'<rect x="{_LEFT + at * step:.1f}" y="{y:.1f}" width="{max(step - 1, 0.5):.1f}" '
            f'height="{floor - y:.1f}" fill="{colour}" opacity="{opacity}"><title>{said}</title></rect>'
        )
    expected = _line([height(bar.expected) for bar in bars], step, "")
    upper = _line([height(bar.upper) for bar in bars], step, ' stroke-dasharray="3 3"')
    marks = [
        f'<text x="{_LEFT + at * step:.1f}" y="{_HEIGHT - 6}">{bar.start:%m-%d %H:%M}</text>'
        for at, bar in enumerate(bars)
        if at % 72 == 0 and at * step < _WIDTH - _LEFT - 60
    ]
    told = _LEFT + _place(bars, alert.told_at) * step
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img"><title>{escape(alert.title)}: observed, '
        f"expected (line), upper edge (dashes); told at {_time(alert.told_at)}</title>"
        f'<text x="4" y="14">{top:.0f}</text><text x="4" y="{floor}">0</text>{"".join(drawn)}{expected}{upper}'
        f'<line x1="{told:.1f}" x2="{told:.1f}" y1="4" y2="{floor}" stroke="var(--warning)"/>'
        f'<text x="{told + 4:.1f}" y="14">told</text>{"".join(marks)}</svg>'
    )


def _place(bars: Sequence[Bar], moment: datetime) -> float:
    """Return where a moment stands among the bars, in bars from the first."""
    return (moment - bars[0].start).total_seconds() / BUCKET_SECONDS if bars else 0.0


def _line(heights: Sequence[float], step: float, more: str) -> str:
    points = " ".join(f"{_LEFT + (at + 0.5) * step:.1f},{y:.1f}" for at, y in enumerate(heights))
    return f'<polyline points="{points}" fill="none" stroke="var(--accent)"{more}/>'


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(text)}</th>" for text in heads)
    body = "".join("<tr>" + "".join(f"<td>{escape(text)}</td>" for text in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _minutes(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds / 60:.0f} min"


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M}"
