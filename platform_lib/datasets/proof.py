"""The proof that the splits of a dataset share nothing: what `split.json` and the manifest say."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from platform_lib.datasets.splits import Split

Reason = Literal["near_duplicate", "place", "trip"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Link(_Strict):
    """Two drives that were kept together, and why.

    Attributes:
        drives: The two, sorted.
        count: Pairs of nearly equal frames, cells in common, or 1 for a trip.
    """

    drives: tuple[str, str]
    reason: Reason
    count: int


class NearDuplicates(_Strict):
    """The search for nearly equal frames across splits.

    Attributes:
        method: The fingerprint, with its size in bits.
        max_bits: Frames that differ in at most so many bits are near-duplicates.
        compared: Split -> frames that were compared with every frame of the other splits.
        featureless: Split -> frames that show nothing and so cannot be compared.
        across: Pair of splits -> near-duplicate frames in both: zero.
        nearest_bits: Pair of splits -> difference of the two nearest frames; None where it was not computed.
        left_out: Frames left out of a split because a split before it (test, val, train) has a near-duplicate.
    """

    method: str
    max_bits: int
    compared: dict[Split, int]
    featureless: dict[Split, int]
    across: dict[str, int]
    nearest_bits: dict[str, int | None]
    left_out: int


class Places(_Strict):
    """The comparison of where samples were taken.

    Attributes:
        cell: What a place is: a cell and those around it.
        reach_m: Samples nearer than this are certain to be seen as of one place; None without a position.
        positioned: Split -> samples with a position.
        unpositioned: Split -> samples without; of these nothing is known.
        cells: Split -> cells it holds.
        shared: Pair of splits -> cells of the first that lie in or beside cells of the second: zero.
        left_out: Samples left out of a split because a split before it was at their place.
    """

    cell: str
    reach_m: float | None
    positioned: dict[Split, int]
    unpositioned: dict[Split, int]
    cells: dict[Split, int]
    shared: dict[str, int]
    left_out: int


class Trips(_Strict):
    """The comparison of when samples were taken.

    Attributes:
        gap_s: Samples of one vehicle less than this apart are of one trip.
        shared: Pair of splits -> vehicles with a trip in both: zero.
        unnamed: Drives whose vehicle no log names; of these nothing is known.
        left_out: Samples left out of a split because a split before it holds the same trip.
    """

    gap_s: int
    shared: dict[str, int]
    unnamed: tuple[str, ...]
    left_out: int


class SplitProof(_Strict):
    """What `split.json` and the manifest say: who is where, and that nobody is in two places.

    Attributes:
        drives: Split -> drive ids, sorted.
        files: Split -> drive id -> digests of its log files.
        shared_drives: Pair of splits -> number of drives in both: zero.
        shared_content: Pair of splits -> number of equal log files or images in both: zero.
        samples: Split -> number of samples.
        slices: Split -> slice -> number of samples.
        pii_states: Split -> state -> number of samples.
        duplicates: Drives kept together, each group once; `links` says why, or they share files or images.
        missing_labels: Split -> labels (weather, event) that other splits have and it has not.
        links: Drives kept together for a reason other than equal bytes.
        near_duplicates: None where no search was made.
        places: None where no comparison was made.
        trips: None where no comparison was made.
        not_checked: What this proof does not cover.
    """

    seed: int
    drives: dict[Split, tuple[str, ...]]
    files: dict[Split, dict[str, tuple[str, ...]]]
    shared_drives: dict[str, int]
    shared_content: dict[str, int]
    samples: dict[Split, int]
    slices: dict[Split, dict[str, int]]
    pii_states: dict[Split, dict[str, int]]
    duplicates: tuple[tuple[str, ...], ...]
    missing_labels: dict[Split, tuple[str, ...]] = Field(default_factory=dict)
    links: tuple[Link, ...] = ()
    near_duplicates: NearDuplicates | None = None
    places: Places | None = None
    trips: Trips | None = None
    not_checked: tuple[str, ...] = ("pictures of the same things from another angle or time (embeddings)",)
