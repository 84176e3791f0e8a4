"""What EC2 says before it takes a node away, as messages that Karpenter reads."""

from __future__ import annotations

import json

from cdktn_provider_aws.cloudwatch_event_rule import CloudwatchEventRule
from cdktn_provider_aws.cloudwatch_event_target import CloudwatchEventTarget
from cdktn_provider_aws.sqs_queue import SqsQueue
from cdktn_provider_aws.sqs_queue_policy import SqsQueuePolicy

from cdk.blocks.key import Key
from cdk.stacks.base import PlatformStack

# A message older than this concerns a node that is gone.
_KEPT_SECONDS = 300
# Source: Karpenter, "Disruption: Interruption", version 1.14.
EVENTS: dict[str, dict[str, list[str]]] = {
    "health": {"source": ["aws.health"], "detail-type": ["AWS Health Event"]},
    "spot": {"source": ["aws.ec2"], "detail-type": ["EC2 Spot Instance Interruption Warning"]},
    "rebalance": {"source": ["aws.ec2"], "detail-type": ["EC2 Instance Rebalance Recommendation"]},
    "state": {"source": ["aws.ec2"], "detail-type": ["EC2 Instance State-change Notification"]},
    "reservation": {"source": ["aws.ec2"], "detail-type": ["EC2 Capacity Reservation Instance Interruption Warning"]},
}


class InterruptionQueue:
    """The queue and the rules that fill it.

    Attributes:
        name: Its name, which Karpenter is given.
        arn: Its ARN.
    """

    def __init__(self, stack: PlatformStack) -> None:
        key = Key(stack, f"interruptions-{stack.region}", services=["events.amazonaws.com", "sqs.amazonaws.com"])
        queue = SqsQueue(
            stack,
            "interruptions",
            name=stack.name("interruptions", stack.region),
            kms_master_key_id=key.arn,
            message_retention_seconds=_KEPT_SECONDS,
        )
        self.name = queue.name
        self.arn = queue.arn
        self.key_arn = key.arn
        statements: list[dict[str, object]] = [
            {
                "Sid": "RulesSend",
                "Effect": "Allow",
                "Principal": {"Service": ["events.amazonaws.com", "sqs.amazonaws.com"]},
                "Action": "sqs:SendMessage",
                "Resource": "QUEUE",
            },
            {
                "Sid": "TlsAlone",
                "Effect": "Deny",
                "Principal": "*",
                "Action": "sqs:*",
                "Resource": "QUEUE",
                "Condition": {"Bool": {"aws:SecureTransport": "false"}},
            },
        ]
        policy = json.dumps({"Version": "2012-10-17", "Statement": statements}).replace("QUEUE", queue.arn)
        SqsQueuePolicy(stack, "interruptions-policy", queue_url=queue.url, policy=policy)
        for name, pattern in EVENTS.items():
            rule = CloudwatchEventRule(
                stack,
                f"interruption-{name}",
                name=stack.name("interruption", name, stack.region),
                description=pattern["detail-type"][0],
                event_pattern=json.dumps(pattern),
            )
            CloudwatchEventTarget(
                stack, f"interruption-{name}-queue", rule=rule.name, target_id="karpenter", arn=queue.arn
            )
