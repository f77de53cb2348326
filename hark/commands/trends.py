"""`hark trends`: what a query's mentions did over time."""

import contextlib
import sys
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path

import click
import msgspec
from rich.console import Console
from rich.table import Table

from hark import settings as settings_module
from hark.commands.options import common
from hark.commands.show import harmless
from hark.commands.times import point
from hark.core.clock import now
from hark.core.errors import SettingsError
from hark.query import parse
from hark.tables import CsvFile, ParquetFile, Row, arrow
from hark.trends import (
    BY,
    INTERVALS,
    Net,
    Trends,
    period_before,
    report,
    trends,
    zone_named,
)
from hark.trends.authors import Ranking, Stances
from hark.trends.report import Interval, Missing, Shares, TopicRow
from hark.trends.tables import COLUMNS, DAYS, PARTS, about, rows_of

DEFAULT_DAYS = 7
_MOST_ROWS = 48
_MOST_SHOWN = 8
_BAR = 20
_STEPS = " ▁▂▃▄▅▆▇█"
_SHADES = " ░▒▓█"


@click.command()
@common
@click.argument("query", default="")
@click.option(
    "--since", help="From this time on: 2026-11-01, 2026-11-01T12:00, or 2h, 7d ago. Default: 7 days."
)
@click.option("--until", help="Before this time. Default: now.")
@click.option("--interval", type=click.Choice(list(INTERVALS)), help="Default: what suits the range.")
@click.option("--by", type=click.Choice(BY), help="Show each value's own course too.")
@click.option("--zone", help="Time zone of days and hours, like America/Chicago. Default: this machine's.")
@click.option("--against", metavar="QUERY", help="Compare with another query, not with the period before.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object; each number with its query.")
@click.option(
    "--csv",
    "csv_file",
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    help="Write one table, a line a number; - prints it.",
)
@click.option(
    "--parquet",
    "parquet_dir",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write the tables into this folder, a file a table.",
)
def command(
    config: Path | None,
    data: Path | None,
    query: str,
    since: str | None,
    until: str | None,
    interval: str | None,
    by: str | None,
    zone: str | None,
    against: str | None,
    as_json: bool,
    csv_file: Path | None,
    parquet_dir: Path | None,
) -> None:
    """Show what the mentions that match QUERY did over time; "" is all of them.

    Volume, net sentiment, brands, topics, rising terms, the journey, sources, languages, places, authors, advocates
    and detractors, and the rhythm of the week, each against the period before. Dates and times without a zone are those of --zone.

    \b
    hark trends brand:southwest --since 7d --by sentiment
    hark trends 'topic:baggage' --since 2026-10-01 --until 2026-11-01 --zone America/Chicago
    hark trends brand:southwest --against brand:delta --json
    """
    from hark.wiring import state_of, store_of, taxonomy_of

    printed = csv_file == Path("-")
    if as_json and printed:
        raise click.UsageError("--json or --csv -, not both")
    if parquet_dir is not None:
        arrow()
    settings = settings_module.load(config, data)
    viewer = zone_named(zone)
    as_of = now()
    end = point(until, "--until", lambda: as_of, viewer) or as_of
    begin = point(since, "--since", lambda: as_of, viewer)
    if begin is None:
        midnight = end.astimezone(viewer).replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
        begin, _ = period_before(midnight, midnight + timedelta(days=DEFAULT_DAYS - 1), "1d", viewer)
    with store_of(settings) as store, state_of(settings) as state:
        shown = trends(
            store,
            parse(query, lambda: as_of),
            begin,
            end,
            zone=viewer,
            as_of=as_of,
            interval=interval,
            by=by,
            other=None if against is None else parse(against, lambda: as_of),
            gaps=state.gaps(),
            taxonomy=taxonomy_of(settings),
            own=frozenset(handle for brand in settings.brands for handle in brand.handles),
        )
    if csv_file is not None:
        write_csv(shown, csv_file)
    if parquet_dir is not None:
        write_parquet(shown, parquet_dir)
    if as_json:
        sys.stdout.buffer.write(msgspec.json.encode(shown) + b"\n")
        sys.stdout.buffer.flush()
    elif csv_file is None and parquet_dir is None:
        print_trends(shown, Console(markup=False, highlight=False, emoji=False))


def write_csv(shown: Trends, file: Path) -> None:
    """Write all numbers as one table; a text that a spreadsheet would take for a formula gets a ' before it.

    Raises SettingsError where the file cannot be written.
    """
    if file == Path("-"):
        CsvFile(sys.stdout, COLUMNS).write(rows_of(shown))
        return
    with _written(file), file.open("w", encoding="utf-8", newline="") as out:
        CsvFile(out, COLUMNS).write(rows_of(shown))


def write_parquet(shown: Trends, folder: Path) -> None:
    """Write a file for each part of the table, all with the same columns; raises SettingsError."""
    parts: dict[str, list[Row]] = {part: [] for part in PARTS}
    for row in rows_of(shown):
        parts[str(row[0])].append(row)
    with _written(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for part, rows in parts.items():
            with (folder / f"{part}.parquet").open("wb") as out:
                file = ParquetFile(out, COLUMNS, about(shown))
                file.write(rows)
                file.close()


@contextlib.contextmanager
def _written(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SettingsError(f"{path}: cannot be written: {error.strerror}") from error


def print_trends(shown: Trends, console: Console) -> None:
    """Print the whole for people, at most as wide as the console."""
    _print_head(shown, console)
    if not shown.tally.mentions.count and not shown.compared.tally.mentions.count:
        return
    _print_intervals(shown, console)
    _print_groups(shown, console)
    _print_shares("Share of voice", shown.brands, shown, console)
    _print_topics(shown, console)
    _print_rising(shown, console)
    _print_shares("Journey", shown.journey, shown, console)
    _print_shares("Sources", shown.sources, shown, console)
    _print_shares("Languages", shown.languages, shown, console)
    _print_shares("Countries", shown.countries, shown, console)
    _print_shares("Places", shown.places, shown, console)
    _print_authors(shown, console)
    _print_rhythm(shown, console)


def _print_head(shown: Trends, console: Console) -> None:
    tally, compared = shown.tally, shown.compared
    span = f"{_time(shown.since)} to {_time(shown.until)}, {shown.zone}"
    console.print(f"{harmless(shown.query, 400) or 'All mentions'}", style="bold")
    console.print(f"{span}, by {_WORDS[shown.interval]}")
    if not shown.intervals:
        console.print("The range is empty: it ends where it begins.")
        return
    number = tally.mentions.count
    said = "No mention" if not number else "1 mention" if number == 1 else f"{number:,} mentions"
    console.print(f"{said}; {_against(shown)}")
    if not number:
        console.print("`hark status` shows what has been collected.", style="dim")
    if tally.net is not None:
        console.print(
            f"Net sentiment {_signed(tally.net.value)} ({_signed(tally.net.low)} to {_signed(tally.net.high)}, 95 %):"
            f" {_percent(tally.positive.count / number)} positive, {_percent(tally.negative.count / number)} negative"
        )
    _print_gaps("Not covered", shown.gaps, console)
    if compared.kind == "previous":
        _print_gaps("Not covered in the period before", compared.gaps, console)


_WORDS = {"15m": "quarter of an hour", "1h": "hour", "1d": "day", "1w": "week"}


def _against(shown: Trends) -> str:
    compared = shown.compared.tally.mentions
    what = (
        "in the period before" if shown.compared.kind == "previous" else f"of {harmless(compared.query, 100)}"
    )
    change = shown.tally.mentions.count / compared.count - 1 if compared.count else None
    than = "" if change is None else f" ({_change(change)})"
    return f"{compared.count:,} {what}{than}"


def _print_gaps(title: str, gaps: Sequence[Missing], console: Console) -> None:
    still = [gap for gap in gaps if not gap.closed]
    for gap in still[:5]:
        text = f"{title}: {gap.source}, {_time(gap.since)} to {_time(gap.until)}: {gap.why}"
        console.print(harmless(text, 300), style="yellow")
    if len(still) > 5:
        console.print(f"{title}: {len(still) - 5} more stretches; --json lists them", style="yellow")


def _print_intervals(shown: Trends, console: Console) -> None:
    counts = [each.tally.mentions.count for each in shown.intervals]
    console.print()
    if len(counts) > _MOST_ROWS:
        highest = max(shown.intervals, key=lambda each: each.tally.mentions.count)
        line = _spark(counts, console.width - 2)
        console.print(line, no_wrap=True)
        peak = f"Most: {highest.tally.mentions.count:,}, {_label(highest, shown)}."
        console.print(f"{peak} {len(counts):,} intervals; --csv or --json lists them.", style="dim")
        return
    others = [figure.count for figure in shown.compared.intervals]
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column(_WORDS[shown.interval] if shown.interval != "15m" else "from", no_wrap=True)
    table.add_column("mentions", justify="right")
    table.add_column("", no_wrap=True)
    table.add_column("before" if shown.compared.kind == "previous" else "other", justify="right")
    table.add_column("net sentiment", no_wrap=True)
    most = max(counts, default=0)
    for at, each in enumerate(shown.intervals):
        number = each.tally.mentions.count
        other = f"{others[at]:,}" if at < len(others) else ""
        table.add_row(_label(each, shown), f"{number:,}", _bar(number, most), other, _net(each.tally.net))
    console.print(table)
    marks = []
    if any(each.partial for each in shown.intervals):
        marks.append("* not the whole of it")
    if any(each.gap for each in shown.intervals):
        marks.append("! not all of it covered")
    if marks:
        console.print("; ".join(marks), style="dim")


def _label(each: Interval, shown: Trends) -> str:
    local = each.since
    text = local.strftime("%a %Y-%m-%d" if shown.interval in ("1d", "1w") else "%a %m-%d %H:%M")
    if local.fold:
        text += local.strftime("%z")
    return text + ("*" if each.partial else "") + ("!" if each.gap else "")


def _print_groups(shown: Trends, console: Console) -> None:
    if not shown.groups:
        return
    begins = [each.since.timestamp() for each in shown.intervals]
    toned = () if shown.by == "sentiment" else ("net sentiment",)
    table = _table(f"By {shown.by}", "mentions", *toned, console=console)
    table.add_column("")
    most = max(10, console.width - 58)
    for group in shown.groups[: 2 * _MOST_SHOWN]:
        counts = {tally.mentions.since.timestamp(): tally.mentions.count for tally in group.intervals}
        line = _spark([counts.get(begin, 0) for begin in begins], most)
        number = group.tally.mentions.count
        net = (_net(group.tally.net),) if toned else ()
        table.add_row(harmless(group.value, 24), f"{number:,}", *net, line)
    console.print(table)
    _more(len(shown.groups) - 2 * _MOST_SHOWN, console)


def _print_shares(title: str, shares: Shares, shown: Trends, console: Console) -> None:
    if not shares.rows:
        return
    table = _table(title, "mentions", "share", "net sentiment", _other(shown), "change", console=console)
    for row in shares.rows[:_MOST_SHOWN]:
        _add_row(table, harmless(row.value, 24), row, _percent(row.share))
    console.print(table)
    _more(len(shares.rows) - _MOST_SHOWN, console)


def _print_topics(shown: Trends, console: Console) -> None:
    if not shown.topics:
        return
    table = _table("Topics", "mentions", "net sentiment", _other(shown), "change", console=console)
    rows = list(_leaves(shown.topics))
    for depth, row in rows[: 3 * _MOST_SHOWN]:
        _add_row(table, "  " * min(depth, 4) + harmless(row.value, 24), row)
    console.print(table)
    _more(len(rows) - 3 * _MOST_SHOWN, console)


def _print_rising(shown: Trends, console: Console) -> None:
    rising = shown.rising
    console.print("\nRising", style="bold")
    if not rising.compared_sample_of:
        console.print("There is no mention to compare with.", style="dim")
    elif not rising.sample_of:
        console.print("There is no mention in this range.", style="dim")
    elif not rising.events:
        console.print("No term rose beyond chance.", style="dim")
    if rising.events:
        table = Table(box=None, header_style="bold", pad_edge=False)
        table.add_column("said together", ratio=1, overflow="fold")
        for name in ("mentions", _other(shown), "score"):
            table.add_column(name, justify="right")
        for event in rising.events:
            text = harmless(", ".join(event.terms[:5]), 60)
            if event.beside:
                text += harmless(f"  (with {', '.join(event.beside[:4])})", 60)
            numbers = f"{event.mentions.count:,}", f"{event.compared.count:,}", f"{event.score:.1f}"
            table.add_row(text, *numbers)
        console.print(table)
    if rising.read < rising.sample_of or rising.compared_read < rising.compared_sample_of:
        console.print(
            f"Found in a sample: {rising.read:,} of {rising.sample_of:,} mentions, and {rising.compared_read:,} of"
            f" {rising.compared_sample_of:,}; the numbers are of all.",
            style="dim",
        )


def _print_authors(shown: Trends, console: Console) -> None:
    authors = shown.authors
    if not authors.by_mentions:
        return
    table = _table("Authors", "mentions", "net sentiment", _other(shown), console=console)
    for author in authors.by_mentions[:_MOST_SHOWN]:
        number, compared = f"{author.tally.mentions.count:,}", f"{author.compared.count:,}"
        table.add_row(harmless(author.handle, 30), number, _net(author.tally.net), compared)
    console.print(table)
    _print_ranking("Authors by reach", "reach", authors.by_reach, console)
    _print_ranking("Authors by influence", "influence", authors.by_influence, console)
    _print_stances("Advocates", "positive", authors.advocates, console)
    _print_stances("Detractors", "negative", authors.detractors, console)


def _print_ranking(title: str, name: str, ranking: Ranking, console: Console) -> None:
    if not ranking.rows:
        return
    table = _table(title, name, "followers", "automated", "mentions", console=console)
    for author in ranking.rows[:_MOST_SHOWN]:
        value = author.reach if name == "reach" else author.influence
        followers = "" if author.followers is None else f"{author.followers:,}"
        likely = "" if author.automation is None else _percent(author.automation)
        number = f"{author.tally.mentions.count:,}"
        table.add_row(harmless(author.handle, 30), f"{value}", followers, likely, number)
    console.print(table)
    if not ranking.complete:
        console.print(f"Of {ranking.read:,} mentions read; some authors may be missing.", style="dim")


def _print_stances(title: str, mood: str, stances: Stances, console: Console) -> None:
    if not stances.rows:
        return
    table = _table(title, "mentions", mood, "95 %", console=console)
    for stance in stances.rows[:_MOST_SHOWN]:
        span = f"{_percent(stance.low)} to {_percent(stance.high)}"
        number = f"{stance.tally.mentions.count:,}"
        table.add_row(harmless(stance.handle, 30), number, _percent(stance.share), span)
    console.print(table)
    console.print(
        f"Of {stances.judged:,} authors with {stances.least} mentions and more; the brands' own accounts left out.",
        style="dim",
    )


def _print_rhythm(shown: Trends, console: Console) -> None:
    rhythm = shown.rhythm
    if not rhythm.sample:
        return
    console.print("\nRhythm: mentions an hour, by weekday and hour", style="bold")
    console.print("    " + "".join(f"{hour:<6}" for hour in range(0, 24, 3)))
    rates = {
        (each.weekday, each.hour): each.mentions.count / each.hours for each in rhythm.hours if each.hours
    }
    most = max(rates.values())
    for weekday, name in enumerate(DAYS):
        if any(day == weekday for day, _ in rates):
            cells = (rates.get((weekday, hour)) for hour in range(24))
            console.print(f"{name} " + "".join(_shade(rate, most) for rate in cells), no_wrap=True)
    busiest = max(rates, key=lambda key: rates[key])
    since = "" if rhythm.since == shown.since else f", since {_time(rhythm.since)}"
    console.print(
        f"{_SHADES[-1]} is {most:,.1f} ({DAYS[busiest[0]]} {busiest[1]:02}:00); {rhythm.sample:,} mentions{since}",
        style="dim",
    )


def _shade(rate: float | None, most: float) -> str:
    return " ·" if rate is None else 2 * _SHADES[_level(rate, most, len(_SHADES) - 1)]


def _leaves(topics: Sequence[TopicRow], depth: int = 0) -> Iterator[tuple[int, report.Row]]:
    for each in topics:
        yield depth, each.topic
        yield from _leaves(each.children, depth + 1)


def _table(title: str, *numbers: str, console: Console) -> Table:
    console.print()
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column(title, no_wrap=True, min_width=20)
    for name in numbers:
        table.add_column(name, justify="left" if name == "net sentiment" else "right", no_wrap=True)
    return table


def _add_row(table: Table, label: str, row: report.Row, *share: str) -> None:
    change = "new" if row.change is None else _change(row.change)
    number, compared = f"{row.tally.mentions.count:,}", f"{row.compared.count:,}"
    table.add_row(label, number, *share, _net(row.tally.net), compared, change)


def _other(shown: Trends) -> str:
    return "before" if shown.compared.kind == "previous" else "other"


def _more(number: int, console: Console) -> None:
    if number > 0:
        console.print(f"and {number:,} more; --json lists them", style="dim")


def _spark(counts: Sequence[int], width: int) -> str:
    """Return counts as a line of at most `width` blocks; where several share one, the highest shows."""
    if len(counts) > width:
        ends = [(at + 1) * len(counts) // width for at in range(width)]
        counts = [max(counts[begin:end]) for begin, end in zip([0, *ends], ends, strict=False)]
    most = max(counts, default=0)
    return "".join(_STEPS[_level(count, most, len(_STEPS) - 1)] for count in counts)


def _bar(count: int, most: int) -> str:
    return "█" * (_level(count, most, _BAR)) if most else ""


def _level(value: float, most: float, levels: int) -> int:
    """Return 0 for nothing, else 1 to `levels`."""
    return 0 if value <= 0 or most <= 0 else max(1, round(value / most * levels))


def _net(net: Net | None) -> str:
    return "" if net is None else f"{_signed(net.value):>4} ({_signed(net.low)} to {_signed(net.high)})"


def _signed(share: float) -> str:
    number = round(share * 100)
    return f"+{number}" if number > 0 else f"−{-number}" if number < 0 else "0"


def _percent(share: float) -> str:
    return "<1 %" if 0 < share < 0.005 else f"{share * 100:.0f} %"


def _change(change: float) -> str:
    return f"{_signed(change)} %" if abs(change) < 10 else f"×{change + 1:,.0f}"


def _time(at: datetime) -> str:
    return at.strftime("%Y-%m-%d %H:%M")
