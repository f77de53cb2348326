"""A running center with people and mentions, and a browser: started once for all console tests."""

import contextlib
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx2
import pytest
from playwright.sync_api import BrowserContext, sync_playwright

from hark import settings
from hark.alerts.incidents import Incident
from hark.state import open_state
from hark.state.people import ROLES, People
from hark.wiring import store_of
from tests.support.browser import ARGUMENTS, CHROMIUM, Contexts, Screen
from tests.support.center import Center, wait_for
from tests.support.incidents import night
from tests.support.require import missing

PASSWORD = "correct horse battery"
PARTNER = "delta"
"""The brand that the partner sees."""
_SAID = (
    ("@SouthwestAir my flight was cancelled, three hours on the tarmac and nobody helps #swa", "amy", 12_000),
    ("@Delta thank you, the crew was wonderful today!", "bob", 90),
    ("@united where is my bag? It has been two days since Denver", "cleo", 2_300),
    ("Southwest Airlines gate change at DAL, anyone know why?", "dan", 40),
    ("@Delta delayed again, missed my connection in ATL, awful service", "eve", 800),
    ("Flying Southwest Airlines tomorrow, excited", "fred", 15),
)


def said(count: int, until: datetime) -> list[dict[str, object]]:
    """Return `count` mentions as `hark import` takes them, the newest a minute before `until`, ten minutes apart."""
    rows: list[dict[str, object]] = []
    for number in range(count):
        text, handle, followers = _SAID[number % len(_SAID)]
        moment = until - timedelta(minutes=1 + 10 * number)
        rows.append(
            {
                "id": str(number),
                "text": f"{text} ({number})",
                "author": {"handle": handle, "followers": followers},
                "url": f"https://social.example/{handle}/{number}",
                "created_at": moment.isoformat(),
            }
        )
    return rows


def put(center: Center, rows: list[dict[str, object]], source: str = "import") -> None:
    """Import mentions and return when all of them are in the store: workers tag side by side, the last may be first."""
    file = center.folder / "in.jsonl"
    file.write_text("\n".join(json.dumps(row) for row in rows))
    center.run("import", str(file), "--source", source)
    with store_of(settings.load(None, center.data)) as store:
        ids = [f"{source}:{row['id']}" for row in rows]
        wait_for(lambda: len(store.many(ids)) == len(ids), f"all of {source} to be in the store")


@pytest.fixture(scope="package")
def center(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Center]:
    """A whole center that runs: 240 mentions of the last 40 hours, and a person of each role, named as the role."""
    center = Center(tmp_path_factory.mktemp("console"))
    center.up()
    try:
        with contextlib.closing(open_state("embedded", center.data)) as state:
            for role in ROLES:
                People(state).add(role, role, PASSWORD, [PARTNER] if role == "partner" else [])
        put(center, said(240, datetime.now(UTC)))
        yield center
    finally:
        center.down()


@pytest.fixture(scope="package")
def incidents(center: Center) -> dict[str, Incident]:
    """Two incidents of last night by brand, as the rule finds them; people can still do something about them."""
    return night(center, lambda rows: put(center, rows, "burst"))


@pytest.fixture(scope="package")
def address(center: Center) -> str:
    """Where the console answers, without a slash at the end."""
    return f"http://127.0.0.1:{center.port}"


@pytest.fixture(scope="package")
def contexts(address: str) -> Iterator[Contexts]:
    """Chromium, with one signed-in context a role."""
    if not Path(CHROMIUM).exists():
        missing(f"no {CHROMIUM}: install Debian's chromium to test the console in a browser")

    def sign_in(context: BrowserContext, role: str) -> None:
        form = {"name": role, "password": PASSWORD, "next": "/api/v1/me"}
        answer = context.request.post(f"{address}/login", form=form)
        assert answer.ok, answer.text()

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        made = Contexts(browser, address, sign_in)
        yield made
        made.close()
        browser.close()


@pytest.fixture
def screen(contexts: Contexts) -> Iterator[Callable[[str], Screen]]:
    """Return a function: a new page of a role's browser; the test fails for what went wrong on it unseen."""
    opened: list[Screen] = []

    def open_screen(role: str) -> Screen:
        opened.append(Screen(contexts.of(role), contexts.address))
        return opened[-1]

    yield open_screen
    wrong = [text for one in opened for text in one.wrong]
    for one in opened:
        one.page.close()
    assert not wrong, "\n".join(wrong)


@pytest.fixture(scope="package")
def client(address: str) -> Iterator[Callable[[str], httpx2.Client]]:
    """Return a function: an HTTP client signed in as a role, without a browser; its header X-CSRF is set."""
    made: dict[str, httpx2.Client] = {}

    def of(role: str) -> httpx2.Client:
        if role not in made:
            made[role] = httpx2.Client(base_url=address)
            if role != "nobody":
                form = {"name": role, "password": PASSWORD}
                assert made[role].post("/login", data=form).status_code == 303
                made[role].headers["X-CSRF"] = csrf(made[role])
        return made[role]

    yield of
    for client in made.values():
        client.close()


def csrf(client: httpx2.Client) -> str:
    """Return the CSRF token that the pages of this client's session carry."""
    text = client.get("/feed").text
    return text.split('name="csrf" content="')[1].split('"')[0]
