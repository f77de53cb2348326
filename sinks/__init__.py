"""Stores, by address: where mentions are indexed and searched.

`embedded` is one SQLite file in the data folder; `elasticsearch+http://host:port` and
`elasticsearch+https://…` are a server. The module of a scheme has `open_store(address, data_dir, taxonomy, generation)`
and `drop_store(address, data_dir, generation)`.
"""

from importlib import import_module
from pathlib import Path
from typing import Any, cast

from hark.core.errors import SettingsError
from hark.core.protocols import Store
from hark.query.fields import Taxonomy

STORES = {
    "embedded": "sinks.embedded",
    "elasticsearch+http": "sinks.elasticsearch",
    "elasticsearch+https": "sinks.elasticsearch",
}
"""The module of each scheme, imported when an address names it."""


def open_store(address: str, data_dir: Path, taxonomy: Taxonomy, generation: int = 0) -> Store:
    """Open the store that `address` names; `taxonomy` gives a topic its ancestors.

    Each generation has a store of its own beside the first. Raises SettingsError for an unknown scheme or a
    wrong address, TransientError while a server is away.
    """
    return cast(Store, _module(address).open_store(address, data_dir, taxonomy, generation))


def drop_store(address: str, data_dir: Path, generation: int) -> None:
    """Remove the store of one generation for good, with all that it holds; idempotent. Raises as `open_store`."""
    _module(address).drop_store(address, data_dir, generation)


def _module(address: str) -> Any:
    scheme = address.partition("://")[0]
    module = STORES.get(scheme)
    if module is None:
        known = ", ".join(name if name == "embedded" else f"{name}://host:port" for name in STORES)
        raise SettingsError(f"store: unknown kind {scheme!r}; expected one of: {known}")
    return import_module(module)
