"""MLflow: server, service, budget, and the database's password, which External Secrets copies."""

from __future__ import annotations

from cdk.access import IDENTITIES, Workload
from cdk.cluster.kinds.addons import (
    AwsProvider,
    ClusterSecretStore,
    ExternalSecret,
    ExternalSecretSpec,
    Provider,
    RemoteReference,
    SecretDatum,
    SecretStoreSpec,
    SecretTarget,
    SecretTemplate,
    StoreReference,
)
from cdk.cluster.kinds.base import LabelSelector, Manifest, Metadata
from cdk.cluster.kinds.core import (
    Deployment,
    DeploymentSpec,
    DeploymentStrategy,
    DisruptionBudgetSpec,
    PodDisruptionBudget,
    RollingUpdate,
    Service,
    ServicePort,
    ServiceSpec,
)
from cdk.cluster.kinds.pods import (
    RESTRICTED_READ_ONLY,
    Container,
    ContainerPort,
    EmptyDir,
    HttpGet,
    KeyReference,
    Mount,
    PodSecurityContext,
    PodSpec,
    PodTemplate,
    Probe,
    Resources,
    SeccompProfile,
    TemplateMetadata,
    TopologySpread,
    ValueSource,
    Variable,
    Volume,
)
from cdk.cluster.namespaces import EDGE, MLFLOW, RAY, SERVICES
from cdk.cluster.place import NAME, SYSTEM_NODES, Place, labels_for
from cdk.cluster.traffic import DATABASE_PORT, MLFLOW_PORT
from cdk.model import DataClass

DATABASE_SECRET = "metadata-database"  # noqa: S105 - a Secret's name
DATABASE_URL_KEY = "drivetrain-url"
_TRACKING_URL_KEY = "mlflow-url"
TRACKING_URI = f"http://{MLFLOW}.{MLFLOW}.svc.cluster.local:{MLFLOW_PORT}"
_STORE = "metadata"
_USER_ID = 1000
_REPLICAS = 2
_APP = {NAME: "mlflow"}


def tracking(place: Place) -> list[Manifest]:
    """Return the tracking server and the database's password in every namespace that needs it."""
    return [
        _store(place),
        *(_database_secret(place, item) for item in (RAY, EDGE, MLFLOW)),
        _server(place),
        _service(place),
        PodDisruptionBudget(
            metadata=_meta("mlflow"),
            spec=DisruptionBudgetSpec(
                min_available=1,
                selector=LabelSelector(match_labels=_APP),
                # One that does not start must not keep a node from being drained.
                unhealthy_pod_eviction_policy="AlwaysAllow",
            ),
        ),
    ]


def _meta(name: str, namespace: str = MLFLOW) -> Metadata:
    return Metadata(name=name, namespace=namespace, labels=labels_for("mlflow"))


def _store(place: Place) -> ClusterSecretStore:
    return ClusterSecretStore(
        metadata=Metadata(name=_STORE, labels=labels_for("secrets")),
        spec=SecretStoreSpec(
            provider=Provider(
                aws=AwsProvider(service="SecretsManager", region=place.bucket_region, role=place.secret_reader_role_arn)
            )
        ),
    )


def _database_secret(place: Place, namespace: str) -> ExternalSecret:
    secret = place.outputs.database_secret
    # RDS makes passwords with characters that mean something in a URL.
    url = (
        "postgresql+psycopg://{{ .username }}:{{ .password | urlquery }}"
        f"@{place.outputs.database_host}:{DATABASE_PORT}"
    )
    return ExternalSecret(
        metadata=Metadata(name=DATABASE_SECRET, namespace=namespace, labels=labels_for("secrets")),
        spec=ExternalSecretSpec(
            refresh_interval="15m",  # RDS changes the password by itself, every 30 days
            secret_store_ref=StoreReference(name=_STORE, kind="ClusterSecretStore"),
            target=SecretTarget(
                name=DATABASE_SECRET,
                creation_policy="Owner",
                template=SecretTemplate(
                    engine_version="v2",
                    data={
                        DATABASE_URL_KEY: f"{url}/drivetrain?sslmode=require",
                        _TRACKING_URL_KEY: f"{url}/mlflow?sslmode=require",
                    },
                ),
            ),
            data=tuple(
                SecretDatum(secret_key=item, remote_ref=RemoteReference(key=secret, property=item))
                for item in ("username", "password")
            ),
        ),
    )


def _server(place: Place) -> Deployment:
    image = place.image("mlflow")
    env = (
        Variable(
            name="MLFLOW_BACKEND_STORE_URI",
            value_from=ValueSource(secret_key_ref=KeyReference(name=DATABASE_SECRET, key=_TRACKING_URL_KEY)),
        ),
        Variable(name="AWS_REGION", value=place.bucket_region),
    )
    scratch = Mount(name="scratch", mount_path="/tmp")  # noqa: S108 - the container's own
    return Deployment(
        metadata=_meta("mlflow"),
        spec=DeploymentSpec(
            replicas=_REPLICAS,
            selector=LabelSelector(match_labels=_APP),
            # The old ones answer until the new ones do.
            strategy=DeploymentStrategy(rolling_update=RollingUpdate(max_unavailable=0, max_surge=1)),
            template=PodTemplate(
                metadata=TemplateMetadata(labels=labels_for("mlflow")),
                spec=PodSpec(
                    service_account_name=IDENTITIES[Workload.MLFLOW].service_account,
                    automount_service_account_token=False,
                    priority_class_name=SERVICES,
                    node_selector=dict(SYSTEM_NODES),
                    topology_spread_constraints=(
                        TopologySpread(
                            max_skew=1,
                            topology_key="topology.kubernetes.io/zone",
                            when_unsatisfiable="ScheduleAnyway",
                            label_selector=LabelSelector(match_labels=_APP),
                        ),
                    ),
                    security_context=PodSecurityContext(
                        run_as_non_root=True,
                        run_as_user=_USER_ID,
                        run_as_group=_USER_ID,
                        fs_group=_USER_ID,
                        seccomp_profile=SeccompProfile(),
                    ),
                    init_containers=(
                        Container(
                            name="database",
                            image=image,
                            command=("python", "/opt/drivetrain/make_database.py"),
                            env=env,
                            resources=Resources(
                                requests={"cpu": "100m", "memory": "256Mi"}, limits={"memory": "256Mi"}
                            ),
                            security_context=RESTRICTED_READ_ONLY,
                        ),
                    ),
                    containers=(
                        Container(
                            name="server",
                            image=image,
                            args=_arguments(place),
                            env=env,
                            ports=(ContainerPort(name="http", container_port=MLFLOW_PORT),),
                            resources=Resources(requests={"cpu": "250m", "memory": "1Gi"}, limits={"memory": "2Gi"}),
                            security_context=RESTRICTED_READ_ONLY,
                            startup_probe=Probe(
                                http_get=HttpGet(path="/health", port="http"), period_seconds=5, failure_threshold=60
                            ),
                            readiness_probe=Probe(
                                http_get=HttpGet(path="/health", port="http"), period_seconds=10, failure_threshold=3
                            ),
                            # It asks the database: after a new password, the server starts anew and takes it.
                            liveness_probe=Probe(
                                http_get=HttpGet(
                                    path="/api/2.0/mlflow/experiments/get-by-name?experiment_name=Default", port="http"
                                ),
                                period_seconds=30,
                                timeout_seconds=10,
                                failure_threshold=6,
                            ),
                            volume_mounts=(scratch,),
                        ),
                    ),
                    volumes=(Volume(name="scratch", empty_dir=EmptyDir(size_limit="10Gi")),),
                ),
            ),
        ),
    )


def _arguments(place: Place) -> tuple[str, ...]:
    names = (MLFLOW, f"{MLFLOW}.{MLFLOW}", f"{MLFLOW}.{MLFLOW}.svc.cluster.local")
    # Probes come by the pod's own address; a page of elsewhere that a browser was led to comes by another name.
    pods = str((place.region.ml.pod_cidr or place.region.ml.cidr).network_address).split(".")
    hosts = (*names, "localhost", f"{pods[0]}.{pods[1]}.*")
    return (
        "--host=0.0.0.0",
        f"--port={MLFLOW_PORT}",
        f"--artifacts-destination=s3://{place.bucket(DataClass.CHECKPOINTS)}/mlflow",
        f"--allowed-hosts={','.join(f'{item}:{MLFLOW_PORT}' for item in hosts)}",
        "--workers=2",
    )


def _service(place: Place) -> Service:
    return Service(
        metadata=_meta("mlflow"),
        spec=ServiceSpec(
            selector=_APP,
            ports=(ServicePort(name="http", port=MLFLOW_PORT, target_port="http"),),
            # Between zones every GB is billed twice.
            traffic_distribution=place.traffic_distribution,
        ),
    )
