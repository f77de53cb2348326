"""Taxonomy and quality: the tree, what to label next, how good the tags are, and generations of them."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request, Response
from msgspec import Struct

from hark.console.access import Asker, allow
from hark.console.api.quality import drift_of, quality_of
from hark.console.center import Center, Parts, Visible
from hark.console.page import fragment, page
from hark.console.view import Shown
from hark.labelling import agreements, queue
from hark.query.fields import ancestors
from hark.settings import read_toml
from hark.state.labels import Labels

router = APIRouter(include_in_schema=False)
Tag = Annotated[Literal["sentiment", "topic"], Query()]
SENTIMENTS = ("negative", "neutral", "positive")
_MOST = 50


class TopicNode(Struct, frozen=True):
    """One topic of the taxonomy, with what it had in the range: those below it are counted in."""

    id: str
    title: str
    depth: int
    phrases: int
    mentions: int


@router.get("/quality", dependencies=[allow("quality")])
def show_taxonomy(request: Request, view: Shown, center: Parts, store: Visible) -> Response:
    """Show the tree of topics, with how much is said of each."""
    return page(request, "quality.html", tab="taxonomy", nodes=_tree(center, dict(_counts(view, store))))


@router.get("/quality/queue", dependencies=[allow("quality")])
def show_queue(request: Request, tag: Tag = "sentiment") -> Response:
    """Show what to label next; chosen from thousands of mentions after the frame stands."""
    return page(request, "quality_queue.html", tab="queue", tag=tag, body_query=request.url.query)


@router.get("/quality/queue/body", dependencies=[allow("quality")])
def show_queue_body(
    view: Shown, center: Parts, store: Visible, who: Asker, tag: Tag = "sentiment"
) -> Response:
    """Return the queue, as a piece of the page: the disputed first, then the least sure."""
    found = queue(store, Labels(center.state), view.query, view.since, view.until, tag, _MOST)
    html = fragment(
        "quality_queue_body.html",
        tag=tag,
        found=found,
        sentiments=SENTIMENTS,
        view=view,
        who=who,
        topics=center.topics,
        path="/quality/queue",
    )
    return Response(html, media_type="text/html")


@router.get("/quality/scores", dependencies=[allow("quality")])
def show_scores(request: Request, center: Parts, tag: Tag = "sentiment") -> Response:
    """Show how good the tags are, measured after the frame stands, and how far they have moved."""
    return page(
        request, "quality_scores.html", tab="scores", tag=tag, drift=drift_of(center), topics=center.topics
    )


@router.get("/quality/scores/body", dependencies=[allow("quality")])
def show_scores_body(center: Parts, tag: Tag = "sentiment") -> Response:
    """Return the measured scores, as a piece of the page."""
    found = quality_of(center, tag)
    agreed = agreements(Labels(center.state).all(tag))
    html = fragment("quality_scores_body.html", found=found, agreed=agreed, topics=center.topics)
    return Response(html, media_type="text/html")


@router.get("/quality/versions", dependencies=[allow("quality")])
def show_versions(request: Request, center: Parts) -> Response:
    """Show the generations of tags, and what one can do with them."""
    return page(request, "quality_versions.html", tab="versions", generations=center.reprocessing.overview())


def _counts(view: Shown, store: Visible) -> list[tuple[str, int]]:
    return store.top(view.query, "topic", view.since, view.until, limit=1_000)


def _tree(center: Center, counts: dict[str, int]) -> list[TopicNode]:
    from enrich.phrasebook import Taxonomy as TopicsFile

    topics = read_toml(center.settings.config / "topics.toml", TopicsFile).topic
    above = ancestors({topic.id: [topic.parent] if topic.parent else [] for topic in topics})
    found: list[TopicNode] = []

    def add(parent: str | None) -> None:
        for topic in topics:
            if (topic.parent or None) == parent:
                phrases = len(topic.strong) + len(topic.phrases) + len(topic.weak)
                depth = len(above.get(topic.id, ()))
                found.append(
                    TopicNode(topic.id, topic.title or topic.id, depth, phrases, counts.get(topic.id, 0))
                )
                add(topic.id)

    add(None)
    return found
