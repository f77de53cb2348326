"""The one tokenizer: what counts as a word, for brands, queries, both stores and highlights.

NFKC, invisible format characters removed, lower case. Handles (`@name`, `@name@host`, `@name.bsky.social`) and
hashtags stay whole, with their sign; a word keeps its inner apostrophes (`don't`) but loses a possessive `'s`;
hyphens, dots and commas separate; Chinese characters and Japanese kana are one token each; each emoji is one
token; links are no tokens. A token is cut at 100 characters.
"""

import re
import unicodedata
from itertools import accumulate

LONGEST_TOKEN = 100
_REMEMBERED, _LONGEST_REMEMBERED = 50_000, 40
Located = tuple[list[str], list[int], list[int]]
"""Tokens, and where each begins and ends in the text."""

# \w leaves out combining marks, which would cut words of Hindi or Arabic at every vowel sign.
_MARKS = "".join(chr(c) for c in range(0x300, 0x10000) if unicodedata.category(chr(c)) in ("Mn", "Mc"))
INVISIBLE = "".join(chr(c) for c in range(0x80, 0x10000) if unicodedata.category(chr(c)) == "Cf") + "".join(
    map(chr, (*range(0xFE00, 0xFE10), *range(0xE0001, 0xE0080)))
)
"""Characters that are not seen: format characters, and those that choose a variant."""
_CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003134f"
# Letters, each with its marks; possessive, as there is nothing to go back for.
_WORD = rf"[^\W{_CJK}]++(?:[{_MARKS}]++[^\W{_CJK}]*+)*+"
_DOMAIN = (
    r"(?:\.[a-z0-9-]{1,63}){0,4}\.(?:social|com|org|net|io|app|dev|co|me|uk|de|fr|es|eu|info|news|blog)\b"
)
_EMOJI = "\u2190-\u21ff\u2300-\u23ff\u2460-\u27bf\u2900-\u297f\u2b00-\u2bff\U0001f000-\U0001faff"
# One group for links and tokens, so that splitting by it gives all of the text. Words of plain letters come first, as
# most are: to ask the classes of all letters and marks takes a fifth longer.
_TOKEN = re.compile(
    rf"([a-zA-Z0-9_]++(?!['’.:]|[^\x00-\x7f])"
    rf"|(?:https?://|www\.)\S+"
    rf"|{_WORD}(?:['’]{_WORD})*+"
    rf"|@\w+(?:@\w[\w.-]*\w|(?i:{_DOMAIN}))?"
    rf"|#{_WORD}"
    rf"|[{_CJK}{_EMOJI}])"
)
_ASCII_WORDS = (
    rf"[a-zA-Z0-9_]++(?:'[a-zA-Z0-9_]++)*+|@[a-zA-Z0-9_]+(?:@\w[\w.-]*\w|(?i:{_DOMAIN}))?|#[a-zA-Z0-9_]++"
)
_ASCII_TOKEN = re.compile(rf"((?:https?://|www\.)\S+|{_ASCII_WORDS})")
_ASCII_TOKEN_WITHOUT_LINKS = re.compile(f"({_ASCII_WORDS})")
_HIDDEN = frozenset(INVISIBLE)
_REMOVED = dict.fromkeys(map(ord, INVISIBLE))


def tokens(text: str) -> list[str]:
    """Return the tokens of `text` in order; in linear time, whatever the text."""
    if text.isascii():
        return _finished(_without_links(_ASCII_TOKEN.findall(text), text))
    if not _HIDDEN.isdisjoint(text):
        text = text.translate(_REMOVED)
    text = unicodedata.normalize("NFKC", text)
    return _finished(_without_links(_TOKEN.findall(text), text))


def spans(text: str) -> list[tuple[str, int, int]]:
    """Return (token, start, end) with positions in `text` as given; the same tokens as `tokens`."""
    return list(zip(*located(text), strict=True))


def located(text: str) -> Located:
    """Return tokens, their starts and their ends as three lists: `spans`, at the price of `tokens`."""
    if text.isascii():
        linked = _has_link(text)
        return _split(_ASCII_TOKEN if linked else _ASCII_TOKEN_WITHOUT_LINKS, text, linked)
    if _HIDDEN.isdisjoint(text) and unicodedata.is_normalized("NFKC", text):
        return _split(_TOKEN, text, _has_link(text))
    plain, begins, ends = _normalized_with_origins(text)
    found, starts, stops = _split(_TOKEN, plain, _has_link(plain))
    return found, [begins[start] for start in starts], [ends[stop - 1] for stop in stops]


def _split(expression: "re.Pattern[str]", text: str, linked: bool) -> Located:
    # Gaps and tokens by turns: where each ends is the sum of the lengths so far.
    pieces = expression.split(text)
    borders = list(accumulate(map(len, pieces)))
    found, starts, ends = pieces[1::2], borders[:-1:2], borders[1::2]
    if linked:
        kept = [at for at, piece in enumerate(found) if not _is_link(piece)]
        found = [found[at] for at in kept]
        starts, ends = [starts[at] for at in kept], [ends[at] for at in kept]
    return _finished(found), starts, ends


def _without_links(found: list[str], text: str) -> list[str]:
    return [piece for piece in found if not _is_link(piece)] if _has_link(text) else found


def _has_link(text: str) -> bool:
    return "://" in text or "www." in text


def _is_link(piece: str) -> bool:
    # No token has a colon, and none but a handle has a dot.
    return piece.startswith(("http://", "https://", "www."))


class _Finished(dict[str, str]):
    """From a piece of text to its token; bounded. Known words cost one look-up, and keep their hash."""

    def __missing__(self, piece: str) -> str:
        token = piece.lower()
        if not token.isalnum():
            token = token.replace("’", "'")[:LONGEST_TOKEN]
            if token.endswith("'s") and len(token) > 2:
                token = token[:-2]
        elif len(token) > LONGEST_TOKEN:
            token = token[:LONGEST_TOKEN]
        if len(piece) <= _LONGEST_REMEMBERED:
            if len(self) >= _REMEMBERED:
                self.clear()
            self[piece] = token
        return token


_finish = _Finished().__getitem__


def _finished(found: list[str]) -> list[str]:
    return list(map(_finish, found))


def _normalized_with_origins(text: str) -> tuple[str, list[int], list[int]]:
    """Normalize like `tokens`; for each character of the result where it begins and ends in `text`.

    Normalization is done between starters (characters that do not combine with what stands before), so that
    the whole is equal to normalizing at once.
    """
    kept = [i for i, character in enumerate(text) if character not in _HIDDEN]
    visible = "".join(text[i] for i in kept)
    if unicodedata.is_normalized("NFKC", visible):
        return visible, kept, [i + 1 for i in kept]
    pieces: list[str] = []
    begins: list[int] = []
    ends: list[int] = []
    begin = 0
    while begin < len(visible):
        end = begin + 1
        while end < len(visible) and _joins(visible[end]):
            end += 1
        piece = unicodedata.normalize("NFKC", visible[begin:end])
        if piece == visible[begin:end]:
            begins.extend(kept[begin:end])
            ends.extend(i + 1 for i in kept[begin:end])
        else:
            begins.extend([kept[begin]] * len(piece))
            ends.extend([kept[end - 1] + 1] * len(piece))
        pieces.append(piece)
        begin = end
    return "".join(pieces), begins, ends


def _joins(character: str) -> bool:
    # Combining marks, and Hangul vowels and finals, merge with what stands before them.
    return unicodedata.combining(character) != 0 or "\u1160" <= character <= "\u11ff" or character in _JOINING


_JOINING = frozenset(
    c for c in _MARKS if unicodedata.normalize("NFKC", "a" + c) != "a" + c or unicodedata.category(c) == "Mc"
) | frozenset("\uff9e\uff9f\u3133\u3135\u3136")
