"""Find what a scope names in the lake: which contents go whole, and which times of the others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import pyarrow as pa

from platform_lib.catalog.model import Drive
from platform_lib.erasure.needles import Needles, distinctive, joined, text_needles
from platform_lib.erasure.pieces import Pieces, whole
from platform_lib.erasure.scope import Scope
from platform_lib.erasure.windows import EVER, Window, among, clipped, padded, windows_inside
from platform_lib.errors import ConfigError
from platform_lib.lake.lake import Lake
from platform_lib.lake.route import POSITIONS, positions_in
from platform_lib.privacy.frames import IMAGE_ENCODINGS

OTHER_RECORDER_NS = 5_000_000_000
"""Recorders of one drive differ by this much at most; times that one knows are widened by it for the others' logs."""
_ROWS = 256


@dataclass(frozen=True, slots=True)
class Target:
    """One content of which something is to go.

    Attributes:
        windows: The times that go, by the log's own clock; empty where all of it does.
    """

    ingest_id: int
    drive_id: str
    file_sha256: str
    paths: tuple[str, ...]
    windows: tuple[Window, ...]

    @property
    def whole(self) -> bool:
        """Whether nothing of it stays."""
        return not self.windows


@dataclass(frozen=True, slots=True)
class Targets:
    """All that a scope names.

    Attributes:
        items: In order of ingest ids.
        gone: Drives of which nothing stays.
        unplaced: Drives without a position: nobody can say whether they were in the area, and nothing of them goes.
    """

    items: tuple[Target, ...]
    gone: tuple[str, ...]
    unplaced: tuple[str, ...]

    @property
    def drives(self) -> tuple[str, ...]:
        """Every drive of which something goes."""
        return tuple(sorted({item.drive_id for item in self.items}))


def find_targets(lake: Lake, scope: Scope) -> Targets:
    """Look for a scope in the lake.

    Raises:
        ConfigError: There is no such drive.
    """
    named = None if scope.drive is None else [scope.drive]
    drives = lake.catalog.drives(named)
    if scope.drive is not None and not drives:
        raise ConfigError(
            f"no drive '{scope.drive}' in the lake",
            where="--drive",
            remedy="`drivetrain drives` lists them: name one as its column 'drive' does",
        )
    ids = {item.key.file_sha256: item.ingest_id for item in lake.catalog.view(named).ingests}
    found: list[Target] = []
    unplaced = []
    for drive in drives:
        placed = _placed(lake, drive, scope)
        if placed is None:
            unplaced.append(drive.drive_id)
            continue
        for file in drive.files:
            windows = _windows_of(placed, file.file_sha256, scope.window)
            if file.start_ns is None or file.stop_ns is None:  # without a row, and so without a time: as its drive goes
                goes, windows = windows == (EVER,), ()
            else:
                windows = clipped(windows, (file.start_ns, file.stop_ns))
                goes, windows = bool(windows), () if windows == ((file.start_ns, file.stop_ns),) else windows
            if goes:
                found.append(Target(ids[file.file_sha256], drive.drive_id, file.file_sha256, file.paths, windows))
    whole = {item.file_sha256 for item in found if item.whole}
    gone = [drive.drive_id for drive in drives if all(file.file_sha256 in whole for file in drive.files)]
    return Targets(tuple(sorted(found, key=lambda item: item.ingest_id)), tuple(gone), tuple(unplaced))


def _windows_of(placed: dict[str, tuple[Window, ...]], file_sha256: str, window: Window) -> tuple[Window, ...]:
    """Return the times of a log inside the area: as its own fixes say, and as the drive's other recorders' do."""
    everywhere = placed.get("")
    if everywhere is not None:
        return clipped(everywhere, window)
    own = placed.get(file_sha256, ())
    others = [item for digest, windows in placed.items() if digest != file_sha256 for item in windows]
    return clipped([*own, *padded(others, OTHER_RECORDER_NS)], window)


def _placed(lake: Lake, drive: Drive, scope: Scope) -> dict[str, tuple[Window, ...]] | None:
    """Return file digest -> times inside the area; "" for all files without an area; None where no log has a position."""
    if scope.area is None:
        return {"": (EVER,)}
    found: dict[str, tuple[Window, ...]] = {}
    for names in POSITIONS:
        for file_sha256, table in lake.signals_by_file(drive.drive_id, names).items():
            for item in positions_in(table, names):
                inside = windows_inside(scope.area, item.times_ns, item.latitude_deg, item.longitude_deg)
                found[file_sha256] = (*found.get(file_sha256, ()), *inside)
    return found or None


@dataclass(frozen=True, slots=True)
class Search:
    """What is looked for after an erasure, and who rightfully holds the same.

    Attributes:
        pictures: Drives that were not named and hold some of the same pictures whole, bit for bit: they stay.
        samples: Stream -> drives that were not named and hold some of its other samples whole, bit for bit.
        pieces: How many pieces of content are looked for.
        shared: How many pieces are not, since something that stays holds them.
        bare: Of how many samples, of `of`, no piece is looked for.
    """

    needles: Needles
    pictures: tuple[str, ...]
    samples: dict[str, tuple[str, ...]]
    pieces: int
    shared: int
    bare: int
    of: int


def needles_of(lake: Lake, targets: Targets) -> Search:
    """Take pieces of everything that goes: of samples, raw and blurred frames, and of the names of drives that go whole.

    All that stays is read, since what it holds too cannot be looked for.
    """
    named = {item.ingest_id: item for item in targets.items}
    pieces, going = Pieces(), set[bytes]()
    for item in targets.items:
        for batch in _batches(lake, item.ingest_id):
            blobs = [blob for blob, goes in zip(batch.blobs, _going(batch, item), strict=True) if goes]
            pieces.add(blobs)
            going |= {whole(blob) for blob in blobs}
    staying = pieces.among_staying()
    pictures, samples = set[str](), dict[str, set[str]]()
    for ingest in lake.catalog.view().ingests:
        target = named.get(ingest.ingest_id)
        for batch in _batches(lake, ingest.ingest_id):
            if target is not None:
                staying.look([blob for blob, goes in zip(batch.blobs, _going(batch, target), strict=True) if not goes])
                continue
            staying.look(batch.blobs)
            for blob, stream, picture in zip(batch.blobs, batch.streams, batch.pictures, strict=True):
                if whole(blob) in going:
                    (pictures if picture else samples.setdefault(stream, set())).add(ingest.drive_id)
    chosen = pieces.choose(staying.shared)
    others = [drive.drive_id for drive in lake.drives() if drive.drive_id not in targets.gone]
    names = [piece for name in targets.gone if (piece := distinctive(name, others)) is not None]
    return Search(
        needles=joined([chosen.needles, text_needles(names)]),
        pictures=tuple(sorted(pictures)),
        samples={stream: tuple(sorted(drives)) for stream, drives in sorted(samples.items())},
        pieces=len(chosen.needles),
        shared=chosen.shared,
        bare=chosen.bare,
        of=chosen.samples,
    )


@dataclass(frozen=True, slots=True)
class _Batch:
    times: np.ndarray
    blobs: Sequence[bytes]
    streams: Sequence[str]
    pictures: Sequence[bool]


def _going(batch: _Batch, item: Target) -> Sequence[bool]:
    return [True] * len(batch.blobs) if item.whole else among(batch.times, item.windows).tolist()


def _batches(lake: Lake, ingest_id: int) -> Iterator[_Batch]:
    """Yield the samples, raw and blurred frames of an ingest."""
    head = lake.catalog.head()
    blurs = [item.blur_id for item in lake.blurs.visible() if item.ingest_id == ingest_id]
    frames = [lake.store.raw.batches([ingest_id], rows=_ROWS), lake.store.blurred.batches(blurs, rows=_ROWS)]
    for batch in chain.from_iterable(frames):
        yield _batch(batch, [True] * batch.num_rows)
    if head is not None:
        scanner = lake.store.samples(head).scanner(filter=f"ingest_id = {ingest_id}", batch_size=_ROWS)
        for batch in scanner.to_batches():
            yield _batch(batch, [encoding in IMAGE_ENCODINGS for encoding in batch.column("encoding").to_pylist()])


def _batch(rows: pa.RecordBatch, pictures: Sequence[bool]) -> _Batch:
    streams = rows.column("stream").to_pylist()
    return _Batch(rows.column("timestamp_ns").to_numpy(), rows.column("data").to_pylist(), streams, pictures)
