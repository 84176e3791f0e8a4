"""Clips as rows: due with what changed, replaced whole, forgotten with their drive."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from sqlalchemy import text

from platform_lib.catalog.catalog import Catalog
from platform_lib.catalog.clips import CLIP_NS, Clips, NewClip, TakenClip
from platform_lib.catalog.erasures import Erasures
from platform_lib.catalog.filters import ClipFilter, DriveFilter
from platform_lib.catalog.finding import Finder
from platform_lib.catalog.model import DriveIdentity, FileKey, FoundFile, IngestRecord, LakeHead

pytestmark = pytest.mark.slow
T0 = 89_000_000 * CLIP_NS
HEAD = LakeHead(5, 6)


def _take(catalog: Catalog, digest: str, drive: str, *, reader: str = "1", start_ns: int = T0) -> int:
    key = FileKey(digest, reader, 1, "0")
    catalog.note_files([FoundFile(key, 1, (f"/logs/{digest}",))])
    (ingest_id,) = catalog.begin([key])
    identity = DriveIdentity(drive, "car", drive)
    record = IngestRecord(ingest_id, identity, (), 0, 0, start_ns, start_ns + 5, "blurred", {})
    catalog.commit(HEAD, [record])
    return ingest_id


def _clips(count: int) -> list[NewClip]:
    return [NewClip(T0 + k * CLIP_NS, "blurred", 77, 470_000_000, 85_000_000) for k in range(count)]


def _put(catalog: Catalog, drive: str, clips: Sequence[NewClip]) -> bool:
    own = Clips(catalog.engine)
    return own.replace(drive, own.due()[drive], "weather=rain", clips, {77} if clips else set())


def _starts(catalog: Catalog, which: ClipFilter) -> list[int]:
    return [(item.start_ns - T0) // CLIP_NS for item in Finder(catalog.engine).clips(which, limit=100).clips]


def test_a_commit_makes_its_drive_due_and_a_replacement_ends_that(catalog: Catalog) -> None:
    _take(catalog, "A", "monday")
    assert list(Clips(catalog.engine).due()) == ["monday"]
    assert _put(catalog, "monday", _clips(3))
    assert Clips(catalog.engine).due() == {}
    assert _starts(catalog, ClipFilter(drive="monday")) == [0, 1, 2]
    _take(catalog, "A", "monday", reader="2")  # read again: due again
    assert _put(catalog, "monday", _clips(2))
    assert _starts(catalog, ClipFilter(odd_cell="weather=rain")) == [1, 0]


def test_what_was_derived_from_an_older_state_is_not_taken(catalog: Catalog) -> None:
    _take(catalog, "A", "monday")
    clips = Clips(catalog.engine)
    seen = clips.due()["monday"]
    _take(catalog, "B", "monday")  # in between
    assert not clips.replace("monday", seen, "", _clips(3), set())
    assert list(clips.due()) == ["monday"]
    assert clips.due()["monday"] != seen
    assert clips.replace("monday", clips.due()["monday"], "", _clips(1), set())
    assert not clips.replace("monday", seen, "", _clips(3), set())  # nobody asks any more
    assert _starts(catalog, ClipFilter(drive="monday")) == [0]


def test_a_file_that_moves_to_another_drive_makes_both_due(catalog: Catalog) -> None:
    _take(catalog, "A", "folder")
    _put(catalog, "folder", _clips(1))
    _take(catalog, "A", "monday", reader="2")
    assert sorted(Clips(catalog.engine).due()) == ["folder", "monday"]
    assert [item.drive_id for item in Finder(catalog.engine).drives(DriveFilter(), limit=5).drives] == ["monday"]


def test_samples_of_a_dataset_tag_clips_and_are_forgotten_with_them(catalog: Catalog) -> None:
    _take(catalog, "A", "monday")
    _put(catalog, "monday", _clips(3))
    catalog.record_artefact("dataset", "d" * 64, "/d/city", {"train/monday/0": "A"})
    with catalog.engine.begin() as connection:
        connection.execute(
            text("INSERT INTO datasets (sha256, name, bytes, created_utc) VALUES (repeat('d', 64), 'city', 1, now())")
        )
    clips, finder = Clips(catalog.engine), Finder(catalog.engine)
    ((digest, number),) = clips.unnoted_datasets().items()
    taken = [
        TakenClip("monday", T0, "train", 7, ("cut_in", "lead")),
        TakenClip("monday", T0 + 2 * CLIP_NS, "train", 2, ("lead",)),
        TakenClip("elsewhere", T0, "val", 9, ("lead",)),
    ]
    assert clips.note_dataset(number, taken) == clips.note_dataset(number, taken) == 2
    assert clips.unnoted_datasets() == {}
    assert [(item.name, item.split, item.samples) for item in finder.saw_clip("monday", T0 + 1)] == [
        ("city", "train", 7)
    ]
    assert finder.saw_clip("monday", T0 + CLIP_NS) == []
    assert _starts(catalog, ClipFilter(tag="lead")) == [2, 0]
    assert _starts(catalog, ClipFilter(dataset=digest)) == [0, 2]
    _take(catalog, "A", "monday", reader="2")
    _put(catalog, "monday", _clips(1))
    assert _starts(catalog, ClipFilter(tag="lead")) == _starts(catalog, ClipFilter(dataset=digest)) == [0]
    clips.note_no_dataset()
    assert finder.saw_clip("monday", T0) == []
    assert list(clips.unnoted_datasets()) == [digest]


def test_an_erased_drive_leaves_no_clip_place_tag_or_vehicle(catalog: Catalog) -> None:
    ingest_id = _take(catalog, "A", "monday")
    _put(catalog, "monday", _clips(3))
    erasures = Erasures(catalog.engine)
    number = erasures.begin(
        scope_sha256="0", requested_by="x", reason="y", plan={}, needles=b"", files=["A"], hidden=[ingest_id]
    )
    assert Finder(catalog.engine).drives(DriveFilter(), limit=5).drives == ()
    with catalog.engine.connect() as connection:  # hidden at once
        assert connection.execute(text("SELECT count(*) FROM clips")).scalar_one() == 0
    erasures.remove(number, erasures.ingests_of(["A"]), ["A"], [])
    with catalog.engine.connect() as connection:
        for table in (
            "drives",
            "clips",
            "clips_due",
            "drive_places",
            "odd_cells",
            "vehicles",
            "clip_tags",
            "dataset_clips",
        ):
            assert connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one() == 0, table  # noqa: S608 - ours


def test_every_version_that_a_commit_names_is_a_row_once(catalog: Catalog) -> None:
    _take(catalog, "A", "monday")
    _take(catalog, "B", "monday")
    with catalog.engine.connect() as connection:
        rows = connection.execute(text("SELECT name, version, commit_id FROM table_versions ORDER BY name")).all()
    assert [tuple(row) for row in rows] == [("samples", 6, 1), ("signals", 5, 1)]
