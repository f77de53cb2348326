from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hark.core.errors import TransientError
from hark.state import State, open_state
from tests.contract.alerts_contract import AlertsContract
from tests.contract.state_contract import StateContract
from tests.support.states import reopened


class TestPostgresqlState(AlertsContract, StateContract):
    @pytest.fixture
    def reopen(self, postgres: str, tmp_path: Path) -> Iterator[Callable[[], State]]:
        with reopened(postgres, tmp_path) as open_again:
            yield open_again


def test_a_server_that_is_away_is_transient(tmp_path: Path) -> None:
    with pytest.raises(TransientError, match="is away"):
        open_state("postgresql://hark@127.0.0.1:1/hark", tmp_path)
