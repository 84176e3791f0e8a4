"""Makes an estimate out of files."""

from __future__ import annotations

from datetime import date
from pathlib import Path

from cost.plan.estimate import Estimate, estimate
from cost.plan.reading import read_plan, read_pools, read_settings
from cost.plan.usage import NO_USAGE, UsageFile, refuse_unmatched
from cost.prices.snapshot import load, read_snapshot


def make_estimate(
    plan_file: Path,
    *,
    today: date,
    usage: Path | None = None,
    manifests: Path | None = None,
    prices: Path | None = None,
    region: str | None = None,
) -> Estimate:
    """Price a plan.

    Args:
        plan_file: The plan.
        today: The day.
        usage: What no plan says.
        manifests: Where Karpenter's node pools lie.
        prices: A snapshot; this release's newest where it is left out.
        region: Of a plan whose provider names none.

    Raises:
        ConfigError: A file is missing or not what it should be; the usage file speaks of what is not there.
    """
    read = read_plan(plan_file, region=region)
    pools = read_pools(manifests, read)
    used = NO_USAGE if usage is None else read_settings(usage, UsageFile)
    refuse_unmatched(used, [*read.resources, *pools], where=usage)
    book = load() if prices is None else read_snapshot(prices)
    return estimate(read.stacks, pools, used, book, today)
