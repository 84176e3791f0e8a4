"""Names that manifests and Terraform both know: no wire between them, so a test holds one against the other."""

from __future__ import annotations

from typing import Any

from clusters import place_of
from synthesised_stacks import Synthesised

from cdk.cluster.catalogue import objects_of
from cdk.cluster.kinds.core import ClusterRoleBinding, Deployment, ServiceAccount
from cdk.cluster.kinds.karpenter import EC2NodeClass
from cdk.cluster.namespaces import ADMINS, VIEWERS
from cdk.model import DataClass

PLACE = place_of("dev")
OBJECTS = objects_of(PLACE)


def _names(found: Synthesised, kind: str, attribute: str = "name") -> set[Any]:
    return {body.get(attribute) for body in found.resources(kind)}


def test_clusters_queues_keys_profiles_and_buckets_have_the_names_that_manifests_use(dev: Synthesised) -> None:
    assert PLACE.name in _names(dev, "aws_eks_cluster")
    assert PLACE.named("interruptions", PLACE.region.name) in _names(dev, "aws_sqs_queue")
    assert PLACE.node_profile in _names(dev, "aws_iam_instance_profile")
    assert PLACE.disk_key_alias.rpartition(":")[2] in _names(dev, "aws_kms_alias")
    buckets = _names(dev, "aws_s3_bucket", "bucket")
    assert {PLACE.bucket(item) for item in DataClass} <= buckets
    assert PLACE.secret_reader_role_arn.rpartition("/")[2] in _names(dev, "aws_iam_role")


def test_karpenter_finds_the_subnets_of_its_cluster(dev: Synthesised) -> None:
    node_class = next(item for item in OBJECTS if isinstance(item, EC2NodeClass))
    (term,) = node_class.spec.subnet_selector_terms
    assert term.tags is not None
    subnets = [body for body in dev.resources("aws_subnet") if term.tags.items() <= (body.get("tags") or {}).items()]
    assert {body["availability_zone"] for body in subnets} == set(PLACE.region.zones)
    assert all(body["tags"]["drivetrain:tier"] == "private" for body in subnets)


def test_every_own_image_has_its_repository(dev: Synthesised) -> None:
    repositories = _names(dev, "aws_ecr_repository")
    text = "\n".join(str(item.document()) for item in OBJECTS)
    for role in ("ray-cpu", "ray-cuda", "mlflow"):
        image = PLACE.image(role)
        assert image in text
        assert image.partition("/")[2].rpartition(":")[0] in repositories


def test_pods_with_a_role_are_those_of_the_manifests(dev: Synthesised) -> None:
    associated = {
        (body["namespace"], body["service_account"]) for body in dev.resources("aws_eks_pod_identity_association")
    }
    made = {(item.metadata.namespace, item.metadata.name) for item in OBJECTS if isinstance(item, ServiceAccount)}
    assert made <= associated
    used = {
        (item.metadata.namespace, item.spec.template.spec.service_account_name)
        for item in OBJECTS
        if isinstance(item, Deployment)
    }
    assert used <= associated


def test_people_come_in_groups_that_have_a_role(dev: Synthesised) -> None:
    given = {group for body in dev.resources("aws_eks_access_entry") for group in body.get("kubernetes_groups") or ()}
    bound = {subject.name for item in OBJECTS if isinstance(item, ClusterRoleBinding) for subject in item.subjects}
    assert given == {ADMINS, VIEWERS} == bound - {"ray-history"}
