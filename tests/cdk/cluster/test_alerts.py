"""Alarms: expressions that Prometheus can read, about metrics that somebody gives, each with what to do."""

from __future__ import annotations

import re
from pathlib import Path

import promql_parser
import pytest
import yaml
from clusters import place_of

from cdk.cluster.alerts import alerts
from cdk.cluster.applications import applications
from cdk.cluster.kinds.addons import AlertRule, Application, PrometheusRule

ROOT = Path(__file__).resolve().parents[3]
# Who gives which metrics; the charts and the operator's own names.
GIVEN = {
    "DCGM_": "dcgm-exporter",
    "kube_": "kube-prometheus-stack",
    "drivetrain_rayjob_": "kube-prometheus-stack",
    "kueue_": "kueue",
    "karpenter_": "karpenter",
}


def _rules() -> list[AlertRule]:
    found = [item for item in alerts() if isinstance(item, PrometheusRule)]
    return [rule for item in found for group in item.spec.groups for rule in group.rules]


@pytest.mark.parametrize("rule", _rules(), ids=lambda rule: rule.alert)
def test_an_alarm_can_be_read_and_says_what_to_do(rule: AlertRule) -> None:
    promql_parser.parse(rule.expr)
    assert rule.labels["severity"] in {"info", "warning", "critical"}
    assert len(rule.annotations["action"]) > 20
    assert rule.lasting


def test_a_broken_expression_is_found() -> None:
    with pytest.raises(ValueError, match=r"."):
        promql_parser.parse(_rules()[0].expr + " and on (")


def test_the_page_has_every_alarm() -> None:
    page = (ROOT / "docs/reference/cluster.md").read_text().partition("## Alarms")[2]
    assert {rule.alert for rule in _rules()} == set(re.findall(r"^\| ([A-Z]\w+) \|", page, re.MULTILINE))


def test_metrics_come_from_something_that_is_installed() -> None:
    installed = {item.metadata.name for item in applications(place_of("prod")) if isinstance(item, Application)}
    for rule in _rules():
        for metric in re.findall(r"\b((?:DCGM|kube|drivetrain|kueue|karpenter|ray)_\w+?)(?=[{\s\[()]|$)", rule.expr):
            if metric.startswith(("ray_node", "ray_tasks", "ray_io")):
                continue  # Ray's own, by the PodMonitor
            assert any(metric.startswith(prefix) and chart in installed for prefix, chart in GIVEN.items()), metric


def test_the_charts_configurations_are_yaml() -> None:
    kueue = next(item for item in applications(place_of("prod")) if item.metadata.name == "kueue")
    assert isinstance(kueue, Application)
    text = kueue.spec.source.helm.values_object["managerConfig"]["controllerManagerConfigYaml"]
    configuration = yaml.safe_load(text)
    assert configuration["kind"] == "Configuration"
    assert configuration["fairSharing"]["preemptionStrategies"]


def test_dcgm_is_there_where_gpus_are() -> None:
    place = place_of("prod")
    without = place.environment.model_copy(
        update={"pools": tuple(item for item in place.environment.pools if item.kind.value != "nvidia")}
    )
    names = {item.metadata.name for item in applications(type(place)(without, place.region, "v1"))}
    assert "dcgm-exporter" not in names
    assert "dcgm-exporter" in {item.metadata.name for item in applications(place)}
