"""`hark backtest`: an alert rule tried on history."""

import shlex
import sys
from datetime import datetime, timedelta
from pathlib import Path

import click
import msgspec
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table

from hark import settings as settings_module
from hark.alerts.backtest import Alert, Backtest, By, Label, Outcome, read_labels, run
from hark.alerts.evaluate import closed_until
from hark.alerts.explain import Contribution
from hark.alerts.report import first_told, page
from hark.alerts.rules import BUCKET_SECONDS, Rule, RuleEntry, find_rule, rule_of
from hark.commands.options import common
from hark.commands.show import harmless
from hark.commands.times import point
from hark.core.clock import from_ms, now
from hark.core.errors import SettingsError
from hark.core.mistakes import converted
from hark.settings import Settings

_SHOWN_PARTS = 3


@click.command()
@common
@click.argument("rule")
@click.option("--since", default="30d", show_default=True, help="From this time on: 2026-11-01, or 30d ago.")
@click.option("--until", help="Before this time. Default: the last five minutes that are closed.")
@click.option(
    "--incidents",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Incidents that you know of: CSV with begin, end, and if you like name, series, peak.",
)
@click.option(
    "--html",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write a report with charts to this file too.",
)
@click.option(
    "--by",
    type=click.Choice(["collected", "written"]),
    help="What a five minutes counts: what had been collected when it was judged live, or all that was written in it. "
    "Default: collected, unless more than a tenth was imported later.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    config: Path | None,
    data: Path | None,
    rule: str,
    since: str,
    until: str | None,
    incidents: Path | None,
    html: Path | None,
    by: By | None,
    as_json: bool,
) -> None:
    """Try RULE of alerts.toml on the mentions that the store holds: when it would have told, of what, and why.

    \b
    hark backtest complaint-spike --since 30d
    hark backtest - < rule.json            a rule that is in no file: the keys of a [[rule]], as JSON
    hark backtest complaint-spike --since 2026-01-01 --until 2026-07-01 --incidents known.csv --json

    Shows each alert with what was observed and expected, which topics and sources the difference came from, and the
    search that counts to the same number; with --incidents also what it saw, missed and told of falsely; and what
    other thresholds would have done. Four weeks before --since are read to learn what is usual.
    """
    settings = settings_module.load(config, data)
    found = _given(settings.config) if rule == "-" else find_rule(settings.config, rule)
    labels = None if incidents is None else read_labels(incidents)
    begin, end = _range(found, since, until)
    result = _tried(settings, found, begin, end, labels, by)
    if html is not None:
        _write(html, page(result, found))
    if as_json:
        click.echo(msgspec.json.encode(result).decode())
    else:
        _print(result, found, Console(highlight=False, soft_wrap=not sys.stdout.isatty()))


def _given(config: Path) -> Rule:
    """Return the rule that standard input holds."""
    try:
        given = msgspec.json.decode(sys.stdin.buffer.read())
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"standard input: expected a rule as JSON: {error}") from error
    return rule_of(config, converted(given, RuleEntry, "standard input"))


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise SettingsError(f"--html: {path}: cannot be written: {error.strerror}") from error


def search_command(alert: Alert) -> str:
    """Return the command that counts to what `alert` observed."""
    return _search(alert.explanation.query, alert.window_begin, alert.window_end)


def _search(query: str, since: datetime, until: datetime) -> str:
    times = f"--since {_exact(since)} --until {_exact(until)}"
    return f"hark search {shlex.quote(query)} {times} --count"


def _range(rule: Rule, since: str, until: str | None) -> tuple[datetime, datetime]:
    begin, end = point(since, "--since"), point(until, "--until")
    assert begin is not None
    closed = from_ms(closed_until(now(), rule.allowance_seconds))
    end = closed if end is None else min(end, closed)
    if end - begin < timedelta(seconds=BUCKET_SECONDS):
        raise SettingsError(
            f"--since: expected a time at least five minutes before {_exact(end)}, "
            "the end of what is asked for and closed"
        )
    return begin, end


def _tried(
    settings: Settings,
    rule: Rule,
    begin: datetime,
    end: datetime,
    labels: tuple[Label, ...] | None,
    by: By | None,
) -> Backtest:
    from hark.alerts.live import past_of
    from hark.wiring import names_of, state_of, store_of, taxonomy_of

    with store_of(settings) as store, state_of(settings) as state:
        columns = TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %")
        console = Console(stderr=True)
        with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
            task = bar.add_task(f"trying {rule.name}", total=1.0)
            return run(
                store,
                rule,
                taxonomy_of(settings),
                begin,
                end,
                msgspec.structs.replace(past_of(state, rule), names=names_of(settings)),
                labels,
                lambda done: bar.update(task, completed=done),
                by,
            )


def _print(result: Backtest, rule: Rule, console: Console) -> None:
    console.print(
        f"{rule.title}: {rule.metric} by {rule.by}, detector {rule.detector}, threshold {rule.threshold:g}",
        markup=False,
    )
    console.print(
        f"{_exact(result.since)} to {_exact(result.until)}, {result.series} series, "
        + (f"counted from {_exact(first)}" if (first := result.counted_from) else "no mention that it counts")
    )
    if result.basis:
        console.print(result.basis, markup=False)
    if result.blind_buckets:
        console.print(
            f"{result.blind_buckets} buckets of five minutes have gaps of a source: judged without it"
        )
    if result.not_watched:
        console.print(f"{result.not_watched} mentions were of more series than are watched")
    for alert in result.alerts:
        _print_alert(alert, "allowed" if rule.detector == "threshold" else "expected", console)
    if not result.alerts:
        console.print("\nNo alert.")
    if result.outcomes:
        console.print(_outcomes(result.outcomes))
    console.print(_curve(result))


def _print_alert(alert: Alert, word: str, console: Console) -> None:
    more = f", told again {len(alert.escalated_at)} times" if alert.escalated_at else ""
    ended = f", over {_exact(alert.ended_at)}" if alert.ended_at else ", still lasting"
    saw = f" · saw {', '.join(alert.incidents)}" if alert.incidents else ""
    console.print(
        f"\n{_exact(alert.told_at)}  {harmless(alert.title)}  severity {alert.severity} "
        f"(later up to {alert.worst}){more}{ended}{harmless(saw)}",
        style="bold",
        markup=False,
    )
    minutes = (alert.window_end - alert.window_begin).total_seconds() / 60
    console.print(
        f"  {alert.observed} in {minutes:g} minutes, {alert.expected:.2f} {word}: "
        f"{alert.explanation.excess:+.2f}",
        markup=False,
    )
    for name, parts in (
        ("topics", alert.explanation.topics),
        ("sources", alert.explanation.sources),
        ("terms", alert.explanation.terms),
    ):
        console.print(f"  {name}: {_parts(parts)}", markup=False)
    console.print(f"  {search_command(alert)}", markup=False, soft_wrap=True)


def _parts(parts: tuple[Contribution, ...]) -> str:
    """Return the largest parts, and the sum of the others, so that the line adds up to the excess."""
    shown, rest = parts[:_SHOWN_PARTS], parts[_SHOWN_PARTS:]
    words = [f"{harmless(part.value, 40)} {part.excess:+.2f}" for part in shown]
    if rest:
        words.append(f"{len(rest)} others {sum(round(part.excess * 100) for part in rest) / 100:+.2f}")
    return " · ".join(words)


def _outcomes(outcomes: tuple[Outcome, ...]) -> Table:
    table = Table(box=None, header_style="bold", title="\nIncidents that are known", title_justify="left")
    table.add_column("incident")
    table.add_column("begins (UTC)", no_wrap=True)
    table.add_column("first told")
    for column in ("after begin", "before peak"):
        table.add_column(column, justify="right")
    for outcome in outcomes:
        delay = None if outcome.before_begin_seconds is None else -outcome.before_begin_seconds
        table.add_row(
            harmless(outcome.label.name, 40),
            f"{outcome.label.begin:%Y-%m-%d %H:%M}",
            first_told(outcome),
            _minutes(delay),
            _minutes(outcome.before_peak_seconds),
        )
    return table


def _curve(result: Backtest) -> Table:
    table = Table(box=None, header_style="bold", title="\nOther thresholds", title_justify="left")
    for column in ("threshold", "alerts", "a week"):
        table.add_column(column, justify="right", no_wrap=True)
    for column in ("hits", "misses", "false", "false/week", "delay") if result.labelled else ():
        table.add_column(column, justify="right", no_wrap=True)
    for row in result.curve:
        cells = [
            f"{row.threshold:g}" + (" (the rule)" if row.threshold == result.shipped.threshold else ""),
            f"{row.alerts:,}",
            f"{row.alerts_a_week:.2f}",
        ]
        if result.labelled:
            cells += [f"{row.hits:,}", f"{row.misses:,}", f"{row.false_alarms:,}"]
            cells += [f"{row.false_alarms_a_week:.2f}", _minutes(row.median_delay_seconds)]
        table.add_row(*cells)
    if result.labelled:
        table.caption = "delay: the median of the time from an incident's begin to its first alert"
    return table


def _minutes(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds / 60:.0f} min"


def _exact(instant: datetime) -> str:
    """Return a time in UTC that commands read again."""
    return instant.strftime("%Y-%m-%dT%H:%M:%SZ")
