"""What a test needs from outside: it skips with a line that says what is missing, or fails where all is required."""

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


def missing(reason: str) -> None:
    """Skip the running test with `reason`; with HARK_REQUIRE_ALL=1 fail instead."""
    if os.environ.get("HARK_REQUIRE_ALL") == "1":
        pytest.fail(f"HARK_REQUIRE_ALL=1 and {reason}", pytrace=False)
    pytest.skip(reason)


def shared_data(name: str) -> Path:
    """Return the path of a file of the shared evaluation data, or skip where it is not present.

    The data is looked for in the folder HARK_SHARED_DATA, then in `../shared/data` beside the repository.
    """
    root = Path(os.environ.get("HARK_SHARED_DATA") or REPOSITORY.parent / "shared" / "data")
    path = root / name
    if not path.exists():
        missing(f"evaluation data {name} is not here: set HARK_SHARED_DATA to the folder that holds it")
    return path
