"""What lies under the sources of an ingest: every content once, with its digest and every name it goes by."""

from __future__ import annotations

import errno
import os
import shutil
import threading
import uuid
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from platform_lib.catalog.catalog import Catalog
from platform_lib.catalog.model import FileKey, FoundFile, Unfetched
from platform_lib.errors import PlatformError
from platform_lib.home import Home
from platform_lib.lake.bucket import BucketLog, Patience, fetch, list_logs
from platform_lib.lake.intake import FileStamp, storable
from platform_lib.lake.tables import SCHEMA_VERSION
from platform_lib.logs import READER_VERSION, find_logs
from platform_lib.logs.bytes_source import BAG_METADATA, located
from platform_lib.storage import sha256_file, sha256_tree
from ray_jobs.ingest_report import QuarantinedFile
from ray_jobs.read_options import NONE_SHA256

_FETCHERS = 8
_ROUND_BYTES = 2 << 30
_ROUND_LOGS = 1024
_SPOOL = "fetched-"
_MDF_SUFFIXES = (".mf4", ".mdf", ".dat")
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


@dataclass(frozen=True, slots=True)
class Arrived:
    """Logs under the sources, not yet looked into."""

    paths: list[Path]
    bucket_logs: list[BucketLog]

    def __len__(self) -> int:
        return len(self.paths) + len(self.bucket_logs)


@dataclass(slots=True)
class Found:
    """What lies under the sources: `paths` counts names, `contents` are what they hold."""

    paths: int
    contents: list[Content]
    unreadable: list[QuarantinedFile]


def find(sources: Sequence[Path | str], patience: Patience) -> Arrived:
    """Find every log under files, folders and ``s3://bucket/prefix``.

    Raises:
        ConfigError: One does not exist, or may not be listed.
    """
    places = [located(item) for item in sources]
    in_buckets: dict[str, BucketLog] = {}
    for place in places:
        if isinstance(place, str):
            in_buckets |= {item.uri: item for item in list_logs(place, patience)}
    paths = find_logs([item for item in places if isinstance(item, Path)])
    return Arrived(paths, [in_buckets[uri] for uri in sorted(in_buckets)])


def forget_gone(catalog: Catalog, sources: Sequence[Path | str], arrived: Arrived) -> None:
    """Forget logs that could not be fetched, and that a list of all that lies below these addresses does not show now."""
    below = [place.rstrip("/") for place in map(located, sources) if isinstance(place, str)]
    there = {log.uri for log in arrived.bucket_logs}
    held = [item.uri for item in catalog.unfetched()] if below else []
    gone = [uri for uri in held if uri not in there and any(f"{uri}/".startswith(f"{place}/") for place in below)]
    if gone:
        catalog.forget_unfetched(gone)


def fetched_before(catalog: Catalog, logs: Sequence[BucketLog]) -> dict[str, Content]:
    """Return stand-ins for logs whose objects are those of the last time: address -> content, with nothing to read."""
    known = catalog.bucket_logs()
    return {log.uri: _stand_in(log, known[log.uri][1]) for log in logs if known.get(log.uri, ("",))[0] == log.mark}


def _stand_in(log: BucketLog, sha256: str) -> Content:
    is_mdf = Path(log.uri).suffix.lower() in _MDF_SUFFIXES
    return Content(sha256, Path(log.uri), log.uri, (log.uri,), FileStamp(log.bytes, 0), is_mdf)


@dataclass(frozen=True, slots=True)
class Round:
    """What was fetched together."""

    logs: int
    bytes: int
    contents: list[Content]


def fetch_rounds(
    catalog: Catalog, home: Home, logs: Sequence[BucketLog], found: Found, patience: Patience
) -> Generator[Round, None, None]:
    """Fetch logs from buckets in rounds that fit on this disk; each is gone when the next is asked for.

    What cannot be fetched is noted, and tried again by the next ingest. While one round is read, the next is on its way.
    """
    home.scratch.mkdir(exist_ok=True)
    for leftover in home.scratch.glob(f"{_SPOOL}*"):  # of a killed ingest: this one alone holds the lock
        shutil.rmtree(leftover, ignore_errors=True)
    stop = threading.Event()
    pool = ThreadPoolExecutor(_FETCHERS)
    with TemporaryDirectory(prefix=_SPOOL, dir=home.scratch) as spool:
        try:
            rounds = _rounds(logs, home)
            start = partial(_start, pool, Path(spool), patience, stop)
            ahead = [start(rounds.pop(0))] if rounds else []
            while ahead:
                current = ahead.pop(0)
                if rounds:
                    ahead.append(start(rounds.pop(0)))
                size_bytes = sum(log.bytes for _, log, _ in current)
                yield Round(len(current), size_bytes, _arrivals(catalog, current, found))
                for folder, _, _ in current:
                    shutil.rmtree(folder, ignore_errors=True)
        finally:
            stop.set()
            pool.shutdown(cancel_futures=True)


_Started = list[tuple[Path, BucketLog, "Future[Path]"]]


def _start(
    pool: ThreadPoolExecutor, spool: Path, patience: Patience, stop: threading.Event, logs: Sequence[BucketLog]
) -> _Started:
    started: _Started = []
    for log in logs:
        folder = spool / uuid.uuid4().hex[:12]
        started.append((folder, log, pool.submit(fetch, log, folder, patience, stop)))
    return started


def _rounds(logs: Sequence[BucketLog], home: Home) -> list[list[BucketLog]]:
    """Divide logs so that two rounds fit on the disk, half of which is left for the lake."""
    room = min(_ROUND_BYTES, shutil.disk_usage(home.root).free // 4)
    rounds: list[list[BucketLog]] = []
    left = 0
    for log in logs:
        if left < log.bytes or len(rounds[-1]) >= _ROUND_LOGS:
            rounds.append([])
            left = room
        rounds[-1].append(log)
        left -= log.bytes
    return rounds


def _arrivals(catalog: Catalog, started: _Started, found: Found) -> list[Content]:
    """Wait for a round, and digest what came."""
    contents: dict[str, Content] = {}
    ours = {item.sha256 for item in found.contents}
    for _, log, future in started:
        try:
            path = future.result()
        except PlatformError as error:
            catalog.note_unfetched(
                log.mark, Unfetched(log.uri, log.bytes, type(error).__name__, error.what, error.remedy)
            )
            found.unreadable.append(QuarantinedFile(log.uri, type(error).__name__, error.what, error.remedy))
            continue
        answer = _digest_one(path)
        if isinstance(answer, OSError):
            raise answer
        sha256 = answer.sha256
        catalog.note_fetched(log.uri, log.mark, log.bytes, sha256)
        names = (log.uri,) if sha256 not in contents else (*contents[sha256].names, log.uri)
        contents[sha256] = Content(sha256, path, names[0], names, answer.stamp, answer.is_mdf)
    fresh = [item for item in contents.values() if item.sha256 not in ours]
    found.contents += fresh
    return list(contents.values())


def digest(paths: Sequence[Path], cpus: int | None) -> tuple[list[Content], list[QuarantinedFile]]:
    """Digest every log; one entry a content, and the logs that cannot even be read."""
    by_digest: dict[str, list[tuple[Path, _Digested]]] = {}
    unreadable: list[QuarantinedFile] = []
    with ThreadPoolExecutor(cpus or os.cpu_count()) as pool:  # hashing releases the interpreter lock
        for path, answer in zip(paths, pool.map(_digest_one, paths), strict=True):
            if isinstance(answer, OSError):
                reason = f"it cannot be read: {answer.strerror or answer}"
                unreadable.append(QuarantinedFile(str(path), "OSError", reason, "check its permissions and its disk"))
            else:
                by_digest.setdefault(answer.sha256, []).append((path, answer))
    contents = []
    for sha256, places in sorted(by_digest.items()):
        path, first = places[0]
        names = tuple(map(_named, (item for item, _ in places)))
        contents.append(Content(sha256, path, str(path), names, first.stamp, first.is_mdf))
    return contents, unreadable


def _named(path: Path) -> str:
    """Return where a log was found, links as they were named, without ``..`` where that leads to the same place."""
    absolute = path.absolute()
    if ".." not in absolute.parts:
        return str(absolute)
    flat = Path(os.path.normpath(absolute))
    return str(flat if flat.exists() and flat.samefile(absolute) else absolute)


def content_at(names: Sequence[str], sha256: str) -> Content | None:
    """Find a content again at the places where it was seen; None if none of them holds it now."""
    for name in names:
        path = Path(name)
        if not os.path.exists(path):  # noqa: PTH110 - a path below a closed folder is not there; Path.exists raises
            continue
        answer = _digest_one(path)
        if not isinstance(answer, OSError) and answer.sha256 == sha256:
            return Content(sha256, path, name, (name,), answer.stamp, answer.is_mdf)
    return None


@dataclass(frozen=True, slots=True)
class _Digested:
    """What one look at a log gave."""

    sha256: str
    stamp: FileStamp
    is_mdf: bool


def _digest_one(path: Path) -> _Digested | OSError:
    try:
        stamp = FileStamp.of(path)  # before the digest, so that a change after it shows
        if path.is_dir():
            _refuse_no_bag(path)
            return _Digested(sha256_tree(path), stamp, is_mdf=False)
        with path.open("rb") as stream:
            is_mdf = stream.read(8) in _MDF_MAGICS
        return _Digested(sha256_file(path), stamp, is_mdf)
    except OSError as error:
        return error


def _refuse_no_bag(folder: Path) -> None:
    """Raise what a folder answers that was closed when it was found, or is; its digest would be that of what is open."""

    def refuse(error: OSError) -> None:
        raise error

    for _ in os.walk(folder, onerror=refuse):
        pass
    if not (folder / BAG_METADATA).is_file():
        raise FileNotFoundError(errno.ENOENT, "a folder that is no bag, or is one no longer", str(folder))
