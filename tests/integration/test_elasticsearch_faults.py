"""What the Elasticsearch store does when the server, the network or its own process fails in the midst."""

import json
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace

from hark.bus import open_bus
from hark.core.change import ENRICHED, MENTIONS, Item, Seen, encode
from hark.core.errors import SettingsError, TransientError
from hark.core.protocols import Books
from hark.ledger import ENRICH_GROUP, INDEX_GROUP, Ledger
from hark.state import open_state
from sinks.elasticsearch import ElasticsearchStore, open_store
from sinks.elasticsearch_client import parse_address
from tests.contract.bus_contract import take
from tests.contract.store_contract import EVERYTHING, NOON, Reference, deleted, held, ids, label, tagged
from tests.support.elasticsearch import Stores, request, stores_on
from tests.support.proxy import CUT, Answer, Fault, Forward, Proxy, Request, proxy_to
from tests.support.queries import TAXONOMY, parsed
from tests.support.require import missing
from tests.support.servers import ElasticsearchServer, free_ports

DECEMBER = NOON + timedelta(days=35)


@pytest.fixture
def stores(elasticsearch: str) -> Iterator[Stores]:
    with stores_on(elasticsearch) as stores:
        yield stores


@pytest.fixture
def proxy(elasticsearch: str) -> Iterator[Proxy]:
    with proxy_to(elasticsearch) as proxy:
        yield proxy


@pytest.fixture
def pauses() -> list[float]:
    return []


@pytest.fixture
def store(stores: Stores, proxy: Proxy, pauses: list[float]) -> Iterator[ElasticsearchStore]:
    """A store behind the proxy, that notes its pauses and does not wait."""
    address = parse_address(f"elasticsearch+{proxy.url}/{stores.name()}")
    with_pauses = ElasticsearchStore(address, TAXONOMY, pauses.append)
    proxy.seen.clear()
    yield with_pauses
    with_pauses.close()


def partly(request: Request, forward: Forward, wanted: Callable[[int, bytes], bool], other: object) -> Answer:
    """Let the server do those operations of a bulk request that are `wanted`; the outcome of the rest is `other`."""
    lines = request.body.splitlines(keepends=True)
    chosen = [wanted(i // 2, lines[i] + lines[i + 1]) for i in range(0, len(lines), 2)]
    kept = b"".join(line for i, line in enumerate(lines) if chosen[i // 2])
    answer = Answer(
        200, b'{"items": []}', {"Content-Type": "application/json", "X-Elastic-Product": "Elasticsearch"}
    )
    if kept:
        answer = forward(Request(request.method, request.path, request.headers, kept))
    taken = iter(json.loads(answer.body)["items"])
    items = [next(taken) if ok else {"index": other} for ok in chosen]
    return Answer(200, json.dumps({"items": items}).encode(), answer.headers)


def seen_ids(request: Request) -> list[str]:
    """Return the ids that a bulk request is about."""
    actions = [json.loads(line) for line in request.body.splitlines()[::2]]
    return [next(iter(action.values()))["_id"] for action in actions]


def bulk_requests(proxy: Proxy, index: bytes) -> list[Request]:
    return [seen for seen in proxy.seen if seen.path.startswith("/_bulk") and index in seen.body]


def same(store: ElasticsearchStore, items: Sequence[Item]) -> None:
    """Compare what is held with what must be after `items`: rows, counts, books, tombstones; nothing twice."""
    reference = Reference(items)
    assert list(store.search(EVERYTHING, limit=None)) == reference.hits
    assert store.count(EVERYTHING) == len(reference.hits)
    states = {id: "indexed" for id in ids(reference.hits)} | dict.fromkeys(reference.gone, "deleted")
    books, known = store.account(states)
    assert held(books) == reference.books()
    assert known == states
    assert sorted(store.ids()) == sorted((id, state == "deleted") for id, state in states.items())


def test_items_that_got_429_are_sent_again_and_only_those(
    store: ElasticsearchStore, proxy: Proxy, pauses: list[float]
) -> None:
    busy = {"status": 429, "error": {"type": "es_rejected_execution_exception", "reason": "full"}}

    def every_second(request: Request, forward: Forward) -> Answer:
        if not request.path.startswith("/_bulk") or b"-mentions-" not in request.body:
            return forward(request)
        proxy.fault = None
        return partly(request, forward, lambda place, lines: place % 2 == 0, busy)

    proxy.fault = every_second
    items = [tagged(f"x:{i}") for i in range(6)]
    assert store.write(items) == []
    assert [seen_ids(r) for r in bulk_requests(proxy, b"-mentions-")] == [
        [f"x:{i}" for i in range(6)],
        ["x:1", "x:3", "x:5"],
    ]
    assert len(pauses) == 1
    same(store, items)


@pytest.mark.parametrize("index", [b"-heads", b"-mentions-"])
def test_a_request_that_got_503_is_sent_again_after_growing_pauses(
    store: ElasticsearchStore, proxy: Proxy, pauses: list[float], index: bytes
) -> None:
    left = [3]

    def unavailable(request: Request, forward: Forward) -> Answer:
        if request.path.startswith("/_bulk") and index in request.body and left[0]:
            left[0] -= 1
            return Answer(503, b"upstream is away", {"Content-Type": "text/plain"})
        return forward(request)

    proxy.fault = unavailable
    items: list[Item] = [tagged("x:1"), tagged("x:2"), deleted("x:2")]
    assert store.write(items) == []
    assert pauses == sorted(set(pauses))
    assert len(pauses) == 3
    same(store, items)


def test_a_server_that_stays_busy_is_for_the_caller_to_wait_out(
    store: ElasticsearchStore, proxy: Proxy, pauses: list[float]
) -> None:
    proxy.fault = lambda request, forward: Answer(
        429, b'{"error": "x"}', {"Content-Type": "application/json"}
    )
    with pytest.raises(TransientError, match="too busy"):
        store.write([tagged()])
    assert 3 < sum(pauses) < 30


MOST_REQUESTS = 20


def before(n: int) -> list[Item]:
    """Return what stands when the write that fails begins; `n` keeps the ids of several rounds apart."""
    return [
        tagged(f"x:standing-{n}", label="positive"),
        tagged(f"x:gone-{n}"),
        tagged(f"x:moved-{n}", at=NOON),
        tagged(f"x:back-{n}", at=NOON),
        tagged(f"x:back-{n}", at=DECEMBER, edit=1),
        tagged(f"x:away-{n}", at=NOON),
        tagged(f"x:away-{n}", at=DECEMBER, edit=1),
    ]


def history(n: int) -> list[Item]:
    """Return the items of the write that fails: all that may happen to a mention."""
    return [
        tagged(f"x:new-{n}"),
        tagged(f"x:edited-{n}", "old"),
        tagged(f"x:edited-{n}", "new", edit=1),
        tagged(f"x:labelled-{n}", label="positive"),
        label(f"x:labelled-{n}", "sentiment", "negative"),
        label(f"x:standing-{n}", "sentiment", "negative"),
        deleted(f"x:gone-{n}"),
        tagged(f"x:both-{n}"),
        deleted(f"x:both-{n}"),
        tagged(f"x:moved-{n}", at=DECEMBER, edit=1),
        tagged(f"x:back-{n}", at=NOON, edit=2),
        label(f"x:back-{n}", "brand", "united"),
        deleted(f"x:away-{n}"),
    ]


def _before(request: Request, forward: Forward) -> Answer:
    return CUT


def _after(request: Request, forward: Forward) -> Answer:
    forward(request)
    return CUT


def _within(request: Request, forward: Forward) -> Answer:
    answer = forward(request)
    return Answer(answer.status, answer.body, answer.headers, sent_bytes=len(answer.body) // 2)


def _half(request: Request, forward: Forward) -> Answer:
    """Let the server see every second operation of a bulk request, then cut the connection."""
    if not request.path.startswith("/_bulk"):
        return CUT
    partly(request, forward, lambda place, lines: place % 2 == 1, None)
    return CUT


@pytest.mark.parametrize("how", [_before, _after, _within, _half])
def test_a_crash_at_any_request_of_a_write_is_mended_by_the_replay(
    stores: Stores, proxy: Proxy, how: Fault
) -> None:
    """For each request of a write: the connection is cut there, a new process replays the batch."""
    prefix = stores.name()
    done: list[Item] = []
    for at in range(MOST_REQUESTS):
        proxy.fault = None
        first = stores.open(prefix, proxy.url)
        assert first.write(before(at)) == []
        number = [at]

        def fault(request: Request, forward: Forward, number: list[int] = number) -> Answer:
            number[0] -= 1
            return how(request, forward) if number[0] == -1 else CUT if number[0] < 0 else forward(request)

        proxy.fault = fault
        try:
            first.write(history(at))
        except TransientError:
            assert number[0] < 0
        else:
            assert number[0] >= 0
            assert at > 3
            return
        second = stores.open(prefix)
        assert second.write(history(at)) == []
        done += [*before(at), *history(at)]
        same(second, done)
        assert second.write(history(at)[::-1]) == []
        same(second, done)
    pytest.fail("a write has more requests than were tried")


def test_a_process_that_wakes_up_late_changes_nothing(stores: Stores, proxy: Proxy) -> None:
    """Its rows are held back while another process edits, moves, labels and deletes the same mentions."""
    prefix = stores.name()
    held_back, go_on = threading.Event(), threading.Event()

    def hold(request: Request, forward: Forward) -> Answer:
        if b"-mentions-" in request.body and request.path.startswith("/_bulk"):
            held_back.set()
            assert go_on.wait(60)
        return forward(request)

    names = ("edited", "moved", "labelled", "gone")
    old: list[Item] = [tagged(f"x:{name}", "old") for name in names]
    new: list[Item] = [
        tagged("x:edited", "new", edit=1),
        tagged("x:moved", "new", edit=1, at=DECEMBER),
        label("x:labelled", "brand", "united"),
        deleted("x:gone"),
    ]
    late = stores.open(prefix, proxy.url)
    proxy.fault = hold
    thread = threading.Thread(target=late.write, args=(old,))
    thread.start()
    assert held_back.wait(60)
    other = stores.open(prefix)
    assert other.write([*old, *new]) == []
    same(other, [*old, *new])
    go_on.set()
    thread.join()
    same(other, [*old, *new])


def test_an_edit_moves_a_mention_to_another_month_and_older_writes_leave_it_there(stores: Stores) -> None:
    store = stores.fresh()
    first, edited = tagged(at=NOON), tagged(at=DECEMBER, edit=1)
    store.write([first])
    store.write([edited])
    store.write([first])
    same(store, [first, edited])
    back = tagged(at=NOON, edit=2)
    store.write([back])
    store.write([edited, first])
    same(store, [first, edited, back])
    store.write([deleted("x:1"), tagged(at=DECEMBER, edit=3)])
    same(store, [back, deleted("x:1")])


def test_a_row_that_the_server_refuses_leaves_what_stood_before(
    store: ElasticsearchStore, proxy: Proxy
) -> None:
    """The same when the process ended before it could take the head back."""

    def refuse(request: Request, forward: Forward) -> Answer:
        if not request.path.startswith("/_bulk") or b"unbearable" not in request.body:
            return forward(request)
        error = {"type": "document_parsing_exception", "reason": "cannot be borne"}
        refused = {"status": 400, "error": error}
        return partly(request, forward, lambda place, lines: b"unbearable" not in lines, refused)

    good = [tagged("x:1", "first"), tagged("x:2", "fine"), tagged("x:3", "also")]
    bad = [
        tagged("x:1", "unbearable", edit=1),
        tagged("x:3", "unbearable", edit=1),
        tagged("x:4", "unbearable"),
    ]
    store.write(good[:1])
    proxy.fault = refuse
    batch = [bad[0], good[1], good[2], bad[1], bad[2]]
    for _ in range(2):
        refusals = store.write(batch)
        assert [refusal.index for refusal in refusals] == [0, 3, 4]
        assert "cannot be borne" in refusals[0].reason
        same(store, good)
    assert store.account(["x:4"]) == ({"x": Books(3, 0)}, {})

    def crash_after_refusal(request: Request, forward: Forward) -> Answer:
        answer = refuse(request, forward)
        if b"unbearable" in request.body:
            proxy.fault = _before
        return answer

    proxy.fault = crash_after_refusal
    with pytest.raises(TransientError):
        store.write(batch)
    proxy.fault = refuse
    assert [refusal.index for refusal in store.write(batch)] == [0, 3, 4]
    same(store, good)
    proxy.fault = None
    assert store.write(batch) == []
    same(store, [*good, *bad])


def test_a_mention_too_large_for_the_server_is_refused_and_its_neighbours_are_not(
    store: ElasticsearchStore, proxy: Proxy
) -> None:
    def narrow(request: Request, forward: Forward) -> Answer:
        too_large = Answer(413, b"", {"Content-Type": "text/plain"})
        return too_large if len(request.body) > 20_000 else forward(request)

    proxy.fault = narrow
    items = [tagged(f"x:{i}") for i in range(50)]
    items[20] = tagged("x:20", "flight " * 3_000)
    assert [refusal.index for refusal in store.write(items)] == [20]
    same(store, [item for item in items if item.mention.id != "x:20"])


def test_dates_that_nobody_can_have_written_at_do_not_fill_the_cluster_with_indices(stores: Stores) -> None:
    store = stores.fresh()
    years = [*range(1971, 2000, 7), *range(2030, 2099, 7)]
    items = [tagged(f"x:{year}", at=datetime(year, 5, 5, tzinfo=UTC)) for year in years]
    items = [replace(item, mention=replace(item.mention, collected_at=NOON)) for item in items]
    assert store.write(items) == []
    assert store.count(EVERYTHING) == len(years)
    prefix = stores.prefix(store)
    rows = request("GET", f"{stores.url}/_cat/indices/{prefix}-mentions-*?format=json&h=index")
    assert sorted(row["index"] for row in rows) == [f"{prefix}-mentions-earlier", f"{prefix}-mentions-later"]


def test_a_server_that_is_away_at_the_start_is_waited_for_and_named() -> None:
    (port,) = free_ports(1)
    with pytest.raises(TransientError, match=rf"Elasticsearch at http://127\.0\.0\.1:{port} is away"):
        open_store(f"elasticsearch+http://127.0.0.1:{port}", Path(), TAXONOMY)


ANSWERS: list[tuple[Answer, str]] = [
    (Answer(401, b"{}", {"Content-Type": "application/json"}), "check user and password"),
    (
        Answer(403, b'{"error": {"type": "security_exception"}}', {"Content-Type": "application/json"}),
        "allow",
    ),
    (Answer(200, b'{"name": "other"}', {"Content-Type": "application/json"}), "not Elasticsearch 9"),
    (
        Answer(
            400,
            b'{"error": {"type": "media_type_header_exception", "reason": "version"}}',
            {"Content-Type": "application/json"},
        ),
        "not Elasticsearch 9",
    ),
]


@pytest.mark.parametrize(("answer", "said"), ANSWERS)
def test_what_only_the_user_can_mend_is_said_without_the_password(
    proxy: Proxy, answer: Answer, said: str
) -> None:
    proxy.fault = lambda request, forward: answer
    address = proxy.url.replace("http://", "elasticsearch+http://ana:s3cret@")
    with pytest.raises(SettingsError, match=said) as caught:
        open_store(address, Path(), TAXONOMY)
    error: BaseException | None = caught.value
    while error is not None:
        assert "s3cret" not in str(error)
        assert "s3cret" not in repr(error)
        error = error.__cause__


def test_a_server_without_tls_is_told_from_one_that_is_away(elasticsearch: str) -> None:
    with pytest.raises(SettingsError, match="does not speak https"):
        open_store(elasticsearch.replace("http:", "elasticsearch+https:"), Path(), TAXONOMY)


@pytest.fixture
def certificate(proxy: Proxy, tmp_path: Path) -> Path:
    """Let the proxy speak TLS; its certificate is its own authority."""
    if shutil.which("openssl") is None:
        missing("openssl is not here: install it, it makes a certificate")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    make = f"openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -keyout {key} -out {certificate}"
    subprocess.run(
        [*make.split(), "-addext", "subjectAltName=DNS:localhost"], check=True, capture_output=True
    )
    proxy.speak_tls(certificate, key)
    return certificate


def test_a_certificate_is_verified_and_may_name_its_own_authority(
    stores: Stores, proxy: Proxy, certificate: Path
) -> None:
    address = proxy.url.replace("http://127.0.0.1", "elasticsearch+https://localhost") + f"/{stores.name()}"
    with pytest.raises(SettingsError, match="ca_certs=FILE"):
        open_store(address, Path(), TAXONOMY)
    store = open_store(f"{address}?ca_certs={certificate}", Path(), TAXONOMY)
    assert store.count(EVERYTHING) == 0
    store.close()


def test_an_api_key_from_the_environment_is_shown_to_the_server_and_to_nobody_else(
    stores: Stores, proxy: Proxy, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARK_ELASTICSEARCH_API_KEY", "a2V5OnMzY3JldA==")
    address = proxy.url.replace("http://127.0.0.1", "elasticsearch+https://localhost") + f"/{stores.name()}"
    with_key = f"{address}?ca_certs={certificate}"
    store = open_store(with_key, Path(), TAXONOMY)
    assert {request.headers.get("authorization") for request in proxy.seen} == {"ApiKey a2V5OnMzY3JldA=="}
    assert "a2V5" not in repr(parse_address(with_key))
    store.close()
    with pytest.raises(SettingsError, match="use one of them"):
        parse_address(with_key.replace("localhost", "ana:s3cret@localhost"))
    with pytest.raises(SettingsError, match="in the clear"):
        parse_address("elasticsearch+http://localhost")


@pytest.mark.parametrize(
    "address",
    [
        "elasticsearch+http://",
        "elasticsearch+http://ana:s3cret@host:port",
        "elasticsearch+http://ana:s3cret@host/Upper",
        "elasticsearch+http://ana:s3cret@host/a-b",
        "elasticsearch+https://ana:s3cret@host?verify=no",
        "elasticsearch+https://ana:s3cret@host?ca_certs=/no/such/file",
    ],
)
def test_a_wrong_address_is_refused_without_its_password(address: str) -> None:
    with pytest.raises(SettingsError, match="store: ") as caught:
        open_store(address, Path(), TAXONOMY)
    assert "s3cret" not in str(caught.value)


def test_reads_say_that_the_server_is_away(store: ElasticsearchStore, proxy: Proxy) -> None:
    store.write([tagged()])
    proxy.fault = _before
    asked: list[Callable[[], object]] = [
        lambda: list(store.search(EVERYTHING)),
        lambda: store.count(EVERYTHING),
        lambda: store.histogram(EVERYTHING, 3600, NOON, DECEMBER),
        lambda: store.top(EVERYTHING, "brand"),
        lambda: store.get("x:1"),
        lambda: store.account(["x:1"]),
        lambda: list(store.ids()),
    ]
    for ask in asked:
        with pytest.raises(TransientError, match="away"):
            ask()
    proxy.fault = None
    same(store, [tagged()])


def test_a_killed_server_loses_nothing_and_gets_nothing_twice(
    elasticsearch_server: ElasticsearchServer, stores: Stores
) -> None:
    store = stores.fresh()
    batches: list[list[Item]] = [
        [tagged(f"x:{batch}-{i}", at=NOON + timedelta(days=batch, seconds=i)) for i in range(200)]
        for batch in range(40)
    ]
    for number, batch in enumerate(batches):
        batch.append(deleted(f"x:{number}-7"))
        batch.append(tagged(f"x:{number}-9", "moved", at=DECEMBER + timedelta(days=9), edit=1))
    acknowledged = [0]
    killed = threading.Event()
    failures: list[str] = []

    def write() -> None:
        for batch in batches:
            while True:
                try:
                    assert store.write(batch) == []
                except TransientError as error:
                    failures.append(str(error))
                    assert killed.wait(120)
                    continue
                acknowledged[0] += 1
                break

    thread = threading.Thread(target=write)
    thread.start()
    while acknowledged[0] < 15:
        assert thread.is_alive()
        threading.Event().wait(0.01)
    elasticsearch_server.kill()
    elasticsearch_server.start()
    killed.set()
    thread.join(120)
    assert not thread.is_alive()
    assert failures
    same(store, [item for batch in batches for item in batch])


def test_an_index_that_was_removed_is_made_again(stores: Stores) -> None:
    store = stores.fresh()
    store.write([tagged("x:1")])
    request("DELETE", f"{stores.url}/{stores.prefix(store)}-mentions-2026.11")
    with pytest.raises(TransientError):
        store.write([tagged("x:2")])
    assert store.write([tagged("x:2")]) == []
    assert ids(store.search(parsed("flight"))) == ["x:2"]


def test_a_closed_index_is_waited_for_and_no_answer_leaves_it_out(stores: Stores, elasticsearch: str) -> None:
    store = stores.fresh()
    store.write([tagged("x:1")])
    for index in (f"{stores.prefix(store)}-mentions-{NOON:%Y.%m}", f"{stores.prefix(store)}-heads"):
        request("POST", f"{elasticsearch}/{index}/_close")
        with pytest.raises(TransientError, match="closed"):
            store.write([tagged("x:2")])
        with pytest.raises(TransientError, match="closed"):
            list(store.ids())
        request("POST", f"{elasticsearch}/{index}/_open")
        assert store.write([tagged("x:2")]) == []
        assert store.count(EVERYTHING) == 2
    request("POST", f"{elasticsearch}/{stores.prefix(store)}-mentions-{NOON:%Y.%m}/_close")
    with pytest.raises(TransientError, match="closed"):
        store.count(EVERYTHING)


def test_months_that_were_taken_out_of_the_alias_are_put_back(stores: Stores, elasticsearch: str) -> None:
    store = stores.fresh()
    store.write([tagged("x:1"), tagged("x:2", at=DECEMBER)])
    alias = f"{stores.prefix(store)}-mentions"
    request("DELETE", f"{elasticsearch}/{alias}-*/_alias/{alias}")
    assert store.count(EVERYTHING) == 2
    request("DELETE", f"{elasticsearch}/{alias}-{NOON:%Y.%m}/_alias/{alias}")
    assert stores.again(store).count(EVERYTHING) == 2


def test_rows_of_a_removed_month_are_missing_when_the_ids_are_compared(
    stores: Stores, elasticsearch: str, tmp_path: Path
) -> None:
    store, bus, state = stores.fresh(), open_bus("embedded", tmp_path), open_state("embedded", tmp_path)
    items = [tagged("x:1"), tagged("x:2"), tagged("x:3", at=DECEMBER), tagged("x:4")]
    bus.publish(MENTIONS, [(item.mention.id, encode(Seen(item.mention))) for item in items])
    members = [bus.subscribe(MENTIONS, ENRICH_GROUP), bus.subscribe(ENRICHED, INDEX_GROUP)]
    take(members[0], 4)
    members[0].commit()
    bus.publish(
        ENRICHED, [(item.mention.id, encode(item)) for item in items[3:]]
    )  # not committed: on its way
    store.write(items)
    ledger = Ledger(bus, store, state)
    assert ledger.verify()[1].missing == 0
    request("DELETE", f"{elasticsearch}/{stores.prefix(store)}-mentions-{NOON:%Y.%m}")
    _, found = ledger.verify()
    assert (found.missing, found.unknown, found.examples) == (2, 0, ["x:1", "x:2"])
    for part in (*members, bus, state):
        part.close()


def test_heads_that_were_removed_are_not_made_again_by_a_write_nor_empty_beside_the_rows(
    stores: Stores,
) -> None:
    store = stores.fresh()
    store.write([tagged("x:1")])
    prefix = stores.prefix(store)
    request("DELETE", f"{stores.url}/{prefix}-heads")
    with pytest.raises(TransientError, match=f"{prefix}-heads"):
        store.write([tagged("x:2")])
    with pytest.raises(SettingsError, match=f"the index {prefix}-heads is gone.*snapshot"):
        stores.open(prefix)
    request("DELETE", f"{stores.url}/{prefix}-mentions-2026.11")
    anew = stores.open(prefix)
    assert anew.write([tagged("x:2")]) == []
    assert ids(anew.search(parsed("flight"))) == ["x:2"]
