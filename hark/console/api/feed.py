"""The live feed for programs, labels that people give, and personal data shown on request."""

import re
from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Header, HTTPException, Query, Request, Response
from pydantic import BaseModel, Field

from hark.console.access import Asker, allow
from hark.console.center import Parts, Visible
from hark.console.mention import reveal
from hark.console.pages.feed import stream
from hark.console.said import pieces
from hark.core.change import Labelled, Tagged
from hark.core.errors import SettingsError
from hark.core.mention import flat
from hark.core.protocols import Hit
from hark.labelling import give
from hark.query import parse
from hark.state.labels import Labels

router = APIRouter(prefix="/api/v1", tags=["feed"])
_WORD = r"^[a-z0-9][a-z0-9-]{0,60}$"
_NOT_HERE = "This mention is not here: it was deleted, or never collected."


class Label(BaseModel):
    """A tag as a person corrects it. `topic` and `brand` take several ids, separated by commas."""

    id: str = Field(max_length=2_000, description="The mention's id.", examples=["x:1234"])
    tag: Literal["sentiment", "topic", "brand", "intent", "urgency"]
    value: str = Field(max_length=1_000, description="The new value; empty takes the tag away.")


class Named(BaseModel):
    """A mention, by its id."""

    id: str = Field(max_length=2_000, examples=["x:1234"])


class Ids(BaseModel):
    """Mentions, by their ids."""

    ids: list[Annotated[str, Field(max_length=2_000)]] = Field(max_length=1_000)


class Gone(BaseModel):
    """Which of the mentions asked for were deleted."""

    deleted: list[str]


class Text(BaseModel):
    """A text, in pieces: plain ones and those that are personal data."""

    pieces: list[dict[str, str]]


@router.get(
    "/stream",
    dependencies=[allow("feed")],
    response_class=Response,
    responses={200: {"content": {"text/event-stream": {}}}, 400: {}, 503: {}},
)
async def stream_mentions(
    request: Request,
    center: Parts,
    who: Asker,
    q: Annotated[str, Query(max_length=10_000, description="A query; empty: everything.")] = "",
    last_event_id: Annotated[str, Header(max_length=20_000)] = "",
) -> Response:
    """Stream mentions as they are tagged, by server-sent events; `Last-Event-ID` continues where one was.

    Events: `begin` (`reset` true: too much was missed, search for it), `mention` (its fields flat, `enrichment`
    beside them, personal data masked), `changed` (edited, and it does not match any more), `gone` (deleted),
    `labelled`, `sampled` (`skipped` mentions were left out, as the reader is slower than the feed), `over` (the
    session or key has ended).
    """
    return await stream(request, center, who, parse(q), whole, last_event_id)


@router.post("/labels", dependencies=[allow("label")], status_code=202, responses={404: {}, 400: {}})
def label(given: Label, center: Parts, store: Visible, who: Asker) -> dict[str, str]:
    """Correct a tag. What a person says stands above every model and is kept; it is in the store in a second or so."""
    if store.get(given.id) is None:
        raise HTTPException(404, _NOT_HERE)
    value = checked(given, list(center.topics), [brand.name for brand in center.settings.brands])
    said = Labelled(given.id, given.tag, value, who.name, center.clock())
    give([said], Labels(center.state, center.clock), center.bus)
    center.people.note(who.name, "labelled", f"{given.id} {given.tag}: {value}", who.address)
    return {"id": given.id, "tag": given.tag, "value": value, "by": who.name}


@router.post("/reveal", dependencies=[allow("reveal")], responses={404: {}})
def show_personal_data(given: Named, center: Parts, store: Visible, who: Asker) -> Text:
    """Return a mention's text with its personal data. That it was looked at, by whom and when, is kept."""
    hit = store.get(given.id)
    if hit is None:
        raise HTTPException(404, _NOT_HERE)
    found = reveal(hit, center.people, who.name, who.address)
    return Text(pieces=[{"text": piece.text, "kind": piece.kind} for piece in found])


@router.post("/deleted", dependencies=[allow("feed")])
def which_are_deleted(given: Ids, center: Parts) -> Gone:
    """Return which of these mentions were deleted; for a screen that shows them."""
    _, known = center.whole_store.account(given.ids)
    return Gone(deleted=[id for id in given.ids if known.get(id) == "deleted"])


def whole(item: Tagged) -> dict[str, object]:
    """Return a mention for programs, its personal data masked."""
    hit = Hit(item.mention, item.enrichment)
    text = "".join(piece.text for piece in pieces(hit, longest=None))
    found: dict[str, Any] = flat(msgspec.structs.replace(item.mention, text=text), item.enrichment)
    return found


def checked(given: Label, topics: list[str], brands: list[str]) -> str:
    """Return the label's value in its plain form; SettingsError says what was expected."""
    values = [value.strip() for value in given.value.split(",") if value.strip()]
    known = {"sentiment": ["negative", "neutral", "positive"], "topic": topics, "brand": brands}.get(
        given.tag
    )
    if given.tag in ("sentiment", "intent", "urgency") and len(values) > 1:
        raise SettingsError(f"{given.tag}: expected one value, found {len(values)}")
    if given.tag == "sentiment" and not values:
        raise SettingsError("sentiment: expected negative, neutral or positive")
    for value in values:
        if known is not None and value not in known:
            raise SettingsError(f"{given.tag}: expected one of {', '.join(known)}, found {value[:60]!r}")
        if known is None and not re.match(_WORD, value):
            raise SettingsError(
                f"{given.tag}: expected lower-case letters, digits and -, found {value[:60]!r}"
            )
    return ",".join(dict.fromkeys(values))
