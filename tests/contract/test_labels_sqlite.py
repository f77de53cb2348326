from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hark.state import State, open_state
from tests.contract.labels_contract import LabelsContract


class TestSqliteLabels(LabelsContract):
    @pytest.fixture
    def reopen(self, tmp_path: Path) -> Iterator[Callable[[], State]]:
        opened: list[State] = []

        def open_again() -> State:
            opened.append(open_state("embedded", tmp_path))
            return opened[-1]

        yield open_again
        for state in opened:
            state.close()
