"""Logs of every role: one line an event on standard error, readable on a terminal, JSON elsewhere.

Ids, numbers, names of sources and reasons are logged; texts, authors and secrets never.
"""

import logging
import sys

import structlog


def configure(role: str) -> None:
    """Set up logging for this process; `role` stands in every line."""
    terminal = sys.stderr.isatty()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.dev.ConsoleRenderer() if terminal else structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(role=role)
