"""Erasing on request: which mentions it is, their deletions on the common way, and a receipt of what went when.

A deletion travels as every change does, through the log into every store, so that books, generations and feeds know of
it by the ways that they have. What this module adds is to find all that is meant (in the stores, on the way to them,
among the refused), to wait until it is gone, and to say what is known of the rest. Everything may be done again.
"""

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from hark.alerts import desk
from hark.alerts.counts import authored
from hark.bus import publish_changes
from hark.core.change import (
    ENRICHED,
    MENTIONS,
    REJECTED,
    Deleted,
    Edited,
    Seen,
    Tagged,
    decode_change,
    decode_item,
    decode_rejected,
)
from hark.core.clock import Clock, now
from hark.core.errors import HarkError, RefusedError, SettingsError
from hark.core.mention import Mention, source_of
from hark.core.protocols import Bus, Record, Store
from hark.core.tree import And, Field, Query
from hark.generations import Way, passed
from hark.ledger import ENRICH_GROUP, INDEX_GROUP, advance
from hark.query.explain import text_of
from hark.query.fields import normal, normal_of, values_of
from hark.roles import wait_out
from hark.state import State
from hark.state.database import storable
from hark.state.generations import Generation
from hark.state.labels import Labels
from hark.state.people import People

WHY = "erased on request"
LOOK_SECONDS = 0.2
_PAGE = 2_000


class Found(Struct):
    """What a request is about: `ids` are to be erased, `gone` are deleted already, `unknown` were never collected.

    `names` are those that the incidents may know an author by; none where single mentions are meant.
    """

    ids: list[str]
    gone: list[str] = []
    unknown: list[str] = []
    names: tuple[str, ...] = ()

    @property
    def sources(self) -> dict[str, int]:
        """Return how many there are of each source, by name."""
        return dict(sorted(Counter(map(source_of, self.ids)).items()))


class Kept(Struct, frozen=True):
    """A topic of the log, and when its files hold nothing of this any more; None: no date is known, and `why`."""

    topic: str
    until: datetime | None
    why: str = ""


class Receipt(Struct, frozen=True):
    """What went when, and what goes by which date. Mentions are counted; ids stand only where nothing was done.

    `waiting` are on their way to be deleted when `at` came: nothing has to be done but to let the roles run.
    """

    at: datetime
    erased: int
    waiting: int
    sources: dict[str, int]
    generations: tuple[int, ...]
    labels: int
    incidents: int
    refused: int
    """Of them among the rejected, whose original bytes the log keeps."""
    log: tuple[Kept, ...]
    remains: tuple[str, ...]
    not_covered: tuple[str, ...]
    deleted_before: tuple[str, ...]
    unknown: tuple[str, ...]


TOMBSTONES = (
    "their ids, without anything else: in the stores and in the books, so that nothing brings them back"
)
SEGMENTS = (
    "bytes in Elasticsearch's segment files until it merges these: no date is known; no search reads them "
    "(_forcemerge with only_expunge_deletes does it at once)"
)
NOT_COVERED = (
    "exports, reports and files of labels that people made, and files that were imported",
    "backups and snapshots of the data folder and of the servers",
    "notifications that were sent, notes that people wrote, and the console's audit log",
    "models that were trained on the texts",
    "what others wrote: reposts, quotes and answers are their authors' mentions",
    "mentions that are collected later",
)


class Erasing:
    """Erases mentions from a center. `stores` are those of all generations that are kept, by number.

    Methods raise TransientError while something that they need is away.
    """

    def __init__(
        self,
        bus: Bus,
        state: State,
        stores: Mapping[int, Store],
        kept: Sequence[Generation] = (),
        remains: Sequence[str] = (TOMBSTONES,),
        clock: Clock = now,
    ) -> None:
        self._bus = bus
        self._state = state
        self._stores = stores
        self._kept = kept
        self._remains = tuple(remains)
        self._clock = clock

    def by_id(self, ids: Sequence[str]) -> Found:
        """Return which of `ids` can be erased: those in the store, on the way to it, or refused."""
        advance(self._bus, self._state)
        wanted = list(dict.fromkeys(ids))
        possible = [id for id in wanted if _possible(id)]
        standing = self._standing(possible)
        collected = self._state.known(possible) | standing.keys()
        gone = {id for id, state in standing.items() if state == "deleted"}
        return Found(
            [id for id in possible if id in collected - gone],
            [id for id in possible if id in gone],
            [id for id in wanted if id not in collected],
        )

    def by_author(self, handle: str, source: str | None = None) -> Found:
        """Return all mentions of an author that were collected by now: stored, on the way, or refused."""
        wanted = normal_of("author", handle)
        if not wanted:
            raise SettingsError("--author: expected a handle, with or without @")
        author = Field("author", "=", wanted)
        of_source = None if source is None else Field("source", "=", normal(source))
        node = author if of_source is None else And((author, of_source))

        def meant(mention: Mention) -> bool:
            in_source = of_source is None or normal(mention.source) == of_source.value
            return in_source and values_of("author", mention, None)[:1] == [wanted]

        # Offsets first: what is below them is in the next stage already.
        begin = self._bus.committed(MENTIONS, ENRICH_GROUP), self._bus.committed(ENRICHED, INDEX_GROUP)
        names, found = {wanted}, dict.fromkeys(self._refused_of(wanted, of_source))
        for store in self._stores.values():
            for hit in store.search(Query(text_of(node), node), limit=None):
                found[hit.mention.id] = None
                names.add(authored(hit.mention))
        for mention in self._on_the_way(*begin):
            if meant(mention):
                found[mention.id] = None
                names.add(authored(mention))
        ids = [id for id in found if _possible(id)]
        standing = self._standing(ids)
        return Found([id for id in ids if standing.get(id) != "deleted"], names=tuple(sorted(names)))

    def erase(
        self, found: Found, stop: threading.Event, told: Callable[[int], None] = lambda number: None
    ) -> Receipt:
        """Publish the deletions, wait until they are done or `stop` is set, and return the receipt.

        `told` is handed how many are gone since it was last called. Raises TransientError when the log is away: some
        may have been published then, and it is to be done again.
        """
        moment = self._clock()
        # The labels first: killed after it, the next call still finds the mentions, and goes on from there.
        labels = Labels(self._state).forget([*found.ids, *found.gone])
        for start in range(0, len(found.ids), _PAGE):
            some = found.ids[start : start + _PAGE]
            publish_changes(self._bus, [Deleted(id, WHY, moment) for id in some])
        if found.ids:
            said = ", ".join(f"{source} {number:,}" for source, number in found.sources.items())
            People(self._state).note("hark erase", "mentions erased", said)
        waiting = self._gone(found.ids, stop, told)
        incidents = desk.forget_author(self._state, *found.names) if found.names else 0
        advance(self._bus, self._state)
        refused = set(self._state.rejected_ids()).intersection(map(storable, found.ids))
        return Receipt(
            at=self._clock(),
            erased=len(found.ids) - len(waiting),
            waiting=len(waiting),
            sources=found.sources,
            generations=tuple(sorted(self._stores)),
            labels=labels,
            incidents=incidents,
            refused=len(refused),
            log=() if waiting else self._log_keeps(),
            remains=self._remains,
            not_covered=NOT_COVERED,
            deleted_before=tuple(found.gone),
            unknown=tuple(found.unknown),
        )

    def _gone(self, ids: Sequence[str], stop: threading.Event, told: Callable[[int], None]) -> list[str]:
        """Wait until every store has deleted `ids`; return those that are not when `stop` came."""
        left = list(ids)
        while left and not stop.is_set():
            page = left[:_PAGE]
            standing = wait_out(partial(self._standing, page), stop, "store")
            still = [id for id in page if (standing or {}).get(id) != "deleted"]
            left = still + left[_PAGE:]
            told(len(page) - len(still))
            if still:
                stop.wait(LOOK_SECONDS)
        # A store may know of a deletion a moment before its rows are gone: the index role moves on after that.
        if ids and not left and not wait_out(partial(self._indexed, stop), stop, "store"):
            return list(ids)
        return left

    def _indexed(self, stop: threading.Event) -> bool:
        """Wait until the index role has done all that is in its topic now; False when `stop` came first."""
        ends = self._bus.ends(ENRICHED)
        while not passed(self._bus.committed(ENRICHED, INDEX_GROUP), ends):
            if stop.wait(LOOK_SECONDS):
                return False
        return True

    def _standing(self, ids: Sequence[str]) -> dict[str, str]:
        """Return what the stores know of `ids`: "deleted" where all of them say so, else "indexed"."""
        said = [store.account(ids)[1] for store in self._stores.values()]
        return {
            id: "deleted" if all(one.get(id) == "deleted" for one in said) else "indexed"
            for id in ids
            if any(id in one for one in said)
        }

    def _on_the_way(self, mentions: Mapping[int, int], enriched: Mapping[int, int]) -> Iterator[Mention]:
        """Yield the mentions that the log holds from these offsets on, tagged or not."""
        decoders: tuple[tuple[str, Mapping[int, int], Callable[[bytes], Any]], ...] = (
            (MENTIONS, mentions, decode_change),
            (ENRICHED, enriched, decode_item),
        )
        for topic, start, decode in decoders:
            for record in self._bus.read(topic, start):
                mention = _mention_in(record, decode)
                if mention is not None:
                    yield mention

    def _refused_of(self, wanted: str, source: Field | None) -> Iterator[str]:
        """Yield the ids of refusals whose bytes can still be read so far that they name their author."""
        for record in self._bus.read(REJECTED):
            item = decode_rejected(record.value)
            of_source = source is None or normal(item.source) == source.value
            if of_source and normal_of("author", _author_in(item.original)) == wanted:
                yield item.id

    def _log_keeps(self) -> tuple[Kept, ...]:
        at = self._clock()
        found = [self._keeps(topic, at) for topic in (MENTIONS, ENRICHED, REJECTED)]
        # Made with the same settings, and removed with their generation: to ask for one could make it again.
        for way in (Way(each.number) for each in self._kept if each.shadow):
            found += [replace(found[1], topic=way.enriched), replace(found[0], topic=way.history)]
        return tuple(found)

    def _keeps(self, topic: str, at: datetime) -> Kept:
        try:
            longest = self._bus.kept(topic)
        except HarkError as error:  # the rest of the receipt is true all the same
            return Kept(topic, None, str(error))
        return Kept(topic, None, "its retention has no end") if longest is None else Kept(topic, at + longest)


def _possible(id: str) -> bool:
    """Say whether a store can hold an id: NUL ends a string in C, and half a surrogate pair is no text."""
    return "\0" not in id and id == id.encode("utf-8", "ignore").decode()


def _mention_in(record: Record, decode: Callable[[bytes], Any]) -> Mention | None:
    try:
        change = decode(record.value)
    except RefusedError:
        return None  # the next stage refuses it: then it is among the rejected
    return change.mention if isinstance(change, Seen | Edited | Tagged) else None


def _author_in(original: bytes) -> str:
    """Return the author that refused bytes name, "" where they cannot be read or name none."""
    try:
        body = msgspec.json.decode(original)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""
    if not isinstance(body, dict):
        return ""
    mention = body.get("mention", body)
    author = mention.get("author") if isinstance(mention, dict) else None
    if isinstance(author, dict):
        author = author.get("handle") or author.get("name")
    return author if isinstance(author, str) else ""
