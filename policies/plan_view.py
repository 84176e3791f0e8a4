"""A Terraform plan as rules look at it: what will be there, and what refers to what. Pure; standard library alone.

checkov runs the same rules in an environment of its own, where nothing else of this project is installed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

Json = Mapping[str, Any]
_INDEX = re.compile(r"\[[^\]]*\]")
RAW_DAYS = 90  # the raw zone's, where an environment says nothing shorter


class NoPlanError(ValueError):
    """A document is no plan in Terraform's JSON: judged as one, it would pass for a plan without resources."""


@dataclass(frozen=True, slots=True)
class Resource:
    """One resource as it will be.

    Attributes:
        address: Its address.
        kind: Its Terraform type.
        after: Its known attributes.
        unknown: Attributes, or parts of them, that only an apply tells: `true` in place of each.
        expressions: How its attributes are written in the configuration.
        default_tags: Tags that its provider puts on everything.
    """

    address: str
    kind: str
    after: Json
    unknown: Json = field(default_factory=dict)
    expressions: Json = field(default_factory=dict)
    default_tags: Mapping[str, str] = field(default_factory=dict)

    def get(self, path: str) -> Any:
        """Return the value at `a.b.c`, through lists of one block; None where there is none or it is not known yet."""
        return _walk(self.after, path)

    def blocks(self, path: str) -> list[Json]:
        """Return the blocks at `a.b.c`, all of them where a block is repeated."""
        found: list[Any] = [self.after]
        for part in path.split("."):
            inner = [item.get(part) for item in found if isinstance(item, Mapping)]
            found = [one for item in inner for one in (item if isinstance(item, list) else [item])]
        return [item for item in found if isinstance(item, Mapping)]

    def is_unknown(self, path: str) -> bool:
        """Whether only an apply tells the value at a path."""
        found: Any = self.unknown
        for part in path.split("."):
            while isinstance(found, list) and found:
                found = found[0]
            if found is True:
                return True
            found = found.get(part) if isinstance(found, Mapping) else None
        return found is True

    def references(self, path: str) -> set[str]:
        """Return the addresses that the expression of an attribute names, `var.x` among them."""
        found: list[Any] = [self.expressions]
        for part in path.split("."):
            inner = [item.get(part) for item in found if isinstance(item, Mapping)]
            found = [one for item in inner for one in (item if isinstance(item, list) else [item])]
        names = {name for item in found if isinstance(item, Mapping) for name in item.get("references", ())}
        return {_resource_of(name) for name in names}

    @property
    def tags(self) -> Mapping[str, str]:
        """All its tags, the provider's among them."""
        whole, own = _texts(self.after.get("tags_all")), _texts(self.after.get("tags"))
        if isinstance(self.after.get("tags_all"), Mapping) and not self.unknown.get("tags_all"):
            return whole
        # A tag that only an apply tells makes all of them unknown: what is written down is known all the same.
        return {**self.default_tags, **own, **whole}

    @property
    def taggable(self) -> bool:
        """Whether it takes tags."""
        return "tags_all" in self.after or "tags_all" in self.unknown


@dataclass(frozen=True, slots=True)
class PlanView:
    """What a plan leaves behind, and the day on which it is judged.

    Attributes:
        resources: All resources that will be there, unchanged ones among them.
        today: The day; exceptions run out.
        raw_days: After how many days objects of the raw zone must be gone.
    """

    resources: tuple[Resource, ...]
    today: date
    raw_days: int = RAW_DAYS

    @classmethod
    def of(cls, document: Json, today: date, *, raw_days: int = RAW_DAYS) -> PlanView:
        """Read a plan in Terraform's JSON.

        Raises:
            NoPlanError: It is none.
        """
        if "resource_changes" not in document and "planned_values" not in document:
            raise NoPlanError("the document has neither 'resource_changes' nor 'planned_values'")
        configuration = document.get("configuration", {})
        written = dict(_written(configuration.get("root_module", {}), ""))
        providers = configuration.get("provider_config", {})
        return cls(tuple(_resources(document, written, providers)), today, raw_days)

    def kind(self, *kinds: str) -> Iterator[Resource]:
        """Yield the resources of some kinds."""
        return (item for item in self.resources if item.kind in kinds)

    def pointing(self, kind: str, path: str, target: Resource, *, by: tuple[str, ...] = ("id",)) -> list[Resource]:
        """Return the resources of a kind whose attribute names another resource, by reference or by value."""
        return [item for item in self.kind(kind) if points(item, path, target, by=by)]

    def target(self, resource: Resource, path: str, kind: str, *, by: tuple[str, ...] = ("id",)) -> Resource | None:
        """Return the resource of a kind that an attribute names; None where it is none of this plan's."""
        return next((item for item in self.kind(kind) if points(resource, path, item, by=by)), None)


def joined(document: Json, further: Json) -> Json:
    """Return a plan with what another one has beside it: one stack that is planned in two parts is judged as one.

    What both have is taken from the first.
    """
    known = {item["address"] for item in document.get("resource_changes", ())}
    fresh = [item for item in further.get("resource_changes", ()) if item["address"] not in known]
    added = {item["address"] for item in fresh}

    def module(plan: Json, *path: str) -> list[Json]:
        found: Any = plan
        for part in path:
            found = found.get(part) or {}
        return list(found.get("resources", ()))

    def both(*path: str) -> list[Json]:
        return module(document, *path) + [item for item in module(further, *path) if item["address"] in added]

    configuration = document.get("configuration", {})
    root = {**configuration.get("root_module", {}), "resources": both("configuration", "root_module")}
    values = document.get("planned_values", {})
    providers = {
        **further.get("configuration", {}).get("provider_config", {}),
        **configuration.get("provider_config", {}),
    }
    return {
        **document,
        "resource_changes": [*document.get("resource_changes", ()), *fresh],
        "configuration": {**configuration, "provider_config": providers, "root_module": root},
        "planned_values": {
            **values,
            "root_module": {**values.get("root_module", {}), "resources": both("planned_values", "root_module")},
        },
    }


def points(resource: Resource, path: str, target: Resource, *, by: tuple[str, ...] = ("id",)) -> bool:
    """Whether an attribute names another resource, by reference or by the value of an attribute of that one."""
    if _INDEX.sub("", target.address) in resource.references(path):
        return True
    value = resource.get(path)
    return value is not None and any(target.after.get(name) == value for name in by)


def _texts(tags: Any) -> dict[str, str]:
    return {name: value for name, value in tags.items() if isinstance(value, str)} if isinstance(tags, Mapping) else {}


def _walk(found: Any, path: str) -> Any:
    for part in path.split("."):
        while isinstance(found, list) and found and isinstance(found[0], Mapping):
            found = found[0]
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


def _resource_of(name: str) -> str:
    """Cut `aws_vpc.it.id` and `module.m.aws_vpc.it[0].id` to the resource's address."""
    parts = _INDEX.sub("", name).split(".")
    lead: list[str] = []
    while len(parts) > 2 and parts[0] == "module":
        lead, parts = lead + parts[:2], parts[2:]
    count = 3 if parts[0] == "data" else 2
    return ".".join(lead + parts[:count])


def _written(module: Json, prefix: str) -> Iterator[tuple[str, Json]]:
    for item in module.get("resources", ()):
        yield f"{prefix}{item['address']}", item
    for name, call in module.get("module_calls", {}).items():
        yield from _written(call.get("module", {}), f"{prefix}module.{name}.")


def _resources(document: Json, written: Mapping[str, Json], providers: Json) -> Iterator[Resource]:
    for item in document.get("resource_changes", ()):
        after = item["change"].get("after")
        if item.get("mode", "managed") != "managed" or after is None:
            continue
        how = written.get(_INDEX.sub("", item["address"]), {})
        provider = providers.get(how.get("provider_config_key", ""), {})
        yield Resource(
            address=item["address"],
            kind=item["type"],
            after=after,
            unknown=item["change"].get("after_unknown") or {},
            expressions=how.get("expressions", {}),
            default_tags=_default_tags(provider),
        )


def _default_tags(provider: Json) -> Mapping[str, str]:
    blocks = provider.get("expressions", {}).get("default_tags") or [{}]
    found = blocks[0].get("tags", {}).get("constant_value") or {}
    return {name: value for name, value in found.items() if isinstance(value, str)}
