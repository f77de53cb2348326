"""How many mentions a query finds: exactly where that is quick, else from a sample, with its bounds."""

from datetime import datetime
from math import sqrt

from msgspec import Struct

from hark.core.clock import monotonic
from hark.core.protocols import Store
from hark.core.tree import Query
from hark.query.patience import TooSlowError, within

_TRIES = ((0, 1.0), (5, 0.4), (10, 0.3), (15, 0.2))
"""Level of the sample, and how many seconds it may take: together less than a person waits for."""
_Z = 1.959963984540054


class Volume(Struct, frozen=True):
    """A count, with a 95 % interval unless `exact`: one mention in `one_in` was looked at, in so many seconds."""

    count: int
    low: int
    high: int
    exact: bool
    one_in: int
    seconds: float


def volume(store: Store, query: Query, since: datetime, until: datetime) -> Volume:
    """Count a query's mentions in a range of time within INTERACTIVE_SECONDS.

    Where that is too long for all of them, those ahead in the order of samples are counted, one in 32, 1,024 or
    32,768. The interval is that of a Poisson count (the score interval, as in Barker, The American Statistician 56,
    2002, 85-89). Raises TooSlowError where not even that is quick enough.
    """
    begun = monotonic()
    for level, seconds in _TRIES:
        try:
            with within(seconds):
                count = store.count(query, since, until, level)
        except TooSlowError:
            continue
        one_in = 1 << level
        low, high = (count, count) if level == 0 else _bounds(count)
        taken = monotonic() - begun
        return Volume(count * one_in, int(low * one_in), round(high * one_in), level == 0, one_in, taken)
    raise TooSlowError


def _bounds(count: int) -> tuple[float, float]:
    middle, reach = count + _Z**2 / 2, _Z * sqrt(count + _Z**2 / 4)
    return max(0.0, middle - reach), middle + reach
