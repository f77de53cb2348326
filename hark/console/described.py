"""Answers that are msgspec's structs, described in OpenAPI from the structs themselves."""

from typing import Any

import msgspec

_MARK = "x-struct"
_KINDS: list[Any] = []


def answers(kind: Any, status: int = 200) -> dict[int | str, dict[str, Any]]:
    """Return the `responses` of a route that answers with `msgspec.to_builtins` of a `kind`, such as list[Person].

    The route itself says `response_model=None`: what is built of a struct needs no second look.
    """
    _KINDS.append(kind)
    schema = {_MARK: len(_KINDS) - 1}
    return {status: {"content": {"application/json": {"schema": schema}}}}


def describe_structs(schema: dict[str, Any]) -> None:
    """Put the structs into an OpenAPI description, where `answers` has left their places."""
    kinds, parts = msgspec.json.schema_components(_KINDS, ref_template="#/components/schemas/Hark{name}")
    schemas = schema["components"].setdefault("schemas", {})
    schemas |= {f"Hark{name}": part for name, part in parts.items()}
    for path in schema["paths"].values():
        for operation in path.values():
            for answer in operation["responses"].values():
                for content in answer.get("content", {}).values():
                    number = content.get("schema", {}).get(_MARK)
                    if number is not None:
                        content["schema"] = kinds[number]
