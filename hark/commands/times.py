"""Points in time as people type them."""

from datetime import UTC, datetime, timedelta, tzinfo

from hark.core.clock import Clock, now
from hark.core.errors import SettingsError

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def point(text: str | None, option: str, clock: Clock = now, zone: tzinfo = UTC) -> datetime | None:
    """Return the instant of "2026-11-01", "2026-11-01T12:00:00Z" (in `zone` unless it says otherwise), or "2h" ago.

    Raises SettingsError naming `option`.
    """
    if text is None:
        return None
    ago = text.removeprefix("now-")
    if ago[-1:] in _UNITS and ago[:-1].isdigit():
        try:
            return clock() - timedelta(**{_UNITS[ago[-1]]: int(ago[:-1])})
        except OverflowError as error:
            raise SettingsError(f"{option}: {text!r} is too long ago") from error
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        raise SettingsError(
            f"{option}: expected a date (2026-11-01), a time (2026-11-01T12:00:00Z) or how long ago "
            f"(30m, 2h, 7d), found {text!r}"
        ) from None
    return instant if instant.tzinfo else instant.replace(tzinfo=zone)
