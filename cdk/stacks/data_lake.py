"""The lake: a bucket for each data class, copies in a second region, and a role for readers of other accounts."""

from __future__ import annotations

from cdktn import App

from cdk.access import BUCKET_ACTIONS, KEY_ACTIONS, LAKE_READER, Access, bucket_name, object_actions
from cdk.blocks.bucket import BucketPlan, PrivateBucket, expire_rule
from cdk.blocks.key import Key
from cdk.blocks.lake_bucket import Inventories, lake_bucket, lock_bucket
from cdk.blocks.lifecycle_rules import lifecycle_rules
from cdk.blocks.replication import replicate
from cdk.blocks.role import Role, RolePlan, allow, roles_trust
from cdk.model import Account, DataClass, Environment
from cdk.stacks.base import PlatformStack

_INVENTORY_DAYS = 30
# What people and CI may read; raw drives hold people and stay out.
_READER_CLASSES = (DataClass.DERIVED, DataClass.SAMPLES, DataClass.CHECKPOINTS, DataClass.RELEASES)


class DataLake(PlatformStack):
    """Buckets of every data class, in the main region."""

    def __init__(self, app: App, environment: Environment) -> None:
        region = environment.main_region.name
        super().__init__(app, "data-lake", environment=environment, account=Account.DATA, region=region)
        accounts = [environment.accounts.ml, environment.accounts.edge]
        # The inventory service writes what it encrypts with this key, too.
        self._key = Key(self, f"lake-{region}", accounts=accounts, services=["s3.amazonaws.com"])
        inventories = self._inventories()
        made: dict[DataClass, PrivateBucket] = {}
        for data, bucket in environment.data.buckets.items():
            if bucket.existing_bucket is None:
                made[data] = lake_bucket(self, data, bucket, key=self._key, inventories=inventories)
        self._copies(made)
        self._reader()
        for data in environment.data.buckets:
            self.give(f"bucket_{data.value}", made[data].bucket if data in made else bucket_name(environment, data))
        self.give("lake_key_arn", self._key.arn)

    def _inventories(self) -> Inventories:
        sources = [
            f"arn:aws:s3:::{bucket_name(self.environment, data)}"
            for data, bucket in self.environment.data.buckets.items()
            if bucket.existing_bucket is None
        ]
        statement: dict[str, object] = {
            "Sid": "InventoryWrites",
            "Effect": "Allow",
            "Principal": {"Service": "s3.amazonaws.com"},
            "Action": "s3:PutObject",
            "Resource": "BUCKET/*",
            "Condition": {
                "StringEquals": {"aws:SourceAccount": self.account_id, "s3:x-amz-acl": "bucket-owner-full-control"},
                "ArnLike": {"aws:SourceArn": sources},
            },
        }
        bucket = PrivateBucket(
            self,
            BucketPlan(
                name="inventory", statements=[statement], rules=[expire_rule(_INVENTORY_DAYS, old_version_days=1)]
            ),
            self._key,
        )
        self.give("bucket_inventory", bucket.bucket)
        return Inventories(bucket_arn=bucket.arn, key=self._key)

    def _copies(self, made: dict[DataClass, PrivateBucket]) -> None:
        buckets = self.environment.data.buckets
        chosen = [data for data in made if buckets[data].replicate]
        if not chosen:
            return
        region = self.environment.data.replica_region
        provider = self.provider_in(region)
        key = Key(self, f"lake-{region}", provider=provider)
        pairs = {}
        for data in chosen:
            copied = buckets[data].model_copy(update={"intelligent_tiering": False, "archive_days": None})
            plan = BucketPlan(
                name=f"{data.value}-copy",
                rules=lifecycle_rules(copied),
                object_lock=buckets[data].lock_days is not None,
                tags={"drivetrain:data-class": data.value},
                provider=provider,
            )
            pairs[data] = (made[data], PrivateBucket(self, plan, key))
            days = buckets[data].lock_days
            if days is not None:  # a copy that could be deleted would be none
                lock_bucket(self, f"{data.value}-copy", pairs[data][1], days, provider=provider)
        replicate(self, pairs, key=self._key, replica_key=key, replica_region=region)

    def _reader(self) -> None:
        accounts = self.environment.accounts
        arns = [f"arn:aws:s3:::{bucket_name(self.environment, item)}" for item in _READER_CLASSES]
        people = [item for item in self.environment.kubernetes.viewer_role_arns if f"::{accounts.ml}:" in item]
        trust = [roles_trust(accounts.management, [self.environment.ci_role])]
        if people:
            trust.append(roles_trust(accounts.ml, [item.partition(":role/")[2] for item in people]))
        role = Role(
            self,
            RolePlan(
                name=LAKE_READER,
                description="People and CI of other accounts read the lake, raw drives excepted",
                trust=trust,
                statements=[
                    allow(object_actions(Access.READ), [f"{arn}/*" for arn in arns]),
                    allow(BUCKET_ACTIONS, arns),
                    allow(KEY_ACTIONS[Access.READ], [self._key.arn]),
                ],
            ),
        )
        self.give("lake_reader_role_arn", role.arn)
