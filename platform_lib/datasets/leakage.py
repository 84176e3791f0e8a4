"""What two drives have in common besides equal bytes: pictures that look alike, places, trips. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from platform_lib.datasets.fingerprints import BITS, Words, alike, nearest_bits, words_of
from platform_lib.datasets.model import BoolArray, Int64Array
from platform_lib.datasets.places import GEOHASH_CHARACTERS, neighbourhood, reach_m
from platform_lib.datasets.proof import Link, NearDuplicates, Places, Reason, Trips
from platform_lib.datasets.splits import PAIRS, SPLITS, Split, SplitUnit, assign_splits, duplicate_groups

NEAR_DUPLICATE_BITS = 12
"""Frames that differ in at most so many of 256 bits count as one.

Measured on simulated frames: the same frame encoded again at JPEG quality 50, or shrunk to a half, differs in at most 8
bits, at quality 20 in 14 (8 in 99 of 100); frames of two drives differ in at least 22 (15 drives, every second frame) and
in at least 20 (128 drives, every eighth).
"""
TRIP_GAP_S = 900
"""Recordings of one vehicle less than this apart are pieces of one trip: same light, same traffic, same road ahead."""
LARGEST_SHARE = 0.8
"""A group of linked drives may hold this share of all; val and test need the rest, by `splits.FRACTIONS`."""
_SOFT: tuple[Reason, ...] = ("place", "trip", "near_duplicate")
_PRIORITY: tuple[Split, ...] = ("test", "val", "train")


@dataclass(frozen=True, slots=True)
class Rows:
    """What one drive's samples (N) can be recognised by.

    Attributes:
        vehicle: None where no log names it.
        timestamp_ns: (N,), increasing.
        cells: N geohashes, None where the position is unknown.
        prints: N fingerprints, None where the frame shows nothing.
    """

    vehicle: str | None
    timestamp_ns: Int64Array
    cells: tuple[str | None, ...]
    prints: tuple[bytes | None, ...]


@dataclass(frozen=True, slots=True)
class Placement:
    """Which drive is in which split, and which of its samples stay.

    Attributes:
        split: Drive id -> split.
        links: What drives have in common.
        groups: Drives that were kept together.
        kept: Drive id -> (N,) which samples stay.
        left_out: Drive id -> reason -> samples left out.
    """

    split: Mapping[str, Split]
    links: tuple[Link, ...]
    groups: tuple[tuple[str, ...], ...]
    kept: Mapping[str, BoolArray]
    left_out: Mapping[str, Mapping[Reason, int]]


def place_drives(units: Sequence[SplitUnit], rows: Mapping[str, Rows], *, seed: int) -> Placement:
    """Divide drives so that splits share no picture, place or trip.

    Linked drives are placed together. Where that would leave fewer than three groups, or one that holds more than
    `LARGEST_SHARE` (a fleet that starts from one depot), links by place are given up first, then those by trip, then
    those by picture; what a split then shares with one before it (test, val, train) is left out of it, sample by
    sample. Either way nothing is shared in the end.

    Raises:
        ContractError: See `assign_splits`.
    """
    links = find_links(rows)
    followed = set(_SOFT)
    for reason in _SOFT:
        if _workable(duplicate_groups(units, _followed(links, followed)), len(units)):
            break
        followed.discard(reason)
    split = assign_splits(units, seed=seed, links=_followed(links, followed))
    groups = tuple(group for group in duplicate_groups(units, _followed(links, followed)) if len(group) > 1)
    kept, left_out = _trim(rows, split)
    return Placement(split, links, groups, kept, left_out)


def _followed(links: Sequence[Link], reasons: set[Reason]) -> list[tuple[str, str]]:
    return [link.drives for link in links if link.reason in reasons]


def _workable(groups: Sequence[tuple[str, ...]], drives: int) -> bool:
    return len(groups) >= len(SPLITS) and max(map(len, groups)) <= max(LARGEST_SHARE * drives, 2)


def find_links(rows: Mapping[str, Rows]) -> tuple[Link, ...]:
    """Find every two drives that share a picture, a place or a trip."""
    found: list[tuple[Reason, Counter[tuple[str, str]]]] = [
        ("near_duplicate", _alike_drives(rows)),
        ("place", _common_places(rows)),
        ("trip", Counter(_same_trip(rows))),
    ]
    return tuple(
        Link(drives=drives, reason=reason, count=count)
        for reason, counted in found
        for drives, count in sorted(counted.items())
    )


def _pair(one: str, other: str) -> tuple[str, str]:
    return (one, other) if one < other else (other, one)


def _flat_prints(rows: Mapping[str, Rows]) -> tuple[list[str], Words, Int64Array, Int64Array]:
    """Return the drives, all their prints, and each print's drive and row within it."""
    names = sorted(rows)
    words, place = words_of(value for name in names for value in rows[name].prints)
    drive = np.repeat(np.arange(len(names)), [len(rows[name].prints) for name in names])[place]
    start = np.concatenate([[0], np.cumsum([len(rows[name].prints) for name in names])])
    return names, words, drive.astype(np.int64), (place - start[drive]).astype(np.int64)


def _alike_drives(rows: Mapping[str, Rows]) -> Counter[tuple[str, str]]:
    names, words, drive, _ = _flat_prints(rows)
    found = alike(words, drive, max_bits=NEAR_DUPLICATE_BITS)
    pairs = zip(drive[found.one].tolist(), drive[found.other].tolist(), strict=True)
    return Counter(_pair(names[one], names[other]) for one, other in pairs)


def _common_places(rows: Mapping[str, Rows]) -> Counter[tuple[str, str]]:
    owners: dict[str, set[str]] = defaultdict(set)
    for name, own in rows.items():
        for cell in set(own.cells) - {None}:
            owners[str(cell)].add(name)
    found: Counter[tuple[str, str]] = Counter()
    for cell, names in owners.items():
        around = {other for near in neighbourhood(cell) for other in owners.get(near, ())}
        found.update({_pair(name, other) for name in names for other in around if other != name})
    return found


def _same_trip(rows: Mapping[str, Rows]) -> list[tuple[str, str]]:
    by_vehicle: dict[str, list[tuple[int, int, str]]] = defaultdict(list)
    for name, own in rows.items():
        if own.vehicle is not None and len(own.timestamp_ns):
            by_vehicle[own.vehicle].append((int(own.timestamp_ns[0]), int(own.timestamp_ns[-1]), name))
    found = []
    for drives in by_vehicle.values():
        last_ns, last = 0, ""
        for start_ns, stop_ns, name in sorted(drives):
            if last and start_ns - last_ns < TRIP_GAP_S * 1_000_000_000:
                found.append(_pair(last, name))
            if stop_ns > last_ns or not last:
                last_ns, last = stop_ns, name
    return found


def _trim(
    rows: Mapping[str, Rows], split: Mapping[str, Split]
) -> tuple[dict[str, BoolArray], dict[str, Counter[Reason]]]:
    """Leave out of each split what a split before it, in order of priority, has already."""
    kept: dict[str, BoolArray] = {name: np.ones(len(own.timestamp_ns), dtype=np.bool_) for name, own in rows.items()}
    left_out: dict[str, Counter[Reason]] = {name: Counter() for name in rows}
    doubles = _doubles(rows, split)
    cells: set[str] = set()
    times: list[tuple[str, int, int]] = []
    for current in _PRIORITY:
        members = sorted(name for name, where in split.items() if where == current)
        for name in members:
            tests: tuple[tuple[Reason, BoolArray], ...] = (
                ("place", np.array([cell in cells for cell in rows[name].cells], dtype=np.bool_)),
                ("trip", _during(rows[name], times)),
                ("near_duplicate", _has_double(rows[name], doubles.get(name, []), kept)),
            )
            for reason, shared in tests:
                left_out[name][reason] += int(np.count_nonzero(kept[name] & shared))
                kept[name] &= ~shared
        for name in members:
            own = rows[name]
            here = {cell for cell, stays in zip(own.cells, kept[name].tolist(), strict=True) if stays and cell}
            cells.update(near for cell in here for near in neighbourhood(cell))
            if own.vehicle is not None and kept[name].any():
                inside = own.timestamp_ns[kept[name]]
                times.append((own.vehicle, int(inside[0]), int(inside[-1])))
    return kept, left_out


def _doubles(rows: Mapping[str, Rows], split: Mapping[str, Split]) -> dict[str, list[tuple[int, str, int]]]:
    """Return drive -> (its row, the drive before it in priority that looks alike, that one's row)."""
    names, words, drive, row = _flat_prints(rows)
    rank = np.array([_PRIORITY.index(split[name]) for name in names], dtype=np.int64)
    found = alike(words, rank[drive] if len(drive) else drive, max_bits=NEAR_DUPLICATE_BITS)
    doubles: dict[str, list[tuple[int, str, int]]] = defaultdict(list)
    for one, other in zip(found.one.tolist(), found.other.tolist(), strict=True):
        first, second = (one, other) if rank[drive[one]] < rank[drive[other]] else (other, one)
        doubles[names[drive[second]]].append((int(row[second]), names[drive[first]], int(row[first])))
    return doubles


def _has_double(own: Rows, doubles: Sequence[tuple[int, str, int]], kept: Mapping[str, BoolArray]) -> BoolArray:
    shared = np.zeros(len(own.timestamp_ns), dtype=np.bool_)
    for row, other, other_row in doubles:
        shared[row] |= kept[other][other_row]
    return shared


def _during(own: Rows, times: Sequence[tuple[str, int, int]]) -> BoolArray:
    shared = np.zeros(len(own.timestamp_ns), dtype=np.bool_)
    gap_ns = TRIP_GAP_S * 1_000_000_000
    for vehicle, start_ns, stop_ns in times:
        if vehicle == own.vehicle:
            shared |= (own.timestamp_ns > start_ns - gap_ns) & (own.timestamp_ns < stop_ns + gap_ns)
    return shared


def _by_split(rows: Mapping[str, Rows], split: Mapping[str, Split]) -> dict[Split, list[Rows]]:
    return {name: [own for drive, own in sorted(rows.items()) if split[drive] == name] for name in SPLITS}


def prove_near_duplicates(rows: Mapping[str, Rows], split: Mapping[str, Split], *, left_out: int) -> NearDuplicates:
    """Compare every frame of each split with every frame of the others, from the rows that were kept."""
    prints = {name: [one for own in members for one in own.prints] for name, members in _by_split(rows, split).items()}
    words = {name: words_of(found)[0] for name, found in prints.items()}
    owner = np.repeat(np.arange(len(SPLITS)), [len(words[name]) for name in SPLITS]).astype(np.int64)
    found = alike(np.concatenate([words[name] for name in SPLITS]), owner, max_bits=NEAR_DUPLICATE_BITS)
    counts = Counter(zip(owner[found.one].tolist(), owner[found.other].tolist(), strict=True))
    places = {name: place for place, name in enumerate(SPLITS)}
    return NearDuplicates(
        method=f"perceptual hash, {BITS} bits",
        max_bits=NEAR_DUPLICATE_BITS,
        compared={name: len(words[name]) for name in SPLITS},
        featureless={name: len(prints[name]) - len(words[name]) for name in SPLITS},
        across={f"{one}/{other}": counts[places[one], places[other]] for one, other in PAIRS},
        nearest_bits={f"{one}/{other}": nearest_bits(words[one], words[other]) for one, other in PAIRS},
        left_out=left_out,
    )


def prove_places(rows: Mapping[str, Rows], split: Mapping[str, Split], *, left_out: int) -> Places:
    """Compare where the samples of each split were taken, from the rows that were kept."""
    found = {name: [cell for own in members for cell in own.cells] for name, members in _by_split(rows, split).items()}
    cells = {name: {cell for cell in of if cell is not None} for name, of in found.items()}
    around = {name: {near for cell in of for near in neighbourhood(cell)} for name, of in cells.items()}
    return Places(
        cell=f"geohash of {GEOHASH_CHARACTERS} characters and the 8 around it",
        reach_m=reach_m(cell for of in cells.values() for cell in of),
        positioned={name: sum(cell is not None for cell in of) for name, of in found.items()},
        unpositioned={name: sum(cell is None for cell in of) for name, of in found.items()},
        cells={name: len(of) for name, of in cells.items()},
        shared={f"{one}/{other}": len(cells[one] & around[other]) for one, other in PAIRS},
        left_out=left_out,
    )


def prove_trips(rows: Mapping[str, Rows], split: Mapping[str, Split], *, left_out: int) -> Trips:
    """Compare when each vehicle's samples of each split were taken, from the rows that were kept."""
    times: dict[str, dict[Split, list[Int64Array]]] = defaultdict(lambda: defaultdict(list))
    for drive, own in rows.items():
        if own.vehicle is not None:
            times[own.vehicle][split[drive]].append(own.timestamp_ns)
    shared = {f"{one}/{other}": sum(_near(of[one], of[other]) for of in times.values()) for one, other in PAIRS}
    return Trips(
        gap_s=TRIP_GAP_S,
        shared=shared,
        unnamed=tuple(sorted(drive for drive, own in rows.items() if own.vehicle is None)),
        left_out=left_out,
    )


def _near(one: Sequence[Int64Array], other: Sequence[Int64Array]) -> bool:
    """Say whether any time of one is less than a trip's gap from any of the other."""
    ours, theirs = (np.sort(np.concatenate([np.zeros(0, dtype=np.int64), *times])) for times in (one, other))
    if not len(ours) or not len(theirs):
        return False
    after = np.searchsorted(theirs, ours)
    gap_ns = np.minimum(
        np.abs(theirs[np.minimum(after, len(theirs) - 1)] - ours), np.abs(theirs[np.maximum(after - 1, 0)] - ours)
    )
    return bool(gap_ns.min() < TRIP_GAP_S * 1_000_000_000)
