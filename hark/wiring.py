"""The one place that constructs: settings in, parts out."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from hark.bus import open_bus
from hark.core.mention import Mention
from hark.core.protocols import Bus, Source, Store
from hark.ledger import Ledger
from hark.query.fields import Taxonomy, ancestors
from hark.settings import Settings, SourceEntry, read_toml
from hark.state import State, open_state
from sinks import open_store

if TYPE_CHECKING:  # loads language models; most commands do without
    from enrich.chain import Chain


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
