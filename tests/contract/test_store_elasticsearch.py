from collections.abc import Callable, Iterator

import pytest

from hark.core.protocols import Store
from tests.contract.store_contract import StoreContract
from tests.support.elasticsearch import Stores, stores_on


@pytest.fixture
def stores(elasticsearch: str) -> Iterator[Stores]:
    with stores_on(elasticsearch) as stores:
        yield stores


class TestElasticsearchStore(StoreContract):
    examples = 12

    @pytest.fixture
    def fresh(self, stores: Stores) -> Callable[[], Store]:
        return stores.fresh

    @pytest.fixture
    def again(self, stores: Stores) -> Callable[[Store], Store]:
        return stores.again
