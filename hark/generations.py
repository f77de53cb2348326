"""Generations of the index side by side: which is shown, which is being built, and how one takes another's place.

A generation is a store of its own (a file beside the first, or indices with another prefix), filled with the tags
of one version of models and taxonomy. Besides the common way of a mention (mentions → enrich → enriched → index),
which serves the generation that is shown, each generation that is kept beside it has a way of its own in the log:

    mentions ──group enrich-gN──┐
                                ├─▶ enriched-gN ──group index-gN──▶ its store
    reprocess-gN ─group again-gN┘
      ▲ history, read from the store that is shown

A flip is one row in the state database. It needs no agreement with any worker: what the common way does with the
old tags for a moment longer goes to the old store, and the way of its own brings the same to the new one. See
docs/adr/0006-generations.md.
"""

import contextlib
import shutil
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import structlog
from msgspec import Struct

from hark.core.change import ENRICHED, MENTIONS, Item, Tagged
from hark.core.clock import from_ms, monotonic, to_ms
from hark.core.errors import HarkError, SettingsError, TransientError
from hark.core.mention import Enrichment, Mention
from hark.core.protocols import Bus, Refusal, Store
from hark.ledger import ENRICH_GROUP, Ledger
from hark.query import parse
from hark.state import State
from hark.state.generations import Generation, Generations

log = structlog.get_logger()
FOLDER = "generations"
"""In the data folder: what each generation was made with."""
TAXONOMY = "topics.toml"
MODELS = "models"
LOOK_SECONDS = 0.5
"""How long a process may take to notice a flip."""
CATCH_UP_SECONDS = 60.0


class Way(Struct, frozen=True):
    """The topics and groups that keep one generation up to date."""

    number: int

    @property
    def live_group(self) -> str:
        """Tags what is new, from the common topic of mentions."""
        return f"hark.enrich-g{self.number}"

    @property
    def history(self) -> str:
        """The topic of mentions that are to be tagged again."""
        return f"hark.reprocess-g{self.number}"

    @property
    def history_group(self) -> str:
        """Tags them."""
        return f"hark.again-g{self.number}"

    @property
    def enriched(self) -> str:
        """The topic of what is tagged."""
        return f"hark.enriched-g{self.number}"

    @property
    def index_group(self) -> str:
        """Writes it to the store."""
        return f"hark.index-g{self.number}"

    def pairs(self, building: bool) -> list[tuple[str, str]]:
        """Return (topic, group) of each part of the way."""
        history = [(self.history, self.history_group)] if building else []
        return [(MENTIONS, self.live_group), *history, (self.enriched, self.index_group)]


class Shown(Struct, frozen=True):
    """What a process knows of the generations: the one that is shown, and all that take what is new."""

    serving: int = 0
    kept: tuple[Generation, ...] = ()

    def numbers(self) -> list[int]:
        """Return the numbers of the kept ones, at least that of the shown one."""
        return sorted({self.serving, *(generation.number for generation in self.kept)})


class Watch:
    """Knows which generations there are, at most LOOK_SECONDS late. May be used by several threads.

    `open_tables` returns None where nothing was ever reprocessed, so that a center without generations pays
    nothing. Raises TransientError while the state database is away and was never seen.
    """

    def __init__(self, open_tables: Callable[[], tuple[State, Generations] | None]) -> None:
        self._open_tables = open_tables
        self._lock = threading.Lock()
        self._tables: tuple[State, Generations] | None = None
        self._shown: Shown | None = None
        self._due = 0.0

    def now(self, fresh: bool = False) -> Shown:
        """Return what there is; `fresh` looks at once."""
        with self._lock:
            if self._shown is None or fresh or monotonic() >= self._due:
                try:
                    self._shown = self._look()
                except TransientError as error:
                    if self._shown is None:
                        raise
                    log.warning("generations not known anew", reason=str(error))
                self._due = monotonic() + LOOK_SECONDS
            return self._shown

    def _look(self) -> Shown:
        if self._tables is None:
            self._tables = self._open_tables()
        if self._tables is None:
            return Shown()
        return shown(self._tables[1])

    def close(self) -> None:
        """Close the state database; idempotent."""
        with self._lock:
            if self._tables is not None:
                self._tables[0].close()
                self._tables = None


def shown(generations: Generations) -> Shown:
    """Return what the tables say now."""
    kept = tuple(generation for generation in generations.all() if generation.kept)
    return Shown(generations.serving(), kept)


class _Stores:
    """Stores by generation, opened when they are needed and kept open until the end."""

    def __init__(self, watch: Watch, open_store: Callable[[int], Store]) -> None:
        self._watch = watch
        self._open_store = open_store
        self._lock = threading.Lock()
        self._stores: dict[int, Store] = {}
        self._store(watch.now().serving, watch.now())  # what is wrong with it is told at once

    def _store(self, number: int, known: Shown) -> Store:
        with self._lock:
            for gone in self._stores.keys() - set(known.numbers()):
                self._stores.pop(gone).close()  # dropped: free its disk
            if number not in self._stores:
                self._stores[number] = self._open_store(number)
            return self._stores[number]

    def close(self) -> None:
        """Close what was opened; idempotent."""
        with self._lock:
            for store in self._stores.values():
                store.close()
        self._watch.close()


class ServingStore(_Stores):
    """A Store (see hark.core.protocols): at each call that of the generation which is shown then."""

    def __getattr__(self, name: str) -> Any:
        known = self._watch.now()
        return getattr(self._store(known.serving, known), name)


class EveryStore(_Stores):
    """What the common index role writes to: each mention goes to the store of the generation that tagged it.

    A mention of a generation that is gone goes to the one that is shown: better with old tags than not at all.
    Labels and deletions go to every store, so that what is deleted is gone from all of them at once.
    """

    def write(self, items: Sequence[Item], records: Sequence[bytes] = ()) -> list[Refusal]:
        """Write items; refusals as the stores give them, one an item."""
        known = self._watch.now()
        refusals: dict[int, str] = {}
        for number in known.numbers():
            mine = [index for index, item in enumerate(items) if number in _homes(item, known)]
            if mine:
                written = [items[index] for index in mine], [records[index] for index in mine if records]
                for refusal in self._store(number, known).write(*written):
                    refusals[mine[refusal.index]] = refusal.reason
        return [Refusal(index, refusals[index]) for index in sorted(refusals)]


def _homes(item: Item, known: Shown) -> Sequence[int]:
    numbers = known.numbers()
    if not isinstance(item, Tagged):
        return numbers
    generation = item.enrichment.generation
    return (generation,) if generation in numbers else (known.serving,)


class Tags:
    """The tags of one generation: a chain of enrichers, and the number that its tags carry."""

    def __init__(self, chain: Any, number: int) -> None:
        self._chain = chain
        self.number = number

    def tag(self, mentions: Sequence[Mention]) -> list[Enrichment]:
        """Return one enrichment a mention, in order."""
        found: list[Enrichment] = self._chain.tag(mentions)
        if not self.number:
            return found
        return [msgspec.structs.replace(enrichment, generation=self.number) for enrichment in found]


class ServingTags:
    """The tags of the generation that is shown. After a flip the new chain is loaded beside the old one.

    `follow` runs in a thread of its own, so that tagging never waits: until the new chain is there, mentions get
    the old generation's tags, and the new generation gets its own over the way that it has anyhow.
    """

    def __init__(self, watch: Watch, load: Callable[[int], Any]) -> None:
        self._watch = watch
        self._load = load
        serving = watch.now().serving
        self._tags = Tags(load(serving), serving)

    def tag(self, mentions: Sequence[Mention]) -> list[Enrichment]:
        """Return one enrichment a mention, in order."""
        return self._tags.tag(mentions)

    def follow(self, stop: threading.Event) -> None:
        """Keep up with the generation that is shown, until `stop`."""
        while not stop.wait(LOOK_SECONDS):
            try:
                self.look()
            except HarkError as error:
                log.error("the old tags go on", reason=str(error))
                stop.wait(30)

    def look(self) -> None:
        """Load the chain of the generation that is shown, where it is another."""
        serving = self._watch.now().serving
        if serving != self._tags.number:
            self._tags = Tags(self._load(serving), serving)
            log.info("tagging with another generation", generation=serving)


def settings_of(config: Path, data: Path, generation: Generation | None) -> tuple[Path, Path | None]:
    """Return the configuration folder and the folder of models that a generation's chain is built from.

    A taxonomy of its own lies in a folder of links to the user's files with that one exchanged, so that what is
    edited in the others still counts. Raises SettingsError where the files are not on this machine.
    """
    if generation is None or not (generation.models or generation.taxonomy):
        return config, None
    folder = data / FOLDER / f"g{generation.number}"
    models = folder / MODELS if generation.models else None
    for own in (models, folder / TAXONOMY if generation.taxonomy else None):
        if own is not None and not own.exists():
            raise SettingsError(
                f"{own}: generation {generation.number} was made with it: copy that folder from the machine where "
                "`hark reprocess` was called"
            )
    return (_overlay(config, folder) if generation.taxonomy else config), models


def _overlay(config: Path, folder: Path) -> Path:
    overlay = folder / "config"
    overlay.mkdir(exist_ok=True)
    sources = {file.name: file.resolve() for file in config.iterdir()} | {
        TAXONOMY: (folder / TAXONOMY).resolve()
    }
    for link in overlay.iterdir():
        if link.name not in sources:
            link.unlink(missing_ok=True)
    for name, target in sources.items():
        link = overlay / name
        if not link.is_symlink() or link.readlink() != target:
            # Another process may do the same at this moment.
            with contextlib.suppress(FileNotFoundError):
                link.unlink()
            with contextlib.suppress(FileExistsError):
                link.symlink_to(target)
    return overlay


class Progress(Struct, frozen=True):
    """One generation as people are shown it. `sent` of `total` mentions of history; `behind` are on their way."""

    number: int
    status: str
    phase: str
    serving: bool
    since: datetime | None
    models: bool
    taxonomy: bool
    version: str
    rate: float
    sent: int
    total: int
    behind: int
    begun: datetime | None
    ready: datetime | None


class Reprocessing:
    """Begins, promotes, rolls back and drops generations; for the commands and the console.

    `open_store` opens the store of a generation, `drop_store` removes it, `check` builds the chain of a
    configuration folder and a folder of models and returns its version.
    """

    def __init__(
        self,
        bus: Bus,
        state: State,
        data: Path,
        config: Path,
        open_store: Callable[[int], Store],
        drop_store: Callable[[int], None],
        check: Callable[[Path, Path | None], str],
    ) -> None:
        self.bus = bus
        self.state = state
        self.generations = Generations(state)
        self.data = data
        self.open_store = open_store
        self._drop_store = drop_store
        self._config = config
        self._check = check

    def overview(self) -> list[Progress]:
        """Return the generations that are there, the oldest first; [] where nothing was ever reprocessed."""
        serving = self.generations.serving()
        return [
            Progress(
                each.number,
                each.status,
                each.phase,
                each.number == serving,
                None if each.since_ms is None else from_ms(each.since_ms),
                each.models,
                each.taxonomy,
                each.version,
                each.rate,
                each.sent,
                each.total,
                self.behind(each) if each.shadow and each.kept else 0,
                None if each.begun_ms is None else from_ms(each.begun_ms),
                None if each.ready_ms is None else from_ms(each.ready_ms),
            )
            for each in self.generations.all()
            if each.status != "dropped"
        ]

    def behind(self, generation: Generation) -> int:
        """Return how many records lie on the generation's own way."""
        pairs = Way(generation.number).pairs(generation.status == "building")
        return sum(lag(self.bus, topic, group) for topic, group in pairs)

    def start(
        self,
        since: datetime | None = None,
        models: Path | None = None,
        taxonomy: Path | None = None,
        rate: float = 0.0,
    ) -> int:
        """Begin a generation beside the one that is shown and return its number; workers build it.

        History from `since` on (None: all of it) is tagged again, what is older keeps its tags. Models and
        taxonomy are copied: the generation is tagged with them as long as it lives. Raises SettingsError where
        they cannot be used, or while another generation is kept.
        """
        self._only_one()
        (self.data / FOLDER).mkdir(parents=True, exist_ok=True)
        number = self.generations.add(
            status="starting",
            since_ms=None if since is None else to_ms(since),
            models=models is not None,
            taxonomy=taxonomy is not None,
            rate=rate,
            shadow=True,
        )
        try:
            self._begin(number, models, taxonomy)
        except BaseException:
            self.generations.save(number, status="dropping")
            raise
        return number

    def _only_one(self) -> None:
        serving = self.generations.serving()
        for other in self.generations.all():
            if other.status == "starting":  # it was killed
                self.generations.save(other.number, status="dropping")
            elif other.kept and other.number != serving:
                what = (
                    "is being built" if other.status == "building" else "is kept beside the one that is shown"
                )
                raise SettingsError(
                    f"generation {other.number} {what}: `hark reprocess drop` removes it, then another can begin"
                )

    def _begin(self, number: int, models: Path | None, taxonomy: Path | None) -> None:
        folder = self.data / FOLDER / f"g{number}"
        folder.mkdir()
        try:
            if models is not None:
                shutil.copytree(models, folder / MODELS)
            if taxonomy is not None:
                shutil.copyfile(taxonomy, folder / TAXONOMY)
        except OSError as error:
            raise SettingsError(f"{error.filename}: {error.strerror}") from error
        generation = next(each for each in self.generations.all() if each.number == number)
        version = self._check(*settings_of(self._config, self.data, generation))
        with contextlib.closing(self.open_store(self.generations.serving())) as store:
            total = store.count(parse(""))
        # What lies below these offsets is, or will be, in the store that is shown once its index group has
        # passed `ends`; what lies above them comes over the generation's own way.
        self.bus.begin(MENTIONS, Way(number).live_group, self.bus.committed(MENTIONS, ENRICH_GROUP))
        ends = self.bus.ends(ENRICHED)
        self.generations.save(
            number,
            status="building",
            phase="align",
            version=version,
            total=total,
            ends=msgspec.json.encode(ends).decode(),
        )

    def promote(self, number: int | None = None, stop: threading.Event | None = None) -> int:
        """Show another generation, by default the newest; returns its number.

        Waits until it has all that was in the log when this began, at most CATCH_UP_SECONDS, and raises
        SettingsError while it is being built, or when its books lack more than those of the one that is shown.
        """
        chosen = self._other(number)
        if chosen.status != "ready":
            raise SettingsError(
                f"generation {chosen.number} is being built: `hark reprocess status` shows how far it is"
            )
        self._caught_up(chosen, stop or threading.Event())
        before, after = self._short(self.generations.serving()), self._short(chosen.number)
        wrong = [source for source, number in after.items() if number > before.get(source, 0)]
        if wrong:
            raise SettingsError(
                f"generation {chosen.number} does not hold all that was collected from {', '.join(wrong)}: it is not "
                "shown. `hark reprocess drop` removes it"
            )
        self._flip(chosen.number)
        return chosen.number

    def _short(self, number: int) -> dict[str, int]:
        """Return for each source how many mentions are missing from a generation's books."""
        with contextlib.closing(self.open_store(number)) as store:
            books = Ledger(self.bus, store, self.state, lambda: ways(shown(self.generations))).books()
        return {
            book.name: book.collected - book.indexed - book.rejected - book.deleted - book.pending
            for book in books
        }

    def rollback(self) -> int:
        """Show again, at once, the generation that was shown before; returns its number."""
        before = self.generations.before()
        if before is None:
            raise SettingsError(
                "no other generation was shown before, or it was dropped: nothing to go back to"
            )
        self._flip(before)
        return before

    def _flip(self, number: int) -> None:
        serving = self.generations.serving()
        if number == serving:
            raise SettingsError(f"generation {number} is shown already")
        # The one that is shown now goes on, on a way of its own, from where the common way stands: what was
        # tagged below that went into its store. Begun before the flip; a group that has begun stays.
        way = Way(serving)
        self.bus.begin(MENTIONS, way.live_group, self.bus.committed(MENTIONS, ENRICH_GROUP))
        self.generations.promote(number)

    def drop(self, number: int | None = None, stop: threading.Event | None = None) -> int:
        """Remove a generation that is not shown, by default the other one; returns its number.

        Workers remove its store and its part of the log, or `sweep` does. Raises SettingsError for the one that
        is shown.
        """
        serving = self.generations.serving()
        chosen = self._other(number)
        shown_now = next(each for each in self.generations.all() if each.number == serving)
        if shown_now.shadow:
            # Its own way ends with this: what the common way still tagged for the other must have come over it.
            self._caught_up(shown_now, stop or threading.Event())
        self.generations.save(chosen.number, status="dropping")
        return chosen.number

    def _other(self, number: int | None) -> Generation:
        serving = self.generations.serving()
        there = {each.number: each for each in self.generations.all() if each.kept}
        others = [each for each in there if each != serving]
        if number is None and not others:
            raise SettingsError("there is no other generation: `hark reprocess --since …` makes one")
        chosen = max(others) if number is None else number
        if chosen == serving:
            raise SettingsError(f"generation {chosen} is the one that is shown")
        if chosen not in there:
            raise SettingsError(f"no generation {chosen}; there are: {', '.join(map(str, there)) or 'none'}")
        return there[chosen]

    def _caught_up(self, generation: Generation, stop: threading.Event) -> None:
        way, deadline = Way(generation.number), monotonic() + CATCH_UP_SECONDS
        for topic, group in way.pairs(building=False):
            ends = self.bus.ends(topic)
            while not passed(self.bus.committed(topic, group), ends):
                if monotonic() > deadline or stop.wait(0.1):
                    raise TransientError(
                        f"generation {generation.number} is {self.behind(generation):,} behind: is `hark up` running?"
                    )

    def sweep(self) -> None:
        """Remove what is left of dropped generations; call it while no worker of theirs runs. Idempotent."""
        dropped = False
        for each in self.generations.all():
            if each.status == "dropping":
                self._remove(each)
                self.generations.save(each.number, status="dropped")
                dropped = True
            elif each.status == "ready" and each.phase == "emptying":
                # The mentions that were sent to be tagged again: kept no longer than needed.
                self.bus.drop(Way(each.number).history)
                self.generations.save(each.number, phase="")
        kept = shown(self.generations).kept
        if len(kept) == 1 and (kept[0].shadow or dropped):
            # All that is new comes over the common way alone again.
            self._end_way(kept[0].number)
            self.generations.save(kept[0].number, shadow=False)

    def _remove(self, generation: Generation) -> None:
        self._end_way(generation.number)
        self._drop_store(generation.number)
        shutil.rmtree(self.data / FOLDER / f"g{generation.number}", ignore_errors=True)

    def _end_way(self, number: int) -> None:
        way = Way(number)
        self.bus.forget(MENTIONS, way.live_group)
        self.bus.drop(way.enriched)
        self.bus.drop(way.history)


def ways(known: Shown) -> list[tuple[str, str]]:
    """Return (topic, group) of everything on the generations' own ways: mentions there are pending too."""
    return [
        pair
        for generation in known.kept
        if generation.shadow
        for pair in Way(generation.number).pairs(generation.status == "building")
    ]


def lag(bus: Bus, topic: str, group: str) -> int:
    """Return how many records of a topic a group has not processed."""
    committed = bus.committed(topic, group)
    return sum(max(0, end - committed.get(partition, 0)) for partition, end in bus.ends(topic).items())


def passed(committed: Mapping[int, int], ends: Mapping[int, int]) -> bool:
    """Say whether a group has processed all below `ends`."""
    return all(committed.get(partition, 0) >= end for partition, end in ends.items())
