"""What every state database must do; each kind inherits this suite."""

import threading
import uuid
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hark.core.protocols import Batch, Gap
from hark.state import Loss, State
from hark.state.generations import Generations

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
# The database is meant to live on from one example to the next, and the suite to be inherited.
SHARED = [HealthCheck.function_scoped_fixture, HealthCheck.differing_executors]
IDS = st.lists(
    st.sampled_from([f"{source}:{n}" for source in ("x", "reddit") for n in range(6)]), max_size=12
)


class StateContract:
    """Subclasses give the fixture `reopen`: opens the same (at first empty) database once more."""

    @pytest.fixture
    def state(self, reopen: Callable[[], State]) -> State:
        return reopen()

    def test_cursor_of_an_unknown_source_is_none(self, state: State) -> None:
        assert state.cursor("x") is None

    def test_cursor_survives_reopening(self, state: State, reopen: Callable[[], State]) -> None:
        state.save_batch("x", Batch([], "17"), 0, 0, None)
        state.close()
        assert reopen().cursor("x") == "17"

    def test_counts_add_up_and_an_idle_batch_keeps_the_newest_time(self, state: State) -> None:
        state.save_batch("x", Batch([], "1", reads=5, note="busy"), published=3, unmatched=2, newest_ms=1_000)
        state.save_batch("x", Batch([], "2", reads=7), published=1, unmatched=1, newest_ms=None)
        (found,) = state.source_states()
        assert (found.published, found.unmatched, found.reads, found.newest_ms) == (4, 3, 12, 1_000)
        assert (found.cursor, found.note) == ("2", "")

    def test_an_error_is_kept_until_the_next_batch(self, state: State) -> None:
        state.save_error("x", "token refused")
        assert [s.error for s in state.source_states()] == ["token refused"]
        state.save_batch("x", Batch([], "1"), 0, 0, None)
        assert [s.error for s in state.source_states()] == [""]

    def test_a_gap_that_is_filled_later_is_one_gap(self, state: State) -> None:
        later = NOON.replace(hour=13)
        state.save_batch("x", Batch([], "1", gaps=[Gap(NOON, later, "away")]), 0, 0, None)
        state.save_batch(
            "x", Batch([], "2", gaps=[Gap(NOON, later, "filled by search", closed=True)]), 0, 0, None
        )
        assert state.gaps("x") == [("x", Gap(NOON, later, "filled by search", closed=True))]
        assert state.gaps("reddit") == []

    def test_registering_from_a_stale_offset_changes_nothing(self, state: State) -> None:
        assert state.register("mentions", {}, {0: 2}, ["x:1", "x:2"], rejected=False)
        assert not state.register("mentions", {}, {0: 1}, ["x:9"], rejected=False)
        assert state.totals(["mentions"]) == ({"x": 2}, {"mentions": {0: 2}})

    def test_rejected_ids_count_as_collected_once(self, state: State) -> None:
        state.register("mentions", {}, {0: 1}, ["x:1"], rejected=False)
        state.register("rejected", {}, {0: 2}, ["x:1", "x:2"], rejected=True)
        assert state.totals([])[0] == {"x": 2}
        assert sorted(state.rejected_ids()) == ["x:1", "x:2"]
        assert state.known(["x:1", "x:3"]) == {"x:1"}

    def test_an_id_with_a_nul_counts_once_too(self, state: State) -> None:
        assert state.register("mentions", {}, {0: 2}, ["x:a\0b", "x:c"], rejected=False)
        assert state.register("rejected", {}, {0: 1}, ["x:a\0b"], rejected=True)
        assert state.totals(["mentions"])[0] == {"x": 2}
        assert state.known(["x:a\0b", "x:c", "x:\0"]) == {"x:a\0b", "x:c"}

    def test_what_the_log_has_lost_is_told_once_until_it_grows(self, state: State) -> None:
        loss = Loss("hark.mentions", 3, "hark.enrich", 100, 130)
        assert state.save_losses([loss]) == [loss]
        assert state.save_losses([loss]) == []
        state.write_off()
        assert [known.written_off for known in state.losses()] == [True]
        grown = Loss("hark.mentions", 3, "hark.enrich", 100, 150)
        assert state.save_losses([loss, grown]) == [grown]
        (known,) = state.losses()
        assert (known.records, known.written_off) == (50, False)

    def test_a_loss_is_remembered_with_the_offsets_that_pass_over_it_or_not_at_all(
        self, state: State
    ) -> None:
        loss = Loss("mentions", 0, "the books", 0, 5)
        assert state.register("mentions", {}, {0: 6}, ["x:5"], rejected=False, lost=[loss])
        other = Loss("mentions", 1, "the books", 0, 7)
        assert not state.register("mentions", {}, {0: 1}, [], rejected=False, lost=[other])
        assert [(known.partition, known.begin, known.end) for known in state.losses()] == [(0, 0, 5)]

    def test_concurrent_registration_counts_each_id_once(
        self, state: State, reopen: Callable[[], State]
    ) -> None:
        won: list[bool] = []

        def run(own: State) -> None:
            for n in range(20):
                won.append(
                    own.register("mentions", {0: n} if n else {}, {0: n + 1}, [f"x:{n}"], rejected=False)
                )

        threads = [threading.Thread(target=run, args=(own,)) for own in (state, reopen())]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert state.totals(["mentions"]) == ({"x": 20}, {"mentions": {0: 20}})
        assert sum(won) == 20

    def test_generations_are_flipped_by_a_row_and_their_cursor_survives_reopening(
        self, state: State, reopen: Callable[[], State]
    ) -> None:
        generations = Generations(state)
        assert (generations.serving(), generations.before(), generations.all()) == (0, None, [])
        number = generations.add(status="building", models=True, taxonomy=False, shadow=True)
        generations.advance(number, "17", 500)
        generations.advance(number, "18", 20)
        state.close()
        again = Generations(reopen())
        base, found = again.all()
        assert (base.number, base.status, base.shadow) == (0, "ready", False)
        assert (found.number, found.cursor, found.sent, found.models) == (1, "18", 520, True)
        again.save(number, status="ready")
        again.promote(number)
        assert (again.serving(), again.before(), again.all()[0].shadow) == (1, 0, True)
        again.promote(0)
        assert (again.serving(), again.before()) == (0, 1)
        again.save(number, status="dropped")
        assert again.before() is None
        assert again.add(status="starting", models=False, taxonomy=True, shadow=True) == 2

    @settings(max_examples=15, deadline=None, suppress_health_check=SHARED)
    @given(batches=st.lists(st.tuples(IDS, st.booleans()), max_size=5))
    def test_totals_are_the_distinct_ids(self, state: State, batches: list[tuple[list[str], bool]]) -> None:
        topic = uuid.uuid4().hex
        seen = set(state.registered_ids())
        for at, (ids, rejected) in enumerate(batches):
            assert state.register(topic, {0: at} if at else {}, {0: at + 1}, ids, rejected)
            seen.update(ids)
        assert state.totals([])[0] == dict(Counter(id.partition(":")[0] for id in seen))
        assert set(state.registered_ids()) == seen
