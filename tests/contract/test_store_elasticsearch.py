from collections.abc import Callable, Iterator

import pytest
from msgspec.structs import replace

from hark.core.change import Tagged
from hark.core.mention import Enrichment, Mention
from hark.core.protocols import Store
from tests.contract.store_contract import Reference, StoreContract
from tests.support.elasticsearch import Stores, stores_on
from tests.support.queries import collections, parsed, queries


@pytest.fixture
def stores(elasticsearch: str) -> Iterator[Stores]:
    with stores_on(elasticsearch) as stores:
        yield stores


class TestElasticsearchStore(StoreContract):
    examples = 6

    @pytest.fixture
    def fresh(self, stores: Stores) -> Callable[[], Store]:
        return stores.fresh

    @pytest.fixture
    def again(self, stores: Stores) -> Callable[[Store], Store]:
        return stores.again

    def test_hundreds_of_queries_over_one_collection_find_what_the_matcher_does(self, stores: Stores) -> None:
        """Making a store takes long here, asking one does not."""
        items: list[Tagged] = []

        def gather(pairs: list[tuple[Mention, Enrichment]]) -> None:
            for mention, enrichment in pairs:
                items.append(Tagged(replace(mention, id=f"{mention.id}-{len(items)}"), enrichment))

        self.explore(gather, collections(max_size=30))
        store, reference = stores.fresh(), Reference(items)
        assert store.write(items) == []

        def asked(text: str) -> None:
            assert list(store.search(parsed(text), limit=None)) == reference.search(parsed(text)), text

        self.examples = 300
        self.explore(asked, queries())
