"""The query language's reader in memory: which of many queries match a mention, and where.

What the stores must agree with. The tokens of a mention are those of its title, a gap that no phrase and no NEAR
crosses, then those of its text. A word is there or not. A phrase is its words one right after the other. NEAR/n
wants one occurrence of each side, without overlap, with at most n tokens between their edges; ONEAR/n wants the
left one first. A field that a mention does not have is equal to nothing, neither greater nor less.
"""

import operator
import re
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property

from msgspec import Struct

from hark.core import tokens as tokenizer
from hark.core.mention import Enrichment, Mention
from hark.core.tree import All, And, Field, Near, Node, Not, Or, Phrase, Query, Term, Wildcard
from hark.query.fields import NO_TAXONOMY, Taxonomy, is_word, number, numbers_of, word, words_of
from hark.query.lexer import FARTHEST

_GAP = [""] * (FARTHEST + 1)
_COMPARE: Mapping[str, Callable[[int, int], bool]] = {
    "=": operator.eq,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}

Interval = tuple[int, int]
"""First and last position in a document's sequence, both included."""


class Document:
    """A mention as queries see it. Made once, asked by many; everything is computed when first needed.

    `title_tokens` and `text_tokens` spare the tokenizer where the caller has them already, and so does `text_words`
    (each token of the text once).
    """

    def __init__(
        self,
        mention: Mention,
        enrichment: Enrichment | None = None,
        taxonomy: Taxonomy = NO_TAXONOMY,
        text_tokens: Sequence[str] | None = None,
        title_tokens: Sequence[str] | None = None,
        text_words: frozenset[str] | None = None,
    ) -> None:
        self.mention = mention
        self.enrichment = enrichment
        self._taxonomy = taxonomy
        # What is known already is put where the cached properties would keep it.
        if text_tokens is not None:
            self.__dict__["text_tokens"] = text_tokens
        if title_tokens is not None or mention.title is None:
            self.__dict__["title_tokens"] = title_tokens or ()
        if text_words is not None and mention.title is None:
            self.__dict__["unique"] = text_words

    @cached_property
    def title_tokens(self) -> Sequence[str]:
        """The tokens of the title."""
        return tokenizer.tokens(self.mention.title) if self.mention.title else ()

    @cached_property
    def text_tokens(self) -> Sequence[str]:
        """The tokens of the text."""
        return tokenizer.tokens(self.mention.text)

    @cached_property
    def sequence(self) -> list[str]:
        """Title, gap and text, as positions are counted."""
        return [*self.title_tokens, *_GAP, *self.text_tokens] if self.title_tokens else [*self.text_tokens]

    @cached_property
    def unique(self) -> frozenset[str]:
        """Each token once."""
        found = frozenset(self.text_tokens)
        return found.union(self.title_tokens) if self.title_tokens else found

    @cached_property
    def positions(self) -> dict[str, list[int]]:
        """Where in the sequence each token stands, ascending."""
        found: dict[str, list[int]] = {}
        for position, token in enumerate(self.sequence):
            found.setdefault(token, []).append(position)
        return found

    @cached_property
    def words(self) -> frozenset[str]:
        """The filter tokens "name=value" of the word fields."""
        return frozenset(words_of(self.mention, self.enrichment, self._taxonomy))

    @cached_property
    def numbers(self) -> dict[str, int]:
        """The values of number and time fields."""
        return numbers_of(self.mention, self.enrichment)

    @cached_property
    def _offsets(self) -> list[tuple[bool, int, int]]:
        """For each position of the sequence: whether it is in the title, and its characters from and to."""
        title = [(True, begin, end) for _, begin, end in tokenizer.spans(self.mention.title or "")]
        gap = [(True, 0, 0)] * len(_GAP) if title else []
        return title + gap + [(False, begin, end) for _, begin, end in tokenizer.spans(self.mention.text)]


class Highlights(Struct, frozen=True):
    """What matched, as (start, end) in characters: ascending, without overlap."""

    title: tuple[tuple[int, int], ...] = ()
    text: tuple[tuple[int, int], ...] = ()


class Matcher:
    """One query, ready to be asked about many documents. Pure; may be shared by threads."""

    def __init__(self, query: Query) -> None:
        self.query = query
        self._root = _compile(query.root)

    def matches(self, document: Document) -> bool:
        """Say whether the document matches."""
        return self._root.test(document)

    def spans(self, document: Document) -> Highlights:
        """Return what the words of the query found, nothing of what stands under NOT; empty if it does not match."""
        if not self._root.test(document):
            return Highlights()
        title: list[tuple[int, int]] = []
        text: list[tuple[int, int]] = []
        for first, last in self._root.occurrences(document):
            in_title, begin, _ = document._offsets[first]
            (title if in_title else text).append((begin, document._offsets[last][2]))
        return Highlights(_merged(title), _merged(text))


class MatcherSet:
    """Which of many queries match a document.

    Each query is filed under tokens of which a match has at least one; only those whose token occurs are asked.
    """

    def __init__(self, queries: Sequence[Query]) -> None:
        self._tests = [_compile(query.root).test for query in queries]
        self._always: list[int] = []
        self._filed: dict[str, list[int]] = {}
        self._beginnings: dict[int, dict[str, list[int]]] = {}
        self._asks_words = False
        for index, query in enumerate(queries):
            self._file(index, _needed(query.root))
        self._keys = frozenset(self._filed)

    def _file(self, index: int, needed: "frozenset[str] | None") -> None:
        if needed is None:
            self._always.append(index)
            return
        for key in needed:
            if _is_beginning(key):
                beginnings = self._beginnings.setdefault(len(key) - 1, {})
                beginnings.setdefault(key[:-1], []).append(index)
            else:
                self._asks_words = self._asks_words or "=" in key
                self._filed.setdefault(key, []).append(index)

    def matches(self, document: Document) -> tuple[int, ...]:
        """Return the indices of the queries that match, ascending."""
        candidates = set(self._always)
        for key in self._keys & document.unique:
            candidates.update(self._filed[key])
        if self._asks_words:
            for key in self._keys & document.words:
                candidates.update(self._filed[key])
        for length, beginnings in self._beginnings.items():
            for token in document.unique:
                if (found := beginnings.get(token[:length])) is not None:
                    candidates.update(found)
        if not candidates:
            return ()
        tests = self._tests
        return tuple([index for index in sorted(candidates) if tests[index](document)])


def compile_query(query: Query) -> Matcher:
    """Return the query's matcher."""
    return Matcher(query)


def occurrences_of(node: Node) -> Callable[[Document], list[Interval]]:
    """Return what tells where the words of one part of a query stand in a document."""
    return _compile(node).occurrences


class _Compiled(Struct, frozen=True):
    """A node ready to run: does it hold, and (for highlights and NEAR) where do its words stand."""

    test: Callable[[Document], bool]
    occurrences: Callable[[Document], list[Interval]]


def _compile(node: Node) -> _Compiled:
    match node:
        case All():
            return _Compiled(lambda document: True, _nowhere)
        case Term(token):
            return _Compiled(
                lambda document: token in document.unique,
                lambda document: [(at, at) for at in document.positions.get(token, ())],
            )
        case Wildcard():
            return _wildcards([node])
        case Phrase(parts):
            return _phrase(parts)
        case Near():
            return _near(node)
        case Field():
            return _field(node)
        case Not(child):
            test = _compile(child).test
            return _Compiled(lambda document: not test(document), _nowhere)
        case And(children):
            return _all_of(children)
        case Or(children):
            return _any_of(children)


def _nowhere(document: Document) -> list[Interval]:
    return []


def _wildcards(nodes: Sequence[Wildcard]) -> _Compiled:
    found = re.compile("|".join(_expression(node.pattern) for node in nodes), re.DOTALL).match

    def occurrences(document: Document) -> list[Interval]:
        return [(at, at) for token, places in document.positions.items() if found(token) for at in places]

    return _Compiled(lambda document: any(map(found, document.unique)), occurrences)


def _expression(pattern: str) -> str:
    """Return a regular expression for a pattern, which never goes back: time is linear in the token's length."""
    first, *others = [re.escape(part).replace(r"\?", ".") for part in pattern.split("*")]
    if not others:
        return rf"{first}\Z"
    middle = "".join(f"(?>.*?{part})" for part in others[:-1] if part)
    return first + middle + (rf".*{others[-1]}\Z" if others[-1] else "")


def _phrase(parts: Sequence[Term | Wildcard]) -> _Compiled:
    compiled = [(offset, part, _compile(part)) for offset, part in enumerate(parts)]
    # Words first, the longest first: they are the rarest.
    compiled.sort(key=lambda item: (isinstance(item[1], Wildcard), -len(_literal(item[1]))))
    present = frozenset(part.token for part in parts if isinstance(part, Term))
    last = len(parts) - 1

    def begins(document: Document) -> list[int]:
        if not present <= document.unique:
            return []
        starts: set[int] | None = None
        for offset, _, part in compiled:
            here = {first - offset for first, _ in part.occurrences(document)}
            starts = here if starts is None else starts & here
            if not starts:
                return []
        return sorted(starts or ())

    return _Compiled(
        lambda document: bool(begins(document)),
        lambda document: [(begin, begin + last) for begin in begins(document)],
    )


def _near(node: Near) -> _Compiled:
    left, right = _compile(node.left), _compile(node.right)

    def test(document: Document) -> bool:
        if not (left.test(document) and right.test(document)):
            return False
        lefts, rights = left.occurrences(document), right.occurrences(document)
        if any(_followed(lefts, rights, node.distance)):
            return True
        return not node.ordered and any(_followed(rights, lefts, node.distance))

    def occurrences(document: Document) -> list[Interval]:
        lefts, rights = left.occurrences(document), right.occurrences(document)
        found = _pairs(lefts, rights, node.distance)
        return found if node.ordered else found + _pairs(rights, lefts, node.distance)

    return _Compiled(test, occurrences)


def _followed(lefts: Iterable[Interval], rights: Iterable[Interval], distance: int) -> Iterator[bool]:
    """Say for each of `lefts` whether one of `rights` begins after it with at most `distance` tokens between."""
    begins = sorted(begin for begin, _ in rights)
    for _, end in lefts:
        at = bisect_left(begins, end + 1)
        yield at < len(begins) and begins[at] <= end + 1 + distance


def _pairs(lefts: Sequence[Interval], rights: Sequence[Interval], distance: int) -> list[Interval]:
    """Return those of `lefts` that one of `rights` follows within `distance`, and those of `rights` that follow."""
    found = [left for left, near in zip(lefts, _followed(lefts, rights, distance), strict=True) if near]
    mirrored_rights = [(-end, -begin) for begin, end in rights]
    mirrored_lefts = [(-end, -begin) for begin, end in lefts]
    preceded = _followed(mirrored_rights, mirrored_lefts, distance)
    return found + [right for right, near in zip(rights, preceded, strict=True) if near]


def _field(node: Field) -> _Compiled:
    if is_word(node):
        token = word(node.name, node.value)
        return _Compiled(lambda document: token in document.words, _nowhere)
    compare, bound, name = _COMPARE[node.operator], number(node), node.name

    def test(document: Document) -> bool:
        value = document.numbers.get(name)
        return value is not None and compare(value, bound)

    return _Compiled(test, _nowhere)


def _all_of(children: Sequence[Node]) -> _Compiled:
    compiled = [(child, _compile(child)) for child in children]
    tokens = frozenset(child.token for child in children if isinstance(child, Term))
    words = _words(children)
    # The cheap ones decide first.
    rest = [part.test for child, part in compiled if not (isinstance(child, Term) or _is_word(child))]

    def test(document: Document) -> bool:
        if not tokens <= document.unique or (words and not words <= document.words):
            return False
        return all(part(document) for part in rest)

    return _Compiled(test, lambda document: [at for _, part in compiled for at in part.occurrences(document)])


def _any_of(children: Sequence[Node]) -> _Compiled:
    tokens = frozenset(child.token for child in children if isinstance(child, Term))
    words = _words(children)
    patterns = [child for child in children if isinstance(child, Wildcard)]
    others = [
        _compile(child) for child in children if not (isinstance(child, Term | Wildcard) or _is_word(child))
    ]
    if patterns:
        others.insert(0, _wildcards(patterns))
    tests = [part.test for part in others]

    def test(document: Document) -> bool:
        if not tokens.isdisjoint(document.unique) or (words and not words.isdisjoint(document.words)):
            return True
        return any(part(document) for part in tests)

    def occurrences(document: Document) -> list[Interval]:
        found = [(at, at) for token in tokens for at in document.positions.get(token, ())]
        for part in others:
            if part.test(document):
                found += part.occurrences(document)
        return found

    return _Compiled(test, occurrences)


def _is_word(node: Node) -> bool:
    return isinstance(node, Field) and is_word(node)


def _words(children: Iterable[Node]) -> frozenset[str]:
    return frozenset(
        word(child.name, child.value) for child in children if isinstance(child, Field) and is_word(child)
    )


def _literal(part: Term | Wildcard) -> str:
    return part.token if isinstance(part, Term) else part.pattern.partition("*")[0].partition("?")[0]


def _needed(node: Node) -> frozenset[str] | None:
    """Return keys of which every match has one: tokens, filter tokens ("name=value"), beginnings ("abc*").

    None: nothing can be said.
    """
    match node:
        case Term(token):
            return frozenset({token})
        case Wildcard():
            return frozenset({_literal(node) + "*"}) if _literal(node) else None
        case Field() if is_word(node):
            return frozenset({word(node.name, node.value)})
        case Phrase(children) | And(children):
            return _best([_needed(child) for child in children])
        case Near(left, right):
            return _best([_needed(left), _needed(right)])
        case Or(children):
            found: set[str] = set()
            for child in children:
                needed = _needed(child)
                if needed is None:
                    return None
                found |= needed
            return frozenset(found)
        case _:
            return None


def _best(choices: Sequence[frozenset[str] | None]) -> frozenset[str] | None:
    """Return the set that lets the fewest documents through, as far as one can tell without counting."""
    known = [choice for choice in choices if choice is not None]
    return min(known, key=lambda keys: sum(_weight(key) for key in keys), default=None)


def _weight(key: str) -> float:
    # Filters cost the computing of all filter words, beginnings a look at every token; short words are frequent.
    if "=" in key:
        return 100.0
    if _is_beginning(key):
        return 50.0 / len(key)
    return 1.0 + 4.0 / len(key)


def _is_beginning(key: str) -> bool:
    # A filter token may end in a star of its own.
    return key.endswith("*") and "=" not in key


def _merged(spans: list[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    merged: list[tuple[int, int]] = []
    for begin, end in sorted(spans):
        if merged and begin < merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((begin, end))
    return tuple(merged)
