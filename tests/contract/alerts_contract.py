"""What the alert role needs of every state database: one process records a step, and nobody twice."""

import threading
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from hark.state import State
from hark.state import alerts as tables
from hark.state.alerts import AlertClock, EventRow, Lesson

BEFORE, AFTER = AlertClock(1_000, 1_000, 7), AlertClock(2_000, 1_000, 7)


class AlertsContract:
    """Subclasses give the fixture `reopen`: opens the same (at first empty) database once more."""

    def test_the_clock_is_started_once_and_moved_by_one(self, reopen: Callable[[], State]) -> None:
        one, other = reopen(), reopen()
        with one.begin() as connection:
            assert tables.clock(connection) is None
            assert tables.start_clock(connection, BEFORE)
        with other.begin() as connection:
            assert not tables.start_clock(connection, BEFORE)
        moved: list[bool] = []
        together = threading.Barrier(2)

        def move(state: State) -> None:
            together.wait()
            with state.begin() as connection:
                if tables.move_clock(connection, BEFORE, AFTER):
                    tables.save_checkpoints(connection, {"r": ("id", b"\x00state")})
                    moved.append(True)

        threads = [threading.Thread(target=move, args=(state,)) for state in (one, other)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert moved == [True]
        with one.read() as connection:
            assert tables.clock(connection) == AFTER
            assert tables.checkpoints(connection) == {"r": ("id", b"\x00state")}

    def test_what_a_transaction_did_not_finish_is_not_there(self, reopen: Callable[[], State]) -> None:
        state = reopen()
        with state.begin() as connection:
            tables.start_clock(connection, BEFORE)

        def die() -> None:
            with state.begin() as connection:
                assert tables.move_clock(connection, BEFORE, AFTER)
                tables.save_coverage(connection, {0: frozenset({"x"})})
                raise KeyError

        with pytest.raises(KeyError):
            die()
        with state.read() as connection:
            assert tables.clock(connection) == BEFORE
            assert tables.coverage(connection, 0, 1) == {}

    def test_incidents_and_their_timelines_are_kept(self, reopen: Callable[[], State]) -> None:
        state = reopen()
        row: dict[str, Any] = {"rule": "r", "opened_ms": 5, "ended_ms": None, "severity": 3, "data": b"\xff"}
        with state.begin() as connection:
            tables.save(connection, "a", {**row, "status": "open", "events": 1})
            tables.save(connection, "b", {**row, "opened_ms": 6, "ended_ms": 9, "status": "resolved"})
            tables.add_event(connection, EventRow("a", 1, 5, "opened", "", "note", "headline", 3))
            tables.change(connection, "a", {"cases": '["C-1"]', "acknowledged_ms": 8})
        again = reopen()
        with again.begin() as connection:
            found = tables.get(connection, "a", lock=True)
            assert found is not None
            assert (found.status, found.cases, found.acknowledged_ms, found.data) == (
                "open",
                ("C-1",),
                8,
                b"\xff",
            )
            assert [one.id for one in tables.listed(connection, None, None, 9)] == ["b", "a"]
            assert [one.id for one in tables.listed(connection, ["open"], 5, 9)] == ["a"]
            assert len(tables.following(connection, 9)) == 2
            assert len(tables.following(connection, 10)) == 1
            assert tables.timeline(connection, "a") == [
                EventRow("a", 1, 5, "opened", "", "note", "headline", 3)
            ]
            tables.save_coverage(connection, {0: frozenset({"x", "y"}), 300: frozenset()})
            assert tables.coverage(connection, 0, 600) == {0: frozenset({"x", "y"}), 300: frozenset()}
            assert tables.covered_from(connection) == 0
            lesson = Lesson("id", 0, 300, 420)
            tables.save_lesson(connection, "r", lesson)
            tables.save_lesson(connection, "r", msgspec.structs.replace(lesson, learned_ms=900))
            assert tables.lessons(connection) == {"r": Lesson("id", 0, 300, 900)}
