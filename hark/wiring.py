"""The one place that constructs: settings in, parts out."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from hark.bus import open_bus
from hark.core.clock import now
from hark.core.mention import Mention
from hark.core.protocols import Bus, Source, Store
from hark.ledger import Ledger
from hark.query.fields import Taxonomy, ancestors
from hark.settings import Settings, SourceEntry, read_toml
from hark.state import State, open_state
from sinks import open_store

if TYPE_CHECKING:  # these load language models or a web framework; most commands do without
    from enrich.chain import Chain
    from hark.console.center import Center


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
    """Open the store, for a role that closes it itself."""
    return open_store(settings.center.store, settings.data, taxonomy_of(settings))


@contextlib.contextmanager
def state_of(settings: Settings) -> Iterator[State]:
    """Open the state database; closed on leaving. Raises SettingsError, TransientError."""
    with contextlib.closing(open_state(settings.center.state, settings.data)) as state:
        yield state


@contextlib.contextmanager
def ledger_of(settings: Settings) -> Iterator[tuple[Ledger, State]]:
    """Open what the books are made from."""
    with bus_of(settings) as bus, store_of(settings) as store, state_of(settings) as state:
        yield Ledger(bus, store, state), state


@contextlib.contextmanager
def console_of(settings: Settings) -> "Iterator[Center]":
    """Open what the console needs; closed on leaving. Raises SettingsError, TransientError."""
    from enrich.phrasebook import Taxonomy as TopicsFile
    from hark.console.center import Center
    from hark.console.health import health
    from hark.state.people import People

    topics = read_toml(settings.config / "topics.toml", TopicsFile).topic
    with (
        state_of(settings) as state,
        bus_of(settings) as bus,
        contextlib.closing(_LateStore(settings)) as store,
    ):
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


def taxonomy_of(settings: Settings) -> Taxonomy:
    """Return the ancestors of each topic of topics.toml; raises SettingsError."""
    from enrich.phrasebook import Taxonomy as TopicsFile

    topics = read_toml(settings.config / "topics.toml", TopicsFile).topic
    return ancestors({topic.id: [topic.parent] if topic.parent else [] for topic in topics})


def chain_of(settings: Settings, models: Path | None = None) -> "Chain":
    """Return the chain of enrichers; takes a second, as it loads the language models.

    `models` is a folder of trained models; without it hark.toml says which, if any.
    """
    from enrich.chain import build_chain

    serving = settings.center.enrich.models
    if models is None and serving:
        models = settings.config / serving
    return build_chain(settings.config, settings.brands, models)


def source_of(entry: SourceEntry, settings: Settings) -> Source:
    """Return the source that sources.toml describes; raises SettingsError, for missing credentials too."""
    from ingest import open_source

    return open_source(entry, settings.brands)


def brand_matcher(settings: Settings) -> Callable[[Mention], bool]:
    """Return whether a mention matches any brand."""
    from hark.query.match import Document, MatcherSet

    matchers = MatcherSet([brand.query for brand in settings.brands])
    return lambda mention: bool(matchers.matches(Document(mention, None)))
