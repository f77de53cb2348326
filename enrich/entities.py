"""Airports, flight numbers, amounts of money and dates named in a text.

Airports come from airportsdata (IATA codes, open data). A code of three capitals is an airport where something
beside it says so: another code ("DAL-HOU"), the word airport, a verb of travel with a preposition, or, for the
hundred or so busiest, a preposition alone or no shouting around it; codes that are words or other abbreviations
(THE, CEO, TSA) never are. Values: an IATA code; a flight's airline designator and number ("WN1234", or "1234"
where the airline is not told); "12.50 USD"; "2015-02-23", or "--02-23" where the year is not told (ISO 8601).
Days like "tomorrow" are no dates here. A day and month that could be either are read with the month first, and
only after a preposition.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from importlib.metadata import version as installed
from typing import Any

import airportsdata

from enrich import Context
from hark.core.draft import Draft
from hark.core.mention import Entity

# The busiest airports of North America and of the world, less those whose code is a word (below).
_HUBS = frozenset(
    """
    ATL DFW ORD LAX CLT PHX MCO JFK IAH EWR FLL MSP SFO DTW SLC PHL BWI TPA MDW BNA IAD DAL HNL PDX STL RSW SMF MSY
    SJC SNA RDU CLE CVG CMH JAX PBI MKE BDL ABQ OMA LGA DCA BUF OKC SDF RIC TUS ELP BHM ROC SYR TUL GSP ORF DSM ALB
    BOI GEG RNO LIT CHS HSV SAV MHT PVD PWM GRR DAY LBB MAF AMA HRL CRP YYZ YVR YUL YYC YOW YEG MEX CUN GDL SJU LHR
    LGW STN LTN EDI GLA DUB CDG ORY AMS FRA MUC BCN LIS FCO MXP ZRH VIE CPH ARN OSL BRU WAW PRG BUD IST DXB DOH AUH
    SIN HKG NRT HND ICN PEK PVG BKK KUL DEL BOM SYD MEL BNE AKL GRU GIG EZE BOG LIM SCL JNB CPT SEA LAS BOS
    """.split()  # noqa: SIM905
) - {"DAY", "DEL", "SIN", "MEL"}
_HUBS_THAT_ARE_WORDS = frozenset(
    ["DEN", "SAN", "SAT", "MIA", "AUS", "PIT", "IND", "OAK", "ONT", "HOU", "BUR", "MCI"]
)
_NEVER = frozenset(
    """
    ACT ADD AGE AGO AID AIM AIR ALL AND ANY APP ARE ART ASK ATE ATM BAD BAG BAN BAR BAY BBC BED BEG BET BID BIG BIN BIT
    BOX BOY BRB BRO BTW BUS BUT BUY BYE CAB CAN CAR CAT CBS CEO CFO CIA CNN COO CUT DAD DAM DAY DEL DID DIE DIM DMS DOG
    DOT DRY DUE EAR EAT EGG EGO END EVE EYE FAA FAM FAN FAQ FAR FAT FAX FBI FEE FEW FIT FIX FLY FOR FOX FTW FUN FYI GAP
    GAS GET GIG GMA GOD GOT GPS GUM GUN GUT GUY HAD HAS HAT HBO HER HEY HID HIM HIS HIT HOT HOW HUB HUG ICE ICU ILL INC
    IRS ITS JAM JAN JAR JET JOB JOY KEY KID KIT LAB LAG LAP LAW LAY LED LEG LET LIE LIP LIT LMK LOG LOL LOT LOW MAD MAN
    MAP MAR MAX MAY MEL MEN MET MIX MOB MOM MPH MRS NBA NBC NEW NFL NIT NOD NON NOR NOT NOV NOW NPR NUT NYC OCT ODD OFF
    OIL OLD OMG ONE OUR OUT OWE OWN PAD PAN PAT PAY PEN PER PET PIC PIE PIN PLS PLZ POP POT PRO PUT RAN RAT RAW RED RIP
    ROT ROW RUB RUN RUT SAD SAT SAW SAY SEE SEP SET SHE SIN SIR SIT SIX SKI SKY SMH SMS SOB SON SOS SPA SPY SUE SUM SUN
    SUV TAG TAN TAP TAX TBA TBD TBH TEA TEL TEN THE THX TIE TIN TIP TOE TON TOO TOP TOY TRY TSA TWO UGH USA USE VAN VIA
    VIP VIS WAR WAS WAY WEB WED WET WHO WHY WIN WON WOW WTF YAY YES YET YOU ZIP
    """.split()  # noqa: SIM905
) - {"SAT", "LIT"}
_SMALL_LETTERS = frozenset(
    ["dfw", "lax", "jfk", "lga", "ewr", "iah", "bwi", "mco", "lhr", "cdg", "slc", "dtw", "phl", "sfo"]
)
_NAMES = {
    "o'hare": "ORD", "ohare": "ORD", "chicago midway": "MDW", "midway airport": "MDW", "love field": "DAL",
    "laguardia": "LGA", "la guardia": "LGA", "newark airport": "EWR", "newark liberty": "EWR", "jfk airport": "JFK",
    "kennedy airport": "JFK", "dulles": "IAD", "reagan airport": "DCA", "reagan national": "DCA",
    "logan airport": "BOS", "boston logan": "BOS", "hartsfield": "ATL", "sky harbor": "PHX", "seatac": "SEA",
    "sea tac": "SEA", "hobby airport": "HOU", "houston hobby": "HOU", "bush intercontinental": "IAH",
    "mccarran": "LAS", "harry reid": "LAS", "lindbergh field": "SAN", "john wayne airport": "SNA",
    "heathrow": "LHR", "gatwick": "LGW", "stansted": "STN", "schiphol": "AMS", "charles de gaulle": "CDG",
    "changi": "SIN", "narita": "NRT", "haneda": "HND", "pearson airport": "YYZ", "toronto pearson": "YYZ",
}  # fmt: skip
# Cities with several large airports: their name says nothing.
_SEVERAL = frozenset(
    ["new york", "chicago", "houston", "dallas", "washington", "london", "paris", "tokyo", "milan", "toronto"]
)

# Expressions begin with what they look for, and look behind after that: so the search can skip to it.
_CODE = re.compile(r"[A-Z][A-Z][A-Z](?<![A-Za-z0-9_@]...)(?![A-Za-z0-9_])")
_PAIR_BEFORE = re.compile(r"(?<![A-Z])([A-Z]{3})(?: ?(?:-|–|—|→|/|>|->) ?| to )$")
_PAIR_AFTER = re.compile(r"(?: ?(?:-|–|—|→|/|>|->) ?| to )([A-Z]{3})(?![A-Za-z])")
_PREPOSITION = re.compile(
    r"(?:^|[ (])(?:[Ff]rom|[Tt]o|[Aa]t|[Ii]n|[Ii]nto|[Vv]ia|[Tt]hrough|[Tt]hru|of|[Nn]ear|@) (?:the )?$"
)
_TRAVEL = re.compile(
    r"(?:\b(?:fl(?:y|ying|ew|own|ights?)|land(?:ed|ing|s)?|stuck|stranded|arriv(?:e|ed|ing|al)|depart(?:ed|ing|ure)?"
    r"|layover|connect(?:ion|ing)?|divert(?:ed|ing)?|headed|en route) (?:[\w']{1,12} ){0,2}"
    r"(?:from|to|at|in|into|out of|via|through|for)|[Aa]irport:?) $"
)
# What `_TRAVEL` finds ends so (and "$" passes over a line's end); most of what stands before a code does not.
_TRAVEL_ENDS = tuple(
    word + space
    for word in ("from", "to", "at", "in", "of", "via", "through", "for", "irport", "irport:")
    for space in (" ", " \n")
)
_AIRPORT_AFTER = re.compile(r" (?:[Aa]irport|[Ii]nternational|[Ii]ntl|[Tt]erminal)\b")
_WORD_BEFORE = re.compile(r"([A-Za-z']+)[^A-Za-z']{1,3}$")
_WORD_AFTER = re.compile(r"[^A-Za-z']{1,3}([A-Za-z']+)")

_DESIGNATORS = "WN|DL|UA|AA|B6|AS|NK|F9|HA|G4|SY|VX|US|MX|AC|WS|AM|BA|VS|LH|AF|KL|IB|EI|FR|U2|LX|OS|SK|AY|TK|EK|QR|EY|SQ|CX|NH|JL|KE|QF|NZ|LA|AV|CM"
_UNIT = r"(?![\d:/%]|[.,]\d| ?(?:hours?|hrs?|h\b|minutes?|mins?|min\b|days?|weeks?|months?|times?|am\b|pm\b|a\.m|p\.m|people|miles|of\b|st\b|nd\b|rd\b|th\b|dollars))"
_SHORT_NUMBER = re.compile(rf"\d(?<![\d.,$€£:/]\d)\d{{0,3}}\b{_UNIT}")
# What stands before such a number when it is a flight's.
_FLIGHT = re.compile(
    rf"(?P<word>(?<![A-Za-z])(?i:flights?|flt)\.? ?(?P<sign>(?i:number|no\.?|num)? ?:? ?#?) ?)?"
    rf"(?:(?<![A-Za-z0-9@])(?P<code>{_DESIGNATORS})(?P<gap> ?# ?| |-)?|(?<![A-Za-z0-9@])(?P<small>wn|dl|ua|aa|b6|nk|f9|ba))?$"
)
_FLIGHT_WORDS = frozenset(
    ["", "flight", "flights", "flt", "number", "no", "num", *_DESIGNATORS.lower().split("|")]
)
"""One of these, or no space at all, stands before a flight's number; to look at most other numbers no further."""
_FLIGHT_ENDS = frozenset(word[-2:] for word in _FLIGHT_WORDS)
"""The last two letters of what stands before a flight's number without a space."""
_WORDLIKE_DESIGNATORS = frozenset(["AS", "US", "AM", "HA", "LA", "OS"])

_CURRENCIES = {
    "$": "USD",
    "us$": "USD",
    "c$": "CAD",
    "a$": "AUD",
    "€": "EUR",
    "£": "GBP",
    "¥": "JPY",
    "₹": "INR",
}
_CURRENCY_WORDS = {
    "dollar": "USD", "dollars": "USD", "bucks": "USD", "usd": "USD", "euro": "EUR", "euros": "EUR", "eur": "EUR",
    "pounds": "GBP", "gbp": "GBP", "quid": "GBP", "cad": "CAD", "aud": "AUD", "€": "EUR", "£": "GBP",
}  # fmt: skip
_NUMBER = r"\d{1,12}(?:[.,]\d{1,6}){0,4}"
_AMOUNT = re.compile(
    rf"(?P<sign>(?<!\$)(?:\b(?:US|C|A))?\$|[€£¥₹]) ?(?P<n1>{_NUMBER})(?P<k1> ?(?:k|K|m|M|million|billion)\b)?"
    rf"|(?<![\w.,$€£¥₹])(?P<n2>{_NUMBER})(?P<k2> ?(?:k|million|billion))? ?(?P<word>(?i:dollars?|bucks|usd|euros?|eur|pounds|gbp|quid|cad|aud)\b|[€£])"
)
_MONEY = re.compile("[$€£¥₹]")
_MONEY_WORDS = frozenset(_CURRENCY_WORDS)
_FACTORS = {"k": 1_000, "m": 1_000_000, "million": 1_000_000, "billion": 1_000_000_000}

_MONTHS = {name: at for at, name in enumerate("jan feb mar apr may jun jul aug sep oct nov dec".split(), 1)}  # noqa: SIM905
_MONTH = (
    r"(?:(?i:Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|June?|July?|Aug(?:ust)?|Sept?(?:ember)?|Oct(?:ober)?"
    r"|Nov(?:ember)?|Dec(?:ember)?)|May)"
)
_BY_NAME = (
    rf"\b(?P<m3>{_MONTH})\.? ?(?P<d3>\d{{1,2}})(?:st|nd|rd|th)?\b(?:,? (?P<y3>(?:19|20)\d\d))?(?!:)"
    rf"|\b(?P<d4>\d{{1,2}})(?:st|nd|rd|th)?(?: of)? (?P<m4>{_MONTH})\b(?:,? (?P<y4>(?:19|20)\d\d))?"
)
_DATE_BY_NAME = re.compile(_BY_NAME)
"""Finds what `_DATE` finds in a text without _DATE_LIKE."""
_DATE = re.compile(
    r"(?<![\d/.-])(?:(?P<y1>(?:19|20)\d\d)-(?P<m1>\d\d)-(?P<d1>\d\d)"
    r"|(?P<a>\d{1,2})(?P<by>[/.])(?P<b>\d{1,2})(?:(?P=by)(?P<y2>(?:19|20)?\d\d))?)(?![\d/]|[.-]\d| ?(?:min|hr|hour|day))"
    rf"|{_BY_NAME}"
)
_DATED = re.compile(r"\b(?i:on|until|till|by|since|from|before|after|due) $")
_DATE_LIKE = re.compile(r"[/.-](?:(?<=\d[/.])|(?<=\d{4}-))\d")
_MONTH_WORDS = frozenset(
    "january february march april june july august september october november december sept".split()  # noqa: SIM905
).union(_MONTHS)
_DIGIT = re.compile("[0-9]")


class Entities:
    """Fills in `entities`, in the order of the text."""

    name = "entities"
    version = f"1 {installed('airportsdata')}"

    def __init__(self) -> None:
        airports = airportsdata.load("IATA")
        self._codes = frozenset(airports) - _NEVER
        names = {**_cities(airports), **_NAMES, **{code: code.upper() for code in _SMALL_LETTERS}}
        self._names = {tuple(name.split()): code for name, code in names.items()}
        self._lengths: dict[str, set[int]] = {}
        for words in self._names:
            self._lengths.setdefault(words[-1], set()).add(len(words))
        self._last_words = frozenset(self._lengths)

    def enrich(self, drafts: Sequence[Draft]) -> None:
        """Fill in `entities`."""
        for draft in drafts:
            text = draft.text
            found = list(self._airports(text)) if _CODE.search(text) else []
            if not self._last_words.isdisjoint(draft.words):
                found += self._named(draft)
            if _DIGIT.search(text, draft.digit):
                found += _flights(text, draft.digit)
                if _MONEY.search(text) or not _MONEY_WORDS.isdisjoint(draft.words):
                    # Nothing longer than "US$ " stands before an amount's first digit.
                    found += _amounts(text, max(0, draft.digit - len("US$ ")))
                if _DATE_LIKE.search(text, draft.digit):
                    found += _dates(_DATE.finditer(text))
                elif not _MONTH_WORDS.isdisjoint(draft.words):
                    for at in [at for at, word in enumerate(draft.tokens) if word in _MONTH_WORDS]:
                        start, end = draft.span(at)
                        found += _dates(_DATE_BY_NAME.finditer(text, max(0, start - 12), end + 16))
            if found:
                draft.entities = _apart(found)

    def _airports(self, text: str) -> Iterator[Entity]:
        for match in _CODE.finditer(text):
            code = match[0]
            if code in self._codes and self._is_airport(code, text, match.start(), match.end()):
                yield Entity("airport", code, match.start(), match.end())

    def _is_airport(self, code: str, text: str, start: int, end: int) -> bool:
        before, after = text[max(0, start - 48) : start], text[end : end + 24]
        for pair in (_PAIR_BEFORE.search(before[-10:]), _PAIR_AFTER.match(after)):
            if pair and pair[1] in self._codes and (code in _HUBS or pair[1] in _HUBS or "-" in pair[0]):
                return True
        if _AIRPORT_AFTER.match(after) or (before.endswith(_TRAVEL_ENDS) and _TRAVEL.search(before)):
            return True
        if code not in _HUBS and code not in _HUBS_THAT_ARE_WORDS:
            return False
        if _PREPOSITION.search(before, max(0, len(before) - len(" through the \n"))):
            return True
        return code in _HUBS and not any(
            len(word[1]) > 1 and word[1].isupper() and word[1] not in self._codes
            for word in (_WORD_BEFORE.search(before), _WORD_AFTER.match(after))
            if word
        )

    def _named(self, draft: Draft) -> Iterator[Entity]:
        tokens = draft.tokens
        for at in [at for at, token in enumerate(tokens) if token in self._last_words]:
            for length in self._lengths[tokens[at]]:
                first = at - length + 1
                code = self._names.get(tuple(tokens[first : at + 1])) if first >= 0 else None
                if code is not None:
                    yield Entity("airport", code, draft.starts[first], draft.ends[at])


def build(context: Context) -> Entities:
    """Return the step; it has no options."""
    return Entities()


def _cities(airports: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Return "denver airport" and the like, for cities that have one large airport."""
    cities: dict[str, list[str]] = {}
    for code in _HUBS | _HUBS_THAT_ARE_WORDS:
        city = airports[code]["city"].lower()
        if re.fullmatch(r"[a-z .]+", city) and city not in _SEVERAL:
            cities.setdefault(city.replace(".", ""), []).append(code)
    return {
        f"{city} {word}": codes[0]
        for city, codes in cities.items()
        if len(codes) == 1
        for word in ("airport", "intl", "international")
    }


def _flights(text: str, begin: int) -> Iterator[Entity]:
    for number in _SHORT_NUMBER.finditer(text, begin):
        start = number.start()
        offset = max(0, start - 24)
        before = text[offset:start]
        if before[-1:] == " " and before[:-1].rpartition(" ")[2].strip("(:.#,").lower() not in _FLIGHT_WORDS:
            continue
        if before[-1:].isalnum() and before[-2:].casefold() not in _FLIGHT_ENDS:
            continue
        match = _FLIGHT.search(before)
        if match is None or not match[0]:
            continue
        code, digits = (match["code"] or match["small"] or "").upper(), number[0]
        if match["word"] is None:
            plain = len(digits) < 2 if match["small"] else match["gap"] and code in _WORDLIKE_DESIGNATORS
            if plain and len(digits) < 3:
                continue
        elif not code and len(digits) < 2 and not match["sign"]:
            continue
        yield Entity("flight", code + (digits.lstrip("0") or "0"), offset + match.start(), number.end())


def _amounts(text: str, begin: int) -> Iterator[Entity]:
    for match in _AMOUNT.finditer(text, begin):
        number = _number(match["n1"] or match["n2"])
        factor = _FACTORS.get((match["k1"] or match["k2"] or "").strip().lower(), 1)
        currency = (
            _CURRENCIES[match["sign"].lower()] if match["sign"] else _CURRENCY_WORDS[match["word"].casefold()]
        )
        value = number * factor
        written = f"{value:.2f}" if value % 1 else f"{value:.0f}"
        yield Entity("amount", f"{written} {currency}", match.start(), match.end())


def _number(written: str) -> float:
    """Return the number of "1,234.50", "1.234,50", "1,234" (thousands) or "12,5"."""
    last = max(written.rfind("."), written.rfind(","))
    if last < 0:
        return float(written)
    whole, fraction = re.sub("[.,]", "", written[:last]), written[last + 1 :]
    if len(fraction) == 3 and (written[last] == "," or written.count(".") > 1):
        return float(whole + fraction)
    return float(f"{whole}.{fraction}")


def _dates(matches: Iterable["re.Match[str]"]) -> Iterator[Entity]:
    for match in matches:
        parts = match.groupdict()
        if parts.get("a"):
            first, second = int(parts["a"]), int(parts["b"])
            month, day = (second, first) if first > 12 or parts["by"] == "." else (first, second)
            plain = parts["y2"] is not None or (
                parts["by"] == "/"
                and (max(first, second) > 12 or _DATED.search(match.string[: match.start()][-8:]))
            )
            if not plain or match[0] == "24/7":
                continue
            year = parts["y2"]
        else:
            name = parts["m3"] or parts["m4"]
            month = _MONTHS[name[:3].casefold()] if name else int(parts["m1"])
            day = int(parts["d3"] or parts["d4"] or parts["d1"])
            year = parts["y3"] or parts["y4"] or parts.get("y1")
        if year is not None and len(year) == 2:
            year = "20" + year
        try:
            # A leap year stands in for the year that is not told.
            valid = date(int(year or 2000), month, day)
        except ValueError:
            continue
        value = valid.isoformat() if year else f"--{month:02}-{day:02}"
        yield Entity("date", value, match.start(), match.end())


def _apart(found: list[Entity]) -> tuple[Entity, ...]:
    """Return the entities in order, without those that overlap one that begins earlier or is longer."""
    found.sort(key=lambda entity: (entity.start, -entity.end))
    kept = [found[0]]
    for entity in found[1:]:
        if entity.start >= kept[-1].end:
            kept.append(entity)
    return tuple(kept)
