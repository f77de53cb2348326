"""A query in other forms: its canonical text, and its tree in plain words."""

import re

from hark.core.tree import All, And, Field, Near, Node, Not, Or, Phrase, Query, Term, Wildcard
from hark.query.fields import BY_NAME
from hark.query.lexer import QUOTES

_PLAIN_VALUE = re.compile(r"[\w.@#/+:%&=?~,;!'*$-]+")
_TAKEN_AWAY = {"author": "@", "mentions": "@", "hashtag": "#"}
"""See hark.query.fields.normal_of."""
_COMPARISONS = {"=": "is", "<": "is below", "<=": "is at most", ">": "is above", ">=": "is at least"}
_TIMES = {"=": "at", "<": "before", "<=": "until", ">": "after", ">=": "since"}


def text_of(node: Node) -> str:
    """Return a text that parses to `node` again; times are absolute in it."""
    match node:
        case All():
            return ""
        case Term(token):
            return token
        case Wildcard(pattern):
            return pattern
        case Phrase(parts):
            return '"' + " ".join(text_of(part) for part in parts) + '"'
        case Near(left, right, distance, ordered):
            return f"{_side(left)} {'ONEAR' if ordered else 'NEAR'}/{distance} {_side(right)}"
        case Field(name, operator, value):
            return f"{name}{':' if operator == '=' else operator}{_value(_typed(name, value))}"
        case Not(child):
            return f"NOT {_grouped(child, And | Or)}"
        case And(children):
            return " AND ".join(_grouped(child, Or) for child in children)
        case Or(children):
            return " OR ".join(text_of(child) for child in children)


def describe(query: Query) -> str:
    """Return the query's tree in plain words, one condition a line, indented by two spaces a level."""
    return "\n".join(_lines(query.root, 0))


def _grouped(node: Node, kinds: type | object) -> str:
    text = text_of(node)
    return f"({text})" if isinstance(node, kinds) else text  # type: ignore[arg-type]


def _side(node: Node) -> str:
    return _grouped(node, Or)


def _typed(name: str, value: str) -> str:
    """Return a word field's value so that reading it, which takes such signs away, gives it back."""
    if name in ("url", "site"):
        return f"https://www.{value}" if "://" in value or value.startswith("www.") else value
    sign = _TAKEN_AWAY.get(name)
    return sign + value if sign and value.startswith(sign) else value


def _value(value: str) -> str:
    if _PLAIN_VALUE.fullmatch(value):
        return value
    return '"' + re.sub(rf"[\\{QUOTES}]", r"\\\g<0>", value) + '"'


def _lines(node: Node, level: int) -> list[str]:
    indent = "  " * level
    match node:
        case And(children) | Or(children):
            head = "all of:" if isinstance(node, And) else "any of:"
            return [indent + head, *(line for child in children for line in _lines(child, level + 1))]
        case Not(And() | Or() | Near() as child):
            return [indent + "not:", *_lines(child, level + 1)]
        case Not(child):
            return [f"{indent}not {_lines(child, 0)[0]}"]
        case Near(left, right, distance, ordered):
            words = "one right beside the other" if distance == 0 else f"at most {distance} words between"
            order = "in this order" if ordered else "in any order"
            head = f"{indent}near each other, {words}, {order}:"
            return [head, *_lines(left, level + 1), *_lines(right, level + 1)]
        case _:
            return [indent + _leaf(node)]


def _leaf(node: Node) -> str:
    match node:
        case Term(token):
            kind = {"@": "handle", "#": "hashtag"}.get(token[0], "word")
            return f"the {kind} {token}"
        case Wildcard(pattern):
            return f"a word like {pattern}"
        case Phrase():
            return f"the phrase {text_of(node)}"
        case Field(name, operator, value):
            if BY_NAME[name].kind == "time":
                return f"written {_TIMES[operator]} {value}"
            below = " or one of its children" if name == "topic" else ""
            return f"{name} {_COMPARISONS[operator]} {value}{below}"
        case _:
            return "every mention"
