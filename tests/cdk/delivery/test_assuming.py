"""Plans of pull requests assume the role that reads, and build the same."""

from __future__ import annotations

import json

from synthesised_stacks import Synthesised

from cdk.delivery.assuming import assume_instead


def test_backend_and_every_provider_assume_the_other_role_and_nothing_else_changes(prod: Synthesised) -> None:
    environment = prod.environment
    for name, document in prod.documents.items():
        content = json.dumps(document).encode()
        other = json.loads(assume_instead(content, role=environment.deploy_role, instead=environment.read_role))
        roles = [other["terraform"]["backend"]["s3"]["assume_role"], *_assumed(other)]
        assert len(roles) >= 2, name
        assert {item["role_arn"].rpartition("/")[2] for item in roles} == {"drivetrain-deploy-read"}
        assert other.get("resource") == document.get("resource")
        back = json.loads(
            assume_instead(json.dumps(other).encode(), role=environment.read_role, instead=environment.deploy_role)
        )
        assert back == document


def test_a_role_of_another_name_is_left_alone() -> None:
    content = json.dumps({"provider": {"aws": [{"assume_role": [{"role_arn": "arn:aws:iam::1:role/other"}]}]}}).encode()
    assert json.loads(assume_instead(content, role="deploy", instead="read")) == json.loads(content)


def _assumed(document: dict[str, object]) -> list[dict[str, str]]:
    found: list[dict[str, str]] = []
    for provider in document["provider"]["aws"]:  # type: ignore[index]
        role = provider["assume_role"]
        found += role if isinstance(role, list) else [role]
    return found
