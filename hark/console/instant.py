"""Times as programs write them: RFC 3339, with an offset; brought to UTC, and into the calendar of mentions."""

import re
from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, BeforeValidator

from hark.core.clock import EARLIEST, LATEST

_WRITTEN = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d")


def _written(value: object) -> object:
    # Pydantic takes numbers too, for seconds or milliseconds as they happen to be large.
    if not isinstance(value, str) or not _WRITTEN.match(value):
        raise ValueError("expected a time such as 2026-11-01T12:00:00Z")
    return value


def _in_utc(value: datetime) -> datetime:
    try:
        return min(max(value.astimezone(UTC), EARLIEST), LATEST)
    except OverflowError:  # at the edge of the calendar
        return EARLIEST if value.year < EARLIEST.year else LATEST


Instant = Annotated[AwareDatetime, BeforeValidator(_written), AfterValidator(_in_utc)]
"""As a parameter or a field: an aware datetime in UTC, from 1970 on."""
