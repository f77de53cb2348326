"""The one place that constructs: settings in, parts out."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from hark.bus import open_bus
from hark.core.clock import now
from hark.core.mention import Mention
from hark.core.protocols import Bus, Source, Store
from hark.generations import (
    FOLDER,
    EveryStore,
    Reprocessing,
    ServingStore,
    ServingTags,
    Watch,
    settings_of,
    shown,
    ways,
)
from hark.ledger import Ledger
from hark.query.fields import Taxonomy, ancestors, normal
from hark.settings import Settings, SourceEntry, read_toml
from hark.state import State, open_state
from hark.state.generations import Generation, Generations
from sinks import drop_store, open_store

if TYPE_CHECKING:  # these load language models or a web framework; most commands do without
    from enrich.chain import Chain
    from hark.console.center import Center
    from hark.erasing import Erasing


@contextlib.contextmanager
def bus_of(settings: Settings) -> Iterator[Bus]:
    """Open the log; closed on leaving. Raises SettingsError, TransientError."""
    with contextlib.closing(open_bus(settings.center.bus, settings.data, settings.center.log)) as bus:
        yield bus


@contextlib.contextmanager
def store_of(settings: Settings) -> Iterator[Store]:
    """Open the store; closed on leaving. Raises SettingsError, TransientError."""
    with contextlib.closing(open_store_of(settings)) as store:
        yield store


def open_store_of(settings: Settings) -> Store:
    """Open the store of the generation that is shown, whichever that is at each call; the caller closes it."""
    return cast(Store, ServingStore(_watch(settings), partial(store_of_generation, settings)))


def every_store_of(settings: Settings) -> EveryStore:
    """Open what the index role writes to: the stores of all generations."""
    return EveryStore(_watch(settings), partial(store_of_generation, settings))


def store_of_generation(settings: Settings, number: int) -> Store:
    """Open the store of one generation."""
    return open_store(settings.center.store, settings.data, taxonomy_of(settings, number), number)


def tags_of(settings: Settings, watch: "Callable[[Chain], Chain]" = lambda chain: chain) -> ServingTags:
    """Return the chain of the generation that is shown; `watch` is handed each chain before it tags."""
    return ServingTags(_watch(settings), lambda number: watch(chain_of_generation(settings, number)))


@contextlib.contextmanager
def reprocessing_of(settings: Settings) -> Iterator[Reprocessing]:
    """Open what generations are begun, promoted and dropped with."""

    def check(config: Path, models: Path | None) -> str:
        return chain_of(settings, models, config).version

    with bus_of(settings) as bus, state_of(settings) as state:
        yield Reprocessing(
            bus,
            state,
            settings.data,
            settings.config,
            partial(store_of_generation, settings),
            partial(drop_store, settings.center.store, settings.data),
            check,
        )


@contextlib.contextmanager
def erasing_of(settings: Settings) -> "Iterator[Erasing]":
    """Open what mentions are erased with: the log, the state database and the stores of all generations."""
    from hark.erasing import SEGMENTS, TOMBSTONES, Erasing

    with bus_of(settings) as bus, state_of(settings) as state, contextlib.ExitStack() as opened:
        known = shown(Generations(state))
        stores = {
            number: opened.enter_context(contextlib.closing(store_of_generation(settings, number)))
            for number in known.numbers()
        }
        remains = (TOMBSTONES,) if settings.center.store == "embedded" else (TOMBSTONES, SEGMENTS)
        yield Erasing(bus, state, stores, known.kept, remains)


def _watch(settings: Settings) -> Watch:
    def open_tables() -> tuple[State, Generations] | None:
        if settings.center.state == "embedded" and not (settings.data / FOLDER).is_dir():
            return None  # nothing was ever reprocessed here
        state = open_state(settings.center.state, settings.data)
        return state, Generations(state)

    return Watch(open_tables)


def _generation(settings: Settings, number: int) -> Generation | None:
    if not number:
        return None
    with state_of(settings) as state:
        return next((each for each in Generations(state).all() if each.number == number), None)


@contextlib.contextmanager
def state_of(settings: Settings) -> Iterator[State]:
    """Open the state database; closed on leaving. Raises SettingsError, TransientError."""
    with contextlib.closing(open_state(settings.center.state, settings.data)) as state:
        yield state


@contextlib.contextmanager
def ledger_of(settings: Settings) -> Iterator[tuple[Ledger, State]]:
    """Open what the books are made from."""
    with bus_of(settings) as bus, store_of(settings) as store, state_of(settings) as state:
        yield _ledger(bus, store, state), state


def _ledger(bus: Bus, store: Store, state: State) -> Ledger:
    return Ledger(bus, store, state, lambda: ways(shown(Generations(state))))


@contextlib.contextmanager
def console_of(settings: Settings) -> "Iterator[Center]":
    """Open what the console needs; closed on leaving. Raises SettingsError, TransientError."""
    from enrich.phrasebook import Taxonomy as TopicsFile
    from hark.console.center import Center
    from hark.console.coverage import Bookkeeper
    from hark.console.health import health
    from hark.state.people import People

    topics = read_toml(settings.config / "topics.toml", TopicsFile).topic
    with (
        state_of(settings) as state,
        bus_of(settings) as bus,
        contextlib.closing(_LateStore(settings)) as store,
        reprocessing_of(settings) as reprocessing,
    ):
        chain = lru_cache(maxsize=1)(partial(chain_of_generation, settings))
        yield Center(
            settings=settings,
            state=state,
            whole_store=cast(Store, store),
            bus=bus,
            people=People(state),
            taxonomy=taxonomy_of(settings),
            topics={topic.id: topic.title or topic.id for topic in topics},
            health=lambda: health(settings.data, state),
            clock=now,
            bookkeeper=Bookkeeper(_ledger(bus, cast(Store, store), state), now),
            reprocessing=reprocessing,
            tagger=lambda: chain(reprocessing.generations.serving()),
        )


class _LateStore:
    """A store that is opened when first asked: the console tells that it is away in place of waiting for it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._store: Store | None = None

    def __getattr__(self, name: str) -> Any:
        with self._lock:
            if self._store is None:
                self._store = open_store_of(self._settings)
        return getattr(self._store, name)

    def close(self) -> None:
        if self._store is not None:
            self._store.close()


def serving_of(settings: Settings) -> int:
    """Return the number of the generation that is shown."""
    with contextlib.closing(_watch(settings)) as watch:
        return watch.now().serving


def names_of(settings: Settings) -> dict[str, str]:
    """Return what people call brands and topics, by id; raises SettingsError."""
    from enrich.phrasebook import Taxonomy as TopicsFile

    topics = read_toml(settings.config / "topics.toml", TopicsFile).topic
    titles = {normal(topic.id): topic.title for topic in topics if topic.title}
    return titles | {normal(brand.name): brand.title for brand in settings.brands}


def taxonomy_of(settings: Settings, number: int | None = None) -> Taxonomy:
    """Return the ancestors of each topic of a generation's topics.toml (None: of the one that is shown).

    Raises SettingsError; TransientError while a state database that must be asked is away.
    """
    from enrich.phrasebook import Taxonomy as TopicsFile

    if number is None:
        number = serving_of(settings)
    config, _ = settings_of(settings.config, settings.data, _generation(settings, number))
    topics = read_toml(config / "topics.toml", TopicsFile).topic
    return ancestors({topic.id: [topic.parent] if topic.parent else [] for topic in topics})


def chain_of_generation(settings: Settings, number: int) -> "Chain":
    """Return the chain of enrichers with the models and the taxonomy that a generation was made with."""
    config, models = settings_of(settings.config, settings.data, _generation(settings, number))
    return chain_of(settings, models, config)


def chain_of(settings: Settings, models: Path | None = None, config: Path | None = None) -> "Chain":
    """Return the chain of enrichers; takes a second, as it loads the language models.

    `models` is a folder of trained models; without it hark.toml says which, if any. `config` is a folder that
    takes the place of the settings' own.
    """
    from enrich.chain import build_chain

    serving = settings.center.enrich.models
    if models is None and serving:
        models = settings.config / serving
    return build_chain(config or settings.config, settings.brands, models)


def source_of(entry: SourceEntry, settings: Settings) -> Source:
    """Return the source that sources.toml describes; raises SettingsError, for missing credentials too."""
    from ingest import open_source

    return open_source(entry, settings.brands)


def brand_matcher(settings: Settings) -> Callable[[Mention], bool]:
    """Return whether a mention matches any brand."""
    from hark.query.match import Document, MatcherSet

    matchers = MatcherSet([brand.query for brand in settings.brands])
    return lambda mention: bool(matchers.matches(Document(mention, None)))
