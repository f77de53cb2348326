"""Logs of every role: one line an event on standard error, readable on a terminal, JSON elsewhere.

Ids, numbers, names of sources and reasons are logged; texts, authors and secrets never.
"""

import logging
import sys

import structlog
from structlog.typing import EventDict, WrappedLogger


def configure(role: str) -> None:
    """Set up logging for this process; `role` stands in every line."""
    terminal = sys.stderr.isatty()

    def add_role(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
        event.setdefault("role", role)  # not by context variables: threads start without them
        return event

    structlog.configure(
        processors=[
            add_role,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.dev.ConsoleRenderer() if terminal else structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
