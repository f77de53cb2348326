r"""The query language's reader for SQLite: a tree becomes an FTS5 expression and conditions in SQL.

What SQLite cannot say exactly (order, distance between phrases, patterns with too many terms) is narrowed to
candidates, and the plan says that the match in memory must decide.

The index that is asked has two columns of tokens: `title` (no phrase crosses columns), and `tokens`: those of
the text, then EVERY, then each filter word and mark with a leading "=", so that no pattern over words finds a
filter. Marks say roughly how great a number is, where it is great, and how far ahead in the order of samples.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from msgspec import Struct

from hark.core.tree import All, And, Field, Near, Node, Not, Or, Phrase, Query, Term, Wildcard
from hark.query.fields import is_word, number, word
from hark.query.sampling import BANDS, LEAST_LEVEL, LEVELS, level, place

EVERY = "="
"""A token of every mention: what NOT is taken from."""
MOST_TERMS = 500
"""A pattern that stands for more terms than this is left to the match in memory."""
DEEPEST = 28
"""A deeper tree is left to the match in memory: FTS5's parser has room for 100 open symbols, three a level."""

_NOTHING = '"=="'
_MARKED = {"followers": 1_024, **dict.fromkeys(("reach", "influence", "automation", "priority"), 50)}
"""Numbers from which on they are marked: the few great ones, which a search would look for row by row."""
_LAST_POWER, _LAST_TEN = 31, 10
_FURTHEST = (1 << 63) - 1

Expand = Callable[[str], Sequence[str] | None]
"""Returns the indexed tokens that fit a pattern (`*`, `?`), or None when they are more than MOST_TERMS."""


class Plan(Struct, frozen=True):
    """What to ask SQLite: all of it together is the query, or contains it when not `exact`."""

    match: str | None
    """For FTS5's MATCH; None for every row."""
    where: tuple[str, ...] = ()
    """Conditions on the mention's row `m`; `search` is the FTS5 table."""
    parameters: tuple[str | int, ...] = ()
    """Their parameters, in order."""
    since: int = 0
    """Milliseconds, inclusive: what the query itself says about time."""
    until: int = _FURTHEST
    """Milliseconds, exclusive."""
    exact: bool = True


def indexed(
    title: Sequence[str], text: Sequence[str], words: Iterable[str], marks: Iterable[str] = ()
) -> tuple[str, str]:
    """Return what the index holds of a mention, in its columns `tokens` and `title`."""
    return " ".join([*text, EVERY, *["=" + word for word in words], *marks]), " ".join(title)


def marks_of(id: str, numbers: Mapping[str, int]) -> list[str]:
    """Return the marks of a mention, from its id and its `hark.query.fields.numbers_of`."""
    marks = [
        _mark(name, _size(name, value))
        for name, value in numbers.items()
        if name in _MARKED and value >= _MARKED[name]
    ]
    ahead = level(place(id))
    if ahead >= LEAST_LEVEL:
        marks.append(_mark("", ahead))
    return marks


def sample_bands() -> list[str | None]:
    """Return expressions for parts of all mentions, one ahead of the other in the order of samples.

    The last is None: the rest, together with all others.
    """
    bands: list[str | None] = []
    above = LEVELS + 1
    for least in BANDS[:-1]:
        bands.append(_joined(" OR ", [_quoted(_mark("", ahead)) for ahead in range(least, above)]))
        above = least
    return [*bands, None]


def ahead_of(level: int) -> str | None:
    """Return the expression for the mentions at a level of samples and above it; None for all."""
    if level < LEAST_LEVEL:
        return None
    return _joined(" OR ", [_quoted(_mark("", ahead)) for ahead in range(level, LEVELS + 1)])


def both(one: str | None, other: str | None) -> str | None:
    """Return the expression for what both find; None finds everything."""
    if one is None or other is None:
        return one or other
    return f"({one} AND {other})"


def plan(query: Query, expand: Expand) -> Plan:
    """Return how SQLite answers `query`."""
    if _depth(query.root) > DEEPEST:
        return Plan(None, exact=False)
    return _Reader(expand).plan(query.root)


class _Reader:
    def __init__(self, expand: Expand) -> None:
        self._expand = expand
        self._patterns: dict[str, Sequence[str] | None] = {}
        self._said: dict[int, str | None] = {}

    def plan(self, root: Node) -> Plan:
        said: list[Node] = []
        narrowed: list[str] = []
        where: list[str] = []
        parameters: list[str | int] = []
        since, until, exact = 0, _FURTHEST, True
        for node in root.children if isinstance(root, And) else (root,):
            if isinstance(node, All):
                continue
            if isinstance(node, Field) and node.name == "created":
                begin, end = _range(node)
                since, until = max(since, begin), min(until, end)
                continue
            if self.say(node) is not None:
                said.append(node)
                continue
            sql = self.sql(node)
            if sql is not None:
                where.append(sql[0])
                parameters += sql[1]
            else:
                exact = False
            wider = self.wider(node)
            if wider is not None:
                narrowed.append(wider)
        match = self._all(said, narrowed)
        return Plan(match, tuple(where), tuple(parameters), since, until, exact)

    def say(self, node: Node) -> str | None:
        """Return the FTS5 expression that is exactly `node`, or None where there is none."""
        if id(node) not in self._said:  # asked for on every way down: once is enough
            self._said[id(node)] = self._say(node)
        return self._said[id(node)]

    def _say(self, node: Node) -> str | None:
        match node:
            case All():
                return _quoted(EVERY)
            case Term(token):
                return _quoted(token)
            case Wildcard(pattern):
                return self._pattern(pattern)
            case Phrase(parts):
                return _phrase(parts)
            case Near():
                return _near(node)
            case Field(name, _, value) if is_word(node):
                return _quoted("=" + word(name, value))
            case Or(children):
                return _either([self.say(child) for child in children])
            case And(children):
                inner = [child.child if isinstance(child, Not) else child for child in children]
                return None if any(self.say(child) is None for child in inner) else self._all(children)
            case Not():
                return None if self.say(node.child) is None else self._all([node])
        return None

    def sql(self, node: Node) -> tuple[str, list[str | int]] | None:
        """Return the condition on a row `m` that is exactly `node`, with its parameters, or None."""
        said = self.say(node)
        if said is not None:
            return "m.n IN (SELECT rowid FROM search WHERE search MATCH ?)", [said]
        match node:
            case Field(name, operator):
                compared = max(-_FURTHEST, min(_FURTHEST, number(node)))
                return f"(m.{name} IS NOT NULL AND m.{name} {operator} ?)", [compared]
            case Not(child):
                inner = self.sql(child)
                return inner and (f"NOT {inner[0]}", inner[1])
            case And(children) | Or(children):
                parts = [self.sql(child) for child in children]
                sayable = [part for part in parts if part is not None]
                if len(sayable) < len(parts):
                    return None
                glue = " AND " if isinstance(node, And) else " OR "
                return _joined(glue, [sql for sql, _ in sayable]), [p for _, ps in sayable for p in ps]
        return None

    def wider(self, node: Node) -> str | None:
        """Return an FTS5 expression that contains `node`, or None where only everything would."""
        said = self.say(node)
        if said is not None:
            return said
        match node:
            case Wildcard(pattern):
                literal = pattern.replace("?", "*").partition("*")[0]
                return f"{_quoted(literal)} *" if literal else None
            case Field(name, operator, _) if name in _MARKED and operator in (">", ">=", "="):
                return _marked(name, operator, number(node))
            case Near(left, right):
                return self._narrowed((left, right))
            case Phrase(children) | And(children):
                return self._narrowed(children)
            case Or(children):
                return _either([self.wider(child) for child in children])
        return None

    def _narrowed(self, children: Iterable[Node]) -> str | None:
        parts = [part for part in map(self.wider, children) if part is not None]
        return _joined(" AND ", parts) if parts else None

    def _all(self, nodes: Iterable[Node], more: Iterable[str] = ()) -> str | None:
        """Return the expression of sayable nodes and of `more` together, the NOTs taken from the others."""
        wanted = list(more)
        unwanted: list[str] = []
        for node in nodes:
            said = self.say(node.child if isinstance(node, Not) else node)
            if said is not None:
                (unwanted if isinstance(node, Not) else wanted).append(said)
        if not unwanted:
            return _joined(" AND ", wanted) if wanted else None
        return f"({_joined(' AND ', wanted or [_quoted(EVERY)])} NOT {_joined(' OR ', unwanted)})"

    def _pattern(self, pattern: str) -> str | None:
        literal = _beginning(pattern)
        if literal:
            return f"{_quoted(literal)} *"
        if pattern not in self._patterns:
            self._patterns[pattern] = self._expand(pattern)
        terms = self._patterns[pattern]
        if terms is None:
            return None
        return _joined(" OR ", [_quoted(term) for term in terms]) if terms else _NOTHING


def _phrase(parts: tuple[Term | Wildcard, ...]) -> str | None:
    """FTS5 knows phrases of words, the last of which may be the beginning of one."""
    words = [part.token for part in parts if isinstance(part, Term)]
    last = parts[-1]
    if len(words) == len(parts):
        return _quoted(" ".join(words))
    literal = _beginning(last.pattern) if isinstance(last, Wildcard) else None
    if len(words) == len(parts) - 1 and literal:
        return f"{_quoted(' '.join([*words, literal]))} *"
    return None


def _near(node: Near) -> str | None:
    """FTS5's NEAR lets both sides be the same place: it is exact where they have no token in common."""
    if node.ordered:
        return None
    pairs = [(left, right) for left in _sides(node.left) for right in _sides(node.right)]
    if len(pairs) > MOST_TERMS:
        return None
    said = []
    for left, right in pairs:
        one, other = _phrase(left), _phrase(right)
        if one is None or other is None or any(_share(a, b) for a in left for b in right):
            return None
        said.append(f"NEAR({one} {other}, {node.distance})")
    return _joined(" OR ", said)


def _sides(node: Node) -> Iterator[tuple[Term | Wildcard, ...]]:
    """Yield the alternatives of one side of NEAR, each as a phrase."""
    match node:
        case Term() | Wildcard():
            yield (node,)
        case Phrase(parts):
            yield parts
        case Or(children):
            for child in children:
                yield from _sides(child)


def _share(one: Term | Wildcard, other: Term | Wildcard) -> bool:
    """Say whether a token may fit both, for words and beginnings of words."""
    a, b = (part.token if isinstance(part, Term) else part.pattern[:-1] for part in (one, other))
    return (a.startswith(b) if isinstance(other, Wildcard) else a == b) or (
        isinstance(one, Wildcard) and b.startswith(a)
    )


def _beginning(pattern: str) -> str | None:
    """Return the literal of a pattern `literal*`, None for other patterns."""
    literal = pattern.removesuffix("*")
    return literal if literal and literal != pattern and not set(literal) & set("*?") else None


def _marked(name: str, operator: str, bound: int) -> str | None:
    """Return the expression for the marks that a number has which compares so, or None where it may have none."""
    if bound < _MARKED[name]:
        return None
    least = _size(name, bound)
    greatest = least if operator == "=" else _size(name, _FURTHEST)
    return _joined(" OR ", [_quoted(_mark(name, size)) for size in range(least, greatest + 1)])


def _size(name: str, value: int) -> int:
    """Return the power of two above a number of followers, the ten of a number from 0 to 100."""
    return min(value.bit_length(), _LAST_POWER) if name == "followers" else min(value // 10, _LAST_TEN)


def _mark(name: str, size: int) -> str:
    return f"={name}~{size}"


def _range(field: Field) -> tuple[int, int]:
    """Return since (inclusive) and until (exclusive) of a comparison of `created`."""
    at = number(field)
    since = {">": at + 1, ">=": at, "=": at}.get(field.operator, 0)
    until = {"<": at, "<=": at + 1, "=": at + 1}.get(field.operator, _FURTHEST)
    return since, until


def _either(parts: Sequence[str | None]) -> str | None:
    known = [part for part in parts if part is not None]
    return _joined(" OR ", known) if len(known) == len(parts) else None


def _joined(operator: str, parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"({operator.join(parts)})"


def _quoted(token: str) -> str:
    return '"' + token.replace('"', '""') + '"'


def _depth(node: Node) -> int:
    """Return how deep the tree is, without recursion: a hostile one may be deeper than the stack."""
    deepest, waiting = 0, [(node, 1)]
    while waiting:
        current, depth = waiting.pop()
        deepest = max(deepest, depth)
        children: Iterable[Node]
        match current:
            case And(inner) | Or(inner):
                children = inner
            case Not(child):
                children = (child,)
            case Near(left, right):
                children = (left, right)
            case _:
                children = ()
        waiting.extend((child, depth + 1) for child in children)
    return deepest
