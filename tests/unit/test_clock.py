"""Instants and milliseconds: exact in both directions."""

from datetime import UTC, datetime, timedelta, timezone

from hypothesis import example, given
from hypothesis import strategies as st

from hark.core.clock import EARLIEST, LATEST, from_ms, to_ms

LAST = to_ms(LATEST)


@given(st.integers(0, LAST))
@example(138_648_037_131_597)
@example(253_402_214_399_999)
def test_milliseconds_come_back(milliseconds: int) -> None:
    assert to_ms(from_ms(milliseconds)) == milliseconds


@given(
    st.timedeltas(timedelta(days=1), LATEST - EARLIEST - timedelta(days=1)), st.integers(-14 * 60, 14 * 60)
)
def test_an_instant_lies_within_its_millisecond(since: timedelta, minutes: int) -> None:
    instant = (EARLIEST + since).astimezone(timezone(timedelta(minutes=minutes)))
    rest = instant - from_ms(to_ms(instant))
    assert timedelta(0) <= rest < timedelta(milliseconds=1)


def test_a_date_whose_seconds_no_float_holds_keeps_its_millisecond() -> None:
    # 138,648,037,131.597 s as a float is a little less: cut off, it was .596.
    assert to_ms(datetime(6363, 8, 6, 23, 58, 51, 597_000, UTC)) % 1000 == 597
    assert from_ms(253_402_214_399_999).microsecond == 999_000
    assert from_ms(0) == EARLIEST
