"""What the tests of alert rules share: an empty store and an empty state database."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from hark.state import State, open_state
from sinks.embedded import EmbeddedStore
from tests.support.watched import TAXONOMY


@pytest.fixture
def store(tmp_path: Path) -> Iterator[EmbeddedStore]:
    """Return an empty store that knows the topics of `watched`."""
    store = EmbeddedStore(tmp_path / "store.db", TAXONOMY)
    yield store
    store.close()


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    """Return an empty state database."""
    state = open_state("embedded", tmp_path)
    yield state
    state.close()
