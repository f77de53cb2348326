"""How long a reader waits for an answer; a store that is asked within that gives up when it has passed."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from hark.core.clock import monotonic
from hark.core.errors import SettingsError

INTERACTIVE_SECONDS = 2.0
"""What a person at a screen waits for."""

_deadline: ContextVar[float | None] = ContextVar("deadline", default=None)


class TooSlowError(SettingsError):
    """The store would take longer than the reader waits; the text says what makes a query quicker."""

    def __init__(self) -> None:
        super().__init__(
            "this takes too long here: ask for a shorter time, add a word or a field that few mentions have, "
            "or leave out patterns that begin with * and ONEAR (`hark query explain` says what is slow)"
        )


@contextmanager
def within(seconds: float | None) -> Iterator[None]:
    """Let all that stores are asked in the block, in this thread, end after `seconds`; None: let it take its time.

    Iterators of a store must be drawn within the block. What is asked raises TooSlowError.
    """
    token = _deadline.set(None if seconds is None else monotonic() + seconds)
    try:
        yield
    finally:
        _deadline.reset(token)


def deadline() -> float | None:
    """Return until when the reader waits, in seconds of `monotonic`, or None."""
    return _deadline.get()


def check(until: float | None) -> None:
    """Raise TooSlowError when that time has passed."""
    if until is not None and monotonic() > until:
        raise TooSlowError
