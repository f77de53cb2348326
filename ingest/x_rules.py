"""The rules of X's filtered stream, kept in step with the brands' queries."""

from collections.abc import Sequence

import msgspec
import requests
import tweepy
from msgspec import Struct

from hark.core.errors import SettingsError

_RULES_A_REQUEST = 25


class _Rule(Struct):
    id: str
    value: str
    tag: str = ""


class _Problem(Struct):
    title: str = ""
    value: str = ""
    detail: str = ""
    details: tuple[str, ...] = ()


class _Answer(Struct):
    data: tuple[_Rule, ...] = ()
    errors: tuple[_Problem, ...] = ()


class Standing(Struct, frozen=True):
    """How the rules stand now: how many were added just now, and the ids of those that are not ours."""

    added: int
    foreign: frozenset[str]


def keep_in_step(client: tweepy.StreamingClient, wanted: Sequence[str], prefix: str) -> Standing:
    """Make X's rules hold exactly `wanted` among those whose tag begins with `prefix`; others stay untouched.

    Only what changed is added and deleted, the new before the old, so that nothing goes unheard in between.
    A rule that X refuses is a SettingsError; tweepy's and X's other errors are raised as they are.
    """
    standing = _decode(client.get_rules())
    values = {rule.value for rule in standing.data}
    ours = [rule for rule in standing.data if rule.tag.startswith(prefix)]
    # X takes no value twice: one that someone else's rule has already reaches us through that.
    missing = [value for value in dict.fromkeys(wanted) if value not in values]
    for begin in range(0, len(missing), _RULES_A_REQUEST):
        chunk = missing[begin : begin + _RULES_A_REQUEST]
        answer = _decode(client.add_rules([tweepy.StreamRule(value, f"{prefix}rule") for value in chunk]))
        for problem in answer.errors:
            if problem.title != "DuplicateRule":
                why = problem.detail or "; ".join(problem.details) or problem.title
                raise SettingsError(
                    f"X refuses the rule {problem.value!r}, made of the brands' queries: {why}"
                )
    stale = [rule.id for rule in ours if rule.value not in wanted]
    if stale:
        client.delete_rules(stale)
    foreign = {rule.id for rule in standing.data if rule not in ours and rule.value not in wanted}
    return Standing(len(missing), frozenset(foreign))


def _decode(response: requests.Response) -> _Answer:
    try:
        return msgspec.json.decode(response.content, type=_Answer)
    except msgspec.MsgspecError as error:
        raise requests.RequestException(f"an answer that is not X's: {error}") from error
