"""What the registry found, held against what may run: an unknown image never passes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import boto3
import pytest

from cdk.delivery import emulator
from cdk.delivery.failures import InfrastructureError
from cdk.operating.image_scan import Accepted, Scan, judge, read_accepted, scans_of
from platform_lib.errors import ConfigError
from platform_lib.home import open_home

TODAY = date(2026, 11, 30)
CLEAN = Scan("a", "sha256:1", "COMPLETE", {"CVE-2026-1": "MEDIUM"})
BAD = Scan("a", "sha256:1", "COMPLETE", {"CVE-2026-1": "HIGH", "CVE-2026-2": "CRITICAL"})
STAYS = Accepted(finding="CVE-2026-1", reason="no path leads to it", owner="platform", expires=TODAY)


def test_medium_passes_and_high_fails() -> None:
    assert judge(CLEAN, (), TODAY).passes
    assert judge(BAD, (), TODAY).failing == ("CVE-2026-1", "CVE-2026-2")


def test_an_accepted_finding_stays_until_its_day() -> None:
    found = judge(BAD, (STAYS,), TODAY)
    assert (found.failing, found.accepted) == (("CVE-2026-2",), ("CVE-2026-1",))
    assert judge(BAD, (STAYS,), date(2026, 12, 1)).failing == ("CVE-2026-1", "CVE-2026-2")


@pytest.mark.parametrize(
    ("scan", "why"),
    [
        (Scan("a", "", "", {}), "no image was ever pushed"),
        (Scan("a", "sha256:1", "", {}), "its scan is missing"),
        (Scan("a", "sha256:1", "FAILED", {}), "its scan is FAILED"),
        (Scan("a", "sha256:1", "IN_PROGRESS", {}), "its scan is IN_PROGRESS"),
    ],
)
def test_what_nobody_scanned_does_not_pass(scan: Scan, why: str) -> None:
    found = judge(scan, (), TODAY)
    assert (found.passes, found.unknown) == (False, why)


def test_acceptances_are_read_or_refused_with_their_line(tmp_path: Path) -> None:
    path = tmp_path / "accepted.yaml"
    assert read_accepted(path) == ()
    entry = "accepted:\n  - finding: CVE-2026-1\n    reason: no path leads to it\n    owner: platform\n    expires: 2026-11-30\n"
    path.write_text(entry)
    assert read_accepted(path) == (STAYS,)
    path.write_text(entry.replace("owner", "ovner"))
    with pytest.raises(ConfigError, match=r"accepted\.yaml"):
        read_accepted(path)


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    home = open_home(tmp_path_factory.mktemp("ecr") / "home")
    url = emulator.start(home).url
    keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
    yield boto3.client("ecr", endpoint_url=url, region_name="us-east-1", **keys)
    emulator.stop(home)


@pytest.mark.slow
def test_the_newest_image_of_a_registry_is_asked_about_and_signatures_are_not(registry: Any) -> None:
    registry.create_repository(repositoryName="drivetrain/dev/ray-cpu")
    registry.create_repository(repositoryName="drivetrain/dev/empty")
    manifest = '{{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": {{"digest": "{0}"}}}}'
    for tag in ("branch-main-1", "branch-main-2", "sha256-aa.sig"):
        time.sleep(1.1)  # the registry tells whole seconds
        registry.put_image(
            repositoryName="drivetrain/dev/ray-cpu", imageTag=tag, imageManifest=manifest.format(f"sha256:{tag}")
        )
    scanned, empty = scans_of(registry, ["drivetrain/dev/ray-cpu", "drivetrain/dev/empty"])
    assert empty == Scan("drivetrain/dev/empty", "", "", {})
    assert not judge(scanned, (), TODAY).passes  # nobody has scanned it yet
    newest = registry.describe_images(
        repositoryName="drivetrain/dev/ray-cpu", imageIds=[{"imageTag": "branch-main-2"}]
    )["imageDetails"][0]["imageDigest"]
    assert scanned.digest == newest
    registry.start_image_scan(repositoryName="drivetrain/dev/ray-cpu", imageId={"imageDigest": newest})
    (again,) = scans_of(registry, ["drivetrain/dev/ray-cpu"])
    assert again.status == "COMPLETE"
    assert judge(again, (), TODAY).failing == tuple(
        sorted(name for name, severity in again.findings.items() if severity in {"HIGH", "CRITICAL"})
    )
    with pytest.raises(InfrastructureError, match="does not say what it found"):
        list(scans_of(registry, ["drivetrain/dev/none"]))
