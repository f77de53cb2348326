"""The search screen: mentions that match a query, what the query means, and searches kept under a name."""

from collections.abc import Collection
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from msgspec import Struct

from hark.console.access import Asker, Who, allow
from hark.console.api.search import seen, told_saved, told_search
from hark.console.center import Center, Parts, Visible
from hark.console.found import row_pieces
from hark.console.page import iso, page
from hark.console.said import Piece
from hark.console.view import Shown, View
from hark.core.errors import SettingsError
from hark.core.protocols import Hit, Store
from hark.query.fields import FIELDS
from hark.query.pages import MOST_RANKED, ORDERS, Order
from hark.query.pages import page as page_of
from hark.query.patience import INTERACTIVE_SECONDS, within
from hark.query.unknown import unnamed
from hark.state.searches import SavedSearches

router = APIRouter(include_in_schema=False)
A_PAGE = 50
_ORDER_TITLES = {"newest": "Newest", "relevance": "Relevance", "sample": "Sample"}
OPERATORS = (
    ("delayed", "the word, in capitals or not"),
    ('"love field"', "these words, one right after the other"),
    ("bag OR luggage", "at least one of them"),
    ("bag lost", "both, anywhere"),
    ("bag -hiring", "the first without the second; NOT says the same"),
    ("(bag OR luggage) lost", "parentheses group"),
    ("delay*", "words that begin so; ? stands for one letter"),
    ("bag NEAR/5 lost", "at most five words between, in any order"),
    ("bag ONEAR/5 lost", "the same, in this order"),
    ("@southwestair", "the handle; #swa is the hashtag"),
)
"""Examples of the language, each with what it finds; every one can be parsed."""


class Row(Struct, frozen=True):
    """A mention in the list, and its text around what was found."""

    hit: Hit
    found: list[Piece]


class Results(Struct, frozen=True):
    """A page of what was found, or why there is none."""

    rows: list[Row]
    older: str | None
    note: str = ""
    problem: str = ""


@router.get("/search", dependencies=[allow("search")])
def show_search(
    request: Request,
    view: Shown,
    store: Visible,
    center: Parts,
    who: Asker,
    order: Annotated[str, Query(max_length=20)] = "newest",
    after: Annotated[str | None, Query(max_length=10_000)] = None,
    saved: Annotated[str, Query(max_length=100)] = "",
) -> Response:
    """Show a page of what matches; how many there are is fetched by the page, since it may take two seconds."""
    chosen: Order = next((each for each in ORDERS if each == order), "newest")
    results = _results(view, store, center, chosen, after)
    if not view.error:
        told = told_search(view.text, _told_range(view), chosen, after)
        center.people.note(who.name, "searched", told, who.address)
    searches = [told_saved(one, who) for one in seen(SavedSearches(center.state), who)]
    current = next((one for one in searches if one.name == saved), None)
    return page(
        request,
        "search.html",
        results=results,
        unnamed=[] if results.rows else unnamed(view.query, _named(center, who)),
        order=chosen,
        orders=_ORDER_TITLES,
        after=after,
        asked=_asked(view),
        searches=searches,
        current=current,
        operators=OPERATORS,
        fields=[(field.name, _example(field.name, field.example, center), field.help) for field in FIELDS],
    )


def _results(view: View, store: Store, center: Center, order: Order, after: str | None) -> Results:
    if view.error:
        return Results([], None)
    try:
        with within(INTERACTIVE_SECONDS):
            found = page_of(
                store,
                view.query,
                view.since,
                view.until,
                order=order,
                limit=A_PAGE,
                after=after,
                taxonomy=center.taxonomy,
            )
    except SettingsError as error:  # too slow, or a cursor of another query
        return Results([], None, problem=str(error))
    rows = [Row(hit, row_pieces(hit, view.query, center.taxonomy)) for hit in found.hits]
    note = ""
    if order == "relevance" and found.ranked is None and rows:
        note = "This query has no words to compare, so the newest come first."
    elif found.cut:
        note = f"Compared were the newest {MOST_RANKED:,}; older ones are on no page of this order."
    elif order == "sample" and rows:
        note = "By chance, and always the same ones: the first fifty are a sample of fifty, and so on."
    return Results(rows, found.after, note)


def _named(center: Center, who: Who) -> dict[str, Collection[str]]:
    """Return the topics and brands that there are; who sees some brands alone is not told of the others."""
    if who.brands is not None:
        return {"topic": center.topics}
    return {"topic": center.topics, "brand": [brand.name for brand in center.settings.brands]}


def _told_range(view: View) -> str:
    return f"last {view.last}" if view.last else f"{iso(view.since)} to {iso(view.until)}"


def _asked(view: View) -> dict[str, str]:
    """Return the view as the HTTP interface takes it."""
    if view.last:
        return {"q": view.text, "last": view.last}
    return {"q": view.text, "since": iso(view.since), "until": iso(view.until)}


def _example(name: str, example: str, center: Center) -> str:
    """Return the example of a field, with a brand or topic that there is."""
    own = {"brand": [brand.name for brand in center.settings.brands], "topic": list(center.topics)}.get(name)
    return f"{name}:{own[0]}" if own else example
