"""Who may speak to whom: nobody by default, and each need by name."""

from __future__ import annotations

from cdk.cluster.kinds.base import LabelRequirement, Labels, LabelSelector, Manifest, Metadata
from cdk.cluster.kinds.core import (
    EgressRule,
    IngressRule,
    IpBlock,
    NetworkPolicy,
    NetworkPolicySpec,
    Peer,
    PolicyPort,
)
from cdk.cluster.namespaces import DEVICES, EDGE, MLFLOW, RAY
from cdk.cluster.place import NAME, NAMESPACE_NAME, Place, labels_for

DNS_PORT = 53
HTTPS_PORT = 443
DATABASE_PORT = 5432
MLFLOW_PORT = 5000
DASHBOARD_PORT = 8265
RAY_METRICS_PORT = 8080
HISTORY_PORT = 8080
# Where EKS Pod Identity's agent answers, on every node.
_POD_IDENTITY = "169.254.170.23/32"
_POD_IDENTITY_PORT = 80
# The node's own credentials: no pod has business there.
_METADATA = "169.254.169.254/32"
# EKS gives services one of these ranges, whichever does not overlap the VPC. Source: EKS, "Kubernetes service IPv4 CIDR".
_SERVICE_RANGES = ("10.100.0.0/16", "172.20.0.0/16")
_OPERATOR = "kuberay-system"


def dns() -> EgressRule:
    """Return the way to the cluster's name service."""
    peer = Peer(
        namespace_selector=LabelSelector(match_labels={NAMESPACE_NAME: "kube-system"}),
        pod_selector=LabelSelector(match_labels={"k8s-app": "kube-dns"}),
    )
    return EgressRule(to=(peer,), ports=(PolicyPort(protocol="UDP", port=DNS_PORT), PolicyPort(port=DNS_PORT)))


def pod_identity() -> EgressRule:
    """Return the way to a pod's own AWS credentials."""
    return EgressRule(to=(Peer(ip_block=IpBlock(cidr=_POD_IDENTITY)),), ports=(PolicyPort(port=_POD_IDENTITY_PORT),))


def https() -> EgressRule:
    """Return the way to AWS.

    S3's gateway endpoint keeps S3's public addresses, which a policy can name by no label: HTTPS to anywhere but the node's
    metadata. In a closed network the route tables leave nothing else.
    """
    peer = Peer(ip_block=IpBlock(cidr="0.0.0.0/0", without=(_METADATA,)))
    return EgressRule(to=(peer,), ports=(PolicyPort(port=HTTPS_PORT),))


def api_server(place: Place) -> EgressRule:
    """Return the way to the API server.

    Its interfaces lie in the VPC; by the network plugin's version a policy is held before or after the service's address is
    translated, so that both are named.
    """
    cidrs = (str(place.region.ml.cidr), *_SERVICE_RANGES)
    return EgressRule(
        to=tuple(Peer(ip_block=IpBlock(cidr=item)) for item in cidrs), ports=(PolicyPort(port=HTTPS_PORT),)
    )


def database(place: Place) -> EgressRule:
    """Return the way to the metadata database, in the main region's VPC of data."""
    peer = Peer(ip_block=IpBlock(cidr=str(place.environment.main_region.data.cidr)))
    return EgressRule(to=(peer,), ports=(PolicyPort(port=DATABASE_PORT),))


def to_pods(namespace: str, labels: Labels, port: int) -> EgressRule:
    """Return the way to pods of a namespace."""
    return EgressRule(to=(_pods(namespace, labels),), ports=(PolicyPort(port=port),))


def from_pods(namespace: str, labels: Labels | None, port: int) -> IngressRule:
    """Return the way from pods of a namespace; from all of it where no labels are given."""
    return IngressRule(sources=(_pods(namespace, labels),), ports=(PolicyPort(port=port),))


def _pods(namespace: str, labels: Labels | None) -> Peer:
    return Peer(
        namespace_selector=LabelSelector(match_labels={NAMESPACE_NAME: namespace}),
        pod_selector=None if labels is None else LabelSelector(match_labels=labels),
    )


def policy(
    name: str,
    namespace: str,
    pods: LabelSelector,
    *,
    ingress: tuple[IngressRule, ...] = (),
    egress: tuple[EgressRule, ...] = (),
) -> NetworkPolicy:
    """Return a policy that allows what is given, in the directions that are given."""
    types = tuple(direction for direction, rules in (("Ingress", ingress), ("Egress", egress)) if rules) or (
        "Ingress",
        "Egress",
    )
    return NetworkPolicy(
        metadata=Metadata(name=name, namespace=namespace, labels=labels_for("traffic")),
        spec=NetworkPolicySpec(pod_selector=pods, policy_types=types, ingress=ingress or None, egress=egress or None),
    )


def policies(place: Place) -> list[Manifest]:
    """Return the policies of the namespaces that hold what is ours; charts bring their own."""
    everything = LabelSelector()
    found: list[Manifest] = []
    for namespace in (RAY, MLFLOW, EDGE):
        found.append(policy("deny-by-default", namespace, everything))
        found.append(policy("names-and-aws", namespace, everything, egress=(dns(), pod_identity(), https())))
    # Plugins speak to the kubelet by sockets alone.
    found.append(policy("deny-by-default", DEVICES, everything))
    found += _ray(place) + _mlflow(place)
    found.append(policy("database", EDGE, everything, egress=(database(place), _to_mlflow())))
    return found


def _ray(place: Place) -> list[Manifest]:
    members = LabelSelector(match_expressions=(_exists("ray.io/cluster"),))
    head = LabelSelector(match_labels={"ray.io/node-type": "head"})
    submitters = LabelSelector(match_expressions=(_exists("ray.io/originated-from-cr-name"),))
    history = {NAME: "ray-history"}
    return [
        # Which clusters may speak to each other is in each cluster's own policies, which the operator makes: mutual TLS
        # on top keeps one's workers from another's head.
        policy("jobs-reach-their-data", RAY, members, egress=(database(place), _to_mlflow())),
        policy("head-reaches-api-server", RAY, head, egress=(api_server(place),)),
        policy(
            "operator-and-metrics",
            RAY,
            members,
            ingress=(
                from_pods(_OPERATOR, None, DASHBOARD_PORT),
                from_pods("monitoring", {NAME: "prometheus"}, RAY_METRICS_PORT),
            ),
        ),
        policy(
            "submitters-reach-heads",
            RAY,
            submitters,
            egress=(
                EgressRule(to=(Peer(pod_selector=head),), ports=(PolicyPort(port=DASHBOARD_PORT),)),
                api_server(place),
            ),
        ),
        policy(
            "heads-take-submitters",
            RAY,
            head,
            ingress=(IngressRule(sources=(Peer(pod_selector=submitters),), ports=(PolicyPort(port=DASHBOARD_PORT),)),),
        ),
        policy("history-reaches-api-server", RAY, LabelSelector(match_labels=history), egress=(api_server(place),)),
    ]


def _mlflow(place: Place) -> list[Manifest]:
    server = LabelSelector(match_labels={NAME: "mlflow"})
    return [
        policy("server-reaches-database", MLFLOW, server, egress=(database(place),)),
        policy(
            "jobs-reach-server",
            MLFLOW,
            server,
            ingress=(
                from_pods(RAY, None, MLFLOW_PORT),
                from_pods(EDGE, None, MLFLOW_PORT),
            ),
        ),
    ]


def _to_mlflow() -> EgressRule:
    return to_pods(MLFLOW, {NAME: "mlflow"}, MLFLOW_PORT)


def _exists(label: str) -> LabelRequirement:
    return LabelRequirement(key=label, operator="Exists")
