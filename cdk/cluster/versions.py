"""Every chart and image that clusters run, by version; `latest` nowhere. Pure.

Source: versions that public clusters ran in 2026, read 2026-11-30. None was rendered or pulled here.
"""

from __future__ import annotations

from dataclasses import dataclass

RAY = "2.60.0"  # constraints.txt has the same
MLFLOW = "3.17.2"  # constraints.txt has the same
KUBERAY = "1.7.1"
ARGO_CD = "3.5.3"  # there before anything here is
# The release of Amazon Linux 2023 that Karpenter's nodes boot.
AMI_ALIAS = "al2023@v20260930"


@dataclass(frozen=True, slots=True)
class Chart:
    """One Helm chart.

    Attributes:
        name: Its name, that of the application too.
        repository: Where it lies; without `oci://` for a registry, as Argo CD has it.
        version: Its version, exactly.
        namespace: Where it is installed.
        wave: Its place in Argo CD's order: what others need goes first.
        defines: API groups whose kinds it installs: objects of theirs can be made once it is there.
    """

    name: str
    repository: str
    version: str
    namespace: str
    wave: int
    defines: tuple[str, ...] = ()


CERT_MANAGER = Chart("cert-manager", "https://charts.jetstack.io", "v1.21.2", "cert-manager", -4, ("cert-manager.io",))
EXTERNAL_SECRETS = Chart(
    "external-secrets",
    "https://charts.external-secrets.io",
    "2.11.0",
    "external-secrets",
    -4,
    ("external-secrets.io",),
)
PROMETHEUS = Chart(
    "kube-prometheus-stack",
    "https://prometheus-community.github.io/helm-charts",
    "88.1.3",
    "monitoring",
    -3,
    ("monitoring.coreos.com",),
)
KARPENTER_CRD = Chart(
    "karpenter-crd", "public.ecr.aws/karpenter", "1.14.1", "kube-system", -3, ("karpenter.sh", "karpenter.k8s.aws")
)
KARPENTER = Chart("karpenter", "public.ecr.aws/karpenter", "1.14.1", "kube-system", -2)
KUBERAY_OPERATOR = Chart(
    "kuberay-operator", "https://ray-project.github.io/kuberay-helm", KUBERAY, "kuberay-system", -2, ("ray.io",)
)
KUEUE = Chart("kueue", "registry.k8s.io/kueue/charts", "0.19.0", "kueue-system", -2, ("kueue.x-k8s.io",))
DCGM_EXPORTER = Chart("dcgm-exporter", "https://nvidia.github.io/dcgm-exporter/helm-charts", "4.8.3", "monitoring", -1)
OPENCOST = Chart("opencost", "https://opencost.github.io/opencost-helm-chart", "2.5.28", "opencost", -1)

CHARTS = (
    CERT_MANAGER,
    EXTERNAL_SECRETS,
    PROMETHEUS,
    KARPENTER_CRD,
    KARPENTER,
    KUBERAY_OPERATOR,
    KUEUE,
    DCGM_EXPORTER,
    OPENCOST,
)

# Argo CD is in a cluster before anything here is, with its own kinds.
THERE_BEFORE = ("argoproj.io",)

NVIDIA_PLUGIN_IMAGE = "nvcr.io/nvidia/k8s-device-plugin:v0.18.2"
QUALCOMM_PLUGIN_IMAGE = "ghcr.io/quic/cloud_ai_k8s_device_plugin:1.21.4.0"
EFA_PLUGIN_IMAGE = "public.ecr.aws/eks/aws-efa-k8s-device-plugin:v0.5.20"
HISTORY_SERVER_IMAGE = f"quay.io/kuberay/historyserver:v{KUBERAY}"
COLLECTOR_IMAGE = f"quay.io/kuberay/collector:v{KUBERAY}"
