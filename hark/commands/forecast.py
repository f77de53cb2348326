"""`hark forecast`: what the next two days will bring."""

import sys
from datetime import tzinfo
from math import ceil, floor
from pathlib import Path
from typing import get_args

import click
import msgspec
from rich.console import Console
from rich.table import Table

from hark import settings as settings_module
from hark.alerts.forecast import Forecast, Metric, forecast_of
from hark.alerts.rules import load_holidays
from hark.commands.options import common
from hark.core.clock import from_ms, now
from hark.core.errors import SettingsError
from hark.query import parse
from hark.trends import zone_named

MOST_HOURS = 168
_BAR = 24


@click.command()
@common
@click.argument("query", default="")
@click.option(
    "--metric",
    type=click.Choice(get_args(Metric)),
    default="count",
    show_default=True,
    help="All mentions, or the negative ones.",
)
@click.option("--hours", default=48, show_default=True, help=f"How far ahead, {MOST_HOURS} at most.")
@click.option("--zone", help="Time zone of the hours, like America/Chicago. Default: this machine's.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, one object an hour.")
def command(
    config: Path | None,
    data: Path | None,
    query: str,
    metric: Metric,
    hours: int,
    zone: str | None,
    as_json: bool,
) -> None:
    """Say how many mentions will match QUERY in each of the next hours, with 80 % and 95 % intervals.

    \b
    hark forecast brand:southwest
    hark forecast brand:southwest --metric complaints --zone America/Chicago --json

    It is learned from the last twelve weeks; the hour that is not over yet is the first. Days that nobody can know
    of, such as incidents, are not in what is expected: they are what the intervals are for.
    """
    from hark.wiring import state_of, store_of

    if not 1 <= hours <= MOST_HOURS:
        raise SettingsError(f"--hours: expected 1 to {MOST_HOURS}, found {hours}")
    settings = settings_module.load(config, data)
    holidays = load_holidays(settings.config)
    moment = now()
    viewer = zone_named(zone)
    with store_of(settings) as store, state_of(settings) as state:
        asked, gaps = parse(query, lambda: moment), state.gaps()
        found = forecast_of(store, asked, metric, moment, gaps, hours, holidays=holidays)
    if as_json:
        for point in found.points:
            row = {"begin": from_ms(point.start * 1000), "metric": metric} | msgspec.structs.asdict(point)
            del row["start"]
            click.echo(msgspec.json.encode(row).decode())
    else:
        _print(found, viewer, Console(highlight=False, soft_wrap=not sys.stdout.isatty()))


def _print(found: Forecast, viewer: tzinfo, console: Console) -> None:
    if found.learned_from is None:
        console.print("Nothing has matched in the last twelve weeks: nothing can be forecast.")
        return
    days = (found.points[0].start - found.learned_from) / 86_400
    if days < 7:
        console.print(
            f"Learned from {days:.1f} days only: weekdays are not known yet, and the intervals are wide."
        )
    table = Table(box=None, header_style="bold")
    for title in ("hour", "expected", "80 %", "95 %"):
        table.add_column(title, justify="left" if title == "hour" else "right", no_wrap=True)
    table.add_column("")
    highest = max(point.high_80 for point in found.points) or 1.0
    for point in found.points:
        begin = from_ms(point.start * 1000).astimezone(viewer)
        filled = round(point.expected / highest * _BAR)
        reach = round(point.high_80 / highest * _BAR)
        table.add_row(
            begin.strftime("%a %m-%d %H:%M"),
            f"{point.expected:.1f}",
            _range(point.low_80, point.high_80),
            _range(point.low_95, point.high_95),
            "█" * filled + "░" * (reach - filled),
        )
    console.print(table)


def _range(low: float, high: float) -> str:
    return f"{floor(low)}–{ceil(high)}"
