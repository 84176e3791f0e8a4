"""Which database's lake a prefix of a bucket holds.

Only the commands of that database know which files there are named, and delete the others. So the lake has an identity,
which lies in both: a note at the prefix, written once, and a property in Iceberg's catalogue, which a backup of the metadata
takes along.
"""

from __future__ import annotations

import json
import uuid

from pyiceberg.catalog import Catalog as IcebergCatalog

from platform_lib.errors import HomeError
from platform_lib.lake import objects
from platform_lib.lake.objects import ObjectPath

NAMESPACE = "lake"
_PROPERTY = "drivetrain.lake-id"
_NOTE = "lake.json"


def refuse_foreign(root: ObjectPath, iceberg: IcebergCatalog) -> None:
    """Refuse a prefix that holds another database's lake; one that holds none is all right.

    Raises:
        HomeError: It does.
        PlatformError: The bucket is not there, or cannot be read.
    """
    found = _noted(root)
    if found is not None and found != _known(iceberg):
        raise HomeError(
            "the lake there belongs to another database",
            where=root,
            remedy="set DRIVETRAIN_DATABASE_URL to the one that it was filled with, bring that back with `drivetrain"
            " metadata restore`, or name another prefix",
        )


def claim(root: ObjectPath, iceberg: IcebergCatalog) -> None:
    """Make a prefix this database's lake, if it is not yet; under the lock ``ingest``.

    Raises:
        HomeError: It is another database's, or holds something else.
    """
    if _noted(root) is None:
        known = _known(iceberg)
        if known is None:
            if others := objects.listed(root, most=1):
                raise HomeError(
                    f"there are objects that are no lake of ours, such as {next(iter(others)).key}",
                    where=root,
                    remedy="name an empty prefix",
                )
            known = uuid.uuid4().hex
            iceberg.update_namespace_properties(NAMESPACE, updates={_PROPERTY: known})
        objects.put_new(root / _NOTE, json.dumps({"lake_id": known}).encode())
    refuse_foreign(root, iceberg)


def _noted(root: ObjectPath) -> str | None:
    text = objects.get(root / _NOTE)
    if text is None:
        return None
    try:
        return str(json.loads(text)["lake_id"])
    except (ValueError, KeyError, TypeError) as error:
        raise HomeError(
            "the lake's note cannot be read", where=root / _NOTE, remedy="restore it, or name another prefix"
        ) from error


def _known(iceberg: IcebergCatalog) -> str | None:
    if not iceberg.namespace_exists(NAMESPACE):
        return None
    found = iceberg.load_namespace_properties(NAMESPACE).get(_PROPERTY)
    return None if found is None else str(found)
