"""Erasing from a lake in a bucket: objects, their older versions, and parts of uploads that were never completed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from faulty_store import BUCKET, FaultyStore, faulty_store

from platform_lib.erasure.erasing import erase, prove
from platform_lib.erasure.needles import Needles
from platform_lib.erasure.scope import Scope, make_scope
from platform_lib.errors import ConfigError, IntegrityError
from platform_lib.lake import objects
from platform_lib.lake.check import check_lake
from platform_lib.lake.objects import ObjectPath

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # sockets that clients of the bucket leave open
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
_LAKE = ObjectPath(BUCKET, "fleet")
_DRIVE = "car-17_monday-0001"


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyStore]:
    monkeypatch.setenv("DRIVETRAIN_LAKE", str(_LAKE))
    with faulty_store(monkeypatch) as made:
        made.client.put_bucket_versioning(  # type: ignore[attr-defined] # boto3 has no types
            Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"}
        )
        yield made


def test_an_erased_drive_is_in_no_version_of_any_object(
    store: FaultyStore, town: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(folder: ObjectPath) -> list[objects.OldVersion]:
        raise ConfigError("the bucket refuses access (AccessDenied)", where=folder)

    def keeps(versions: list[objects.OldVersion]) -> list[str]:
        return [f"{item.path.key}: AccessDenied" for item in versions]

    shown = town.lake.samples(_DRIVE, "/camera")["data"].to_pylist()  # blurred: here the raw ones turned around
    pieces = [data[at : at + 40] for one in shown for data in (one, one[::-1]) for at in (100, 1500)]
    stored = b"".join(objects.get(path) or b"" for path in objects.listed(_LAKE))
    assert all(piece in stored for piece in pieces)
    before = {name: town.counts(f"car-17_{name}") for name in ("tuesday-0002", "friday-0003")}
    town.take_killed(9, "monday-0001")
    scope = _scope(_DRIVE)
    with monkeypatch.context() as blind:
        blind.setattr(objects, "old_versions", refused)
        with pytest.raises(
            ConfigError, match=r"no erasure can be proven.*grant s3:ListBucketVersions.*nothing is erased"
        ):
            erase(town.home, scope, reason="ticket 1", requested_by="me")
    with monkeypatch.context() as locked:
        locked.setattr(objects, "delete_versions", keeps)
        with pytest.raises(
            IntegrityError, match=r"keeps \d+ older versions .*AccessDenied.*Remedy: lift its object lock"
        ):
            erase(town.home, scope, reason="ticket 1", requested_by="me")
    report = erase(town.home, None, reason="", requested_by="me")
    assert report.finished == (1,)
    assert prove(town.home, Needles.from_bytes(bytes(24))).beyond == ()
    _replicate(store)
    assert prove(town.home, Needles.from_bytes(bytes(24))).beyond == (
        "copies in arn:aws:s3:::elsewhere, to which the bucket replicates",
    )
    assert objects.old_versions(_LAKE) == []
    assert objects.unfinished_uploads(_LAKE) == []
    whole = b"".join(objects.get(path) or b"" for path in objects.listed(ObjectPath(BUCKET, "")))
    assert not any(piece in whole for piece in pieces)
    assert {name: town.counts(f"car-17_{name}") for name in before} == before
    assert check_lake(town.lake, digests=True).findings == ()
    store.put("fleet/kept.mcap", town.logs["b"].read_bytes())
    with pytest.raises(IntegrityError, match=r"files still hold a piece.*kept.mcap"):
        erase(town.home, _scope("car-17_tuesday-0002"), reason="ticket 2", requested_by="me")


def _replicate(store: FaultyStore) -> None:
    rules = [
        {
            "ID": prefix,
            "Priority": number,
            "Status": status,
            "Filter": {"Prefix": prefix},
            "DeleteMarkerReplication": {"Status": "Disabled"},
            "Destination": {"Bucket": f"arn:aws:s3:::{to}"},
        }
        for number, (prefix, to, status) in enumerate(
            [("fleet/", "elsewhere", "Enabled"), ("fleet/raw.lance/", "nowhere", "Disabled")]
        )
    ]
    store.client.put_bucket_replication(  # type: ignore[attr-defined] # boto3 has no types
        Bucket=BUCKET, ReplicationConfiguration={"Role": "arn:aws:iam::123456789012:role/copies", "Rules": rules}
    )


def _scope(drive: str) -> Scope:
    return make_scope(drive=drive, start=None, stop=None, area=None)
