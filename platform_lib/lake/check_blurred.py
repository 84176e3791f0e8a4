"""The part of a check of the lake that looks at blurred frames: changes nothing.

A blurred frame is one row of a committed blur. What is wrong with it is mended by blurring its raw frame again.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from platform_lib.catalog.blurs import VisibleBlur
from platform_lib.lake.findings import Findings, as_dict
from platform_lib.lake.inventory import fragment_files, lance_orphans
from platform_lib.lake.lake import Lake
from platform_lib.lake.own_files import NOT_OURS, strange_files
from platform_lib.lake.place import LakePath, refuse_unreachable
from platform_lib.lake.tables import BLURRED_NAME

_ROWS = 64


def check_blurred(
    lake: Lake, found: Findings, there: Mapping[LakePath, int], whole: Collection[LakePath], *, digests: bool
) -> dict[LakePath, int]:
    """Compare blurred frames with the catalogue, under the locks ``ingest`` and ``blur``; return sound files -> bytes.

    `there` are the files of the lake -> bytes, `whole` those of raw frames, among others, that can be read.

    With digests, every frame is also compared with the raw one that it was made from, where that is still kept.
    """
    store = lake.store.blurred
    visible = {item.blur_id: item for item in lake.blurs.visible()}
    hidden = lake.blurs.leftovers()
    for blur_id in hidden:
        found.add("unfinished", f"blur {blur_id}", "it was begun and never committed, or was replaced", blur_id=blur_id)
    counts: Counter[int] = Counter()
    sound: dict[LakePath, int] = {}
    try:
        if store.exists:
            for path in sorted(lance_orphans(store.uri), key=str):
                found.add("orphan", path, "no version of the stores names it")
            counts, sound = _files(lake, found, there, digests=digests)
            _strange_files(lake, found, sorted(visible))
    except (OSError, ValueError, RuntimeError) as error:
        refuse_unreachable(store.uri, error)
        found.add("torn", store.uri, f"its newest version cannot be read: {str(error).splitlines()[0]}")
        return {}
    for blur_id, item in sorted(visible.items()):
        if counts[blur_id] != item.frames:
            what = f"it has {counts[blur_id]:,} frames, committed were {item.frames:,}"
            found.add("wrong count", f"blur {blur_id}", what, blur_id=blur_id)
        elif digests and (strange := _strange(lake, item, {*sound, *whole})):
            what = f"{strange:,} of its frames were made from other raw frames than those beside them"
            found.add("damaged file", f"blur {blur_id}", what, blur_id=blur_id)
    for blur_id in sorted(counts.keys() - visible.keys() - set(hidden)):
        what = "the store holds rows of it, the catalogue does not show it"
        found.add("unknown rows", f"blur {blur_id}", what, blur_id=blur_id)
    return sound


def _files(
    lake: Lake, found: Findings, there: Mapping[LakePath, int], *, digests: bool
) -> tuple[Counter[int], dict[LakePath, int]]:
    """Look at every file of the newest version; count the rows of those that can be read, by blur."""
    store_uri = lake.store.blurred.uri
    root = store_uri.parent
    known = {
        root / path: stored for path, (stored, _) in lake.catalog.lake_files().items() if path.startswith(BLURRED_NAME)
    }
    counts: Counter[int] = Counter()
    sound: dict[LakePath, int] = {}
    for fragment, files in lake.store.blurred.files():
        good = [
            found.look(path, there.get(path), size, known.get(path), digests=digests, ingest_id=None)
            for path, size in files.items()
        ]
        if not all(good):
            continue  # whose rows they were shows by their counts
        try:
            table = fragment.to_table(columns=["blur_id"])
        except (OSError, ValueError, RuntimeError) as error:
            refuse_unreachable(store_uri, error)
            for path in files:
                found.add("damaged file", path, f"it cannot be read: {str(error).splitlines()[0]}")
            continue
        counts.update(as_dict(table.group_by("blur_id").aggregate([([], "count_all")]), "blur_id", "count_all"))
        sound |= {path: there[path] for path in files}
    return counts, sound


def _strange_files(lake: Lake, found: Findings, blur_ids: Sequence[int]) -> None:
    """Name files with frames that readers see and that no blur wrote."""
    for item in strange_files(lake.catalog, lake.store):
        if lake.store.blurred.count_in(blur_ids, [item]):
            for path in fragment_files(lake.store.blurred.uri, item.metadata):
                found.add("damaged file", path, NOT_OURS)


def _strange(lake: Lake, item: VisibleBlur, sound: Collection[LakePath]) -> int:
    """Count blurred frames beside which there are raw ones of the same stream and time, but none with the digest they name."""
    key = ["stream", "timestamp_ns"]
    kept = lake.store.blurred.batches_in([item.blur_id], sound, columns=[*key, "raw_sha256"], rows=_ROWS)
    named = [row for batch in kept for row in batch.to_pylist()]
    raw: dict[tuple[str, int], set[str]] = {}
    for batch in lake.store.raw.batches_in([item.ingest_id], sound, columns=[*key, "data"], rows=_ROWS):
        for row in batch.to_pylist():
            raw.setdefault((row["stream"], row["timestamp_ns"]), set()).add(hashlib.sha256(row["data"]).hexdigest())
    places = [(raw.get((row["stream"], row["timestamp_ns"])), row["raw_sha256"]) for row in named]
    return sum(there is not None and digest not in there for there, digest in places)
