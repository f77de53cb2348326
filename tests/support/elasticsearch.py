"""Elasticsearch stores for tests, each with indices of its own that are gone afterwards."""

import json
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any
from uuid import uuid4

from sinks.elasticsearch import ElasticsearchStore, open_store
from tests.support.queries import TAXONOMY


def request(method: str, url: str, body: object = None) -> Any:
    """Ask the server without any client; the JSON of its answer."""
    data = None if body is None else json.dumps(body).encode()
    asked = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
    with urllib.request.urlopen(asked, timeout=60) as answer:
        return json.load(answer)


class Stores:
    """Opens stores on one server, and remembers which prefix each has."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._name = f"t{uuid4().hex[:12]}"
        self._numbers = count()
        self._opened: list[tuple[ElasticsearchStore, str]] = []

    def fresh(self) -> ElasticsearchStore:
        """Open an empty store."""
        return self.open(self.name())

    def name(self) -> str:
        """Return a prefix that no other store has."""
        return f"{self._name}_{next(self._numbers)}"

    def again(self, store: Any) -> ElasticsearchStore:
        """Open a store on what another one holds."""
        return self.open(self.prefix(store))

    def open(self, prefix: str, url: str | None = None) -> ElasticsearchStore:
        """Open the store of a prefix, by another way to the server if need be."""
        store = open_store(f"elasticsearch+{url or self.url}/{prefix}", Path(), TAXONOMY)
        self._opened.append((store, prefix))
        return store

    def prefix(self, store: Any) -> str:
        """Return what the names of a store's indices begin with."""
        return next(prefix for other, prefix in self._opened if other is store)

    def remove(self) -> None:
        """Close all stores and delete what they made."""
        for store, _ in self._opened:
            store.close()
        indices = request("GET", f"{self.url}/_cat/indices/{self._name}_*?format=json&h=index")
        names = [row["index"] for row in indices]
        for some in (names[i : i + 40] for i in range(0, len(names), 40)):
            request("DELETE", f"{self.url}/{','.join(some)}")
        templates = request("GET", f"{self.url}/_index_template/{self._name}_*")["index_templates"]
        for template in templates:
            request("DELETE", f"{self.url}/_index_template/{template['name']}")
        self._opened.clear()


@contextmanager
def stores_on(url: str) -> Iterator[Stores]:
    """Give stores on a server; all that they made is deleted at the end."""
    stores = Stores(url)
    try:
        yield stores
    finally:
        stores.remove()
