"""What a stage could not take: listed with its reason and its bytes, and sent round again once the cause is mended."""

from collections.abc import Sequence

from hark.bus import messages_of, publish_each
from hark.core.change import (
    MENTIONS,
    REJECTED,
    Change,
    Rejected,
    Seen,
    Tagged,
    decode_change,
    decode_item,
    decode_rejected,
    key_of,
)
from hark.core.clock import Clock
from hark.core.errors import RefusedError
from hark.core.protocols import Bus, Store


def still_rejected(bus: Bus, store: Store) -> list[Rejected]:
    """Return the newest refusal of each id that the store does not hold, oldest first."""
    newest: dict[str, Rejected] = {}
    for record in bus.read(REJECTED):
        newest[record.key] = decode_rejected(record.value)
    _, known = store.account(newest)
    return sorted((item for id, item in newest.items() if id not in known), key=lambda item: item.at)


def replay(bus: Bus, items: Sequence[Rejected], clock: Clock) -> list[tuple[str, str]]:
    """Publish `items` to the log again; returns (id, why) of those that still cannot be read.

    Sent twice does no harm: ids and versions make the second one the same. Raises TransientError while the log is
    away (then some may have been sent: send all again).
    """
    changes: list[Change] = []
    refused: list[tuple[str, str]] = []
    for item in items:
        try:
            changes.append(_change(item, clock))
        except RefusedError as error:
            refused.append((item.id, str(error)))
    too_large = publish_each(bus, MENTIONS, messages_of(changes))
    return refused + [(key_of(changes[at]), reason) for at, reason in too_large]


def _change(item: Rejected, clock: Clock) -> Change:
    if item.stage == "enrich":
        return decode_change(item.original)
    if item.stage == "index":
        tagged = decode_item(item.original)
        return Seen(tagged.mention) if isinstance(tagged, Tagged) else tagged
    from ingest.files import LONGEST_LINE_BYTES, change_of, from_json

    if len(item.original) > LONGEST_LINE_BYTES:
        raise RefusedError(f"still longer than {LONGEST_LINE_BYTES:,} bytes")
    return change_of(from_json(item.original), item.source, item.id, clock())
