"""A stable sample: all mentions have one shuffled order, by a hash of their ids, the same in every store.

The first hundred of a query in that order are a sample of a hundred, and the first fifty of those one of fifty.
"""

from hashlib import blake2b

from hark.core.errors import SettingsError

_BITS = 63
LEVELS = 20
"""Each level holds half of the one below it; the last holds all that is above."""
LEAST_LEVEL = 3
"""The levels below it are so large that reading all is as good."""
BANDS = (20, 17, 14, 11, 8, 5, LEAST_LEVEL, 0)
"""Levels at which reading stops to see whether it is enough: each holds eight times the one before."""


def place(id: str) -> int:
    """Return where a mention stands in the shuffled order: 63 bits, the smallest first, ties by id."""
    return int.from_bytes(blake2b(id.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big") >> 1


def level(place: int) -> int:
    """Return how far ahead a place is, 0 to LEVELS: one in 2, 4, 8, … has level 1, 2, 3, … or a higher one."""
    return min(LEVELS, _BITS - place.bit_length())


def first_place_below(level: int) -> int:
    """Return the first place that is not at a level or above it."""
    return 1 << (_BITS - level)


def sample_cursor(id: str) -> str:
    """Return the paging cursor that stands after a mention in the shuffled order: "place,id"."""
    return f"{place(id)},{id}"


def sample_position(after: str) -> tuple[int, str]:
    """Return (place, id) of a cursor; raises SettingsError for what is none."""
    number, comma, id = after.partition(",")
    if not comma or not (number.isascii() and number.isdigit()) or int(number[:20]) >> _BITS:
        raise SettingsError(f"{after!r} is not a cursor of a sample; expected PLACE,ID")
    return int(number), id
