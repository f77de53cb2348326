"""A source that writes believable mentions of three airlines: rhythm of day and week, conversations, incidents.

Everything follows from the seed and the moment of the first start: the same two give the same mentions, block
by block of five minutes, whenever the source is stopped and started again. Incidents are the same for every
simulated platform.
"""

import math
import random
import threading
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import cached_property

import msgspec
from msgspec import Struct

from hark.core.change import Change, Deleted, Edited, Seen
from hark.core.clock import Clock, from_ms, now, to_ms
from hark.core.errors import SettingsError
from hark.core.mention import Author, Mention, Metrics
from hark.core.protocols import Batch, Source
from hark.settings import Brand
from ingest import simulator_phrases as phrases

BLOCK_SECONDS = 300
HISTORY_DAYS = 14
_BATCH = 1_000
_LIVE_PAUSE_SECONDS = 0.5
# Share of a day's mentions by hour in the middle of the United States; its mean is 1.
_BY_HOUR = (
    *(0.45, 0.30, 0.22, 0.20, 0.28, 0.50, 0.80, 1.05, 1.20, 1.25, 1.25, 1.30),
    *(1.30, 1.30, 1.35, 1.40, 1.45, 1.50, 1.50, 1.40, 1.25, 1.10, 0.90, 0.75),
)
_BY_WEEKDAY = (1.10, 0.95, 0.92, 1.00, 1.18, 0.90, 0.95)


class Airline(Struct, frozen=True):
    """One simulated brand: how it is called, where it flies, and its share of what is said."""

    name: str
    handle: str
    code: str
    airports: tuple[str, ...]
    share: float


AIRLINES = (
    Airline("Southwest", "SouthwestAir", "WN", ("DAL", "MDW", "BWI", "DEN", "PHX", "LAS", "HOU"), 0.44),
    Airline("Delta", "Delta", "DL", ("ATL", "MSP", "DTW", "SLC", "JFK", "LAX", "BOS"), 0.32),
    Airline("United", "united", "UA", ("ORD", "EWR", "IAH", "SFO", "DEN", "IAD", "LAX"), 0.24),
)

PLATFORMS = {"x": 0.6, "reddit": 0.22, "bluesky": 0.18}
"""The platforms that can be simulated, and their share of all mentions."""


class Incident(Struct, frozen=True):
    """Complaints of one airline about one thing swell to `height` times its usual volume, and fade."""

    airline: int
    about: str
    airport: str
    begin: float
    """Seconds since the simulation's start; negative in the history."""
    rise_seconds: float
    fall_seconds: float
    height: float

    def factor(self, second: float) -> float:
        """Return how many times the usual volume is added at `second`."""
        age = second - self.begin
        if age <= 0:
            return 0.0
        rise = 1 - math.exp(-age / self.rise_seconds)
        fall = math.exp(-max(0.0, age - 3 * self.rise_seconds) / self.fall_seconds)
        return self.height * rise * fall if age < 12 * self.fall_seconds else 0.0


class Options(Struct, frozen=True, forbid_unknown_fields=True):
    """Options of a source of type "simulator"."""

    platform: str = "x"
    seed: int = 7
    mentions_per_day: float = 6_000
    """Of all platforms together, without incidents."""
    history_days: float = HISTORY_DAYS
    start: datetime | None = None
    """The moment at which history ends and live begins; default: when it is first run."""


class Cursor(Struct, frozen=True):
    """Where the simulation stands: its start (ms), the block, and how many of its changes were read."""

    start: int
    block: int
    done: int


class Simulator:
    """One simulated platform."""

    firehose = False

    def __init__(self, name: str, options: Options, clock: Clock = now) -> None:
        self.name = name
        self._options = options
        self._clock = clock

    def look(self) -> str:
        """Say that it is there; see hark.core.protocols.Looking."""
        return "always there"

    def read(self, cursor: str | None, stop: threading.Event) -> Iterator[Batch]:
        """Yield history as fast as it is taken, then what happens, when it happens."""
        place = msgspec.json.decode(cursor, type=Cursor) if cursor else self._beginning()
        world = World(self._options, self.name, from_ms(place.start))
        while not stop.is_set():
            batch: list[Change] = []
            present = self._clock()
            caught_up = False
            while len(batch) < _BATCH and not caught_up:
                changes = world.block(place.block)
                due = [change for change, moment in changes if moment <= present]
                batch.extend(due[place.done :])
                caught_up = world.end_of(place.block) > present
                place = Cursor(place.start, place.block, len(due))
                if not caught_up:
                    place = Cursor(place.start, place.block + 1, 0)
            yield Batch(batch, msgspec.json.encode(place).decode())
            if caught_up:
                stop.wait(_LIVE_PAUSE_SECONDS)

    def _beginning(self) -> Cursor:
        start = self._options.start or self._clock()
        return Cursor(to_ms(start), -round(self._options.history_days * 86_400 / BLOCK_SECONDS), 0)


class World:
    """What is said on one platform, block by block; block 0 begins at `start`."""

    def __init__(self, options: Options, source: str, start: datetime) -> None:
        self._options = options
        self._source = source
        self._start = start
        self._cached: tuple[int, list[tuple[Change, datetime]]] = (0, [])

    @cached_property
    def incidents(self) -> tuple[Incident, ...]:
        """All incidents, in the history and in the year that follows; one ends and one begins around the start."""
        dice = random.Random(f"{self._options.seed}/incidents")
        # One that is nearly over at the start, and one that begins soon after: an end and a beginning can be watched.
        found = [
            Incident(1, "baggage", "ATL", -12_600.0, 240.0, 600.0, 5.0),
            Incident(0, "cancelled", "DEN", 120.0, 420.0, 1_800.0, 12.0),
        ]
        second = -self._options.history_days * 86_400
        while second < 365 * 86_400:
            second += dice.expovariate(1 / (2.2 * 86_400))
            airline = dice.choices(range(len(AIRLINES)), [a.share for a in AIRLINES])[0]
            about = dice.choice(["late", "cancelled", "cancelled", "booking", "baggage", "lines"])
            rise, fall = dice.uniform(300, 1_500), dice.uniform(1_800, 9_000)
            airport = dice.choice(AIRLINES[airline].airports)
            if not -14_400 < second < 7_200:  # the story around the start is told by those two alone
                found.append(Incident(airline, about, airport, second, rise, fall, dice.uniform(3, 12)))
        return tuple(found)

    def end_of(self, block: int) -> datetime:
        """Return when `block` ends."""
        return self._start + timedelta(seconds=(block + 1) * BLOCK_SECONDS)

    def block(self, number: int) -> list[tuple[Change, datetime]]:
        """Return the changes of a block, each with the moment at which it happens, in order."""
        if self._cached[0] != number or not self._cached[1]:
            self._cached = (number, self._make(number))
        return self._cached[1]

    def _make(self, number: int) -> list[tuple[Change, datetime]]:
        dice = random.Random(f"{self._options.seed}/{self._source}/{number}")
        second = number * BLOCK_SECONDS
        begin = self._start + timedelta(seconds=second)
        usual = self._options.mentions_per_day * BLOCK_SECONDS / 86_400 * _rhythm(begin)
        usual *= PLATFORMS[self._options.platform]
        told: list[tuple[str, int, Incident | None]] = []
        for index, airline in enumerate(AIRLINES):
            told += [(_kind(dice), index, None)] * _poisson(dice, usual * airline.share)
            for incident in self.incidents:
                if incident.airline == index and (factor := incident.factor(second + BLOCK_SECONDS / 2)):
                    extra = _poisson(dice, usual * airline.share * factor)
                    told += [(incident.about, index, incident)] * extra
        offsets = sorted(dice.uniform(0, BLOCK_SECONDS) for _ in told)
        dice.shuffle(told)
        changes: list[tuple[Change, datetime]] = []
        written: list[Mention] = []
        for n, (offset, (kind, index, cause)) in enumerate(zip(offsets, told, strict=True)):
            moment = _to_the_ms(begin + timedelta(seconds=offset))
            mention = self._mention(
                dice, f"{number + 100_000}{n:04}", moment, AIRLINES[index], kind, cause, written
            )
            written.append(mention)
            changes.append((Seen(mention), moment))
            changes += self._afterwards(dice, mention, moment, self.end_of(number))
        return sorted(changes, key=lambda change: change[1])

    def _mention(
        self,
        dice: random.Random,
        native: str,
        moment: datetime,
        airline: Airline,
        kind: str,
        incident: Incident | None,
        before: Sequence[Mention],
    ) -> Mention:
        text = self._text(dice, airline, kind, incident)
        author = _brand_account(airline) if kind == "answer" else _author(dice)
        parent = None
        if kind in ("reply", "repost", "answer"):
            others = [one for one in before if one.kind != "repost" and one.author != author]
            parent = dice.choice(others) if others else None
        form = "post"
        if parent is not None:
            form = "repost" if kind == "repost" else "reply"
            handle = parent.author.handle if parent.author else ""
            text = f"RT @{handle}: {parent.text}" if form == "repost" else f"@{handle} {text}"
        reddit = self._options.platform == "reddit"
        if reddit:
            form = "comment" if parent is not None else "post"
        return Mention(
            id=f"{self._source}:{native}",
            source=self._source,
            text=text,
            created_at=moment,
            collected_at=moment,
            kind=form,
            title=f"{airline.name}: {_cut(text, 60)}" if reddit and parent is None else None,
            url=f"https://{self._options.platform}.example/{native}",
            author=author,
            conversation=(parent.conversation or parent.id) if parent else None,
            in_reply_to=parent.id if parent and form != "repost" else None,
            repost_of=parent.id if parent and form == "repost" else None,
            metrics=Metrics(likes=int(dice.paretovariate(1.2)) - 1, reposts=int(dice.paretovariate(1.8)) - 1),
        )

    def _text(self, dice: random.Random, airline: Airline, kind: str, incident: Incident | None) -> str:
        pool: Sequence[str]
        if kind in phrases.COMPLAINTS:
            pool = phrases.COMPLAINTS[kind]
        elif kind in phrases.OTHER_LANGUAGES:
            pool = phrases.OTHER_LANGUAGES[kind]
        else:
            pool = {
                "question": phrases.QUESTIONS,
                "praise": phrases.PRAISE,
                "reply": phrases.REPLIES,
                "answer": phrases.OWN_ANSWERS,
            }.get(kind, phrases.NEUTRAL)
        port, far = dice.sample(airline.airports, 2)
        text = dice.choice(pool).format(
            at=f"@{airline.handle}" if self._options.platform != "reddit" else airline.name,
            name=f"{airline.name} Airlines" if dice.random() < 0.3 else f"{airline.name}",
            code=airline.code,
            port=incident.airport if incident else port,
            far=far,
            hours=dice.randint(2, 7),
            flight=dice.randint(100, 3999),
            thing=dice.choice(phrases.THINGS),
        )
        if kind == "answer":
            return text
        mentioned = airline.name.lower() in text.lower()
        mood = "praise" if kind == "praise" else "complaint" if kind in phrases.COMPLAINTS else "other"
        return text + dice.choice(phrases.TAILS[mood]) + ("" if mentioned else f" #{airline.name}Airlines")

    def _afterwards(
        self, dice: random.Random, mention: Mention, moment: datetime, end: datetime
    ) -> list[tuple[Change, datetime]]:
        later = _to_the_ms(min(moment + timedelta(seconds=dice.randint(20, 120)), end))
        chance = dice.random()
        if chance < 0.01:
            text = f"{mention.text} (edit: typo)"
            return [(Edited(msgspec.structs.replace(mention, text=text, edit=1)), later)]
        if chance < 0.015:
            return [(Deleted(mention.id, "deleted by its author", later), later)]
        return []


def behind_seconds(cursor: str, moment: datetime) -> float:
    """Return how long before `moment` the simulation stands that saved `cursor`; 0 or less when it is live."""
    place = msgspec.json.decode(cursor, type=Cursor)
    return (moment - from_ms(place.start)).total_seconds() - (place.block + 1) * BLOCK_SECONDS


def build(name: str, options: Options, brands: Sequence[Brand]) -> Source:
    """Return the simulated platform; raises SettingsError for a platform that cannot be simulated."""
    if options.platform not in PLATFORMS:
        raise SettingsError(
            f"sources.toml: sources.{name}.platform: expected one of {', '.join(PLATFORMS)}, "
            f"found {options.platform!r}"
        )
    return Simulator(name, options)


def _rhythm(moment: datetime) -> float:
    local = moment.astimezone(UTC) - timedelta(hours=6)
    here, there = _BY_HOUR[local.hour], _BY_HOUR[(local.hour + 1) % 24]
    return (here + (there - here) * local.minute / 60) * _BY_WEEKDAY[local.weekday()]


def _kind(dice: random.Random) -> str:
    kinds = {
        "late": 0.12,
        "cancelled": 0.05,
        "baggage": 0.07,
        "service": 0.10,
        "booking": 0.06,
        "onboard": 0.05,
        "lines": 0.02,
        "question": 0.11,
        "praise": 0.12,
        "neutral": 0.10,
        "reply": 0.06,
        "repost": 0.04,
        "answer": 0.03,
        "es": 0.04,
        "fr": 0.01,
        "de": 0.01,
        "pt": 0.008,
        "ja": 0.002,
    }
    return dice.choices(list(kinds), list(kinds.values()))[0]


def _poisson(dice: random.Random, mean: float) -> int:
    if mean > 50:
        return max(0, round(dice.gauss(mean, math.sqrt(mean))))
    limit, count, product = math.exp(-mean), 0, dice.random()
    while product > limit:
        count += 1
        product *= dice.random()
    return count


def _author(dice: random.Random) -> Author:
    # The smaller the number the more often it writes, the first one of 250 mentions one.
    number = int(150 * (dice.paretovariate(0.6) - 1)) + 1
    if number > 40_000:
        number = dice.randint(1, 40_000)
    own = random.Random(number)
    handle = f"{own.choice(phrases.HANDLES[0])}_{own.choice(phrases.HANDLES[1])}{number}"
    return Author(
        handle=handle,
        id=str(1_000_000 + number),
        name=handle.replace("_", " ").title(),
        followers=int(own.lognormvariate(5.3, 1.8)),
        verified=own.random() < 0.03,
        created_at=datetime(2009, 1, 1, tzinfo=UTC) + timedelta(days=own.randint(0, 5_500)),
    )


def _cut(text: str, longest: int) -> str:
    """Return `text` with at most `longest` characters, ended at a word where there is one."""
    if len(text) <= longest:
        return text
    head = text[: longest - 1]
    return f"{head.rpartition(' ')[0] or head}…"


def _brand_account(airline: Airline) -> Author:
    return Author(
        handle=airline.handle, id=airline.code, name=airline.name, followers=1_400_000, verified=True
    )


def _to_the_ms(moment: datetime) -> datetime:
    return from_ms(to_ms(moment))
