"""What the counts of tags must do in every state database; each kind inherits this suite."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from hark.state import State
from hark.state.drift import FIRST_DAYS, KEPT_DAYS, TagCounts, day_of

NOON = datetime(2026, 11, 2, 12, tzinfo=UTC)
COUNTS = {("sentiment", "negative"): (3, 0.0), ("sentiment confidence", "0.8"): (2, 1.65)}


class Hand:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.moment = NOON

    def __call__(self) -> datetime:
        return self.moment


class DriftContract:
    """Subclasses give the fixture `reopen`: opens the same (at first empty) database once more."""

    def test_what_several_workers_count_is_added_up_by_day(self, reopen: Callable[[], State]) -> None:
        clock = Hand()
        workers = [TagCounts(reopen(), clock), TagCounts(reopen(), clock)]
        for worker in workers:
            worker.add("v1", "{}", COUNTS)
        clock.moment += timedelta(days=1)
        workers[0].add("v1", "{}", {("sentiment", "negative"): (1, 0.0)})
        today = day_of(clock.moment)
        assert workers[1].between(["v1"], today - 1, today) == {
            ("sentiment", "negative"): (7, 0.0),
            ("sentiment confidence", "0.8"): (4, 3.3),
        }
        assert workers[1].between(["v1"], today, today) == {("sentiment", "negative"): (1, 0.0)}
        assert workers[1].between(["v2"], 0, today) == {}
        workers[0].add("v3", "{}", COUNTS)
        assert workers[1].between(["v3", "v1"], today, today)["sentiment", "negative"] == (4, 0.0)
        assert {version.version for version in workers[1].versions()} == {"v1", "v3"}

    def test_the_version_that_was_told_of_last_serves(self, reopen: Callable[[], State]) -> None:
        clock = Hand()
        counts = TagCounts(reopen(), clock)
        assert counts.serving() is None
        counts.add("v1", "{}", COUNTS)
        clock.moment += timedelta(minutes=1)
        counts.add("v2", '{"a": 1}', {})
        served = counts.serving()
        assert served is not None
        assert (served.version, served.begun, served.reference) == ("v2", clock.moment, '{"a": 1}')
        clock.moment += timedelta(minutes=1)
        counts.add("v1", "{}", {})
        served = counts.serving()
        assert served is not None
        assert (served.version, served.begun) == ("v1", NOON)

    def test_old_days_are_forgotten_but_for_the_first_of_a_version_that_serves(
        self, reopen: Callable[[], State]
    ) -> None:
        clock = Hand()
        counts = TagCounts(reopen(), clock)
        begun = day_of(NOON)
        counts.add("gone", "{}", COUNTS)
        days = [*range(FIRST_DAYS + 2), 20, 27, 28, 29, 30, KEPT_DAYS + 30]
        for number in days:
            clock.moment = NOON + timedelta(days=number)
            counts.add("serving", "{}", COUNTS)
        counts.forget()
        today = day_of(clock.moment)
        kept = [day for day in range(begun, today + 1) if counts.between(["serving"], day, day)]
        assert kept == [begun + number for number in (*range(FIRST_DAYS), 30, KEPT_DAYS + 30)]
        assert counts.between(["gone"], begun, today) == {}
