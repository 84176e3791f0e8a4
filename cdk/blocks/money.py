"""What watches the bill: a month's budget, anomalies of cost, and the tags by which reports are split."""

from __future__ import annotations

from collections.abc import Sequence

from cdktn_provider_aws.budgets_budget import BudgetsBudget, BudgetsBudgetNotification
from cdktn_provider_aws.ce_anomaly_monitor import CeAnomalyMonitor
from cdktn_provider_aws.ce_anomaly_subscription import (
    CeAnomalySubscription,
    CeAnomalySubscriptionSubscriber,
    CeAnomalySubscriptionThresholdExpression,
    CeAnomalySubscriptionThresholdExpressionDimension,
)
from cdktn_provider_aws.ce_cost_allocation_tag import CeCostAllocationTag

from cdk.model import Budget
from cdk.stacks.base import PlatformStack


def monthly_budget(stack: PlatformStack, budget: Budget, *, topic_arn: str, emails: Sequence[str]) -> None:
    """Tell when a month's cost passes its marks, by what was spent and by what the month will come to."""
    notifications = [
        BudgetsBudgetNotification(
            comparison_operator="GREATER_THAN",
            notification_type=kind,
            threshold=percent,
            threshold_type="PERCENTAGE",
            subscriber_sns_topic_arns=[topic_arn],
            subscriber_email_addresses=list(emails),
        )
        for percent in budget.warn_at_percent
        for kind in ("ACTUAL", "FORECASTED")
    ]
    BudgetsBudget(
        stack,
        f"budget-{budget.account.value}",
        name=stack.name(budget.account.value, "month"),
        budget_type="COST",
        time_unit="MONTHLY",
        limit_amount=f"{budget.monthly_usd:.2f}",
        limit_unit="USD",
        notification=notifications,
    )


def anomalies(stack: PlatformStack, *, at_least_usd: float, topic_arn: str) -> None:
    """Tell of a cost that is not as it was, service by service, over all accounts that the management account pays."""
    monitor = CeAnomalyMonitor(
        stack,
        "anomalies",
        name=stack.name("services"),
        monitor_type="DIMENSIONAL",
        monitor_dimension="SERVICE",
    )
    CeAnomalySubscription(
        stack,
        "anomalies-told",
        name=stack.name("anomalies"),
        frequency="IMMEDIATE",  # a topic takes nothing slower
        monitor_arn_list=[monitor.arn],
        subscriber=[CeAnomalySubscriptionSubscriber(type="SNS", address=topic_arn)],
        threshold_expression=CeAnomalySubscriptionThresholdExpression(
            dimension=CeAnomalySubscriptionThresholdExpressionDimension(
                key="ANOMALY_TOTAL_IMPACT_ABSOLUTE",
                match_options=["GREATER_THAN_OR_EQUAL"],
                values=[f"{at_least_usd:.0f}"],
            )
        ),
    )


def cost_tags(stack: PlatformStack, keys: Sequence[str]) -> None:
    """Split cost reports by these tags."""
    for key in sorted(keys):
        CeCostAllocationTag(stack, f"cost-tag-{key.replace(':', '-')}", tag_key=key, status="Active")
