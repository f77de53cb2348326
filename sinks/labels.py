"""What persons said about tags, laid over what the models said; the same for every store."""

from collections.abc import Iterable

import msgspec

from hark.core.change import Labelled
from hark.core.mention import Enrichment, Reason, Sentiment, Topic

TAGS = ("brand", "intent", "sentiment", "topic", "urgency")
"""The tags that a person may set."""

_SCORES = {"positive": 1.0, "negative": -1.0}


def refusal(label: Labelled) -> str | None:
    """Return why a label can never be applied, or None when it can."""
    if label.tag not in TAGS:
        return f"no tag {label.tag!r} can be set by a person; expected one of: {', '.join(TAGS)}"
    if label.tag == "sentiment" and not label.value.strip():
        return "a sentiment's label is empty"
    return None


def standing(labels: Iterable[Labelled]) -> list[Labelled]:
    """Return the labels that stand, one a tag, in the order of tags: the latest, whatever order they came in."""
    newest: dict[str, Labelled] = {}
    for label in labels:
        other = newest.get(label.tag)
        if other is None or _rank(label) > _rank(other):
            newest[label.tag] = label
    return [newest[tag] for tag in sorted(newest)]


def apply(enrichment: Enrichment, labels: Iterable[Labelled]) -> Enrichment:
    """Return `enrichment` with the labels that stand: confidence 1, and the person as the reason.

    Applying some labels and then all of them is the same as applying all at once, so that the outcome does
    not depend on when a label arrived.
    """
    chosen = standing(labels)
    if not chosen:
        return enrichment
    changed: dict[str, object] = {}
    for label in chosen:
        changed[label.tag + "s" if label.tag in ("brand", "topic") else label.tag] = _value(
            enrichment, label.tag, label.value
        )
    tags = {label.tag for label in chosen}
    kept = tuple(reason for reason in enrichment.reasons if reason.tag.partition(":")[0] not in tags)
    given = tuple(Reason(label.tag, f"labelled by {label.by}", 1.0) for label in chosen)
    return msgspec.structs.replace(enrichment, **changed, reasons=kept + given)


def _rank(label: Labelled) -> tuple[float, str, str]:
    return label.at.timestamp(), label.by, label.value


def _value(enrichment: Enrichment, tag: str, value: str) -> object:
    if tag == "sentiment":
        label = value.strip()
        return Sentiment(label, _SCORES.get(label.lower(), 0.0), 1.0, enrichment.sentiment.vader)
    if tag in ("brand", "topic"):
        names = dict.fromkeys(name.strip() for name in value.split(",") if name.strip())
        return tuple(names) if tag == "brand" else tuple(Topic(name, 1.0) for name in names)
    return value.strip() or None
