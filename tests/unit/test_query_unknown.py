"""Topics and brands that a query names and no settings do."""

import pytest

from hark.query import parse
from hark.query.unknown import unnamed

KNOWN = {"topic": ["late-flight", "baggage"], "brand": ["southwest"]}


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("topic:baggage OR brand:Southwest -bag source:nowhere", []),
        ("topic:bagage", ["topics.toml names no topic `bagage`; did you mean `baggage`?"]),
        ("late (topic:x OR topic:x)", ["topics.toml names no topic `x`; it names: baggage, late-flight"]),
        ("NOT brand:southwst a", ["brands.toml names no brand `southwst`; did you mean `southwest`?"]),
        ("delays", []),
    ],
)
def test_what_no_settings_name_is_told_with_what_was_meant(query: str, said: list[str]) -> None:
    assert unnamed(parse(query), KNOWN) == said
