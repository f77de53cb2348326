"""Days that are unlike others of their weekday: public holidays by country, and days that the settings name.

What is expected of such a day is what is expected of the weekday that it resembles, times what is known of it
(`baseline`). Pure: the same settings and the same version of the package `holidays` give the same days.
"""

from datetime import date, datetime
from functools import lru_cache
from typing import Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import holidays
from msgspec import Struct

from hark.core.errors import SettingsError

DAY_SECONDS = 86_400
Like = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday", "its-weekday"]
_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_OBSERVED = " (observed)"
_YEARS = (1970, 2200)


class DayEntry(Struct, frozen=True, forbid_unknown_fields=True):
    """One [[holidays.day]] of alerts.toml: the same day of one or more years, by one name."""

    name: str
    dates: tuple[date, ...]
    like: Like = "sunday"
    times: float = 1.0


class HolidaysEntry(Struct, frozen=True, forbid_unknown_fields=True):
    """[holidays] of alerts.toml."""

    countries: tuple[str, ...] = ()
    zone: str = "UTC"
    day: tuple[DayEntry, ...] = ()


class Day(Struct, frozen=True):
    """What is known of a holiday before it comes.

    `shift_seconds` leads to the weekday that it resembles, in whole days; `times` as much is expected as on that one.
    What is learned belongs to `name`, and to all days of its `kind` ("" belongs to none).
    """

    name: str
    shift_seconds: int
    times: float
    kind: str


class Holidays(Struct, frozen=True):
    """The days themselves, as the settings give them; without any, every day is an ordinary one."""

    countries: tuple[str, ...] = ()
    zone: str = "UTC"
    days: tuple[DayEntry, ...] = ()

    def at(self, moment: float) -> Day | None:
        """Return the holiday that `moment` (seconds since 1970) lies in, None on an ordinary day."""
        if not self.countries and not self.days:
            return None
        return _day(self, datetime.fromtimestamp(moment, _zone(self.zone)).date())

    def __bool__(self) -> bool:
        """Say whether there are any."""
        return bool(self.countries or self.days)


NONE = Holidays()


def holidays_of(entry: HolidaysEntry, where: str) -> Holidays:
    """Return what [holidays] says; SettingsError names the key, what was found, and what was expected."""
    try:
        ZoneInfo(entry.zone)
    except (ZoneInfoNotFoundError, ValueError):
        raise SettingsError(
            f"{where}: holidays.zone: expected a name such as America/Chicago, found {entry.zone!r}"
        ) from None
    for code in entry.countries:
        try:
            _public(code, 2026)
        except NotImplementedError:
            raise SettingsError(
                f'{where}: holidays.countries: expected codes such as "US", or "US-TX" for a part of a country, '
                f"found {code!r}"
            ) from None
    for day in entry.day:
        if not day.dates:
            raise SettingsError(
                f"{where}: holidays.day {day.name!r}: dates: expected one or more, found none"
            )
        if not 0.01 <= day.times <= 100:
            raise SettingsError(
                f"{where}: holidays.day {day.name!r}: times: expected 0.01 to 100, found {day.times}"
            )
    return Holidays(entry.countries, entry.zone, entry.day)


@lru_cache(maxsize=4096)
def _day(known: Holidays, day: date) -> Day | None:
    for entry in known.days:
        if day in entry.dates:
            like = day.weekday() if entry.like == "its-weekday" else _WEEKDAYS.index(entry.like)
            kind = entry.like if entry.times == 1 and entry.like != "its-weekday" else ""
            return _of(entry.name, day, like, entry.times, kind)
    if _YEARS[0] <= day.year <= _YEARS[1]:
        for code in known.countries:
            if (name := _public(code, day.year).get(day)) is not None:
                # It is the same day of the year to people, on whichever date it is kept.
                return _of(name.replace(_OBSERVED, ""), day, _WEEKDAYS.index("sunday"), 1.0, "sunday")
    return None


def _of(name: str, day: date, like: int, times: float, kind: str) -> Day:
    return Day(name, (like - day.weekday()) % 7 * DAY_SECONDS, times, kind)


@lru_cache(maxsize=512)
def _public(code: str, year: int) -> dict[date, str]:
    country, _, part = code.partition("-")
    found = holidays.country_holidays(country, subdiv=part or None, years=year, language="en_US")
    return dict(found.items())


@lru_cache(maxsize=16)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)
