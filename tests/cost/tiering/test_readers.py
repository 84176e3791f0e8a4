"""S3's own formats are read line by line; what is broken is counted with its place, and nothing is left out silently."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from s3_records import (
    BUCKET,
    TAKEN,
    Bucket,
    Request,
    Stored,
    log_line,
    write_access_log,
    write_cloudtrail,
    write_inventory,
)

from cost.tiering.inventory import Item, read_items, read_manifest
from cost.tiering.problems import Problems
from cost.tiering.reads import Watch, access_log_reads, cloudtrail_reads, files_below, read_is_double_encoded
from cost.tiering.storage_lens import COLUMNS, read_lens
from platform_lib.errors import ConfigError, IntegrityError

ODD = "raw/drive 7+8/ä%20b.mf4"
OBJECTS = Bucket(
    [
        Stored("raw/a.mf4", 5 << 20, 40.5),
        Stored(ODD, 7, 3, "INTELLIGENT_TIERING", tier="ARCHIVE_INSTANT"),
        Stored("raw/old.mf4", 9, 60, latest=False),
        Stored("raw/gone.mf4", 0, 2, marker=True),
        Stored("kept/b", 11, 100, "GLACIER", locked_until=TAKEN + timedelta(days=30), held=True),
    ]
)
READS = [Request("raw/a.mf4", 1.5, 100, 5 << 20), Request(ODD, 0.5, 7, 7), Request("raw/a.mf4", 0.2, 5 << 20, 5 << 20)]
DAY = int(TAKEN.timestamp() // 86400)


def _items(manifest: Path) -> tuple[list[Item], Problems]:
    problems = Problems()
    return list(read_items(read_manifest(manifest), problems)), problems


@pytest.mark.parametrize("form", ["CSV", "Parquet", "ORC"])
def test_every_form_of_an_inventory_says_the_same(form: str, tmp_path: Path) -> None:
    manifest = write_inventory(tmp_path, OBJECTS, form=form, files=2)
    found, problems = _items(manifest)
    assert problems.total == 0
    by_key = {item.key: item for item in found}
    assert by_key[ODD] == Item(
        ODD, 7, (TAKEN - timedelta(days=3)).timestamp(), "INTELLIGENT_TIERING", "ARCHIVE_INSTANT"
    )
    assert [by_key["raw/old.mf4"].latest, by_key["raw/gone.mf4"].marker] == [False, True]
    kept = by_key["kept/b"]
    assert (kept.held, kept.locked_until_s, kept.storage_class) == (True, TAKEN.timestamp() + 30 * 86400, "GLACIER")
    read = read_manifest(tmp_path)  # a folder stands for the newest manifest below it
    assert (read.bucket, read.taken_s, read.tells_locks) == (BUCKET, TAKEN.timestamp(), True)


def test_a_manifest_that_was_changed_and_a_file_that_was_are_refused(tmp_path: Path) -> None:
    manifest = write_inventory(tmp_path, OBJECTS)
    data = next(tmp_path.rglob("part-0.csv.gz"))
    whole = data.read_bytes()
    data.write_bytes(whole[:-3])
    with pytest.raises(IntegrityError, match="MD5 differs"):
        _items(manifest)
    data.unlink()
    with pytest.raises(ConfigError, match=r"part-0\.csv\.gz is not here"):
        _items(manifest)
    manifest.write_text(manifest.read_text() + " ")
    data.write_bytes(whole)
    with pytest.raises(IntegrityError, match=r"manifest\.checksum"):
        _items(manifest)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"fileFormat": "Avro"}, "in Avro is not read"),
        ({"fileSchema": "Bucket, Key, Size"}, "no field lastmodifieddate, storageclass"),
        ({"files": None}, "no manifest"),
        ({"creationTimestamp": "yesterday"}, "no manifest"),
    ],
)
def test_what_is_no_manifest_is_refused(change: dict[str, object], said: str, tmp_path: Path) -> None:
    manifest = write_inventory(tmp_path, OBJECTS)
    manifest.with_name("manifest.checksum").unlink()
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | change))
    with pytest.raises(ConfigError, match=said):
        read_manifest(manifest)
    with pytest.raises(ConfigError, match=r"no manifest\.json below"):
        read_manifest(tmp_path / "inventories" / BUCKET / "daily" / "data")


def test_broken_lines_of_an_inventory_are_counted_and_the_others_read(tmp_path: Path) -> None:
    manifest = write_inventory(tmp_path, OBJECTS)
    data = next(tmp_path.rglob("part-0.csv.gz"))
    lines = gzip.decompress(data.read_bytes()).decode().splitlines()
    spoilt = [
        lines[0],
        lines[1].replace('"7"', '"seven"'),
        lines[2] + ',"more"',
        '"x"',
        lines[4].replace('"true"', '"perhaps"', 1),
    ]
    data.write_bytes(gzip.compress("\n".join(spoilt).encode()))
    document = json.loads(manifest.read_text())
    document["files"][0]["MD5checksum"] = ""
    manifest.write_text(json.dumps(document))
    manifest.with_name("manifest.checksum").unlink()
    found, problems = _items(manifest)
    assert [item.key for item in found] == ["raw/a.mf4"]
    assert problems.total == 4
    assert any("15 fields, not 14" in reason for reason in problems.counts)
    assert [place.rpartition(":")[2] for places in problems.places.values() for place in places] == ["2", "3", "4", "5"]
    assert sum(int(each["lines"]) for each in problems.document()) == 4


def _log(
    path: Path, requests: list[Request], *broken: str
) -> tuple[list[tuple[str, int, int | None]], Watch, Problems]:
    watch, problems = Watch(), Problems()
    write_access_log(path, requests, broken=broken)
    found = [(each.key, each.day, each.read_bytes) for each in access_log_reads([path], BUCKET, watch, problems)]
    return found, watch, problems


def test_an_access_log_is_read_and_what_is_no_read_is_counted(tmp_path: Path) -> None:
    others = [
        replace(READS[0], operation="REST.HEAD.OBJECT"),
        replace(READS[0], operation="REST.PUT.OBJECT"),
        replace(READS[0], status="404"),
        replace(READS[0], bucket="another"),
        replace(READS[0], operation="REST.COPY.OBJECT_GET"),
    ]
    good = log_line(READS[0])
    found, watch, problems = _log(
        tmp_path / "log",
        READS + others,
        "half a line",
        good.replace("/Nov/", "/Nvo/"),
        good.replace("18/Nov", "31/Nov"),
        good.replace(" raw/a.mf4 ", " - "),
    )
    assert found == [
        ("raw/a.mf4", DAY - 2, 100),
        (ODD, DAY - 1, 7),
        ("raw/a.mf4", DAY - 1, 5 << 20),
        ("raw/a.mf4", DAY - 2, None),
    ]
    assert watch.others == {"REST.HEAD.OBJECT": 1, "REST.PUT.OBJECT": 1, "status 404": 1, "of another bucket": 1}
    assert (watch.first_day, watch.last_day) == (DAY - 2, DAY - 1)
    assert problems.counts == {
        "access log line that is not of the format": 3,
        "access log line of a read without a key": 1,
    }
    assert read_is_double_encoded("a%20b") == "a b"
    assert read_is_double_encoded("plain") is None


def test_a_time_in_another_zone_is_the_utc_day(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text(log_line(Request("a", 1, 1, 1)).replace("00:00:00 +0000", "00:30:00 +0200") + "\n")
    (read,) = access_log_reads([path], BUCKET, Watch(), Problems())
    assert read.day == DAY - 2


def test_a_log_that_ends_in_the_middle_is_told(tmp_path: Path) -> None:
    path = tmp_path / "log.gz"
    path.write_bytes(gzip.compress("\n".join(map(log_line, READS * 500)).encode())[:-40])
    problems = Problems()
    found = list(access_log_reads([path], BUCKET, Watch(), problems))
    assert found
    assert "access log ends before its end: EOFError" in problems.counts


def test_cloudtrail_tells_the_same_reads_and_none_twice(tmp_path: Path) -> None:
    path = write_cloudtrail(
        tmp_path / "trail.json.gz", [*READS, replace(READS[0], status="404"), replace(READS[0], bucket="x")]
    )
    watch, problems = Watch(), Problems()
    found = [(each.key, each.day, each.read_bytes) for each in cloudtrail_reads([path], BUCKET, watch, problems)]
    assert found == _log(tmp_path / "log", READS)[0]
    assert watch.others == {"error NoSuchKey": 1, "of another bucket": 1}
    again = list(cloudtrail_reads([path], BUCKET, watch, problems, told=frozenset({DAY - 1})))
    assert [each.day for each in again] == [DAY - 2]
    assert watch.others["on a day that access logs tell of"] == 2


def test_broken_files_and_records_of_cloudtrail_are_counted(tmp_path: Path) -> None:
    good = json.loads(gzip.decompress(write_cloudtrail(tmp_path / "a", READS[:1]).read_bytes()))
    (tmp_path / "a").write_text(
        json.dumps({"Records": [{}, {**good["Records"][0], "eventTime": "noon"}, 7, *good["Records"]]})
    )
    (tmp_path / "b.json").write_text("{")
    (tmp_path / "c.json").write_text('{"Records": 3}')
    (tmp_path / "1_CloudTrail-Digest_x.json").write_text("{}")
    watch, problems = Watch(), Problems()
    found = list(cloudtrail_reads(sorted(tmp_path.iterdir()), BUCKET, watch, problems))
    assert len(found) == 1
    assert sum(count for reason, count in problems.counts.items() if reason.startswith("CloudTrail record")) == 3
    assert sum(count for reason, count in problems.counts.items() if "file that cannot be read" in reason) == 2
    assert watch.others == {"CloudTrail digest files": 1}


def _lens(path: Path, rows: list[tuple[str, str, str, str]], head: str = ",".join(COLUMNS)) -> Path:
    lines = [
        f"V_1,lens,2026-11-19,1,us-east-1,STANDARD,{kind},{value},{BUCKET},{name},{number}"
        for kind, value, name, number in rows
    ]
    path.write_text("\n".join([head, *lines]) + "\n")
    return path


def test_storage_lens_gives_averages_of_the_nearest_prefix(tmp_path: Path) -> None:
    rows = [
        ("BUCKET", "", "ObjectCount", "100"),
        ("BUCKET", "", "StorageBytes", "1000"),
        ("BUCKET", "", "GetRequests", "50"),
        ("BUCKET", "", "BytesDownloaded", "250"),
        ("PREFIX", "raw%2F", "ObjectCount", "10"),
        ("BUCKET", "", "ObjectCount", "-4"),
    ]
    problems = Problems()
    lens = read_lens([_lens(tmp_path / "l.csv", rows)], BUCKET, problems)
    assert lens.rates("raw/") == (0.5, 0.25, 1)  # the prefix itself has no activity: that is not none
    assert problems.total == 1
    with pytest.raises(ConfigError, match="says nothing of bucket other"):
        read_lens([tmp_path / "l.csv"], "other", problems)
    with pytest.raises(ConfigError, match="no column configuration_id"):
        read_lens([_lens(tmp_path / "m.csv", rows, head="version_number")], BUCKET, problems)


def test_files_that_are_not_there_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there are no access logs"):
        files_below([tmp_path / "gone"], "access logs")
    with pytest.raises(ConfigError, match="is empty"):
        files_below([tmp_path], "access logs")
