"""What a query asks for that is not in the settings: a topic or a brand that nobody is likely to find."""

from collections.abc import Collection, Mapping

from hark.core.mistakes import meant
from hark.core.tree import Field, Query, nodes


def unnamed(query: Query, known: Mapping[str, Collection[str]]) -> list[str]:
    """Return a sentence for each value of the fields `topic` and `brand` that is not among those that are `known`.

    It is for a query that found nothing: a model that was trained gives topics that no file names, too.
    """
    found = []
    for node in dict.fromkeys(node for node in nodes(query.root) if isinstance(node, Field)):
        if node.name in known and node.value not in {value.lower() for value in known[node.name]}:
            values = sorted(known[node.name])
            hint = meant(node.value, values) or f"; it names: {', '.join(values)}"
            found.append(f"{node.name}s.toml names no {node.name} `{node.value}`{hint}")
    return found
