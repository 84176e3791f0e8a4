"""Compiles and signed bundles that were written outside the home that made them, and exports of datasets, wherever they lie.

A note of each stays in the home, so that its catalogue knows by digest what left, and where it was written, though the folder may
be gone by the next day. The catalogue's rows are written from the notes, as others are from manifests.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError
from sqlalchemy import Connection
from sqlalchemy.dialects import postgresql

from platform_lib.catalog.clip_schema import BUNDLES
from platform_lib.catalog.records import write_artefact
from platform_lib.home import Home
from platform_lib.manifest import Manifest
from platform_lib.storage import publish_bytes, sha256_tree

EXPORT = "export"


class Left(BaseModel):
    """What left.

    Attributes:
        sha256: Digest of the folder, as a tree: of a bundle its signature too, so two signings of the same content are two. Of an
            export, of what it was made from and where to.
        place: Where it was written.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    sha256: str
    place: str
    manifest: Manifest


def note_elsewhere(home: Home, manifest: Manifest, place: Path) -> None:
    """Leave a note of a folder that was published outside the home; of one inside there is none, it is found."""
    folder = place.expanduser().resolve()
    if folder.is_relative_to(home.root.resolve()):
        return
    _note(home, Left(sha256=sha256_tree(folder), place=str(folder), manifest=manifest))


def note_export(home: Home, manifest: Manifest, place: Path) -> None:
    """Leave a note of a dataset's export, inside the home or outside: it holds the dataset's pictures, and no manifest."""
    folder = str(place.expanduser().resolve())
    digest = hashlib.sha256(f"{manifest.step_sha256} {folder}".encode()).hexdigest()
    _note(home, Left(sha256=digest, place=folder, manifest=manifest))


def exports(home: Home, digests: Collection[str]) -> list[Path]:
    """Return where exports with these digests were written."""
    return [Path(left.place) for left in notes(home) if left.manifest.kind == EXPORT and left.sha256 in digests]


def _note(home: Home, left: Left) -> None:
    name = f"{left.sha256[:16]}-{hashlib.sha256(left.place.encode()).hexdigest()[:8]}.json"
    home.elsewhere.mkdir(exist_ok=True)
    publish_bytes(home.elsewhere / name, (left.model_dump_json(indent=2) + "\n").encode())


def notes(home: Home) -> Iterator[Left]:
    """Yield what left a home."""
    for path in sorted(home.elsewhere.glob("*.json")) if home.elsewhere.is_dir() else ():
        try:
            yield Left.model_validate_json(path.read_bytes())
        except (ValidationError, OSError):
            continue  # as a torn manifest: it says nothing


def write_left(connection: Connection, left: Left) -> None:
    """Write the rows of one."""
    manifest = left.manifest
    inputs = {name: item.sha256 for name, item in manifest.inputs.items()}
    write_artefact(connection, manifest.kind, left.sha256, left.place, inputs)
    if manifest.kind == "bundle":
        size = sum(item.bytes for item in manifest.outputs.values())
        row = {"name": Path(left.place).name, "created_utc": manifest.created_utc, "bytes": size}
        insert = postgresql.insert(BUNDLES).values(sha256=left.sha256, **row)
        connection.execute(insert.on_conflict_do_update(index_elements=["sha256"], set_=row))
        return
    for name, output in manifest.outputs.items():
        uri = str(Path(left.place) / output.path)
        write_artefact(connection, f"{manifest.kind} file", output.sha256, uri, {name: left.sha256})
