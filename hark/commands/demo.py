"""`hark demo`: the whole center on simulated mentions, with a view on the terminal."""

import collections
import os
import secrets
import shutil
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path

import click
from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from hark import settings as settings_module
from hark.alerts import desk
from hark.commands import options
from hark.commands.console import PORT, listen
from hark.commands.show import harmless, local, mention_line
from hark.commands.up import lock_folder
from hark.core.change import ENRICHED, MENTIONS, Tagged, decode_item
from hark.core.clock import from_ms, monotonic, now, to_ms
from hark.core.errors import FatalError, SettingsError, TransientError
from hark.core.protocols import Bus, Store, Subscription
from hark.ledger import ENRICH_GROUP, INDEX_GROUP, Ledger, SourceBooks
from hark.query import parse
from hark.settings import SHIPPED, Settings
from hark.state import SourceState, State
from hark.state.people import ROLES, People
from hark.supervisor import LIFELINE, hark, stop_on_signals

SEED = 7
NEWEST = 100
"""Mentions that are kept for the view, which shows as many as the terminal has lines for."""
_PARTS = ("HARK_BUS", "HARK_STORE", "HARK_STATE")
_REFRESH_SECONDS = 0.25
_BOOKS_SECONDS = 2.0


@click.command()
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("hark-demo"),
    show_default=True,
    help="Folder of the demo; delete it to begin again.",
)
@click.option(
    "--seed",
    type=int,
    help=f"The same seed, begun at the same moment, tells the same story.  [default: {SEED}]",
)
@click.option("--port", type=options.PORT, default=PORT, show_default=True, help="Where the console listens.")
def command(data: Path, seed: int | None, port: int) -> None:
    """See Hark work: two weeks of simulated mentions of three airlines, then live.

    Three platforms are simulated, with the rhythm of day and week, conversations, several languages, and
    incidents whose complaints swell and fade: one is over or nearly so when you start, one begins two minutes later,
    is found and told of after about ten (hark-demo/alerts.jsonl), and is over within four hours.
    Everything else is real: the log, the enrichment, the store. All is kept in the demo's own folder, whatever HARK_BUS,
    HARK_STORE and HARK_STATE name. Meanwhile, in another terminal:

    \b
    hark search 'brand:southwest topic:cancelled-flight' --since 1h --data hark-demo
    hark incidents --data hark-demo
    hark tail 'sentiment:negative' --data hark-demo
    hark status --data hark-demo
    """
    for part in _PARTS:
        os.environ.pop(part, None)  # simulated mentions have no business in a center that is real
    lock_folder(data).close()
    listen("127.0.0.1", port).close()
    settings = settings_module.load(_configuration(data, seed), data)
    stop = stop_on_signals()
    console = Console(highlight=False)
    begun = (
        f"Hark demo: data in {data}, log of the roles in {data / 'demo.log'}",
        f"Console: http://127.0.0.1:{port}/ · sign in as {', '.join(ROLES)}",
        f"         with the password {_logins(settings)}",
        "Ctrl-C ends it, and `hark demo` goes on later",
    )
    with _center(settings, port, stop):
        from hark.wiring import bus_of, state_of, store_of

        with bus_of(settings) as bus, state_of(settings) as state, store_of(settings) as store:
            for line in begun:
                console.print(line)
            begin = monotonic()
            _history(state, bus, console, stop)
            if not stop.is_set():
                console.print(f"History is in the index after {monotonic() - begin:.0f} s. Now live.")
                _live(bus, state, store, console, stop, begun[1:])


def _configuration(data: Path, seed: int | None) -> Path:
    """Write the shipped settings with simulated sources into the demo's folder, unless they are there."""
    folder = data / "config"
    start = folder / "sources.toml"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for shipped in SHIPPED.glob("*.toml"):
            if not (folder / shipped.name).exists():
                shutil.copyfile(shipped, folder / shipped.name)
        if "simulator" not in start.read_text():
            moment = now().isoformat(timespec="seconds")
            start.write_text(
                "".join(
                    f'[sources.{name}]\ntype = "simulator"\nplatform = "{name}"\n'
                    f"seed = {SEED if seed is None else seed}\nstart = {moment}\n\n"
                    for name in ("x", "reddit", "bluesky")
                )
            )
        elif seed is not None and f"seed = {seed}\n" not in start.read_text():
            raise SettingsError(
                f"--seed {seed}: the story in {data} has begun with another; name another folder with --data, "
                "or delete this one"
            )
    except OSError as error:
        raise SettingsError(f"data folder {data}: {error.strerror}") from error
    return folder


def _logins(settings: Settings) -> str:
    """Let one person a role sign in, named as the role; return their password, kept beside the demo's data."""
    from hark.wiring import state_of

    kept = settings.data / "demo-password"
    if not kept.exists():
        kept.touch(mode=0o600)
        kept.write_text("-".join(secrets.token_hex(2) for _ in range(4)))
    password = kept.read_text()
    with state_of(settings) as state:
        people = People(state)
        for role in ROLES:
            if people.find(role) is None:
                brands = [settings.brands[-1].name] if role == "partner" else []
                people.add(role, role, password, brands, by="hark demo")
    return password


@contextmanager
def _center(settings: Settings, port: int, stop: threading.Event) -> Iterator[None]:
    """Run `hark up` for the demo; it ends with this process, however that ends."""
    read_end, write_end = os.pipe()
    places = ["--config", str(settings.config), "--data", str(settings.data), "--port", str(port)]
    with (settings.data / "demo.log").open("ab") as log:
        process = subprocess.Popen(
            hark("up", *places),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.PIPE,
            pass_fds=(read_end,),
            env={**os.environ, LIFELINE: str(read_end)},
            start_new_session=True,
        )
        said: collections.deque[bytes] = collections.deque(maxlen=20)

        def copy() -> None:
            for line in process.stderr or ():
                said.append(line)
                log.write(line)
                log.flush()

        copier = threading.Thread(target=copy)
        copier.start()

        def end() -> None:
            process.wait()
            stop.set()

        threading.Thread(target=end, daemon=True).start()
        try:
            yield
        finally:
            process.terminate()
            code = process.wait()
            copier.join()
            os.close(write_end)
            os.close(read_end)
    if code:
        last = b"".join(said).decode(errors="replace").strip().removeprefix("hark: ")
        raise FatalError(f"the center ended: {last}")


def _history(state: State, bus: Bus, console: Console, stop: threading.Event) -> None:
    """Show progress until the history of every source is in the index."""
    from ingest.simulator import HISTORY_DAYS, behind_seconds

    length = HISTORY_DAYS * 86_400
    columns = TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %")
    with Progress(
        *columns, TimeElapsedColumn(), console=console, transient=True, disable=not console.is_terminal
    ) as progress:
        reading = progress.add_task("two weeks of mentions: collected", total=1.0)
        tagging = progress.add_task("two weeks of mentions: tagged and indexed", total=1.0)
        while not stop.is_set():
            states = [source for source in state.source_states() if source.cursor]
            behind = [behind_seconds(source.cursor or "", now()) for source in states]
            read = 1 - max(0.0, *behind) / length if len(states) == 3 else 0.0
            waiting = _lag(bus, MENTIONS, ENRICH_GROUP) + _lag(bus, ENRICHED, INDEX_GROUP)
            collected = sum(source.published for source in states) or 1
            indexed = max(0.0, 1 - waiting / collected) * max(read, 0.0)
            progress.update(reading, completed=max(read, 0.0))
            progress.update(tagging, completed=indexed)
            if len(states) == 3 and max(behind) <= 0 and not waiting:
                return
            stop.wait(_REFRESH_SECONDS)


def _live(
    bus: Bus, state: State, store: Store, console: Console, stop: threading.Event, head: Sequence[str]
) -> None:
    """Show what happens until `stop`: as a view on a terminal, else line by line."""
    ledger, latest = Ledger(bus, store, state), store.search(parse(""), limit=NEWEST)
    newest = collections.deque(
        [mention_line(hit.mention, hit.enrichment) for hit in latest][::-1], maxlen=NEWEST
    )
    arrivals: collections.deque[tuple[float, str]] = collections.deque()
    subscription = bus.subscribe(ENRICHED, None)
    books, said, incidents, due = list[SourceBooks](), "", Text(), 0.0
    # On a screen of its own: a terminal that is made narrower would else keep pieces of what was there.
    live = Live(console=console, auto_refresh=False, screen=True)
    with live if console.is_terminal else nullcontext():
        while not stop.is_set():
            for item in _poll(subscription):
                newest.append(mention_line(item.mention, item.enrichment))
                arrivals.append((monotonic(), item.mention.source))
                if not console.is_terminal:
                    console.print(newest[-1], soft_wrap=True)
            while arrivals and arrivals[0][0] < monotonic() - 60:
                arrivals.popleft()
            if monotonic() >= due:
                due = monotonic() + _BOOKS_SECONDS
                books, said = _books(ledger, books)
                before, incidents = incidents, _incidents(state)
                if not console.is_terminal and incidents != before:
                    console.print(incidents, soft_wrap=True)
            if console.is_terminal:
                top = _top(head, _table(books, state.source_states(), arrivals), said, incidents)
                room = console.height - len(console.render_lines(top))
                live.update(Group(top, *list(newest)[-room:] if room > 0 else ()), refresh=True)
        subscription.close()
    if console.is_terminal:
        console.print(said)


def _poll(subscription: Subscription) -> list[Tagged]:
    try:
        items = [decode_item(record.value) for record in subscription.poll(500, _REFRESH_SECONDS)]
    except TransientError:
        return []  # the roles are waiting too; the view shows it by its numbers
    return [item for item in items if isinstance(item, Tagged)]


def _top(head: Sequence[str], table: Table, said: str, incidents: Text) -> Group:
    """Return what stands above the newest mentions."""
    return Group(
        *(Text(line, style="dim") for line in head), table, Text(said, style="dim"), incidents, Text()
    )


def _table(
    books: Sequence[SourceBooks],
    states: Sequence[SourceState],
    arrivals: "collections.deque[tuple[float, str]]",
) -> Table:
    """Return each source's count (as the books have it), rate, newest mention, and how long ago it answered."""
    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("source", no_wrap=True)
    for name in ("collected", "last minute", "newest", "behind"):
        table.add_column(name, justify="right", no_wrap=True)
    collected = {row.name: row.collected for row in books}
    rates = collections.Counter(source for _, source in arrivals)
    for source in states:
        alive = (to_ms(now()) - (source.alive_ms or 0)) / 1000
        table.add_row(
            source.name,
            f"{collected.get(source.name, 0):,}",
            f"{rates[source.name]:,}",
            local(from_ms(source.newest_ms)) if source.newest_ms else "",
            f"{alive:.1f} s",
        )
    return table


def _incidents(state: State) -> Text:
    """Return what is happening, the severest first, in a line."""
    try:
        found = desk.list_incidents(state, ["open", "acknowledged"])
    except TransientError as error:
        return Text(str(error))
    if not found:
        return Text("no incident is open (hark incidents list --all shows those that were)", style="dim")
    worst = max(found, key=lambda shown: shown.severity)
    more = f" · {len(found) - 1} more" if len(found) > 1 else ""
    return Text(f"! {worst.severity}/10  {harmless(worst.headline)}{more}", style="bold red")


def _books(ledger: Ledger, before: list[SourceBooks]) -> tuple[list[SourceBooks], str]:
    """Return the books and what they say; while they cannot be read those of before, and why."""
    try:
        books = ledger.books()
    except TransientError as error:
        return before, str(error)
    sums = {name: sum(getattr(row, name) for row in books) for name in ("collected", "indexed", "deleted")}
    pending = sum(row.pending for row in books)
    balanced = "balance" if all(row.balanced for row in books) else "do NOT balance"
    return books, (
        f"the books {balanced}: {sums['collected']:,} collected = {sums['indexed']:,} indexed + "
        f"{sum(row.rejected for row in books):,} rejected + {sums['deleted']:,} deleted + {pending:,} pending"
    )


def _lag(bus: Bus, topic: str, group: str) -> int:
    return sum(bus.ends(topic).values()) - sum(bus.committed(topic, group).values())
