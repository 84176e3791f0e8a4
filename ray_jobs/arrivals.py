"""What lies under the sources of an ingest: every content once, with its digest and every name it goes by."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from platform_lib.catalog.model import FileKey, FoundFile
from platform_lib.lake.intake import FileStamp, storable
from platform_lib.lake.tables import SCHEMA_VERSION
from platform_lib.logs import READER_VERSION
from platform_lib.storage import sha256_file, sha256_tree
from ray_jobs.ingest_report import QuarantinedFile
from ray_jobs.read_options import NONE_SHA256

_MDF_MAGICS = (b"MDF     ", b"UnFinMF ")


@dataclass(frozen=True, slots=True)
class Content:
    """One content that is to be read.

    Attributes:
        path: Where its bytes lie on this machine.
        shown: Where it was found, for people.
        names: Every place it was found at, as the catalogue keeps it.
        is_mdf: Whether databases and time zones have a say in what the log gives.
    """

    sha256: str
    path: Path
    shown: str
    names: tuple[str, ...]
    stamp: FileStamp
    is_mdf: bool

    def key(self, options_sha256: str) -> FileKey:
        """Return what this release's reading of it is known by."""
        return FileKey(self.sha256, READER_VERSION, SCHEMA_VERSION, options_sha256 if self.is_mdf else NONE_SHA256)

    @property
    def found(self) -> FoundFile:
        """What the catalogue notes of it."""
        return FoundFile(self.key(NONE_SHA256), self.stamp.bytes, tuple(map(storable, self.names)))


def digest(paths: Sequence[Path], cpus: int | None) -> tuple[list[Content], list[QuarantinedFile]]:
    """Digest every log; one entry a content, and the logs that cannot even be read."""
    by_digest: dict[str, list[tuple[Path, FileStamp]]] = {}
    unreadable: list[QuarantinedFile] = []
    with ThreadPoolExecutor(cpus or os.cpu_count()) as pool:  # hashing releases the interpreter lock
        for path, answer in zip(paths, pool.map(_digest_one, paths), strict=True):
            if isinstance(answer, OSError):
                reason = f"it cannot be read: {answer.strerror or answer}"
                unreadable.append(QuarantinedFile(str(path), "OSError", reason, "check its permissions and its disk"))
            else:
                by_digest.setdefault(answer[0], []).append((path, answer[1]))
    contents = []
    for sha256, places in sorted(by_digest.items()):
        path, stamp = places[0]
        names = tuple(str(item.resolve()) for item, _ in places)
        contents.append(Content(sha256, path, str(path), names, stamp, _is_mdf(path)))
    return contents, unreadable


def content_at(names: Sequence[str], sha256: str) -> Content | None:
    """Find a content again at the places where it was seen; None if none of them holds it now."""
    for name in names:
        path = Path(name)
        if not path.exists():
            continue
        answer = _digest_one(path)
        if not isinstance(answer, OSError) and answer[0] == sha256:
            return Content(sha256, path, name, (name,), answer[1], _is_mdf(path))
    return None


def _digest_one(path: Path) -> tuple[str, FileStamp] | OSError:
    try:
        stamp = FileStamp.of(path)  # before the digest, so that a change after it shows
        return (sha256_tree(path) if path.is_dir() else sha256_file(path)), stamp
    except OSError as error:
        return error


def _is_mdf(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as stream:
        return stream.read(8) in _MDF_MAGICS
