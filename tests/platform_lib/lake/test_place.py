"""Places of a lake: paths of both kinds, and what a bucket that cannot be used says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePath

import pytest
from faulty_store import BUCKET, FaultyStore, faulty_store

from platform_lib.errors import ConfigError, PlatformError
from platform_lib.home import open_home
from platform_lib.lake import objects
from platform_lib.lake.lance_table import create_lance, is_lance, open_lance
from platform_lib.lake.objects import BucketError, ObjectPath, is_transport
from platform_lib.lake.place import (
    abort_uploads,
    below,
    delete,
    files_below,
    lake_of,
    located,
    read_note,
    refuse_unreachable,
    sha256_of,
    size_of,
    sizes_below,
    told,
    write_note,
)
from platform_lib.lake.tables import SAMPLE_SCHEMA
from platform_lib.storage import sha256_file

_ROOT = ObjectPath(BUCKET, "fleet/lake")


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyStore]:
    with faulty_store(monkeypatch) as made:
        yield made


def test_an_object_path_speaks_as_a_path_does() -> None:
    path = located("s3://bucket/a/day=2026-06-01/7-ab.parquet")
    assert isinstance(path, ObjectPath)
    assert (path.name, path.stem, path.suffix) == ("7-ab.parquet", "7-ab", ".parquet")
    assert str(path.parent / "x") == "s3://bucket/a/day=2026-06-01/x"
    assert str(path.with_name("y")) == "s3://bucket/a/day=2026-06-01/y"
    assert below(path, located("s3://bucket/a/")) == PurePath("day=2026-06-01/7-ab.parquet")
    assert str(located("s3://bucket")) == "s3://bucket"
    assert str(located("s3://bucket") / "a") == "s3://bucket/a"
    assert located("/home/lake") == Path("/home/lake")
    with pytest.raises(ValueError, match="not in the subpath"):
        below(path, located("s3://bucket/b"))


def test_the_same_is_done_to_files_and_to_objects(store: FaultyStore, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    for root in (tmp_path / "there", _ROOT):
        write_note(root / "mark", "token")
        assert (read_note(root / "mark"), read_note(root / "none")) == ("token", None)
        assert (size_of(root / "mark"), size_of(root / "none")) == (5, None)
        assert files_below(root) == {root / "mark"}
        assert sizes_below(root) == {root / "mark": 5}
        assert sha256_of(root / "mark") == sha256_file(tmp_path / "there" / "mark") if root != _ROOT else True
        create_lance(root / "t.lance", SAMPLE_SCHEMA)
        assert is_lance(root / "t.lance")
        assert open_lance(root / "t.lance").count_rows() == 0
        assert files_below(root, but="t.lance") == {root / "mark"}
        delete([*files_below(root), root / "never was"])
        assert files_below(root) == set()
        assert not is_lance(root / "t.lance")


def test_marks_of_empty_folders_are_no_files_and_old_prefixes_are_not_ours(store: FaultyStore) -> None:
    store.put("fleet/lake/signals/", b"")
    store.put("fleet/lake2/a", b"not ours")
    store.put("fleet/lake/a", b"ours")
    assert sizes_below(_ROOT) == {_ROOT / "a": 4}


def test_unfinished_uploads_are_found_and_thrown_away(store: FaultyStore) -> None:
    store.client.create_multipart_upload(Bucket=BUCKET, Key="fleet/lake/x")  # type: ignore[attr-defined]
    store.client.create_multipart_upload(Bucket=BUCKET, Key="fleet/other/x")  # type: ignore[attr-defined]
    assert abort_uploads(_ROOT) == [f"s3://{BUCKET}/fleet/lake/x"]
    assert abort_uploads(_ROOT) == []
    assert len(objects.unfinished_uploads(ObjectPath(BUCKET, "fleet/other"))) == 1


def test_a_note_is_written_once(store: FaultyStore) -> None:
    assert objects.put_new(_ROOT / "lake.json", b"1")
    assert not objects.put_new(_ROOT / "lake.json", b"2")
    assert objects.get(_ROOT / "lake.json") == b"1"


def test_older_versions_are_seen_and_go(store: FaultyStore) -> None:
    store.client.put_bucket_versioning(  # type: ignore[attr-defined]
        Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"}
    )
    for text in (b"one", b"two"):
        store.put("fleet/lake/a", text)
    store.put("fleet/lake/b", b"gone")
    delete([_ROOT / "b"])
    found = objects.old_versions(_ROOT)
    assert sorted((item.path.name, item.is_marker) for item in found) == [("a", False), ("b", False), ("b", True)]
    assert objects.delete_versions(found) == []
    assert objects.old_versions(_ROOT) == []
    assert objects.get(_ROOT / "a") == b"two"


@pytest.mark.parametrize("fault", ["500", "503"])
def test_what_passes_is_asked_again_and_what_stays_is_told(
    store: FaultyStore, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)  # botocore's own waits
    store.plan_writes = lambda method, path, number: fault if number < 3 else None  # type: ignore[assignment, return-value]
    objects.put(_ROOT / "a", b"x")
    store.plan = lambda path, number: fault if number < 3 else None  # type: ignore[assignment, return-value]
    assert objects.get(_ROOT / "a") == b"x"
    store.plan = lambda path, number: fault  # type: ignore[assignment, return-value]
    with pytest.raises(BucketError, match=r"8 times in a row"):
        objects.get(_ROOT / "a")


def test_no_bucket_no_credentials_no_right_each_say_what_to_do(
    store: FaultyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = ObjectPath("nowhere", "lake")
    with pytest.raises(ConfigError, match=r"there is no bucket 'nowhere'.*Remedy: make it"):
        objects.listed(nowhere)
    with pytest.raises(ConfigError, match="there is no bucket 'nowhere'"), told(nowhere):
        open_lance(nowhere / "t.lance")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(ConfigError, match="no AWS credentials"):
        objects.listed(_ROOT)


def test_an_error_of_the_way_is_never_taken_for_damage(store: FaultyStore, tmp_path: Path) -> None:
    denied = OSError(
        "LanceError(IO): Generic S3 error: Client error with status 403 Forbidden: <Code>AccessDenied</Code>"
    )
    assert is_transport(denied)
    with pytest.raises(ConfigError, match="refuses access"):
        refuse_unreachable(_ROOT, denied)
    slow = OSError("When reading information for key 'a': AWS Error SLOW_DOWN during HeadObject operation: slow")
    with pytest.raises(BucketError):
        refuse_unreachable(_ROOT, slow)
    for damage in (ValueError("Not found: a.lance"), OSError("Parquet magic bytes not found in footer")):
        refuse_unreachable(_ROOT, damage)
    refuse_unreachable(tmp_path, denied)
    with pytest.raises(
        PlatformError, match="there is no bucket"
    ):  # gone meanwhile: whatever was told, nothing is damaged
        refuse_unreachable(ObjectPath("nowhere", "lake"), ValueError("Not found: a.lance"))


def test_a_home_knows_where_its_lake_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert lake_of(open_home(tmp_path / "plain")) == tmp_path / "plain" / "lake"
    monkeypatch.setenv("DRIVETRAIN_LAKE", "s3://bucket/fleet/")
    home = open_home(tmp_path / "home")
    monkeypatch.delenv("DRIVETRAIN_LAKE")
    assert lake_of(open_home(tmp_path / "home")) == lake_of(home) == ObjectPath("bucket", "fleet")
