"""One line of a bill as a value, and which meter of the price book it is. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from cost.prices.model import Meter
from cost.prices.offers import WANTED, usage_of

# Usage types beside those of the Price List that `offers` asks for. Source: AWS, "Understanding your AWS billing and
# usage reports" of each service.
_FURTHER: dict[tuple[str, str], tuple[Meter, int]] = {
    ("AmazonEC2", "DataTransfer-Regional-Bytes"): (Meter("ec2", "data transfer between zones each direction"), 1),
    ("AmazonS3", "TimedStorage-ByteHrs"): (Meter("s3", "standard storage"), 1),
    ("AmazonS3", "TimedStorage-SIA-ByteHrs"): (Meter("s3", "standard-ia storage"), 1),
    ("AmazonS3", "TimedStorage-INT-FA-ByteHrs"): (Meter("s3", "intelligent-tiering frequent storage"), 1),
    ("AmazonS3", "TimedStorage-INT-IA-ByteHrs"): (Meter("s3", "intelligent-tiering infrequent storage"), 1),
    ("AmazonS3", "TimedStorage-INT-AIA-ByteHrs"): (Meter("s3", "intelligent-tiering archive instant storage"), 1),
    ("AmazonS3", "TimedStorage-GIR-ByteHrs"): (Meter("s3", "glacier instant storage"), 1),
    ("AmazonS3", "TimedStorage-GDA-ByteHrs"): (Meter("s3", "deep archive storage"), 1),
    ("AmazonS3", "Requests-Tier1"): (Meter("s3", "put requests"), 1000),
    ("AmazonS3", "Requests-Tier2"): (Meter("s3", "get requests"), 1000),
    ("AmazonVPC", "VpcEndpoint-Bytes"): (Meter("vpc", "interface endpoint data first 1 PB"), 1),
    ("AmazonCloudWatch", "DataProcessing-Bytes"): (Meter("cloudwatch", "log ingest"), 1),
    ("AmazonCloudWatch", "TimedStorage-ByteHrs"): (Meter("cloudwatch", "log archive"), 1),
    ("AmazonCloudWatch", "CW:AlarmMonitorUsage"): (Meter("cloudwatch", "standard alarm metric"), 1),
    ("awskms", "KMS-Requests"): (Meter("kms", "requests"), 10_000),
    ("AWSQueueService", "Requests-RBP"): (Meter("sqs", "standard requests"), 1_000_000),
    ("AWSConfig", "ConfigurationItemRecorded"): (Meter("config", "configuration item"), 1),
}
METERS: dict[tuple[str, str], tuple[Meter, int]] = {
    **{(item.service_code, item.usage): (item.meter, 1) for item in WANTED},
    **_FURTHER,
}
"""Service and usage type without its region: the meter, and how many of the bill's units make one of its."""


@dataclass(frozen=True, slots=True)
class Charge:
    """One line of a bill.

    Attributes:
        start: The first moment it is of.
        end: The first moment that it is not of.
        account: The account that used it.
        region: Where; empty for what lies in none.
        service: AWS's code of the service, `AmazonEC2`.
        usage_type: What was counted, as AWS names it.
        quantity: How much of it.
        unit: In what.
        usd: What was paid, without tax: CUR's unblended cost, FOCUS's BilledCost.
        kind: `usage`, `tax`, `credit`, `other`.
        resource: The resource's id; empty where there is none.
        tags: The platform's tags without their prefix: `team`, `pool`, `cost-center`.
        payer: The account that pays.
    """

    start: datetime
    end: datetime
    account: str
    region: str
    service: str
    usage_type: str
    quantity: Decimal
    unit: str
    usd: Decimal
    kind: str
    resource: str
    tags: Mapping[str, str]
    payer: str

    @property
    def instance_type(self) -> str | None:
        """The type of an instance's hours; None for anything else."""
        head, _, kind = usage_of(self.usage_type).partition(":")
        return kind if self.service == "AmazonEC2" and head in {"BoxUsage", "SpotUsage"} else None

    @property
    def meter(self) -> tuple[Meter, int] | None:
        """The price book's meter, and how many of the bill's units make one of its; None where there is none."""
        head, _, kind = usage_of(self.usage_type).partition(":")
        if self.service == "AmazonEC2" and head in {"BoxUsage", "SpotUsage"}:
            return Meter("ec2", f"{'spot' if head == 'SpotUsage' else 'on-demand'} {kind}"), 1
        return METERS.get((self.service, usage_of(self.usage_type)))
