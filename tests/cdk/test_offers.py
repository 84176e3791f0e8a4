"""Real Terraform asks an emulator which zones have a pool's instance types, and refuses a plan where they have none."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from cdktn import App
from moto.server import ThreadedMotoServer

from cdk.blocks.offers import require_offered
from cdk.config import load_environment
from cdk.delivery.emulator import Server
from cdk.delivery.failures import InfrastructureError, explain
from cdk.delivery.mirrors import find_mirror, mirrored_versions
from cdk.delivery.terraform import Terraform, find_program
from cdk.model import Account, Pool, PoolKind
from cdk.stacks.base import PlatformStack
from platform_lib.errors import MissingPartError

VERSION = "5.100.0"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    yield Server(pid=1, started_s=0.0, port=moto.get_host_and_port()[1])
    moto.stop()


def _pool(name: str, *types: str, zones: tuple[str, ...] = ()) -> Pool:
    return Pool(name=name, kind=PoolKind.CPU, instance_types=types, zones=zones, cost_center="a", team="a")


def _document(out: Path, *pools: Pool) -> dict[str, Any]:
    """Return a stack that asks for the offers of pools in us-west-2, with its state on disk."""
    environment = load_environment("local", today=date(2026, 11, 30))
    app = App(outdir=str(out), skip_validation=True, stack_traces=False)
    stack = PlatformStack(app, "offers", environment=environment, account=Account.ML, region="us-west-2")
    for pool in pools:
        require_offered(stack, pool, ["us-west-2a", "us-west-2b"])
    app.synth()
    document: dict[str, Any] = json.loads((out / "stacks" / "offers" / "cdk.tf.json").read_bytes())
    del document["terraform"]["backend"]
    return document


def _terraform(folder: Path, document: dict[str, Any], server: Server) -> Terraform:
    try:
        program = find_program()
    except MissingPartError as missing:
        pytest.skip(f"offers not asked for: {missing.what}")
    mirror = find_mirror()
    if mirror is None or VERSION not in mirrored_versions(mirror):
        pytest.skip(f"offers not asked for: no local mirror holds hashicorp/aws {VERSION}")
    work = folder / "work" / "offers"
    work.mkdir(parents=True)
    (work / "cdk.tf.json").write_text(json.dumps(document))
    terraform = Terraform(program, work, server.environment())
    terraform.init()
    return terraform


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_type_that_a_zone_has_not_is_refused_and_one_that_it_has_is_planned(tmp_path: Path, server: Server) -> None:
    good = _pool("good", "p5.48xlarge", zones=("us-west-2a",))
    spread = _pool("spread", "g6e.12xlarge", "p5en.48xlarge")
    terraform = _terraform(tmp_path, _document(tmp_path / "good", good, spread), server)
    assert terraform.plan(tmp_path / "plan.bin") is False
    # Cloud AI 100 is in one zone of this region, and in no other of ours.
    bad = (_pool("ai100", "dl2q.24xlarge", zones=("us-west-2a",)), _pool("mixed", "m7i.xlarge", "dl2q.24xlarge"))
    (terraform.folder / "cdk.tf.json").write_text(json.dumps(_document(tmp_path / "bad", *bad)))
    with pytest.raises(InfrastructureError, match="AWS does not have a pool's instance types") as refused:
        terraform.plan(tmp_path / "plan.bin")
    said = refused.value.what
    assert "Not offered: zones of pool ai100 have none of dl2q.24xlarge: us-west-2a." in said
    assert "Not offered: zones of pool mixed have no dl2q.24xlarge: us-west-2a, us-west-2b." in said
    assert "${" not in said
    assert "describe-instance-type-offerings" in (refused.value.remedy or "")
    # What is gone from a zone does not stand in the way of taking the rest away.
    terraform.plan(tmp_path / "gone.bin", destroy=True)


def test_every_pool_is_asked_for_in_its_own_region_and_an_emulator_for_none(prod: Any, local: Any) -> None:
    asked = {
        name
        for stack in ("pools-us-east-1", "pools-us-west-2")
        for name in prod.documents[stack]["data"]["aws_ec2_instance_type_offerings"]
    }
    assert asked == {f"offers-{item.name}" for item in prod.environment.pools}
    west = prod.documents["pools-us-west-2"]["data"]["aws_ec2_instance_type_offerings"]["offers-train-h100-west"]
    assert {item["name"]: item["values"] for item in west["filter"]} == {
        "instance-type": ["p5.48xlarge"],
        "location": ["us-west-2a"],
    }
    assert "aws_ec2_instance_type_offerings" not in local.documents["pools-us-east-1"].get("data", {})


def test_the_refusal_is_one_sentence() -> None:
    text = "│ Error: Resource postcondition failed\n│ \n│ on cdk.tf.json line 9: ${x}\n│ \n│ Not offered: zones of\n│ pool a."
    said = explain(text, stack="pools", action="plan").what
    assert said == "AWS does not have a pool's instance types where the pool is to lie: Not offered: zones of pool a."
