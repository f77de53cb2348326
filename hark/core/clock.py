"""Time as Hark sees it: instants in UTC, and a clock that can be handed in."""

import time
from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], datetime]
"""Returns the present instant, aware, in UTC."""

# Elasticsearch and SQLite hold more, datetime does not; a platform's date outside is a broken date.
EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
LATEST = datetime(9999, 12, 31, tzinfo=UTC)


def now() -> datetime:
    """Return the present instant in UTC."""
    return datetime.now(UTC)


def to_ms(instant: datetime) -> int:
    """Return milliseconds since 1970-01-01 UTC."""
    return int(instant.timestamp() * 1000)


def from_ms(milliseconds: int) -> datetime:
    """Return the instant of `milliseconds` since 1970-01-01 UTC."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def monotonic() -> float:
    """Return seconds of a clock that never steps back, for timeouts and rates."""
    return time.monotonic()
