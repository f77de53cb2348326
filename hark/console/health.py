"""How this center is: what /healthz tells."""

from pathlib import Path

from hark.core.clock import from_ms, now
from hark.core.errors import HarkError
from hark.state import State
from hark.supervisor import read_roles


def health(data: Path, state: State) -> tuple[bool, dict[str, object]]:
    """Return whether every supervised process is up, and a body of roles, sources and problems in plain words.

    A platform or server that is away is a problem told, not a reason to be down: the roles wait for it.
    """
    roles = read_roles(data)
    problems = [f"role {role['role']} is not running" for role in roles if not role["up"]]
    sources: list[dict[str, object]] = []
    try:
        for source in state.source_states():
            alive = from_ms(source.alive_ms) if source.alive_ms else None
            silent = (now() - alive).total_seconds() if alive else None
            sources.append({"name": source.name, "last_answer_seconds_ago": silent, "note": source.note})
            if source.error:
                problems.append(f"source {source.name}: {source.error}")
            if source.note:
                problems.append(f"source {source.name}: {source.note}")
    except HarkError as error:
        problems.append(str(error))
    up = all(bool(role["up"]) for role in roles)
    return up, {"up": up, "roles": roles, "sources": sources, "problems": problems}
