"""What is paid by the key, the message, the event or the line of a log. Pure."""

from __future__ import annotations

from decimal import Decimal

from cost.plan.kinds.rule import Context, Rule, always, line, number
from cost.plan.model import Line, Resource

_HIGH_RESOLUTION_S = 60
_RULE_TIER = Decimal(100_000)


def _key(resource: Resource, context: Context) -> list[Line]:
    count = context.used("keys", resource, "requests")
    return [
        line(context, resource, ("kms", "customer key"), Decimal(1), unit="month"),
        line(context, resource, ("kms", "requests"), count, unit="10k requests", per=10_000, asked="keys.requests"),
    ]


def _secret(resource: Resource, context: Context) -> list[Line]:
    count = context.used("secrets", resource, "requests")
    asked = "secrets.requests"
    return [
        line(context, resource, ("secretsmanager", "secret"), Decimal(1), unit="month"),
        line(context, resource, ("secretsmanager", "requests"), count, unit="10k requests", per=10_000, asked=asked),
    ]


def _queue(resource: Resource, context: Context) -> list[Line]:
    count = context.used("queues", resource, "requests")
    item = "fifo requests" if resource.get("fifo_queue") is True else "standard requests"
    return [line(context, resource, ("sqs", item), count, unit="1M requests", per=1_000_000, asked="queues.requests")]


def _topic(resource: Resource, context: Context) -> list[Line]:
    count = context.used("topics", resource, "requests")
    # The first million of a month is an account's, and not each topic's: counted in full, this is never too little.
    meter = ("sns", "standard requests over 1M")
    return [line(context, resource, meter, count, unit="1M requests", per=1_000_000, asked="topics.requests")]


def _trail(resource: Resource, context: Context) -> list[Line]:
    found = []
    further = context.used("trails", resource, "additional_management_events")
    if further:
        meter = ("cloudtrail", "additional management events")
        found.append(line(context, resource, meter, further, unit="100k events", per=100_000))
    count = context.used("trails", resource, "data_events")
    if resource.blocks("event_selector") or resource.blocks("advanced_event_selector") or count is not None:
        meter = ("cloudtrail", "data events")
        found.append(line(context, resource, meter, count, unit="100k events", per=100_000, asked="trails.data_events"))
    return found


def _log_group(resource: Resource, context: Context) -> list[Line]:
    taken, kept = (context.used("logs", resource, name) for name in ("ingested_gb", "stored_gb"))
    return [
        line(context, resource, ("cloudwatch", "log ingest"), taken, unit="GB", asked="logs.ingested_gb"),
        line(context, resource, ("cloudwatch", "log archive"), kept, unit="GB-month", asked="logs.stored_gb"),
    ]


def _alarm(resource: Resource, context: Context) -> list[Line]:
    queries = [item for item in resource.blocks("metric_query") if item.get("metric")]
    count = max(len(queries), 1)
    periods = [number(resource.get("period")), *(number(_period(item)) for item in queries)]
    fine = any(item is not None and item < _HIGH_RESOLUTION_S for item in periods)
    item = "high-resolution alarm metric" if fine else "standard alarm metric"
    return [line(context, resource, ("cloudwatch", item), Decimal(count), unit="month")]


def _period(query: object) -> object:
    metric = query.get("metric") if isinstance(query, dict) else None
    first = metric[0] if isinstance(metric, list) and metric else metric
    return first.get("period") if isinstance(first, dict) else None


def _recorder(resource: Resource, context: Context) -> list[Line]:
    count = context.used("config", resource, "items")
    return [line(context, resource, ("config", "configuration item"), count, unit="record", asked="config.items")]


def _config_rule(resource: Resource, context: Context) -> list[Line]:
    count = context.used("config", resource, "evaluations")
    first = None if count is None else min(count, _RULE_TIER)
    meter = ("config", "rule evaluation first 100k")
    found = [line(context, resource, meter, first, unit="evaluation", asked="config.evaluations")]
    if count is not None and count > _RULE_TIER:
        meter = ("config", "rule evaluation beyond 100k")
        found.append(line(context, resource, meter, count - _RULE_TIER, unit="evaluation"))
    return found


def _detector(resource: Resource, context: Context) -> list[Line]:
    meter = ("guardduty", "events, flow logs and queries analysed")
    return [line(context, resource, meter, None, unit="GB", asked="none can tell")]


def _budget(resource: Resource, context: Context) -> list[Line]:
    return [line(context, resource, ("budgets", "budget"), Decimal(1), unit="month")]


def _addon(resource: Resource, context: Context) -> list[Line]:
    return [always(context, resource, ("eks", f"add-on {resource.get('addon_name')}"))]


def _unnamed(service: str, item: str) -> Rule:
    """Return a rule for what may be free, where no table at hand says so: it is unknown."""

    def rule(resource: Resource, context: Context) -> list[Line]:
        return [line(context, resource, (service, item), Decimal(1), unit="month")]

    return rule


SERVICES: dict[str, Rule] = {
    "aws_budgets_budget": _budget,
    "aws_ce_anomaly_monitor": _unnamed("cost explorer", "anomaly monitor"),
    "aws_ce_anomaly_subscription": _unnamed("cost explorer", "anomaly subscription"),
    "aws_ce_cost_allocation_tag": _unnamed("cost explorer", "cost allocation tag"),
    "aws_cloudtrail": _trail,
    "aws_cloudwatch_log_group": _log_group,
    "aws_cloudwatch_metric_alarm": _alarm,
    "aws_config_config_rule": _config_rule,
    "aws_config_configuration_recorder": _recorder,
    "aws_eks_addon": _addon,
    "aws_guardduty_detector": _detector,
    "aws_kms_key": _key,
    "aws_kms_replica_key": _key,
    "aws_organizations_account": _unnamed("organizations", "account"),
    "aws_organizations_organization": _unnamed("organizations", "organization"),
    "aws_organizations_organizational_unit": _unnamed("organizations", "organizational unit"),
    "aws_organizations_policy": _unnamed("organizations", "policy"),
    "aws_organizations_policy_attachment": _unnamed("organizations", "policy attachment"),
    "aws_secretsmanager_secret": _secret,
    "aws_sns_topic": _topic,
    "aws_sqs_queue": _queue,
}
