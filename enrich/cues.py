"""Phrases found in one pass: what the sentiment, topics, intent, urgency and journey steps judge by.

All phrase lists are compiled into one Aho-Corasick automaton and looked up in the line of a text's tokens, so a
text is scanned once however many lists there are. The lists are hand-written TOML: topics.toml, lexicon.toml and
signals.toml of the configuration folder, or the shipped one where the folder has none.

How a phrase is written: words as hark.core.tokens gives them (lower case; `it's` is `it`, hyphens separate), and
- `(a|b|)` one of these, the last one meaning nothing at all; `<name>` a list from the file's [words];
- `delay*` any word that begins so (at the end of a phrase);
- `0` any number (`0 hours` finds "2 hours" and "45 hours"; `0h` finds "3h");
- `fail` finds `#fail` as well; `*fail*` finds `#epicfailure`, and nothing but hashtags.
"""

import re
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from itertools import product

from ahocorasick_rs import BytesAhoCorasick, Implementation

from hark.core.draft import Draft
from hark.core.errors import SettingsError

MOST_WAYS = 2_500
"""Phrases that one line of a list may stand for."""

NEGATORS = frozenset(
    "not no never none nobody nothing neither nor without hardly barely cannot cant dont didnt doesnt isnt wasnt wont "
    "couldnt wouldnt havent hasnt aint can't don't didn't doesn't isn't wasn't won't couldn't wouldn't shouldn't "
    "haven't hasn't hadn't aren't weren't ain't zero lack lacking nowhere stop stopped".split()
)
_PIECE = re.compile(r"\(([^()]*)\)|<([a-z_]+)>|([^()<>]+)")
# A hashtag's sign becomes a space, so that places stay as they are and "fail" is found in #fail.
_DIGITS_AND_SIGNS = bytes.maketrans(b"123456789#", b"000000000 ")
_LONG_LINE = 1_000


Cue = tuple[int, int, int]
"""A phrase that was found: its entry in its list, and its first and last token."""


def expand(line: str, words: Mapping[str, Sequence[str]], where: str) -> list[str]:
    """Return the phrases that one line of a list stands for; raises SettingsError."""
    pieces: list[Sequence[str]] = []
    covered = 0
    for piece in _PIECE.finditer(line):
        covered += len(piece[0])
        if piece[2] is not None and piece[2] not in words:
            raise SettingsError(f"{where}: <{piece[2]}> is no list of [words]; there are: {', '.join(words)}")
        pieces.append(
            words[piece[2]] if piece[2] else piece[1].split("|") if piece[1] is not None else [piece[3]]
        )
    ways = 1
    for each in pieces:
        ways *= len(each)
    if covered != len(line) or ways > MOST_WAYS:
        raise SettingsError(
            f"{where}: {line!r}: expected balanced ( | ), and at most {MOST_WAYS} ways to read it"
        )
    phrases = dict.fromkeys(" ".join("".join(way).split()) for way in product(*pieces))
    for phrase in phrases:
        if not phrase or phrase != phrase.lower() or "*" in phrase.removeprefix("*").removesuffix("*"):
            raise SettingsError(
                f"{where}: {line!r}: expected words in lower case, * only at the end of a phrase"
            )
    return list(phrases)


class Cues:
    """One automaton over several lists. `scan` gives each list's cues in the order of the text."""

    def __init__(self, lists: Sequence[Iterable[tuple[str, int]]]) -> None:
        """Compile the lists; each is (phrase, entry) pairs, the entry being the list's own number for it."""
        owners: dict[str, list[tuple[int, int]]] = {}
        hashtags: dict[str, list[tuple[int, int]]] = {}
        for number, phrases in enumerate(lists):
            for phrase, entry in phrases:
                if phrase.startswith("*"):
                    hashtags.setdefault(phrase.strip("*"), []).append((number, entry))
                else:
                    owners.setdefault(_pattern(phrase), []).append((number, entry))
        self.size = len(lists)
        self._owners = list(owners.values())
        self._automaton = _automaton(list(owners))
        self._tag_owners = list(hashtags.values())
        self._tag_automaton = _automaton(list(hashtags))

    def scan(self, draft: Draft) -> list[list[Cue]]:
        """Return a list of cues for each list given; computed once a draft."""
        if draft.cues is None:
            draft.cues = self._scan(draft.tokens)
        return draft.cues

    def _scan(self, tokens: Sequence[str]) -> list[list[Cue]]:
        found: list[list[Cue]] = [[] for _ in range(self.size)]
        plain = " ".join(tokens)
        line = f" {plain} ".encode("utf-8", "replace").translate(_DIGITS_AND_SIGNS)
        hashtags = "#" in plain
        matches = self._automaton.find_matches_as_indexes(line, overlapping=True)
        if matches:
            # Counting spaces is fastest in a short line; in a long one it would take quadratic time.
            starts = _starts(tokens) if hashtags or len(line) > _LONG_LINE else None
            for pattern, start, end in matches:
                if starts is None:
                    first = line.count(b" ", 0, start + 1) - 1
                    last = first + line.count(b" ", start + 1, end - 1)
                else:
                    first = bisect_right(starts, start + 1) - 1
                    last = bisect_right(starts, end - 2) - 1
                for number, entry in self._owners[pattern]:
                    found[number].append((entry, first, last))
        if hashtags and self._tag_owners:
            for place, token in enumerate(tokens):
                if token[0] == "#":
                    for pattern, _, _ in self._tag_automaton.find_matches_as_indexes(token.encode("utf-8", "replace"), overlapping=True):
                        for number, entry in self._tag_owners[pattern]:
                            found[number].append((entry, place, place))
        return found


def longest(cues: list[Cue]) -> list[Cue]:
    """Return the cues without those that lie within a longer one ("thanks for nothing" hides "thanks")."""
    if len(cues) < 2:
        return cues
    kept: list[Cue] = []
    begin = reach = -1
    for cue in sorted(cues, key=_by_place):
        _, first, last = cue
        if last > reach or (first == begin and last == reach):
            kept.append(cue)
            begin, reach = first, last
    return kept


def negated(tokens: Sequence[str], first: int, reach: int = 3) -> bool:
    """Return whether one of the `reach` tokens before `first` takes back what is said there."""
    return not NEGATORS.isdisjoint(tokens[first - reach if first > reach else 0 : first])


def _by_place(cue: Cue) -> tuple[int, int]:
    return cue[1], -cue[2]


def _pattern(phrase: str) -> str:
    begin = "" if phrase[0] == "0" else " "
    return begin + (phrase[:-1] if phrase[-1] == "*" else phrase + " ")


def _automaton(patterns: list[str]) -> BytesAhoCorasick:
    return BytesAhoCorasick([pattern.encode() for pattern in patterns], implementation=Implementation.ContiguousNFA)


def _starts(tokens: Sequence[str]) -> list[int]:
    starts = []
    position = 1
    for token in tokens:
        starts.append(position)
        position += (len(token) if token.isascii() else len(token.encode("utf-8", "replace"))) + 1
    return starts
