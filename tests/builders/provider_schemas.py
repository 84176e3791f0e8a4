"""What a synthesised document says that a provider's schema does not know, or lacks what it demands."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Schema = dict[str, Any]
_AWS = "registry.terraform.io/hashicorp/aws"
# Terraform's own words in every resource, not the provider's.
_META = frozenset({"//", "connection", "count", "depends_on", "for_each", "lifecycle", "provider", "provisioner"})


def differences(schemas: Schema, document: dict[str, Any]) -> list[str]:
    """Return every argument of a document that the schema does not take, each as a path.

    Args:
        schemas: The answer of `terraform providers schema -json`.
        document: Terraform JSON.
    """
    aws = schemas["provider_schemas"][_AWS]
    found: list[str] = []
    for section, key in (("resource", "resource_schemas"), ("data", "data_source_schemas")):
        for kind, members in document.get(section, {}).items():
            if kind not in aws[key]:
                found.append(f"{kind}: no such kind")
                continue
            for name, body in members.items():
                given = {word: value for word, value in body.items() if word not in _META}
                found += _of_block(aws[key][kind]["block"], given, f"{kind}.{name}")
    for body in document.get("provider", {}).get("aws", ()):
        given = {word: value for word, value in body.items() if word != "alias"}
        found += _of_block(aws["provider"]["block"], given, "provider.aws")
    return found


def _of_block(block: Schema, given: dict[str, Any], path: str) -> Iterator[str]:
    attributes, blocks = block.get("attributes", {}), block.get("block_types", {})
    for word, value in given.items():
        if word in blocks:
            for item in value if isinstance(value, list) else [value]:
                yield from _of_block(blocks[word]["block"], item, f"{path}.{word}")
        elif word not in attributes:
            yield f"{path}.{word}: no such argument"
        elif _only_read(attributes[word]):
            yield f"{path}.{word}: can only be read"
    for word, attribute in attributes.items():
        if attribute.get("required") and word not in given:
            yield f"{path}.{word}: is missing"
    for word, inner in blocks.items():
        if inner.get("min_items", 0) > 0 and word not in given:
            yield f"{path}.{word}: is missing"


def _only_read(attribute: Schema) -> bool:
    return bool(attribute.get("computed")) and not attribute.get("optional") and not attribute.get("required")


def untaggable(schemas: Schema) -> set[str]:
    """Return the kinds that take no default tags."""
    kinds = schemas["provider_schemas"][_AWS]["resource_schemas"]
    return {kind for kind, schema in kinds.items() if "tags_all" not in schema["block"].get("attributes", {})}
