"""A rule tried on history from the console: the command `hark backtest` in a process of its own.

It is stopped when it takes too long, and does not slow the feeds that this process serves meanwhile.
"""

import os
import subprocess
import tempfile
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from pydantic import BaseModel, Field

from hark.alerts.backtest import Alert, Backtest, Point
from hark.alerts.explain import OTHER
from hark.alerts.rules import DetectorKind, Metric, RuleEntry, rule_of
from hark.core.clock import monotonic
from hark.core.errors import SettingsError, TransientError
from hark.settings import Settings
from hark.supervisor import hark

LONGEST_SECONDS = 20
MOST_AT_ONCE = 2
MOST_SHOWN = 100
"""Alerts of a trial that are shown, the newest; all are counted."""
_MOST_PARTS = 3
_USAGE = 2
_slots = threading.BoundedSemaphore(MOST_AT_ONCE)
_Line = Annotated[str, Field(max_length=10_000, pattern=r"^[^\x00]*$")]


class RuleIn(BaseModel):
    """A rule, with the keys of a [[rule]] of alerts.toml (docs/alerts.md)."""

    name: _Line = Field(examples=["my-rule"])
    detector: DetectorKind = "spike"
    metric: Metric = "complaints"
    title: _Line = ""
    query: _Line = ""
    part: _Line = ""
    group_by: list[str] = Field(default=[], max_length=2)
    threshold: float = Field(default=1.0, allow_inf_nan=False)
    window_minutes: int = Field(default=60, ge=0, le=100_000)
    minimum_volume: int = Field(default=1, ge=0, le=10**9)
    minimum_severity: int = Field(default=1, ge=0, le=100)
    direction: Literal["", "up", "down", "either"] = ""
    notify: list[str] = Field(default=[], max_length=50)
    quiet_hours: _Line = ""
    time_zone: Annotated[str, Field(max_length=64, pattern=r"^[^\x00]*$")] = "UTC"

    @classmethod
    def of(cls, entry: RuleEntry) -> "RuleIn":
        """Return a rule of alerts.toml."""
        found = msgspec.structs.asdict(entry)
        by = (entry.group_by,) if isinstance(entry.group_by, str) else entry.group_by
        return cls(
            **{**found, "group_by": [one for one in by if one != "none"], "notify": list(entry.notify)}
        )

    def entry(self) -> RuleEntry:
        """Return it as alerts.toml would give it."""
        return RuleEntry(
            **{**self.model_dump(), "group_by": tuple(self.group_by), "notify": tuple(self.notify)}
        )


class PartOut(BaseModel):
    """What brought most of an excess."""

    value: str
    excess: float


class AlertOut(BaseModel):
    """One alert that would have been told; `query` finds what it observed between `since` and `until`."""

    series: str
    title: str = Field(description="The series as people call it")
    told_at: datetime
    ended_at: datetime | None
    since: datetime
    until: datetime
    observed: int
    expected: float
    severity: int
    worst: int
    again: int = Field(description="How often it would have been told of again")
    query: str
    topics: list[PartOut]
    saw: list[str] = Field(description="Which of the known incidents it saw")


class OutcomeOut(BaseModel):
    """What became of a known incident: when it was first told, seconds after its begin and before its peak."""

    name: str
    begin: datetime
    told_at: datetime | None
    after_begin_seconds: float | None
    before_peak_seconds: float | None
    lasting_since: datetime | None


class Trial(BaseModel):
    """What a rule would have done."""

    rule: str
    since: datetime
    until: datetime
    seconds: float = Field(description="How long the trial took")
    series: int
    labelled: bool
    blind_buckets: int = Field(description="Five minutes in which a source may have missed mentions")
    basis: str = Field(description="What was counted, in words, where mentions were imported later")
    alerts_found: int
    alerts: list[AlertOut] = Field(description=f"The newest {MOST_SHOWN}")
    outcomes: list[OutcomeOut]
    curve: list[Point]


def tried(settings: Settings, entry: RuleEntry, since: datetime, until: datetime, incidents: str) -> Trial:
    """Try a rule from `since` to `until`; `incidents` are those that one knows of, as CSV.

    Raises RuleError and SettingsError for what cannot be tried, and for what takes too long, TransientError when
    others are being tried.
    """
    rule_of(settings.config, entry)
    if not _slots.acquire(blocking=False):
        raise TransientError("Other rules are being tried right now.", LONGEST_SECONDS / 2)
    try:
        began = monotonic()
        result = _run(settings, entry, since, until, incidents)
        return _trial(result, monotonic() - began)
    finally:
        _slots.release()


def _run(settings: Settings, entry: RuleEntry, since: datetime, until: datetime, incidents: str) -> Backtest:
    with tempfile.TemporaryDirectory(prefix="hark-trial-") as folder:
        arguments = [
            "--config",
            str(settings.config.resolve()),
            "--data",
            str(settings.data.resolve()),
            "--json",
        ]
        arguments += ["--since", _instant(since), "--until", _instant(until)]
        if incidents.strip():
            known = Path(folder) / "incidents.csv"
            known.write_text(incidents, encoding="utf-8")
            arguments += ["--incidents", str(known)]
        try:
            done = subprocess.run(
                hark("backtest", "-", *arguments),
                input=msgspec.json.encode(entry),
                capture_output=True,
                timeout=LONGEST_SECONDS,
                cwd=folder,
                env={key: value for key, value in os.environ.items() if not key.startswith("PROMETHEUS")},
            )
        except subprocess.TimeoutExpired as error:
            raise SettingsError(
                f"This takes longer than {LONGEST_SECONDS} s: try a shorter time, or a query that finds less. "
                "At the terminal `hark backtest` takes the time it needs."
            ) from error
        if done.returncode:
            said = done.stderr.decode("utf-8", "replace").strip().removeprefix("hark: ")
            kind = SettingsError if done.returncode == _USAGE else TransientError
            raise kind(said.replace(f"{folder}/", "")[-2_000:] or "The trial did not come to its end.")
        return msgspec.json.decode(done.stdout, type=Backtest)


def _trial(result: Backtest, seconds: float) -> Trial:
    return Trial(
        rule=result.rule,
        since=result.since,
        until=result.until,
        seconds=round(seconds, 1),
        series=result.series,
        labelled=result.labelled,
        blind_buckets=result.blind_buckets,
        basis=result.basis,
        alerts_found=len(result.alerts),
        alerts=[_alert(alert) for alert in result.alerts[::-1][:MOST_SHOWN]],
        outcomes=[
            OutcomeOut(
                name=one.label.name,
                begin=one.label.begin,
                told_at=one.told_at,
                after_begin_seconds=None if one.before_begin_seconds is None else -one.before_begin_seconds,
                before_peak_seconds=one.before_peak_seconds,
                lasting_since=one.lasting_since,
            )
            for one in result.outcomes
        ],
        curve=list(result.curve),
    )


def _alert(alert: Alert) -> AlertOut:
    named = [part for part in alert.explanation.topics if part.value != OTHER]
    return AlertOut(
        series=alert.series or "all",
        title=alert.title,
        told_at=alert.told_at,
        ended_at=alert.ended_at,
        since=alert.window_begin,
        until=alert.window_end,
        observed=alert.observed,
        expected=alert.expected,
        severity=alert.severity,
        worst=alert.worst,
        again=len(alert.escalated_at),
        query=alert.explanation.query,
        topics=[PartOut(value=part.value, excess=part.excess) for part in named[:_MOST_PARTS]],
        saw=list(alert.incidents),
    )


def _instant(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
