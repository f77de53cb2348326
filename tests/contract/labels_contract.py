"""What the register of labels promises, on either state database."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

import pytest

from hark.core.change import Labelled
from hark.core.errors import TransientError
from hark.state import State
from hark.state.labels import Labels

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def label(id: str = "x:1", value: str = "negative", by: str = "ann", minutes: int = 0) -> Labelled:
    return Labelled(id, "sentiment", value, by, START + timedelta(minutes=minutes))


class LabelsContract:
    @pytest.fixture
    def reopen(self) -> Callable[[], State]:
        raise NotImplementedError

    def test_all_that_was_ever_said_is_kept_in_its_order(self, reopen: Callable[[], State]) -> None:
        register = Labels(reopen())
        said = [label(), label(value="neutral", by="bob", minutes=1), label(value="positive", minutes=2)]
        register.give(said, lambda _: None)
        assert list(register.all()) == said
        assert register.of(["x:1", "x:2"]) == {"x:1": said}
        assert list(register.all("topic")) == []

    def test_given_twice_is_kept_once_and_does_no_harm(self, reopen: Callable[[], State]) -> None:
        register = Labels(reopen())
        register.give([label()], lambda _: None)
        register.give([label()], lambda _: None)
        assert list(register.all()) == [label()]

    def test_what_was_kept_and_not_published_is_published_later_once(
        self, reopen: Callable[[], State]
    ) -> None:
        def away(said: Sequence[Labelled]) -> None:
            raise TransientError("the log is away")

        with pytest.raises(TransientError):
            Labels(reopen()).give([label()], away)
        sent: list[Labelled] = []
        later = Labels(reopen(), clock=lambda: START + timedelta(minutes=5))
        assert later.send_again(sent.extend) == 1
        assert later.send_again(sent.extend) == 0
        assert sent == [label()]

    def test_what_is_just_being_published_is_not_published_by_another(
        self, reopen: Callable[[], State]
    ) -> None:
        sent: list[Labelled] = []
        second = Labels(reopen(), clock=lambda: START + timedelta(seconds=1))

        def publish(said: Sequence[Labelled]) -> None:
            assert second.send_again(sent.extend) == 0

        Labels(reopen()).give([label()], publish)
        assert sent == []

    def test_what_was_said_of_erased_mentions_is_forgotten_and_not_published_later(
        self, reopen: Callable[[], State]
    ) -> None:
        register = Labels(reopen())
        register.give([label(), label(by="bob"), label(id="x:2")], lambda _: None)
        assert register.forget(["x:1", "x:3"]) == 2
        assert register.forget(["x:1"]) == 0
        assert list(register.all()) == [label(id="x:2")]
