from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hark.state import State
from tests.contract.drift_contract import DriftContract
from tests.support.states import reopened


class TestSqliteDrift(DriftContract):
    @pytest.fixture
    def reopen(self, tmp_path: Path) -> Iterator[Callable[[], State]]:
        with reopened("embedded", tmp_path) as open_again:
            yield open_again
