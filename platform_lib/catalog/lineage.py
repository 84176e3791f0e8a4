"""What saw what: from a log file down to the datasets, runs, models and bundles made from it, by digests."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Engine, func, or_, select

from platform_lib.catalog.elsewhere import notes, write_left
from platform_lib.catalog.records import LAKE, write_manifest
from platform_lib.catalog.schema import ARTEFACTS, EDGES, ERASURE_MARKS, FILES, INGESTS
from platform_lib.errors import IntegrityError
from platform_lib.home import Home
from platform_lib.manifest import Manifest, manifest_path_of, read_manifest

IMPORTED = "imported"
"""As what a dataset saw a drive that it was not made from."""
_SHORTEST = 6
_MANIFEST = "manifest.json"


@dataclass(frozen=True, slots=True)
class Artefact:
    """One artefact as the catalogue knows it.

    Attributes:
        kind: ``dataset``, ``run``, ``model``, ``evaluation``, ``compile``, ``bundle``, ...
        uri: Where it was, for people.
        via: Digests of what it was made from, of those asked about or found before.
        roles: By which names those are its inputs.
        erased: Erasures that touched it.
    """

    sha256: str
    kind: str
    uri: str
    via: tuple[str, ...]
    roles: tuple[str, ...]
    erased: tuple[int, ...]


class Lineage:
    """The catalogue's edges, read from the inputs to what was made from them."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def note_folders(self, home: Home) -> int:
        """Write the rows of all that steps left in a home, from their manifests; return how many there are.

        Steps write their own rows when they have published. What a kill kept from that, and what steps without a
        catalogue left, is made up for here.
        """
        noted = 0
        for left in notes(home):  # first: what lies in the home too keeps its place there
            with self._engine.begin() as connection:
                write_left(connection, left)
            noted += 1
        for path, manifest in _manifests(home):
            place = path.parent if path.name == _MANIFEST else path.with_name(path.name.removesuffix(f".{_MANIFEST}"))
            with self._engine.begin() as connection:
                write_manifest(connection, manifest, place, path.parent)
            noted += 1
        return noted

    def files_of(self, drive_id: str) -> list[str]:
        """Return the visible contents of a drive."""
        with self._engine.connect() as connection:
            found = connection.execute(
                select(INGESTS.c.file_sha256).where(INGESTS.c.drive_id == drive_id, INGESTS.c.state == "committed")
            ).scalars()
            return sorted(found)

    def named(self, text: str) -> list[str]:
        """Return the digests of artefacts and files that a text names: by digest, its beginning, or their place's name."""
        place = ARTEFACTS.c.uri
        with self._engine.connect() as connection:
            names = or_(place == text, func.right(place, len(text) + 1) == f"/{text}")
            found = set(connection.execute(select(ARTEFACTS.c.sha256).where(names)).scalars())
            if len(text) >= _SHORTEST and set(text) <= set("0123456789abcdef"):
                for column in (ARTEFACTS.c.sha256, FILES.c.file_sha256, EDGES.c.input_sha256):
                    found |= set(connection.execute(select(column).where(column.startswith(text))).scalars())
        return sorted(found)

    def newest(self, digests: Sequence[str]) -> list[str]:
        """Return of artefacts that were made at one place, one after another, the one that lies there.

        Where none does any more, the last that was recorded. Files and artefacts alone at their place all stay.
        """
        with self._engine.connect() as connection:
            rows = connection.execute(
                select(ARTEFACTS).where(ARTEFACTS.c.sha256.in_(digests)).order_by(ARTEFACTS.c.recorded_utc)
            ).all()
        last = {(row.kind, row.uri): row.sha256 for row in rows}
        last |= {(row.kind, row.uri): row.sha256 for row in rows if _lies_there(row.uri, row.sha256)}
        older = {row.sha256 for row in rows} - set(last.values())
        return [digest for digest in digests if digest not in older]

    def kind_of(self, digests: Iterable[str]) -> dict[str, tuple[str, str]]:
        """Return digest -> kind and place of those that are artefacts."""
        with self._engine.connect() as connection:
            rows = connection.execute(select(ARTEFACTS).where(ARTEFACTS.c.sha256.in_(list(digests)))).all()
        return {row.sha256: (row.kind, row.uri) for row in rows}

    def descendants(self, digests: Sequence[str]) -> list[Artefact]:
        """Return everything made from these, however far on, nearest first; not what only the whole lake was made into."""
        seen, wave, found = set(digests), list(digests), []
        while wave:
            with self._engine.connect() as connection:
                rows = connection.execute(
                    select(EDGES, ARTEFACTS.c.kind, ARTEFACTS.c.uri)
                    .join(ARTEFACTS, ARTEFACTS.c.sha256 == EDGES.c.sha256)
                    .where(EDGES.c.input_sha256.in_(wave), ARTEFACTS.c.kind != LAKE)
                    .order_by(ARTEFACTS.c.kind, ARTEFACTS.c.uri, EDGES.c.role)
                ).all()
            by_digest: dict[str, list[tuple[str, str]]] = {}
            told = {row.sha256: (row.kind, row.uri) for row in rows}
            for row in rows:
                by_digest.setdefault(row.sha256, []).append((row.input_sha256, row.role))
            wave = [digest for digest in by_digest if digest not in seen]
            seen |= set(wave)
            erased = self.erased(wave)
            found += [
                Artefact(
                    digest,
                    *told[digest],
                    via=tuple(sorted({item for item, _ in by_digest[digest]})),
                    roles=tuple(sorted({role for _, role in by_digest[digest]})),
                    erased=erased.get(digest, ()),
                )
                for digest in wave
            ]
        return found

    def beside(self, known: Sequence[Artefact], datasets: Sequence[str]) -> list[Artefact]:
        """Return these datasets, and what was made from them, as far as it is not among what is known.

        An imported dataset was made from no log, though it may hold samples of a drive.
        """
        seen = {item.sha256 for item in known}
        new = [digest for digest in datasets if digest not in seen]
        erased = self.erased(new)
        told = self.kind_of(new).items()
        own = [Artefact(digest, kind, uri, (), (IMPORTED,), erased.get(digest, ())) for digest, (kind, uri) in told]
        return own + [item for item in self.descendants(new) if item.sha256 not in {*seen, *new}]

    def erased(self, digests: Sequence[str]) -> dict[str, tuple[int, ...]]:
        """Return the erasures that touched artefacts, by digest."""
        with self._engine.connect() as connection:
            rows = connection.execute(
                select(ERASURE_MARKS.c.sha256, ERASURE_MARKS.c.erasure_id)
                .where(ERASURE_MARKS.c.sha256.in_(digests))
                .order_by(ERASURE_MARKS.c.erasure_id)
            ).all()
        found: dict[str, tuple[int, ...]] = {}
        for digest, erasure_id in rows:
            found[digest] = (*found.get(digest, ()), erasure_id)
        return found


def _lies_there(uri: str, sha256: str) -> bool:
    for path in (Path(uri) / _MANIFEST, manifest_path_of(Path(uri))):
        try:
            if read_manifest(path).step_sha256 == sha256:
                return True
        except (IntegrityError, OSError):
            continue
    return False


def _manifests(home: Home) -> Iterator[tuple[Path, Manifest]]:
    """Yield the manifests of what was made in a home, each with its place, inputs before what was made from them."""
    # Datasets and runs hold thousands of other files: only where their manifests, and those of evaluations, can lie.
    near = (f"*/{_MANIFEST}", f"*/*/{_MANIFEST}")
    patterns = (
        (home.datasets, near[:1]),
        (home.runs, near),
        *((it, (f"**/*{_MANIFEST}",)) for it in (home.compiled, home.bundles)),
    )
    for folder, globs in patterns:
        for path in sorted(path for pattern in globs for path in folder.glob(pattern)) if folder.is_dir() else ():
            if any(part.startswith(".tmp-") for part in path.relative_to(folder).parts):
                continue
            try:
                manifest = read_manifest(path)
            except (IntegrityError, OSError):
                continue  # a bundle's own manifest is another document
            yield path, manifest
