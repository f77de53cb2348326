"""The pipeline that most people would write: json, vaderSentiment, spaCy's PhraseMatcher, a table in SQLite."""

import json
import sqlite3
from collections.abc import Sequence

import spacy
from spacy.matcher import PhraseMatcher
from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

_VERBS = "lost delayed cancelled broken missing rude late terrible amazing slow".split()  # noqa: SIM905
_NOUNS = """flight|bag|luggage|crew|agent|seat|gate|app|website|refund|voucher|booking|connection|boarding|wifi|meal|upgrade
check in|customer service|phone line|baggage claim|flight attendant|departure board|security line|first class|boarding pass
carry on|travel credit|rebooking fee|gate agent""".replace("\n", "|").split("|")
PHRASES = [f"{verb} {noun}" for noun in _NOUNS for verb in _VERBS][:300]


class Baseline:
    """Tags lines of JSON by topic and sentiment, and inserts them."""

    def __init__(self, path: str) -> None:
        self._sentiment = SentimentIntensityAnalyzer()
        self._nlp = spacy.blank("en")
        self._matcher = PhraseMatcher(self._nlp.vocab, attr="LOWER")
        for phrase in PHRASES:
            self._matcher.add(phrase, [self._nlp.make_doc(phrase)])
        self._database = sqlite3.connect(path)
        self._database.execute(
            "CREATE TABLE mentions (id TEXT PRIMARY KEY, text TEXT, compound REAL, label TEXT, topics TEXT)"
        )

    def run(self, lines: Sequence[bytes]) -> None:
        """Read, tag and insert the lines one by one, and commit once."""
        for line in lines:
            record = json.loads(line)
            scores = self._sentiment.polarity_scores(record["text"])
            compound = scores["compound"]
            label = "positive" if compound >= 0.05 else "negative" if compound <= -0.05 else "neutral"
            doc = self._nlp(record["text"])
            topics = sorted({self._nlp.vocab.strings[found] for found, _, _ in self._matcher(doc)})
            self._database.execute(
                "INSERT INTO mentions VALUES (?, ?, ?, ?, ?)",
                (record["id"], record["text"], compound, label, json.dumps(topics)),
            )
        self._database.commit()

    def close(self) -> None:
        """Close the database."""
        self._database.close()
