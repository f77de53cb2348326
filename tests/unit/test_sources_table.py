"""The table of sources: what a type of sources.toml opens."""

from importlib.metadata import EntryPoint, EntryPoints

import pytest

from hark.core.errors import SettingsError
from hark.core.tree import Query, Term
from hark.settings import Brand, SourceEntry
from ingest import open_source
from ingest.x import XSource

BRAND = Brand("southwest", "Southwest", Query("southwestair", Term("southwestair")), frozenset())


def entry(type: str, **options: object) -> SourceEntry:
    return SourceEntry("mine", type, True, options)


def test_an_unknown_type_is_answered_with_those_there_are() -> None:
    with pytest.raises(SettingsError, match=r"sources\.mine\.type: no source 'myspace'.*bluesky.*reddit.*x"):
        open_source(entry("myspace"), [BRAND])


def test_a_type_opens_its_source_under_the_entrys_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("X_BEARER_TOKEN", "secret")
    source = open_source(entry("x", bearer_token="${X_BEARER_TOKEN}"), [BRAND])
    assert isinstance(source, XSource)
    assert (source.name, source.options.bearer_token, source.firehose) == ("mine", "secret", False)


def test_an_unknown_option_is_named() -> None:
    with pytest.raises(SettingsError, match=r"sources\.mine.*`colour`"):
        open_source(entry("x", bearer_token="t", colour="red"), [BRAND])


def test_a_secret_that_is_not_set_is_named_and_not_its_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("X_BEARER_TOKEN", raising=False)
    with pytest.raises(SettingsError, match="environment variable X_BEARER_TOKEN is not set"):
        open_source(entry("x", bearer_token="${X_BEARER_TOKEN}"), [BRAND])


def test_third_parties_offer_sources_by_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    offered = EntryPoints([EntryPoint("theirs", "ingest.x", "hark.sources")])
    monkeypatch.setattr("ingest.entry_points", lambda group: offered.select(group=group))
    assert isinstance(open_source(entry("theirs", bearer_token="t"), [BRAND]), XSource)
    with pytest.raises(SettingsError, match="theirs"):
        open_source(entry("others"), [BRAND])
