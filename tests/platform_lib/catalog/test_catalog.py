from __future__ import annotations

import threading
from dataclasses import replace

import pytest
from sqlalchemy.exc import IntegrityError

from platform_lib.catalog.catalog import Catalog, _lock_commits
from platform_lib.catalog.model import (
    DriveIdentity,
    FileKey,
    FoundFile,
    IngestRecord,
    LakeHead,
    Refusal,
    StreamRecord,
)
from platform_lib.errors import HomeError

pytestmark = pytest.mark.slow

_HEAD = LakeHead(iceberg_snapshot_id=7, lance_version=3)
_DRIVE = DriveIdentity("v1_s1", "v1", "s1")


def _key(name: str, *, reader: str = "1") -> FileKey:
    return FileKey(file_sha256=name * 64, reader_version=reader, schema_version=1, options_sha256="0")


def _record(ingest_id: int, *, drive: DriveIdentity = _DRIVE, **changes: object) -> IngestRecord:
    streams = (StreamRecord("/odom", "message", "signals", 10, 40, 100, 200),)
    record = IngestRecord(ingest_id, drive, streams, 40, 0, 100, 200, "none_present", {"weather": "rain"})
    return replace(record, **changes)  # type: ignore[arg-type]  # names are checked at run time


def _begin(catalog: Catalog, *keys: FileKey) -> list[int]:
    catalog.note_files([FoundFile(key, 5, (f"/logs/{key.file_sha256[:2]}",)) for key in keys])
    return catalog.begin(keys)


def test_nothing_is_visible_before_its_commit_and_all_of_it_after(catalog: Catalog) -> None:
    first, second = _begin(catalog, _key("a"), _key("b"))
    assert catalog.view().ingests == ()
    assert catalog.drives() == []
    catalog.commit(_HEAD, [_record(first)])
    view = catalog.view()
    assert [item.ingest_id for item in view.ingests] == [first]
    assert view.head == _HEAD
    assert catalog.leftovers() == [second]


def test_leftovers_wait_for_a_commit_that_is_still_on_its_way(catalog: Catalog) -> None:
    (ingest_id,) = _begin(catalog, _key("a"))
    found: list[list[int]] = []
    with catalog._engine.begin() as connection:
        _lock_commits(connection)
        asker = threading.Thread(target=lambda: found.append(catalog.leftovers()))
        asker.start()
        asker.join(timeout=0.3)
        assert found == []  # a killed writer's transaction may end well yet
    asker.join()
    assert found == [[ingest_id]]


def test_a_drive_is_what_its_committed_files_tell(catalog: Catalog) -> None:
    ids = _begin(catalog, _key("a"), _key("b"))
    catalog.commit(
        _HEAD,
        [
            _record(ids[0], start_ns=90, stop_ns=150),
            _record(ids[1], metadata={"weather": "night", "vehicle": "v1"}, pii_state="unknown", sample_rows=4),
        ],
    )
    (drive,) = catalog.drives()
    assert (drive.drive_id, drive.vehicle, drive.session) == ("v1_s1", "v1", "s1")
    assert (drive.start_ns, drive.stop_ns) == (90, 200)
    assert drive.labels == {"weather": "night|rain"}  # what differs is told, not chosen
    assert drive.pii_state == "unknown"  # the least safe of both
    assert (drive.streams, drive.signal_rows, drive.sample_rows) == (2, 80, 4)
    assert [file.paths for file in drive.files] == [("/logs/aa",), ("/logs/bb",)]


def test_reading_a_file_anew_supersedes_it_in_the_same_moment(catalog: Catalog) -> None:
    (old,) = _begin(catalog, _key("a"))
    catalog.commit(_HEAD, [_record(old)])
    (new,) = _begin(catalog, _key("a", reader="2"))
    catalog.commit(LakeHead(8, 4), [_record(new, signal_rows=41)])
    assert [item.ingest_id for item in catalog.view().ingests] == [new]
    assert catalog.drives()[0].signal_rows == 41
    assert catalog.leftovers() == [old]
    catalog.forget([old], LakeHead(9, 5))
    assert catalog.leftovers() == []
    assert catalog.view().head == LakeHead(9, 5)


def test_a_commit_is_all_or_nothing(catalog: Catalog) -> None:
    first, second = _begin(catalog, _key("a"), _key("b"))
    with pytest.raises(IntegrityError):
        catalog.commit(_HEAD, [_record(first), _record(second, pii_state="perhaps")])
    assert catalog.view().ingests == ()
    assert catalog.view().head is None


def test_a_log_that_knows_its_vehicle_completes_a_drive_known_by_its_folder(catalog: Catalog) -> None:
    first, second = _begin(catalog, _key("a"), _key("b"))
    catalog.commit(_HEAD, [_record(first, drive=DriveIdentity("v1_s1", None, "v1_s1"))])
    assert catalog.drives()[0].vehicle is None
    catalog.commit(_HEAD, [_record(second)])
    assert (catalog.drives()[0].vehicle, catalog.drives()[0].session) == ("v1", "s1")


def test_a_content_under_two_names_is_one_file(catalog: Catalog) -> None:
    key = _key("a")
    catalog.note_files([FoundFile(key, 5, ("/b", "/a"))])
    catalog.note_files([FoundFile(key, 5, ("/a", "/c"))])
    (ingest_id,) = catalog.begin([key])
    catalog.commit(_HEAD, [_record(ingest_id)])
    assert catalog.drives()[0].files[0].paths == ("/a", "/b", "/c")


def test_the_newest_refusal_is_kept_until_the_content_is_taken_in(catalog: Catalog) -> None:
    key = _key("a")
    (ingest_id,) = _begin(catalog, key)
    catalog.refuse([Refusal(key, False, "CorruptLog", "cut", None)])
    catalog.refuse([Refusal(key, True, "CorruptLog", "cut at byte 5", "fetch it again")])
    (found,) = catalog.quarantined()
    assert (found.refusal.reason, found.refusal.recover, found.paths) == ("cut at byte 5", True, ("/logs/aa",))
    catalog.commit(_HEAD, [_record(ingest_id)])
    assert catalog.quarantined() == []


def test_lineage_reaches_from_an_artefact_to_the_files(catalog: Catalog) -> None:
    catalog.record_artefact("lake", "L1", "/lake", {"file a": "A"})
    catalog.record_artefact("lake", "L2", "/lake", {"file b": "B", "lake before": "L1"})
    catalog.record_artefact("dataset", "D", "/d", {"lake": "L2"})
    catalog.record_artefact("dataset", "D", "/moved", {"lake": "L2"})
    assert catalog.ancestors("D") == {"A": "file", "B": "file", "L1": "lake", "L2": "lake"}
    assert catalog.ancestors("A") == {}


def test_a_circle_in_the_lineage_ends(catalog: Catalog) -> None:
    catalog.record_artefact("lake", "X", "/x", {"in": "Y"})
    catalog.record_artefact("lake", "Y", "/y", {"in": "X"})
    assert catalog.ancestors("X") == {"X": "lake", "Y": "lake"}


def test_a_database_that_is_not_there_is_told_plainly() -> None:
    with pytest.raises(HomeError, match="cannot be reached"):
        Catalog("postgresql+psycopg://nobody@127.0.0.1:1/none")
