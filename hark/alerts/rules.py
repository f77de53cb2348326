"""Alert rules: alerts.toml, validated. A mistake is a SettingsError with the file, the key, and what was expected."""

import re
from pathlib import Path
from typing import Any, Literal

from msgspec import Struct

from hark.core.errors import SettingsError
from hark.core.tree import And, Field, Node, Not, Or, Query
from hark.query import parse
from hark.query.explain import text_of
from hark.settings import read_toml

BUCKET_SECONDS = 900
"""What is judged at a time: the store's histograms are of quarters of an hour."""
FILE = "alerts.toml"

Metric = Literal["count", "complaints", "share-negative"]
GroupBy = Literal["brand", "topic", "source", "none"]
DetectorKind = Literal["spike", "threshold"]

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,60}")
_NEGATIVE = Field("sentiment", "=", "negative")
_LONGEST_WINDOW_MINUTES = 24 * 60
_LONGEST_ALLOWANCE_MINUTES = 24 * 60


class RuleEntry(Struct, frozen=True, forbid_unknown_fields=True):
    """One [[rule]] of alerts.toml, as written."""

    name: str
    metric: Metric
    detector: DetectorKind
    title: str = ""
    query: str = ""
    group_by: GroupBy = "none"
    threshold: float = 1.0
    window_minutes: int = 60
    minimum_volume: int = 1
    minimum_severity: int = 1


class AlertsFile(Struct, frozen=True, forbid_unknown_fields=True):
    """alerts.toml."""

    rule: tuple[RuleEntry, ...] = ()
    allowance_minutes: int = 5
    # Who is told stands in the same file; targets.py reads and checks it.
    target: dict[str, Any] = {}
    rota: dict[str, Any] = {}
    heartbeat: dict[str, Any] = {}
    console: str = ""


class Rule(Struct, frozen=True):
    """What is watched, and when it is told of.

    `query` selects mentions; each value of `group_by` (None: all together) is a series of its own. `threshold` is a
    multiple of the usual evidence for the detector `spike`, and a number of mentions (or a share, 0 to 1) within
    `window_seconds` for `threshold`. `minimum_volume` counts the mentions of the metric (for a share: those that it
    is taken of) in the window that is told of; `minimum_severity` is 1 to 10.
    """

    name: str
    title: str
    query: Query
    metric: Metric
    group_by: Literal["brand", "topic", "source"] | None
    detector: DetectorKind
    threshold: float
    window_seconds: int
    minimum_volume: int
    minimum_severity: int
    allowance_seconds: int

    def selection(self, group: str | None, *more: Node) -> Query:
        """Return the query whose matches are what an alert on the series `group` counts, narrowed by `more`."""
        parts = [] if self.query.text.strip() == "" else [self.query.root]
        if self.group_by is not None and group is not None:
            parts.append(Field(self.group_by, "=", group))
        if self.metric != "count":
            parts.append(_NEGATIVE)
        parts += more
        root = And(tuple(parts)) if len(parts) > 1 else parts[0] if parts else self.query.root
        return Query(text_of(root), root)


def load_rules(config: Path) -> dict[str, Rule]:
    """Return the rules of alerts.toml in the folder `config` by name; raises SettingsError."""
    path = config / FILE
    file = read_toml(path, AlertsFile)
    if not 0 <= file.allowance_minutes <= _LONGEST_ALLOWANCE_MINUTES:
        raise SettingsError(
            f"{path}: allowance_minutes: expected 0 to {_LONGEST_ALLOWANCE_MINUTES}, found {file.allowance_minutes}"
        )
    rules: dict[str, Rule] = {}
    for entry in file.rule:
        if entry.name in rules:
            raise SettingsError(f"{path}: two rules are named {entry.name!r}: give each its own name")
        rules[entry.name] = _rule(path, entry, file.allowance_minutes * 60)
    return rules


def find_rule(config: Path, name: str) -> Rule:
    """Return the rule `name`; SettingsError lists those there are."""
    rules = load_rules(config)
    if name not in rules:
        known = ", ".join(rules) or "none"
        raise SettingsError(f"{config / FILE}: no rule is named {name!r}; there are: {known}")
    return rules[name]


def _rule(path: Path, entry: RuleEntry, allowance_seconds: int) -> Rule:
    def wrong(key: str, expected: str, found: object) -> SettingsError:
        return SettingsError(f"{path}: {key} of rule {entry.name!r}: expected {expected}, found {found!r}")

    if not _NAME.fullmatch(entry.name):
        raise wrong("name", "lower-case letters, digits, - and _ only", entry.name)
    share = entry.metric == "share-negative"
    if share and entry.detector == "spike":
        raise wrong(
            "detector", '"threshold", as a share is no count that a baseline could be kept of', "spike"
        )
    if not 0 < entry.threshold <= (1 if share else 1e9):
        raise wrong(
            "threshold", "more than 0 and at most 1" if share else "a number above 0", entry.threshold
        )
    if not 15 <= entry.window_minutes <= _LONGEST_WINDOW_MINUTES or entry.window_minutes % 15:
        raise wrong(
            "window_minutes", f"a multiple of 15 up to {_LONGEST_WINDOW_MINUTES}", entry.window_minutes
        )
    if entry.minimum_volume < 1:
        raise wrong("minimum_volume", "at least 1", entry.minimum_volume)
    if not 1 <= entry.minimum_severity <= 10:
        raise wrong("minimum_severity", "1 to 10", entry.minimum_severity)
    try:
        query = parse(entry.query)
    except SettingsError as error:
        raise SettingsError(f"{path}: query of rule {entry.name!r}: {error}") from error
    if _asks_for_times(query.root):
        raise wrong("query", "no created:, since a rule says itself which time it looks at", entry.query)
    return Rule(
        entry.name,
        entry.title or entry.name,
        query,
        entry.metric,
        None if entry.group_by == "none" else entry.group_by,
        entry.detector,
        entry.threshold,
        entry.window_minutes * 60,
        entry.minimum_volume,
        entry.minimum_severity,
        allowance_seconds,
    )


def _asks_for_times(node: Node) -> bool:
    match node:
        case Field(name):
            return name == "created"
        case And(children) | Or(children):
            return any(_asks_for_times(child) for child in children)
        case Not(child):
            return _asks_for_times(child)
        case _:
            return False
