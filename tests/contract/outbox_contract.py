"""The outbox on each state database: what is written once, sent once, escalated, held, and sent again after a crash."""

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from hark.alerts.deliver import Message, deliver
from hark.alerts.events import IncidentEvent
from hark.alerts.outbox import ALERTS_BEAT, Sender, enqueuer
from hark.alerts.targets import Target, load_targets
from hark.core.clock import Clock, to_ms
from hark.core.errors import TransientError
from hark.state import State, alerts
from hark.state.outbox import LEASE_MS, Outbox, outbox
from tests.support.receivers import WebReceiver, web_receiver

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Hand:
    """A clock that is moved by hand, from any thread."""

    def __init__(self, moment: datetime = NOON) -> None:
        self.moment = moment

    def __call__(self) -> datetime:
        return self.moment

    def forward(self, **time: float) -> None:
        self.moment += timedelta(**time)


def event(number: int = 1, kind: str = "opened", **fields: Any) -> IncidentEvent:
    given: dict[str, Any] = {
        "incident": "k3",
        "number": number,
        "kind": kind,
        "at": NOON,
        "rule": "spike",
        "title": "Spike",
        "series": "delta",
        "severity": 5,
        "headline": "Forty complaints.",
        "body": "",
        "path": "/incidents/k3",
        "targets": ("ops",),
    }
    return IncidentEvent(**(given | fields))


class Center:
    """An outbox with its clock; `told` is what arrived, in order, as (target, key)."""

    def __init__(self, state: State, folder: Path, text: str) -> None:
        (folder / "alerts.toml").write_text(text)
        self.state, self.folder, self.clock = state, folder, Hand()
        self.targets = load_targets(folder)
        self.outbox = Outbox(state)
        self.told: list[tuple[str, str]] = []
        self.messages: list[Message] = []
        self.refuse: set[str] = set()

    def happens(self, *events: IncidentEvent) -> None:
        enqueue = enqueuer(self.targets, self.clock)
        for one in events:
            with self.state.begin() as connection:
                enqueue(connection, one)

    def send(self, target: Target, message: Message, data: Path, clock: Clock) -> None:
        if target.name in self.refuse:
            raise TransientError("answers 500")
        self.told.append((target.name, message.key))
        self.messages.append(message)

    def sender(self, state: State | None = None, **options: Any) -> Sender:
        given: dict[str, Any] = {"clock": self.clock, "seed": 1, "send": self.send} | options
        return Sender(state or self.state, self.targets, self.folder, **given)

    def look(self, sender: Sender | None = None) -> None:
        with ThreadPoolExecutor(8) as pool:
            (sender or self.sender()).look(pool)

    def until(self, hours: float, sender: Sender, step: float = 1) -> None:
        """Let time go by in steps of minutes, looking at each."""
        for _ in range(int(hours * 60 / step)):
            self.clock.forward(minutes=step)
            self.look(sender)

    def conditions(self) -> dict[str, str]:
        return {delivery.key: delivery.state for delivery in self.outbox.deliveries()}


OPS = '[target.ops]\naddress = "file:ops.jsonl"\n'
LEAD = '[target.lead]\naddress = "file:lead.jsonl"\n'
BOSS = '[target.boss]\naddress = "file:boss.jsonl"\n'


class OutboxContract:
    """Subclasses give the fixture `reopen`: opens the same (at first empty) database once more."""

    @pytest.fixture
    def center(self, reopen: Callable[[], State], tmp_path: Path) -> Callable[[str], Center]:
        return lambda text: Center(reopen(), tmp_path, text)

    @pytest.fixture
    def web(self) -> Iterator[WebReceiver]:
        with web_receiver() as receiver:
            yield receiver

    def test_an_event_is_told_once_however_often_it_is_written_and_looked_for(
        self, center: Callable[[str], Center]
    ) -> None:
        hark = center(OPS)
        hark.happens(event(), event())
        hark.look()
        hark.happens(event())
        hark.look()
        assert hark.told == [("ops", "k3.1.ops")]
        (delivery,) = hark.outbox.deliveries("k3")
        assert (delivery.state, delivery.attempts, delivery.sent_ms) == ("sent", 1, to_ms(NOON))

    def test_an_event_whose_transaction_fails_is_told_to_nobody(
        self, center: Callable[[str], Center]
    ) -> None:
        hark = center(OPS)

        def fails() -> None:
            with hark.state.begin() as connection:
                enqueuer(hark.targets, hark.clock)(connection, event())
                raise RuntimeError

        with pytest.raises(RuntimeError):
            fails()
        hark.look()
        assert hark.told == []

    def test_one_that_answers_500_for_an_hour_and_one_that_hangs_delay_nobody_and_are_told_later_once(
        self, center: Callable[[str], Center], web: WebReceiver
    ) -> None:
        """Point 6 of the issue, over real sockets."""
        with web_receiver() as mute:
            web.status, mute.status = 500, 0
            hark = center(
                OPS
                + f'[target.broken]\naddress = "webhook+{web.url}"\nsecret = "s"\n'
                + f'[target.mute]\naddress = "webhook+{mute.url}"\nsecret = "s"\n'
            )
            everyone = ("mute", "broken", "ops")

            def impatient(target: Target, message: Message, data: Path, clock: Clock) -> None:
                deliver(target, message, data, clock, seconds=0.5)

            sender = hark.sender(send=impatient)
            hark.happens(event(targets=everyone), event(2, "resolved", targets=everyone))
            hark.look(sender)
            lines = [json.loads(line)["id"] for line in (hark.folder / "ops.jsonl").read_text().splitlines()]
            assert lines == ["k3.1.ops", "k3.2.ops"]
            hark.until(1, sender, step=10)
            states = hark.conditions()
            assert states == {
                f"k3.{number}.{name}": "sent" if name == "ops" else "pending"
                for number in (1, 2)
                for name in everyone
            }
            errors = {d.target: d.error for d in hark.outbox.deliveries() if d.number == 1 and d.error}
            assert errors.keys() == {"broken", "mute"}
            assert errors["broken"] == "answers 500 Internal Server Error"
            assert errors["mute"].startswith("no answer within")
            web.status = mute.status = 200
            hark.until(1, sender, step=10)
            assert set(hark.conditions().values()) == {"sent"}
            for receiver, name in ((web, "broken"), (mute, "mute")):
                assert [json.loads(body)["id"] for body in receiver.taken] == [
                    f"k3.1.{name}",
                    f"k3.2.{name}",
                ]
            assert len((hark.folder / "ops.jsonl").read_text().splitlines()) == 2

    def test_attempts_grow_rarer_and_end_after_a_day(self, center: Callable[[str], Center]) -> None:
        hark = center(OPS)
        hark.refuse = {"ops"}
        sender = hark.sender()
        hark.happens(event())
        waits = []
        for _ in range(60):
            hark.look(sender)
            (delivery,) = hark.outbox.deliveries()
            if delivery.state == "failed":
                break
            waits.append((delivery.due_ms - to_ms(hark.clock())) / 1000)
            hark.clock.forward(seconds=waits[-1] if len(waits) < 10 else 3_600)
        assert (delivery.state, delivery.error, delivery.attempts) == (
            "failed",
            "answers 500",
            len(waits) + 1,
        )
        assert all(2.5 * 2**n <= waits[n] <= 5 * 2**n for n in range(7))
        assert all(300 <= wait <= 600 for wait in waits[7:])
        assert timedelta(hours=23, minutes=50) <= hark.clock() - NOON <= timedelta(hours=25)

    def test_a_target_that_says_when_is_asked_again_then(self, center: Callable[[str], Center]) -> None:
        hark = center(OPS)

        def busy(target: Target, message: Message, data: Path, clock: Clock) -> None:
            raise TransientError("answers 429", 3600)

        hark.happens(event())
        hark.look(hark.sender(send=busy))
        (delivery,) = hark.outbox.deliveries()
        assert delivery.due_ms == to_ms(NOON) + 3_600_000

    def test_two_senders_share_the_work_and_send_nothing_twice(
        self, center: Callable[[str], Center], reopen: Callable[[], State]
    ) -> None:
        names = [f"t{n}" for n in range(4)]
        hark = center("".join(f'[target.{name}]\naddress = "file:x"\n' for name in names))
        hark.happens(*(event(n, incident=f"i{n}", targets=tuple(names)) for n in range(12)))
        senders = [hark.sender(), hark.sender(reopen())]
        begin = threading.Barrier(2)

        def run(sender: Sender) -> None:
            begin.wait()
            for _ in range(20):
                hark.look(sender)

        threads = [threading.Thread(target=run, args=(sender,)) for sender in senders]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(hark.told) == sorted((name, f"i{n}.{n}.{name}") for name in names for n in range(12))

    def test_a_sender_that_died_after_sending_sends_again_with_the_same_key_when_its_lease_is_over(
        self, center: Callable[[str], Center]
    ) -> None:
        hark = center(OPS)
        hark.happens(event())

        def dies(target: Target, message: Message, data: Path, clock: Clock) -> None:
            hark.send(target, message, data, clock)
            raise SystemExit

        hark.look(hark.sender(send=dies))
        hark.look()
        hark.clock.forward(seconds=LEASE_MS / 1000 - 1)
        hark.look()
        assert hark.told == [("ops", "k3.1.ops")]
        hark.clock.forward(seconds=1)
        hark.look()
        assert hark.told == [("ops", "k3.1.ops")] * 2
        assert hark.conditions() == {"k3.1.ops": "sent"}

    def test_events_of_an_incident_stay_in_order_and_others_do_not_wait_for_them(
        self, center: Callable[[str], Center]
    ) -> None:
        hark = center(OPS)
        hark.refuse = {"ops"}
        sender = hark.sender()
        hark.happens(event(1), event(2, "resolved"))
        hark.look(sender)
        hark.refuse = set()
        hark.happens(event(incident="other"))
        hark.look(sender)
        assert hark.told == [("ops", "other.1.ops")]
        hark.clock.forward(minutes=1)
        hark.look(sender)
        assert hark.told[1:] == [("ops", "k3.1.ops"), ("ops", "k3.2.ops")]

    def test_who_does_not_acknowledge_is_followed_by_the_next_of_the_chain(
        self, center: Callable[[str], Center]
    ) -> None:
        chain = OPS + 'escalate_to = "lead"\nescalate_after_minutes = 10\n' + LEAD + 'escalate_to = "boss"\n'
        hark = center(chain + BOSS)
        sender = hark.sender()
        hark.happens(event())
        hark.until(9 / 60, sender)
        assert hark.told == [("ops", "k3.1.ops")]
        hark.until(1 / 60, sender)
        assert hark.told[1:] == [("lead", "k3.1.lead")]
        assert "not acknowledged by ops within 10 minutes" in hark.messages[-1].body
        hark.clock.forward(minutes=14)
        hark.happens(event(2, "acknowledged", who="kim"))
        hark.until(2, sender)
        assert sorted(hark.told[2:]) == [("lead", "k3.2.lead"), ("ops", "k3.2.ops")]
        assert hark.conditions()["k3.1.boss"] == "cancelled"
        hark.happens(event(3, "resolved", severity=0))
        hark.look(sender)
        assert sorted(hark.told[4:]) == [("lead", "k3.3.lead"), ("ops", "k3.3.ops")]

    def test_a_chain_begins_again_when_an_incident_does(self, center: Callable[[str], Center]) -> None:
        hark = center(OPS + 'escalate_to = "lead"\n' + LEAD)
        sender = hark.sender()
        hark.happens(event(), event(2, "resolved"), event(3, "reopened"))
        hark.until(1, sender)
        assert hark.conditions()["k3.1.lead"] == "cancelled"
        assert ("lead", "k3.3.lead") in hark.told

    def test_on_call_is_who_has_the_turn_when_it_is_due(self, center: Callable[[str], Center]) -> None:
        rota = '[rota.oncall]\npeople = ["ops", "lead"]\nturn = "day"\nstart = 2026-03-01T12:10:00\n'
        hark = center(rota + OPS + LEAD + BOSS + 'escalate_to = "oncall"\n')
        hark.happens(event(targets=("oncall",)), event(incident="b", targets=("boss",)))
        hark.until(0.5, hark.sender())
        assert sorted(hark.told) == [("boss", "b.1.boss"), ("lead", "k3.1.lead"), ("ops", "b.1.ops")]
        assert "on call: oncall" in {m.key: m.body for m in hark.messages}["b.1.ops"]

    def test_quiet_hours_hold_all_but_the_gravest_for_one_digest_at_their_end(
        self, center: Callable[[str], Center]
    ) -> None:
        hark = center(OPS + 'quiet = "22:00-07:00"\nbreaks_through = 8\nescalate_to = "lead"\n' + LEAD)
        sender = hark.sender()
        hark.clock.moment = NOON.replace(hour=23)
        hark.happens(event(1), event(incident="b"), event(2, "escalated", severity=8))
        hark.look(sender)
        assert hark.told == [("ops", "k3.2.ops")]
        hark.happens(event(3, "resolved", severity=0))
        hark.clock.moment = (NOON + timedelta(days=1)).replace(hour=6, minute=59)
        hark.look(sender)
        assert len(hark.told) == 1
        hark.refuse = {"ops"}
        hark.clock.forward(minutes=1)
        hark.look(sender)
        hark.refuse = set()
        hark.clock.forward(minutes=1)
        hark.look(sender)
        assert len(hark.told) == 2
        digest = hark.messages[-1]
        assert digest.title == "Digest: 2 incidents, 1 of them open"
        assert "Spike: delta [k3]: over, at worst 5" in digest.body
        assert set(hark.conditions().values()) == {"sent"}

    def test_an_event_of_a_rules_quiet_hours_waits_for_the_digest(
        self, center: Callable[[str], Center]
    ) -> None:
        hark = center(OPS + 'digest_at = "14:00"\nzone = "Europe/Berlin"\n')
        hark.happens(event(quiet=True))
        hark.clock.moment = NOON + timedelta(minutes=59)
        hark.look()
        assert hark.told == []
        hark.clock.forward(minutes=1)
        hark.look()
        assert hark.messages[0].title == "Digest: 1 incident, 1 of them open"

    def test_a_target_hears_of_what_it_wants_to(self, center: Callable[[str], Center]) -> None:
        hark = center(OPS + 'tell = ["opened", "resolved"]\n')
        hark.happens(event(), event(2, "updated"), event(3, "noted"), event(4, "resolved"))
        hark.look()
        assert [key for _, key in hark.told] == ["k3.1.ops", "k3.4.ops"]

    def test_a_target_that_is_not_there_any_more_is_told_of_in_the_deliveries(
        self, center: Callable[[str], Center]
    ) -> None:
        hark = center(OPS)
        hark.happens(event(targets=("gone",)))
        hark.look()
        (delivery,) = hark.outbox.deliveries()
        assert (delivery.state, delivery.error) == ("failed", "alerts.toml has no such target")

    def test_the_heart_beats_only_while_alerts_are_watched_and_once_for_all_senders(
        self, center: Callable[[str], Center], web: WebReceiver, reopen: Callable[[], State]
    ) -> None:
        hark = center(f'[heartbeat]\naddress = "{web.url}/beat"\nevery_minutes = 10\n')
        senders = [hark.sender(), hark.sender(reopen())]
        for minute in range(60):
            if minute < 30:
                hark.outbox.note(ALERTS_BEAT, to_ms(hark.clock()))
            for sender in senders:
                hark.look(sender)
            hark.clock.forward(minutes=1)
        assert len(web.posts) == 4  # at 0, 10, 20 and 30: the last look at the rules was at 29

    def test_what_is_done_with_is_pruned_after_ninety_days_in_small_steps_and_what_waits_or_is_open_stays(
        self, center: Callable[[str], Center], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("hark.state.outbox.PRUNED_AT_ONCE", 3)
        monkeypatch.setattr("hark.alerts.outbox.PRUNED_AT_ONCE", 3)
        hark = center(OPS + LEAD)
        hark.happens(*(event(incident=f"old{number}") for number in range(8)))
        row: dict[str, Any] = {"rule": "r", "opened_ms": 5, "ended_ms": None, "severity": 3, "data": b""}
        with hark.state.begin() as connection:
            for id, status in (("lasts", "acknowledged"), ("over", "resolved")):
                alerts.save(connection, id, {**row, "status": status})
        hark.happens(*(event(incident=id) for id in ("lasts", "over", "sent-late")))
        hark.happens(event(incident="waits", targets=("lead",)))
        hark.refuse = {"lead"}
        hark.look()
        with hark.state.begin() as connection:  # one that the sender has not got to in all the time
            connection.execute(
                sa.update(outbox).where(outbox.c.incident == "waits").values(expires_ms=1 << 50)
            )
        sender = hark.sender()
        hark.clock.forward(days=89)
        hark.happens(event(incident="new"))
        hark.look(sender)
        assert len(hark.conditions()) == 13
        assert hark.outbox.prune(to_ms(hark.clock())) == 0
        hark.clock.forward(days=1, seconds=1)
        hark.look(sender)
        assert hark.conditions() == {"lasts.1.ops": "sent", "waits.1.lead": "pending", "new.1.ops": "sent"}
        hark.happens(event(number=2, incident="lasts", kind="updated", targets=("lead",)))
        assert "lasts.2.ops" in hark.conditions(), "who heard of it first is told on"

    def test_nobody_is_told_of_what_names_nobody(self, center: Callable[[str], Center]) -> None:
        hark = center(OPS)
        hark.happens(event(targets=()))
        assert hark.outbox.deliveries() == []
