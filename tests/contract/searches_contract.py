"""What saved searches must do in every state database; each kind inherits this suite."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from hark.core.errors import SettingsError
from hark.query import QueryError
from hark.state import State
from hark.state.searches import SavedSearch, SavedSearches

NOON = datetime(2026, 11, 2, 12, tzinfo=UTC)


class SearchesContract:
    """Subclasses give the fixture `reopen`: opens the same (at first empty) database once more."""

    @pytest.fixture
    def searches(self, reopen: Callable[[], State]) -> SavedSearches:
        moments = (NOON + timedelta(minutes=minute) for minute in range(1000))
        found = SavedSearches(reopen(), lambda: next(moments))
        for saved in found.all():
            found.delete(saved.name)
        return found

    def test_a_search_is_kept_with_its_owner_and_every_change(
        self, searches: SavedSearches, reopen: Callable[[], State]
    ) -> None:
        first = searches.save("Late bags", "bag late", "ana", "for Monday")
        begun = first.saved_ms
        assert first == SavedSearch("Late bags", "ana", "bag late", "for Monday", 1, "ana", begun)
        second = searches.save("Late bags", "bag (late OR lost)", "bo")
        assert (second.owner, second.saved_by, second.notes, second.version) == ("ana", "bo", "for Monday", 2)
        assert second.saved_ms == begun + 60_000
        again = SavedSearches(reopen())
        assert again.get("Late bags") == second
        assert again.versions("Late bags") == [second, first]

    def test_what_changes_nothing_makes_no_version(self, searches: SavedSearches) -> None:
        first = searches.save("bags", "bag", "ana", "mine")
        assert searches.save("bags", "bag", "bo") == first
        assert searches.save("bags", "bag", "bo", "mine") == first
        assert searches.save("bags", "bag", "bo", "").version == 2
        assert len(searches.versions("bags")) == 2

    def test_searches_are_listed_by_name_and_owner_with_their_newest_version(
        self, searches: SavedSearches
    ) -> None:
        searches.save("b", "bag", "ana")
        searches.save("a", "late", "bo")
        searches.save("b", "bags", "bo")
        assert [(s.name, s.query, s.owner) for s in searches.all()] == [
            ("a", "late", "bo"),
            ("b", "bags", "ana"),
        ]
        assert [s.name for s in searches.all("ana")] == ["b"]
        assert searches.all("nobody") == []

    def test_a_deleted_search_is_gone_with_its_versions(self, searches: SavedSearches) -> None:
        searches.save("b", "bag", "ana")
        searches.save("b", "bags", "ana")
        assert searches.delete("b")
        assert not searches.delete("b")
        assert (searches.all(), searches.versions("b")) == ([], [])
        assert searches.save("b", "bag", "bo").version == 1

    def test_an_unknown_name_is_answered_with_those_that_there_are(self, searches: SavedSearches) -> None:
        with pytest.raises(SettingsError, match="there are: none"):
            searches.get("bags")
        searches.save("late", "late", "ana")
        with pytest.raises(SettingsError, match="there are: late"):
            searches.get("bags")

    @pytest.mark.parametrize("name", ["", " a", "a\n", "a" * 81, "\x1b[31m"])
    def test_a_name_that_cannot_be_is_refused(self, searches: SavedSearches, name: str) -> None:
        with pytest.raises(SettingsError, match="name"):
            searches.save(name, "bag", "ana")

    def test_a_query_that_cannot_be_understood_is_not_saved(self, searches: SavedSearches) -> None:
        with pytest.raises(QueryError, match="position 5"):
            searches.save("bags", "bag (late", "ana")
        with pytest.raises(SettingsError, match="notes"):
            searches.save("bags", "bag", "ana", "n" * 2001)
        assert searches.all() == []
