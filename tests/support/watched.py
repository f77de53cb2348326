"""A center that is watched under a virtual clock: drawn mentions, interruptions and kills, the real parts and loops.

`live` lets a plan happen: mentions come in as they were collected, workers fall behind and catch up, the alert role
is started, killed at any call that reaches outside (or at any statement of its transactions), started again, and runs
twice. What it recorded can then be held against what a backtest finds in the same store.
"""

import contextlib
import random
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import sqlalchemy as sa
from msgspec import Struct

from hark.alerts import desk
from hark.alerts.events import IncidentEvent
from hark.alerts.incidents import Incident
from hark.alerts.live import Fence, Rounds, Watch
from hark.alerts.rules import Rule
from hark.bus import open_bus, publish_changes
from hark.core.change import ENRICHED, MENTIONS, Change, Deleted, Edited, Seen, key_of
from hark.core.mention import Author, Enrichment, Language, Mention, Sentiment, Topic, Vader
from hark.core.protocols import Batch, Bus, Gap, Store
from hark.ledger import ENRICH_GROUP, INDEX_GROUP
from hark.query.fields import Taxonomy, ancestors
from hark.roles import enrich_loop, index_loop
from hark.settings import LogSettings
from hark.state import State, open_state

START = datetime(2026, 11, 2, tzinfo=UTC)
NOON = START + timedelta(hours=28)
"""When what is drawn begins; before that there is an ordinary day to learn from."""
END = NOON + timedelta(hours=5)
ALLOWANCE_SECONDS = 120
SOURCES = ("x", "reddit")
TAXONOMY: Taxonomy = ancestors({"baggage": (), "lost": ("baggage",), "delay": (), "rude": ()})
NAMES = {"delta": "Delta Air Lines", "lost": "Lost bags"}
WORDS = {
    "lost": "they lost my bag at denver",
    "delay": "late again two hours at the gate",
    "rude": "such a rude agent",
}
_ONE_BATCH = 5
"""How often a loop looks whether to stop, for one batch."""


class Killed(BaseException):
    """The process is gone: nothing that the program catches."""


class Burst(Struct, frozen=True):
    """Complaints of one brand about one topic swell: `minute` counts from NOON."""

    minute: int
    lasts: int
    brand: str
    topic: str
    mentions: int
    authors: int
    says: str = ""
    """What is said in it beside the topic: what could be new, or another mood than a complaint."""


class Interruption(Struct, frozen=True):
    """A source answers nothing for a while, then catches up; `told` says whether it reports the gap, and as what."""

    source: str
    minute: int
    lasts: int
    told: str
    """ "open", "closed" or "no"."""


class Step(Struct, frozen=True):
    """So many minutes later the role is given its turns. `kill` is the call (or statement) that it dies at, -1 none;
    at `beside` (-1 never) a second instance does the same turns in between."""

    minutes: int
    workers: bool
    kill: int
    beside: int


class Plan(Struct, frozen=True):
    """All that was drawn."""

    seed: int
    bursts: Sequence[Burst]
    late: float
    """Share of the mentions that are collected minutes after they were written, most within the allowance."""
    too_late: float
    """Share of those that are collected ten minutes to two hours after."""
    edited: float
    deleted: float
    interruptions: Sequence[Interruption]
    first: int
    """Minutes from NOON to the first start of the role."""
    steps: Sequence[Step]
    hours: int = 28
    """Of ordinary mentions before NOON, to learn from."""
    content: float = 0.0
    """Share of the ordinary mentions that are no complaints: half of them praise."""
    silent: tuple[int, int] = (0, 0)
    """From which minute after NOON on, and for how many, nobody writes to delta."""
    imported: tuple[float, int] = (0.0, 0)
    """Share of what was written before NOON that is imported in one go, and in which minute after NOON."""


class Tags:
    """Brand, topic and sentiment as the words of a text say them."""

    def tag(self, mentions: Sequence[Mention]) -> list[Enrichment]:
        """Return an enrichment a mention."""
        return [_tags(mention.text) for mention in mentions]


def _tags(text: str) -> Enrichment:
    brands = tuple(brand for brand in ("delta", "united") if brand in text)
    topics = tuple(Topic(topic, 0.9) for topic, words in WORDS.items() if words in text)
    label = "positive" if "thanks" in text else "neutral" if "anyone" in text else "negative"
    return Enrichment(
        "1", Language("en", 0.9), brands, Sentiment(label, 0.0, 0.9, Vader(0.0, 1.0, 0.0, 0.0)), topics
    )


def arrivals(plan: Plan) -> list[tuple[datetime, Change]]:
    """Return what comes in, with the moment of its collection, in no order beyond that."""
    draw = np.random.default_rng(plan.seed)
    found: list[tuple[datetime, Change]] = []
    number = 0

    def say(at: datetime, brand: str, topic: str, author: int, more: str) -> None:
        nonlocal number
        number += 1
        source = SOURCES[0] if draw.random() < 0.6 else SOURCES[1]
        chance, seconds = draw.random(), 2.0
        if chance < plan.late:
            seconds = float(draw.integers(3, ALLOWANCE_SECONDS + 300))
        elif chance < plan.late + plan.too_late:
            seconds = float(draw.integers(600, 7_200))
        collected = at + timedelta(seconds=seconds)
        for one in plan.interruptions:
            begin = NOON + timedelta(minutes=one.minute)
            over = begin + timedelta(minutes=one.lasts)
            if one.source == source and begin <= collected < over:
                collected = over + timedelta(seconds=1)
        share, minute = plan.imported
        if at < NOON and share and draw.random() < share:
            collected = max(collected, NOON + timedelta(minutes=minute))
        text = f"{brand} {WORDS[topic]} {author} {more}".strip()
        mention = Mention(
            f"{source}:{number}", source, text, at, collected, author=Author(handle=f"a{author}")
        )
        found.append((collected, Seen(mention)))
        chance = draw.random()
        later = collected + timedelta(seconds=float(draw.integers(5, 5_400)))
        if chance < plan.edited:
            words = ("united such a rude agent", "delta thanks all is well", "nothing to see")[
                int(draw.integers(3))
            ]
            edited = msgspec.structs.replace(mention, text=words, collected_at=later, edit=1)
            found.append((later, Edited(edited)))
        elif chance < plan.edited + plan.deleted:
            found.append((later, Deleted(mention.id, "by its author", later)))

    for brand in ("delta", "united"):
        for second in np.cumsum(draw.exponential(200, 1_000 * max(1, plan.hours // 28))):
            at = NOON - timedelta(hours=plan.hours) + timedelta(seconds=round(float(second), 3))
            minute = (at - NOON).total_seconds() / 60 - plan.silent[0]
            if at < END and not (brand == "delta" and 0 <= minute < plan.silent[1]):
                topic = ("lost", "delay", "delay", "delay", "rude")[int(draw.integers(5))]
                content = plan.content and draw.random() < plan.content
                more = ("thanks", "anyone")[int(draw.integers(2))] if content else ""
                say(at, brand, topic, int(draw.integers(0, 400)), more)
    for burst in plan.bursts:
        for second in sorted(draw.uniform(0, burst.lasts * 60, burst.mentions)):
            at = NOON + timedelta(minutes=burst.minute, seconds=round(float(second), 3))
            say(at, burst.brand, burst.topic, int(draw.integers(0, burst.authors)), burst.says)
    return found


class Told:
    """What would be sent, kept in the transaction's own database, so that it is undone with it."""

    def __init__(self, state: State) -> None:
        self._state = state
        with state.begin() as connection:
            connection.execute(sa.text("CREATE TABLE IF NOT EXISTS told (event TEXT)"))

    def __call__(self, connection: sa.Connection, event: IncidentEvent) -> None:
        """Write an event down."""
        text = msgspec.json.encode(event).decode()
        connection.execute(sa.text("INSERT INTO told VALUES (:text)"), {"text": text})

    def events(self) -> list[IncidentEvent]:
        """Return what was told."""
        with self._state.read() as connection:
            return [
                msgspec.json.decode(text, type=IncidentEvent)
                for text in connection.scalars(sa.text("SELECT event FROM told"))
            ]


class Calls:
    """Counts what reaches outside of a process: at the `kill`-th it dies, and at the `beside`-th another does its work.

    The other one does so between two calls, never while a transaction of this one holds it up.
    """

    def __init__(self, kill: int = -1, beside: int = -1, other: Callable[[], None] = lambda: None) -> None:
        self._kill, self._beside, self._other = kill, beside, other
        self._count = -1

    def one(self, within: bool = False) -> None:
        """Count one call, or one statement `within` a transaction."""
        self._count += 1
        if 0 <= self._beside <= self._count and not within:
            self._beside = -1
            self._other()
        if self._count == self._kill:
            raise Killed


class Seam:
    """Hands calls through to a part, and counts before and after each."""

    def __init__(self, part: Any, calls: Calls) -> None:
        self._part, self._calls = part, calls

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._part, name)

        def call(*arguments: Any, **named: Any) -> Any:
            self._calls.one()
            result = attribute(*arguments, **named)
            self._calls.one()
            return result

        return call


class Center:
    """The parts of a center in `folder`, and its clock. `open_store` opens its store, once for each process."""

    def __init__(self, folder: Path, rules: dict[str, Rule], open_store: Callable[[], Store]) -> None:
        self._folder, self.rules, self._open_store = folder, rules, open_store
        self.moment = START
        self.bus: Bus = open_bus("embedded", folder, LogSettings(partitions=2))
        self.store = open_store()
        self.state = self._open_state()
        self.told = Told(self.state)

    def close(self) -> None:
        """Close the parts."""
        self.bus.close()
        self.store.close()
        self.state.close()

    def work(self) -> None:
        """Let the workers tag and index all that is in the log."""
        for topic, group in ((MENTIONS, ENRICH_GROUP), (ENRICHED, INDEX_GROUP)):
            subscription = self.bus.subscribe(topic, group)
            ends = self.bus.ends(topic)
            while any(self.bus.committed(topic, group).get(at, 0) < end for at, end in ends.items()):
                if topic == MENTIONS:
                    enrich_loop(subscription, Tags(), self.bus, _looks(_ONE_BATCH))
                else:
                    index_loop(subscription, self.store, self.bus, _looks(_ONE_BATCH), live=False)
            subscription.close()

    def alive(self, source: str, gap: Gap | None = None) -> None:
        """Say that `source` answers now."""
        gaps = [] if gap is None else [gap]
        self.state.save_batch(source, Batch([], "1", gaps=gaps), 0, 0, None)

    @contextlib.contextmanager
    def process(self, calls: Calls) -> Iterator["Role"]:
        """Run one process of the role, with parts of its own; `calls` counts what it asks of them."""
        store, state = self._open_store(), self._open_state()

        def statement(*_: Any) -> None:
            calls.one(within=True)

        sa.event.listen(state._engine, "before_cursor_execute", statement)
        try:
            watch = Watch(
                Seam(store, calls),
                state,
                self.rules,
                TAXONOMY,
                SOURCES,
                self.told,
                NAMES,
            )
            fence = Fence(Seam(self.bus, calls))
            yield Role(Rounds(watch, fence, lambda: self.moment, lambda: None))
        finally:
            state.close()
            store.close()

    def recorded(self) -> list[Incident]:
        """Return the incidents, by the time they were told of."""
        found = [shown.incident for shown in desk.list_incidents(self.state)]
        return sorted(found, key=lambda one: (one.opened, one.id))

    def _open_state(self) -> State:
        state = open_state("embedded", self._folder)
        state._clock = lambda: self.moment
        return state


class Role:
    """One process of the alert role."""

    def __init__(self, rounds: Rounds) -> None:
        self._rounds = rounds

    def turns(self) -> None:
        """Look a few times: the first looks after a start wait until the past has come in."""
        for _ in range(3):
            self._rounds.turn(ALLOWANCE_SECONDS)


def live(center: Center, plan: Plan) -> None:
    """Let everything of `plan` happen, and then let the role come to its end in peace."""
    draw = random.Random(plan.seed)
    coming = sorted(arrivals(plan), key=lambda one: (one[0], key_of(one[1]), isinstance(one[1], Seen)))
    published = 0

    def pass_time(to: datetime, workers: bool) -> None:
        nonlocal published
        center.moment = to
        batch = []
        while published < len(coming) and coming[published][0] <= to:
            batch.append(coming[published][1])
            published += 1
        _shuffle(batch, draw)
        publish_changes(center.bus, batch)
        if workers:
            center.work()
        for source in SOURCES:
            _beat(center, plan, source)

    pass_time(NOON + timedelta(minutes=plan.first), True)
    for step in plan.steps:
        _turns(center, step)
        pass_time(center.moment + timedelta(minutes=step.minutes), step.workers)
    pass_time(max(center.moment, END) + timedelta(minutes=5), True)
    with center.process(Calls()) as role:
        role.turns()


def _turns(center: Center, step: Step) -> None:
    """Let one process have its turns, die in them, and another do the same at the same time."""

    def other() -> None:
        with center.process(Calls()) as second:
            second.turns()

    with contextlib.suppress(Killed), center.process(Calls(step.kill, step.beside, other)) as role:
        role.turns()


def _beat(center: Center, plan: Plan, source: str) -> None:
    """Let a source's collector say that it lives, unless it is interrupted; then what it missed."""
    gap = None
    for one in plan.interruptions:
        begin = NOON + timedelta(minutes=one.minute)
        over = begin + timedelta(minutes=one.lasts)
        if one.source != source or center.moment < begin:
            continue
        if center.moment < over:
            return
        if one.told != "no":
            gap = Gap(begin, over, "it did not answer", closed=one.told == "closed")
    center.alive(source, gap)


def _shuffle(batch: list[Change], draw: random.Random) -> None:
    """Bring into disorder what has no order: what is said of one mention stays in its own."""
    first = [change for change in batch if isinstance(change, Seen)]
    then = [change for change in batch if not isinstance(change, Seen)]
    draw.shuffle(first)
    draw.shuffle(then)
    batch[:] = [*first, *then]


def _looks(number: int) -> threading.Event:
    class Countdown(threading.Event):
        looks = 0

        def is_set(self) -> bool:
            self.looks += 1
            return self.looks > number

    return Countdown()
