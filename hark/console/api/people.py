"""People and the audit log, for programs of administrators."""

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Query

from hark.console.access import allow
from hark.console.center import Parts
from hark.console.described import answers
from hark.state.people import Entry, Person

router = APIRouter(prefix="/api/v1", tags=["administration"])


@router.get("/people", dependencies=[allow("admin")], response_model=None, responses=answers(list[Person]))
def list_people(center: Parts) -> list[dict[str, Any]]:
    """Return who may sign in, with role, brands and whether they are disabled."""
    found: list[dict[str, Any]] = msgspec.to_builtins(center.people.everyone())
    return found


@router.get("/audit", dependencies=[allow("admin")], response_model=None, responses=answers(list[Entry]))
def list_audit(
    center: Parts,
    person: Annotated[str | None, Query(max_length=64, description="Only what this person did")] = None,
    action: Annotated[
        str | None, Query(max_length=64, description="Only this action, such as exported")
    ] = None,
    before: Annotated[
        int | None, Query(ge=0, le=2**31 - 1, description="The id of the last line of the page before")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
) -> list[dict[str, Any]]:
    """Return who did and saw what, newest first."""
    found: list[dict[str, Any]] = msgspec.to_builtins(center.people.audit(person, action, before, limit))
    return found
