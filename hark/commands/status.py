"""`hark status`: the books."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import click
import msgspec
from rich.console import Console
from rich.table import Table

from hark import settings as settings_module
from hark.commands.options import common
from hark.commands.reprocess import lines
from hark.commands.show import harmless, local
from hark.core.clock import from_ms
from hark.drift import drift
from hark.generations import Progress
from hark.ledger import SourceBooks, Verification
from hark.settings import Settings
from hark.state import NoticedLoss, SourceState, State
from hark.state.drift import TagCounts


@click.command()
@common
@click.option("--verify", is_flag=True, help="Compare the ids themselves, one by one, not the counts alone.")
@click.option(
    "--write-off", is_flag=True, help="Take note of what the log lost so far: books balance without it."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(config: Path | None, data: Path | None, verify: bool, write_off: bool, as_json: bool) -> None:
    """Show where each collected mention is: collected = indexed + rejected + deleted + pending.

    Ends with 1 when the books do not balance, or when the log lost something before it was read.
    """
    from hark.wiring import ledger_of, state_of

    settings = settings_module.load(config, data)
    if write_off:
        with state_of(settings) as state:
            state.write_off()
    verification = None
    with ledger_of(settings) as (ledger, state):
        if verify:
            books, verification = ledger.verify()
        else:
            books = ledger.books()
        losses = ledger.losses()
        sources = _rows(books, state)
        moved = _moved(state)
    generations = _generations(settings)
    balanced = not losses and all(source.balanced for source in books)
    if verification is not None:
        balanced = balanced and not verification.missing and not verification.unknown
    if as_json:
        body: dict[str, object] = {"sources": sources, "balanced": balanced}
        if verification is not None:
            body["verification"] = verification
        if losses:
            body["lost"] = losses
        if generations:
            body["generations"] = generations
        if moved:
            body["drift"] = moved
        click.echo(msgspec.json.encode(body).decode())
    else:
        _print(sources, balanced, verification, losses)
        for line in lines(generations):
            click.echo(line)
        if moved:
            told = ", ".join(f"{tag} {index:.2f}" for tag, index in moved.items())
            click.echo(f"The tags drift: {told} (0.10: watch, 0.25: look; see Taxonomy and quality)")
    if not balanced:
        raise SystemExit(1)


def _generations(settings: Settings) -> list[Progress]:
    """Return the generations of the index, where there is more than the first."""
    from hark.wiring import reprocessing_of

    with reprocessing_of(settings) as center:
        found = center.overview()
    return found if len(found) > 1 or any(each.number for each in found) else []


def _moved(state: State) -> dict[str, float]:
    """Return the index of each tag that has moved beyond chance."""
    found = drift(TagCounts(state))
    tags = found.tags if found is not None else ()
    return {
        one.tag: round(one.index, 3)
        for one in tags
        if one.index is not None and one.verdict in ("watch", "look")
    }


def _rows(books: list[SourceBooks], state: State) -> list[dict[str, object]]:
    states = {source.name: source for source in state.source_states()}
    by_name = {source.name: source for source in books}
    gaps: dict[str, list[dict[str, object]]] = {}
    for name, gap in state.gaps():
        gaps.setdefault(name, []).append(msgspec.to_builtins(gap))
    return [
        _row(
            by_name.get(name) or SourceBooks(name),
            states.get(name) or SourceState(name, None, None, None, 0, 0, "", 0, "", ""),
            gaps.get(name, []),
        )
        for name in sorted(by_name.keys() | states.keys())
    ]


def _row(books: SourceBooks, state: SourceState, gaps: list[dict[str, object]]) -> dict[str, object]:
    return {
        **msgspec.to_builtins(books),
        "unmatched": state.unmatched,
        "reads_this_month": state.reads,
        "last_answer": from_ms(state.alive_ms).isoformat() if state.alive_ms else None,
        "newest_mention": from_ms(state.newest_ms).isoformat() if state.newest_ms else None,
        "note": state.note,
        "error": state.error,
        "gaps": gaps,
    }


def _print(
    sources: list[dict[str, object]],
    balanced: bool,
    verification: Verification | None,
    losses: list[NoticedLoss],
) -> None:
    console = Console(highlight=False)
    if not sources and not losses:
        console.print("Nothing has been collected yet. `hark import FILE` or `hark up` begins.")
        return
    table = Table(box=None, header_style="bold")
    numbers = ("collected", "indexed", "rejected", "deleted", "pending", "unmatched")
    table.add_column("source")
    for name in numbers:
        table.add_column(name, justify="right", min_width=len(name))
    table.add_column("newest", min_width=14)
    conditions: list[str] = []
    for row in sources:
        newest = row["newest_mention"]
        table.add_row(
            str(row["name"]),
            *(f"{row[name]:,}" for name in numbers),
            local(_instant(newest)) if newest else "",
        )
        conditions += [f"{row['name']}: {text}" for text in (row["error"], row["note"]) if text]
        gaps = row["gaps"]
        if isinstance(gaps, list) and (still_open := [gap for gap in gaps if not gap.get("closed")]):
            conditions.append(f"{row['name']}: {len(still_open)} gaps; --json lists them")
    console.print(table)
    for condition in conditions:
        console.print(harmless(condition, 300))
    if verification is not None:
        console.print(
            f"compared {verification.compared:,} ids: {verification.missing:,} missing, "
            f"{verification.unknown:,} never collected"
        )
        for id in verification.examples:
            console.print(f"  {harmless(id)}")
    for line in _told(losses):
        console.print(line)
    console.print("The books balance." if balanced else "The books do NOT balance.")


def _told(losses: list[NoticedLoss]) -> Iterator[str]:
    by_reader: dict[tuple[str, str], list[NoticedLoss]] = {}
    for loss in losses:
        by_reader.setdefault((loss.topic, loss.reader), []).append(loss)
    for (topic, reader), some in by_reader.items():
        number, first = sum(loss.records for loss in some), min(loss.noticed for loss in some)
        yield f"The log removed {number:,} records of {topic} before {reader} had read them; noticed {local(first)}."
    if losses:
        yield "Bring them in again where you can; `hark status --write-off` takes note of what is lost."


def _instant(text: object) -> datetime:
    return datetime.fromisoformat(str(text))
