"""What every source promises, as tests; each implementation inherits them (see `hark.core.protocols.Source`)."""

import contextlib
import threading
from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import ClassVar, Protocol

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hark.core.change import Change, Rejected, key_of
from hark.core.errors import TransientError
from hark.core.protocols import Batch, Gap, Looking, Source

DEADLINE_SECONDS = 30.0


class Platform(Protocol):
    """The far side of a source: a local server, or files. One for each test, shared by restarts of the source."""

    def say(self, number: int) -> set[str]:
        """Let that many new mentions appear now; return their ids, as "source:native id"."""

    def fault(self) -> None:
        """Make what the source does next fail, in a way that passes; a finite source's may do nothing."""

    def source(self) -> Source:
        """Return a new source with short time constants, as a process that has just begun has it."""


class Crash(Exception):
    """The process died here."""


class Runtime:
    """The loop that Hark runs around a source, over a log and a saved cursor that outlive its deaths."""

    def __init__(self, platform: Platform) -> None:
        self.platform = platform
        self.log: list[Change] = []
        self.rejected: list[Rejected] = []
        self.gaps: list[Gap] = []
        self.cursors: list[str] = []
        self.published: list[int] = []
        """How many changes the log held when each cursor was saved."""
        self.notes: list[str] = [""]
        self.batches = 0
        self.steps = 0
        self.crash_at: frozenset[int] = frozenset()

    @property
    def cursor(self) -> str | None:
        return self.cursors[-1] if self.cursors else None

    def ids(self) -> set[str]:
        return {key_of(change) for change in self.log}

    def run(self, enough: Callable[[], bool] = lambda: False, deadline: float = DEADLINE_SECONDS) -> None:
        """Read, publish, save, until `enough`, the source's own end, or a crash; fails after the deadline."""
        stop = threading.Event()
        late = threading.Timer(deadline, stop.set)
        late.start()
        try:
            while not self._read(stop, enough):
                assert not stop.is_set(), f"not enough after {deadline} s: {len(self.ids())} ids"
        finally:
            late.cancel()

    def collect(self, said: set[str]) -> None:
        """Run until the log holds all of `said`."""
        self.run(lambda: self.ids() >= said)

    def _read(self, stop: threading.Event, enough: Callable[[], bool]) -> bool:
        reading = self.platform.source().read(self.cursor, stop)
        with contextlib.closing(reading) as batches:  # type: ignore[type-var]
            try:
                for batch in batches:
                    self._take(batch)
                    if enough():
                        return True
            except TransientError as error:
                stop.wait(min(error.wait_seconds or 0.0, 0.05))
                return False
        return not stop.is_set()

    def _take(self, batch: Batch) -> None:
        self._step()
        half = len(batch.changes) // 2
        self.log.extend(batch.changes[:half])
        self._step()
        self.log.extend(batch.changes[half:])
        self.rejected.extend(batch.rejected)
        self.gaps.extend(batch.gaps)
        self._step()
        self.cursors.append(batch.cursor)
        self.published.append(len(self.log))
        self.notes.append(batch.note)
        self.batches += 1
        self._step()

    def _step(self) -> None:
        self.steps += 1
        if self.steps in self.crash_at:
            raise Crash


class SourceContract:
    """Inherit, and say how to make the platform; `overlap` is how many changes a resume may read again."""

    overlap: ClassVar[int] = 0
    finite: ClassVar[bool] = False
    """The source ends by itself when all has been read."""
    stop_seconds: ClassVar[float] = 5.0

    @abstractmethod
    def platform(self) -> AbstractContextManager[Platform]:
        """Make a platform of its own, with nothing said on it yet."""

    @contextlib.contextmanager
    def runtime(self) -> Iterator[Runtime]:
        with self.platform() as platform:
            yield Runtime(platform)

    def test_reads_everything_from_the_beginning(self) -> None:
        with self.runtime() as runtime:
            said = runtime.platform.say(25)
            runtime.collect(said)
            assert runtime.ids() == said
            assert not runtime.rejected

    def test_a_look_tells_that_it_answers_and_changes_nothing(self) -> None:
        with self.runtime() as runtime:
            said = runtime.platform.say(3)
            source = runtime.platform.source()
            assert isinstance(source, Looking)
            assert source.look()
            runtime.collect(said)
            assert source.look()
            assert runtime.ids() == said

    def test_hears_what_is_said_while_it_runs(self) -> None:
        with self.runtime() as runtime:
            said = runtime.platform.say(3)
            runtime.collect(said)
            if self.finite:
                return
            more: set[str] = set()

            def enough() -> bool:
                if not more:
                    more.update(runtime.platform.say(4))
                return runtime.ids() >= said | more

            runtime.run(enough)
            assert runtime.ids() == said | more

    def test_resumes_from_any_saved_cursor_without_losing_or_doubling(self) -> None:
        with self.runtime() as first:
            said = first.platform.say(25)
            first.collect(said)
            later = first.platform.say(2)
            for cursor, published in zip(first.cursors, first.published, strict=True):
                again = Runtime(first.platform)
                again.cursors.append(cursor)
                before = {key_of(change) for change in first.log[:published]}
                again.run(lambda again=again, before=before: again.ids() | before >= said | later)
                assert again.ids() | before == said | later
                twice = len(again.ids() & before)
                assert twice <= self.overlap, f"{twice} of {published} were read again from {cursor}"

    def test_stops_in_time_when_idle(self) -> None:
        with self.runtime() as runtime:
            said = runtime.platform.say(2)
            runtime.collect(said)
            stop = threading.Event()
            beginning = threading.Event()

            def read() -> None:
                for _ in runtime.platform.source().read(runtime.cursor, stop):
                    beginning.set()
                beginning.set()

            thread = threading.Thread(target=read)
            thread.start()
            assert beginning.wait(DEADLINE_SECONDS)
            stop.set()
            thread.join(self.stop_seconds)
            assert not thread.is_alive()

    def test_idle_batches_show_that_it_lives(self) -> None:
        if self.finite:
            return
        with self.runtime() as runtime:
            said = runtime.platform.say(2)
            runtime.collect(said)
            settled = runtime.batches
            runtime.run(lambda: runtime.batches >= settled + 5)
            assert runtime.ids() == said

    def test_what_a_refused_publish_held_is_read_again(self) -> None:
        with self.runtime() as runtime:
            said = runtime.platform.say(12)
            runtime.crash_at = frozenset({1})
            with contextlib.suppress(Crash):
                runtime.collect(said)
            assert not runtime.log
            assert runtime.cursor is None
            runtime.collect(said)
            assert runtime.ids() == said

    def test_faults_that_pass_end_in_the_same_set(self) -> None:
        with self.runtime() as runtime:
            said = runtime.platform.say(12)
            runtime.platform.fault()
            runtime.collect(said)
            runtime.platform.fault()
            said |= runtime.platform.say(5)
            runtime.collect(said)
            assert runtime.ids() == said

    @settings(max_examples=8, suppress_health_check=[HealthCheck.differing_executors, HealthCheck.too_slow])
    @given(crashes=st.sets(st.integers(1, 24), min_size=1, max_size=3), faults=st.sets(st.integers(0, 3)))
    def test_a_death_at_any_step_loses_nothing(self, crashes: set[int], faults: set[int]) -> None:
        with self.runtime() as runtime:
            said = runtime.platform.say(11)
            runtime.crash_at = frozenset(crashes)
            for life in range(len(crashes) + 1):
                if life in faults:
                    runtime.platform.fault()
                with contextlib.suppress(Crash):
                    runtime.collect(said)
                if not self.finite:
                    said |= runtime.platform.say(2)
            runtime.crash_at = frozenset()
            runtime.collect(said)
            assert runtime.ids() == said
