"""What to label next, how good the tags are on people's own labels, and generations of tags."""

import contextlib
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, HTTPException, Query
from pydantic import BaseModel, Field

from hark.console.access import Asker, allow
from hark.console.center import Center, Parts, Visible
from hark.console.described import answers
from hark.console.said import told
from hark.core.errors import SettingsError
from hark.difference import Difference, difference
from hark.drift import Drift, drift
from hark.generations import Progress
from hark.labelling import Agreement, Quality, agreements, measured, queue
from hark.query import parse
from hark.state.drift import TagCounts
from hark.state.labels import Labels

router = APIRouter(prefix="/api/v1", tags=["quality"])
Tag = Literal["sentiment", "topic"]
_DAYS = timedelta(days=7)
_TREND_DAYS = timedelta(days=30)
_WRONG: dict[int | str, dict[str, Any]] = {400: {"description": "It cannot be done now; `detail` says why"}}


class Doubt(BaseModel):
    """A mention to label: what the machine says, how sure it is, and whether people disagree."""

    id: str
    text: str
    said: str
    confidence: float
    disputed: bool


class Start(BaseModel):
    """From when on history is tagged again (all of it when left out), and at most how many mentions a second."""

    since: datetime | None = None
    rate: float = Field(0, ge=0, le=1_000_000, description="0: what the machine has left")


@router.get("/labels/queue", dependencies=[allow("label")])
def show_queue(
    center: Parts,
    store: Visible,
    q: Annotated[str, Query(max_length=10_000)] = "",
    tag: Tag = "sentiment",
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> list[Doubt]:
    """Return the last week's mentions whose label would teach most: the disputed first, then the least sure."""
    found = queue(store, Labels(center.state), parse(q), center.clock() - _DAYS, None, tag, limit)
    return [
        Doubt(
            id=one.hit.mention.id,
            text=told(one.hit),
            said=one.says(tag),
            confidence=one.confidence,
            disputed=one.disputed,
        )
        for one in found
    ]


@router.get(
    "/labels/agreement",
    dependencies=[allow("quality")],
    response_model=None,
    responses=answers(list[Agreement]),
)
def show_agreement(center: Parts) -> list[dict[str, Any]]:
    """Return how far every two people agree who labelled the same mentions: Cohen's kappa with its interval."""
    found: list[dict[str, Any]] = msgspec.to_builtins(agreements(Labels(center.state).all()))
    return found


@router.get("/quality", dependencies=[allow("quality")], response_model=None, responses=answers(Quality))
def show_quality(center: Parts, tag: Tag = "sentiment") -> dict[str, Any]:
    """Tag every labelled mention anew and return how often that is what people said, with intervals.

    Takes a second, and another for every ten thousand labels. `scores` is null where nothing was labelled.
    """
    found: dict[str, Any] = msgspec.to_builtins(quality_of(center, tag))
    return found


@router.get(
    "/quality/drift", dependencies=[allow("quality")], response_model=None, responses=answers(Drift | None)
)
def show_drift(center: Parts) -> dict[str, Any] | None:
    """Return how far each tag has moved from what it was at training time, or in this version's first week.

    `index` is the population stability index, null while there is too little to compare; null as a whole where nothing
    was tagged yet.
    """
    found: dict[str, Any] | None = msgspec.to_builtins(drift_of(center))
    return found


def drift_of(center: Center) -> Drift | None:
    """Return how far the tags have moved."""
    return drift(TagCounts(center.state), center.clock)


def quality_of(center: Center, tag: str) -> Quality:
    """Return how good a tag is on people's own labels."""
    return measured(Labels(center.state).all(tag), center.whole_store, center.tagger().tag, tag)


@router.get(
    "/generations",
    dependencies=[allow("quality")],
    response_model=None,
    responses=answers(list[Progress]),
)
def list_generations(center: Parts) -> list[dict[str, Any]]:
    """Return the generations of tags that are kept: which one is shown, what made it, how far it is."""
    found: list[dict[str, Any]] = msgspec.to_builtins(center.reprocessing.overview())
    return found


@router.get(
    "/generations/difference",
    dependencies=[allow("quality")],
    response_model=None,
    responses={**answers(Difference), **_WRONG, 404: {}},
)
def show_difference(
    center: Parts,
    after: Annotated[
        int | None, Query(ge=0, le=1_000_000, description="The newest other one when left out")
    ] = None,
) -> dict[str, Any]:
    """Return what another generation changes against the one that is shown; takes 30 s a million mentions."""
    there = {each.number: each for each in center.reprocessing.overview()}
    serving = center.reprocessing.generations.serving()
    others = [number for number in there if number != serving]
    if not others:
        raise SettingsError("there is one generation of tags only: reprocess makes another")
    chosen = max(others) if after is None else after
    if chosen not in others:
        raise HTTPException(404, f"There is no generation {chosen} beside the one that is shown")
    moment = center.clock()
    with (
        contextlib.closing(center.reprocessing.open_store(serving)) as old,
        contextlib.closing(center.reprocessing.open_store(chosen)) as new,
    ):
        found = difference(
            (serving, chosen), old, new, there[chosen].since, (moment - _TREND_DAYS, moment), 3
        )
    shown: dict[str, Any] = msgspec.to_builtins(found)
    return shown


@router.post("/generations", dependencies=[allow("reprocess")], status_code=201, responses=_WRONG)
def start_generation(center: Parts, who: Asker, given: Start) -> dict[str, int]:
    """Tag history again, beside the tags that are shown, with the settings as they are now."""
    number = center.reprocessing.start(given.since, rate=given.rate)
    center.people.note(who.name, "reprocessing begun", f"generation {number}", who.address)
    return {"generation": number}


@router.post("/generations/{act}", dependencies=[allow("reprocess")], responses=_WRONG)
def change_generation(
    center: Parts, who: Asker, act: Literal["promote", "rollback", "drop"]
) -> dict[str, int]:
    """Show the other generation (promote), the one that was shown before (rollback), or remove the other (drop)."""
    number = getattr(center.reprocessing, act)()
    center.people.note(who.name, f"reprocessing: {act}", f"generation {number}", who.address)
    return {"generation": number}
