"""What mentions are counted by; the same for every store."""

from hark.core.errors import SettingsError

GROUPS = (
    "brand",
    "topic",
    "sentiment",
    "source",
    "lang",
    "author",
    "site",
    "hashtag",
    "country",
    "kind",
    "intent",
    "journey",
    "urgency",
    "place",
)
"""Fields whose values are counted. The embedded store's columns stand in this order: new ones go to the end."""
_MINUTE = 60


def check_group(name: str | None) -> None:
    """Raise SettingsError for a field whose values are not counted; None is no field."""
    if name is not None and name not in GROUPS:
        raise SettingsError(f"nothing is counted by {name!r}; expected one of: {', '.join(GROUPS)}")


def check_interval(seconds: int) -> None:
    """Raise SettingsError for a width that a histogram cannot have."""
    if seconds <= 0 or seconds % _MINUTE:
        raise SettingsError(f"interval of {seconds} seconds: expected a multiple of {_MINUTE}")
