"""Who is told of an event, and the loop that tells them.

`enqueuer` gives the function that writes one row a target into the transaction that records the event: both are
there, or neither. `Sender` sends each row to its target, each target by itself, until it has arrived or a day has
passed. Two senders never send the same row. One that dies between sending and writing it down sends again when its
lease has run out, with the same key: at least once, and a receiver that looks at the key sees it once.
"""

import random
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import msgspec
import sqlalchemy as sa
import structlog

from hark import metrics
from hark.alerts.deliver import Message, deliver, ping
from hark.alerts.events import IncidentEvent
from hark.alerts.targets import Target, Targets
from hark.alerts.wording import digest_of, message_of
from hark.core.clock import Clock, now, to_ms
from hark.core.errors import TransientError
from hark.state import State
from hark.state.outbox import PRUNED_AT_ONCE, Claim, Letter, Outbox, calm, post, told

ALERTS_BEAT = "alerts"
"""The beat that the alert loop notes each time it has looked at every rule."""
ALERTS_LATELY = timedelta(minutes=5)
EXPIRES_MS = 86_400_000
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 5.0, 600.0
MOST_TARGETS_AT_ONCE = 64
PRUNED_EVERY_MS = 3_600_000
_PING_TRIES = 3
_PRUNING = "\0pruning"
_log = structlog.get_logger()

Enqueue = Callable[[sa.Connection, IncidentEvent], None]


def enqueuer(targets: Targets, clock: Clock = now) -> Enqueue:
    """Return the function that has an event told: it writes to the given connection and sends nothing.

    Told are those that the event names (of a rota, who is on call), and whoever has heard of the incident before.
    When an incident opens, those that come next if nobody acknowledges are written down too, for later; an
    acknowledgement, silence, or the end of the incident takes them out again.
    """

    def enqueue(connection: sa.Connection, event: IncidentEvent) -> None:
        moment = clock()
        if event.kind in ("acknowledged", "silenced", "resolved"):
            calm(connection, event.incident, to_ms(moment))
        if not event.targets:
            return
        named = targets.resolve(event.targets, moment)
        before = told(connection, event.incident, to_ms(moment))
        names = named | {
            name: "you were told of it before"
            for name in sorted(before & targets.targets.keys() - named.keys())
        }
        letters = {}
        for name, via in names.items():
            target = targets.targets.get(name)
            if target is None or event.kind in target.tell:
                held = target.next_digest(moment) if target is not None and event.quiet else None
                letters[name] = _letter(event, name, via, moment, held or moment, held=held)
        if event.kind in ("opened", "reopened") and not event.quiet:
            for name in named:
                for letter in _escalations(targets, event, name, moment):
                    letters.setdefault(letter.target, letter)
        post(connection, list(letters.values()))

    return enqueue


def _escalations(targets: Targets, event: IncidentEvent, name: str, moment: datetime) -> Iterable[Letter]:
    """Yield the chain from `name` on, each due when those before have had their time to acknowledge."""
    seen = {name}
    due = moment
    while (target := targets.targets.get(name)) is not None and target.escalate_to:
        if _holds(target, event.severity, due) is not None:
            return  # nobody is told, so nobody is late
        due += target.escalate_after
        why = f"not acknowledged by {name} within {target.escalate_after.total_seconds() / 60:.0f} minutes"
        ((name, rota),) = targets.resolve([target.escalate_to], due).items()
        if name in seen:
            return
        seen.add(name)
        yield _letter(event, name, f"{why} ({rota})" if rota else why, moment, due, escalation=True)


def _holds(target: Target, severity: int, moment: datetime) -> datetime | None:
    return None if severity >= target.breaks_through else target.quiet_until(moment)


def _letter(
    event: IncidentEvent,
    name: str,
    via: str,
    moment: datetime,
    due: datetime,
    held: datetime | None = None,
    escalation: bool = False,
) -> Letter:
    return Letter(
        f"{event.incident}.{event.number}.{name}",
        event.incident,
        event.number,
        event.kind,
        name,
        via,
        escalation,
        event.severity,
        msgspec.json.encode(event).decode(),
        to_ms(moment),
        to_ms(due),
        to_ms(due) + EXPIRES_MS,
        None if held is None else to_ms(held),
    )


class Sender:
    """Sends what is in the outbox; several may run at once, in one process or many.

    `data` is the folder of file targets; `seed` makes the spread of retries repeatable.
    """

    def __init__(
        self,
        state: State,
        targets: Targets,
        data: Path,
        clock: Clock = now,
        seed: int | None = None,
        send: Callable[[Target, Message, Path, Clock], None] = deliver,
    ) -> None:
        self._outbox = Outbox(state)
        self._targets = targets
        self._data = data
        self._clock = clock
        self._random = random.Random(seed)
        self._send = send
        self._busy: set[str] = set()
        self._pruned_ms = 0
        self._changed = threading.Condition()
        self._stop = threading.Event()

    def run(self, stop: threading.Event, every_seconds: float = 1.0) -> None:
        """Send until `stop`; what is being sent then is brought to its end."""
        self._stop = stop
        with ThreadPoolExecutor(MOST_TARGETS_AT_ONCE, thread_name_prefix="notify") as pool:
            while not stop.is_set():
                try:
                    self.look(pool)
                except TransientError as error:
                    _log.warning("waiting", what="state", reason=str(error))
                stop.wait(every_seconds)

    def look(self, pool: ThreadPoolExecutor) -> None:
        """Give each target for which something is due to a thread of its own, unless one is at it still."""
        for name in self._outbox.due(to_ms(self._clock())):
            self._begin(pool, name, partial(self._serve, name))
        if self._targets.heartbeat is not None:
            self._begin(pool, "", self.beat)
        if to_ms(self._clock()) - self._pruned_ms >= PRUNED_EVERY_MS:
            self._begin(pool, _PRUNING, self.prune)

    def idle(self, timeout_seconds: float) -> bool:
        """Wait until nothing is being sent; False when that takes longer."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._busy, timeout_seconds)

    def prune(self) -> None:
        """Take out what was told of long ago, a little at a time."""
        moment = to_ms(self._clock())
        while not self._stop.is_set() and self._outbox.prune(moment) == PRUNED_AT_ONCE:
            pass
        self._pruned_ms = moment

    def beat(self) -> None:
        """Tell the heartbeat's target that alerts are watched, if they are and if it is time."""
        heartbeat = self._targets.heartbeat
        assert heartbeat is not None
        moment = to_ms(self._clock())
        ran = self._outbox.beat(ALERTS_BEAT)
        if ran is None or moment - ran > ALERTS_LATELY / timedelta(milliseconds=1):
            return
        if not self._outbox.take_turn("heartbeat", moment, int(heartbeat.every / timedelta(milliseconds=1))):
            return
        for attempt in range(_PING_TRIES):
            try:
                return ping(heartbeat.target, self._data, self._clock)
            except TransientError as error:
                _log.warning("heartbeat not sent", attempt=attempt + 1, reason=str(error))
                if self._stop.wait(FIRST_WAIT_SECONDS):
                    return

    def _begin(self, pool: ThreadPoolExecutor, name: str, work: Callable[[], None]) -> None:
        with self._changed:
            if name in self._busy:
                return
            self._busy.add(name)

        def run() -> None:
            try:
                work()
            except TransientError as error:  # the state database is away; the lease keeps the row for us
                _log.warning("waiting", what="state", reason=str(error))
            except Exception:
                _log.exception("not told", target=name)
                raise
            finally:
                with self._changed:
                    self._busy.discard(name)
                    self._changed.notify_all()

        pool.submit(run)

    def _serve(self, name: str) -> None:
        """Send what is due to one target, until nothing is or an attempt fails."""
        target = self._targets.targets.get(name)

        def hold(severity: int) -> int | None:
            until = None if target is None else _holds(target, severity, self._clock())
            return None if until is None else to_ms(until)

        while not self._stop.is_set():
            claim = self._outbox.claim(name, to_ms(self._clock()), hold)
            if claim is None:
                return
            if target is None:
                self._write(partial(self._outbox.failed, claim, "alerts.toml has no such target", None))
            elif not self._told(claim, target):
                return

    def _told(self, claim: Claim, target: Target) -> bool:
        message = _message(claim, target, self._targets.console)
        try:
            self._send(target, message, self._data, self._clock)
        except TransientError as error:
            due = self._next(claim, error)
            _log.warning(
                "not told", target=target.name, key=message.key, attempt=claim.attempts, reason=str(error)
            )
            metrics.notifications.labels(target.name, "failed" if due is None else "retried").inc()
            self._write(partial(self._outbox.failed, claim, str(error), due))
            return False
        metrics.notifications.labels(target.name, "sent").inc()
        _log.info("told", target=target.name, key=message.key, attempt=claim.attempts)
        # The present instant is asked again: sending takes time, and the console shows when it arrived.
        self._write(lambda: self._outbox.sent(claim, to_ms(self._clock())))
        return True

    def _next(self, claim: Claim, error: TransientError) -> int | None:
        """Return when to try again (ms): twice as late each time, spread, or as the target asked; None: never."""
        wait = min(FIRST_WAIT_SECONDS * 2 ** min(claim.attempts - 1, 20), LONGEST_WAIT_SECONDS)
        wait *= self._random.uniform(0.5, 1.0)
        if error.wait_seconds is not None:
            wait = max(wait, error.wait_seconds)
        due = to_ms(self._clock()) + int(wait * 1000)
        return due if due <= max(letter.expires_ms for letter in claim.letters) else None

    def _write(self, work: Callable[[], None]) -> None:
        """Write down what came of an attempt; forgetting it would tell somebody twice."""
        while True:
            try:
                return work()
            except TransientError as error:
                _log.warning("waiting", what="state", reason=str(error))
                if self._stop.wait(1.0):
                    return work()


def _message(claim: Claim, target: Target, console: str) -> Message:
    events = [(letter.key, msgspec.json.decode(letter.event, type=IncidentEvent)) for letter in claim.letters]
    first = claim.letters[0]
    if first.held_ms is not None:
        return digest_of(events, first.held_ms, target, console)
    return message_of(events[0][1], first.key, first.via, target, console)
