from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hark.core.errors import SettingsError
from hark.state import State, open_state
from tests.contract.alerts_contract import AlertsContract
from tests.contract.state_contract import StateContract
from tests.support.states import reopened


class TestSqliteState(AlertsContract, StateContract):
    @pytest.fixture
    def reopen(self, tmp_path: Path) -> Iterator[Callable[[], State]]:
        with reopened("embedded", tmp_path) as open_again:
            yield open_again

    def test_a_database_of_a_newer_hark_is_refused(self, tmp_path: Path, state: State) -> None:
        import sqlite3

        with sqlite3.connect(tmp_path / "state.db") as connection:
            connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.close()
        with pytest.raises(SettingsError, match="newer Hark"):
            open_state("embedded", tmp_path)


@pytest.mark.parametrize("address", ["mysql://host/db", "sqlite", "postgres"])
def test_an_unknown_address_is_answered_with_what_is_expected(address: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="expected"):
        open_state(address, tmp_path)
