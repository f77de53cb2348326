"""What a query asks for that is not in the settings: a topic or a brand that nobody is likely to find."""

from collections.abc import Collection, Iterator, Mapping

from hark.core.mistakes import meant
from hark.core.tree import And, Field, Node, Not, Or, Query


def unnamed(query: Query, known: Mapping[str, Collection[str]]) -> list[str]:
    """Return a sentence for each value of the fields `topic` and `brand` that is not among those that are `known`.

    It is for a query that found nothing: a model that was trained gives topics that no file names, too.
    """
    found = []
    for node in dict.fromkeys(_fields(query.root)):
        if node.name in known and node.value not in {value.lower() for value in known[node.name]}:
            values = sorted(known[node.name])
            hint = meant(node.value, values) or f"; it names: {', '.join(values)}"
            found.append(f"{node.name}s.toml names no {node.name} `{node.value}`{hint}")
    return found


def _fields(node: Node) -> Iterator[Field]:
    if isinstance(node, Field):
        yield node
    elif isinstance(node, Not):
        yield from _fields(node.child)
    elif isinstance(node, And | Or):
        for child in node.children:
            yield from _fields(child)
