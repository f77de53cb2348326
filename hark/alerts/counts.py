"""What the rules count: mentions, bucket by bucket, for each series and each source.

Counted from the mentions themselves and not from the store's histograms: whether a mention was there in time, how
many authors wrote, how many follow them, and what is left when one source is taken out, no histogram says. A scan is
cheap (110,000 mentions a second on one core), and what is judged each time is five minutes of them.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from math import log10

from hark.alerts.rules import BETWEEN, BUCKET_SECONDS, Rule
from hark.alerts.terms import Saying, counted, terms_of
from hark.core.clock import from_ms, to_ms
from hark.core.mention import Mention
from hark.core.protocols import Hit, Store
from hark.query import parse
from hark.query.fields import Taxonomy, normal, values_of
from hark.query.match import Document, Matcher, MatcherSet

BUCKET_MS = BUCKET_SECONDS * 1000

Cell = dict[str, tuple[int, int]]
"""What a series counts in a bucket: source → (the metric, and what a share is taken of)."""
Cells = dict[str | None, Cell]
Counts = dict[int, Cells]
"""By the start of the bucket (ms); those that count nothing are left out."""
Timely = Callable[[Mention], bool]
Learned = int | Mapping[str, int | None] | None
IMPORTED = timedelta(days=1)
"""What comes so long after it was written was imported: what is late comes within hours."""


def timely(allowance_seconds: int, live_since: int | None, learned: int | None = None) -> Timely:
    """Return whether a mention had been collected when its bucket was judged.

    Buckets before `live_since` (ms) were not judged while they were new, but learned from: they count what had been
    collected at `learned` (ms), and without it what the store holds. An edit brings the time of its own collection
    and hides the first one: an edited mention counts as one that was there in time.
    """

    def test(mention: Mention) -> bool:
        start = to_ms(mention.created_at) // BUCKET_MS * BUCKET_MS
        if live_since is None or mention.edit:
            return True
        if start < live_since:
            return learned is None or to_ms(mention.collected_at) < learned
        return to_ms(mention.collected_at) < start + BUCKET_MS + allowance_seconds * 1000

    return test


def read(
    store: Store,
    rules: Sequence[Rule],
    taxonomy: Taxonomy,
    begin: int,
    end: int,
    live_since: int | None,
    learned: Learned = None,
) -> dict[str, Counts]:
    """Return what each rule counts from `begin` to `end` (ms, whole buckets), by its name, in one scan of the store.

    `live_since` and `learned` (of all rules, or by their names) as of `timely`. Raises TransientError while the store is away.
    """
    tally = _Tally(rules, taxonomy, live_since, learned, begin)
    # Whether a voice is a new one depends on a window of mentions before.
    earliest = min((begin - rule.window_seconds * 1000 for rule in rules if _of_terms(rule)), default=begin)
    # One rule's query narrows the scan; several share one that does not.
    query = rules[0].query if len(rules) == 1 else parse("")
    for hit in store.search(query, from_ms(max(earliest, 0)), from_ms(end), limit=None):
        tally.add(hit)
    return tally.counts()


def imported(
    store: Store,
    rule: Rule,
    begin: int,
    end: int,
    live_since: int | None,
    learned: int | None,
    blind: Mapping[int, frozenset[str]],
) -> float:
    """Return the share, 0 to 1, of a rule's mentions from `begin` to `end` (ms) that were imported later than judged.

    Those are collected a day and more after they were written, and not in time. What a source missed while it was
    away is not imported, but catches up. `live_since` and `learned` as of `timely`. Raises TransientError while the
    store is away.
    """
    in_time = timely(rule.allowance_seconds, live_since, learned)
    every = later = 0
    for hit in store.search(rule.query, from_ms(begin), from_ms(end), limit=None) if live_since else ():
        mention = hit.mention
        every += 1
        later += (
            mention.collected_at - mention.created_at >= IMPORTED
            and not in_time(mention)
            and mention.source not in blind.get(bucket_of(mention.created_at), ())
        )
    return later / every if every else 0.0


def authored(mention: Mention) -> str:
    """Return who wrote, as distinct authors are told apart within a source."""
    author = mention.author
    if author is None:
        return mention.id
    return (author.handle or author.id or author.name or mention.id).lower()


def copy_group(hit: Hit) -> str:
    """Return what a mention has in common with its reposts and copies."""
    return hit.enrichment.fingerprint or hit.mention.repost_of or hit.mention.id


def reach(mention: Mention) -> int:
    """Return what a mention weighs: 1, and 1 more for each ten times as many who follow its author."""
    followers = mention.author.followers if mention.author is not None else None
    return 1 + int(log10(1 + max(0, followers or 0)))


class _Tally:
    """Counts as mentions come, in any order."""

    def __init__(
        self,
        rules: Sequence[Rule],
        taxonomy: Taxonomy,
        live_since: int | None,
        learned: Learned,
        begin: int,
    ) -> None:
        self._rules = rules
        self._begin = begin
        self._taxonomy = taxonomy
        self._matching = MatcherSet([rule.query for rule in rules])
        self._parts = [None if rule.part is None else Matcher(rule.part) for rule in rules]
        every = [learned.get(rule.name) if isinstance(learned, Mapping) else learned for rule in rules]
        kept = {
            key: timely(key[0], live_since, key[1])
            for key in {(rule.allowance_seconds, at) for rule, at in zip(rules, every, strict=True)}
        }
        self._timely = [kept[rule.allowance_seconds, at] for rule, at in zip(rules, every, strict=True)]
        self._counts: list[dict[int, dict[str | None, dict[str, list[int]]]]] = [{} for _ in rules]
        self._authors: list[dict[tuple[int, str | None, str], set[str]]] = [{} for _ in rules]
        self._said: list[list[Saying]] = [[] for _ in rules]

    def add(self, hit: Hit) -> None:
        mention = hit.mention
        document = Document(mention, hit.enrichment, self._taxonomy)
        start = to_ms(mention.created_at) // BUCKET_MS * BUCKET_MS
        negative = hit.enrichment.sentiment.label == "negative"
        terms: tuple[str, ...] | None = None
        for index in self._matching.matches(document):
            rule = self._rules[index]
            if not self._timely[index](mention):
                continue
            if _of_terms(rule):
                if rule.metric == "count" or negative:
                    terms = terms_of(hit) if terms is None else terms
                    self._said[index].append(self._saying(rule, hit, start, terms))
                continue
            if start < self._begin:
                continue
            part = self._parts[index]
            if rule.metric == "share":
                value = int(part is not None and part.matches(document))
            elif rule.metric == "complaints" or rule.metric == "share-negative":
                value = int(negative)
            elif rule.metric == "net-sentiment":
                value = int(hit.enrichment.sentiment.label == "positive") - int(negative)
            else:
                value = reach(mention) if rule.metric == "reach" else 1
            cells = self._counts[index].setdefault(start, {})
            for group in groups(rule, hit, self._taxonomy):
                cell = cells.setdefault(group, {}).setdefault(mention.source, [0, 0])
                if rule.metric == "authors":
                    seen = self._authors[index].setdefault((start, group, mention.source), set())
                    before = len(seen)
                    seen.add(authored(mention))
                    value = len(seen) - before
                cell[0] += value
                cell[1] += 1

    def _saying(self, rule: Rule, hit: Hit, start: int, terms: tuple[str, ...]) -> Saying:
        mention = hit.mention
        of = tuple(groups(rule, hit, self._taxonomy))
        author = f"{mention.source}:{authored(mention)}"
        return Saying(
            to_ms(mention.created_at), mention.id, start, of, mention.source, author, copy_group(hit), terms
        )

    def counts(self) -> dict[str, Counts]:
        return {
            rule.name: counted(said, rule.window_seconds * 1000, self._begin, BETWEEN)
            if _of_terms(rule)
            else {
                start: {
                    group: {source: (cell[0], cell[1]) for source, cell in by.items()}
                    for group, by in cells.items()
                }
                for start, cells in sorted(found.items())
            }
            for rule, found, said in zip(self._rules, self._counts, self._said, strict=True)
        }


def _of_terms(rule: Rule) -> bool:
    return rule.detector == "new-term"


def groups(rule: Rule, hit: Hit, taxonomy: Taxonomy) -> Iterable[str | None]:
    """Return the series of `rule` that a mention counts in."""
    if not rule.group_by:
        return (None,)
    first = _values(rule.group_by[0], hit, taxonomy)
    if len(rule.group_by) == 1:
        return first
    second = _values(rule.group_by[1], hit, taxonomy)
    return [f"{one}{BETWEEN}{other}" for one in first for other in second]


def _values(name: str, hit: Hit, taxonomy: Taxonomy) -> list[str]:
    """Return the values of a field, as the store's histograms name them; the frequent ones without detours."""
    if name == "brand":
        return [normal(brand) for brand in hit.enrichment.brands]
    if name == "topic":
        topics = [normal(topic.id) for topic in hit.enrichment.topics]
        above = [parent for topic in topics for parent in taxonomy.get(topic, ())]
        return list(dict.fromkeys((*topics, *above)))
    if name == "source":
        return [normal(hit.mention.source)]
    found = values_of(name, hit.mention, hit.enrichment, taxonomy)
    return [value.replace(BETWEEN, " x ") for value in found]


def bucket_of(moment: datetime) -> int:
    """Return the start (ms) of the bucket that `moment` is in."""
    return to_ms(moment) // BUCKET_MS * BUCKET_MS


def closes(start: int, allowance_seconds: int) -> datetime:
    """Return when the bucket that begins at `start` (ms) is judged."""
    return from_ms(start + BUCKET_MS) + timedelta(seconds=allowance_seconds)
