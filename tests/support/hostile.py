"""What stands where a clock would, in tests of texts that would harm a careless program."""

import pytest

in_proportion = pytest.mark.timeout(60)
"""A test whose input is so long that it takes a second or two, and minutes if time grew with the square of its length."""
