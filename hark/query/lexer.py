"""A query's text cut into its pieces: words, phrases, fields with their values, operators, parentheses.

Everything that bounds a query is checked here, before the parser sees it, so that later steps may recurse.
"""

import difflib
import re
from collections.abc import Iterator

from lark import Token
from lark.lexer import Lexer

from hark.query.errors import QueryError
from hark.query.fields import BY_NAME

LONGEST_QUERY = 20_000
"""Characters."""
DEEPEST_QUERY = 30
"""Parentheses within parentheses."""
FARTHEST = 100
"""The greatest distance that NEAR takes."""

QUOTES = '"“”„‟«»＂'
_SPACE = re.compile(r"\s+")
_PHRASE = re.compile(rf"[{QUOTES}]((?:\\.|[^{QUOTES}\\])*)([{QUOTES}]?)", re.DOTALL)
_FIELD = re.compile(rf"([^\s(){QUOTES}:<>=]+)(?::|\s*(?:<=|>=|<|>|=))\s*")
_WORD = re.compile(rf"[^\s(){QUOTES}]+")
_NEAR = re.compile(r"(O?NEAR)(?:/(\d*))?")
_NEARLY_NEAR = re.compile(r"o?near/\d*[a-z]*", re.IGNORECASE)
_TILDE = re.compile(r"~\d+")


class Cutter(Lexer):
    """Lark's lexer for the query language: yields the terminals named in the grammar, lazily."""

    def __init__(self, conf: object) -> None:
        del conf  # lark hands over its settings; none of them matters here

    def lex(self, data: str) -> Iterator[Token]:  # type: ignore[override]
        """Yield tokens; each knows its place. Raises QueryError."""
        if len(data) > LONGEST_QUERY:
            problem = f"the query has {len(data):,} characters, and at most {LONGEST_QUERY:,} are taken"
            raise QueryError(data, LONGEST_QUERY, problem)
        return _cut(data)


def _cut(text: str) -> Iterator[Token]:
    position = 0
    opened: list[
        tuple[int, bool]
    ] = []  # where each open parenthesis stands; whether it holds a field's values
    field_before = False
    before = ""
    while True:
        if space := _SPACE.match(text, position):
            position = space.end()
        if position == len(text):
            break
        character = text[position]
        in_values = field_before or (bool(opened) and opened[-1][1])
        end = position + 1
        if character == "(":
            if len(opened) == DEEPEST_QUERY:
                problem = f"more than {DEEPEST_QUERY} parentheses are open"
                raise QueryError(text, position, problem)
            opened.append((position, in_values))
            kind, value = "LPAR", character
        elif character == ")":
            if not opened:
                raise QueryError(text, position, "this ) closes nothing")
            opened.pop()
            kind, value = "RPAR", character
        elif character in QUOTES:
            value, end = _quoted(text, position)
            kind = "VALUE" if in_values else "PHRASE"
        elif field_before:
            kind, value = "VALUE", _value(text, position)
            end = position + len(value)
        elif character == "-" and _is_minus(text, position):
            kind, value = "NOT", character
        elif not in_values and (found := _FIELD.match(text, position)):
            kind, value, end = "FIELD", _field(text, position, found), found.end()
        else:
            value = _WORD.match(text, position)[0]  # type: ignore[index]
            kind, end = _word_kind(text, position, value, in_values, before), position + len(value)
        yield Token(kind, value, start_pos=position, end_pos=end)
        field_before, before, position = kind == "FIELD", kind, end
    if field_before:
        raise QueryError(
            text, len(text.rstrip()), "expected a value after the field, found the end of the query"
        )
    if opened:
        raise QueryError(text, opened[-1][0], "this ( is never closed", "add the ) that belongs to it")


def _quoted(text: str, position: int) -> tuple[str, int]:
    found = _PHRASE.match(text, position)
    if found is None or not found[2]:
        raise QueryError(text, position, "this quote is never closed", 'add a " where the phrase ends')
    return found[1], found.end()


def _value(text: str, position: int) -> str:
    found = _WORD.match(text, position)
    assert found is not None
    if found[0] in ("AND", "OR", "NOT") and text[position - 1].isspace():
        raise QueryError(
            text, position, f"expected a value, found {found[0]}", "put it into quotes if it is the value"
        )
    return found[0]


def _is_minus(text: str, position: int) -> bool:
    follows = text[position + 1 : position + 2]
    return bool(follows) and not follows.isspace() and follows not in ")-"


def _field(text: str, position: int, found: re.Match[str]) -> str:
    name = found[1].lower()
    if name in BY_NAME:
        return found[0].strip()
    if name in ("http", "https"):
        raise QueryError(
            text,
            position,
            "a link is no word",
            "ask for it with url:… (in quotes if it has spaces or parentheses)",
        )
    close = difflib.get_close_matches(name, BY_NAME, 1, 0.6)
    meant = (
        f"did you mean {BY_NAME[close[0]].name}?"
        if close
        else f"the fields are {', '.join(sorted({i.name for i in BY_NAME.values()}))}"
    )
    raise QueryError(
        text,
        position,
        f"there is no field {found[1]!r}",
        f"{meant} (put it into quotes to search for the words)",
    )


def _word_kind(text: str, position: int, value: str, in_values: bool, before: str) -> str:
    if value in ("AND", "OR", "NOT"):
        return value
    if value[0] in "<>=:":
        raise QueryError(
            text, position, f"expected a field's name before {value[0]!r}", "as in followers>=1000"
        )
    if value in ("&&", "||", "&", "|", "!"):
        meant = {"&": "AND", "|": "OR", "!": "NOT"}[value[0]]
        raise QueryError(text, position, f"{value!r} means nothing here", f"did you mean {meant}?")
    if in_values:
        return "VALUE"
    if _NEAR.fullmatch(value) or _NEARLY_NEAR.fullmatch(value):
        return _near(text, position, value)
    if _TILDE.fullmatch(value) and before in ("PHRASE", "RPAR"):
        raise QueryError(
            text, position, f"{value!r} means nothing here", f"did you mean one NEAR/{value[1:]} other?"
        )
    return "WORD"


def _near(text: str, position: int, value: str) -> str:
    found = _NEAR.fullmatch(value)
    if found is None:
        lower = value.upper()
        ordered = lower.startswith("O") or lower.endswith("F")
        digits = re.sub(r"\D", "", value) or "5"
        meant = f"{'ONEAR' if ordered else 'NEAR'}/{digits}"
        raise QueryError(
            text,
            position,
            f"{value!r} is no operator",
            f"did you mean {meant}? (put it into quotes to search for the words)",
        )
    if not found[2]:
        raise QueryError(
            text,
            position,
            f"{found[1]} has no distance",
            f"write {found[1]}/5 for at most five words between, or {found[1].lower()} for the word",
        )
    if len(found[2]) > 4 or int(found[2]) > FARTHEST:
        raise QueryError(
            text, position, f"the distance {found[2]} is too great", f"NEAR takes 0 to {FARTHEST}"
        )
    return "NEAR"
