"""The query language: parser, and its readers."""

from hark.query.parser import parse

__all__ = ["parse"]
