"""`hark detect`: the spike detector as a filter."""

import csv
import io
import sys
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import TextIO

import click

from hark.alerts.detector import Detector, Options, Verdict
from hark.alerts.holidays import NONE, Holidays, HolidaysEntry, holidays_of
from hark.core.errors import RefusedError

HEADER = "timestamp,value,expected,upper,severity,is_alert"
_MISSING = frozenset({"", "na", "nan", "null", "none"})


@click.command()
@click.option(
    "--interval",
    "interval_seconds",
    type=click.FloatRange(min=1),
    help="Seconds from row to row. Default: what the first timestamps show",
)
@click.option(
    "--threshold",
    type=click.FloatRange(min=0, min_open=True),
    default=1.0,
    show_default=True,
    help="Evidence that it takes, as a multiple of the usual: 0.8 tells of more, 1.5 of the large ones alone.",
)
@click.option(
    "--watched",
    "series_watched",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="How many series you watch this way; more raise the bar, so that false alarms do not add up.",
)
@click.option(
    "--holidays",
    "countries",
    metavar="CODE",
    multiple=True,
    help="Expect public holidays of US, or of US-TX, to be as Sundays; may be given again. Default: none.",
)
@click.option("--zone", default="UTC", show_default=True, help="At whose midnight a holiday begins.")
@click.pass_context
def command(
    context: click.Context,
    interval_seconds: float | None,
    threshold: float,
    series_watched: int,
    countries: tuple[str, ...],
    zone: str,
) -> None:
    """Find spikes in a series of counts: CSV on standard input, CSV on standard output.

    \b
    In:   timestamp,value
    Out:  timestamp,value,expected,upper,severity,is_alert

    Each row is judged by the rows up to it alone, at once, so that a slow pipe can be watched. expected is the count
    that the level, the hour and the weekday led one to expect; upper is the count at which this row by itself would
    be a spike; severity is 0, or 1 to 10 while an incident lasts; is_alert is 1 where one begins or grows threefold.

    Rows may be any time apart, a minute to a day; they come in the order of time. Times are 2026-11-22 15:04:05
    (UTC), RFC 3339, or seconds since 1970. A missing row or an empty value is a gap, which is neither evidence nor
    learned from. The first day only teaches; a weekly rhythm is known after two or three weeks.

    A line that cannot be read is reported on standard error with its number; the others go on, and the exit code
    is 1.

    \b
    Examples:
      hark detect < counts.csv > verdicts.csv
      hark detect < counts.csv | awk -F, '$6 == 1'
      tail -f counts.csv | hark detect --holidays US --zone America/Chicago
    """
    known = holidays_of(HolidaysEntry(countries, zone), "the options")
    options = Options(
        interval_seconds=interval_seconds or 0.0, threshold=threshold, series_watched=series_watched
    )
    source = io.TextIOWrapper(sys.stdin.buffer, encoding="utf-8-sig", errors="replace", newline="")
    refused = judge_lines(
        source, sys.stdout, lambda line: click.echo(line, err=True), Detector(options=options), known
    )
    source.detach()
    if refused:
        context.exit(1)


def judge_lines(
    lines: Iterable[str],
    target: TextIO,
    warn: Callable[[str], None],
    detector: Detector,
    holidays: Holidays = NONE,
) -> int:
    """Write a verdict for each row of `lines` to `target`, flushed one by one; return how many were refused.

    A first line that names columns is a header: `timestamp` and `value` are found by their names, others are left
    out. Without one the first two columns are taken.
    """
    columns: tuple[int, int] | None = None
    refused = 0
    target.write(HEADER + "\n")
    # Row by row: whoever reads a slow pipe must not wait for a block to fill.
    target.flush()
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            fields = _fields(line)
            if columns is None:
                columns = _columns(fields)
                if columns is not None:
                    continue
                columns = (0, 1)
            target.write(_row(fields, columns, detector, holidays))
        except RefusedError as error:
            refused += 1
            warn(f"line {number}: {error}")
            continue
        target.flush()
    return refused


def _fields(line: str) -> list[str]:
    try:
        (fields,) = csv.reader([line.strip("\r\n")], strict=True)
    except csv.Error as error:
        raise RefusedError(f"not CSV: {error}") from error
    return fields


def _columns(fields: list[str]) -> tuple[int, int] | None:
    """Return the places of timestamp and value if this is a header, None if it is data."""
    names = [name.strip().lower() for name in fields]
    if "timestamp" in names and "value" in names:
        return names.index("timestamp"), names.index("value")
    return None


def _row(fields: list[str], columns: tuple[int, int], detector: Detector, holidays: Holidays) -> str:
    if len(fields) <= max(columns):
        raise RefusedError("timestamp and value are expected, separated by a comma")
    stamp, text = fields[columns[0]], fields[columns[1]]
    at = _seconds(stamp)
    verdict = detector.update(at, _value(text), holiday=holidays.at(at))
    return f"{_quoted(stamp)},{_quoted(text)},{_numbers(verdict)}\n"


def _numbers(verdict: Verdict) -> str:
    return f"{verdict.expected:.3f},{verdict.upper:.3f},{verdict.severity},{int(verdict.is_alert)}"


def _quoted(text: str) -> str:
    """Return the field as CSV, as it came wherever it needs no quotes."""
    return '"' + text.replace('"', '""') + '"' if any(sign in text for sign in ',"\r\n') else text


def _seconds(text: str) -> float:
    """Return seconds since 1970; a time without a zone is UTC."""
    text = text.strip()
    try:
        seconds = float(text)
    except ValueError:
        try:
            at = datetime.fromisoformat(text)
        except ValueError:
            raise RefusedError(
                f"{text!r} is not a time: 2026-11-22 15:04:05, RFC 3339, or seconds since 1970 are expected"
            ) from None
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
    if not -1e11 < seconds < 1e11:
        raise RefusedError(f"{text!r} is not a time in seconds since 1970")
    return seconds


def _value(text: str) -> float | None:
    """Return the value, or None where it is missing."""
    text = text.strip()
    if text.lower() in _MISSING:
        return None
    try:
        return float(text)
    except ValueError:
        raise RefusedError(f"{text!r} is not a number") from None
