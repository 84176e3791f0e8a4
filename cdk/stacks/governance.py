"""What watches one account: alarms, budget, Config, GuardDuty; in the management account the trail too."""

from __future__ import annotations

from cdktn import App
from cdktn_provider_aws.iam_account_password_policy import IamAccountPasswordPolicy
from cdktn_provider_aws.s3_account_public_access_block import S3AccountPublicAccessBlock

from cdk.blocks.key import Key
from cdk.blocks.money import anomalies, cost_tags, monthly_budget
from cdk.blocks.topic import PUBLISHERS, AlarmTopic
from cdk.blocks.trail import trail
from cdk.blocks.watchers import ConfigStore, config_store, disks_encrypted, guarded, recorded
from cdk.model import Account, Environment
from cdk.stacks.base import PlatformStack

# Beside the tags on everything: those of pools.
POOL_TAGS = ("drivetrain:pool", "drivetrain:team", "drivetrain:data-class")


class Governance(PlatformStack):
    """One account's own; accounts that are one have one.

    Args:
        app: The app.
        environment: Whose.
        account: Which account.
        management: The management account's, where what all accounts record is kept; None: this is it.
    """

    def __init__(self, app: App, environment: Environment, account: Account, management: Governance | None) -> None:
        region = environment.main_region.name
        super().__init__(app, f"governance-{account.value}", environment=environment, account=account, region=region)
        regions = watched_regions(environment)
        self._account_wide()
        topics = {item: self._topic(item) for item in regions}
        for item in regions:
            disks_encrypted(self, item)
            if environment.governance.guardduty:
                guarded(self, item)
        if environment.governance.config_recorder:
            self._recorded(regions, management)
        self._money(topics[region])
        if account is Account.MANAGEMENT:
            trail(
                self,
                organization=environment.governance.organization_trail,
                keep_days=environment.governance.trail_retention_days,
            )

    def _recorded(self, regions: list[str], management: Governance | None) -> None:
        if management is not None:
            bucket = self.take(management, "config_bucket", "not-applied-yet")
            key_arn = self.take(
                management,
                "config_key_arn",
                f"arn:aws:kms:{management.region}:{management.account_id}:key/not-applied-yet",
            )
            recorded(self, regions, ConfigStore(bucket=bucket, key_arn=key_arn), [])
            return
        accounts = [self.environment.accounts.of(item) for item in Account]
        keep_days = self.environment.governance.trail_retention_days
        store, policy = config_store(self, accounts, keep_days=keep_days)
        recorded(self, regions, store, [policy])
        self.give("config_bucket", store.bucket)
        self.give("config_key_arn", store.key_arn)

    def _account_wide(self) -> None:
        S3AccountPublicAccessBlock(
            self,
            "no-public-buckets",
            account_id=self.account_id,
            block_public_acls=True,
            block_public_policy=True,
            ignore_public_acls=True,
            restrict_public_buckets=True,
        )
        # People come by roles; whoever makes a user all the same makes one with a long password.
        IamAccountPasswordPolicy(
            self,
            "passwords",
            minimum_password_length=20,
            require_lowercase_characters=True,
            require_uppercase_characters=True,
            require_numbers=True,
            require_symbols=True,
            allow_users_to_change_password=True,
            password_reuse_prevention=24,
            max_password_age=90,
        )

    def _topic(self, region: str) -> AlarmTopic:
        key = Key(
            self,
            f"alarms-{self.account.value}-{region}",
            services=PUBLISHERS,
            provider=self.provider_in(region),
        )
        topic = AlarmTopic(self, region, key, self.environment.governance.alarm_emails)
        self.give(topic_output(region), topic.arn)
        return topic

    def _money(self, topic: AlarmTopic) -> None:
        governance = self.environment.governance
        for budget in governance.budgets:
            if self.environment.accounts.of(budget.account) == self.account_id:
                monthly_budget(self, budget, topic_arn=topic.arn, emails=governance.alarm_emails)
        if self.account is not Account.MANAGEMENT:
            return
        anomalies(self, at_least_usd=governance.anomaly_usd, topic_arn=topic.arn)
        if governance.cost_tags_active:
            cost_tags(self, [*self.default_tags(), *POOL_TAGS])


def watched_regions(environment: Environment) -> list[str]:
    """Return every region something lies in, the main one first."""
    found = [item.name for item in environment.regions]
    for extra in (environment.data.replica_region, environment.database.backup_region):
        if extra not in found:
            found.append(extra)
    return found


def topic_output(region: str) -> str:
    """Return the name under which an account's governance gives a region's topic of alarms."""
    return f"alarm_topic_arn_{region.replace('-', '_')}"


def stand_in_topic(stack: PlatformStack) -> str:
    """Return a topic's ARN of the right form, for plans made before governance is applied."""
    return f"arn:aws:sns:{stack.region}:{stack.account_id}:not-applied-yet"
