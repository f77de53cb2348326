"""The indices of Elasticsearch's store: making them, refreshing them, and reading documents by id."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, TypeVar

from elasticsearch import ApiError
from msgspec import Struct, field

from hark.core.errors import SettingsError, TransientError
from hark.core.protocols import Hit
from sinks.elasticsearch_client import Client, said_by
from sinks.elasticsearch_heads import Head
from sinks.elasticsearch_mapping import LAYOUT, Names, heads_index, templates

T = TypeVar("T")

PAGE = 1_000
"""Documents in one answer."""


class Row(Struct):
    """A row as far as it is read; a tombstone has no hit."""

    hit: Hit | None = None


class FoundRow(Struct, rename={"id": "_id", "index": "_index", "version": "_version", "row": "_source"}):
    """A row and the revision of its head that wrote it; version 0: there is none."""

    id: str
    index: str = ""
    version: int = 0
    row: Row = field(default_factory=Row)
    error: dict[str, Any] | None = None
    sort: list[Any] = []


class FoundHead(
    Struct, rename={"id": "_id", "number": "_seq_no", "term": "_primary_term", "head": "_source"}
):
    """A head, and what a change of it must name to be the next one."""

    id: str
    number: int = 0
    term: int = 0
    head: Head | None = None
    sort: list[Any] = []
    error: dict[str, Any] | None = None


class _Rows(Struct):
    docs: list[FoundRow]


class _Heads(Struct):
    docs: list[FoundHead]


class _Shards(Struct):
    failed: int = 0


class _Refreshed(Struct):
    shards: _Shards = field(default_factory=_Shards, name="_shards")


class _Created(Struct):
    shards_acknowledged: bool = True


class _Mapping(Struct):
    meta: dict[str, Any] = field(default_factory=dict, name="_meta")


class _Index(Struct):
    mappings: _Mapping


class _Aliased(Struct):
    aliases: dict[str, Any] = {}


class Indices:
    """All that one store owns in the cluster."""

    def __init__(self, client: Client, names: Names) -> None:
        self.names = names
        self._client = client
        self._months: set[str] = set()

    def prepare(self) -> None:
        """Make the templates and the index of the heads.

        SettingsError when they are another Hark's, or when the heads are gone and the rows are not.
        """
        self._client.ask("GET", "/", dict[str, Any])
        names = self.names
        indices = self.owned()
        if indices and names.heads not in indices:
            problem = "is gone, and those of the mentions are there: it says which were deleted, and counts them all"
            remedy = "Restore it from a snapshot, or name another prefix at the end of the store's address."
            raise SettingsError(f"store: the index {names.heads} {problem}. {remedy}")
        for name, body in templates(names).items():
            self._client.ask("PUT", f"/_index_template/{name}", dict[str, Any], body)
        self._create(names.heads, heads_index())
        found = self._client.ask("GET", f"/{names.heads}/_mapping", dict[str, _Index])
        if any(index.mappings.meta.get("layout") != LAYOUT for index in found.values()):
            problem = (
                "was made by another version of Hark: name another prefix at the end of the store's address"
            )
            raise SettingsError(f"store: the index {names.heads} {problem}")
        self.mend_alias()

    def mend_alias(self) -> bool:
        """Let those months be searched that somebody has taken out of the alias; says whether there were any."""
        rows = self.names.rows
        aliased = self._client.ask("GET", f"/{self.names.month('*')}/_alias", dict[str, _Aliased])
        lost = {
            index.removeprefix(f"{rows}-") for index, known in aliased.items() if rows not in known.aliases
        }
        self._months -= lost
        self.make_months(lost)
        return bool(lost)

    def owned(self) -> list[str]:
        """Return the names of the indices that are there: of the months, and last that of the heads."""
        wanted = f"/{self.names.month('*')},{self.names.heads}"
        names_alone = "*.settings.index.uuid"
        found = self._client.ask(
            "GET", wanted, dict[str, Any], ignore_unavailable="true", filter_path=names_alone
        )
        return sorted(found, key=lambda index: index == self.names.heads)

    def make_months(self, months: set[str]) -> None:
        """Make indices that this object has not seen, and let them be searched once they can be."""
        for month in months - self._months:
            index = self.names.month(month)
            self._create(index, {})
            aliased = {"actions": [{"add": {"index": index, "alias": self.names.rows}}]}
            self._client.ask("POST", "/_aliases", dict[str, Any], aliased)
            self._months.add(month)

    def forget_months(self) -> None:
        """Look again whether the indices of the months are there: one may have been removed meanwhile."""
        self._months.clear()

    def _create(self, index: str, body: Mapping[str, Any]) -> None:
        try:
            ready = self._client.ask("PUT", f"/{index}", _Created, body, expected=(400,)).shards_acknowledged
        except ApiError as error:
            if "resource_already_exists_exception" not in said_by(error):
                # Most likely the cluster has as many shards as it may have; it goes on when there is room.
                problem = f"Elasticsearch does not make the index {index}: {said_by(error)}"
                raise TransientError(problem) from error
            health = f"/_cluster/health/{index}"
            # 408 when it takes longer
            self._client.ask("GET", health, dict[str, Any], wait_for_status="yellow", timeout="30s")
            ready = True
        if not ready:
            raise TransientError(f"the index {index} has no running shard: see Elasticsearch's own log")

    def refresh(self) -> None:
        """Let searches see all that any process has written by now."""
        path = f"/{self.names.rows},{self.names.heads}/_refresh"
        answer = self._client.ask("POST", path, _Refreshed, ignore_unavailable="true")
        if answer.shards.failed:
            raise TransientError("Elasticsearch cannot refresh all indices now")

    def heads(self, ids: Sequence[str]) -> dict[str, FoundHead]:
        """Return the heads of those of `ids` that have one, as they are now, whether refreshed or not."""
        found: dict[str, FoundHead] = {}
        for some in cut(ids, PAGE):
            answer = self._client.ask("POST", f"/{self.names.heads}/_mget", _Heads, {"ids": some})
            for document in answer.docs:
                if document.error is not None:
                    raise TransientError(
                        f"Elasticsearch cannot read a head now: {document.error.get('reason')}"
                    )
                if document.head is not None:
                    found[document.id] = document
        return found

    def rows(self, places: Sequence[tuple[str, str]]) -> Iterator[FoundRow]:
        """Yield the rows of (month, id) as they are now, in order."""
        for some in cut(places, PAGE):
            wanted = [{"_index": self.names.month(month), "_id": id} for month, id in some]
            for document in self._client.ask("POST", "/_mget", _Rows, {"docs": wanted}).docs:
                if document.error is not None and document.error.get("type") != "index_not_found_exception":
                    raise TransientError(
                        f"Elasticsearch cannot read a row now: {document.error.get('reason')}"
                    )
                yield document


def cut(things: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yield lists of at most `size` things."""
    rest = iter(things)
    while some := list(islice(rest, size)):
        yield some
