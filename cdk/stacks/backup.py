"""Backups of one account and region."""

from __future__ import annotations

from cdktn import App

from cdk.blocks.backups import backups
from cdk.blocks.topic import AlarmPlan, alarm
from cdk.model import Account, BackupTier, Environment
from cdk.stacks.base import PlatformStack
from cdk.stacks.governance import stand_in_topic, topic_output


class Backup(PlatformStack):
    """Vaults, plans and what is chosen by them."""

    def __init__(
        self,
        app: App,
        environment: Environment,
        *,
        account: Account,
        region: str,
        tiers: dict[str, BackupTier],
        governance: PlatformStack,
    ) -> None:
        super().__init__(
            app, f"backup-{account.value}-{region}", environment=environment, account=account, region=region
        )
        second = environment.data.replica_region
        backups(self, tiers, second if second != region else environment.main_region.name)
        topic_arn = self.take(governance, topic_output(region), stand_in_topic(self))
        plan = AlarmPlan(
            name=f"backup-failed-{account.value}",
            description="A backup failed: the tier's RPO does not hold until the next one succeeds",
            namespace="AWS/Backup",
            metric="NumberOfBackupJobsFailed",
            dimensions={},
            threshold=0,
            minutes=5,
            statistic="Sum",
        )
        alarm(self, plan, topic_arn)


def tiers_of(environment: Environment, account: Account) -> dict[str, BackupTier]:
    """Return the tiers by which something of an account is backed up."""
    if account is Account.ML:
        named = {environment.kubernetes.backup_tier}
    else:
        named = {environment.database.backup_tier, *(item.backup_tier for item in environment.data.buckets.values())}
    return {name: tier for name, tier in environment.backups.items() if name in named}
