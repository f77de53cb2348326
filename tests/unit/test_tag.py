import io
import os
import threading
import tracemalloc
from pathlib import Path

import msgspec
import pytest

from enrich.chain import Chain, build_chain
from hark.commands.tag import LONGEST_LINE_BYTES, tag_lines
from hark.settings import SHIPPED, load


@pytest.fixture(scope="module")
def chain() -> Chain:
    settings = load(SHIPPED, Path("unused"))
    return build_chain(settings.config, settings.brands)


def run(chain: Chain, source: bytes) -> tuple[list[bytes], list[str]]:
    target, warnings = io.BytesIO(), list[str]()
    refused = tag_lines(io.BytesIO(source).read1, target, warnings.append, chain)
    assert refused == len(warnings)
    return target.getvalue().splitlines(), warnings


def test_each_line_comes_back_with_its_tags_in_order(chain: Chain) -> None:
    lines, warnings = run(
        chain, b'{"text":"@SouthwestAir lost my bag, worst airline ever"}\n\n{"text":"Love you @Delta!"}'
    )
    assert warnings == []
    first, second = map(msgspec.json.decode, lines)
    assert first["text"] == "@SouthwestAir lost my bag, worst airline ever"
    assert first["enrichment"]["brands"] == ["southwest"]
    assert first["enrichment"]["sentiment"]["label"] == "negative"
    assert second["enrichment"]["brands"] == ["delta"]
    assert second["enrichment"]["sentiment"]["label"] == "positive"
    assert second["enrichment"]["sentiment"]["vader"].keys() == {"neg", "neu", "pos", "compound"}
    assert first["enrichment"].keys() >= {
        "version", "language", "brands", "sentiment", "topics", "intent", "urgency", "journey", "entities",
    }  # fmt: skip
    assert first["enrichment"]["version"] == chain.version


@pytest.mark.parametrize(
    "line",
    [
        b'{"b": 1.50, "text": "x", "a": 18446744073709551999, "z": null, "u": "\\u00e9"}',
        b'  {"text":"x","created_at":"+40000-01-01T00:00:00Z","author":7,"id":5}\t',
        b'{"text":"x","author":"@amy","created_at":"2026-11-01T00:00:00"}\r',
        b'{"text":"","title":null}',
    ],
)
def test_everything_else_in_a_line_stays_as_it_was(chain: Chain, line: bytes) -> None:
    (tagged,), warnings = run(chain, line + b"\n")
    assert warnings == []
    assert tagged.startswith(line.strip()[:-1] + b',"enrichment":{')
    msgspec.json.decode(tagged)


def test_new_tags_take_the_place_of_old_ones(chain: Chain) -> None:
    (tagged,), _ = run(chain, b'{"enrichment": {"version": "old"}, "text": "x", "n": 1.50}')
    assert tagged.count(b"enrichment") == 1
    assert tagged.startswith(b'{"text":"x","n":1.50,"enrichment":{"version":"' + chain.version.encode())


BAD_LINES = {
    b"{broken": "not JSON",
    b"[1, 2]": "not a JSON object",
    b'{"id": "x"}': "no `text`",
    b'{"text": 5}': "`text` is not a string",
    b'{"text": null}': "`text` is not a string",
    b'{"text": "\xff"}': "not UTF-8",
    b'{"other": "\xff", "text": "x"}': "not UTF-8",
    b'{"text": "x", "id": 5, ': "not JSON",
    b'{"text": "x"} {}': "not JSON",
    b"[" * 100_000: "not JSON",
    b'{"text": "' + b"x" * 10_000_000 + b'"}': "longer than",
}


@pytest.mark.parametrize("bad", BAD_LINES, ids=lambda bad: repr(bad[:24]))
def test_bad_line_is_told_by_its_number_and_the_others_go_on(chain: Chain, bad: bytes) -> None:
    lines, warnings = run(chain, b'{"text":"one"}\n\n' + bad + b'\n{"text":"four"}\n')
    assert [msgspec.json.decode(line)["text"] for line in lines] == ["one", "four"]
    (warning,) = warnings
    assert warning.startswith(f"line 3: {BAD_LINES[bad]}")
    assert len(warning) < 200


def test_bad_last_line_without_an_end_is_told_too(chain: Chain) -> None:
    lines, warnings = run(chain, b'{"text":"one"}\n{"text":')
    assert len(lines) == 1
    assert warnings[0].startswith("line 2: not JSON")


def test_byte_order_mark_is_no_mistake(chain: Chain) -> None:
    lines, warnings = run(chain, b'\xef\xbb\xbf{"text":"one"}\n')
    assert warnings == []
    assert msgspec.json.decode(lines[0])["text"] == "one"


def test_batches_cut_anywhere_give_the_same_lines(chain: Chain) -> None:
    source = b"".join(b'{"text":"number %d is late"}\n' % n for n in range(50)) + b'nope\n{"text":"last"}'
    target, warnings = io.BytesIO(), list[str]()
    content = io.BytesIO(source)
    tag_lines(lambda size: content.read(7), target, warnings.append, chain)
    assert (target.getvalue().splitlines(), warnings) == run(chain, source)
    assert warnings[0].startswith("line 51:")


def test_slow_line_is_answered_before_the_next_one_comes(chain: Chain) -> None:
    in_read, in_write = os.pipe()
    out_read, out_write = os.pipe()
    with (
        open(in_read, "rb") as source,
        open(out_write, "wb") as target,
        open(out_read, "rb") as answers,
        open(in_write, "wb", buffering=0) as questions,
    ):
        worker = threading.Thread(target=tag_lines, args=(source.read1, target, print, chain))
        worker.start()
        for text in ("one", "two"):
            questions.write(b'{"text":"%s"}\n' % text.encode())
            # Blocks for ever, and the test times out, if the answer waits for more questions.
            assert msgspec.json.decode(answers.readline())["text"] == text
        questions.close()
        worker.join()


def test_memory_holds_no_more_of_an_endless_line_than_the_limit(chain: Chain) -> None:
    pieces = iter([b"x" * 262_144] * (16 * LONGEST_LINE_BYTES // 262_144))
    warnings = list[str]()
    tracemalloc.start()
    tag_lines(lambda size: next(pieces, b""), io.BytesIO(), warnings.append, chain)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert warnings[0].startswith("line 1: longer than")
    assert peak < 4 * LONGEST_LINE_BYTES
