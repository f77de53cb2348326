"""What is wrong with a table that somebody wrote, told in the words of TOML: where, what was expected, what was meant."""

import re
import types
from collections.abc import Collection, Mapping
from difflib import get_close_matches
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

import msgspec
from msgspec import Struct

from hark.core.errors import SettingsError

T = TypeVar("T")
_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+|\.\.\.)\]")
_TYPES = re.compile(r"`([a-z| ]+)`")
_WORDS = {
    "int": "a whole number",
    "float": "a number",
    "str": "a text in quotes",
    "bool": "true or false",
    "array": "a list in [ ]",
    "object": "a table",
    "datetime": "a date and time",
    "date": "a date",
    "null": "",
}
_NAMES = ("name", "id")
"""Keys by which an entry of a list of tables is told from the others."""


def converted(value: Any, kind: type[T], where: str, also: Collection[str] = ()) -> T:
    """Return the value as `kind`; SettingsError begins with `where` and names the key and what was expected.

    `also` are keys that stand in the same table and belong to somebody else: they may have been meant.
    """
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise SettingsError(f"{where}: {told(error, value, kind, also)}") from error


def told(error: msgspec.ValidationError, value: Any, kind: Any, also: Collection[str] = ()) -> str:
    """Return what a validation of `value` as `kind` found, as "key: what is wrong"."""
    what, _, path = str(error).partition(" - at `")
    place, value, kind = _followed(path.rstrip("`"), value, kind)
    named = re.search(r"field `(.*)`", what)
    if named and "unknown" in what:
        what = unknown("key", named[1], [*_keys(kind), *also])
    elif named:
        what = f"lacks the key `{named[1]}`"
    elif what == "Expected `array`, got `object`":
        what = f"expected [[{place}]] before each, found [{place}]"
    elif what.startswith("Invalid enum value"):
        what = expected(value, [str(each) for each in get_args(kind)])
    else:
        what = _TYPES.sub(_worded, what.replace("Expected", "expected").replace("got", "found"))
        # A text is never shown: it may be a secret in the wrong place.
        if "number" in what.partition(", found")[0] and isinstance(value, int | float):
            what = f"{what.partition(', found')[0]}, found {str(value).lower()}"
    return f"{place}: {what}" if place else what


def expected(found: Any, known: Collection[str]) -> str:
    """Return "expected one of …, found …", and which of them was probably meant."""
    return f"expected one of {', '.join(known)}, found {found!r}{meant(found, known)}"


def unknown(what: str, found: str, known: Collection[str]) -> str:
    """Return that there is no such key (or what it is), which one was probably meant, or else which there are."""
    hint = meant(found, known)
    return f"unknown {what} `{found}`{hint or '; there are: ' + (', '.join(known) or 'none')}"


def meant(found: Any, known: Collection[str]) -> str:
    """Return "; did you mean …?" where one of the known words is like the one that was found, else nothing."""
    close = get_close_matches(str(found).lower(), known, 1)
    return f"; did you mean `{close[0]}`?" if close else ""


def _worded(types_found: re.Match[str]) -> str:
    return " or ".join(word for name in types_found[1].split(" | ") if (word := _WORDS.get(name, name)))


def _keys(kind: Any) -> list[str]:
    return [field.encode_name for field in msgspec.structs.fields(kind)]


def _followed(path: str, value: Any, kind: Any) -> tuple[str, Any, Any]:
    """Follow msgspec's path ("$.rule[2].name") into a value and its type; return how people call the place, and both."""
    place = joint = ""
    kind = _one_of(kind, "")
    for name, number in _STEP.findall(path):
        kind = _one_of(kind, name or number)
        if number.isdigit():
            value, kind = value[int(number)], get_args(kind)[0]
            place, joint = f"{place} {_called(value, int(number))}", ": "
            continue
        if name:
            inner = {field.encode_name: field.type for field in msgspec.structs.fields(kind)}[name]
        else:
            inner = get_args(kind)[1]
            name = next(key for key, each in value.items() if not _fits(each, inner))
        value, kind = value[name], inner
        place, joint = place + joint + name, "."
    return place, value, _one_of(kind, "")


def _called(entry: Any, number: int) -> str:
    """Return an entry's name in quotes, or its number, from 1, where it has none."""
    named = (
        [entry[key] for key in _NAMES if isinstance(entry.get(key), str)] if isinstance(entry, dict) else []
    )
    return f'"{named[0]}"' if named else str(number + 1)


def _one_of(kind: Any, step: str) -> Any:
    """Return the type without its annotation, and of several types the one that a step leads into."""
    if get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    if get_origin(kind) not in (Union, types.UnionType):
        return kind
    kinds = [each for each in get_args(kind) if each is not types.NoneType]
    for each in kinds:
        origin = get_origin(each) or each
        if step.isdigit() and origin in (tuple, list):
            return each
        if step == "..." and isinstance(origin, type) and issubclass(origin, Mapping):
            return each
        if step and not step.isdigit() and isinstance(origin, type) and issubclass(origin, Struct):
            return each
    return kinds[0] if len(kinds) == 1 else kind


def _fits(value: Any, kind: Any) -> bool:
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError:
        return False
    return True
