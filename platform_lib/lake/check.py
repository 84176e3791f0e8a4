"""Compares what the catalogue promises with what both stores hold; changes nothing.

| finding | what it means | repair |
|---|---|---|
| unfinished | an ingest that was begun and never committed, or rows that were replaced and not yet deleted | its rows and files are deleted |
| torn | a version of the sample store that a power loss left half written, never seen by a reader | it is removed |
| unnamed | a store is ahead of the version that readers see | the catalogue names the newer version, once its rows are right |
| orphan | a file that no version names | it is deleted |
| unknown rows | rows of an ingest that the catalogue does not show | they are deleted |
| lost file | a file that readers need is not there, or has another length | its log is read again |
| damaged file | its bytes are not those that were written (with digests) | its log is read again |
| wrong count | an ingest has more or fewer rows than were committed | its log is read again |

The same is said of blurred frames, by blur instead of ingest; they are dropped to be blurred again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from platform_lib.catalog.model import LakeHead
from platform_lib.lake.check_blurred import check_blurred
from platform_lib.lake.findings import Finding, Findings, as_dict
from platform_lib.lake.inventory import Inventory
from platform_lib.lake.lake import Lake
from platform_lib.lake.place import LakePath, arrow_path, refuse_unreachable, sizes_below
from platform_lib.lake.tables import BLURRED_NAME


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What a check found.

    Attributes:
        ingests: Committed ingests that were compared.
        files: Data files that readers see.
        bytes: Of those.
        digests: How many of them were compared with their digest.
        without_digest: How many have none on record, of those that were to be compared.
    """

    findings: tuple[Finding, ...]
    ingests: int
    files: int
    bytes: int
    digests: int
    without_digest: int


@dataclass(slots=True)
class _Check(Findings):
    lake: Lake = field(kw_only=True)
    head: LakeHead | None = field(kw_only=True)


def check_lake(lake: Lake, *, digests: bool = False, head: LakeHead | None = None) -> CheckReport:
    """Compare catalogue and stores. The caller holds the home's locks ``ingest`` and ``blur``: nothing is on its way.

    Args:
        lake: Which.
        digests: Read every data file and compare its sha256 with the one it was written with.
        head: The versions to look at; those that readers see by default.
    """
    if not lake.store.exists:
        return CheckReport((), 0, 0, 0, 0, 0)
    view = lake.catalog.view()
    check = _Check(lake=lake, head=head or view.head)
    try:
        newest = lake.store.newest()
        inventory = Inventory({}, {}, {}) if check.head is None else lake.store.inventory(check.head)
    except (OSError, ValueError, RuntimeError) as error:
        refuse_unreachable(lake.store.root, error)
        check.add("torn", lake.store.samples_uri, f"its newest version cannot be read: {str(error).splitlines()[0]}")
        return CheckReport(tuple(check.items), len(view.ingests), 0, 0, 0, 0)
    hidden = lake.catalog.leftovers()
    for ingest_id in hidden:
        check.add("unfinished", f"ingest {ingest_id}", "it was begun and never committed, or its rows were replaced")
    if check.head is not None and check.head != newest:
        check.add("unnamed", lake.store.root, f"readers see {check.head}, the stores are at {newest}")
    for path in lake.store.orphans():
        check.add("orphan", path, "no version of the stores names it")
    for name in lake.store.unfinished_uploads():
        check.add("orphan", name, "an upload in parts that was never completed")
    there = sizes_below(lake.store.root)
    sound = _check_files(check, inventory, there, digests=digests)
    _check_counts(check, inventory, sound, hidden)
    blurred = check_blurred(lake, check, there, sound, digests=digests)
    total = sum(there[path] for path in sound) + sum(blurred.values())
    files = len(inventory.files) + len(blurred)
    return CheckReport(tuple(check.items), len(view.ingests), files, total, check.digests, check.without_digest)


def _check_files(check: _Check, inventory: Inventory, there: Mapping[LakePath, int], *, digests: bool) -> set[LakePath]:
    """Look at every file that readers see; return those that can be read."""
    root = check.lake.store.root
    known = {
        root / path: stored
        for path, stored in check.lake.catalog.lake_files().items()
        if not path.startswith(BLURRED_NAME)
    }
    sound: set[LakePath] = set()
    for path, named_bytes in inventory.files.items():
        stored, owner = known.get(path, (None, None))
        ours = owner or _owner(path)
        if check.look(path, there.get(path), named_bytes, stored, digests=digests, ingest_id=ours):
            sound.add(path)
    for path in sorted(known.keys() - inventory.files.keys(), key=str):
        what = "the catalogue names it, the version that readers see does not"
        check.add("lost file", path, what, ingest_id=known[path][1])
    return sound


def _owner(path: LakePath) -> int | None:
    """Tell whose rows a Parquet file holds by its name, which begins with the ingest."""
    number = path.stem.partition("-")[0]
    return int(number) if path.suffix == ".parquet" and number.isdecimal() else None


def _check_counts(check: _Check, inventory: Inventory, sound: set[LakePath], hidden: Iterable[int]) -> None:
    """Count rows by ingest, and compare with what was committed."""
    promised = check.lake.catalog.row_counts()
    found = (_count_signals(check, inventory, sound), _count_samples(check, inventory, sound))
    lost = {item.ingest_id for item in check.items if item.ingest_id is not None}
    for ingest_id, counts in sorted(promised.items()):
        for name, expected, counted in zip(("signal rows", "samples"), counts, found, strict=True):
            if counted[ingest_id] != expected and ingest_id not in lost:
                what = f"it has {counted[ingest_id]:,} {name}, committed were {expected:,}"
                check.add("wrong count", f"ingest {ingest_id}", what, ingest_id=ingest_id)
    shown = promised.keys() | set(hidden)
    for ingest_id in sorted((found[0].keys() | found[1].keys()) - shown):
        check.add("unknown rows", f"ingest {ingest_id}", "the stores hold rows of it, the catalogue does not show it")


def _count_signals(check: _Check, inventory: Inventory, sound: set[LakePath]) -> Counter[int]:
    counts: Counter[int] = Counter()
    for path in inventory.signals.keys() & sound:
        try:
            name, system = arrow_path(path)
            table = pq.read_table(name, columns=["ingest_id", "signal", "rows"], filesystem=system)
        except (OSError, pa.ArrowException) as error:
            refuse_unreachable(path, error)
            check.add("damaged file", path, f"it cannot be read: {str(error).splitlines()[0]}", ingest_id=_owner(path))
            continue
        table = table.filter(pc.is_valid(table["signal"]))
        counts.update(as_dict(table.group_by("ingest_id").aggregate([("rows", "sum")]), "ingest_id", "rows_sum"))
    return counts


def _count_samples(check: _Check, inventory: Inventory, sound: set[LakePath]) -> Counter[int]:
    counts: Counter[int] = Counter()
    if check.head is None:
        return counts
    store = check.lake.store
    both = [(item, inventory.fragments) for item in store.samples(check.head).get_fragments()]
    both += [(item, inventory.raw) for item in store.raw.fragments()]
    for fragment, named in both:
        files = named[fragment.fragment_id]
        if not files.keys() <= sound:
            continue
        try:
            table = fragment.to_table(columns=["ingest_id"])
        except (OSError, ValueError, RuntimeError) as error:
            refuse_unreachable(store.root, error)
            for path in files:
                check.add("damaged file", path, f"it cannot be read: {str(error).splitlines()[0]}")
            continue  # whose rows they were shows by their counts
        counts.update(as_dict(table.group_by("ingest_id").aggregate([([], "count_all")]), "ingest_id", "count_all"))
    return counts
