"""A query's text becomes its tree.

Precedence: NEAR before NOT before AND before OR; words side by side are joined by AND. Time and memory are
linear in the length of the text.
"""

import difflib
import re
import unicodedata
from datetime import UTC, datetime, timedelta
from typing import Any

from lark import Lark, Token, UnexpectedToken
from lark.exceptions import VisitError
from lark.visitors import Transformer_NonRecursive

from hark.core.clock import EARLIEST, LATEST, Clock, now
from hark.core.tokens import LONGEST_TOKEN, tokens
from hark.core.tree import All, And, Field, Near, Node, Not, Operator, Or, Phrase, Query, Term, Wildcard
from hark.query.errors import QueryError
from hark.query.fields import BY_NAME, FieldInfo, normal_of
from hark.query.lexer import QUOTES, Cutter

MOST_TERMS = 1_000
"""Words and values in one query; each word of a phrase counts."""
LONGEST_PHRASE = 100
"""Words."""
LEAST_LETTERS = 2
"""Letters or digits that a pattern with * or ? must have, so that it does not stand for nearly every word."""

_GRAMMAR = """
start: or_?
or_: and_ (OR and_)*
and_: not_ (AND? not_)*
not_: NOT not_ -> negated
    | near
near: atom (NEAR atom)*
?atom: WORD                -> word
     | PHRASE              -> phrase
     | LPAR or_ RPAR       -> inner
     | FIELD value         -> field
?value: VALUE
      | LPAR value_or RPAR -> inner
value_or: value_and (OR value_and)*
value_and: value_not (AND? value_not)*
value_not: NOT value_not -> negated
         | value
%declare WORD PHRASE VALUE FIELD AND OR NOT NEAR LPAR RPAR
"""
_FIELD = re.compile(r"(?s)(.*?)\s*(:|<=|>=|<|>|=)")
_NUMBER = re.compile(r"(\d{1,3}(?:[,_]\d{3})+|\d{1,15})([km]?)", re.IGNORECASE)
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_AGO = re.compile(r"now(?:([+-])(\d{1,9})([smhdw]))?", re.IGNORECASE)
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_LETTERS = [
    chr(code) for code in range(0x12000, 0x12010)
]  # cuneiform: letters to the tokenizer, rarely typed


def parse(text: str, clock: Clock = now) -> Query:
    """Return the tree of a query; the empty query finds everything.

    `clock` says what `now` means in a comparison like created>now-2h. Raises QueryError, which knows the place.
    """
    try:
        tree = _LARK.parse(text)
    except UnexpectedToken as error:
        raise _unexpected(text, error) from None
    try:
        root: Node = _Builder(text, clock).transform(tree)
    except VisitError as error:
        if isinstance(error.orig_exc, QueryError):
            raise error.orig_exc from None
        raise
    return Query(text, root)


def _unexpected(text: str, error: UnexpectedToken) -> QueryError:
    token: Token = error.token
    at_end = token.type == "$END"
    position = len(text.rstrip()) if at_end else token.start_pos or 0
    found = "the end of the query" if at_end else f"{text[position : token.end_pos]!r}"
    before = re.search(r"(\S+)\s*\Z", text[:position])
    after = f" after {before[1][-20:]}" if before else ""
    expected = frozenset(error.expected)
    if "VALUE" in expected:
        return QueryError(text, position, f"expected a value{after}, found {found}")
    if "WORD" in expected:
        hint = (
            ""
            if at_end
            else f"to search for {found} itself, put it into double quotes"
            if token.type not in ("LPAR", "RPAR")
            else ""
        )
        return QueryError(
            text, position, f'expected a word, a "phrase", a field or ({after}, found {found}', hint
        )
    return QueryError(text, position, f"expected AND, OR or the end{after}, found {found}")


class _Builder(Transformer_NonRecursive[Token, Any]):
    """Makes the tree's nodes from the parse, bottom-up."""

    def __init__(self, text: str, clock: Clock) -> None:
        super().__init__(visit_tokens=False)
        self.text = text
        self.clock = clock
        self.terms = 0

    def start(self, children: list[Node]) -> Node:
        return children[0] if children else All()

    def inner(self, children: list[Any]) -> Any:
        return children[1]

    def or_(self, children: list[Any]) -> Any:
        return _joined(Or, [child for child in children if not _is(child, "OR")])

    def and_(self, children: list[Any]) -> Any:
        return _joined(And, [child for child in children if not _is(child, "AND")])

    value_or = or_
    value_and = and_

    def not_(self, children: list[Any]) -> Any:
        return children[0]

    value_not = not_

    def negated(self, children: list[Any]) -> Any:
        child = children[1]
        return child.child if isinstance(child, Not) else Not(child)

    def near(self, children: list[Any]) -> Any:
        if len(children) == 1:
            return children[0]
        left, operator, right = children[:3]
        name, _, distance = operator.partition("/")
        for side in (left, right):
            if not _is_side(side):
                what = "another NEAR" if isinstance(side, Near) else "AND, NOT or a field"
                raise QueryError(
                    self.text,
                    operator.start_pos,
                    f'{name} joins words, "phrases" and groups of them with OR, not {what}',
                    "join two conditions with AND",
                )
        if len(children) > 3:
            hint = f"write a {operator} b AND b {children[3]} c"
            raise QueryError(self.text, children[3].start_pos, f"{name} has two sides", hint)
        return Near(left, right, int(distance), name == "ONEAR")

    def word(self, children: list[Token]) -> Node:
        return self._words(children[0])

    phrase = word

    def field(self, children: list[Any]) -> Node:
        token, value = children
        found = _FIELD.fullmatch(token)
        assert found is not None
        info, operator = BY_NAME[found[1].lower()], found[2]
        return self._over(value, info, operator, token)

    def _over(self, value: Any, info: FieldInfo, operator: str, field: Token) -> Node:
        # as deep as parentheses may be, which the lexer bounds
        if isinstance(value, Token):
            self._count(1, value)
            return self._field(value, info, operator, field)
        if isinstance(value, Not):
            inner = self._over(value.child, info, operator, field)
            return inner.child if isinstance(inner, Not) else Not(inner)
        parts = [self._over(child, info, operator, field) for child in value.children]
        joined: Node = _joined(type(value), parts)
        return joined

    def _count(self, terms: int, token: Token) -> None:
        self.terms += terms
        if self.terms > MOST_TERMS:
            problem = f"a query has at most {MOST_TERMS:,} words and values"
            raise QueryError(self.text, token.start_pos or 0, problem)

    def _fail(self, token: Token, problem: str, hint: str = "") -> QueryError:
        return QueryError(self.text, token.start_pos or 0, problem, hint)

    def _words(self, token: Token) -> Node:
        parts = self._parts(token)
        if not parts:
            link = re.search(r"(?i)https?:|www\.", token)
            hint = "ask for a link with url:…" if link else "leave it away"
            raise self._fail(token, f"there is no word in {_short(token)!r}", hint)
        if len(parts) > LONGEST_PHRASE:
            raise self._fail(
                token, f"a phrase has at most {LONGEST_PHRASE} words, and this one has {len(parts):,}"
            )
        self._count(len(parts), token)
        return parts[0] if len(parts) == 1 else Phrase(tuple(parts))

    def _parts(self, token: Token) -> list[Term | Wildcard]:
        """Return the token's words in the form of the tokenizer, through which * and ? go as letters."""
        text = unicodedata.normalize("NFKC", token)
        if "*" not in text and "?" not in text:
            return [Term(word) for word in tokens(token)]
        many, one = [letter for letter in _LETTERS if letter not in text][:2]
        found = tokens(text.replace("*", many).replace("?", one))
        if any(len(word) >= LONGEST_TOKEN for word in found):
            raise self._fail(token, f"a pattern has fewer than {LONGEST_TOKEN} characters")
        return [self._part(word.replace(many, "*").replace(one, "?"), token) for word in found]

    def _part(self, word: str, token: Token) -> Term | Wildcard:
        if "*" not in word and "?" not in word:
            return Term(word)
        if sum(character.isalnum() for character in word) < LEAST_LETTERS:
            problem = (
                f"{word!r} stands for nearly every word: a pattern needs {LEAST_LETTERS} letters or digits"
            )
            hint = (
                "leave * away, or write a NEAR/1 b for one word between"
                if word == "*"
                else "* stands for any letters, ? for exactly one"
            )
            raise self._fail(token, problem, hint)
        return Wildcard(re.sub(r"\*+", "*", word))

    def _field(self, value: Token, info: FieldInfo, operator: str, field: Token) -> Node:
        raw = re.sub(r"(?s)\\(.)", r"\1", value) if self.text[value.start_pos or 0] in QUOTES else str(value)
        if info.kind == "word":
            return self._word_field(raw, value, info, operator, field)
        if info.kind == "number":
            return Field(info.name, _operator(operator), str(self._number(raw, value, info)))
        return self._time_field(raw, value, info, operator)

    def _word_field(self, raw: str, value: Token, info: FieldInfo, operator: str, field: Token) -> Node:
        if operator not in (":", "="):
            raise self._fail(
                field,
                f"{info.name} has names for values, which are not compared by {operator}",
                f"write {info.name}:{_short(raw)}",
            )
        normal = normal_of(info.name, raw)
        if not normal:
            raise self._fail(
                value, f"expected a value of {info.name}, found {_short(raw)!r}", f"as in {info.example}"
            )
        if info.values and normal not in info.values:
            close = difflib.get_close_matches(normal, info.values, 1, 0.6)
            hint = (
                f"did you mean {info.name}:{close[0]}?"
                if close
                else f"{info.name} takes {', '.join(info.values)}"
            )
            raise self._fail(value, f"{info.name} knows no {_short(raw)!r}", hint)
        return Field(info.name, "=", normal)

    def _number(self, raw: str, value: Token, info: FieldInfo) -> int:
        found = _NUMBER.fullmatch(raw.strip())
        if found is None or not raw.isascii():
            raise self._fail(
                value,
                f"expected a whole number for {info.name}, found {_short(raw)!r}",
                f"as in {info.example}",
            )
        return int(re.sub("[,_]", "", found[1])) * {"": 1, "k": 1_000, "m": 1_000_000}[found[2].lower()]

    def _time_field(self, raw: str, value: Token, info: FieldInfo, operator: str) -> Node:
        instant = self._instant(raw.strip(), value, info)
        if operator not in (":", "="):
            return Field(info.name, _operator(operator), _rfc3339(instant))
        if not _DAY.fullmatch(raw.strip()):
            hint = f"write {info.name}>={_short(raw)} for what came since, {info.name}:2026-11-01 for a whole day"
            raise self._fail(value, f"{info.name}{operator}{_short(raw)} would be a single instant", hint)
        end = min(instant + timedelta(days=1), LATEST)
        return And((Field(info.name, ">=", _rfc3339(instant)), Field(info.name, "<", _rfc3339(end))))

    def _instant(self, raw: str, value: Token, info: FieldInfo) -> datetime:
        try:
            if ago := _AGO.fullmatch(raw):
                instant = self.clock()
                if ago[1]:
                    distance = timedelta(**{_UNITS[ago[3].lower()]: int(ago[2])})
                    instant = instant + distance if ago[1] == "+" else instant - distance
            elif raw[:4].isdigit() and raw[4:5] == "-":
                instant = datetime.fromisoformat(raw.upper())
                instant = instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)
            else:
                raise ValueError
        except (ValueError, OverflowError):
            hint = "write 2026-11-01, 2026-11-01T18:30:00Z or now-2h (s, m, h, d, w)"
            raise self._fail(value, f"expected a time for {info.name}, found {_short(raw)!r}", hint) from None
        if not EARLIEST <= instant <= LATEST:
            raise self._fail(value, f"{_short(raw)} is out of range", "times lie between 1970 and 9999")
        return instant


def _is(child: object, kind: str) -> bool:
    return isinstance(child, Token) and child.type == kind


def _joined(kind: type[And] | type[Or], children: list[Any]) -> Any:
    """Return the children under one node of `kind`; those of the same kind are taken in."""
    if len(children) == 1:
        return children[0]
    flat: list[Any] = []
    for child in children:
        flat.extend(child.children if isinstance(child, kind) else (child,))
    return kind(tuple(flat))


def _is_side(node: object) -> bool:
    if isinstance(node, Or):
        return all(_is_side(child) for child in node.children)
    return isinstance(node, Term | Wildcard | Phrase)


def _operator(typed: str) -> Operator:
    return "=" if typed == ":" else typed  # type: ignore[return-value]


def _rfc3339(instant: datetime) -> str:
    precision = "milliseconds" if instant.microsecond else "seconds"
    return instant.astimezone(UTC).replace(tzinfo=None).isoformat(timespec=precision) + "Z"


def _short(text: str) -> str:
    return str(text) if len(text) <= 40 else text[:39] + "…"


_LARK = Lark(_GRAMMAR, parser="lalr", lexer=Cutter, maybe_placeholders=False)
