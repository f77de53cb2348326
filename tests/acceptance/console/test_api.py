"""The whole HTTP interface against its own description: requests that schemathesis makes up, to a running center."""

import contextlib
from collections.abc import Iterator

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import positive_data_acceptance

from hark.state import open_state
from hark.state.people import People
from tests.support.center import Center

EXAMPLES = 3
NOT_ASKED = {
    ("GET", "/api/v1/stream"),  # has no end; test_feed.py reads it
    ("POST", "/api/v1/generations"),  # would tag all history again
    ("POST", "/api/v1/generations/{act}"),
}


@pytest.fixture(scope="module")
def keys(center: Center) -> Iterator[tuple[str, str]]:
    """Two keys of an administrator, for twice as many requests a minute; what is made with them is taken away."""
    with contextlib.closing(open_state("embedded", center.data)) as state:
        secrets = [People(state).make_key("made up", "admin", ["admin"])[1] for _ in range(2)]
        yield secrets[0], secrets[1]
    with session_of(secrets[0]) as session:
        address = f"http://127.0.0.1:{center.port}/api/v1"
        for saved in session.get(f"{address}/searches").json():
            session.delete(f"{address}/searches/{saved['name']}")
        for note in session.get(f"{address}/annotations?since=1970-01-01T00:00:00Z").json():
            session.delete(f"{address}/annotations/{note['id']}")


def session_of(secret: str) -> requests.Session:
    session = requests.Session()
    session.headers["Authorization"] = f"Bearer {secret}"
    return session


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_every_answer_is_as_described(mode: GenerationMode, address: str, keys: tuple[str, str]) -> None:
    secret = keys[mode is GenerationMode.NEGATIVE]
    headers = {"Authorization": f"Bearer {secret}"}
    schema = schemathesis.openapi.from_url(f"{address}/api/v1/openapi.json", headers=headers)
    operations = [found.ok() for found in schema.get_all_operations()]
    asked = [one for one in operations if (one.method.upper(), one.path) not in NOT_ASKED]
    assert len(asked) > 20
    wrong: list[str] = []
    with session_of(secret) as session:
        for operation in asked:

            @given(operation.as_strategy(generation_mode=mode))
            @settings(
                max_examples=EXAMPLES,
                deadline=None,
                derandomize=True,
                database=None,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )
            def check(case: schemathesis.Case) -> None:
                answer = case.call(headers=headers, session=session, timeout=60)
                told = f"{case.method} {answer.request.url}: {answer.status_code} {answer.text[:300]}"
                # No schema says what a query is: a 400 with its place is right, a 422 is not.
                if answer.status_code == 429 or (
                    mode is GenerationMode.POSITIVE and answer.status_code == 422
                ):
                    wrong.append(told)
                try:
                    case.validate_response(answer, excluded_checks=[positive_data_acceptance])
                except FailureGroup as group:
                    wrong.extend(f"{told}\n{one}" for one in group.exceptions if not unknown_parameter(one))

            check()
    assert not wrong, "\n\n".join(wrong)


@pytest.mark.parametrize(
    "path",
    [
        "/search?q=flight&limit=5",
        "/search?q=flight&limit=5&order=relevance",
        "/search?limit=5&order=sample",
        "/mentions/import:0?q=flight",
        "/count?q=flight",
        "/query/explain?q=flight*+ONEAR/3+bag",
        "/trends?since=2026-01-01T00:00:00Z",
        "/forecast",
        "/sources",
        "/books?verify=true",
        "/audit",
        "/people",
    ],
)
def test_answers_with_something_in_them_are_as_described(
    path: str, address: str, keys: tuple[str, str]
) -> None:
    with session_of(keys[0]) as session:
        answer = session.get(f"{address}/api/v1{path}")
        schema = schemathesis.openapi.from_dict(session.get(f"{address}/api/v1/openapi.json").json())
    operation = schema[f"/api/v1{path.partition('?')[0]}".replace("/import:0", "/{id}")]["GET"]
    assert answer.status_code == 200, answer.text
    operation.validate_response(answer)


def test_no_answer_is_described_as_just_anything(address: str, keys: tuple[str, str]) -> None:
    with session_of(keys[0]) as session:
        paths = session.get(f"{address}/api/v1/openapi.json").json()["paths"]
    loose = []
    for path, operations in paths.items():
        for method, operation in operations.items():
            for status, answer in operation["responses"].items():
                schema = answer.get("content", {}).get("application/json", {}).get("schema")
                of = (schema or {}).get("items", schema)
                if schema is not None and (not of or of.get("additionalProperties") is True):
                    loose.append((method, path, status))
    assert not loose


def unknown_parameter(failure: BaseException) -> bool:
    """Say whether the complaint is that a parameter that nobody knows was passed over, which is as it should be."""
    return type(failure).__name__ == "AcceptedNegativeData" and "additionalProperties" in str(failure)
