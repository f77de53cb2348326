"""Trends: what a query's mentions did over time, with every number open to the mentions behind it.

Pure computations over the Store protocol; the command and the console show the same `Trends`.
"""

from hark.trends.authors import Author, Authors, wilson
from hark.trends.figures import Figure, Net, Selection, Tally, net_of
from hark.trends.intervals import INTERVALS, borders, period_before, suited, zone_named
from hark.trends.report import BY, Trends, trends

__all__ = [
    "BY",
    "INTERVALS",
    "Author",
    "Authors",
    "Figure",
    "Net",
    "Selection",
    "Tally",
    "Trends",
    "borders",
    "net_of",
    "period_before",
    "suited",
    "trends",
    "wilson",
    "zone_named",
]
