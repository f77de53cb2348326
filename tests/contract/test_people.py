from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hark.state import State
from tests.contract.people_contract import PeopleContract
from tests.support.states import reopened


class TestPeopleInSqlite(PeopleContract):
    @pytest.fixture
    def reopen(self, tmp_path: Path) -> Iterator[Callable[[], State]]:
        with reopened("embedded", tmp_path) as open_again:
            yield open_again


class TestPeopleInPostgresql(PeopleContract):
    @pytest.fixture
    def reopen(self, postgres: str, tmp_path: Path) -> Iterator[Callable[[], State]]:
        with reopened(postgres, tmp_path) as open_again:
            yield open_again
