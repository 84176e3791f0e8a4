"""The doors: each brings the same objects, and says what it could not bring."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from clusters import place_of
from fake_api_server import FakeApiServer
from typer.testing import CliRunner

from cdk.cluster.catalogue import objects_of
from cdk.cluster.definitions import is_custom
from cdk.cluster.doors.applying import Applied, ApplyPlan, Outcome, apply, connected
from cdk.cluster.doors.pulumi_program import register
from cdk.cluster.doors.rendering import INDEX, render
from cdk.cluster.kinds.base import Manifest
from cdk.delivery.commands import app
from cdk.delivery.failures import InfrastructureError
from platform_lib.errors import ConfigError, MissingPartError, UsageError

OBJECTS = objects_of(place_of("local"))
DOCUMENTS = sorted((item.document() for item in OBJECTS), key=lambda item: json.dumps(item, sort_keys=True))


def _sorted(documents: list[Any]) -> list[Any]:
    return sorted(documents, key=lambda item: json.dumps(item, sort_keys=True))


def _kinds(objects: tuple[Manifest, ...] = OBJECTS) -> dict[tuple[str, str], bool]:
    return {(item.api_version, item.kind): item.namespaced for item in objects}


@pytest.fixture
def server() -> Iterator[FakeApiServer]:
    with FakeApiServer(_kinds()).running() as running:
        yield running


def _apply(server: FakeApiServer, tmp_path: Path, objects: Any = OBJECTS, **plan: Any) -> list[Applied]:
    with connected("test", kubeconfig=server.kubeconfig(tmp_path / "kubeconfig")) as cluster:
        return apply(cluster, objects, ApplyPlan(**{"wait_s": 0, **plan}))


def _held(server: FakeApiServer) -> list[Any]:
    found = []
    for item in server.objects.values():
        meta = {key: value for key, value in item["metadata"].items() if key != "resourceVersion"}
        found.append({**item, "metadata": meta})
    return _sorted(found)


# The folder ---------------------------------------------------------------------------------------------------------


def test_a_folder_holds_every_object_once_and_always_the_same(tmp_path: Path) -> None:
    files = render(OBJECTS, tmp_path / "a")
    assert len(files) == len(OBJECTS)
    assert _sorted([yaml.safe_load(path.read_bytes()) for path in files]) == DOCUMENTS
    again = render(tuple(reversed(OBJECTS)), tmp_path / "b")
    assert [path.relative_to(tmp_path / "b") for path in again] == [path.relative_to(tmp_path / "a") for path in files]
    assert all(one.read_bytes() == other.read_bytes() for one, other in zip(files, again, strict=True))


def test_what_is_no_object_any_more_goes_and_what_is_somebody_elses_stays(tmp_path: Path) -> None:
    render(OBJECTS, tmp_path / "a")
    (tmp_path / "a" / "README.md").write_text("theirs")
    left = render(OBJECTS[:-1], tmp_path / "a")
    assert len(left) == len(OBJECTS) - 1
    there = {path for path in (tmp_path / "a").rglob("*") if path.is_file()}
    assert there == {*left, tmp_path / "a" / "README.md", tmp_path / "a" / INDEX}


def test_a_folder_of_others_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("theirs")
    with pytest.raises(ConfigError, match="did not write"):
        render(OBJECTS, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_an_index_that_leads_out_of_the_folder_deletes_nothing(tmp_path: Path) -> None:
    outside = tmp_path / "outside.yaml"
    outside.write_text("theirs")
    folder = tmp_path / "a"
    folder.mkdir()
    (folder / INDEX).write_text(json.dumps({"files": ["../outside.yaml", str(outside)]}))
    render(OBJECTS, folder)
    assert outside.read_text() == "theirs"


# Server-side apply ----------------------------------------------------------------------------------------------------


def test_apply_brings_the_same_objects_in_order_and_again_changes_nothing(
    server: FakeApiServer, tmp_path: Path
) -> None:
    first = _apply(server, tmp_path)
    assert {item.outcome for item in first} == {Outcome.CREATED}
    assert _held(server) == DOCUMENTS
    applied = [path for method, path in server.requests if method == "PATCH"]
    assert len(applied) == len(OBJECTS)
    namespaces = [
        number for number, path in enumerate(applied) if path.startswith("/api/v1/namespaces/") and path.count("/") == 4
    ]
    assert namespaces == list(range(len(namespaces)))
    assert {item.outcome for item in _apply(server, tmp_path)} == {Outcome.UNCHANGED}


def test_a_changed_object_is_told(server: FakeApiServer, tmp_path: Path) -> None:
    _apply(server, tmp_path)
    last = OBJECTS[-1]
    changed = last.model_copy(update={"metadata": last.metadata.model_copy(update={"labels": {"a": "b"}})})
    done = _apply(server, tmp_path, (*OBJECTS[:-1], changed))
    assert [item.outcome for item in done].count(Outcome.CHANGED) == 1
    assert done[-1].outcome is Outcome.CHANGED


def test_another_owner_of_a_field_is_named_and_overruled_only_when_asked(server: FakeApiServer, tmp_path: Path) -> None:
    _apply(server, tmp_path)
    key = next(key for key in server.objects if key[0] == "apps/v1/deployments" and key[2] == "mlflow")
    server.objects[key]["spec"]["replicas"] = 7
    server.owners[key]["spec", "replicas"] = "autoscaler"
    with pytest.raises(InfrastructureError, match=r"others own.*autoscaler.*spec\.replicas") as refused:
        _apply(server, tmp_path)
    assert "--force-conflicts" in str(refused.value)
    assert server.objects[key]["spec"]["replicas"] == 7
    _apply(server, tmp_path, force_conflicts=True)
    assert server.objects[key]["spec"]["replicas"] == 2


def test_kinds_that_charts_install_are_waited_for(tmp_path: Path) -> None:
    core = {
        key: value
        for key, value in _kinds().items()
        if key[1] in {i.kind for i in OBJECTS if not is_custom(i)} | {"AppProject", "Application"}
    }
    with FakeApiServer(core).running() as server:
        waited: list[float] = []

        def installed_meanwhile(seconds: float) -> None:
            waited.append(seconds)
            assert any(path.endswith("/applications/kueue") for method, path in server.requests if method == "PATCH")
            if len(waited) == 3:
                server.kinds.update(_kinds())

        done = _apply(server, tmp_path, wait_s=60, sleep=installed_meanwhile)
        assert len(waited) == 3
        assert len(done) == len(OBJECTS)


def test_kinds_that_do_not_come_are_named(tmp_path: Path) -> None:
    kinds = {key: value for key, value in _kinds().items() if not key[0].startswith("kueue")}
    with FakeApiServer(kinds).running() as server:
        ticks = iter(range(100))
        with pytest.raises(
            InfrastructureError, match=r"not served after 5 s: kueue\.x-k8s\.io/v1beta2 ClusterQueue, .*Topology"
        ):
            _apply(server, tmp_path, wait_s=5, sleep=lambda seconds: None, clock=lambda: float(next(ticks)))
        # What does not need them is there.
        queued = [item for item in OBJECTS if item.api_version.startswith("kueue")]
        assert len(server.objects) == len(OBJECTS) - len(queued)


def test_a_webhook_that_is_not_there_yet_is_waited_for(server: FakeApiServer, tmp_path: Path) -> None:
    server.broken = 2
    waited: list[float] = []
    _apply(server, tmp_path, wait_s=60, sleep=waited.append)
    assert len(waited) == 2


def test_prune_takes_what_was_ours_and_nothing_else(server: FakeApiServer, tmp_path: Path) -> None:
    _apply(server, tmp_path)
    for owner, key in (("helm", ("v1/configmaps", "ray", "theirs")), ("drivetrain", ("v1/configmaps", "ray", "child"))):
        meta: dict[str, Any] = {
            "name": key[2],
            "namespace": key[1],
            "labels": {"app.kubernetes.io/part-of": "drivetrain"},
        }
        if key[2] == "child":
            meta["ownerReferences"] = [{"kind": "RayCluster", "name": "shared"}]
        server.objects[key] = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {**meta, "resourceVersion": "9"}}
        server.owners[key] = {("data",): owner}
    gone = {"ConfigMap", "Namespace"}
    fewer = tuple(item for item in OBJECTS if not (item.kind in gone and item.metadata.name in {"opencost", "edge"}))
    fewer = tuple(item for item in fewer if item.identity[1:] != ("PriorityClass", "", "drivetrain-jobs"))
    assert [item for item in _apply(server, tmp_path, fewer) if item.outcome is Outcome.PRUNED] == []
    done = [item.name for item in _apply(server, tmp_path, fewer, prune=True) if item.outcome is Outcome.PRUNED]
    assert done == ["PriorityClass drivetrain-jobs"]
    assert ("v1/configmaps", "ray", "theirs") in server.objects
    assert ("v1/configmaps", "ray", "child") in server.objects
    assert ("v1/namespaces", "", "opencost") in server.objects


def test_what_is_forbidden_or_unknown_is_one_sentence(server: FakeApiServer, tmp_path: Path) -> None:
    server.forbidden.add("v1/namespaces//ray")
    with pytest.raises(InfrastructureError, match="Namespace ray: is not allowed"):
        _apply(server, tmp_path)
    kubeconfig = server.kubeconfig(tmp_path / "kubeconfig")
    with pytest.raises(ConfigError, match="no context 'prod'"), connected("prod", kubeconfig=kubeconfig):
        pass
    kubeconfig.write_text(kubeconfig.read_text().replace("of-a-test", "expired"))
    with pytest.raises(InfrastructureError, match="does not know who asks"), connected("test", kubeconfig=kubeconfig):
        pass


def test_a_server_that_is_gone_is_one_sentence(tmp_path: Path) -> None:
    with FakeApiServer(_kinds()).running() as server:
        kubeconfig = server.kubeconfig(tmp_path / "kubeconfig")
    with pytest.raises(InfrastructureError, match="does not answer"), connected("test", kubeconfig=kubeconfig):
        pass


# Pulumi ---------------------------------------------------------------------------------------------------------------


def test_pulumi_registers_the_same_objects() -> None:
    """Under mocks, which check no schema: what is shown is that the program hands over these objects and no others."""
    pulumi = pytest.importorskip("pulumi", reason="the extra `pulumi` is not installed")
    registered: list[Any] = []

    class Mocks(pulumi.runtime.Mocks):  # type: ignore[misc, name-defined]
        def new_resource(self, args: Any) -> tuple[str, dict[str, Any]]:
            registered.append((args.typ, args.inputs))
            return f"{args.name}-id", dict(args.inputs)

        def call(self, args: Any) -> dict[str, Any]:
            raise AssertionError(args)

    pulumi.runtime.set_mocks(Mocks(), preview=False)

    @pulumi.runtime.test  # type: ignore[untyped-decorator, unused-ignore]
    def program() -> Any:
        return register("drivetrain-local", OBJECTS).urn

    program()
    assert [typ for typ, _ in registered] == ["kubernetes:yaml/v2:ConfigGroup"]
    assert _sorted(registered[0][1]["objs"]) == DOCUMENTS


def test_without_pulumi_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "pulumi_kubernetes.yaml.v2", None)
    with pytest.raises(MissingPartError, match=r"infra,pulumi"):
        register("a", OBJECTS)


# The command ----------------------------------------------------------------------------------------------------------


def _run(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["manifests", *arguments])


def test_the_command_renders_a_folder_a_region(tmp_path: Path) -> None:
    result = _run("--env", "prod", "--out", str(tmp_path / "m"), "--json")
    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout)
    assert [item["region"] for item in said["regions"]] == ["us-east-1", "us-west-2"]
    assert said["stand_ins"] == ["database_endpoint", "database_secret_arn"]
    for item in said["regions"]:
        assert len(list(Path(item["folder"]).rglob("*.yaml"))) == item["objects"]


def test_the_command_applies_what_it_renders(
    server: FakeApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(server.kubeconfig(tmp_path / "kubeconfig")))
    outputs = tmp_path / "outputs.json"
    outputs.write_text(
        json.dumps({"database_endpoint": {"value": "db.example:5432"}, "database_secret_arn": {"value": "arn:aws:s"}})
    )
    assert _run("--out", str(tmp_path / "m"), "--outputs", str(outputs), "--image-tag", "v1").exit_code == 0
    import kubernetes.config.kube_config as loaded

    monkeypatch.setattr(loaded, "KUBE_CONFIG_DEFAULT_LOCATION", os.environ["KUBECONFIG"])
    result = _run("--apply", "--context", "test", "--outputs", str(outputs), "--image-tag", "v1", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["outcomes"] == {"created": len(OBJECTS)}
    files = (tmp_path / "m" / "us-east-1").rglob("*.yaml")
    assert _held(server) == _sorted([yaml.safe_load(path.read_bytes()) for path in files])


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((), UsageError, "neither --out nor --apply"),
        (("--apply", "--out", "x"), UsageError, "exclude each other"),
        (("--apply",), UsageError, "needs the cluster by name"),
        (("--apply", "--context", "x"), ConfigError, "what Terraform gives is not known"),
        (("--env", "prd", "--out", "x"), ConfigError, "no environment 'prd'"),
        (("--region", "eu-west-1", "--out", "x"), ConfigError, "region eu-west-1 is none of"),
        (("--outputs", "gone.json", "--out", "x"), ConfigError, "cannot be read"),
    ],
)
def test_wrong_arguments_are_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], error: type[Exception], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    result = _run(*arguments)
    assert isinstance(result.exception, error)
    assert message in str(result.exception)
    assert list(tmp_path.iterdir()) == []
