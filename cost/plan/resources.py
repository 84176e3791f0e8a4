"""Terraform's JSON of a plan as two sides: what is there, and what will be. Pure.

What is there is read from `prior_state`, which Terraform has just refreshed; where a plan has none, from each change's
`before`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from cost.plan.model import Json, Resource

_INDEX = re.compile(r"\[[^\]]*\]")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a stack's resources lie unless their provider says otherwise.

    Attributes:
        stack: Its name.
        account: Its account's id.
        region: Its region; None where the plan does not say.
    """

    stack: str = ""
    account: str = ""
    region: str | None = None


@dataclass(frozen=True, slots=True)
class StackSides:
    """One stack before and after.

    Attributes:
        before: What is there.
        after: What will be.
    """

    before: tuple[Resource, ...]
    after: tuple[Resource, ...]


def sides_of(document: Json, place: Place) -> StackSides:
    """Return both sides of one stack's plan.

    Raises:
        ValueError: The document is no plan in Terraform's JSON: taken as one, it would cost nothing.
    """
    if "resource_changes" not in document and "planned_values" not in document:
        raise ValueError("it has neither 'resource_changes' nor 'planned_values'")
    reader = _Reader(document, place)
    return StackSides(tuple(reader.before()), tuple(reader.after()))


class _Reader:
    """One plan, with what its configuration says of each resource."""

    def __init__(self, document: Json, place: Place) -> None:
        self._document = document
        self._place = place
        configuration = document.get("configuration") or {}
        self._written = dict(_written(configuration.get("root_module") or {}, ""))
        self._providers: Json = configuration.get("provider_config") or {}

    def after(self) -> Iterator[Resource]:
        for item in self._changes():
            values = item["change"].get("after")
            if values is not None:
                yield self._resource(item, values, item["change"].get("after_unknown") or {})

    def before(self) -> Iterator[Resource]:
        state = self._document.get("prior_state") or {}
        kept = dict(_held((state.get("values") or {}).get("root_module") or {}))
        for item in self._changes():
            values = item["change"].get("before")
            if values is not None or item["address"] in kept:
                yield self._resource(item, kept.pop(item["address"], values), {})
        for item in kept.values():  # of the state alone: nothing changes them, and they are paid for
            if isinstance(item, Mapping) and "_item" in item:
                yield self._resource(item["_item"], item, {})

    def _changes(self) -> Iterator[Json]:
        for item in self._document.get("resource_changes") or ():
            if item.get("mode", "managed") == "managed":
                yield item

    def _resource(self, item: Json, values: Json, undecided: Json) -> Resource:
        written = self._written.get(_INDEX.sub("", item["address"]), {})
        provider = self._providers.get(written.get("provider_config_key", ""), {})
        expressions = provider.get("expressions") or {}
        region = (expressions.get("region") or {}).get("constant_value")
        return Resource(
            stack=self._place.stack,
            account=self._place.account,
            region=region if isinstance(region, str) else self._place.region,
            address=item["address"],
            kind=item["type"],
            values=values,
            undecided=undecided,
            links=_links(written.get("expressions") or {}),
            tags={**_default_tags(expressions), **_texts(values.get("tags")), **_texts(values.get("tags_all"))},
        )


def _held(module: Json) -> Iterator[tuple[str, Json]]:
    for item in module.get("resources") or ():
        if item.get("mode", "managed") == "managed":
            yield item["address"], {**(item.get("values") or {}), "_item": {k: item[k] for k in ("address", "type")}}
    for child in module.get("child_modules") or ():
        yield from _held(child)


def _written(module: Json, prefix: str) -> Iterator[tuple[str, Json]]:
    for item in module.get("resources") or ():
        yield f"{prefix}{item['address']}", item
    for name, call in (module.get("module_calls") or {}).items():
        yield from _written(call.get("module") or {}, f"{prefix}module.{name}.")


def _links(expressions: Json) -> dict[str, frozenset[str]]:
    return {name: frozenset(_references(value)) for name, value in expressions.items()}


def _references(expression: Any) -> Iterator[str]:
    if isinstance(expression, list):
        for item in expression:
            yield from _references(item)
    elif isinstance(expression, Mapping):
        for name, value in expression.items():
            if name == "references":
                yield from {".".join(_INDEX.sub("", item).split(".")[:2]) for item in value}
            else:
                yield from _references(value)


def _default_tags(expressions: Json) -> dict[str, str]:
    blocks = expressions.get("default_tags") or [{}]
    first = blocks[0] if isinstance(blocks, list) else blocks
    return _texts((first.get("tags") or {}).get("constant_value"))


def _texts(tags: Any) -> dict[str, str]:
    return {name: value for name, value in tags.items() if isinstance(value, str)} if isinstance(tags, Mapping) else {}
