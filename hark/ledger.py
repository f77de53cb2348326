"""The books: what was collected, and where each of it is now.

Collected are the distinct ids in the log (topics mentions and rejected), counted by a register of their own in
the state database. Each is indexed or deleted (the store says so), rejected (the rejected log says so, and the
store does not know it), or pending (the log's offsets say that a stage has not processed it yet). Nothing is
obtained by subtraction, so that the sum can fail to come out: that is what makes it worth looking at.

What retention removed from the log before the register, or a stage, had come to it is in no such sum. It is noticed
by the offsets and kept in the state database, and books with such losses do not balance until they are written off.
"""

from collections.abc import Callable, Iterable, Iterator

import structlog
from msgspec import Struct, field
from msgspec.structs import asdict

from hark.core.change import ENRICHED, MENTIONS, REJECTED
from hark.core.mention import source_of
from hark.core.protocols import Books, Bus, Store
from hark.state import Loss, NoticedLoss, State
from hark.state.database import storable

ENRICH_GROUP = "hark.enrich"
INDEX_GROUP = "hark.index"
REGISTER = "the books"
"""The register as a reader of the log."""
_BATCH = 5_000
log = structlog.get_logger()


class SourceBooks(Struct):
    """The books of one source: numbers of distinct mentions."""

    name: str
    collected: int = 0
    indexed: int = 0
    rejected: int = 0
    deleted: int = 0
    pending: int = 0

    @property
    def balanced(self) -> bool:
        """Whether all that was collected is somewhere, once."""
        return self.collected == self.indexed + self.rejected + self.deleted + self.pending


class Verification(Struct):
    """What a comparison of the ids themselves found; the lists are cut at 20, the counts are whole."""

    compared: int = 0
    missing: int = 0
    """In the log, and in none of store, rejected and pending."""
    unknown: int = 0
    """In the store, and never in the log."""
    examples: list[str] = field(default_factory=list)


class Ledger:
    """The books of one center."""

    def __init__(
        self,
        bus: Bus,
        store: Store,
        state: State,
        ways: Callable[[], Iterable[tuple[str, str]]] = tuple,
    ) -> None:
        """`ways` returns (topic, group) of further ways into the store: what waits there is pending too."""
        self._bus = bus
        self._store = store
        self._state = state
        self._ways = ways

    def books(self) -> list[SourceBooks]:
        """Return the books per source, exact even while mentions are on their way."""
        return self._take_stock(verification=None)

    def losses(self) -> list[NoticedLoss]:
        """Return what the log lost before it was read, and nobody has written off; look after `books`."""
        return [loss for loss in self._state.losses() if not loss.written_off]

    def verify(self) -> tuple[list[SourceBooks], Verification]:
        """Compare the ids of log, register and store one by one; takes about a second per 100,000 mentions."""
        verification = Verification()
        return self._take_stock(verification), verification

    def _take_stock(self, verification: Verification | None) -> list[SourceBooks]:
        # The order makes it exact. Offsets first: what is below them is in the next stage already. Then the
        # store fixes its instant and draws the ids, so that all that it holds by then is in the log's end.
        unprocessed = {
            MENTIONS: self._bus.committed(MENTIONS, ENRICH_GROUP),
            ENRICHED: self._bus.committed(ENRICHED, INDEX_GROUP),
        }
        notice_losses(self._bus, self._state)
        others = [(topic, self._bus.committed(topic, group)) for topic, group in self._ways()]
        collected: dict[str, int] = {}
        pending: set[str] = set()
        rejected: set[str] = set()
        logged: set[str] = set()

        def draw() -> Iterator[str]:
            advance(self._bus, self._state)
            totals, offsets = self._state.totals([MENTIONS])
            collected.update(totals)
            rejected.update(self._state.rejected_ids())
            pending.update(self._keys(MENTIONS, unprocessed[MENTIONS], offsets[MENTIONS]))
            pending.update(self._keys(ENRICHED, unprocessed[ENRICHED], self._bus.ends(ENRICHED)))
            for topic, start in others:
                end = offsets[MENTIONS] if topic == MENTIONS else self._bus.ends(topic)
                pending.update(self._keys(topic, start, end))
            if verification is not None:
                logged.update(self._state.registered_ids())
                logged.update(self._keys(MENTIONS, None, offsets[MENTIONS]))
            yield from pending | rejected | logged

        in_store, known = self._store.account(draw())
        rejected -= known.keys()
        waiting = set(pending)
        pending -= known.keys() | rejected
        if verification is not None:
            lost = logged - known.keys() - rejected - pending
            held = {id for id, _ in self._store.ids()}
            # What the store says that it has must be there. Elasticsearch's says so first and writes then, for what
            # was not committed when this began.
            lost |= logged & known.keys() - held - waiting
            extra = held - logged
            extra -= self._state.known(list(extra))  # collected since
            verification.compared = len(logged)
            verification.missing, verification.unknown = len(lost), len(extra)
            verification.examples = [*sorted(lost)[:10], *sorted(extra)[:10]]
        return _add_up(collected, in_store, rejected, pending)

    def _keys(self, topic: str, start: dict[int, int] | None, end: dict[int, int]) -> Iterator[str]:
        return (storable(record.key) for record in self._bus.read(topic, start, end))


def advance(bus: Bus, state: State) -> int:
    """Count what is new in the log into the register; returns how many records were read.

    Any number of processes may do it at once: each record is counted by one of them.
    """
    read = 0
    for topic in (MENTIONS, REJECTED):
        while fresh := _advance_batch(bus, state, topic):
            read += fresh
    return read


def notice_losses(bus: Bus, state: State) -> None:
    """Keep in `state`, and say once, what the log removed before a stage had processed it.

    Call it before a stage goes on: from then on its offsets no longer tell.
    """
    for topic, group in ((MENTIONS, ENRICH_GROUP), (ENRICHED, INDEX_GROUP)):
        lost = [Loss(topic, p, group, begin, end) for p, (begin, end) in bus.lost(topic, group).items()]
        if lost:
            _tell(state.save_losses(lost))


def _tell(losses: Iterable[Loss]) -> None:
    for loss in losses:
        log.error("the log lost records before they were read", **asdict(loss))


def _advance_batch(bus: Bus, state: State, topic: str) -> int:
    before = state.ledger_offsets(topic)
    end = bus.ends(topic)
    # A partition that ends before what was counted is another one: its topic was deleted and made anew.
    counted = {p: before.get(p, 0) if before.get(p, 0) <= offset else 0 for p, offset in end.items()}
    if counted == end:
        return 0
    starts = bus.starts(topic)
    after = {p: max(offset, starts.get(p, 0)) for p, offset in counted.items()}
    lost = [
        Loss(topic, p, REGISTER, counted[p], offset) for p, offset in after.items() if offset > counted[p]
    ]
    if not before:
        bus.hold(topic, after)
    ids: list[str] = []
    for record in bus.read(topic, dict(after), end):
        ids.append(record.key)
        after[record.partition] = record.offset + 1
        if len(ids) == _BATCH:
            break
    else:
        after = {p: max(after[p], offset) for p, offset in end.items()}
    # False: another process was quicker; what it counted is not counted here, and the loop looks again.
    if state.register(topic, before, after, ids, rejected=topic == REJECTED, lost=lost):
        bus.hold(topic, after)
        _tell(lost)
    return max(1, len(ids))


def _add_up(
    collected: dict[str, int], in_store: dict[str, Books], rejected: set[str], pending: set[str]
) -> list[SourceBooks]:
    books: dict[str, SourceBooks] = {}

    def of(source: str) -> SourceBooks:
        return books.setdefault(source, SourceBooks(source))

    for source, number in collected.items():
        of(source).collected = number
    for source, held in in_store.items():
        of(source).indexed, of(source).deleted = held.indexed, held.deleted
    for id in rejected:
        of(source_of(id)).rejected += 1
    for id in pending:
        of(source_of(id)).pending += 1
    return sorted(books.values(), key=lambda source: source.name)
