"""What a node does when it starts: nodeadm's configuration as user data. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cdk.labels import Taint

_BOUNDARY = "drivetrain"


@dataclass(frozen=True, slots=True)
class ClusterEntry:
    """What a node must know of its cluster; EKS fills it in for its own images.

    Attributes:
        name: Its name.
        endpoint: Its API server.
        certificate: Its authority, base64.
        service_range: The range of its services.
    """

    name: str
    endpoint: str
    certificate: str
    service_range: str


def node_config(
    cluster: ClusterEntry | None, *, labels: Mapping[str, str], taints: Sequence[Taint], local_disks: bool
) -> str:
    """Return the user data of a node, MIME.

    Args:
        cluster: For an own image, of which EKS knows nothing; None for EKS's images.
        labels: For an own image, too: elsewhere EKS sets them.
        taints: As the labels.
        local_disks: Whether its NVMe disks become one, for pods and images.
    """
    spec: dict[str, object] = {}
    if cluster is not None:
        spec["cluster"] = {
            "name": cluster.name,
            "apiServerEndpoint": cluster.endpoint,
            "certificateAuthority": cluster.certificate,
            "cidr": cluster.service_range,
        }
        flags = [f"--node-labels={','.join(f'{key}={value}' for key, value in sorted(labels.items()))}"]
        if taints:
            flags.append(
                f"--register-with-taints={','.join(f'{item.key}={item.value}:{item.effect}' for item in taints)}"
            )
        spec["kubelet"] = {"flags": flags}
    if local_disks:
        spec["instance"] = {"localStorage": {"strategy": "RAID0"}}
    # JSON is YAML, and quotes what needs it.
    body = json.dumps({"apiVersion": "node.eks.aws/v1alpha1", "kind": "NodeConfig", "spec": spec}, indent=2)
    return (
        f'MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary="{_BOUNDARY}"\n\n'
        f"--{_BOUNDARY}\nContent-Type: application/node.eks.aws\n\n{body}\n--{_BOUNDARY}--\n"
    )
