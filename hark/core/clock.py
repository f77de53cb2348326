"""Time as Hark sees it: instants in UTC, and a clock that can be handed in."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

Clock = Callable[[], datetime]
"""Returns the present instant, aware, in UTC."""

# Elasticsearch and SQLite hold more, datetime does not; a platform's date outside is a broken date.
EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
LATEST = datetime(9999, 12, 31, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


def now() -> datetime:
    """Return the present instant in UTC."""
    return datetime.now(UTC)


def to_ms(instant: datetime) -> int:
    """Return whole milliseconds since 1970-01-01 UTC, exactly: the latest that is not after `instant`."""
    return (instant - EARLIEST) // _MILLISECOND


def from_ms(milliseconds: int) -> datetime:
    """Return the instant of `milliseconds` since 1970-01-01 UTC, exactly."""
    seconds, rest = divmod(milliseconds, 1000)
    return EARLIEST + timedelta(seconds=seconds, microseconds=rest * 1000)


def monotonic() -> float:
    """Return seconds of a clock that never steps back, for timeouts and rates."""
    return time.monotonic()
