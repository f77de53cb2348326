"""Stores, by address: where mentions are indexed and searched.

`embedded` is one SQLite file in the data folder; `elasticsearch+http://host:port` and
`elasticsearch+https://…` are a server. The module of a scheme has `open_store(address, data_dir, taxonomy)`.
"""

from importlib import import_module
from pathlib import Path
from typing import cast

from hark.core.errors import SettingsError
from hark.core.protocols import Store
from hark.query.fields import Taxonomy

STORES = {
    "embedded": "sinks.embedded",
    "elasticsearch+http": "sinks.elasticsearch",
    "elasticsearch+https": "sinks.elasticsearch",
}
"""The module of each scheme, imported when an address names it."""


def open_store(address: str, data_dir: Path, taxonomy: Taxonomy) -> Store:
    """Open the store that `address` names; `taxonomy` gives a topic its ancestors.

    Raises SettingsError for an unknown scheme or a wrong address, TransientError while a server is away.
    """
    scheme = address.partition("://")[0]
    module = STORES.get(scheme)
    if module is None:
        known = ", ".join(name if name == "embedded" else f"{name}://host:port" for name in STORES)
        raise SettingsError(f"store: unknown kind {scheme!r}; expected one of: {known}")
    return cast(Store, import_module(module).open_store(address, data_dir, taxonomy))
