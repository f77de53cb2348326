"""What it costs to find a text's brands: microseconds of processor time a text, without the tokenizer.

python -m bench.match [TEXTS.csv.gz]     a CSV file with a column `text`; without it, made-up texts
"""

import csv
import gzip
import random
import sys
import time
from datetime import UTC, datetime
from itertools import islice

from hark.core.mention import Mention
from hark.core.tree import Query
from hark.query import parse
from hark.query.match import Document, MatcherSet, compile_query
from hark.settings import load

TEXTS = 5_000
ROUNDS = 5
NOW = datetime(2026, 11, 1, tzinfo=UTC)
CONTEXT = "(flight* OR airline* OR airport OR plane OR gate OR baggage OR pilot* OR crew)"


def texts() -> list[str]:
    if len(sys.argv) > 1:
        with gzip.open(sys.argv[1], "rt", encoding="utf-8") as file:
            return [row["text"] for row in islice(csv.DictReader(file), TEXTS)]
    chance = random.Random(1)
    words = ["".join(chance.choices("abcdefghijklmnopqrstuvwxyz", k=7)) for _ in range(3_000)]
    words += ["delta", "united", "southwest", "flight", "@delta", "bag"] * 40
    return [" ".join(chance.choices(words, k=18)) for _ in range(TEXTS)]


def brands(documents: list[Document], count: int) -> list[Query]:
    """Return the shipped brands, and others of the same shape made of the texts' own words."""
    chance = random.Random(2)
    words = sorted({token for document in documents for token in document.unique if token.isalpha()})
    queries = [brand.query for brand in load().brands]
    while len(queries) < count:
        a, b, c, d = chance.choices(words, k=4)
        queries.append(parse(f'@{a} OR #{a} OR "{a} {b}" OR ({c} AND {CONTEXT} NOT ({d} OR "{d} {a}"))'))
    return queries


def main() -> None:
    mentions = [Mention(f"x:{i}", "x", text, NOW, NOW) for i, text in enumerate(texts())]
    documents = [Document(mention) for mention in mentions]
    for count in (3, 30, 300):
        queries = brands(documents, count)
        together, apart = MatcherSet(queries), [compile_query(query) for query in queries]
        for name, ask in (
            ("together", together.matches),
            ("one by one", lambda document, apart=apart: [m for m in apart if m.matches(document)]),
        ):
            best = float("inf")
            for _ in range(ROUNDS):
                fresh = [
                    Document(d.mention, None, text_tokens=d.text_tokens, title_tokens=()) for d in documents
                ]
                began = time.process_time()
                found = sum(bool(ask(document)) for document in fresh)
                best = min(best, time.process_time() - began)
            per_text = best / len(fresh) * 1e6
            print(f"{count:4} queries {name:10}  {per_text:8.1f} µs a text, {found} of {len(fresh)} match")


if __name__ == "__main__":
    main()
