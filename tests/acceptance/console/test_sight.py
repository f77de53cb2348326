"""Who may see one brand alone gets nothing of the others' mentions, on any route of the real application."""

from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient

from hark import settings
from hark.console import access
from hark.console.app import create_app
from hark.console.center import Center
from hark.core.change import Tagged
from hark.core.clock import now
from hark.core.mention import Author, Enrichment, Language, Mention, Sentiment, Topic, Vader
from hark.wiring import console_of

OWN, OTHER = "zzownword", "zzforbiddenword"
PARAMETERS: tuple[dict[str, str], ...] = (
    {},
    {"q": "zz*", "last": "7d"},
    {"q": "NOT brand:delta", "last": "7d"},
    {"q": "brand:united OR brand:delta", "order": "sample", "last": "7d"},
    {"q": "gate", "order": "relevance", "last": "7d"},
    {"id": "x:other", "whole": "true"},
    {"id": "x:own", "q": "conversation:x:other"},
    {"format": "csv", "last": "7d"},
    {"format": "json", "by": "author"},
)
SHOWS_MENTIONS = {
    "/feed",
    "/feed/mention",
    "/feed/row",
    "/search",
    "/api/v1/search",
    "/api/v1/mentions/{id:path}",
    "/api/v1/export",
}


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Center]:
    with console_of(settings.load(None, tmp_path_factory.mktemp("sight"))) as center:
        center.people.add("partner", "partner", "x" * 12, ["delta"])
        center.people.add("analyst", "analyst", "x" * 12)
        # One conversation, one author for both brands: what leads from one to the other must end there.
        center.whole_store.write([said("own", "delta", OWN), said("other", "united", OTHER)])
        yield center


def said(id: str, brand: str, word: str) -> Tagged:
    moment = now() - timedelta(minutes=5)
    mention = Mention(
        f"x:{id}",
        "x",
        f"{word} at the gate of {brand}",
        moment,
        moment,
        author=Author(handle=f"author-{word}", followers=100_000),
        conversation="x:other",
        title=f"about {word}",
    )
    sentiment = Sentiment("negative", -0.5, 0.9, Vader(0.5, 0.5, 0.0, -0.5))
    topics = (Topic("late-flight", 0.9),)
    return Tagged(mention, Enrichment("v1", Language("en", 1.0), (brand,), sentiment, topics))


def browser(app: FastAPI, parts: Center) -> TestClient:
    token = parts.people.begin_session("partner", 1.0)
    client = TestClient(app, base_url="http://localhost", follow_redirects=False)
    client.cookies.set("hark", token)
    return client


def program(app: FastAPI, parts: Center) -> TestClient:
    _, secret = parts.people.make_key("narrow", "analyst", ["read:mentions", "read:trends"], ["delta"])
    client = TestClient(app, base_url="http://localhost", follow_redirects=False)
    client.headers["Authorization"] = f"Bearer {secret}"
    return client


@pytest.mark.parametrize("of", [browser, program])
def test_no_route_shows_a_mention_of_another_brand(
    of: Callable[[FastAPI, Center], TestClient], parts: Center
) -> None:
    app = create_app(parts)
    client = of(app, parts)
    shown, asked = set(), 0
    for route in app.routes:
        if getattr(route, "path", None) in access.PUBLIC or not isinstance(route, APIRoute):
            continue
        if "GET" not in route.methods or "stream" in route.path:
            continue
        for parameters in PARAMETERS:
            for id in ("x:other", "x:own") if "{" in route.path else ("",):
                path = route.path.replace("{id:path}", id).replace("{name}", id).replace("{id}", id)
                answer = client.get(path, params=parameters)
                asked += 1
                assert OTHER not in answer.text, (path, parameters, answer.text)
                assert answer.status_code < 500, (path, parameters, answer.text)
                if OWN in answer.text and answer.status_code == 200:
                    shown.add(route.path)
    assert shown >= SHOWS_MENTIONS if of is browser else shown >= {"/api/v1/search", "/api/v1/export"}
    assert asked > 100


def test_numbers_are_those_of_the_own_brand(parts: Center) -> None:
    client = program(create_app(parts), parts)
    assert client.get("/api/v1/count").json()["count"] == 1
    assert client.get("/api/v1/count?q=brand:united").json()["count"] == 0
    assert client.get("/api/v1/query/explain?q=gate").json()["volume"]["count"] == 1
    assert client.get("/api/v1/query/explain?q=zz*").json()["patterns"] == [
        {"pattern": "zz*", "terms": [], "number": None}
    ]
    assert client.get("/api/v1/search?q=gate").json()["next"] is None
    assert client.get("/api/v1/mentions/x:other").status_code == 404


def test_the_parts_of_one_conversation_are_kept_apart(parts: Center) -> None:
    page = browser(create_app(parts), parts).get("/feed?id=x:own").text
    assert OWN in page
    assert OTHER not in page
