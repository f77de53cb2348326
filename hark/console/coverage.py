"""How complete the listening is: each source's condition and rhythm, and the books over all of them."""

import threading
from collections.abc import Iterable
from datetime import datetime, timedelta

from msgspec import Struct

from hark.core.clock import Clock, from_ms, monotonic
from hark.core.protocols import Gap, Store
from hark.ledger import Ledger, SourceBooks, Verification
from hark.query import parse
from hark.settings import SourceEntry
from hark.state import NoticedLoss, SourceState, State

SILENT_SECONDS = 60
"""A source answers at least every five seconds when all is well, if only with nothing: this long says that it is not."""
_HOURS = 24
_BOOKS_SECONDS = 5.0


class SourceRow(Struct, frozen=True):
    """One source as it is now. `condition` is ok, trouble, silent, off or imported; `told` says it in plain words."""

    name: str
    type: str
    condition: str
    told: str
    last_hour: int
    hourly: tuple[int, ...]
    """Mentions by their own time, one number for each of the last 24 hours, the newest last."""
    newest: datetime | None
    last_answer: datetime | None
    unmatched: int
    reads: int
    """What the platform charges for, this month."""
    budget: int | None
    gaps: int
    open_gaps: int


def source_rows(entries: Iterable[SourceEntry], state: State, store: Store, clock: Clock) -> list[SourceRow]:
    """Return every source of the settings, and those that only ever came by import."""
    moment = clock()
    begin = (moment - timedelta(hours=_HOURS - 1)).replace(minute=0, second=0, microsecond=0)
    hourly: dict[str, list[int]] = {}
    for bucket in store.histogram(parse(""), 3600, begin, moment, by="source"):
        place = int((from_ms(bucket.start) - begin).total_seconds() // 3600)
        hourly.setdefault(bucket.group or "", [0] * _HOURS)[place] += bucket.count
    recent = dict(store.top(parse(""), "source", moment - timedelta(hours=1), moment, limit=100))
    states = {source.name: source for source in state.source_states()}
    gaps: dict[str, list[Gap]] = {}
    for name, gap in state.gaps():
        gaps.setdefault(name, []).append(gap)
    by_name = {entry.name: entry for entry in entries}
    collected, _ = state.totals([])
    names = [*by_name, *sorted((states.keys() | collected.keys()) - by_name.keys())]
    return [
        _row(
            name,
            by_name.get(name),
            states.get(name),
            hourly.get(name, [0] * _HOURS),
            recent.get(name, 0),
            gaps.get(name, []),
            moment,
        )
        for name in names
    ]


def _row(
    name: str,
    entry: SourceEntry | None,
    state: SourceState | None,
    hourly: list[int],
    last_hour: int,
    gaps: list[Gap],
    moment: datetime,
) -> SourceRow:
    alive = from_ms(state.alive_ms) if state and state.alive_ms else None
    condition, told = _condition(entry, state, alive, moment)
    budget = entry.options.get("monthly_read_budget") if entry else None
    return SourceRow(
        name=name,
        type=entry.type if entry else "import",
        condition=condition,
        told=told,
        last_hour=last_hour,
        hourly=tuple(hourly),
        newest=from_ms(state.newest_ms) if state and state.newest_ms else None,
        last_answer=alive,
        unmatched=state.unmatched if state else 0,
        reads=state.reads if state and state.month == moment.strftime("%Y-%m") else 0,
        budget=budget if isinstance(budget, int) else None,
        gaps=len(gaps),
        open_gaps=sum(not gap.closed for gap in gaps),
    )


def _condition(
    entry: SourceEntry | None, state: SourceState | None, alive: datetime | None, moment: datetime
) -> tuple[str, str]:
    if entry is None:
        return "imported", "came by import"
    if not entry.enabled:
        return "off", "switched off in sources.toml"
    if state is not None and state.error:
        return "trouble", state.error
    if alive is None:
        return "silent", "has not answered yet"
    if (moment - alive).total_seconds() > SILENT_SECONDS:
        return "silent", "does not answer"
    return "ok", (state.note if state is not None else "") or "listening"


class Books(Struct, frozen=True):
    """The books of all sources, taken at `at`."""

    at: datetime
    sources: list[SourceBooks]
    lost: list[NoticedLoss]
    """What the log removed before it was read, and nobody has written off."""

    @property
    def total(self) -> SourceBooks:
        """The sums over all sources."""
        fields = ("collected", "indexed", "rejected", "deleted", "pending")
        sums = {field: sum(getattr(source, field) for source in self.sources) for field in fields}
        return SourceBooks("all", **sums)

    @property
    def balanced(self) -> bool:
        """Whether every source's books balance, and nothing was lost that no books can know of."""
        return not self.lost and all(source.balanced for source in self.sources)


class Bookkeeper:
    """Takes the books when they are asked for: once for all who look within five seconds."""

    def __init__(self, ledger: Ledger, clock: Clock) -> None:
        self._ledger = ledger
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: Books | None = None
        self._taken = 0.0

    def books(self) -> Books:
        """Return the books, five seconds old at most; takes seconds where much is pending."""
        with self._lock:
            if self._kept is None or monotonic() - self._taken > _BOOKS_SECONDS:
                self._kept = self._taken_now(self._ledger.books())
                self._taken = monotonic()
            return self._kept

    def verify(self) -> tuple[Books, Verification]:
        """Compare the ids themselves; takes about a second per 100,000 mentions."""
        with self._lock:
            sources, found = self._ledger.verify()
            self._kept, self._taken = self._taken_now(sources), monotonic()
            return self._kept, found

    def _taken_now(self, sources: list[SourceBooks]) -> Books:
        return Books(self._clock(), sources, self._ledger.losses())
