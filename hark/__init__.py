"""Hark: a listening center that a company runs itself."""

__version__ = "0.1.0"
