"""Alert rules: alerts.toml, validated. A mistake is a SettingsError with the file, the key, and what was expected."""

import hashlib
import re
from datetime import datetime
from pathlib import Path
from typing import Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
from msgspec import Struct

from hark.alerts.change import Direction
from hark.alerts.holidays import NONE, Holidays, HolidaysEntry, holidays_of
from hark.alerts.terms import node_of
from hark.core.errors import SettingsError
from hark.core.tree import And, Field, Node, Query, nodes
from hark.query import QueryError, parse
from hark.query.explain import text_of
from hark.settings import read_toml

BUCKET_SECONDS = 300
"""What is judged at a time."""
FILE = "alerts.toml"
BETWEEN = " × "
"""Stands between the values of a series that is grouped by two fields."""
_DAY_MINUTES = 24 * 60
_JUDGING = "3"
"""Changes when the same counts would be judged otherwise: checkpoints of before are then of no use."""

Metric = Literal["count", "complaints", "share-negative", "share", "net-sentiment", "reach", "authors"]
DetectorKind = Literal["spike", "threshold", "flatline", "change", "ratio", "new-term", "source"]
GROUPS = ("brand", "topic", "source", "place", "country", "lang")
SHARES = ("share-negative", "share")
OF_ALL = (*SHARES, "net-sentiment")
"""The metrics that are taken of a number of mentions."""

METRICS: dict[str, tuple[str, ...]] = {
    "spike": ("count", "complaints", "reach", "authors"),
    "threshold": ("count", "complaints", "reach", "authors", *SHARES),
    "flatline": ("count", "complaints", "reach", "authors"),
    "change": OF_ALL,
    "ratio": ("count", "complaints", "reach", "authors"),
    "new-term": ("count", "complaints"),
    "source": ("count",),
}
"""The metrics that each detector can look at."""
SEASONAL = ("spike", "flatline")
"""The detectors that expect a count of a time, and so know of holidays."""
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,60}")
_QUIET = re.compile(r"(\d\d):(\d\d)-(\d\d):(\d\d)")
_NEGATIVE = Field("sentiment", "=", "negative")
_LONGEST_WINDOW_MINUTES = 24 * 60
_LONGEST_ALLOWANCE_MINUTES = 24 * 60


class RuleError(SettingsError):
    """One key of a rule is wrong. `key` names it, `problem` says what is wrong; `position` is set within a query."""

    def __init__(self, where: str, rule: str, key: str, problem: str, position: int | None = None) -> None:
        super().__init__(f"{where}: {key} of rule {rule!r}: {problem}")
        self.key = key
        self.problem = problem
        self.position = position


class RuleEntry(Struct, frozen=True, forbid_unknown_fields=True):
    """One [[rule]] of alerts.toml, as written."""

    name: str
    detector: DetectorKind
    metric: Metric = "count"
    title: str = ""
    query: str = ""
    part: str = ""
    group_by: str | tuple[str, ...] = "none"
    threshold: float = 1.0
    window_minutes: int = 60
    minimum_volume: int = 1
    minimum_severity: int = 1
    direction: Literal["", "up", "down", "either"] = ""
    notify: tuple[str, ...] = ()
    quiet_hours: str = ""
    time_zone: str = "UTC"


class AlertsFile(Struct, frozen=True, forbid_unknown_fields=True):
    """alerts.toml."""

    rule: tuple[RuleEntry, ...] = ()
    allowance_minutes: int = 2
    holidays: HolidaysEntry = HolidaysEntry()
    # Who is told stands in the same file; targets.py reads and checks it.
    target: dict[str, Any] = {}
    rota: dict[str, Any] = {}
    heartbeat: dict[str, Any] = {}
    console: str = ""


class Quiet(Struct, frozen=True):
    """Hours of the day, from and to in minutes, in a time zone; may go past midnight."""

    begin: int
    end: int
    zone: str

    def at(self, moment: datetime) -> bool:
        """Say whether `moment` is in them."""
        local = moment.astimezone(ZoneInfo(self.zone))
        minute = local.hour * 60 + local.minute
        if self.begin <= self.end:
            return self.begin <= minute < self.end
        return minute >= self.begin or minute < self.end


class Rule(Struct, frozen=True):
    """What is watched, and when it is told of.

    `query` selects mentions; each value of `group_by` (each pair, for two fields) is a series of its own.
    `threshold` is a multiple of the usual evidence, and for the detector `threshold` a number of mentions (or a
    share, 0 to 1) within `window_seconds`. `part` is the narrower query of the metric `share`. `minimum_volume`
    counts the mentions of the metric (for a share: those that it is taken of) in the window that is told of;
    `minimum_severity` is 1 to 10; `direction` is that of a change. `notify` names targets; in `quiet` hours they hear of it in the digest.
    """

    name: str
    title: str
    query: Query
    metric: Metric
    group_by: tuple[str, ...]
    detector: DetectorKind
    threshold: float = 1.0
    window_seconds: int = 3600
    minimum_volume: int = 1
    minimum_severity: int = 1
    direction: Direction = "up"
    allowance_seconds: int = 120
    part: Query | None = None
    notify: tuple[str, ...] = ()
    quiet: Quiet | None = None
    holidays: Holidays = NONE

    @property
    def by(self) -> str:
        """What it is grouped by, for people."""
        return BETWEEN.join(self.group_by) or "nothing"

    @property
    def identity(self) -> str:
        """What its checkpoints belong to: changes with whatever changes a verdict."""
        part = self.part.text if self.part is not None else ""
        judged = (
            _JUDGING,
            BUCKET_SECONDS,
            self.name,
            self.query.text,
            part,
            self.metric,
            self.group_by,
            self.detector,
            self.threshold,
            self.window_seconds,
            self.minimum_volume,
            self.minimum_severity,
            self.direction,
            self.allowance_seconds,
            *((msgspec.to_builtins(self.holidays),) if self.holidays and self.detector in SEASONAL else ()),
        )
        return hashlib.blake2s(msgspec.msgpack.encode(judged), digest_size=12).hexdigest()

    def narrowing(self) -> tuple[Node, ...]:
        """Return what the metric counts among the mentions of the query."""
        if self.metric in ("complaints", "share-negative"):
            return (_NEGATIVE,)
        return (self.part.root,) if self.metric == "share" and self.part is not None else ()

    def divided(self, series: str | None) -> tuple[str | None, str]:
        """Return the group of a series, and the term that it is of, "" where it is of none."""
        if self.detector != "new-term" or series is None or series.count(BETWEEN) < len(self.group_by):
            return series, ""
        group, _, term = series.rpartition(BETWEEN)
        return group or None, term

    def selection(self, group: str | None, *more: Node) -> Query:
        """Return the query whose matches are what an alert on the series `group` counts, narrowed by `more`."""
        parts = [] if self.query.text.strip() == "" else [self.query.root]
        group, term = self.divided(group)
        if self.group_by and group is not None:
            parts += [
                Field(name, "=", value)
                for name, value in zip(self.group_by, group.split(BETWEEN), strict=True)
            ]
        if term:
            parts.append(node_of(term))
        parts += (*self.narrowing(), *more)
        flat: list[Node] = []
        for part in parts:
            flat += part.children if isinstance(part, And) else (part,)
        root = And(tuple(flat)) if len(flat) > 1 else flat[0] if flat else self.query.root
        return Query(text_of(root), root)


def load_rules(config: Path) -> dict[str, Rule]:
    """Return the rules of alerts.toml in the folder `config` by name; raises SettingsError."""
    path = config / FILE
    file = load_file(config)
    days = holidays_of(file.holidays, str(path))
    rules: dict[str, Rule] = {}
    for entry in file.rule:
        if entry.name in rules:
            raise SettingsError(f"{path}: two rules are named {entry.name!r}: give each its own name")
        rules[entry.name] = _rule(str(path), entry, file.allowance_minutes * 60, days)
    return rules


def load_file(config: Path) -> AlertsFile:
    """Return alerts.toml as written; its rules are looked at by `load_rules`. Raises SettingsError."""
    path = config / FILE
    file = read_toml(path, AlertsFile)
    if not 0 <= file.allowance_minutes <= _LONGEST_ALLOWANCE_MINUTES:
        raise SettingsError(
            f"{path}: allowance_minutes: expected 0 to {_LONGEST_ALLOWANCE_MINUTES}, found {file.allowance_minutes}"
        )
    return file


def rule_of(config: Path, entry: RuleEntry) -> Rule:
    """Return a rule that stands in no file, with the allowance of alerts.toml; raises RuleError, SettingsError."""
    file = load_file(config)
    days = holidays_of(file.holidays, str(config / FILE))
    return _rule("the rule", entry, file.allowance_minutes * 60, days)


def load_holidays(config: Path) -> Holidays:
    """Return the holidays that alerts.toml knows of; raises SettingsError."""
    return holidays_of(load_file(config).holidays, str(config / FILE))


def find_rule(config: Path, name: str) -> Rule:
    """Return the rule `name`; SettingsError lists those there are."""
    rules = load_rules(config)
    if name not in rules:
        known = ", ".join(rules) or "none"
        raise SettingsError(f"{config / FILE}: no rule is named {name!r}; there are: {known}")
    return rules[name]


def _rule(where: str, entry: RuleEntry, allowance_seconds: int, holidays: Holidays) -> Rule:
    def wrong(key: str, expected: str, found: object) -> SettingsError:
        return RuleError(where, entry.name, key, f"expected {expected}, found {found!r}")

    if not _NAME.fullmatch(entry.name):
        raise wrong("name", "lower-case letters, digits, - and _ only", entry.name)
    if entry.metric not in METRICS[entry.detector]:
        fitting = [kind for kind, metrics in METRICS.items() if entry.metric in metrics]
        what = " or ".join(f'"{kind}"' for kind in fitting)
        raise wrong("detector", f'{what} for the metric "{entry.metric}"', entry.detector)
    share = entry.detector == "threshold" and entry.metric in SHARES
    if not 0 < entry.threshold <= (1 if share else 1e9):
        raise wrong(
            "threshold", "more than 0 and at most 1" if share else "a number above 0", entry.threshold
        )
    if not 5 <= entry.window_minutes <= _LONGEST_WINDOW_MINUTES or entry.window_minutes % 5:
        raise wrong(
            "window_minutes", f"a multiple of 5 up to {_LONGEST_WINDOW_MINUTES}", entry.window_minutes
        )
    if entry.minimum_volume < 1:
        raise wrong("minimum_volume", "at least 1", entry.minimum_volume)
    if not 1 <= entry.minimum_severity <= 10:
        raise wrong("minimum_severity", "1 to 10", entry.minimum_severity)
    if entry.direction and entry.detector != "change":
        raise wrong("direction", 'none, as only the detector "change" looks both ways', entry.direction)
    if (entry.metric == "share") != bool(entry.part.strip()):
        raise wrong("part", 'a query with the metric "share", and none without', entry.part)
    return Rule(
        entry.name,
        entry.title or entry.name,
        _query(where, entry, "query"),
        entry.metric,
        _groups(entry, wrong),
        entry.detector,
        entry.threshold,
        entry.window_minutes * 60,
        entry.minimum_volume,
        entry.minimum_severity,
        entry.direction or ("down" if entry.metric == "net-sentiment" else "up"),
        allowance_seconds,
        _query(where, entry, "part") if entry.part.strip() else None,
        entry.notify,
        _quiet(entry, wrong),
        holidays,
    )


def _query(where: str, entry: RuleEntry, key: Literal["query", "part"]) -> Query:
    text = entry.query if key == "query" else entry.part
    try:
        query = parse(text)
    except QueryError as error:
        raise RuleError(where, entry.name, key, str(error), error.position) from error
    if _asks_for_times(query.root):
        problem = f"expected no created:, since a rule says itself which time it looks at, found {text!r}"
        raise RuleError(where, entry.name, key, problem)
    return query


def _groups(entry: RuleEntry, wrong: Any) -> tuple[str, ...]:
    found = (entry.group_by,) if isinstance(entry.group_by, str) else entry.group_by
    if found in (("none",), ()):
        found = ()
    elif len(found) > 2 or len(set(found)) < len(found) or not set(found) <= set(GROUPS):
        raise wrong(
            "group_by", f'"none", one of {", ".join(GROUPS)}, or two of them in a list', entry.group_by
        )
    if entry.detector == "ratio" and len(found) != 1:
        raise wrong("group_by", "the one field whose values are compared with each other", entry.group_by)
    return found


def _quiet(entry: RuleEntry, wrong: Any) -> Quiet | None:
    try:
        ZoneInfo(entry.time_zone)
    except (ZoneInfoNotFoundError, ValueError):
        raise wrong("time_zone", "a name such as America/Chicago", entry.time_zone) from None
    if not entry.quiet_hours:
        return None
    found = _QUIET.fullmatch(entry.quiet_hours)
    if not found:
        raise wrong("quiet_hours", '"22:00-07:00"', entry.quiet_hours)
    first, minute, last, last_minute = map(int, found.groups())
    begin, end = first * 60 + minute, last * 60 + last_minute
    if not (minute < 60 and last_minute < 60 and begin < _DAY_MINUTES and end <= _DAY_MINUTES):
        raise wrong("quiet_hours", '"22:00-07:00"', entry.quiet_hours)
    return Quiet(begin, end, entry.time_zone)


def _asks_for_times(root: Node) -> bool:
    return any(isinstance(node, Field) and node.name == "created" for node in nodes(root))
