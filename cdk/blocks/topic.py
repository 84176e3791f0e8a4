"""Where alarms go: one encrypted topic, and the people who read it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cdktn_provider_aws.cloudwatch_metric_alarm import CloudwatchMetricAlarm
from cdktn_provider_aws.provider import AwsProvider
from cdktn_provider_aws.sns_topic import SnsTopic
from cdktn_provider_aws.sns_topic_policy import SnsTopicPolicy
from cdktn_provider_aws.sns_topic_subscription import SnsTopicSubscription

from cdk.blocks.key import Key
from cdk.stacks.base import PlatformStack

# What publishes alarms, and so may use the topic's key.
PUBLISHERS = (
    "backup.amazonaws.com",
    "budgets.amazonaws.com",
    "cloudwatch.amazonaws.com",
    "costalerts.amazonaws.com",
    "events.amazonaws.com",
)


class AlarmTopic:
    """One topic a region.

    Attributes:
        arn: Its ARN.
    """

    def __init__(self, stack: PlatformStack, region: str, key: Key, emails: Sequence[str]) -> None:
        provider: AwsProvider = stack.provider_in(region)
        topic = SnsTopic(
            stack,
            f"alarms-{region}",
            name=stack.name("alarms", stack.account.value, region),
            kms_master_key_id=key.arn,
            provider=provider,
        )
        self.arn = topic.arn
        statement = {
            "Sid": "ServicesPublish",
            "Effect": "Allow",
            "Principal": {"Service": sorted(PUBLISHERS)},
            "Action": "sns:Publish",
            "Resource": "TOPIC",
            "Condition": {"StringEquals": {"aws:SourceAccount": stack.account_id}},
        }
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]}).replace("TOPIC", topic.arn)
        SnsTopicPolicy(stack, f"alarms-{region}-policy", arn=topic.arn, policy=policy, provider=provider)
        for place, email in enumerate(emails):
            SnsTopicSubscription(
                stack,
                f"alarms-{region}-{place}",
                topic_arn=topic.arn,
                protocol="email",
                endpoint=email,
                provider=provider,
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmPlan:
    """When to call people.

    Attributes:
        name: What is wrong.
        description: What to do about it.
        namespace: Of the metric.
        metric: Its name.
        dimensions: Of what.
        threshold: In the metric's unit.
        below: Whether it is wrong below the threshold, not above.
        minutes: How long, in steps of five.
        statistic: Of each five minutes.
    """

    name: str
    description: str
    namespace: str
    metric: str
    dimensions: Mapping[str, str]
    threshold: float
    below: bool = False
    minutes: int = 15
    statistic: str = "Average"


def alarm(stack: PlatformStack, plan: AlarmPlan, topic_arn: str) -> None:
    """Call people when a metric has been on the wrong side of its threshold for some time."""
    CloudwatchMetricAlarm(
        stack,
        f"alarm-{plan.name}",
        alarm_name=stack.name(plan.name, stack.region),
        alarm_description=plan.description,
        namespace=plan.namespace,
        metric_name=plan.metric,
        dimensions=dict(plan.dimensions),
        comparison_operator="LessThanThreshold" if plan.below else "GreaterThanThreshold",
        threshold=plan.threshold,
        statistic=plan.statistic,
        period=300,
        evaluation_periods=max(plan.minutes // 5, 1),
        treat_missing_data="notBreaching",
        alarm_actions=[topic_arn],
        ok_actions=[topic_arn],
    )
