"""`hark tag`: enrichment as a filter."""

import codecs
import contextlib
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

import click
import msgspec
from msgspec import UNSET, Struct, UnsetType

from enrich.chain import Chain
from hark.commands.options import common
from hark.core.clock import EARLIEST
from hark.core.errors import RefusedError
from hark.core.mention import Author, Mention, Metrics

LONGEST_LINE_BYTES = 8_000_000
_READ_BYTES = 1 << 18


class _Line(Struct):
    """What is read of a line; everything else in it goes through untouched."""

    text: str
    id: str | None = None
    source: str | None = None
    kind: str | None = None
    title: str | None = None
    url: str | None = None
    author: Author | str | None = None
    created_at: datetime | None = None
    lang: str | None = None
    repost_of: str | None = None
    in_reply_to: str | None = None
    metrics: Metrics | None = None
    client: str | None = None
    enrichment: msgspec.Raw | UnsetType = UNSET


Read = Callable[[int], bytes]
"""Waits for bytes, and returns those that are there, at most so many; b"" at the end."""

_decode = msgspec.json.Decoder(_Line).decode
_encode = msgspec.json.Encoder().encode


@click.command()
@common
@click.option(
    "--models", type=click.Path(path_type=Path, file_okay=False), help="Folder that `hark train` wrote."
)
@click.pass_context
def command(context: click.Context, config: Path | None, data: Path | None, models: Path | None) -> None:
    """Tag texts: a JSON object a line on standard input, the same with `enrichment` on standard output.

    Only `text` is required. A line that cannot be read is reported on standard error, with its number, and left
    out; the others go on, and the exit code is 1.
    """
    from hark.settings import load
    from hark.wiring import chain_of

    settings = load(config, data)
    if models is not None and not models.is_dir():
        raise click.UsageError(f"no folder {models}: `hark train` writes one")
    refused = tag_lines(
        sys.stdin.buffer.read1,  # type: ignore[union-attr]  # BinaryIO does not tell
        sys.stdout.buffer,
        lambda line: click.echo(line, err=True),
        chain_of(settings, models),
    )
    if refused:
        context.exit(1)


def tag_lines(read: Read, target: BinaryIO, warn: Callable[[str], None], chain: Chain) -> int:
    """Tag each line that `read` brings into `target`, in order; return how many were refused.

    What has arrived is tagged together and written at once: a slow pipe waits for nothing, a fast one brings
    hundreds of lines at a time.
    """
    refused = 0
    for lines in _arriving(read):
        originals: list[bytes] = []
        mentions: list[Mention] = []
        for number, line in lines:
            try:
                mention, original = _read(line, number)
            except RefusedError as error:
                refused += 1
                warn(f"line {number}: {error}")
                continue
            mentions.append(mention)
            originals.append(original)
        tagged = zip(originals, chain.tag(mentions), strict=True)
        target.write(b"".join([original + _encode(tags) + b"}\n" for original, tags in tagged]))
        target.flush()
    return refused


def _arriving(read: Read) -> Iterator[list[tuple[int, bytes]]]:
    """Yield the lines that arrived, with their numbers, whenever some have; blank ones are left out.

    A line that is too long comes as its first LONGEST_LINE_BYTES + 1 bytes; memory holds no more of it.
    """
    number = 0
    rest = bytearray()
    while chunk := read(_READ_BYTES):
        head, newline, tail = chunk.rpartition(b"\n")
        if not newline:
            rest += chunk[: LONGEST_LINE_BYTES + 1 - len(rest)]
            continue
        found = head.split(b"\n")
        rest += found[0][: LONGEST_LINE_BYTES + 1 - len(rest)]
        found[0] = bytes(rest)
        rest = bytearray(tail)
        yield [(at, line) for at, line in enumerate(found, number + 1) if line.strip()]
        number += len(found)
    if rest.strip():
        yield [(number + 1, bytes(rest))]


def _read(line: bytes, number: int) -> tuple[Mention, bytes]:
    """Return the mention, and the line up to where its enrichment is to follow; raises RefusedError."""
    if len(line) > LONGEST_LINE_BYTES:
        raise RefusedError(f"longer than {LONGEST_LINE_BYTES:,} bytes")
    if number == 1:
        line = line.removeprefix(codecs.BOM_UTF8)
    try:
        # Fields that are not read are not checked by the decoder.
        line.decode()
    except UnicodeDecodeError as error:
        raise RefusedError(f"not UTF-8: {error.reason} at byte {error.start + 1}") from error
    try:
        found = _decode(line)
    except msgspec.ValidationError:
        # One of the fields is not as expected: only `text` has to be.
        found = _leniently(line)
    except (msgspec.DecodeError, RecursionError) as error:
        raise RefusedError(f"not JSON: {error}") from error
    original = line.strip()[:-1] + b',"enrichment":'
    if found.enrichment is not UNSET:
        # Tagged before: the new tags take the place of the old ones.
        others = msgspec.json.decode(line, type=dict[str, msgspec.Raw])
        del others["enrichment"]
        original = _encode(others)[:-1] + b',"enrichment":'
    return _mention(found, number), original


def _leniently(line: bytes) -> _Line:
    """Read a line of which a field is not as expected; all but `text` can be left out. Raises RefusedError."""
    try:
        fields = msgspec.json.decode(line)
    except (msgspec.DecodeError, RecursionError) as error:
        raise RefusedError(f"not JSON: {error}") from error
    if not isinstance(fields, dict):
        raise RefusedError("not a JSON object")
    if not isinstance(fields.get("text"), str):
        raise RefusedError("`text` is not a string" if "text" in fields else "no `text`")
    found = _Line(fields["text"])
    if "enrichment" in fields:
        found.enrichment = msgspec.Raw(b"null")
    for field in msgspec.structs.fields(_Line):
        if field.name in fields and field.name not in ("text", "enrichment"):
            with contextlib.suppress(msgspec.ValidationError):
                setattr(found, field.name, msgspec.convert(fields[field.name], field.type))
    return found


def _mention(found: _Line, number: int) -> Mention:
    author, at = found.author, found.created_at or EARLIEST
    if at.tzinfo is None:
        at = at.replace(tzinfo=UTC)
    return Mention(
        id=found.id or f"tag:{number}",
        source=found.source or "tag",
        text=found.text,
        created_at=at,
        collected_at=at,
        kind=found.kind or "post",
        title=found.title,
        url=found.url,
        author=Author(author.removeprefix("@")) if isinstance(author, str) else author,
        in_reply_to=found.in_reply_to,
        repost_of=found.repost_of,
        lang=found.lang,
        metrics=found.metrics,
        client=found.client,
    )
