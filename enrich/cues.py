"""Phrases found in one pass: what the sentiment, topics, intent, urgency and journey steps judge by.

All phrase lists are compiled into one Aho-Corasick automaton and looked up in the line of a text's tokens, so a
text is scanned once however many lists there are.

How a phrase is written: words as hark.core.tokens gives them (lower case; `it's` is `it`, hyphens separate), and

- `(a|b|)` one of these, the last one meaning nothing at all; `<name>` a list from the file's [words];
- `delay*` any word that begins so (at the end of a phrase);
- `0` any number: `0 hours` finds "2 hours" and "45 hours", `0h` finds "3h";
- `fail` finds `#fail` as well; `*fail*` finds `#epicfailure`, and nothing but hashtags.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import chain, product

from ahocorasick_rs import AhoCorasick, BytesAhoCorasick, Implementation

from hark.core.draft import Draft
from hark.core.errors import SettingsError
from hark.core.mistakes import meant

Cue = tuple[int, int, int]
"""A phrase that was found: its entry in its list, and its first and last token."""

MOST_WAYS = 2_500
"""Phrases that one line of a list may stand for."""

_NEGATORS = (
    "not no never none nobody nothing neither nor without hardly barely cannot cant dont didnt doesnt "
    "isnt wasnt wont couldnt wouldnt havent hasnt aint can't don't didn't doesn't isn't wasn't won't "
    "couldn't wouldn't shouldn't haven't hasn't hadn't aren't weren't ain't zero lack lacking nowhere "
    "stop stopped"
)
NEGATORS = frozenset(_NEGATORS.split())
_FIRST_PERSON = "i i'm i've i'll i'd my me we we're we've our us mine im ive"
FIRST_PERSON = frozenset(_FIRST_PERSON.split())
_PIECE = re.compile(r"\(([^()]*)\)|<([a-z_]+)>|([^()<>]+)")
# All of ASCII: a character that a table lacks costs an exception.
_DIGITS = {**{code: code for code in range(128)}, **str.maketrans("123456789", "000000000")}
_UNKNOWN = "\x00"
"""The symbol of a word that no phrase has."""
_REMEMBERED, _LONGEST_REMEMBERED = 50_000, 40


class Cues:
    """One automaton over several lists of phrases.

    Each word of the phrases is one symbol, a character of a private alphabet; a text becomes a string with a
    symbol for each token. So the automaton is small, looks at twenty symbols a text, and a place is a token's.
    """

    def __init__(self, lists: Sequence[Iterable[tuple[str, int]]], hiding: Collection[int] = ()) -> None:
        """Compile the lists; each is (phrase, entry) pairs, the entry being the list's own number for it.

        Of the lists whose numbers are among `hiding`, a scan returns the longest phrases alone: see `longest`.
        """
        phrases: dict[str, dict[tuple[int, int], None]] = {}
        parts: dict[str, dict[tuple[int, int], None]] = {}
        for number, pairs in enumerate(lists):
            for phrase, entry in pairs:
                where, key = (parts, phrase.strip("*")) if phrase[0] == "*" else (phrases, phrase)
                where.setdefault(key, {})[number, entry] = None
        # Becomes the lists of each scan, in half the time that a comprehension takes.
        self._nothing: tuple[tuple[Cue, ...], ...] = ((),) * len(lists)
        self._hiding = tuple(hiding)
        self._symbols = _Symbols(phrases)
        patterns: dict[str, list[tuple[int, int]]] = {}
        for phrase, owners in phrases.items():
            for pattern in self._symbols.patterns(phrase):
                patterns.setdefault(pattern, []).extend(owners)
        # Thousands of patterns have a few hundred owners: each kept once, they stay in the processor's cache.
        kept: dict[tuple[tuple[int, int], ...], tuple[tuple[int, int], ...]] = {}
        self._owners = [kept.setdefault(owners, owners) for owners in map(tuple, patterns.values())]
        self._automaton = AhoCorasick(
            list(patterns), store_patterns=False, implementation=Implementation.ContiguousNFA
        )
        self._part_owners = [tuple(owners) for owners in parts.values()]
        self._part_automaton = BytesAhoCorasick([part.encode() for part in parts])

    def scan(self, draft: Draft) -> list[list[Cue]]:
        """Return each list's cues, in the order of their ends (hashtags' parts last); once a draft."""
        if draft.cues is None:
            draft.cues = self._scan(draft.tokens)
        return draft.cues

    def _scan(self, tokens: Sequence[str]) -> list[list[Cue]]:
        found: list[list[Cue]] = list(map(list, self._nothing))
        line = "".join(map(self._symbols.__getitem__, tokens))
        matches = self._automaton.find_matches_as_indexes(line, overlapping=True)
        owners_of = self._owners
        if len(line) == len(tokens):
            for pattern, first, end in matches:
                last = end - 1
                for number, entry in owners_of[pattern]:
                    found[number].append((entry, first, last))
        else:
            # A hashtag has two symbols.
            places = [at for at, token in enumerate(tokens) for _ in self._symbols[token]]
            for pattern, first, end in matches:
                for number, entry in owners_of[pattern]:
                    found[number].append((entry, places[first], places[end - 1]))
            self._add_parts(tokens, found)
        for number in self._hiding:
            found[number] = longest(found[number])
        return found

    def _add_parts(self, tokens: Sequence[str], found: list[list[Cue]]) -> None:
        for place, token in enumerate(tokens):
            if token[0] == "#":
                text = token.encode("utf-8", "replace")
                for part, _, _ in self._part_automaton.find_matches_as_indexes(text, overlapping=True):
                    for number, entry in self._part_owners[part]:
                        found[number].append((entry, place, place))


class _Symbols(dict[str, str]):
    """From a token to its symbol; bounded. A hashtag's stands behind the unknown one: it goes on no phrase.

    The words of phrases have symbols, and so have their signs, written `delay*`, `*0` (at the front of a phrase) and
    `*0hour*`: for all words that no phrase names and the sign finds, the longest sign of several.
    """

    def __init__(self, phrases: Iterable[str]) -> None:
        # The words of most phrases first: their symbols are one byte, which the automaton reads quickest.
        forms = [form for form, _ in Counter(chain.from_iterable(map(_forms, phrases))).most_common()]
        # Code points of surrogates are left out.
        self._of = {
            form: chr(number if number < 0xD800 else number + 0x800) for number, form in enumerate(forms, 1)
        }
        # By their first characters, the longest first: most words have none, and need no more looking up.
        beginnings = sorted(
            (form[:-1] for form in forms if form[-1] == "*" and form[0] != "*"), key=len, reverse=True
        )
        self._shortest = len(beginnings[-1]) if beginnings else 0
        self._beginnings: dict[str, list[tuple[str, str]]] = {}
        for beginning in beginnings:
            found = self._beginnings.setdefault(beginning[: self._shortest], [])
            found.append((beginning, self._of[beginning + "*"]))
        self._numbers = sorted((form for form in forms if form[0] == "*"), key=len, reverse=True)
        self._by_tail: dict[str, str] = {}
        self._found_by: dict[str, list[str]] = {}
        """The symbols of what each form with a sign finds, itself among them: many phrases share few forms."""

    def __missing__(self, token: str) -> str:
        word = token if token.isalpha() else token.lstrip("#").translate(_DIGITS)
        symbol = self._of.get(word) or self._by_sign(word)
        if token[0] == "#":
            symbol = _UNKNOWN + symbol
        if len(token) <= _LONGEST_REMEMBERED:
            if len(self) >= _REMEMBERED:
                self.clear()
            self[token] = symbol
        return symbol

    def _by_sign(self, word: str) -> str:
        for beginning, symbol in self._beginnings.get(word[: self._shortest], ()):
            if word.startswith(beginning):
                return symbol
        if "0" in word:
            # What signs of numbers find begins with the first digit: one tail for all handles and flights "…000".
            tail = word[word.index("0") :]
            if tail not in self._by_tail:
                if len(self._by_tail) >= _REMEMBERED:
                    self._by_tail.clear()
                form = next((form for form in self._numbers if _finds(form, tail)), None)
                self._by_tail[tail] = _UNKNOWN if form is None else self._of[form]
            return self._by_tail[tail]
        return _UNKNOWN

    def patterns(self, phrase: str) -> list[str]:
        """Return the strings of symbols that `phrase` finds."""
        found = [self._symbols_of(form) for form in _forms(phrase)]
        return ["".join(way) for way in product(*found)]

    def _symbols_of(self, form: str) -> list[str]:
        if "*" not in form:
            return [self._of[form]]
        if form not in self._found_by:
            self._found_by[form] = [symbol for other, symbol in self._of.items() if _finds(form, other)]
        return self._found_by[form]


def _forms(phrase: str) -> list[str]:
    words = phrase.split()
    if words[0][0] == "0":
        words[0] = "*" + words[0]
    return words


def _finds(form: str, word: str) -> bool:
    """Return whether a form with a sign finds a word, or all words that another form finds."""
    if form[0] != "*":
        return word.startswith(form[:-1])
    return form[1:-1] in word if form[-1] == "*" else word.endswith(form[1:])


def expand(line: str, words: Mapping[str, Sequence[str]], where: str) -> list[str]:
    """Return the phrases that one line of a list stands for; SettingsError says `where` the mistake is."""
    pieces: list[Sequence[str]] = []
    covered = 0
    ways = 1
    for piece in _PIECE.finditer(line):
        choice, name, plain = piece.groups()
        if name is not None and name not in words:
            raise SettingsError(
                f"{where}: <{name}> is no list of [words]{meant(name, words)}; there are: {', '.join(words) or 'none'}"
            )
        pieces.append(words[name] if name is not None else [plain] if choice is None else choice.split("|"))
        covered += len(piece[0])
        ways *= len(pieces[-1])
    if covered != len(line) or ways > MOST_WAYS:
        raise SettingsError(
            f"{where}: {line!r}: expected balanced ( | ), and at most {MOST_WAYS} ways to read it, not {ways}"
        )
    phrases = dict.fromkeys(" ".join("".join(way).split()) for way in product(*pieces))
    for phrase in phrases:
        bare = phrase.strip("*")
        if not bare or phrase != phrase.lower() or set(bare) & set("*<>()|") or phrase.count("*") > 2:
            raise SettingsError(
                f"{where}: {line!r}: expected words in lower case, <lists> outside ( ), * at the end of a phrase"
            )
    return list(phrases)


def longest(cues: list[Cue]) -> list[Cue]:
    """Return the cues without those that lie within a longer one ("thanks for nothing" hides "thanks").

    `cues` stand in the order of their ends, as `scan` gives them; so one look back is enough.
    """
    if len(cues) < 2:
        return cues
    kept: list[Cue] = []
    begin = end = -1  # of the last one that was kept
    for cue in cues:
        _, first, last = cue
        # What stands behind all that was kept neither hides nor is hidden.
        if first <= end:
            while begin >= first and end <= last and (begin > first or end < last):
                kept.pop()
                if not kept:
                    break
                _, begin, end = kept[-1]
            if kept and end >= last and begin < first:
                continue
        kept.append(cue)
        begin, end = first, last
    return kept


def negated(tokens: Sequence[str], first: int, reach: int = 3) -> bool:
    """Return whether one of the `reach` tokens before `first` may take back what is said there."""
    return not NEGATORS.isdisjoint(tokens[first - reach if first > reach else 0 : first])
