"""What Elasticsearch's store knows of each id: one small document, its *head*, that decides about every write.

A mention's row lies in an index of its month, and a label or a deletion knows only the id; so what stands for an
id is decided in one place. A head is changed only by who has seen its present state (compare and set), and its
`revision` grows by one each time: rows and tombstones carry it as their external version, so that none written
late can cover a newer one.
"""

from collections.abc import Sequence
from typing import Literal

import msgspec
from msgspec import Struct

from hark.core.change import DELETED_VERSION, Deleted, Item, Labelled, Tagged
from hark.core.mention import source_of
from sinks.labels import standing


class Head(Struct, frozen=True, omit_defaults=True):
    """The state of one id.

    `labelled`: only labels have come so far; `refused`: Elasticsearch would not take its row. `version` is that
    of the mention that stands, -1 for none; `months` are the indices that may hold a row or a tombstone of it,
    the row's last.
    """

    source: str
    state: Literal["indexed", "deleted", "labelled", "refused"]
    revision: int
    version: int = -1
    months: tuple[str, ...] = ()
    labels: tuple[Labelled, ...] = ()


class Write(Struct):
    """What a batch does to one id: its head as it shall be, and the item (by index) that gives the row, if any."""

    head: Head
    changed: bool
    row: int | None = None


def settle(head: Head | None, items: Sequence[tuple[int, Item, str]]) -> Write:
    """Apply items (index, item, its month) in order to a head; several make one revision.

    The higher version stands, of equal ones the first; a deletion stands for ever.
    """
    if head is None and len(items) == 1:  # nearly always: the loop below would say the same
        ((index, item, month),) = items
        if isinstance(item, Tagged):
            return Write(Head(source_of(item.mention.id), "indexed", 1, item.version, (month,)), True, index)
    state, row = head, None
    for index, item, month in items:
        match item:
            case Tagged():
                if state is None or item.version > state.version:
                    state, row = _tagged(state, item, month), index
            case Labelled():
                state = _labelled(state, item)
            case Deleted():
                state, row = _deleted(state, item), None
    assert state is not None
    changed = state != head
    revision = (head.revision if head else 0) + changed
    return Write(msgspec.structs.replace(state, revision=revision), changed, row)


def _tagged(head: Head | None, item: Tagged, month: str) -> Head:
    revision, before, labels = (head.revision, head.months, head.labels) if head else (0, (), ())
    months = (*(other for other in before if other != month), month)
    return Head(source_of(item.mention.id), "indexed", revision, item.version, months, labels)


def _labelled(head: Head | None, item: Labelled) -> Head:
    if head is None:
        return Head(source_of(item.id), "labelled", 0, labels=(item,))
    if head.state == "deleted":
        return head
    return msgspec.structs.replace(head, labels=tuple(standing((*head.labels, item))))


def _deleted(head: Head | None, item: Deleted) -> Head:
    if head is None:
        return Head(source_of(item.id), "deleted", 0, DELETED_VERSION)
    if head.state == "deleted":
        return head
    return Head(head.source, "deleted", head.revision, DELETED_VERSION, head.months)


def undone(before: Head | None, write: Write) -> Head:
    """Return the head after Elasticsearch has refused the row: what stood before stands on."""
    head = msgspec.structs.replace(write.head, revision=write.head.revision + 1)
    if before is None or before.state != "indexed":
        return msgspec.structs.replace(head, state="refused", version=-1)
    return msgspec.structs.replace(head, version=before.version, months=before.months)


def first_of_version(version: int, items: Sequence[tuple[int, Item, str]]) -> int | None:
    """Return the index of the first item that is the mention in `version`."""
    return next((i for i, item, _ in items if isinstance(item, Tagged) and item.version == version), None)
