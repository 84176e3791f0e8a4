"""Objects with faults that no typed object lets be written."""

from __future__ import annotations

from typing import Any

from cdk.cluster.kinds.base import Manifest, Metadata

Json = dict[str, Any]


def edited(document: Json, *path: str | int, value: Any) -> Manifest:
    """Return an object whose document has a value put in at a path."""
    place: Any = document
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value

    class Edited(Manifest):
        def document(self) -> Json:
            return document

    Edited.api_version, Edited.kind = document["apiVersion"], document["kind"]
    Edited.namespaced = "namespace" in document["metadata"]
    meta = document["metadata"]
    return Edited(metadata=Metadata(name=meta["name"], namespace=meta.get("namespace")))
