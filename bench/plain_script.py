"""What people write themselves: kafka-python, vaderSentiment, PhraseMatcher, helpers.bulk, in one loop.

    python -m bench.plain_script BOOTSTRAP ELASTICSEARCH INDEX [--crc32c]

Offsets are committed after each bulk, so that it is at least honest about crashes. `--crc32c`: with the optional
package that computes kafka-python's checksums in C, which Hark brings along and `pip install kafka-python` does not.
"""

import json
import sys

if "--crc32c" not in sys.argv:
    sys.modules["crc32c"] = None  # type: ignore[assignment]  # as if it were not installed

import spacy
from elasticsearch import Elasticsearch, helpers
from kafka import KafkaConsumer
from spacy.matcher import PhraseMatcher
from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

from bench.baseline import PHRASES


def main(bootstrap: str, address: str, index: str) -> None:
    """Run until killed."""
    analyzer = SentimentIntensityAnalyzer()
    nlp = spacy.blank("en")
    matcher = PhraseMatcher(nlp.vocab, attr="LOWER")
    matcher.add("TOPIC", [nlp.make_doc(phrase) for phrase in PHRASES])
    client = Elasticsearch(address)
    consumer = KafkaConsumer(
        "plain",
        bootstrap_servers=bootstrap,
        group_id="plain",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        max_poll_records=500,
    )
    while True:
        actions = []
        for records in consumer.poll(1000).values():
            for record in records:
                mention = json.loads(record.value)["mention"]
                doc = nlp(mention["text"])
                mention["sentiment"] = analyzer.polarity_scores(mention["text"])
                mention["topics"] = sorted({doc[start:end].text.lower() for _, start, end in matcher(doc)})
                actions.append({"_index": index, "_id": mention["id"], "_source": mention})
        if actions:
            helpers.bulk(client, actions)
            consumer.commit()


if __name__ == "__main__":
    main(*sys.argv[1:4])
