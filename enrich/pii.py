"""Personal data in a text: e-mail addresses, phone and card numbers, booking references, membership numbers.

The step notes where they stand (reasons with the tag "pii:…", never the value itself); `masked` replaces them for
what is shown and exported. Found by form and, where the form alone says little, by the words before it: a booking
reference is six capitals or digits after "confirmation", "PNR", "booking" and the like, a membership number six
digits or more after a programme's name. Card numbers pass the Luhn check. Toll-free numbers are companies' own
and stay, and so does what stands inside a link. Postal addresses and names are not looked for.
"""

import re
from collections.abc import Iterator, Sequence

from enrich import Context
from hark.core.draft import Draft
from hark.core.mention import Reason

_WHY = {
    "email": "e-mail address",
    "phone": "phone number",
    "card": "card number",
    "ssn": "social security number",
    "booking": "booking reference",
    "account": "membership number",
}
_EMAIL = re.compile(r"[\w.+-](?<![\w.+@-].)[\w.+-]{0,63}@(?:[\w-]{1,63}\.){1,4}[A-Za-z]{2,24}(?![\w@])")
_DIGITS = re.compile(r"[+(]?\d(?<![\w.,/#$€£-].)(?<![\w.,/#$€£-][+(]\d)(?:[ ().-]{0,2}\d){6,18}(?![\w/])")
_PHONE = re.compile(
    r"\+\d[\d ().-]{7,}\Z"
    r"|(?:1[ .-]?)?(?:\(\d{3}\) ?|\d{3}[ .-])\d{3}[ .-]\d{4}\Z"
    r"|1?[2-9]\d{9}\Z|0\d{2,4}[ -]\d{3,4}[ -]?\d{3,4}\Z"
)
_TOLL_FREE = re.compile(r"\+?1?8(?:00|33|44|55|66|77|88)")
_BOOKING = re.compile(
    r"\b(?:(?P<strict>(?i:pnr|record locator|locator))|(?i:confirmation|conf|booking|reservation|reference|ref)\b)"
    r"(?i: (?:number|no|num|code|ref|reference|locator|id))?\.?"
    # After the plain words a sign, "is", or a digit in the reference itself is asked for.
    r"(?:(?: is|[:#=]){1,2} ?#?| #| (?=[A-Z]{0,5}\d)|(?(strict) |(?!))) ?"
    r"(?P<value>(?=\d{0,5}[A-Z])[A-Z\d]{6})(?!\w)"
)
_ACCOUNT = re.compile(
    r"\b(?i:rapid rewards|rr|skymiles|mileageplus|mileage plus|aadvantage|trueblue|mileage plan|frequent flyer|ff"
    r"|account|member(?:ship)?|customer)(?i: (?:number|no|num|id))?\.?(?: is|[:#]){0,2} ?#?(?P<value>\d{6,12})(?!\w)"
)
_LINK = re.compile(r"(?:https?://|www\.)\S+")
_BEFORE_HANDLES = frozenset("@(\"'.,:;!?/&“”")
_WORDS = frozenset(
    "confirmation conf pnr locator booking reservation reference ref".split()  # noqa: SIM905
)
# Begins with what the search can skip to.
_CONTEXT = re.compile(
    r"[CcPpLlBbRr](?<=\b.)(?i:(?<=c)onf|(?<=p)nr|(?<=l)ocator|(?<=b)ooking|(?<=r)eservation|(?<=r)ef)"
)
_MANY_DIGITS = re.compile(r"\d(?:[ ().-]{0,2}\d){5}")


class PersonalData:
    """Appends reasons "pii:email", "pii:phone", "pii:card", "pii:ssn", "pii:booking", "pii:account"."""

    name = "pii"
    version = "1"

    def enrich(self, drafts: Sequence[Draft]) -> None:
        """Append a reason for each piece of personal data, with its place and without its value."""
        for draft in drafts:
            # A text with personal data has one of these; most have none.
            text = draft.text
            if (
                _MANY_DIGITS.search(text, draft.digit)
                or _has_address(text)
                or not _WORDS.isdisjoint(draft.words)
            ):
                for kind, start, end in find(text):
                    draft.reasons.append(Reason(f"pii:{kind}", _WHY[kind], 0.0, start, end))


def build(context: Context) -> PersonalData:
    """Return the step; it has no options."""
    return PersonalData()


def find(text: str) -> list[tuple[str, int, int]]:
    """Return (kind, start, end) of each piece of personal data, in order, without overlaps."""
    found: list[tuple[str, int, int]] = []
    if _has_address(text):
        found += [("email", match.start(), match.end()) for match in _EMAIL.finditer(text)]
    if _MANY_DIGITS.search(text):
        found += _numbers(text)
        found += [("account", *match.span("value")) for match in _ACCOUNT.finditer(text)]
    context = _CONTEXT.search(text)
    if context:
        # "record locator" begins before its word.
        begin = max(0, context.start() - len("record "))
        found += [("booking", *match.span("value")) for match in _BOOKING.finditer(text, begin)]
    if not found:
        return found
    links = [match.span() for match in _LINK.finditer(text)]
    kept: list[tuple[str, int, int]] = []
    for kind, start, end in sorted(found, key=lambda piece: (piece[1], -piece[2])):
        inside = any(begin <= start < stop for begin, stop in links)
        if not inside and (not kept or start >= kept[-1][2]):
            kept.append((kind, start, end))
    return kept


def masked(text: str) -> str:
    """Return `text` with "[e-mail address]" and the like in the place of personal data."""
    return covered(text)[0]


def covered(text: str) -> tuple[str, list[tuple[int, int, int]]]:
    """Return as `masked`, and of each piece where it began and ended, and where what covers it ends."""
    pieces: list[str] = []
    places: list[tuple[int, int, int]] = []
    at = reached = 0
    for kind, start, end in find(text):
        pieces += [text[at:start], f"[{_WHY[kind]}]"]
        reached += start - at + len(pieces[-1])
        places.append((start, end, reached))
        at = end
    return "".join([*pieces, text[at:]]), places


def _has_address(text: str) -> bool:
    at = text.find("@", 1)
    while at > 0:
        if not text[at - 1].isspace() and text[at - 1] not in _BEFORE_HANDLES:
            return True
        at = text.find("@", at + 1)
    return False


def _numbers(text: str) -> Iterator[tuple[str, int, int]]:
    for match in _DIGITS.finditer(text):
        written = match[0]
        digits = re.sub(r"\D", "", written)
        if 13 <= len(digits) <= 19 and digits[0] in "3456" and _luhn(digits):
            yield "card", match.start(), match.end()
        elif re.fullmatch(r"\d{3}-\d{2}-\d{4}", written):
            yield "ssn", match.start(), match.end()
        elif len(digits) <= 15 and _PHONE.match(written) and not _TOLL_FREE.match(digits):
            yield "phone", match.start(), match.end()


def _luhn(digits: str) -> bool:
    """Say whether the last digit checks the others (ISO/IEC 7812-1)."""
    total = 0
    for at, digit in enumerate(reversed(digits)):
        value = int(digit) * (1 + at % 2)
        total += value - 9 if value > 9 else value
    return total % 10 == 0
