"""The metadata database and who may reach it."""

from __future__ import annotations

from ipaddress import IPv4Network

from cdktn import App

from cdk.access import SECRET_READER, Workload, role_name
from cdk.blocks.database import DatabasePlan, MetadataDatabase
from cdk.blocks.key import Key
from cdk.blocks.role import Role, RolePlan, allow, roles_trust
from cdk.blocks.topic import AlarmPlan, alarm
from cdk.model import Account, Environment
from cdk.stacks.base import PlatformStack
from cdk.stacks.governance import stand_in_topic, topic_output

_GIB = 1024**3
_FREE_STORAGE_SHARE = 0.1
_BUSY_PERCENT = 85


class Metadata(PlatformStack):
    """RDS PostgreSQL in the main region's VPC of data."""

    def __init__(self, app: App, environment: Environment, network: PlatformStack, governance: PlatformStack) -> None:
        region = environment.main_region
        super().__init__(app, "metadata", environment=environment, account=Account.DATA, region=region.name)
        key = Key(self, "metadata", services=[f"logs.{region.name}.amazonaws.com"])
        backup_region = environment.database.backup_region
        backup_key = Key(self, f"metadata-{backup_region}", provider=self.provider_in(backup_region))
        self._database = MetadataDatabase(
            self,
            DatabasePlan(
                database=environment.database,
                vpc_id=self.take_id(network, "vpc_id", "vpc"),
                subnet_ids=self.take_ids(network, "private_subnet_ids", "subnet", len(region.zones)),
                clients=_clients(environment),
                backup_key=backup_key,
            ),
            key,
        )
        self._secret_reader(key)
        self._alarms(self.take(governance, topic_output(region.name), stand_in_topic(self)))
        self.give("database_arn", self._database.arn)
        self.give("database_endpoint", self._database.endpoint)
        self.give("database_secret_arn", self._database.secret_arn)

    def _secret_reader(self, key: Key) -> None:
        accounts = self.environment.accounts
        role = Role(
            self,
            RolePlan(
                name=SECRET_READER,
                description="External Secrets of the clusters reads the database's password",
                trust=[roles_trust(accounts.ml, [role_name(self.environment, Workload.EXTERNAL_SECRETS, "*")])],
                statements=[
                    allow(
                        ["secretsmanager:GetSecretValue", "secretsmanager:DescribeSecret"], [self._database.secret_arn]
                    ),
                    allow(["kms:Decrypt"], [key.arn]),
                ],
            ),
        )
        self.give("secret_reader_role_arn", role.arn)

    def _alarms(self, topic_arn: str) -> None:
        dimensions = {"DBInstanceIdentifier": self._database.identifier}
        free = self.environment.database.storage_gib * _GIB * _FREE_STORAGE_SHARE
        for plan in (
            AlarmPlan(
                name="metadata-storage",
                description="Less than a tenth of the database's storage is free: look for what grows, or raise it",
                namespace="AWS/RDS",
                metric="FreeStorageSpace",
                dimensions=dimensions,
                threshold=round(free),
                below=True,
            ),
            AlarmPlan(
                name="metadata-cpu",
                description="The database is busy: Performance Insights shows which statements",
                namespace="AWS/RDS",
                metric="CPUUtilization",
                dimensions=dimensions,
                threshold=_BUSY_PERCENT,
                minutes=30,
            ),
        ):
            alarm(self, plan, topic_arn)


def _clients(environment: Environment) -> list[tuple[str, IPv4Network]]:
    found = [(f"data-{environment.main_region.name}", environment.main_region.data.cidr)]
    for region in environment.regions:
        found.append((f"nodes-{region.name}", region.ml.cidr))
        if region.ml.pod_cidr is not None:
            found.append((f"pods-{region.name}", region.ml.pod_cidr))
    return found
