"""Hark: a listening center that a company runs itself."""

from hark.compiled import choose

__version__ = "0.1.0"
TAGGING = choose()
"""How the modules of MODULES run: "compiled", or "plain Python" and why. Decided before any of them is imported."""
