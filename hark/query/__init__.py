"""The query language: parser, and its readers."""

from hark.query.errors import QueryError
from hark.query.parser import parse

__all__ = ["QueryError", "parse"]
