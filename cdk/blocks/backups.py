"""Backups: a vault here and one in a second region, and a plan for each tier."""

from __future__ import annotations

from collections.abc import Mapping

from cdktn_provider_aws.backup_plan import (
    BackupPlan,
    BackupPlanRule,
    BackupPlanRuleCopyAction,
    BackupPlanRuleCopyActionLifecycle,
    BackupPlanRuleLifecycle,
)
from cdktn_provider_aws.backup_selection import BackupSelection, BackupSelectionSelectionTag
from cdktn_provider_aws.backup_vault import BackupVault
from cdktn_provider_aws.backup_vault_lock_configuration import BackupVaultLockConfiguration
from cdktn_provider_aws.provider import AwsProvider

from cdk.blocks.key import Key
from cdk.blocks.role import Role, RolePlan, service_trust
from cdk.model import BackupTier
from cdk.stacks.base import PlatformStack

# Resources are chosen by this tag, whose value is the tier.
TIER_TAG = "drivetrain:backup-tier"
_DAY_HOURS = 24
# A backup begins within this time of its hour, so a tier's loss is its interval and this.
_START_WINDOW_MINUTES = 60
_MANAGED = (
    "service-role/AWSBackupServiceRolePolicyForBackup",
    "service-role/AWSBackupServiceRolePolicyForRestores",
    "AWSBackupServiceRolePolicyForS3Backup",
    "AWSBackupServiceRolePolicyForS3Restore",
)


class Vault:
    """A vault with its own key and lock.

    Attributes:
        name: Its name.
        arn: Its ARN.
    """

    def __init__(
        self, stack: PlatformStack, place: str, *, tiers: Mapping[str, BackupTier], provider: AwsProvider | None
    ) -> None:
        key = Key(stack, f"backups-{place}", services=["backup.amazonaws.com"], provider=provider)
        vault = BackupVault(
            stack,
            f"vault-{place}",
            name=stack.name(place),
            kms_key_arn=key.arn,
            force_destroy=stack.environment.emulated or None,
            provider=provider,
        )
        self.name = vault.name
        self.arn = vault.arn
        kept = [item.keep_days for item in tiers.values()]
        BackupVaultLockConfiguration(
            stack,
            f"vault-{place}-lock",
            backup_vault_name=vault.name,
            min_retention_days=min(kept),
            max_retention_days=max(kept),
            # Left out, administrators with the right to it can lift the lock.
            changeable_for_days=stack.environment.governance.backup_lock_days,
            provider=provider,
        )


def backups(stack: PlatformStack, tiers: Mapping[str, BackupTier], copy_region: str) -> None:
    """Back up by tags what lies in one account and region."""
    here = Vault(stack, f"{stack.account.value}-{stack.region}", tiers=tiers, provider=None)
    copied = {name: item for name, item in tiers.items() if item.copy_region}
    there = None
    if copied:
        place = f"{stack.account.value}-{stack.region}-copy"
        there = Vault(stack, place, tiers=copied, provider=stack.provider_in(copy_region))
    role = Role(
        stack,
        RolePlan(
            name=f"backup-{stack.region}",
            description="AWS Backup makes and restores backups",
            trust=[service_trust("backup.amazonaws.com", stack.account_id)],
            managed=_MANAGED,
        ),
    )
    for name, tier in tiers.items():
        plan = BackupPlan(
            stack,
            f"plan-{name}",
            name=stack.name(name, stack.region),
            rule=[_rule(name, tier, here, there if tier.copy_region else None)],
            tags={"drivetrain:rpo-hours": str(tier.rpo_hours), "drivetrain:rto-hours": str(tier.rto_hours)},
        )
        BackupSelection(
            stack,
            f"plan-{name}-what",
            name=name,
            plan_id=plan.id,
            iam_role_arn=role.arn,
            selection_tag=[BackupSelectionSelectionTag(type="STRINGEQUALS", key=TIER_TAG, value=name)],
        )


def _rule(name: str, tier: BackupTier, here: Vault, there: Vault | None) -> BackupPlanRule:
    copies = None
    if there is not None:
        copies = [
            BackupPlanRuleCopyAction(
                destination_vault_arn=there.arn,
                lifecycle=BackupPlanRuleCopyActionLifecycle(delete_after=tier.keep_days),
            )
        ]
    return BackupPlanRule(
        rule_name=name,
        target_vault_name=here.name,
        schedule=schedule(tier.rpo_hours),
        start_window=_START_WINDOW_MINUTES,
        completion_window=max(tier.rto_hours, 2) * 60,
        enable_continuous_backup=tier.rpo_hours == 1,
        lifecycle=BackupPlanRuleLifecycle(delete_after=tier.keep_days),
        copy_action=copies,
        recovery_point_tags={TIER_TAG: name},
    )


def schedule(rpo_hours: int) -> str:
    """Return AWS Backup's schedule that loses at most so many hours.

    The interval and the window in which a backup starts together fit the hours. One hour alone does not: that tier is
    backed up continuously, and its hourly snapshots are what the second region gets.
    """
    room = rpo_hours - _START_WINDOW_MINUTES // 60
    if room >= _DAY_HOURS:
        return "cron(0 3 * * ? *)"
    interval = max(hours for hours in range(1, _DAY_HOURS) if _DAY_HOURS % hours == 0 and hours <= max(room, 1))
    return f"cron(0 0/{interval} * * ? *)"
