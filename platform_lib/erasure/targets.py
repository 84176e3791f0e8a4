"""Find what a scope names in the lake: which contents go whole, and which times of the others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from platform_lib.catalog.model import Drive
from platform_lib.erasure.needles import Needles, content_needles, distinctive, joined, text_needles
from platform_lib.erasure.scope import Scope
from platform_lib.erasure.windows import EVER, Window, among, clipped, padded, windows_inside
from platform_lib.errors import ConfigError
from platform_lib.lake.lake import Lake
from platform_lib.lake.route import POSITIONS, positions_in

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
            f"no drive '{scope.drive}' in the lake", where="--drive", remedy="`drivetrain drives` lists them"
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


def needles_of(lake: Lake, targets: Targets) -> tuple[Needles, tuple[str, ...]]:
    """Take pieces of everything that goes: of samples, raw and blurred frames, and of the names of drives that go whole.

    Returns:
        What to look for, and the drives that hold some of the same pictures bit for bit: they stay, and so what is
        theirs too is not looked for.
    """
    going = joined([_content(lake, item) for item in targets.items])
    staying, sharing = np.zeros(len(going.content), np.bool_), set[str]()
    named = {item.ingest_id for item in targets.items}
    for item in lake.catalog.view().ingests:
        if item.ingest_id not in named:
            theirs = joined([content_needles(blobs) for _, blobs in _blobs(lake, item.ingest_id)])
            shared = np.isin(going.content, theirs.content)
            staying |= shared
            sharing |= {item.drive_id} if shared.any() else set()
    going = Needles(going.content[~staying], going.texts, going.short_texts)
    others = [drive.drive_id for drive in lake.drives() if drive.drive_id not in targets.gone]
    names = [piece for name in targets.gone if (piece := distinctive(name, others)) is not None]
    return joined([going, text_needles(names)]), tuple(sorted(sharing - set(targets.gone)))


def _content(lake: Lake, item: Target) -> Needles:
    """Digest pieces of what goes of a log; a picture that stays too, bit for bit, is not looked for."""
    going: list[Needles] = []
    staying: list[Needles] = []
    for times, blobs in _blobs(lake, item.ingest_id):
        goes = among(times, item.windows) if item.windows else np.ones(len(times), dtype=np.bool_)
        going.append(content_needles([blob for blob, yes in zip(blobs, goes, strict=True) if yes]))
        staying.append(content_needles([blob for blob, yes in zip(blobs, goes, strict=True) if not yes]))
    both, rest = joined(going), joined(staying)
    return Needles(np.setdiff1d(both.content, rest.content), both.texts, both.short_texts)


def _blobs(lake: Lake, ingest_id: int) -> Iterator[tuple[np.ndarray, Sequence[bytes]]]:
    head = lake.catalog.head()
    blurs = [item.blur_id for item in lake.blurs.visible() if item.ingest_id == ingest_id]
    streams = [lake.store.raw.batches([ingest_id], rows=_ROWS), lake.store.blurred.batches(blurs, rows=_ROWS)]
    if head is not None:
        scanner = lake.store.samples(head).scanner(filter=f"ingest_id = {ingest_id}", batch_size=_ROWS)
        streams.append(scanner.to_batches())
    for batches in streams:
        for batch in batches:
            yield batch.column("timestamp_ns").to_numpy(), batch.column("data").to_pylist()
