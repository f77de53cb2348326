"""Taxonomy and quality: the tree, labels by one key, scores on them, and history tagged again, shown, taken back."""

import json
from collections.abc import Callable
from datetime import UTC, datetime

import httpx2
import pytest
from playwright.sync_api import expect

from tests.acceptance.console.conftest import put
from tests.support.browser import Screen, check_axe, shoot
from tests.support.center import Center, wait_for

Open = Callable[[str], Screen]
Client = Callable[[str], httpx2.Client]


@pytest.fixture(scope="module")
def doubtful(center: Center) -> None:
    """Three mentions of a source of their own."""
    texts = ("the new lounge is a thing", "wow just wow", "my bag, again, of course")
    rows: list[dict[str, object]] = [
        {"id": str(at), "text": f"@united {text}", "created_at": datetime.now(UTC).isoformat()}
        for at, text in enumerate(texts)
    ]
    put(center, rows, "doubt")


def test_the_tree_shows_what_is_said_of_each_topic(screen: Open) -> None:
    page = screen("analyst").open("/quality?last=7d")
    row = page.locator("tr", has=page.locator("code", has_text="late-flight"))
    assert int(row.get_by_role("link").inner_text()) > 0
    check_axe(page)
    shoot(page, "quality")


def test_labels_are_given_by_one_key_stand_and_are_measured(
    screen: Open, client: Client, doubtful: None, center: Center
) -> None:
    page = screen("analyst").open("/quality/queue?q=source%3Adoubt&last=24h")
    items = page.locator("#queue > li")
    expect(items).to_have_count(3)
    check_axe(page)
    shoot(page, "quality-queue")
    page.keyboard.press("j")
    for _ in range(3):
        page.keyboard.press("1")
    expect(page.locator("#queue > .done")).to_have_count(3)
    wait_for(lambda: len(list(center.search("source:doubt sentiment:negative"))) == 3, "the labels")

    label = {"id": "doubt:0", "tag": "sentiment", "value": "positive"}
    assert client("agent").post("/api/v1/labels", json=label).status_code == 202
    (first, *_) = client("lead").get("/api/v1/labels/queue", params={"q": "source:doubt"}).json()
    assert (first["id"], first["disputed"]) == ("doubt:0", True)

    page = screen("lead").open("/quality/scores?tag=sentiment")
    expect(page.locator("#scores")).to_have_attribute("aria-busy", "false")
    expect(page.get_by_text("more are disputed")).to_be_visible()
    expect(page.get_by_role("heading", name="What is taken for what")).to_be_visible()
    expect(page.get_by_text("agent, analyst")).to_be_visible()
    check_axe(page)
    shoot(page, "quality-scores")
    # Other tests of this center label mentions too.
    found = client("lead").get("/api/v1/quality", params={"tag": "sentiment"}).json()
    assert found["mentions"] >= 2
    assert found["disputed"] >= 1
    assert sum(label["texts"] for label in found["scores"]["labels"]) == found["mentions"]


def test_history_is_tagged_again_compared_shown_and_taken_back(
    screen: Open, client: Client, center: Center
) -> None:
    page = screen("admin").open("/quality/versions")
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_label("from").select_option("7")
    page.get_by_role("button", name="Tag history again").click()
    # The page comes anew by itself until all is built; a visit of ours would cross that.
    state = page.locator("[data-generation='1'] td").nth(1)
    expect(state).to_contain_text("ready", timeout=120_000)
    page.wait_for_load_state()  # its script listens from then on
    check_axe(page)
    shoot(page, "quality-versions")
    page.get_by_role("button", name="What does it change?").click()
    expect(page.get_by_text("From generation 0 to 1")).to_be_visible()
    page.get_by_role("button", name="Show generation 1").click()
    expect(page.locator("[data-generation='1']")).to_contain_text("shown")
    page.wait_for_load_state()
    page.get_by_role("button", name="Go back").click()
    expect(page.locator("[data-generation='0']")).to_contain_text("shown")
    page.wait_for_load_state()
    page.get_by_role("button", name="Remove generation 1").click()
    wait_for(lambda: len(client("admin").get("/api/v1/generations").json()) < 2, "it to be removed")
    lines = client("admin").get("/api/v1/audit", params={"person": "admin"}).json()
    assert "reprocessing: promote" in json.dumps(lines)


def test_only_those_who_may_change_what_is_shown(client: Client, screen: Open) -> None:
    assert client("analyst").post("/api/v1/generations/rollback").status_code == 403
    assert client("partner").get("/quality").status_code == 403
    page = screen("analyst").open("/quality/versions")
    expect(page.get_by_role("button", name="Tag history again")).to_have_count(0)


def test_what_all_workers_count_is_shown_as_drift_and_in_the_metrics(
    screen: Open, client: Client, center: Center
) -> None:
    name = 'hark_tags_total{tag="language",value="en"}'
    lines = wait_for(
        lambda: [line for line in client("lead").get("/metrics").text.splitlines() if line.startswith(name)],
        "the workers to add up",
    )
    found = client("lead").get("/api/v1/quality/drift").json()
    (language,) = (one for one in found["tags"] if one["tag"] == "language")
    assert (language["since"], language["verdict"], language["index"]) == ("first week", "too few", None)
    assert 0 < language["texts_then"] <= found_all(center)
    assert float(lines[0].split()[-1]) <= language["texts_then"]
    metrics = client("lead").get("/metrics").text
    assert 'hark_drift_index{tag="sentiment"} NaN' in metrics

    page = screen("lead").open("/quality/scores")
    expect(page.locator("#drift tr[data-tag=sentiment]")).to_contain_text("too few to say")
    check_axe(page)


def found_all(center: Center) -> int:
    return sum(source["collected"] for source in center.status()["sources"])
