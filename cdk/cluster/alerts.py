"""Alarms: what costs and does nothing, what is lost, what hangs. Each says what to do."""

from __future__ import annotations

from cdk.cluster.kinds.addons import AlertRule, PrometheusRule, RuleGroup, RulesSpec
from cdk.cluster.kinds.base import Manifest, Metadata
from cdk.cluster.namespaces import MLFLOW, RAY
from cdk.cluster.place import labels_for

_GUIDE = "docs/reference/cluster.md#alarms"
# A GPU that works less than this did not train; loading data keeps it under it for minutes, not for an hour.
_IDLE_PERCENT = 5
# No task ended for so long, which training does too, and hardly any CPU is used, which training does not: it hangs.
_HUNG_MINUTES = 60
_HUNG_CPU_PERCENT = 5
_INTERRUPTIONS_AN_HOUR = 3


def alerts() -> list[Manifest]:
    """Return the alarms of a cluster."""
    groups = (
        RuleGroup(name="cost", rules=(_gpu_idle(), _node_unused())),
        RuleGroup(name="ray", rules=(_head_down(), _job_hung(), _job_waits())),
        RuleGroup(name="spot", rules=(_interruptions(),)),
        RuleGroup(name="services", rules=(_tracking_down(),)),
    )
    return [
        PrometheusRule(
            metadata=Metadata(name="drivetrain", namespace="monitoring", labels=labels_for("alerts")),
            spec=RulesSpec(groups=groups),
        )
    ]


def _alert(name: str, expression: str, lasting: str, severity: str, summary: str, action: str) -> AlertRule:
    return AlertRule(
        alert=name,
        expr=expression,
        lasting=lasting,
        labels={"severity": severity},
        annotations={"summary": summary, "action": action, "runbook": _GUIDE},
    )


def _gpu_idle() -> AlertRule:
    return _alert(
        "GpuIdle",
        f'max by (Hostname, namespace, pod) (DCGM_FI_DEV_GPU_UTIL{{pod!=""}}) < {_IDLE_PERCENT}',
        "1h",
        "warning",
        "Pod {{ $labels.namespace }}/{{ $labels.pod }} holds GPUs and has not used them for an hour",
        "Look at the job's dashboard; cancel it with `drivetrain jobs cancel`, or ask its team",
    )


def _node_unused() -> AlertRule:
    accelerators = 'kube_node_status_allocatable{resource=~"nvidia_com_gpu|qualcomm_com_qaic"} > 0'
    asked = 'sum by (node) (kube_pod_container_resource_requests{resource=~"nvidia_com_gpu|qualcomm_com_qaic"})'
    return _alert(
        "AcceleratorNodeUnused",
        f"({accelerators}) unless on (node) ({asked} > 0)",
        "2h",
        "warning",
        "Node {{ $labels.node }} has accelerators, and no pod has asked for one for two hours",
        "A reservation is paid in any case; else see why it was not taken away: karpenter's log, or the group's minimum",
    )


def _head_down() -> AlertRule:
    return _alert(
        "RayHeadDown",
        f'kube_pod_status_ready{{namespace="{RAY}", condition="true"}} == 0 and on (namespace, pod) '
        'kube_pod_labels{label_ray_io_node_type="head"} == 1',
        "10m",
        "critical",
        "The head {{ $labels.pod }} has not been ready for 10 minutes: its jobs wait",
        "Its state lies on its disk: see the pod's events; a disk of another zone's cannot be attached",
    )


def _job_hung() -> AlertRule:
    running = 'drivetrain_rayjob_status{status="RUNNING"} == 1'
    moved = f'sum by (ray_io_cluster) (changes(ray_tasks{{State="FINISHED"}}[{_HUNG_MINUTES}m]))'
    busy = "avg by (ray_io_cluster) (avg_over_time(ray_node_cpu_utilization[30m]))"
    return _alert(
        "RayJobHung",
        f"({moved} == 0) and on (ray_io_cluster) ({busy} < {_HUNG_CPU_PERCENT}) and on () (count({running}) > 0)",
        "30m",
        "warning",
        f"Ray cluster {{{{ $labels.ray_io_cluster }}}} runs a job, and no task has ended for {_HUNG_MINUTES} minutes",
        "Look at its stack traces in the dashboard; `drivetrain jobs resume` goes on from the last checkpoint",
    )


def _job_waits() -> AlertRule:
    return _alert(
        "QueueBlocked",
        'kueue_pending_workloads{status="inadmissible"} > 0',
        "6h",
        "info",
        "Jobs of queue {{ $labels.cluster_queue }} cannot be admitted",
        "See `kubectl describe workload`: a quota, a topology, or a pool whose maximum is too small",
    )


def _interruptions() -> AlertRule:
    return _alert(
        "SpotInterruptionRate",
        'sum by (message_type) (increase(karpenter_interruption_received_messages_total{message_type="spot_interrupted"}[1h]))'
        f" > {_INTERRUPTIONS_AN_HOUR}",
        "5m",
        "warning",
        f"More than {_INTERRUPTIONS_AN_HOUR} spot nodes were taken back within an hour",
        "`drivetrain cost spot` finds pools that are taken less often; write its order with --spot-order",
    )


def _tracking_down() -> AlertRule:
    return _alert(
        "TrackingDown",
        f'kube_deployment_status_replicas_available{{namespace="{MLFLOW}", deployment="mlflow"}} < 1',
        "5m",
        "critical",
        "No MLflow server answers: runs cannot be recorded",
        "See its pods' events and log; the database's alarms tell whether it is the database",
    )
