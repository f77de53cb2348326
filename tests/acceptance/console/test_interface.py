"""The HTTP interface against its own description, with requests that schemathesis makes up."""

from collections.abc import Iterator

import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance

from hark import settings as settings_module
from hark.console.app import create_app
from hark.wiring import console_of

SLOW = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]


@pytest.fixture(scope="module")
def interface(tmp_path_factory: pytest.TempPathFactory) -> Iterator[schemathesis.BaseSchema]:
    loaded = settings_module.load(None, tmp_path_factory.mktemp("interface"))
    with console_of(loaded) as center:
        center.people.add("root", "admin", "a password of no use")
        _, secret = center.people.make_key("test", "root", ["admin"])
        app: FastAPI = create_app(center)
        headers = {"Authorization": f"Bearer {secret}", "Host": "localhost"}
        schema = schemathesis.openapi.from_asgi("/api/v1/openapi.json", app, headers=headers)
        schema.config.update(headers=headers)
        # A stream has no end to wait for; tests/acceptance/console/test_feed.py reads it.
        yield schema.exclude(path_regex="stream")


def test_every_answer_is_as_described(interface: schemathesis.BaseSchema) -> None:
    operations = [result.ok() for result in interface.get_all_operations()]
    assert len(operations) > 4
    for operation in operations:

        @given(case=operation.as_strategy())
        @settings(max_examples=5, suppress_health_check=SLOW, derandomize=True, database=None)
        def answers(case: schemathesis.Case) -> None:
            # No schema says what a query or a time zone is: a 400 with its reason is right for those.
            case.call_and_validate(excluded_checks=[positive_data_acceptance], timeout=60)

        answers()
