"""What the emulator lacks leaves the applied stack, and is planned all the same."""

from __future__ import annotations

import json

import pytest
from synthesised_stacks import Synthesised

from cdk.emulator import LACKING, PERMANENT, Document, apart, as_wanted, lacking_addresses, references, split, together

DOCUMENT: Document = {
    "terraform": {"backend": {"s3": {"bucket": "b"}}, "required_providers": {"aws": {}}},
    "provider": {"aws": [{"region": "us-east-1"}]},
    "variable": {"cluster_name": {"type": "string"}},
    "data": {"aws_eks_addon_version": {"csi": {"addon_name": "aws-ebs-csi-driver"}}},
    "resource": {
        "aws_iam_role": {"pods": {"name": "pods"}, "other": {"name": "other"}},
        "aws_eks_pod_identity_association": {
            "pods": {"cluster_name": "${var.cluster_name}", "role_arn": "${aws_iam_role.pods.arn}"}
        },
        "aws_eks_addon": {"csi": {"addon_version": "${data.aws_eks_addon_version.csi.version}"}},
        "aws_placement_group": {"together": {"name": "t"}},
        "aws_eks_node_group": {
            "train": {
                "depends_on": ["aws_placement_group.together", "aws_iam_role.pods"],
                "lifecycle": {"ignore_changes": ["scaling_config[0].desired_size"]},
            }
        },
    },
    "output": {"role": {"value": "${aws_iam_role.pods.arn}"}},
}


def test_what_is_applied_holds_nothing_that_is_lacking() -> None:
    applied, _ = split(DOCUMENT)
    assert set(applied["resource"]) == {"aws_iam_role", "aws_eks_node_group"}
    group = applied["resource"]["aws_eks_node_group"]["train"]
    assert group["depends_on"] == ["aws_iam_role.pods"]
    assert group["lifecycle"]["ignore_changes"] == [
        "launch_template",
        "node_repair_config",
        "remote_access",
        "scaling_config[0].desired_size",
        "update_config",
    ]
    assert applied["output"] == DOCUMENT["output"]
    assert applied["terraform"] == DOCUMENT["terraform"]


def test_a_plan_is_judged_by_what_is_wanted_not_by_what_the_emulator_kept() -> None:
    access = {"authentication_mode": "API", "bootstrap_cluster_creator_admin_permissions": False}
    document: Document = {
        "resource": {
            "aws_eks_cluster": {"c": {"name": "c", "access_config": access, "upgrade_policy": {"x": "${var.y}"}}},
            "aws_iam_role": {"r": {"name": "r"}},
        }
    }
    kept = {"name": "other", "access_config": [], "upgrade_policy": []}
    plan = {
        "planned_values": {
            "root_module": {
                "resources": [{"address": "aws_eks_cluster.c", "values": dict(kept)}, {"address": "aws_iam_role.r"}]
            }
        },
        "resource_changes": [
            {"address": "aws_eks_cluster.c[0]", "change": {"actions": ["no-op"], "after": dict(kept)}},
            {"address": "aws_iam_role.r", "change": {"actions": ["delete"], "after": None}},
        ],
    }
    judged = as_wanted(plan, document)
    wanted = {"name": "other", "access_config": [access], "upgrade_policy": []}
    assert judged["planned_values"]["root_module"]["resources"][0]["values"] == wanted
    assert [item["change"]["after"] for item in judged["resource_changes"]] == [wanted, None]
    assert plan["resource_changes"][0]["change"]["after"] == kept


def test_what_is_planned_only_holds_all_it_refers_to_and_no_more() -> None:
    _, planned = split(DOCUMENT)
    assert planned is not None
    assert set(planned["resource"]) == {
        "aws_eks_addon",
        "aws_eks_pod_identity_association",
        "aws_iam_role",
        "aws_placement_group",
    }
    assert set(planned["resource"]["aws_iam_role"]) == {"pods"}
    assert set(planned["data"]) == {"aws_eks_addon_version"}
    assert planned["variable"] == DOCUMENT["variable"]
    # It has no state of its own, and no lock.
    assert "backend" not in planned["terraform"]
    assert "output" not in planned


def test_a_stack_that_lacks_nothing_is_applied_as_it_is() -> None:
    document = {"terraform": {}, "resource": {"aws_iam_role": {"pods": {"name": "pods"}}}}
    assert split(document) == (document, None)


def test_the_document_that_is_split_is_not_changed() -> None:
    before = json.dumps(DOCUMENT)
    split(DOCUMENT)
    assert json.dumps(DOCUMENT) == before


def test_every_reason_is_said() -> None:
    assert lacking_addresses(DOCUMENT)["aws_placement_group.together"] == LACKING["aws_placement_group"]
    assert all(len(reason) > 10 for reason in LACKING.values())
    assert not set(LACKING) & set(PERMANENT)


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ({"a": "${aws_kms_key.k.arn}"}, {("aws_kms_key", "k")}),
        ({"a": [{"b": "${element(data.aws_subnet.s.ids, 0)}"}]}, {("data.aws_subnet", "s")}),
        ({"depends_on": ["aws_iam_role.r"]}, {("aws_iam_role", "r")}),
        ({"a": "arn:aws:s3:::plain.text"}, set()),
    ],
)
def test_references_are_found_wherever_they_stand(body: object, found: set[tuple[str, str]]) -> None:
    assert references(body) == found


def test_the_local_environment_refers_to_nothing_that_is_gone(local: Synthesised) -> None:
    for name, document in local.all_documents():
        kinds = {
            (f"{prefix}{kind}", member)
            for section, prefix in (("resource", ""), ("data", "data."))
            for kind, members in document.get(section, {}).items()
            for member in members
        }
        asked = {item for item in references(document) if item[0].startswith(("aws_", "data.aws_"))}
        assert asked <= kinds, f"{name}: {sorted(asked - kinds)}"


def test_together_both_parts_hold_what_a_real_environment_has(local: Synthesised, dev: Synthesised) -> None:
    marked = json.loads((local.out / "not_emulated.json").read_text())
    assert set(marked) == set(local.planned_only)
    kinds = {kind for _, document in local.all_documents() for kind in document.get("resource", {})}
    assert {kind for document in dev.documents.values() for kind in document["resource"]} <= kinds
    applied = {kind for document in local.documents.values() for kind in document["resource"]}
    assert not applied & set(LACKING)
    assert dev.planned_only == {}
    assert json.loads((dev.out / "not_emulated.json").read_text()) == {}


def test_permanent_differences_are_ignored_in_emulated_environments_alone(local: Synthesised, dev: Synthesised) -> None:
    assert local.one("aws_db_parameter_group")["lifecycle"]["ignore_changes"] == ["parameter"]
    assert "ignore_changes" not in dev.one("aws_db_parameter_group")["lifecycle"]
    assert "lifecycle" not in dev.one("aws_eks_cluster")


def change(address: str, *actions: str) -> dict[str, object]:
    return {"address": address, "change": {"actions": list(actions)}}


def test_one_run_plans_both_parts_and_its_plan_is_told_apart() -> None:
    applied, planned = split(DOCUMENT)
    assert planned is not None
    whole = together(applied, planned)
    assert {kind: set(named) for kind, named in whole["resource"].items()} == {
        kind: set(named) for kind, named in DOCUMENT["resource"].items()
    }
    assert whole["terraform"] == DOCUMENT["terraform"]
    # What the emulator keeps differently is ignored there too.
    assert "launch_template" in whole["resource"]["aws_eks_node_group"]["train"]["lifecycle"]["ignore_changes"]

    resources = [{"address": f"{kind}.{name}"} for kind, named in whole["resource"].items() for name in named]
    plan = {
        "resource_changes": [change(str(item["address"]), "create") for item in resources]
        + [change("aws_subnet.old[0]", "delete"), change("data.aws_eks_addon_version.csi", "read")],
        "planned_values": {"root_module": {"resources": resources}},
        "configuration": {"provider_config": {"aws": {}}, "root_module": {"resources": resources, "variables": {}}},
        "output_changes": {"role": {"actions": ["create"]}},
    }
    mine, lacking = apart(plan, applied)
    assert {item["address"] for item in lacking["resource_changes"]} == {
        "aws_eks_pod_identity_association.pods",
        "aws_eks_addon.csi",
        "aws_placement_group.together",
    }
    # What is in the state and in no document is taken away by the apply.
    assert {item["address"] for item in mine["resource_changes"]} == {
        "aws_iam_role.pods",
        "aws_iam_role.other",
        "aws_eks_node_group.train",
        "aws_subnet.old[0]",
        "data.aws_eks_addon_version.csi",
    }
    for part, place in ((mine, "planned_values"), (lacking, "configuration")):
        shown = {item["address"] for item in part[place]["root_module"]["resources"]}
        assert shown <= {item["address"] for item in part["resource_changes"]}
    assert mine["output_changes"]
    assert "output_changes" not in lacking
    assert lacking["configuration"]["provider_config"] == {"aws": {}}
