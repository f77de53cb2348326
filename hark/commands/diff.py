"""`hark diff`: what another generation of tags changes."""

import contextlib
import sys
from datetime import timedelta
from pathlib import Path

import click
import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from hark import settings as settings_module
from hark.commands.options import common
from hark.commands.show import harmless
from hark.commands.times import point
from hark.core.clock import from_ms, now
from hark.core.errors import SettingsError
from hark.difference import Course, Difference, difference
from hark.query import parse
from hark.state.generations import Generation, Generations

_TREND_DAYS = 30
_MOST_MOVES = 8
_MOST_COURSES = 12


@click.command()
@common
@click.argument("before", type=int, required=False)
@click.argument("after", type=int, required=False)
@click.option("--since", help="Compare mentions from this time on. Default: those that were tagged again.")
@click.option("--until", help="Trends of the 30 days before this time. Default: now.")
@click.option(
    "--examples",
    type=click.IntRange(min=0),
    default=2,
    show_default=True,
    help="Mentions shown for each change.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    config: Path | None,
    data: Path | None,
    before: int | None,
    after: int | None,
    since: str | None,
    until: str | None,
    examples: int,
    as_json: bool,
) -> None:
    """Count what changes from generation BEFORE (default: the one that is shown) to AFTER (default: the other).

    For each tag which value becomes which, how often, with examples; then what that does to a month's trends:
    mentions and net sentiment, in all, by topic and by brand.
    """
    from hark.wiring import state_of, store_of_generation

    settings = settings_module.load(config, data)
    with state_of(settings) as state:
        first, second = _chosen(Generations(state), before, after)
    end = point(until, "--until") or now()
    begin = point(since, "--since")
    if begin is None and second.since_ms is not None:
        begin = from_ms(second.since_ms)
    with (
        contextlib.closing(store_of_generation(settings, first.number)) as old,
        contextlib.closing(store_of_generation(settings, second.number)) as new,
        Progress(
            TextColumn("compared"),
            BarColumn(),
            MofNCompleteColumn(),
            console=Console(stderr=True),
            transient=True,
            disable=not sys.stderr.isatty(),
        ) as progress,
    ):
        task = progress.add_task("", total=old.count(parse("")))
        found = difference(
            (first.number, second.number),
            old,
            new,
            begin,
            (end - timedelta(days=_TREND_DAYS), end),
            examples,
            lambda more: progress.advance(task, more),
        )
    if as_json:
        sys.stdout.buffer.write(msgspec.json.encode(found) + b"\n")
    else:
        _print(found, second)


def _chosen(generations: Generations, before: int | None, after: int | None) -> tuple[Generation, Generation]:
    there = {each.number: each for each in generations.all() if each.kept}
    serving = generations.serving()
    first = serving if before is None else before
    others = [number for number in there if number != first]
    if after is None and not others:
        raise SettingsError("there is one generation only: `hark reprocess --since …` makes another")
    second = max(others) if after is None else after
    for number in (first, second):
        if number not in there:
            raise SettingsError(f"no generation {number}; there are: {', '.join(map(str, there)) or 'none'}")
    return there[first], there[second]


def _print(found: Difference, second: Generation) -> None:
    console = Console(highlight=False, markup=False)
    share = found.changed / found.compared if found.compared else 0.0
    console.print(
        f"From generation {found.before} to {found.after}: {found.changed:,} of {found.compared:,} mentions change "
        f"({share:.1%}); {found.missing:,} are not there yet."
    )
    if second.status == "building":
        console.print("It is still being built: what is not there yet is not compared.")
    for tag, moves in found.moves.items():
        if not moves:
            continue
        total = sum(move.count for move in moves)
        console.print(f"\n{tag}: {total:,} changes of {len(moves)} kinds")
        for move in moves[:_MOST_MOVES]:
            console.print(f"  {move.count:>9,}  {harmless(move.before, 40)} → {harmless(move.after, 40)}")
            for example in move.examples:
                console.print(f"             {harmless(example.id, 40)}  {harmless(example.text, 100)}")
    if found.trends_since and found.trends_until:
        console.print(f"\nTrends from {found.trends_since:%Y-%m-%d} to {found.trends_until:%Y-%m-%d}")
    table = Table(box=None, header_style="bold")
    for name in ("", "mentions", "then", "net", "then"):
        table.add_column(name, justify="left" if not name else "right")
    for by, courses in found.trends.items():
        for course in courses[:_MOST_COURSES]:
            table.add_row(
                harmless(f"{by}:{course.value}" if course.value else by, 40),
                f"{course.before:,}",
                f"{course.after:,}",
                _net(course, before=True),
                _net(course, before=False),
            )
    console.print(table)


def _net(course: Course, before: bool) -> str:
    value = course.net_before if before else course.net_after
    return "" if value is None else f"{value:+.3f}"
