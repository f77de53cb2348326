"""What happens to an incident, as it is told: the contract between the alert role and whoever tells people."""

from datetime import datetime
from typing import Literal

from msgspec import Struct

EventKind = Literal[
    "opened",
    "escalated",
    "updated",
    "acknowledged",
    "silenced",
    "assigned",
    "noted",
    "linked",
    "resolved",
    "reopened",
]
"""`updated`: figures moved or another series joined. `resolved`: over, by itself or by a person. The others a person did."""


class IncidentEvent(Struct, frozen=True):
    """One entry of an incident's timeline, complete enough to be told without asking the store.

    It is handed to `enqueue(connection, event)` inside the transaction that records it, so that either both are
    there or neither; (`incident`, `number`) never comes twice.
    """

    incident: str
    """The incident's id, the same in every instance, restart and replay."""
    number: int
    """Of the event within its incident, from 1; order and identity."""
    kind: EventKind
    at: datetime
    """When it happened: for a verdict the time its bucket was closed, not the time of day that a machine got to it."""
    rule: str
    title: str
    """The rule's title, for people."""
    series: str
    """What it showed in first, for people: "southwest", "southwest × delays", or "all"."""
    severity: int
    """1 to 10 at this moment; 0 once it is over."""
    headline: str
    """One sentence made of figures."""
    body: str
    """Plain text of some lines: contributions, concentration, representative mentions."""
    path: str
    """Of its page, such as /incidents/k3j9x2; whoever tells puts the console's address before it."""
    targets: tuple[str, ...]
    """Names from the rule's `notify`; empty when nobody is to be told."""
    who: str = ""
    """The person who did it, "" for Hark itself."""
    quiet: bool = False
    """It happened in the rule's quiet hours (or while silenced): for the digest, not for now."""
