"""`hark label`: what persons say about tags."""

import csv
import gzip
import sys
import threading
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import click
import msgspec
from rich.console import Console
from rich.table import Table

from hark import settings as settings_module
from hark.commands.options import common, json_option
from hark.commands.show import harmless
from hark.commands.times import point
from hark.core.change import Labelled
from hark.core.clock import now
from hark.core.errors import SettingsError
from hark.core.protocols import Hit

_COLUMNS = ("id", "tag", "label", "by", "at", "text", "brand", "author", "source")
_NEEDED = ("id", "tag", "label")
_MOST_TOLD = 20
_PAGE = 500
tag_option = click.option(
    "--tag", type=click.Choice(["sentiment", "topic"]), default="sentiment", show_default=True
)


@click.group()
def command() -> None:
    """See which mentions to label next, take labels in and out, and measure how far people agree.

    \b
    hark label queue 'brand:southwest' --since 7d       the disputed first, then the least sure
    hark label import labels.csv --by ann               columns id, tag, label
    hark label export --tag sentiment > labels.csv      then: hark train labels.csv --task sentiment
                                                              --text text --label label --group author
    hark label agreement
    """


@command.command("queue")
@common
@click.argument("query", default="")
@click.option("--since", default="7d", show_default=True, help="From this time on.")
@tag_option
@click.option("--limit", type=click.IntRange(1, 1_000), default=20, show_default=True)
@json_option
def show_queue(
    config: Path | None, data: Path | None, query: str, since: str, tag: str, limit: int, as_json: bool
) -> None:
    """List the mentions whose label would teach most: the disputed first, then the least sure."""
    from hark.export import mask
    from hark.labelling import queue
    from hark.query import parse
    from hark.state.labels import Labels
    from hark.wiring import state_of, store_of

    settings = settings_module.load(config, data)
    tree, begin = parse(query), point(since, "--since")
    with store_of(settings) as store, state_of(settings) as state:
        found = queue(store, Labels(state), tree, begin, None, tag, limit)
    for one in found:
        hit = mask(one.hit)
        said = _value(hit, tag)
        if as_json:
            row = {"id": hit.mention.id, "tag": tag, "said": said, "confidence": one.confidence}
            click.echo(
                msgspec.json.encode(row | {"disputed": one.disputed, "text": hit.mention.text}).decode()
            )
        else:
            mark = "disputed" if one.disputed else f"{one.confidence:.2f}"
            click.echo(
                f"{mark:8}  {said:20}  {harmless(hit.mention.id, 60)}  {harmless(hit.mention.text, 200)}"
            )
    if not found:
        click.echo("Nothing to label: no mention matches, or all are labelled and agreed.", err=True)


@command.command("import")
@common
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@click.option("--by", default="", help="Who labelled, for rows without a column `by`.")
def import_labels(config: Path | None, data: Path | None, file: Path, by: str) -> None:
    """Take in labels from a CSV file with the columns id, tag, label, and if you like by and at.

    Several topics or brands of one mention stand in one cell with commas. A label of a mention that was never
    collected is refused: import the mention first. The same file may be imported again. Exit 1: some rows were
    refused; the others are in.
    """
    from hark.labelling import give
    from hark.ledger import advance
    from hark.roles import wait_out
    from hark.state.labels import Labels
    from hark.wiring import bus_of, state_of

    settings = settings_module.load(config, data)
    taken = refused = again = 0
    with bus_of(settings) as bus, state_of(settings) as state:
        register, never = Labels(state), threading.Event()
        # The ledger's register of what was collected may lie some seconds behind the log.
        wait_out(lambda: advance(bus, state), never, "log")
        batch: list[tuple[int, Labelled]] = []

        def refuse(number: int, why: str) -> None:
            nonlocal refused
            refused += 1
            if refused <= _MOST_TOLD:
                click.echo(f"{file} line {number}: {why}", err=True)

        def flush() -> None:
            nonlocal again, taken
            collected = state.known([label.id for _, label in batch])
            kept = [label for _, label in batch if label.id in collected]
            for number, label in batch:
                if label.id not in collected:
                    refuse(number, f"no mention {label.id[:60]!r} was ever collected")
            again += wait_out(lambda: give(kept, register, bus), never, "log") or 0
            taken += len(kept)
            batch.clear()

        for number, outcome in _rows(file, by):
            if isinstance(outcome, str):
                refuse(number, outcome)
                continue
            batch.append((number, outcome))
            if len(batch) == _PAGE:
                flush()
        flush()
    click.echo(f"{taken:,} labels are in the log" + (f", {again:,} sent again" if again else ""), err=True)
    if refused:
        click.echo(f"{refused:,} rows were refused", err=True)
        raise SystemExit(1)


@command.command("export")
@common
@click.option("--tag", type=click.Choice(["sentiment", "topic", "intent", "urgency", "brand"]))
def export_labels(config: Path | None, data: Path | None, tag: str | None) -> None:
    """Write all labels as CSV, each person's last word, with the text (personal data masked) of what is still here.

    Labels of mentions that were deleted, or never came, are left out.
    """
    from hark.export import mask
    from hark.labelling import newest
    from hark.state.labels import Labels
    from hark.tables import CsvFile
    from hark.wiring import state_of, store_of

    settings = settings_module.load(config, data)
    gone = wrote = 0
    with store_of(settings) as store, state_of(settings) as state:
        said = newest(Labels(state).all(tag))
        table = CsvFile(sys.stdout, dict.fromkeys(_COLUMNS, "text"))
        for start in range(0, len(said), _PAGE):
            page = said[start : start + _PAGE]
            hits = store.many([label.id for label in page])
            gone += sum(label.id not in hits for label in page)
            here = [(label, mask(hits[label.id])) for label in page if label.id in hits]
            table.write(_row(label, hit) for label, hit in here)
            wrote += len(here)
    told = f"{wrote:,} labels" + (f"; {gone:,} are of mentions that are not here" if gone else "")
    click.echo(told, err=True)


@command.command("agreement")
@common
@json_option
def show_agreement(config: Path | None, data: Path | None, as_json: bool) -> None:
    """Measure how far people agree where two of them labelled the same mention: Cohen's kappa, with its interval."""
    from hark.labelling import agreements
    from hark.state.labels import Labels
    from hark.wiring import state_of

    with state_of(settings_module.load(config, data)) as state:
        found = agreements(Labels(state).all())
    if as_json:
        for one in found:
            click.echo(msgspec.json.encode(one).decode())
        return
    if not found:
        click.echo("No two persons have labelled the same mention yet.", err=True)
        return
    table = Table(box=None, header_style="bold")
    for title in ("tag", "between", "mentions", "agreed", "kappa", "95 %"):
        table.add_column(title)
    for one in found:
        kappa = "–" if one.kappa is None else f"{one.kappa:.2f}"
        interval = "–" if one.low is None or one.high is None else f"{one.low:.2f} to {one.high:.2f}"
        table.add_row(
            one.tag, f"{one.first}, {one.second}", str(one.mentions), f"{one.agreed:.0%}", kappa, interval
        )
    Console(highlight=False).print(table)


def _rows(file: Path, by: str) -> Iterator[tuple[int, Labelled | str]]:
    """Yield (line, label, or what is wrong with it) of a CSV file; raises SettingsError for the file itself."""
    opened = gzip.open if file.suffix == ".gz" else open
    with opened(file, "rt", encoding="utf-8", errors="replace", newline="") as lines:
        table = csv.DictReader(lines)
        missing = [name for name in _NEEDED if name not in (table.fieldnames or ())]
        if missing:
            raise SettingsError(f"{file}: no column {missing[0]!r}; expected {', '.join(_NEEDED)}")
        if not by and "by" not in (table.fieldnames or ()):
            raise SettingsError(f"{file}: no column 'by': say with --by who labelled")
        moment = now()
        try:
            for row in table:
                yield table.line_num, _label(row, by, moment)
        except csv.Error as error:
            raise SettingsError(f"{file} line {table.line_num}: {error}") from error


def _label(row: dict[str, str | None], by: str, moment: datetime) -> Labelled | str:
    from sinks.labels import refusal

    id, tag, value = ((row.get(name) or "").strip() for name in _NEEDED)
    if ":" not in id:
        return f"id: expected source:id, found {id[:60]!r}"
    at = moment
    if text := (row.get("at") or "").strip():
        try:
            at = datetime.fromisoformat(text)
        except ValueError:
            return f"at: expected a time like 2026-11-01T12:00:00Z, found {text[:60]!r}"
        at = at if at.tzinfo else at.replace(tzinfo=UTC)
    label = Labelled(id, tag, value, (row.get("by") or "").strip() or by, at)
    if not label.by:
        return "by: nobody named, and no --by"
    return refusal(label) or label


def _value(hit: Hit, tag: str) -> str:
    if tag == "topic":
        return ",".join(topic.id for topic in hit.enrichment.topics) or "none"
    return hit.enrichment.sentiment.label


def _row(label: Labelled, hit: Hit) -> Sequence[object]:
    mention = hit.mention
    author = (mention.author.handle or mention.author.id or "") if mention.author else ""
    brands = ",".join(hit.enrichment.brands)
    return (
        label.id,
        label.tag,
        label.value,
        label.by,
        label.at.isoformat(),
        mention.text,
        brands,
        author,
        mention.source,
    )
