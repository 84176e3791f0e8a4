"""Rules as S3 takes them: written, read back, put into a real bucket's API, and into an environment."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import boto3
import pytest

from cdk.config import ENVIRONMENTS, load_environment
from cdk.model import DataClass
from cost.tiering.lifecycle import CurrentRules, nested, rules_document, schedule_of
from cost.tiering.model import KEEP, SIZE_CLASSES, Schedule, Step, StorageClass
from cost.tiering.settings import Housekeeping

C = StorageClass
COLD = Schedule((Step(30, C.STANDARD_IA), Step(90, C.GLACIER_IR)))
WATCHED = Schedule((Step(0, C.INTELLIGENT_TIERING),))
SCHEDULES = {
    ("raw/", 0): KEEP,
    ("raw/", 1): KEEP,
    ("raw/", 2): WATCHED,
    ("raw/", 3): COLD,
    ("raw/", 4): COLD,
    ("side cars/ä/", 0): Schedule((Step(1, C.GLACIER_IR),)),
    ("side cars/ä/", 4): COLD,
    ("", 2): WATCHED,
}


def test_neighbouring_sizes_with_one_schedule_are_one_rule() -> None:
    document = rules_document(SCHEDULES, None, Housekeeping())
    by_name = {rule["ID"]: rule for rule in document["Rules"]}
    assert list(by_name) == ["tiering-all-2", "tiering-raw-2", "tiering-raw-3-4", "tiering-side cars/ä-0", "tiering-side cars/ä-4", "housekeeping"]  # fmt: skip
    assert by_name["tiering-raw-3-4"]["Filter"] == {"And": {"Prefix": "raw/", "ObjectSizeGreaterThan": (16 << 20) - 1}}
    # Below 128 KiB S3 moves only what a filter's size names.
    assert by_name["tiering-side cars/ä-0"]["Filter"]["And"]["ObjectSizeGreaterThan"] == 1
    assert by_name["housekeeping"]["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 7}
    long = rules_document({("x" * 900 + "/", 1): COLD}, None, Housekeeping())["Rules"][0]["ID"]
    assert len(long) <= 255


def test_what_was_written_reads_back_as_the_same_schedules() -> None:
    current = CurrentRules.model_validate(rules_document(SCHEDULES, None, Housekeeping()))
    for (prefix, number), schedule in SCHEDULES.items():
        assert schedule_of(current, prefix, SIZE_CLASSES[number]) == (schedule, ())
    assert nested("", ["", "raw/"])
    assert nested("a/", ["a/", "a/b/"])
    assert not nested("a/", ["a/", "ab/"])


CURRENT: dict[str, Any] = {
    "Rules": [
        {"ID": "old", "Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 1095},
         "Transitions": [{"Days": 30, "StorageClass": "STANDARD_IA"}], "NoncurrentVersionExpiration": {"NoncurrentDays": 9}},
        {"ID": "moves alone", "Status": "Enabled", "Filter": {"Prefix": "raw/"}, "Transitions": [{"Days": 200, "StorageClass": "GLACIER"}]},
        {"ID": "tagged", "Status": "Enabled", "Filter": {"Tag": {"Key": "a", "Value": "b"}},
         "Transitions": [{"Days": 3, "StorageClass": "DEEP_ARCHIVE"}]},
        {"ID": "off", "Status": "Disabled", "Filter": {"Prefix": ""}, "Transitions": [{"Days": 1, "StorageClass": "GLACIER"}]},
        {"ID": "upwards", "Status": "Enabled", "Prefix": "raw/", "Transitions": [{"Days": 300, "StorageClass": "STANDARD_IA"}]},
    ]
}  # fmt: skip


def test_a_buckets_rules_hold_until_others_replace_their_moves_and_the_rest_of_them_stays() -> None:
    current = CurrentRules.model_validate(CURRENT)
    schedule, notes = schedule_of(current, "raw/", SIZE_CLASSES[3])
    assert schedule == Schedule((Step(30, C.STANDARD_IA), Step(200, C.GLACIER)))
    assert notes == ("lifecycle does not move from GLACIER to STANDARD_IA: passed over",)
    assert schedule_of(current, "other/", SIZE_CLASSES[0])[0] == KEEP  # S3's default: below 128 KiB nothing moves
    document = rules_document({("raw/", 3): WATCHED}, current, Housekeeping())
    by_name = {rule["ID"]: rule for rule in document["Rules"]}
    assert list(by_name) == ["old", "tagged", "off", "tiering-raw-3"]
    assert "Transitions" not in by_name["old"]
    assert by_name["old"]["Expiration"] == {"Days": 1095}
    assert by_name["tagged"]["Transitions"][0]["StorageClass"] == "DEEP_ARCHIVE"
    more = rules_document({}, current, Housekeeping(expire_days=10, old_version_days=3))["Rules"][-1]
    assert (more["Expiration"], more["NoncurrentVersionExpiration"]) == ({"Days": 10}, {"NoncurrentDays": 3})


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    try:
        yield boto3.client("s3", region_name="us-east-1", endpoint_url=f"http://{host}:{port}")
    finally:
        server.stop()


@pytest.mark.slow
def test_s3s_own_api_takes_the_rules_and_gives_them_back(s3: Any) -> None:
    s3.create_bucket(Bucket="fleet")
    document = rules_document(SCHEDULES, None, Housekeeping(expire_days=900, old_version_days=30))
    s3.put_bucket_lifecycle_configuration(Bucket="fleet", LifecycleConfiguration=document)
    answer = s3.get_bucket_lifecycle_configuration(Bucket="fleet")
    # moto 5.2.5 does not keep the sizes of a filter; S3 does.
    kept = {rule["ID"]: rule.get("Transitions") for rule in answer["Rules"]}
    assert kept == {rule["ID"]: rule.get("Transitions") for rule in document["Rules"]}
    CurrentRules.model_validate({"Rules": answer["Rules"]})
    with pytest.raises(Exception, match=r"MalformedXML|Parameter validation"):
        s3.put_bucket_lifecycle_configuration(Bucket="fleet", LifecycleConfiguration={"Rules": [{"ID": "x"}]})


def test_an_environment_takes_the_file(tmp_path: Path) -> None:
    document = rules_document(SCHEDULES, CurrentRules.model_validate(CURRENT), Housekeeping(old_version_days=30))
    document["Rules"] = [rule for rule in document["Rules"] if "Prefix" not in rule]
    text = (ENVIRONMENTS / "dev.yaml").read_text()
    (tmp_path / "dev.yaml").write_text(text.replace("derived: {}", "derived: {lifecycle_file: derived.json}"))
    (tmp_path / "derived.json").write_text(json.dumps(document))
    environment = load_environment("dev", today=date(2026, 11, 30), folder=tmp_path)
    taken = environment.data.buckets[DataClass.DERIVED].lifecycle
    assert taken is not None
    assert [rule.id for rule in taken.rules] == [rule["ID"] for rule in document["Rules"]]
    cold = next(rule for rule in taken.rules if rule.id == "tiering-raw-3-4")
    assert [(move.days, move.storage_class) for move in cold.transitions] == [(30, "STANDARD_IA"), (90, "GLACIER_IR")]
    assert cold.filter.both is not None
    assert cold.filter.both.object_size_greater_than == (16 << 20) - 1
