"""Recordings of Reddit itself, as praw's authors made them: read at run time, where they are present."""

import json
import tarfile
from collections.abc import Iterator
from typing import Any

from tests.support.require import shared_data


def exchanges(ending: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (address, answer's JSON) of every recorded exchange, of files whose name has `ending` in it."""
    with tarfile.open(shared_data("api/praw_cassettes.tar.gz")) as archive:
        for member in archive:
            file = archive.extractfile(member) if ending in member.name else None
            if file is None:
                continue
            recording = json.load(file)
            for exchange in recording.get("http_interactions") or recording["interactions"]:
                body = exchange["response"]["body"]["string"]
                if body[:1] in ("{", "["):
                    yield exchange["request"]["uri"], json.loads(body)


def things(part: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (kind, data) of every whole post and comment in an answer, however deep."""
    if isinstance(part, dict):
        if part.get("kind") in ("t1", "t3") and "created_utc" in part["data"]:
            yield part["kind"], part["data"]
        for inner in part.values():
            yield from things(inner)
    elif isinstance(part, list):
        for inner in part:
            yield from things(inner)
