"""Writes batches to an embedded store until it is killed: python -m tests.support.store_writer FOLDER SIZE."""

import sys
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

from hark.core.change import Deleted, Item, Tagged
from hark.core.mention import Enrichment, Language, Mention, Sentiment, Vader
from sinks import open_store

BEGIN = datetime(2026, 11, 2, 12, tzinfo=UTC)


def batch(number: int, size: int) -> list[Item]:
    """Return batch `number`: new mentions, edits of those of the batch before, and the deletion of one of these."""
    items: list[Item] = []
    for place in range(size):
        items.append(_tagged(number, place, 0))
        if number:
            items.append(_tagged(number - 1, place, 1))
    if number:
        items.append(Deleted(f"x:{number - 1}-0", "by its author", BEGIN))
    return items


def _tagged(number: int, place: int, edit: int) -> Tagged:
    at = BEGIN + timedelta(seconds=number * 7 + place)
    text = f"my flight {number} is {'late' if edit else 'on time'}"
    mention = Mention(f"x:{number}-{place}", "x", text, at, at, edit=edit)
    label = "negative" if edit else "positive"
    sentiment = Sentiment(label, 0.0, 0.5, Vader(0.0, 1.0, 0.0, 0.0))
    return Tagged(mention, Enrichment("1", Language("en", 0.9), ("delta",), sentiment))


def main() -> None:
    """Write for ever, printing the number of each batch when the store says that it is durable."""
    folder, size = Path(sys.argv[1]), int(sys.argv[2])
    store = open_store("embedded", folder, {})
    for number in count():
        store.write(batch(number, size))
        sys.stdout.write(f"{number}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
