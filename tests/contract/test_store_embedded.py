from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from hark.core.protocols import Store
from sinks import open_store
from tests.contract.store_contract import StoreContract
from tests.support.queries import TAXONOMY

Opened = list[tuple[Store, Path]]


@pytest.fixture
def opened() -> Iterator[Opened]:
    stores: Opened = []
    yield stores
    for store, _ in stores:
        store.close()


@pytest.fixture
def fresh(tmp_path: Path, opened: Opened) -> Callable[[], Store]:
    numbers = count()

    def open_new() -> Store:
        folder = tmp_path / str(next(numbers))
        opened.append((open_store("embedded", folder, TAXONOMY), folder))
        return opened[-1][0]

    return open_new


class TestEmbeddedStore(StoreContract):
    @pytest.fixture
    def again(self, opened: Opened) -> Callable[[Store], Store]:
        def open_again(store: Store) -> Store:
            folder = next(folder for other, folder in opened if other is store)
            opened.append((open_store("embedded", folder, TAXONOMY), folder))
            return opened[-1][0]

        return open_again
