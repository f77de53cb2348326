"""A value that copies of one text share: reposts, copies with another link, handle, case or punctuation.

Handles, links, the signs of hashtags, punctuation, emoji, case and "RT" are left out. What remains is judged by its
length in distinct words:

- up to seven: all words in their order; short texts must be equal.
- up to 23: the set of words that are not among the commonest of English, where those are five or more (the signature of A. Chowdhury and others,
  "Collection statistics for fast duplicate document detection", 2002); small words and the order may differ.
- more: the eight of these words whose hashes are the smallest (bottom-k, after A. Broder, "On the resemblance and
  containment of documents", 1997), so that words changed here and there mostly leave it as it is.

One value cannot find every near-copy: the more words differ, the more often the values do. Numbers count as words:
two flights are two stories. A repost that the platform cut short has another value than the whole.
"""

from collections.abc import Sequence
from hashlib import blake2b
from zlib import crc32

from enrich import Context
from hark.core.draft import Draft

_SHORT = 7
_LONG = 24
_FEWEST = 5
_SKETCH = 8
_REMEMBERED = 50_000
_COMMON = frozenset(
    """
    a about after again all also am an and any are as at back be because been before being but by can can't could did
    didn't do does doesn't doing don't down even ever every for from get getting go going got had has have haven't having
    he her here him his how i i'd i'll i'm i've if in into is isn't it its just know let like make me more most much my
    need never no not now of off on one only or other our out over own please really rt she should so some still such
    than that the their them then there these they this those through to too u until up ur us very via want was wasn't
    way we were what when where which while who why will with won't would yes yet you you're your
    """.split()  # noqa: SIM905
)


class Fingerprint:
    """Fills in `fingerprint`; None where there is no word at all."""

    name = "fingerprint"
    version = "1"

    def enrich(self, drafts: Sequence[Draft]) -> None:
        """Fill in `fingerprint` from `tokens`."""
        for draft in drafts:
            draft.fingerprint = fingerprint(draft.tokens)


def build(context: Context) -> Fingerprint:
    """Return the step; it has no options."""
    return Fingerprint()


def fingerprint(tokens: Sequence[str]) -> str | None:
    """Return sixteen hex digits for the tokens of a text; None without a word."""
    distinct = set(map(_word, tokens))
    distinct.discard("")
    if not distinct:
        return None
    if len(distinct) <= _SHORT:
        telling = [word for token in tokens if (word := _word(token))]
    else:
        uncommon = distinct - _COMMON
        telling = sorted(uncommon if len(uncommon) >= _FEWEST else distinct)
        if len(distinct) >= _LONG:
            telling = sorted(sorted(telling, key=_hash)[:_SKETCH])
    return blake2b(" ".join(telling).encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


class _Words(dict[str, str]):
    """From a token to its word; "" where it is a handle or a sign, or says no more than that it is a repost; bounded."""

    def __missing__(self, token: str) -> str:
        word = token.lstrip("#")
        found = word if word[0].isalnum() and word != "rt" else ""
        if len(self) >= _REMEMBERED:
            self.clear()
        self[token] = found
        return found


class _Hashes(dict[str, int]):
    """From a word to its hash; bounded."""

    def __missing__(self, word: str) -> int:
        found = crc32(word.encode("utf-8", "surrogatepass"))
        if len(self) >= _REMEMBERED:
            self.clear()
        self[word] = found
        return found


_word = _Words().__getitem__
_hash = _Hashes().__getitem__
