import random
import re
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import count
from pathlib import Path

import apsw
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from hark.core.change import Item, Tagged
from hark.core.clock import to_ms
from hark.core.errors import FatalError, SettingsError, TransientError
from hark.core.mention import Enrichment, Mention
from hark.core.protocols import Store
from sinks import open_store
from sinks.embedded import EmbeddedStore
from sinks.embedded_schema import AUTHORS, QUARTER_MS, ROLLED
from sinks.groups import GROUPS
from tests.contract.store_contract import (
    EVERYTHING,
    HOUR,
    NOON,
    Reference,
    StoreContract,
    deleted,
    histories,
    ids,
    label,
    tagged,
)
from tests.support.queries import NOW, TAXONOMY, collections, parsed
from tests.support.require import REPOSITORY
from tests.support.store_writer import batch

Opened = list[tuple[Store, Path]]


@pytest.fixture
def opened() -> Iterator[Opened]:
    stores: Opened = []
    yield stores
    for store, _ in stores:
        store.close()


@pytest.fixture
def fresh(tmp_path: Path, opened: Opened) -> Callable[[], Store]:
    numbers = count()

    def open_new() -> Store:
        folder = tmp_path / str(next(numbers))
        opened.append((open_store("embedded", folder, TAXONOMY), folder))
        return opened[-1][0]

    return open_new


def file_of(store: Store, opened: Opened) -> Path:
    return next(folder for other, folder in opened if other is store) / "store.db"


def audit(file: Path) -> None:
    """Count everything anew from the rows, and let FTS5 compare its index with the documents."""
    db = apsw.Connection(str(file))
    db.execute("INSERT INTO search(search, rank) VALUES ('integrity-check', 1)")
    assert db.pragma("integrity_check") == "ok"
    cells: dict[tuple[str, str, int], list[int]] = {}
    books: Counter[str] = Counter()
    for id, created, tone, *groups in db.execute(
        f"SELECT id, created, tone, {', '.join(ROLLED)} FROM mentions"
    ):
        books[id.partition(":")[0]] += 1
        start = created // QUARTER_MS * QUARTER_MS
        values = [("", "")] + [(f, v) for f, some in zip(ROLLED, groups, strict=True) for v in some.split()]
        for field, value in values:
            cell = cells.setdefault((field, value, start), [0, 0, 0])
            cell[0] += 1
            cell[1] += tone > 0
            cell[2] += tone < 0
    assert {row[:3]: list(row[3:]) for row in db.execute("SELECT * FROM rollups")} == cells
    held = {source: indexed for source, indexed in db.execute("SELECT source, indexed FROM books") if indexed}
    assert held == dict(books)
    gone = Counter(id.partition(":")[0] for (id,) in db.execute("SELECT id FROM deleted"))
    assert {s: n for s, n in db.execute("SELECT source, deleted FROM books") if n} == dict(gone)
    ((strays,),) = db.execute(
        "SELECT count(*) FROM (SELECT n FROM mentions EXCEPT SELECT n FROM documents)"
        " UNION ALL SELECT n FROM documents EXCEPT SELECT n FROM mentions"
    ).fetchall() or [(0,)]
    assert strays == 0
    said = {
        word
        for tokens, title in db.execute("SELECT tokens, title FROM documents")
        for word in (*title.split(), *tokens.split())
        if word[0] != "="
    }
    assert {term for (term,) in db.execute("SELECT term FROM terms")} == said
    db.close()


class TestEmbeddedStore(StoreContract):
    @pytest.fixture
    def again(self, opened: Opened) -> Callable[[Store], Store]:
        def open_again(store: Store) -> Store:
            folder = file_of(store, opened).parent
            opened.append((open_store("embedded", folder, TAXONOMY), folder))
            return opened[-1][0]

        return open_again

    def test_rollups_books_and_index_equal_a_recount_after_any_writes(
        self, fresh: Callable[[], Store], opened: Opened
    ) -> None:
        def property(items: list[Item], size: int) -> None:
            store = fresh()
            for begin in range(0, len(items), size):
                store.write(items[begin : begin + size])
            audit(file_of(store, opened))
            store.close()

        self.explore(property, histories().flatmap(lambda some: st.permutations(some * 2)), st.integers(1, 9))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_writer_killed_at_any_moment_leaves_whole_batches_only(tmp_path: Path, seed: int) -> None:
    draw, size, reached = random.Random(seed), 40, -1
    for _ in range(3):
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.store_writer", str(tmp_path), str(size)],
            stdout=subprocess.PIPE,
            cwd=REPOSITORY,
            text=True,
        )
        assert process.stdout is not None
        # The batch to be killed in is drawn, and how far into it: a line of output is a commit ago.
        until = max(0, reached) + draw.randrange(2, 12)
        for line in process.stdout:
            reached = max(reached, int(line))
            if reached >= until:
                break
        threading.Event().wait(draw.random() * 0.02)
        process.kill()
        process.wait()
        reached = max([reached, *map(int, process.stdout.read().split())])
        process.stdout.close()
        audit(tmp_path / "store.db")
    store = open_store("embedded", tmp_path, {})
    found = {hit.mention.id: hit.mention.edit for hit in store.search(EVERYTHING, limit=None)}
    batches = max(int(id.removeprefix("x:").partition("-")[0]) for id in found) + 1
    assert batches >= reached + 1  # what was told to be durable is there
    reference = Reference(item for number in range(batches) for item in batch(number, size))
    assert found == {hit.mention.id: hit.mention.edit for hit in reference.hits}
    for number in range(batches):
        store.write(batch(number, size))
    assert {hit.mention.id: hit.mention.edit for hit in store.search(EVERYTHING, limit=None)} == found
    store.close()


def test_a_reader_in_another_thread_sees_whole_batches_only(
    fresh: Callable[[], Store], opened: Opened
) -> None:
    store = fresh()
    reader = open_store("embedded", file_of(store, opened).parent, TAXONOMY)
    done = threading.Event()

    def read() -> int:
        reads = 0
        while not done.is_set():
            assert reader.count(parsed("flight")) % 30 == 0
            assert sum(b.count for b in reader.histogram(EVERYTHING, HOUR, NOON, NOW, by="brand")) % 30 == 0
            assert len(list(reader.search(parsed("flight NOT bag"), limit=None))) % 30 == 0
            reads += 1
        return reads

    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(read)
        try:
            for number in range(30):
                store.write([tagged(f"x:{number}-{i}", at=NOON + timedelta(seconds=i)) for i in range(30)])
        finally:
            done.set()
        assert reading.result() > 0
    reader.close()


def test_an_iteration_sees_one_instant_while_mentions_come_and_go(fresh: Callable[[], Store]) -> None:
    store = fresh()
    store.write([tagged(f"x:{i}", at=NOON + timedelta(seconds=i)) for i in range(9)])
    hits = store.search(EVERYTHING, limit=None)
    first = next(hits)
    store.write([deleted("x:3"), tagged("x:9", at=NOON), tagged("x:2", "changed", edit=1)])
    assert ids([first, *hits]) == [f"x:{i}" for i in reversed(range(9))]
    assert store.count(parsed("flight")) == 8


def test_a_reader_that_had_enough_holds_back_no_later_one(fresh: Callable[[], Store]) -> None:
    store = fresh()
    store.write([tagged("x:1"), tagged("x:2"), deleted("x:3")])
    for number in range(4, 8):
        next(store.search(EVERYTHING, limit=None))
        next(store.search(parsed("flight OR zz"), limit=1))
        next(store.ids())
        store.get("x:1")
        store.write([tagged(f"x:{number}")])
        assert store.count(EVERYTHING) == store.count(parsed("flight")) == number - 1


def test_nothing_of_a_deleted_mention_is_left_in_the_files(
    fresh: Callable[[], Store], opened: Opened
) -> None:
    store = fresh()
    file = file_of(store, opened)
    others = [
        tagged(f"x:{i}", f"my flight {i} was wonderful", NOON + timedelta(seconds=i)) for i in range(500)
    ]
    store.write(others[:250])
    store.write(
        [
            tagged("x:secret", "Xylophone quagmire of my flight", brands=("zirconia",), title="Kumquat"),
            label("x:secret", "topic", "obsidian"),
        ]
    )
    store.write(others[250:])
    store.write([tagged("x:secret", "Wyvern quagmire of my flight", edit=1)])
    words = [b"xylophone", b"quagmire", b"zirconia", b"kumquat", b"obsidian", b"wyvern"]
    files = [file, file.with_name("store.db-wal")]
    before = b"".join(path.read_bytes() for path in files).lower()
    assert all(word in before for word in words)  # the test would see them
    store.write([deleted("x:secret")])
    after = b"".join(path.read_bytes() for path in files).lower()
    assert [word for word in words if word in after] == []
    audit(file)


@pytest.mark.parametrize("closed", [True, False])
def test_what_a_reader_kept_back_is_gone_with_the_next_write_or_when_the_store_is_closed(
    fresh: Callable[[], Store], opened: Opened, closed: bool
) -> None:
    store = fresh()
    file = file_of(store, opened)
    reader = open_store("embedded", file.parent, TAXONOMY)
    store.write([tagged("x:1", "xylophone"), tagged("x:2")])
    hits = reader.search(EVERYTHING)
    next(hits)
    store.write([deleted("x:1")])  # does not wait for the reader
    assert store.count(parsed("xylophone")) == 0
    assert b"xylophone" in b"".join(path.read_bytes() for path in file.parent.iterdir())
    del hits
    if closed:
        store.close()
    else:
        store.write([tagged("x:3")])
    left = b"".join(path.read_bytes() for path in file.parent.iterdir())
    assert b"xylophone" not in left


def test_a_full_disk_is_said_and_nothing_is_half_written(tmp_path: Path) -> None:
    store = EmbeddedStore(tmp_path / "store.db", TAXONOMY)
    store.write(batch(0, 50))
    assert store._writer is not None
    store._writer.pragma("max_page_count", store._writer.pragma("page_count") + 5)
    with pytest.raises(TransientError, match="disk is full") as caught:
        store.write(batch(1, 2000))
    assert caught.value.wait_seconds
    assert store.count(EVERYTHING) == store.count(parsed("flight")) == 50
    store._writer.pragma("max_page_count", 1_000_000)
    assert store.write(batch(1, 2000)) == []
    store.close()
    audit(tmp_path / "store.db")


def test_a_file_of_a_newer_hark_is_left_alone(tmp_path: Path) -> None:
    open_store("embedded", tmp_path, TAXONOMY).close()
    db = apsw.Connection(str(tmp_path / "store.db"))
    db.pragma("user_version", 99)
    db.close()
    with pytest.raises(SettingsError, match=r"newer Hark.*99"):
        open_store("embedded", tmp_path, TAXONOMY)


def test_a_file_of_an_older_hark_is_brought_up_to_date(tmp_path: Path) -> None:
    store = open_store("embedded", tmp_path, TAXONOMY)
    items = [
        Tagged(replace(mention, id=f"x:{number}"), tags)
        for number, (mention, tags) in enumerate(_some(collections(max_size=30)))
    ]
    store.write(items)
    asked = [parsed(""), parsed("love OR delay*"), parsed("brand:delta")]
    reference = Reference(items)
    before = [store.top(query, field, limit=100) for query in asked for field in GROUPS]
    assert before[: len(GROUPS)] == [reference.top(EVERYTHING, field) for field in GROUPS]
    store.close()
    db = apsw.Connection(str(tmp_path / "store.db"))
    for name in (*GROUPS[9:], *AUTHORS):
        db.execute(f"ALTER TABLE mentions DROP COLUMN {name}")
    db.execute("ALTER TABLE books DROP COLUMN newest")
    for n, tokens in db.execute("SELECT n, tokens FROM documents").fetchall():
        unmarked = re.sub(r" =[a-z]*~\d+(?= |$)", "", tokens)
        db.execute("UPDATE documents SET tokens = ? WHERE n = ?", (unmarked, n))
    db.execute("INSERT INTO search(search) VALUES ('rebuild')")
    db.pragma("user_version", 1)
    db.close()
    store = open_store("embedded", tmp_path, TAXONOMY)
    assert store.as_of() == max(item.mention.collected_at for item in items)
    assert ids(store.sample(EVERYTHING, limit=None)) == reference.sample(EVERYTHING)
    assert ids(store.search(parsed("followers>=2000"), limit=None)) == ids(
        reference.search(parsed("followers>=2000"))
    )
    assert [store.top(query, field, limit=100) for query in asked for field in GROUPS] == before
    assert store.write([tagged("x:new")]) == []
    assert store.top(EVERYTHING, "kind")[0][1] > 0
    store.close()
    audit(tmp_path / "store.db")


def _some(strategy: st.SearchStrategy[list[tuple[Mention, Enrichment]]]) -> list[tuple[Mention, Enrichment]]:
    """Return what some examples hold together."""
    found: list[tuple[Mention, Enrichment]] = []

    @settings(max_examples=40, deadline=None, database=None, derandomize=True)
    @given(strategy)
    def gather(some: list[tuple[Mention, Enrichment]]) -> None:
        found.extend(some)

    gather()
    return found


def test_a_file_that_is_no_store_is_named(tmp_path: Path) -> None:
    (tmp_path / "store.db").write_bytes(b"notes of mine\n" * 500)
    with pytest.raises(SettingsError, match=r"store\.db: not a store"):
        open_store("embedded", tmp_path, TAXONOMY)


def test_a_data_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match="file"):
        open_store("embedded", tmp_path / "file" / "data", TAXONOMY)


def test_a_damaged_file_stops_the_process_with_its_name(tmp_path: Path) -> None:
    store = open_store("embedded", tmp_path, TAXONOMY)
    store.write([tagged(f"x:{i}", f"word{i} " * 50) for i in range(200)])
    store.close()
    file = tmp_path / "store.db"
    size = file.stat().st_size
    with file.open("r+b") as stream:
        stream.seek(4096 * 3)
        stream.write(b"\xff" * (size - 4096 * 3))
    damaged = open_store("embedded", tmp_path, TAXONOMY)
    with pytest.raises(FatalError, match=r"store\.db"):
        list(damaged.search(parsed("word7"), limit=None))
    damaged.close()


def test_a_second_writer_waits_its_turn(fresh: Callable[[], Store], opened: Opened) -> None:
    store = fresh()
    other = open_store("embedded", file_of(store, opened).parent, TAXONOMY)

    def write(to: Store, name: str) -> None:
        for number in range(20):
            to.write([tagged(f"{name}:{number}"), tagged("x:both", f"edit {number}", edit=number)])

    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(write, store, "x"), pool.submit(write, other, "reddit")]:
            done.result()
    assert store.count(EVERYTHING) == 41
    audit(file_of(store, opened))
    other.close()


def test_many_processes_may_open_a_store_that_is_not_there_yet(tmp_path: Path) -> None:
    program = (
        "import sys, pathlib, sinks; sys.stdin.readline();"
        "sinks.open_store('embedded', pathlib.Path(sys.argv[1]), {}).close()"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(tmp_path)], stdin=subprocess.PIPE, cwd=REPOSITORY
        )
        for _ in range(5)
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write(b"go\n")
        process.stdin.close()
    assert [process.wait() for process in processes] == [0] * 5


def test_a_closed_store_says_so(fresh: Callable[[], Store]) -> None:
    store = fresh()
    store.close()
    with pytest.raises(ValueError, match="closed"):
        store.write([tagged()])
    with pytest.raises(ValueError, match="closed"):
        store.count(EVERYTHING)


@pytest.mark.parametrize("address", ["embedded://x", "sqlite", "elastic://host", ""])
def test_an_unknown_address_is_answered_with_what_is_expected(address: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="expected"):
        open_store(address, tmp_path, TAXONOMY)


def test_an_account_of_a_hundred_thousand_ids_is_exact(fresh: Callable[[], Store]) -> None:
    store = fresh()
    store.write([tagged("x:7"), deleted("x:99999"), tagged("reddit:1")])
    books, known = store.account(f"x:{i}" for i in range(100_000))
    assert (books["x"].indexed, books["x"].deleted, books["reddit"].indexed) == (1, 1, 1)
    assert known == {"x:7": "indexed", "x:99999": "deleted"}


def test_times_are_kept_to_the_millisecond_that_the_cursor_names(fresh: Callable[[], Store]) -> None:
    store = fresh()
    at = NOON + timedelta(microseconds=1_999)
    store.write([tagged(at=at)])
    (hit,) = store.search(EVERYTHING, since=NOON + timedelta(milliseconds=1))
    assert to_ms(hit.mention.created_at) == to_ms(NOON) + 1
