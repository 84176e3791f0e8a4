"""The metadata database: RDS PostgreSQL in private subnets, TLS alone, its password never seen by Terraform."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network

from cdktn import TerraformResourceLifecycle
from cdktn_provider_aws.cloudwatch_log_group import CloudwatchLogGroup
from cdktn_provider_aws.db_instance import DbInstance
from cdktn_provider_aws.db_instance_automated_backups_replication import DbInstanceAutomatedBackupsReplication
from cdktn_provider_aws.db_parameter_group import DbParameterGroup, DbParameterGroupParameter
from cdktn_provider_aws.db_subnet_group import DbSubnetGroup
from cdktn_provider_aws.secretsmanager_secret_rotation import (
    SecretsmanagerSecretRotation,
    SecretsmanagerSecretRotationRotationRules,
)
from cdktn_provider_aws.security_group import SecurityGroup
from cdktn_provider_aws.vpc_security_group_ingress_rule import VpcSecurityGroupIngressRule

from cdk.blocks.key import Key
from cdk.blocks.role import Role, RolePlan, service_trust
from cdk.model import Database
from cdk.stacks.base import PlatformStack

PORT = 5432
_ROTATION_DAYS = 30
_LOG_DAYS = 90
_LOGS = ("postgresql", "upgrade")
_MONITORING_SECONDS = 60
# What is set, and why it needs a restart or not.
_PARAMETERS = (
    ("rds.force_ssl", "1", "immediate"),
    ("log_min_duration_statement", "1000", "immediate"),  # ms
    ("log_connections", "1", "immediate"),
    ("log_disconnections", "1", "immediate"),
    ("idle_in_transaction_session_timeout", "600000", "immediate"),  # ms; a killed job holds no lock for longer
    ("shared_preload_libraries", "pg_stat_statements", "pending-reboot"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabasePlan:
    """What the database is to be.

    Attributes:
        database: Its configuration.
        vpc_id: The VPC it lies in.
        subnet_ids: Private subnets, at least two zones.
        clients: Who may connect: name and range.
        backup_key: A key in the region that backups are copied to.
    """

    database: Database
    vpc_id: str
    subnet_ids: Sequence[str]
    clients: Sequence[tuple[str, IPv4Network]]
    backup_key: Key


class MetadataDatabase:
    """One instance, with its standby where the environment says so.

    Attributes:
        arn: Its ARN.
        identifier: Its name, as metrics carry it.
        endpoint: Host and port.
        secret_arn: The secret with its master password.
    """

    def __init__(self, stack: PlatformStack, plan: DatabasePlan, key: Key) -> None:
        self._stack = stack
        self._plan = plan
        emulated = stack.environment.emulated
        database = plan.database
        self._instance = DbInstance(
            stack,
            "database",
            identifier=stack.name("metadata"),
            engine="postgres",
            engine_version=database.engine_version,
            instance_class=database.instance_class,
            allocated_storage=database.storage_gib,
            max_allocated_storage=database.max_storage_gib,
            storage_type="gp3",
            storage_encrypted=True,
            kms_key_id=key.arn,
            db_name="drivetrain",
            username="drivetrain",
            # RDS makes and rotates it: it stands in no plan and in no state.
            manage_master_user_password=True,
            master_user_secret_kms_key_id=key.arn,
            iam_database_authentication_enabled=True,
            port=PORT,
            multi_az=database.multi_az,
            publicly_accessible=False,
            db_subnet_group_name=self._subnets().name,
            vpc_security_group_ids=[self._group().id],
            parameter_group_name=self._parameters().name,
            backup_retention_period=database.backup_days,
            backup_window="02:00-02:45",
            maintenance_window="sun:03:30-sun:04:30",
            copy_tags_to_snapshot=True,
            delete_automated_backups=emulated,
            deletion_protection=not emulated,
            skip_final_snapshot=emulated,
            final_snapshot_identifier=None if emulated else stack.name("metadata", "final"),
            auto_minor_version_upgrade=False,  # a version is a reviewed change, as any other
            allow_major_version_upgrade=False,
            apply_immediately=False,
            performance_insights_enabled=True,
            performance_insights_kms_key_id=key.arn,
            performance_insights_retention_period=7,
            monitoring_interval=_MONITORING_SECONDS,
            monitoring_role_arn=self._monitoring_role().arn,
            enabled_cloudwatch_logs_exports=list(_LOGS),
            ca_cert_identifier="rds-ca-rsa2048-g1",
            tags={"Name": stack.name("metadata"), "drivetrain:backup-tier": database.backup_tier},
            depends_on=self._logs(key),
        )
        self.arn = self._instance.arn
        self.identifier = self._instance.identifier
        self.endpoint = self._instance.endpoint
        self.secret_arn = self._instance.master_user_secret.get(0).secret_arn
        self._rotation()
        self._second_region()

    def _logs(self, key: Key) -> list[CloudwatchLogGroup]:
        # Made here, or RDS makes them and keeps everything for ever.
        return [
            CloudwatchLogGroup(
                self._stack,
                f"database-logs-{kind}",
                name=f"/aws/rds/instance/{self._stack.name('metadata')}/{kind}",
                retention_in_days=_LOG_DAYS,
                kms_key_id=key.arn,
            )
            for kind in _LOGS
        ]

    def _subnets(self) -> DbSubnetGroup:
        return DbSubnetGroup(
            self._stack,
            "database-subnets",
            name=self._stack.name("metadata"),
            description="Private subnets of the metadata database",
            subnet_ids=list(self._plan.subnet_ids),
        )

    def _group(self) -> SecurityGroup:
        name = self._stack.name("metadata")
        group = SecurityGroup(
            self._stack,
            "database-group",
            name=name,
            description="PostgreSQL from the clusters and from the VPC of data",
            vpc_id=self._plan.vpc_id,
            tags={"Name": name},
        )
        for client, network in self._plan.clients:
            # Ranges, not groups: a group of another region cannot be named here.
            VpcSecurityGroupIngressRule(
                self._stack,
                f"database-from-{client}",
                security_group_id=group.id,
                description=f"PostgreSQL from {client}",
                cidr_ipv4=str(network),
                from_port=PORT,
                to_port=PORT,
                ip_protocol="tcp",
            )
        return group

    def _parameters(self) -> DbParameterGroup:
        major = self._plan.database.engine_version.partition(".")[0]
        return DbParameterGroup(
            self._stack,
            "database-parameters",
            name=self._stack.name("metadata", f"postgres{major}"),
            family=f"postgres{major}",
            description="TLS alone; slow statements and connections are logged",
            parameter=[
                DbParameterGroupParameter(name=name, value=value, apply_method=method)
                for name, value, method in _PARAMETERS
            ],
            # A major version has a group of its own, which must be there before the database leaves the old one.
            lifecycle=TerraformResourceLifecycle(create_before_destroy=True),
        )

    def _monitoring_role(self) -> Role:
        return Role(
            self._stack,
            RolePlan(
                name="metadata-monitoring",
                description="RDS writes the database host's metrics",
                trust=[service_trust("monitoring.rds.amazonaws.com", self._stack.account_id)],
                managed=["service-role/AmazonRDSEnhancedMonitoringRole"],
            ),
        )

    def _rotation(self) -> None:
        SecretsmanagerSecretRotation(
            self._stack,
            "database-password-rotation",
            secret_id=self.secret_arn,
            rotate_immediately=False,
            rotation_rules=SecretsmanagerSecretRotationRotationRules(automatically_after_days=_ROTATION_DAYS),
        )

    def _second_region(self) -> None:
        DbInstanceAutomatedBackupsReplication(
            self._stack,
            "database-backups-copy",
            source_db_instance_arn=self.arn,
            retention_period=self._plan.database.backup_days,
            kms_key_id=self._plan.backup_key.arn,
            provider=self._stack.provider_in(self._plan.database.backup_region),
        )
