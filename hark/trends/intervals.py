"""Stretches of time as a person's clock and calendar cut them: quarters of an hour, hours, days, weeks."""

import os
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from math import gcd
from pathlib import Path
from zoneinfo import ZoneInfo

from hark.core.clock import EARLIEST, to_ms
from hark.core.errors import SettingsError
from hark.core.protocols import Bucket

INTERVALS = {"15m": 900, "1h": 3600, "1d": 86_400, "1w": 604_800}
"""What a range can be cut into, with the usual length in seconds."""
MOST_INTERVALS = 10_000
LAST = datetime(9998, 12, 31, tzinfo=UTC)
_QUARTER = timedelta(minutes=15)
_LOCALTIME = Path("/etc/localtime")


def zone_named(name: str | None) -> ZoneInfo:
    """Return a time zone by its name in the IANA database; None: this machine's (TZ, /etc/localtime, else UTC).

    Raises SettingsError.
    """
    if name is None:
        name = os.environ.get("TZ", "").removeprefix(":") or _machine_zone()
    try:
        return ZoneInfo(name)
    except (ValueError, KeyError, OSError):
        raise SettingsError(
            f"zone: expected a time zone like Europe/Berlin, America/Chicago or UTC, found {name!r}"
        ) from None


def _machine_zone() -> str:
    _, found, name = str(_LOCALTIME.resolve()).partition("/zoneinfo/")
    return name if found and _LOCALTIME.exists() else "UTC"


def suited(since: datetime, until: datetime) -> str:
    """Return the interval that cuts a range into a number of pieces that one can look at."""
    days = (until.astimezone(UTC) - since.astimezone(UTC)) / timedelta(days=1)
    return "15m" if days <= 0.5 else "1h" if days <= 2 else "1d" if days <= 62 else "1w"


def borders(since: datetime, until: datetime, interval: str, zone: ZoneInfo) -> list[datetime]:
    """Return where the intervals of a range begin, and `until`: ascending, in UTC; [] for an empty range.

    Intervals are those of the zone's clock: a day has 23 or 25 hours where the clock is changed, an hour that comes
    twice is two, and a week begins on Monday. The first and the last are what the range holds of them. Raises
    SettingsError for times out of range and for more than MOST_INTERVALS.
    """
    check_range(since, until)
    since, until = since.astimezone(UTC), until.astimezone(UTC)
    if since == until:
        return []
    if (until - since).total_seconds() / INTERVALS[interval] > MOST_INTERVALS:
        raise SettingsError(f"interval {interval}: this range has more than {MOST_INTERVALS:,} of them")
    begins = _days(since, zone, interval) if INTERVALS[interval] >= 86_400 else _hours(since, zone, interval)
    found = [since]
    for begin in begins:
        if begin >= until:
            break
        if begin > found[-1]:
            found.append(begin)
    return [*found, until]


def check_range(since: datetime, until: datetime) -> None:
    """Raise SettingsError for a range that ends before it begins, and for times that no mention can have."""
    if since < EARLIEST or until > LAST or to_ms(since) > to_ms(until):
        raise SettingsError(
            f"since {since.isoformat()}, until {until.isoformat()}: expected a range of time from 1970 to 9998"
            ", with since before until"
        )


def _days(since: datetime, zone: ZoneInfo, interval: str) -> Iterator[datetime]:
    day = since.astimezone(zone).date()
    if interval == "1w":
        day -= timedelta(days=day.weekday())
    while True:
        day += timedelta(days=7 if interval == "1w" else 1)
        yield _midnight(day, zone)


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    # The first of two midnights, and the moment of the change where the clock leaves midnight out: fold=0 is both.
    return datetime.combine(day, time.min, tzinfo=zone).astimezone(UTC)


def _hours(since: datetime, zone: ZoneInfo, interval: str) -> Iterator[datetime]:
    quarter = datetime.fromtimestamp(since.timestamp() // 900 * 900, UTC)
    before = _hour(quarter, zone)
    while True:
        quarter += _QUARTER
        hour = _hour(quarter, zone)
        if interval == "15m" or hour != before:
            yield quarter
        before = hour


def _hour(at: datetime, zone: ZoneInfo) -> tuple[date, int, timedelta | None]:
    local = at.astimezone(zone)
    return local.date(), local.hour, local.utcoffset()


def step_seconds(cuts: Sequence[datetime]) -> int:
    """Return the width of a histogram of which each cell lies within one interval.

    Raises SettingsError for a zone whose clock was not a multiple of 15 minutes from UTC (Liberia until 1972).
    """
    step = gcd(86_400, *(int(cut.timestamp()) for cut in cuts[1:-1]))
    if step % 900:
        raise SettingsError("zone: its clock was not a multiple of 15 minutes from UTC in this range")
    return step


def place(cuts: Sequence[datetime], bucket: Bucket) -> int:
    """Return which interval holds a cell of a histogram of `step_seconds`."""
    at = datetime.fromtimestamp(bucket.start / 1000, UTC)
    return bisect_right(cuts, max(at, cuts[0])) - 1


def whole(begin: datetime, interval: str, zone: ZoneInfo) -> bool:
    """Say whether an interval can begin (or end) here, so that nothing of it is cut off."""
    begin = begin.astimezone(UTC)
    if INTERVALS[interval] >= 86_400:
        day = begin.astimezone(zone).date()
        return begin == _midnight(day, zone) and (interval == "1d" or day.weekday() == 0)
    if begin.timestamp() % 900:
        return False
    return interval == "15m" or _hour(begin, zone) != _hour(begin - _QUARTER, zone)


def period_before(
    since: datetime, until: datetime, interval: str, zone: ZoneInfo
) -> tuple[datetime, datetime]:
    """Return the period of the same length that lies a whole number of intervals earlier and ends by `since`.

    So interval is compared with interval, and a day that has just begun with the same hours. Whole days, and days
    and weeks as intervals, are moved on the calendar, everything else by the clock. What lies before 1970 is cut.
    """
    since, until = since.astimezone(UTC), until.astimezone(UTC)
    begin, end = since.astimezone(zone), until.astimezone(zone)
    length = end.replace(tzinfo=None) - begin.replace(tzinfo=None)
    days = INTERVALS[interval] >= 86_400 or (whole(since, "1d", zone) and whole(until, "1d", zone))
    if not days:
        length = until - since
    unit = timedelta(seconds=max(INTERVALS[interval], 86_400 if days else 0))
    shift = -(-length // unit) * unit
    if since - EARLIEST < shift + timedelta(days=2):
        return EARLIEST, max(EARLIEST, until - shift)
    if not days:
        return since - shift, until - shift
    moved = (at.replace(tzinfo=None, fold=0) - shift for at in (begin, end))
    first, last = (min(since, at.replace(tzinfo=zone).astimezone(UTC)) for at in moved)
    return first, max(first, last)
