"""People's labels through the real program: in, out, what to label next, how far two agree."""

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.center import Center, wait_for

TEXTS = {
    "1": "@SouthwestAir my flight was cancelled, nobody helps. Write to amy@example.com",
    "2": "@SouthwestAir is the gate for WN12 open",
    "3": "@Delta thank you, wonderful crew",
}


@pytest.fixture
def center(tmp_path: Path) -> Iterator[Center]:
    center = Center(tmp_path)
    with center.running():
        file = tmp_path / "in.jsonl"
        file.write_text("\n".join(json.dumps({"id": id, "text": text}) for id, text in TEXTS.items()) + "\n")
        center.run("import", str(file))
        center.settled()
        yield center


def test_labels_go_in_stand_come_out_and_are_measured(center: Center) -> None:
    file = center.folder / "labels.csv"
    file.write_text(
        "id,tag,label,by\n"
        "import:1,sentiment,positive,ann\n"
        "import:1,sentiment,negative,bob\n"
        "import:2,sentiment,negative,ann\n"
        "import:2,sentiment,negative,bob\n"
        "import:2,colour,red,bob\n"
        "two,sentiment,negative,bob\n"
        "import:999,sentiment,negative,bob\n"
    )
    told = center.run("label", "import", str(file), expect=1).stderr.decode()
    assert "4 labels are in the log" in told
    assert "line 6: no tag 'colour'" in told
    assert "line 7: id: expected source:id" in told
    assert "line 8: no mention 'import:999' was ever collected" in told
    assert "3 rows were refused" in told
    assert center.settled()["balanced"]

    wait_for(lambda: len(list(center.search("sentiment:negative"))) == 2, "the labels to stand")
    (hit,) = center.search("gate")
    assert hit["enrichment"]["sentiment"]["label"] == "negative"
    assert hit["enrichment"]["sentiment"]["confidence"] == 1.0

    first = json.loads(center.run("label", "queue", "--json").stdout.splitlines()[0])
    assert first["id"] == "import:1"
    assert first["disputed"]
    assert "amy@example.com" not in first["text"]
    queued = [json.loads(line)["id"] for line in center.run("label", "queue", "--json").stdout.splitlines()]
    assert queued == ["import:1", "import:3"]  # the second is agreed upon

    (agreed,) = [json.loads(line) for line in center.run("label", "agreement", "--json").stdout.splitlines()]
    assert (agreed["mentions"], agreed["agreed"]) == (2, 0.5)

    out = center.run("label", "export", "--tag", "sentiment").stdout.decode()
    rows = list(csv.DictReader(io.StringIO(out)))
    assert [(row["id"], row["label"], row["by"]) for row in rows] == [
        ("import:1", "positive", "ann"),
        ("import:1", "negative", "bob"),
        ("import:2", "negative", "ann"),
        ("import:2", "negative", "bob"),
    ]
    assert "[e-mail address]" in rows[0]["text"]
    assert rows[0]["brand"] == "southwest"
