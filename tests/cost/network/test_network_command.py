from __future__ import annotations

import json
import shutil
import subprocess
from decimal import Decimal
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from network_logs import DEFAULT, GIB, ZONES, World, example, text_of, write
from typer.testing import CliRunner

from cost.commands import app
from cost.plan.reading import read_settings
from cost.report.proposals import ProposalFile
from platform_lib.errors import ConfigError

VERSIONS = ("1.33", "1.34", "1.35", "1.36")
_MONTH = 730


def arguments(paths: dict[str, Path], *more: str) -> list[str]:
    given = [
        "network",
        str(paths["flows"]),
        "--pods",
        str(paths["pods"]),
        "--nodes",
        str(paths["nodes"]),
        "--seconds",
        "2",
    ]
    given += ["--enis", str(paths["enis"]), "--services", str(paths["services"]), "--zones", str(paths["zones"])]
    return [*given, "--ip-ranges", str(paths["ranges"]), *more]


def run(paths: dict[str, Path], *more: str) -> dict[str, Any]:
    result = CliRunner().invoke(app, arguments(paths, *more, "--json"), catch_exceptions=False)
    document: dict[str, Any] = json.loads(result.stdout)
    return document


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[World, Path, dict[str, Any]]:
    folder, world = tmp_path_factory.mktemp("network"), example()
    paths = write(folder, world, services=("web", "api"))
    return world, folder / "out", run(paths, "--out", str(folder / "out"))


def crossing_gib(world: World) -> float:
    """Return what crosses zones, the way to the NAT gateway too."""
    found = 0.0
    for one, other, size in world.sent:
        here = world.zone(world.pods[one][2])
        there = world.zone(world.pods[other][2]) if other in world.pods else world.nat_zone
        found += size / GIB * (here != there)
    return found


def test_the_sum_is_the_one_made_by_hand(done: tuple[World, Path, dict[str, Any]]) -> None:
    world, _, told = done
    # Recorded in one hour; 730 of them; $0.01 a GB for each end.
    across = crossing_gib(world) * _MONTH * 0.02
    assert across == pytest.approx((6 * 3 + 50 + 3 * 2 + 40) * _MONTH * 0.02)
    month = told["month"]
    assert month["across_zones"]["usd"] == pytest.approx(across, abs=0.01)
    assert not month["across_zones"]["at_least"]
    assert month["nat"]["usd"] == pytest.approx(41 * _MONTH * 0.045, abs=0.01)
    assert told["recorded"]["complete"]
    assert told["recorded"]["recorded_twice_bytes"] > 0
    assert {price["dated"] for price in told["prices"]}
    assert all(price["source"] for price in told["prices"])


def test_s3_through_nat_is_advised_a_gateway_endpoint(done: tuple[World, Path, dict[str, Any]]) -> None:
    _, _, told = done
    ways = {(item["service"], item["way"]): item["usd"] for item in told["outside"]}
    assert ways["S3", "nat gateway"] == pytest.approx(40 * _MONTH * 0.045, abs=0.01)
    advice = next(item for item in told["proposals"] if "gateway endpoint for S3" in item["title"])
    assert Decimal(advice["saves_usd"]["expected"]) == Decimal("1314.00")
    assert "--vpc-endpoint-type Gateway" in advice["command"]
    # What S3's endpoint takes is not saved once more by a NAT gateway in the loader's zone.
    assert not any("us-east-1c" in item["title"] for item in told["proposals"])


def test_the_placement_saves_and_keeps_to_its_rules(done: tuple[World, Path, dict[str, Any]]) -> None:
    _, _, told = done
    placement = told["placement"]
    assert placement["refused"] is None
    assert placement["crossing_bytes"] < 0.25 * placement["even_spread_bytes"]
    assert placement["bound_bytes"] <= placement["crossing_bytes"] < placement["crossing_now_bytes"]
    assert placement["gap"] is not None
    patches = {(item["kind"], item["name"]): item for item in placement["patches"]}
    assert patches["Service", "api"]["patch"] == {"spec": {"trafficDistribution": "PreferSameZone"}}
    moved = {name for kind, name in patches if kind == "Deployment"}
    assert moved & {"loader", "trainer"}


def test_every_file_is_there_and_the_report_takes_the_proposals(done: tuple[World, Path, dict[str, Any]]) -> None:
    _, out, told = done
    file = read_settings(out / "proposals.json", ProposalFile)
    assert file.source == "drivetrain cost network"
    assert len(file.proposals) == len(told["proposals"])
    assert json.loads((out / "network.json").read_text())["format"] == "drivetrain-network/1"
    for script in ("services.sh", "workloads.sh"):
        subprocess.run(["sh", "-n", str(out / script)], check=True)
        for line in (out / script).read_text().splitlines():
            if "--patch-file" in line:
                assert (out / line.split("--patch-file ")[1]).is_file()


def live(item: dict[str, Any]) -> dict[str, Any]:
    """Return an object as a cluster has it before the patch."""
    meta = {"name": item["name"], "namespace": item["namespace"]}
    if item["kind"] == "Service":
        return {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": meta,
            "spec": {"selector": {"app": "x"}, "ports": [{"port": 80}]},
        }
    labels = {"app": item["name"]}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "main", "image": "i"}]}}
    spec = {"selector": {"matchLabels": labels}, "template": template}
    if item["kind"] == "StatefulSet":
        spec["serviceName"] = item["name"]
    return {"apiVersion": "apps/v1", "kind": item["kind"], "metadata": meta, "spec": spec}


def merged(into: Any, patch: Any) -> Any:
    if isinstance(into, dict) and isinstance(patch, dict):
        return {key: merged(into.get(key), patch[key]) if key in patch else into[key] for key in {**into, **patch}}
    return patch


@pytest.mark.parametrize("version", VERSIONS)
def test_patched_objects_are_ones_that_kubernetes_takes(done: tuple[World, Path, dict[str, Any]], version: str) -> None:
    _, out, told = done
    checked = set()
    for item in told["placement"]["patches"]:
        body = yaml.safe_load(
            (out / "patches" / f"{item['namespace']}.{item['kind'].lower()}.{item['name']}.yaml").read_text()
        )
        assert body == item["patch"]
        kubernetes_validate.validate(merged(live(item), body), version, strict=True)
        checked.add(item["kind"])
        fault = json.loads(
            json.dumps(body)
            .replace("trafficDistribution", "trafficDistributions")
            .replace("nodeAffinity", "nodeAffinities")
        )
        with pytest.raises(kubernetes_validate.ValidationError):
            kubernetes_validate.validate(merged(live(item), fault), version, strict=True)
    assert {"Service", "Deployment"} <= checked


def test_a_spreading_constraint_is_never_broken(tmp_path: Path) -> None:
    world = example()
    spread = {"topologySpreadConstraints": [{
        "maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"app": "web"}},
    }]}  # fmt: skip
    world.specs["web"] = spread
    told = run(write(tmp_path, world), "--keep-zones", "1")
    for item in told["placement"]["patches"]:
        if item["name"] == "web":
            terms = item["patch"]["spec"]["template"]["spec"]["affinity"]["nodeAffinity"]
            (term,) = terms["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
            assert term["matchExpressions"][0]["values"] == list(ZONES)


def test_what_cannot_be_placed_says_why(tmp_path: Path) -> None:
    world = example()
    paths = write(tmp_path, world)
    paths["nodes"].write_text(json.dumps(world.node_list(cpu="1")))
    told = run(paths)
    assert "cpu" in told["placement"]["refused"]
    assert told["placement"]["patches"] == []
    assert any(item["refused"] for item in told["proposals"] if item["title"] == "pods placed by zone")
    assert told["month"]["across_zones"]["usd"] > 0  # what it costs is known all the same


def test_the_default_format_prices_zones_and_places_nothing(tmp_path: Path) -> None:
    world = example()
    told = run(write(tmp_path, world, fields=DEFAULT))
    across = sum(size / GIB for one, other, size in world.sent if other in world.pods and
                 world.zone(world.pods[one][2]) != world.zone(world.pods[other][2])) + 40  # fmt: skip
    assert told["month"]["across_zones"]["usd"] == pytest.approx(across * _MONTH * 0.02, abs=0.01)
    assert "pkt-srcaddr" in told["placement"]["refused"]


def test_no_patch_of_an_earlier_run_stays_behind(tmp_path: Path) -> None:
    world = example()
    paths = write(tmp_path, world, services=("api",))
    run(paths, "--out", str(tmp_path / "out"))
    assert list((tmp_path / "out" / "patches").iterdir())
    paths["nodes"].write_text(json.dumps(world.node_list(cpu="1")))
    told = run(paths, "--out", str(tmp_path / "out"))
    # Services need no placement to be kept near.
    assert [item.name for item in (tmp_path / "out" / "patches").iterdir()] == ["drive.service.api.yaml"]
    assert [item["kind"] for item in told["placement"]["patches"]] == ["Service"]


def test_without_a_price_the_sum_is_unknown_and_not_zero(tmp_path: Path) -> None:
    paths = write(tmp_path, example())
    month = run(paths, "--region", "eu-north-1")["month"]
    assert month["across_zones"]["usd"] is None
    assert month["total"]["at_least"]
    assert month["nat"]["usd"] is None


def test_broken_lines_make_every_sum_at_least(tmp_path: Path) -> None:
    world = example()
    paths = write(tmp_path, world)
    paths["flows"] = tmp_path / "flows.log"
    paths["flows"].write_text(text_of(world.records()) + "not a record\n")
    told = run(paths)
    assert told["month"]["across_zones"]["at_least"]
    assert told["recorded"]["broken_lines"]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("pods", '{"items": [{"kind": "Node"}]}', "holds Node where Pod is wanted"),
        ("nodes", "{", "is no JSON"),
        ("enis", "{}", "no `NetworkInterfaces`"),
        ("zones", "{}", "no `AvailabilityZones`"),
        ("ranges", "{}", "no `prefixes`"),
        ("pods", '{"items": [{"kind": "Pod", "metadata": {}}]}', "lacks 'spec'"),
    ],
)
def test_files_that_are_not_what_their_command_writes(tmp_path: Path, name: str, content: str, said: str) -> None:
    paths = write(tmp_path, example())
    paths[name].write_text(content)
    with pytest.raises(ConfigError, match=said) as caught:
        run(paths)
    assert str(paths[name]) in str(caught.value)
    assert caught.value.remedy


def test_snapshots_have_times(tmp_path: Path) -> None:
    paths = write(tmp_path, example())
    paths["pods"] = Path(f"{paths['pods']}@2026-11-25T10:30:00Z")
    assert run(paths)["placement"]["units"] > 0
    shutil.copy(tmp_path / "pods.json", tmp_path / "more.json")
    with pytest.raises(ConfigError, match="no time with a zone"):
        run(paths, "--pods", f"{tmp_path / 'more.json'}@noon")


def test_people_read_tables(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, arguments(write(tmp_path, example(), services=("api",))), catch_exceptions=False)
    for text in (
        "a month between zones",
        "who sends to whom across zones",
        "drive/Deployment/loader",
        "placement",
        "gap",
    ):
        assert text in result.stdout
