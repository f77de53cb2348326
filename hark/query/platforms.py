"""A query as the platforms' own filters: X's filtered stream and recent search, Reddit's search.

Each translation lets through everything that the query matches, and more; the local match then decides. What a
platform cannot say is left out in the direction of more, and listed:

- a pattern, a field, a Chinese or Japanese word, an emoji: nobody says how the platform would match it; within
  OR it takes the whole alternative list with it
- a phrase becomes its words joined by AND, for the platform counts links and possessive endings between words
- NEAR becomes AND
- NOT stays only for what the platform matches exactly as Hark does, and that is authors on X. A word is not of
  that kind: X finds `delta` inside `#delta` too; nor is a handle: `@delta.com` names @delta for X, not for Hark

What no filter says: X takes letters as they are, where Hark folds fullwidth and mathematical ones; and it takes
`@name` or `#name` glued to the end of a word for no handle and no hashtag.

X's operators: docs.x.com, "Build a rule" and "Operators" (read 2026-11): space is AND and binds before OR, words
match whole tokens without regard to case.
"""

import re
from collections.abc import Callable, Sequence

from msgspec import Struct

from hark.core.errors import SettingsError
from hark.core.tokens import LONGEST_TOKEN
from hark.core.tree import All, And, Field, Near, Node, Not, Or, Phrase, Query, Term
from hark.query.explain import text_of

X_RULE_CHARACTERS = 1_024
X_SEARCH_CHARACTERS = 512
REDDIT_SEARCH_CHARACTERS = 512

_X_HANDLE = re.compile(r"@?[a-z0-9_]{1,15}", re.ASCII)
_X_HASHTAG = re.compile(r"#[a-z0-9_]*[a-z][a-z0-9_]*", re.ASCII)
_BARE = re.compile(r"[^\W_]+")
# Chinese, Japanese, Thai, Lao, Burmese, Khmer: written without spaces, cut into words by rules of one's own.
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003134f]"
)
_RESERVED = frozenset({"and", "or", "not"})


class Translation(Struct, frozen=True):
    """What a platform is asked: all filters together let through whatever the query matches.

    `dropped` lists what could not be said. Without filters `problem` says why the platform cannot filter.
    """

    filters: tuple[str, ...]
    dropped: tuple[str, ...]
    problem: str = ""


class _Both(Struct, frozen=True):
    parts: tuple["_Filter", ...]


class _Either(Struct, frozen=True):
    parts: tuple["_Filter", ...]


_Filter = str | _Both | _Either
"""A leaf is in the platform's words; one that begins with - forbids, and stands beside others in _Both alone."""


class _Platform(Struct, frozen=True):
    name: str
    longest: int
    conjunction: str
    word: Callable[[str], str | None]
    """A token in the platform's words, None where it has none."""
    author: Callable[[str], str | None]
    forbids: bool
    """Whether NOT can be said of authors."""


def translate(query: Query, platform: str) -> Translation:
    """Return what a platform (one of PLATFORMS) is asked for a query."""
    return _translate(query.root, _PLATFORMS[platform])


def x_rules(queries: Sequence[Query]) -> tuple[str, ...]:
    """Return rules for X's filtered stream, each of at most 1,024 characters, that let every query's matches through.

    Raises SettingsError for a query that X cannot filter for.
    """
    return _filters(queries, _X_STREAM)


def x_searches(queries: Sequence[Query]) -> tuple[str, ...]:
    """Return queries for X's recent search, each of at most 512 characters, for the matches of all `queries`.

    Raises SettingsError for a query that X cannot search for.
    """
    return _filters(queries, _X_SEARCH)


def reddit_searches(queries: Sequence[Query]) -> tuple[str, ...]:
    """Return queries for Reddit's search of posts, each of at most 512 characters, for the matches of all `queries`.

    Raises SettingsError for a query that Reddit cannot search for.
    """
    return _filters(queries, _REDDIT)


def _filters(queries: Sequence[Query], platform: _Platform) -> tuple[str, ...]:
    for query in queries:
        if problem := _translate(query.root, platform).problem:
            raise SettingsError(f"{problem}: {_short(query.text)}")
    return _translate(Or(tuple(query.root for query in queries)), platform).filters if queries else ()


def _translate(root: Node, platform: _Platform) -> Translation:
    translator = _Translator(platform)
    whole = translator.wider(root)
    dropped = tuple(dict.fromkeys(translator.dropped))
    if whole is None:
        problem = f"{platform.name} cannot filter for this query: each alternative needs a whole word, handle or hashtag"
        return Translation((), dropped, problem)
    filters = translator.split(_absorbed(whole))
    return Translation(tuple(dict.fromkeys(filters)), tuple(dict.fromkeys(translator.dropped)))


class _Translator:
    def __init__(self, platform: _Platform) -> None:
        self.platform = platform
        self.dropped: list[str] = []

    def wider(self, node: Node) -> _Filter | None:
        """Return a filter that every match of `node` passes; None where that is everything."""
        match node:
            case Term(token):
                return self._kept(node, self.platform.word(token))
            case Field(name, "=", value) if name in ("hashtag", "mentions"):
                return self._kept(node, self.platform.word(("#" if name == "hashtag" else "@") + value))
            case Field("author", "=", value):
                return self._kept(node, self.platform.author(value))
            case Phrase(parts):
                self.dropped.append(f"the order of {text_of(node)}")
                return self._both(parts)
            case Near(left, right):
                self.dropped.append(f"the distance of {text_of(node)}")
                return self._both((left, right))
            case And(children):
                return self._both(children)
            case Or(children):
                return self._either(children)
            case All():
                return None
            case _:
                return self._kept(node, None)

    def _kept(self, node: Node, said: str | None) -> str | None:
        if said is None:
            self.dropped.append(text_of(node))
        return said

    def _both(self, children: Sequence[Node]) -> _Filter | None:
        wanted = [self.wider(child) for child in children if not isinstance(child, Not)]
        kept = [part for part in wanted if part is not None]
        unwanted = [child for child in children if isinstance(child, Not)]
        if not kept:
            self.dropped += [text_of(child) for child in unwanted]
            return None
        forbidden = [part for child in unwanted for part in self._forbidden(child)]
        return _flat(_Both, [*kept, *forbidden])

    def _either(self, children: Sequence[Node]) -> _Filter | None:
        kept: list[_Filter] = []
        lost: Node | None = None
        for child in children:
            part = self.wider(child)
            if part is None:
                lost = lost or child
            else:
                kept.append(part)
        if lost is None:
            return _flat(_Either, kept)
        if kept:
            self.dropped.append(f"the alternatives beside {text_of(lost)}")
        return None

    def _forbidden(self, node: Not) -> list[str]:
        """Return what may be forbidden without losing a match: all that the platform and Hark see alike."""
        children = node.child.children if isinstance(node.child, Or) else (node.child,)
        said = [self._exact(child) for child in children]
        self.dropped += [
            f"NOT {_grouped(child)}" for child, part in zip(children, said, strict=True) if part is None
        ]
        return [f"-{part}" for part in said if part is not None]

    def _exact(self, node: Node) -> str | None:
        match node:
            case Field("author", "=", value) if self.platform.forbids:
                return self.platform.author(value)
            case _:
                return None

    def split(self, whole: _Filter) -> list[str]:
        """Return filters that are together as wide as `whole` or wider, none of them too long."""
        said = self._say(whole)
        if len(said) <= self.platform.longest:
            return [said]
        match whole:
            case _Either(parts):
                return self._packed(parts)
            case _Both(parts):
                return self._divided(parts)
            case _:
                raise AssertionError("a word is never longer than a filter may be")

    def _packed(self, alternatives: Sequence[_Filter]) -> list[str]:
        rules: list[str] = []
        together: list[_Filter] = []
        for part in alternatives:
            if len(self._say(_flat(_Either, [*together, part]))) <= self.platform.longest:
                together.append(part)
                continue
            if together:
                rules.append(self._say(_flat(_Either, together)))
            together = []
            if len(self._say(part)) <= self.platform.longest:
                together = [part]
            else:
                rules += self.split(part)
        return [*rules, self._say(_flat(_Either, together))] if together else rules

    def _divided(self, parts: Sequence[_Filter]) -> list[str]:
        """Halve the longest list of alternatives, the other conditions beside each half.

        Words keep half of the room; of the lists two stay, since each one more would multiply the filters.
        """
        room = self.platform.longest // 2
        kept: list[_Filter] = []
        for word in sorted((part for part in parts if isinstance(part, str)), key=_is_forbidding):
            room -= len(word) + len(self.platform.conjunction)
            self._keep(word, kept, room >= 0)
        lists = sorted((part for part in parts if isinstance(part, _Either)), key=self._length)
        for place, some in enumerate(lists):
            self._keep(some, kept, place < 2)
        whole = _flat(_Both, kept)
        if self._length(whole) <= self.platform.longest:
            return [self._say(whole)]
        longest = kept.pop()
        assert isinstance(longest, _Either)
        middle = len(longest.parts) // 2
        halves = (longest.parts[:middle], longest.parts[middle:])
        return [rule for half in halves for rule in self.split(_flat(_Both, [*kept, _flat(_Either, half)]))]

    def _keep(self, part: _Filter, kept: list[_Filter], room: bool) -> None:
        if room:
            kept.append(part)
        else:
            self.dropped.append(f"{_short(self._say(part))} (the filter would be too long)")

    def _length(self, part: _Filter) -> int:
        return len(self._say(part))

    def _say(self, whole: _Filter) -> str:
        match whole:
            case _Both(parts):
                return self.platform.conjunction.join(self._inner(part) for part in parts)
            case _Either(parts):
                return " OR ".join(self._inner(part) for part in parts)
            case _:
                return whole

    def _inner(self, part: _Filter) -> str:
        return part if isinstance(part, str) else f"({self._say(part)})"


def _flat(kind: "type[_Both] | type[_Either]", parts: Sequence[_Filter]) -> _Filter:
    flat: dict[_Filter, None] = {}
    for part in parts:
        for inner in part.parts if isinstance(part, kind) else (part,):
            flat[inner] = None
    return kind(tuple(flat)) if len(flat) > 1 else next(iter(flat))


def _absorbed(whole: _Filter) -> _Filter:
    """Leave out what another alternative contains: `a OR (a b)` is `a`."""
    if isinstance(whole, str):
        return whole
    parts = [_absorbed(part) for part in whole.parts]
    if isinstance(whole, _Both):
        return _flat(_Both, parts)
    sets = [frozenset(part.parts if isinstance(part, _Both) else (part,)) for part in parts]
    kept = [
        part
        for part, conditions in zip(parts, sets, strict=True)
        if len(conditions) == 1 or not any(other < conditions for other in sets)
    ]
    return _flat(_Either, kept)


def _is_forbidding(part: str) -> bool:
    return part.startswith("-")


def _grouped(node: Node) -> str:
    return f"({text_of(node)})" if isinstance(node, And | Or) else text_of(node)


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 80 else line[:79] + "…"


def _x_word(token: str) -> str | None:
    if len(token) >= LONGEST_TOKEN or _UNSPACED.search(token) or not any(map(str.isalnum, token)):
        return None
    if token[0] == "@" and _X_HANDLE.fullmatch(token):
        return token
    if token[0] == "#" and _X_HASHTAG.fullmatch(token):
        return token
    token = token.lstrip("#@")
    return token if _BARE.fullmatch(token) and token not in _RESERVED else f'"{token}"'


def _x_author(handle: str) -> str | None:
    return f"from:{handle}" if _X_HANDLE.fullmatch(handle) and handle[0] != "@" else None


def _reddit_word(token: str) -> str | None:
    if len(token) >= LONGEST_TOKEN or _UNSPACED.search(token) or not any(map(str.isalnum, token)):
        return None
    token = token.lstrip("#@")
    return token if _BARE.fullmatch(token) and token not in _RESERVED else f'"{token}"'


def _reddit_author(name: str) -> str | None:
    return f"author:{name}" if re.fullmatch(r"[a-z0-9_-]{3,20}", name, re.ASCII) else None


_X_STREAM = _Platform("X's filtered stream", X_RULE_CHARACTERS, " ", _x_word, _x_author, forbids=True)
_X_SEARCH = _Platform("X's search", X_SEARCH_CHARACTERS, " ", _x_word, _x_author, forbids=True)
_REDDIT = _Platform(
    "Reddit's search", REDDIT_SEARCH_CHARACTERS, " AND ", _reddit_word, _reddit_author, forbids=False
)
_PLATFORMS = {platform.name: platform for platform in (_X_STREAM, _X_SEARCH, _REDDIT)}
PLATFORMS = tuple(_PLATFORMS)
"""The names that `translate` takes."""
