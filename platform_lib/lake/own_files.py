"""Pictures come from files that the catalogue noted when they were written, and from no others.

Blurred frames are read in the newest version of their store, and a later commit of ours takes up whatever lies in the newest version
of the sample store: rows that somebody wrote past the lake, with Lance itself, would be read as ours, and nobody knows what they show.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from platform_lib.catalog.catalog import Catalog
from platform_lib.catalog.file_owners import unrecorded
from platform_lib.errors import IntegrityError
from platform_lib.lake.place import below
from platform_lib.lake.signal_table import among
from platform_lib.lake.store import Store
from platform_lib.lake.tables import BLURRED_NAME

NOT_OURS = "the catalogue does not know it: no blur wrote it"
_REMEDY = (
    "finish a killed erasure with `drivetrain erase --resume`; else `drivetrain lake check --repair`, then "
    "`drivetrain blur frames`"
)


def refuse_strange_blurred(catalog: Catalog, store: Store, blur_ids: Sequence[int]) -> None:
    """Refuse blurred frames of these blurs in files that no blur wrote.

    Raises:
        IntegrityError: There are some.
    """
    if not blur_ids or not store.blurred.exists:
        return
    if store.strange is None or store.strange[0] != store.blurred.version:
        store.strange = (store.blurred.version, tuple(strange_files(catalog, store)))
    # What was not noted a moment ago may be a blur that was just being committed.
    still = strange_files(catalog, store) if store.strange[1] else []
    rows = store.blurred.count_in(blur_ids, still)
    if rows:
        raise IntegrityError(
            f"{rows} blurred frames lie in files that no blur wrote, so nobody knows what they show",
            where=store.blurred.uri,
            remedy=_REMEDY,
        )


def strange_files(catalog: Catalog, store: Store) -> list[Any]:
    """Return the fragments of blurred frames with a data file that the catalogue does not know."""
    named = {str(below(path, store.root)): item for item, files in store.blurred.files() for path in files}
    return [named[name] for name in sorted(unrecorded(catalog.engine, named))]


def refuse_strange_pictures(store: Store, source: Any, ingest_ids: Sequence[int], condition: str) -> None:
    """Refuse rows of the sample store in files that no ingest wrote.

    Args:
        store: Has looked for the files of this version.
        source: The sample store at that version.
        ingest_ids: Whose rows.
        condition: Which of them, in Lance's SQL.

    Raises:
        IntegrityError: There are some.
    """
    known = store.fragments
    if known is None or not known.unrecorded or not ingest_ids:
        return
    strange = [known.by_path[name] for name in sorted(known.unrecorded) if not name.startswith(BLURRED_NAME)]
    named = f"{among(list(ingest_ids))} AND ({condition})"
    if rows := source.scanner(filter=named, fragments=strange).count_rows():
        raise IntegrityError(
            f"{rows} pictures lie in files that no ingest wrote, so nobody knows what they show",
            where=store.samples_uri,
            remedy=_REMEDY,
        )
