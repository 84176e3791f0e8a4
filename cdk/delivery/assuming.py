"""Which role a stack's Terraform assumes: the one that deploys, or the one that reads. Pure."""

from __future__ import annotations

import json
from typing import Any


def assume_instead(content: bytes, *, role: str, instead: str) -> bytes:
    """Return a stack's Terraform JSON whose backend and providers assume another role of the same accounts.

    What is built stays as it is: resources that name the role keep it.

    Args:
        content: The stack's `cdk.tf.json`.
        role: The role's name in it.
        instead: The name of the other one.
    """
    document: dict[str, Any] = json.loads(content)
    places: list[dict[str, Any]] = []
    for backend in document.get("terraform", {}).get("backend", {}).values():
        places += _assumed(backend)
    for providers in document.get("provider", {}).values():
        for provider in providers:
            places += _assumed(provider)
    for place in places:
        arn = str(place.get("role_arn", ""))
        if arn.endswith(f":role/{role}"):
            place["role_arn"] = f"{arn.removesuffix(role)}{instead}"
    return json.dumps(document, indent=2).encode() + b"\n"


def _assumed(block: dict[str, Any]) -> list[dict[str, Any]]:
    found = block.get("assume_role")
    if found is None:
        return []
    return found if isinstance(found, list) else [found]
