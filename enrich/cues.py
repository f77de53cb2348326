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
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from itertools import product

from ahocorasick_rs import BytesAhoCorasick, Implementation

from hark.core.draft import Draft
from hark.core.errors import SettingsError

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
# A hashtag's sign becomes a space, so that places stay as they are and "fail" is found in #fail.
_DIGITS_AND_SIGNS = bytes.maketrans(b"123456789#", b"000000000 ")
_LONG_LINE = 1_000


class Cues:
    """One automaton over several lists of phrases."""

    def __init__(self, lists: Sequence[Iterable[tuple[str, int]]]) -> None:
        """Compile the lists; each is (phrase, entry) pairs, the entry being the list's own number for it."""
        words: dict[str, dict[tuple[int, int], None]] = {}
        parts: dict[str, dict[tuple[int, int], None]] = {}
        for number, phrases in enumerate(lists):
            for phrase, entry in phrases:
                where, key = (parts, phrase.strip("*")) if phrase[0] == "*" else (words, _pattern(phrase))
                where.setdefault(key, {})[number, entry] = None
        self._lists = len(lists)
        # For each pattern how many more tokens it covers, and whose it is.
        self._owners = [(key.strip().count(" "), tuple(owners)) for key, owners in words.items()]
        self._automaton = _automaton(words)
        self._part_owners = [tuple(owners) for owners in parts.values()]
        self._part_automaton = _automaton(parts)

    def scan(self, draft: Draft) -> list[list[Cue]]:
        """Return each list's cues, in the order of their ends (hashtags' parts last); once a draft."""
        if draft.cues is None:
            draft.cues = self._scan(draft.tokens)
        return draft.cues

    def _scan(self, tokens: Sequence[str]) -> list[list[Cue]]:
        found: list[list[Cue]] = [[] for _ in range(self._lists)]
        joined = " ".join(tokens)
        line = f" {joined} ".encode("utf-8", "replace").translate(_DIGITS_AND_SIGNS)
        hashtags = "#" in joined
        matches = self._automaton.find_matches_as_indexes(line, overlapping=True)
        if matches:
            owners_of = self._owners
            # Counting spaces is quickest in a short line; in a long one it would take quadratic time.
            starts = _starts(tokens) if hashtags or len(line) > _LONG_LINE else None
            count = line.count
            for pattern, start, _ in matches:
                if starts is None:
                    first = count(b" ", 0, start + 1) - 1
                else:
                    first = bisect_right(starts, start + 1) - 1
                more, owners = owners_of[pattern]
                last = first + more
                for number, entry in owners:
                    found[number].append((entry, first, last))
        if hashtags:
            for place, token in enumerate(tokens):
                if token[0] == "#":
                    text = token.encode("utf-8", "replace")
                    for part, _, _ in self._part_automaton.find_matches_as_indexes(text, overlapping=True):
                        for number, entry in self._part_owners[part]:
                            found[number].append((entry, place, place))
        return found


def expand(line: str, words: Mapping[str, Sequence[str]], where: str) -> list[str]:
    """Return the phrases that one line of a list stands for; SettingsError says `where` the mistake is."""
    pieces: list[Sequence[str]] = []
    covered = 0
    ways = 1
    for piece in _PIECE.finditer(line):
        choice, name, plain = piece.groups()
        if name is not None and name not in words:
            raise SettingsError(
                f"{where}: <{name}> is no list of [words]; there are: {', '.join(words) or 'none'}"
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
    end = -1
    for cue in cues:
        _, first, last = cue
        if first > end:
            # What stands behind all that was kept neither hides nor is hidden.
            kept.append(cue)
            end = last
            continue
        while kept and kept[-1][1] >= first and kept[-1][2] <= last and kept[-1][1:] != (first, last):
            kept.pop()
        if not kept or kept[-1][2] < last or kept[-1][1] >= first:
            kept.append(cue)
        end = kept[-1][2]
    return kept


def negated(tokens: Sequence[str], first: int, reach: int = 3) -> bool:
    """Return whether one of the `reach` tokens before `first` may take back what is said there."""
    return not NEGATORS.isdisjoint(tokens[first - reach if first > reach else 0 : first])


def _pattern(phrase: str) -> str:
    begin = "" if phrase[0] == "0" else " "
    return begin + (phrase[:-1] if phrase[-1] == "*" else phrase + " ")


def _automaton(patterns: Iterable[str]) -> BytesAhoCorasick:
    return BytesAhoCorasick(
        [pattern.encode() for pattern in patterns], implementation=Implementation.ContiguousNFA
    )


def _starts(tokens: Sequence[str]) -> list[int]:
    starts = []
    position = 1
    for token in tokens:
        starts.append(position)
        position += (len(token) if token.isascii() else len(token.encode("utf-8", "replace"))) + 1
    return starts
