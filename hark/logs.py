"""Logs of every role: one line an event on standard error, readable on a terminal, JSON elsewhere.

Ids, numbers, names of sources and reasons are logged; texts, authors and secrets never.
"""

import logging
import sys

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger


class _Event(logging.Handler):
    """Writes what a library logs, and nobody else takes, as an event like Hark's own."""

    def emit(self, record: logging.LogRecord) -> None:
        structlog.get_logger().log(
            record.levelno, "library", name=record.name, reason=record.getMessage(), exc_info=record.exc_info
        )


def configure(role: str) -> None:
    """Set up logging for this process; `role` stands in every line."""
    terminal = sys.stderr.isatty()

    def add_role(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
        event.setdefault("role", role)  # not by context variables: threads start without them
        return event

    shown: list[Processor] = [structlog.dev.ConsoleRenderer()]
    if not terminal:
        shown = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    structlog.configure(
        processors=[
            add_role,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *shown,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    logging.lastResort = _Event(logging.WARNING)
