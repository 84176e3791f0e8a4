"""Each failure of Terraform's, as it writes it, becomes one sentence with a remedy."""

from __future__ import annotations

import pytest

from cdk.delivery.failures import StateLockedError, explain

TEXTS = {
    "the AWS credentials have expired": (
        "╷\n│ Error: Retrieving AWS account details: operation error STS: GetCallerIdentity, https response error StatusCode:\n"
        "│ 403, api error ExpiredToken: The security token included in the request is expired\n╵\n"
    ),
    "there are no AWS credentials": (
        '╷\n│ Error: No valid credential sources found\n│\n│   with provider["registry.terraform.io/hashicorp/aws"],\n╵\n'
    ),
    "the deploy role of an account cannot be assumed": (
        "╷\n│ Error: Cannot assume IAM Role\n│ IAM Role (arn:aws:iam::111111111111:role/x) cannot be assumed.\n╵\n"
    ),
    "the bucket of Terraform's state does not exist": (
        '╷\n│ Error: Failed to get existing workspaces: S3 bucket "drivetrain-state" does not exist.\n╵\n'
    ),
    "the AWS provider of the version": (
        "╷\n│ Error: Failed to query available provider packages\n│ Could not retrieve the list of available versions\n╵\n"
    ),
    "does not answer": 'Error: Post "http://127.0.0.1:1/": dial tcp 127.0.0.1:1: connect: connection refused\n',
    "the deploy role may not do this": (
        "Error: creating EKS Cluster: api error AccessDeniedException: User: arn is not authorized to perform: eks:CreateCluster\n"
    ),
    "the state has changed since this plan": "╷\n│ Error: Saved plan is stale\n│\n│ The given plan file can no longer be applied\n╵\n",
    "the disk is full": "Error: write .terraform/x: no space left on device\n",
}


# As botocore says them, where states are read before Terraform is started.
ANSWERS = {
    "the AWS credentials have expired": (
        "The SSO session associated with this profile has expired or is otherwise invalid.",
        "Error when retrieving token from sso: Token has expired and refresh failed",
        "An error occurred (ExpiredToken) when calling the AssumeRole operation: The security token included in the request is expired",
        "Error loading SSO Token: Token for x does not exist",
    ),
    "there are no AWS credentials": ("Unable to locate credentials",),
    "AWS_PROFILE names a profile": ("The config profile (x) could not be found",),
    "AWS does not know these credentials": (
        "An error occurred (InvalidClientTokenId) when calling the AssumeRole operation: The security token is invalid.",
    ),
    "the deploy role of an account cannot be assumed": (
        "An error occurred (AccessDenied) when calling the AssumeRole operation: User: x is not authorized to perform: sts:AssumeRole",
    ),
    "the bucket of Terraform's state does not exist": (
        "An error occurred (NoSuchBucket) when calling the GetObject operation: The specified bucket does not exist",
    ),
    "does not answer": ('Could not connect to the endpoint URL: "http://127.0.0.1:1"',),
}


@pytest.mark.parametrize(("expected", "text"), [(what, text) for what, texts in ANSWERS.items() for text in texts])
def test_what_aws_answers_is_said_too(expected: str, text: str) -> None:
    error = explain(f"Error: {text}", stack="s", action="state", where="Terraform's state in b")
    assert expected in error.what
    assert error.where == "Terraform's state in b"
    assert error.remedy


@pytest.mark.parametrize("expected", TEXTS)
def test_it_says_what_where_and_what_to_do(expected: str) -> None:
    error = explain(TEXTS[expected], stack="data-lake", action="plan")
    assert expected in error.what
    assert error.where == "stack data-lake, terraform plan"
    assert error.remedy
    assert "│" not in error.what


def test_another_account_is_named() -> None:
    assert (
        "lead to another account"
        in explain("Error: AWS account ID not allowed: 123456789012\n", stack="s", action="plan").what
    )


def test_what_nobody_foresaw_is_said_as_it_is() -> None:
    error = explain(
        "╷\n│ Error: Unsupported argument\n│\n│   on cdk.tf.json line 3:\n╵\n", stack="s", action="validate"
    )
    assert error.what.startswith("Unsupported argument")
    assert error.remedy is None
    assert "same command again" in error.usual_remedy


LOCK = """
╷
│ Error: Error acquiring the state lock
│
│ Error message: operation error S3: PutObject, https response error StatusCode:
│ 412, RequestID: PApzBuUEp3sB2n4J, HostID: , api error PreconditionFailed: At least one of the pre-conditions you
│ specified did not hold
│ Lock Info:
│   ID:        7fd3c6bd-97e5-4a20-9e6c-0f1f6f1a9a3c
│   Path:      drivetrain-local-state/local/x.tfstate
│   Operation: OperationTypeApply
│   Who:       root@build-7
│   Version:   1.11.4
│   Created:   2026-11-30 02:03:04.5 +0000 UTC
╵
"""


def test_the_lock_is_told_from_the_request_that_found_it() -> None:
    """S3 answers with ids of its own, before Terraform says whose lock it is."""
    text = LOCK.replace(
        "Lock Info:",
        "https response error StatusCode: 412, RequestID: 9B7aGIhr2Pqg31Sr, HostID: QbmW,\n│ Lock Info:",
        1,
    )
    assert text != LOCK
    error = explain(text, stack="data-lake", action="apply")
    assert isinstance(error, StateLockedError)
    assert error.lock_id == "7fd3c6bd-97e5-4a20-9e6c-0f1f6f1a9a3c"


def test_a_lock_names_its_holder_and_how_to_take_it_away() -> None:
    error = explain(LOCK, stack="x", action="apply")
    assert isinstance(error, StateLockedError)
    assert error.holder == "root@build-7"
    assert error.lock_id == "7fd3c6bd-97e5-4a20-9e6c-0f1f6f1a9a3c"
    assert error.what == "its state is locked by root@build-7 since 2026-11-30 02:03:04.5 UTC"
    assert "--lock-id 7fd3c6bd-97e5-4a20-9e6c-0f1f6f1a9a3c" in str(error.remedy)
