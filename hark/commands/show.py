"""How mentions and numbers look on a terminal."""

import re
from datetime import datetime

from rich.text import Text

from hark.core.mention import Enrichment, Mention
from hark.query.highlight import cut_out
from hark.query.match import Highlights

LONGEST = 160
"""Characters of a text that are shown."""
SIGNS = {"positive": ("▲", "green"), "negative": ("▼", "red")}
_UNSEEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069\ufeff]+")


def harmless(text: str, longest: int = LONGEST) -> str:
    """Return hostile text fit for one line of a terminal: no control or direction characters, cut."""
    plain = _UNSEEN.sub(" ", text)
    return plain if len(plain) <= longest else plain[: longest - 1] + "…"


def mention_line(mention: Mention, enrichment: Enrichment, found: Highlights | None = None) -> Text:
    """Return one mention as a line: time, sentiment by shape and colour, source, brands, topics, author, text.

    With `found`, it shows the part of the text where a query's words stand, these in bold.
    """
    sign, colour = SIGNS.get(enrichment.sentiment.label, ("●", "default"))
    author = mention.author.handle if mention.author and mention.author.handle else ""
    tags = " ".join([*enrichment.brands, *(topic.id for topic in enrichment.topics[:2])])
    line = Text(no_wrap=True, overflow="ellipsis")
    line.append(f"{local(mention.created_at)} ", style="dim")
    line.append(f"{sign} ", style=colour)
    line.append(f"{mention.source} ", style="dim")
    if tags:
        line.append(f"[{harmless(tags, 60)}] ", style="cyan")
    if author:
        line.append(f"@{harmless(author, 30)} ", style="bold")
    title = f"{mention.title} — " if mention.title else ""
    if found is None:
        line.append(harmless(title + mention.text))
        return line
    spans = [*found.title, *((start + len(title), end + len(title)) for start, end in found.text)]
    for piece, is_found in cut_out(title + mention.text, spans, LONGEST):
        line.append(harmless(piece, LONGEST), style="bold yellow" if is_found else "")
    return line


def local(instant: datetime) -> str:
    """Return day and time in the zone of the person at the terminal."""
    return instant.astimezone().strftime("%m-%d %H:%M:%S")
