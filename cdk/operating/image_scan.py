"""What the registry's scans found in the newest images, held against what may run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Annotated, Any

from botocore.exceptions import BotoCoreError, ClientError
from pydantic import StringConstraints, TypeAdapter, ValidationError

from cdk.delivery.failures import InfrastructureError
from cdk.model import Strict
from cdk.yaml_lines import read_yaml
from platform_lib.errors import ConfigError

ACCEPTED = Path(__file__).resolve().parents[2] / "images" / "accepted.yaml"
# What fails a scan: both can be reached from outside, as the registry's scanner rates them.
_FAILING = ("CRITICAL", "HIGH")


class Accepted(Strict):
    """A finding that may stay for a while.

    Attributes:
        finding: Its name, `CVE-2026-1234`.
        reason: Why, one sentence.
        owner: Who answers for it.
        expires: The last day; then it fails again.
    """

    finding: Annotated[str, StringConstraints(pattern=r"^[A-Z]+-[0-9A-Za-z-]+$")]
    reason: Annotated[str, StringConstraints(min_length=10)]
    owner: Annotated[str, StringConstraints(min_length=1)]
    expires: date


@dataclass(frozen=True, slots=True)
class Scan:
    """What is known of one repository's newest image.

    Attributes:
        repository: Its name.
        digest: The image's; empty where there is none.
        status: The scan's, `COMPLETE`; anything else means that nothing is known.
        findings: Severity by finding.
    """

    repository: str
    digest: str
    status: str
    findings: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a scan means.

    Attributes:
        scan: The scan.
        failing: Findings that no acceptance covers.
        accepted: Those that one does.
        unknown: Why nothing is known, or empty: an image nobody scanned is no clean image.
    """

    scan: Scan
    failing: tuple[str, ...]
    accepted: tuple[str, ...]
    unknown: str

    @property
    def passes(self) -> bool:
        """Whether the image may run."""
        return not self.failing and not self.unknown


def judge(scan: Scan, accepted: Sequence[Accepted], today: date) -> Verdict:
    """Hold a scan against what may run."""
    if not scan.digest:
        return Verdict(scan, (), (), "no image was ever pushed")
    if scan.status not in {"COMPLETE", "ACTIVE"}:
        return Verdict(scan, (), (), f"its scan is {scan.status or 'missing'}")
    standing = {item.finding for item in accepted if today <= item.expires}
    bad = sorted(name for name, severity in scan.findings.items() if severity in _FAILING)
    return Verdict(
        scan,
        failing=tuple(name for name in bad if name not in standing),
        accepted=tuple(name for name in bad if name in standing),
        unknown="",
    )


def read_accepted(path: Path = ACCEPTED) -> tuple[Accepted, ...]:
    """Read what is accepted; nothing where there is no file.

    Raises:
        ConfigError: The file is not what acceptances are.
    """
    if not path.is_file():
        return ()
    document = read_yaml(path)
    try:
        found = TypeAdapter(dict[str, tuple[Accepted, ...]]).validate_python(document.content)
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigError(
            f"'{'.'.join(map(str, first['loc']))}': {first['msg']}",
            where=document.where(tuple(first["loc"])),
            remedy="an entry of `accepted` has finding, reason, owner and expires",
        ) from error
    return found.get("accepted", ())


def scans_of(client: Any, repositories: Sequence[str]) -> Iterator[Scan]:
    """Give the newest image's scan of each repository.

    Args:
        client: boto3's client of ECR.
        repositories: Their names.

    Raises:
        InfrastructureError: The registry refuses or does not answer.
    """
    for repository in repositories:
        try:
            yield _scan_of(client, repository)
        except (BotoCoreError, ClientError) as error:
            raise InfrastructureError(
                f"the registry does not say what it found: {str(error)[:200]}",
                where=repository,
                remedy="apply the stack `shared`, and come in by the role of the pipeline `scan`",
            ) from error


def _scan_of(client: Any, repository: str) -> Scan:
    pages = client.get_paginator("describe_images").paginate(repositoryName=repository, filter={"tagStatus": "TAGGED"})
    # Signatures and bills of materials lie beside the images, under tags of their own.
    images = [
        item
        for page in pages
        for item in page["imageDetails"]
        if not any(tag.startswith("sha256-") for tag in item.get("imageTags", ()))
    ]
    if not images:
        return Scan(repository, "", "", {})
    digest = max(images, key=lambda item: item["imagePushedAt"])["imageDigest"]
    status = ""
    findings: dict[str, str] = {}
    try:
        for page in client.get_paginator("describe_image_scan_findings").paginate(
            repositoryName=repository, imageId={"imageDigest": digest}
        ):
            status = page.get("imageScanStatus", {}).get("status", "")
            listed = page.get("imageScanFindings", {})
            findings |= {item["name"]: item["severity"] for item in listed.get("findings", ())}
            findings |= {
                item["packageVulnerabilityDetails"]["vulnerabilityId"]: item["severity"]
                for item in listed.get("enhancedFindings", ())
                if "packageVulnerabilityDetails" in item
            }
    except ClientError as error:
        if error.response["Error"]["Code"] != "ScanNotFoundException":
            raise
    return Scan(repository, digest, status, findings)
