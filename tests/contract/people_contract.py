"""What people, sessions, keys and the audit log must do on every state database; each kind inherits this suite."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from hark.core.errors import SettingsError
from hark.state import State
from hark.state.people import People

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
PASSWORD = "a few words make one"


class PeopleContract:
    """Subclasses give the fixture `reopen`: opens the same (at first empty) database once more."""

    @pytest.fixture
    def clock(self) -> list[datetime]:
        return [NOON]

    @pytest.fixture
    def people(self, reopen: Callable[[], State], clock: list[datetime]) -> People:
        return People(reopen(), lambda: clock[0])

    def test_a_person_signs_in_with_their_password_and_no_other(self, people: People) -> None:
        added = people.add("Ann", "lead", PASSWORD, by="test")
        assert (added.name, added.role, added.brands, added.has_password) == ("ann", "lead", (), True)
        assert people.check(" ANN ", PASSWORD) == added
        assert people.check("ann", PASSWORD + "x") is None
        assert people.check("bob", PASSWORD) is None
        assert people.everyone() == [added]

    def test_who_signs_in_elsewhere_has_no_password_that_works(self, people: People) -> None:
        added = people.add("ann", "agent", None, subject="https://id.example 7")
        assert people.check("ann", "") is None
        assert people.of_subject("https://id.example 7") == added
        assert people.of_subject("") is None

    def test_what_cannot_be_is_refused(self, people: People) -> None:
        people.add("ann", "lead", PASSWORD)
        for arguments in (
            ("ann", "lead", PASSWORD),
            ("a b", "lead", PASSWORD),
            ("", "lead", PASSWORD),
            ("bob", "king", PASSWORD),
            ("bob", "lead", "short"),
            ("bob", "partner", PASSWORD),
            ("bob", "lead", PASSWORD, ["delta"]),
        ):
            with pytest.raises(SettingsError):
                people.add(*arguments)
        with pytest.raises(SettingsError, match="nobody named"):
            people.set_password("bob", PASSWORD, "test")

    def test_a_session_stands_until_its_time_is_over_or_it_is_ended(
        self, people: People, clock: list[datetime]
    ) -> None:
        person = people.add("ann", "lead", PASSWORD)
        token = people.begin_session("ann", 2.0, "127.0.0.1", "a browser")
        held = people.session(token)
        assert held is not None
        assert held[1] == person
        assert (held[0].address, held[0].browser) == ("127.0.0.1", "a browser")
        clock[0] = NOON + timedelta(hours=2, milliseconds=-1)
        assert people.session(token) == held
        clock[0] = NOON + timedelta(hours=2)
        assert people.session(token) is None
        assert people.sessions() == []
        again = people.begin_session("ann", 2.0)
        (session,) = people.sessions("ann")
        people.end_session(session.hash, "ann")
        assert people.session(again) is None
        assert people.session("no such token") is None

    @pytest.mark.parametrize("by", ["password", "disabled"])
    def test_a_new_password_and_being_shut_out_end_all_sessions(self, by: str, people: People) -> None:
        people.add("ann", "lead", PASSWORD)
        tokens = [people.begin_session("ann", 1.0) for _ in range(2)]
        if by == "password":
            people.set_password("ann", "another " + PASSWORD, "test")
            assert people.check("ann", PASSWORD) is None
        else:
            people.change("ann", disabled=True, by="test")
            assert people.check("ann", PASSWORD) is None
        assert [people.session(token) for token in tokens] == [None, None]

    def test_a_key_acts_for_its_owner_until_it_is_revoked(
        self, people: People, clock: list[datetime]
    ) -> None:
        people.add("acme", "partner", PASSWORD, ["delta", "united"])
        key, secret = people.make_key("report", "acme", ["read:trends", "read:mentions"], ["delta"])
        found = people.key(secret)
        assert found is not None
        assert (found[0].id, found[0].scopes, found[0].brands) == (
            key.id,
            ("read:trends", "read:mentions"),
            ("delta",),
        )
        assert found[1].name == "acme"
        assert [one.used_ms for one in people.keys("acme")] == [int(NOON.timestamp() * 1000)]
        assert people.key(secret + "x") is None
        for scopes, brands in ((["all"], []), ([], []), (["admin"], ["southwest"])):
            with pytest.raises(SettingsError):
                people.make_key("wrong", "acme", scopes, brands)
        people.revoke_key(key.id, "test")
        assert people.key(secret) is None
        assert [one.revoked for one in people.keys("acme")] == [True]

    def test_a_change_of_role_leaves_no_brands_behind(self, people: People) -> None:
        people.add("acme", "partner", PASSWORD, ["delta"])
        assert people.change("acme", role="agent", by="test").brands == ()
        with pytest.raises(SettingsError, match="at least one"):
            people.change("acme", role="partner", by="test")

    def test_every_change_is_in_the_audit_log_newest_first_and_page_by_page(self, people: People) -> None:
        people.add("ann", "lead", PASSWORD, by="root")
        people.note("ann", "searched", "delay", "127.0.0.1")
        people.set_password("ann", "another " + PASSWORD, "root")
        entries = people.audit()
        assert [(entry.person, entry.action) for entry in entries] == [
            ("root", "password changed"),
            ("ann", "searched"),
            ("root", "person added"),
        ]
        assert people.audit(before=entries[0].id, limit=1) == entries[1:2]
        assert people.audit(person="ann") == people.audit(action="searched") == entries[1:2]
        assert not any(PASSWORD in entry.detail for entry in entries)

    def test_all_of_it_survives_reopening(self, people: People, reopen: Callable[[], State]) -> None:
        people.add("ann", "lead", PASSWORD)
        token = people.begin_session("ann", 1.0)
        again = People(reopen(), lambda: NOON)
        assert again.session(token) is not None
        assert again.check("ann", PASSWORD) is not None
