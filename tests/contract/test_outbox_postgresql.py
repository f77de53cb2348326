from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hark.state import State
from tests.contract.outbox_contract import OutboxContract
from tests.support.states import reopened


class TestPostgresqlOutbox(OutboxContract):
    @pytest.fixture
    def reopen(self, postgres: str, tmp_path: Path) -> Iterator[Callable[[], State]]:
        with reopened(postgres, tmp_path) as open_again:
            yield open_again
