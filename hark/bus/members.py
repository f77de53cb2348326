"""What readers of a Kafka keep and do, whichever client carries them."""

import time
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from hark.core.clock import monotonic
from hark.core.protocols import Record

T = TypeVar("T")


class Progress:
    """Where a member of a group has got to since its last commit."""

    def __init__(self) -> None:
        self._next: dict[int, int] = {}

    def add(self, records: Iterable[Record]) -> None:
        """Remember the offsets behind what was polled."""
        self._next.update((record.partition, record.offset + 1) for record in records)

    def take(self, assigned: Iterable[int]) -> dict[int, int]:
        """Return what to commit, the next offset of each partition, and begin anew.

        Partitions that have gone to another member are left out: what was polled of them is delivered again there.
        """
        offsets, self._next = self._next, {}
        return {partition: offsets[partition] for partition in assigned if partition in offsets}


def span(
    oldest: Mapping[int, int],
    newest: Mapping[int, int],
    start: Mapping[int, int] | None,
    end: Mapping[int, int] | None,
) -> tuple[dict[int, int], dict[int, int]]:
    """Return where a reading begins and stops in each partition that has something to read."""
    begin = {p: max(offset, (start or {}).get(p, offset)) for p, offset in oldest.items()}
    stop = {p: min(offset, (end or {}).get(p, offset)) for p, offset in newest.items()}
    return {p: n for p, n in begin.items() if n < stop[p]}, stop


def patiently(seconds: float, call: Callable[[], T], passes: Callable[[Exception], bool]) -> T:
    """Return what `call` returns; after an error that passes by itself try again, for `seconds`."""
    deadline = monotonic() + seconds
    while True:
        try:
            return call()
        except Exception as error:
            if monotonic() > deadline or not passes(error):
                raise
        time.sleep(0.1)
