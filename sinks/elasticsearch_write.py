"""Writing to Elasticsearch's store, so that a write may come in any order and be repeated at any point.

Why this is exact is told in docs/adr/0004-elasticsearch-writes.md.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from msgspec import Raw
from msgspec.structs import replace

from hark.core.change import Item, Labelled, Tagged, key_of
from hark.core.errors import TransientError
from hark.core.protocols import Hit, Refusal
from hark.query.fields import Taxonomy
from sinks import labels
from sinks.elasticsearch_client import Client, Outcome, quoted
from sinks.elasticsearch_heads import Head, Write, first_of_version, settle, undone
from sinks.elasticsearch_indices import FoundHead, Indices
from sinks.elasticsearch_mapping import encoded_hit, id_objection, month_of, objection, row_of

_MOST_RACES = 10
_REFUSED = (400, 413)
"""Statuses of what will never be taken."""

Items = list[tuple[int, Item, str]]
"""What a batch says of one id: index in the batch, the item, and the month it belongs to."""


class _Row(NamedTuple):
    """What a row is made from; `encoded` is the hit's JSON where it has been made already."""

    hit: Hit
    encoded: Raw | None = None


class Writer:
    """Writes batches; one at a time."""

    def __init__(self, client: Client, indices: Indices, taxonomy: Taxonomy) -> None:
        self._client = client
        self._indices = indices
        self._taxonomy = taxonomy

    def write(self, items: Sequence[Item], records: Sequence[bytes] = ()) -> list[Refusal]:
        """Write items: heads first, which decide what stands, then rows, then tombstones where rows have left.

        A failure between the steps is mended when the items are written again.
        """
        refusals: dict[int, str] = {}
        waiting: dict[str, Items] = {}
        encoded: dict[int, Raw] = {}
        for index, item in enumerate(items):
            month = ""
            reason = _objection(item)
            if reason is None and isinstance(item, Tagged):
                month = month_of(item.mention)
                try:
                    encoded[index] = encoded_hit(item, records[index] if records else b"")
                except ValueError as error:
                    reason = f"cannot be stored: {error}"
            if reason is None:
                waiting.setdefault(key_of(item), []).append((index, item, month))
            else:
                refusals[index] = reason
        if not waiting:
            return _listed(refusals)
        writes, before = self._settle(waiting, refusals)
        rows = _fresh_rows(items, encoded, writes) | self._stale_rows(items, waiting, writes, before)
        refused = self._write_rows(rows, writes)
        for id, outcome in refused.items():
            row = writes[id].row
            blamed = [index for index, _, _ in waiting[id]] if row is None else [row]
            refusals |= dict.fromkeys(blamed, f"Elasticsearch refuses it: {outcome.error}")
        self._undo({id: writes.pop(id) for id in refused}, before)
        self._write_tombstones(writes)
        # What a refused item had covered stands after all.
        rest = [index for id in refused for index, _, _ in waiting[id] if index not in refusals]
        again = [items[index] for index in rest], [records[index] for index in rest if records]
        for refusal in self.write(*again) if rest else ():
            refusals[rest[refusal.index]] = refusal.reason
        return _listed(refusals)

    def _settle(
        self, waiting: dict[str, Items], refusals: dict[int, str]
    ) -> tuple[dict[str, Write], dict[str, Head]]:
        """Bring the heads to their new states; return these, and the heads that stood before."""
        settled: dict[str, Write] = {}
        heads: dict[str, FoundHead] = {}
        pending = waiting
        # Most ids are new: the first try says so, and the server contradicts for those that are not.
        for _ in range(_MOST_RACES):
            writes = {
                id: settle(heads[id].head if id in heads else None, items) for id, items in pending.items()
            }
            settled |= writes
            changed = [id for id, write in writes.items() if write.changed]
            operations = [
                _head_line(self._indices.names.heads, id, writes[id].head, heads.get(id)) for id in changed
            ]
            outcomes = dict(zip(changed, self._client.bulk(operations), strict=True))
            for id, outcome in outcomes.items():
                if outcome.status in _REFUSED:
                    reason = f"Elasticsearch refuses it: {outcome.error}"
                    refusals |= {index: reason for index, _, _ in waiting[id]}
                    del settled[id]
            lost = [id for id, outcome in outcomes.items() if outcome.status == 409]
            if not lost:
                return settled, {id: found.head for id, found in heads.items() if found.head is not None}
            heads |= self._indices.heads(lost)
            pending = {id: waiting[id] for id in lost}
        raise TransientError(f"another process keeps changing {lost[0]!r} and {len(lost) - 1} others")

    def _stale_rows(
        self,
        items: Sequence[Item],
        waiting: Mapping[str, Items],
        writes: Mapping[str, Write],
        before: dict[str, Head],
    ) -> dict[str, _Row]:
        """Return the rows of ids whose head had the mention already: for new labels, or after a crash."""
        known = [id for id, write in writes.items() if write.row is None and write.head.state == "indexed"]
        rows: dict[str, _Row] = {}
        for found in self._indices.rows([(writes[id].head.months[-1], id) for id in known]):
            head, hit = writes[found.id].head, found.row.hit
            standing = -1 if hit is None else Tagged(hit.mention, hit.enrichment).version
            if hit is not None and standing == head.version:
                if found.version < head.revision:
                    rows[found.id] = _Row(hit)
            elif (index := first_of_version(head.version, waiting[found.id])) is not None:
                # The head was written, and the row was not.
                writes[found.id].row, rows[found.id] = index, _Row(_hit(items[index]))
                before[found.id] = replace(
                    head, version=standing, state="refused" if hit is None else "indexed"
                )
        return rows

    def _row_lines(self, row: _Row, head: Head) -> bytes:
        mention, enrichment, encoded = row.hit.mention, row.hit.enrichment, row.encoded
        if head.labels:
            enrichment, encoded = labels.apply(enrichment, head.labels), None
        document = row_of(mention, enrichment, self._taxonomy, encoded)
        return self._action(mention.id, head.months[-1], head.revision) + quoted(document)

    def _action(self, id: str, month: str, revision: int) -> bytes:
        where = {
            "_index": self._indices.names.month(month),
            "_id": id,
            "version": revision,
            "version_type": "external",
        }
        return quoted({"index": where})

    def _write_rows(self, rows: Mapping[str, _Row], writes: Mapping[str, Write]) -> dict[str, Outcome]:
        """Write rows; return the outcomes of those that Elasticsearch will never take."""
        lines = (self._row_lines(row, writes[id].head) for id, row in rows.items())
        outcomes = self._bulk_in_months({writes[id].head.months[-1] for id in rows}, lines)
        # 409: a newer row stands there already.
        return {id: out for id, out in zip(rows, outcomes, strict=True) if out.status in _REFUSED}

    def _undo(self, refused: Mapping[str, Write], before: Mapping[str, Head]) -> None:
        """Take back the heads of rows that were refused, unless another process has gone on from there."""
        heads = self._indices.heads(list(refused))
        self._client.bulk(
            _head_line(self._indices.names.heads, id, undone(before.get(id), write), heads[id])
            for id, write in refused.items()
            if id in heads and heads[id].head == write.head
        )

    def _write_tombstones(self, writes: Mapping[str, Write]) -> None:
        """Put an empty document over each row that no longer stands, so that none written late comes back."""
        left = [
            (id, month, write.head.revision)
            for id, write in writes.items()
            for month in (write.head.months if write.head.state == "deleted" else write.head.months[:-1])
        ]
        lines = (self._action(*place) + b"{}\n" for place in left)
        self._bulk_in_months({month for _, month, _ in left}, lines)

    def _bulk_in_months(self, months: set[str], lines: Iterable[bytes]) -> list[Outcome]:
        self._indices.make_months(months)
        try:
            return self._client.bulk(lines)
        except TransientError:
            self._indices.forget_months()
            raise


def _objection(item: Item) -> str | None:
    reason = id_objection(key_of(item))
    if reason is None and isinstance(item, Tagged):
        reason = objection(item)
    if reason is None and isinstance(item, Labelled):
        reason = labels.refusal(item)
    return reason


def _fresh_rows(
    items: Sequence[Item], encoded: Mapping[int, Raw], writes: Mapping[str, Write]
) -> dict[str, _Row]:
    return {
        id: _Row(_hit(items[write.row]), encoded[write.row])
        for id, write in writes.items()
        if write.row is not None
    }


def _hit(item: Item) -> Hit:
    assert isinstance(item, Tagged)
    return Hit(item.mention, item.enrichment)


def _listed(refusals: Mapping[int, str]) -> list[Refusal]:
    return [Refusal(index, refusals[index]) for index in sorted(refusals)]


def _head_line(index: str, id: str, head: Head, found: FoundHead | None) -> bytes:
    if found is None:
        return quoted({"create": {"_index": index, "_id": id}}) + quoted(head)
    where = {"_index": index, "_id": id, "if_seq_no": found.number, "if_primary_term": found.term}
    return quoted({"index": where}) + quoted(head)
