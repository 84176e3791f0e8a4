"""Submitting: pack the code, check the request, show the price, then hand the job to a cluster and be free to leave."""

from __future__ import annotations

import importlib.util
import math
import secrets
import shlex
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from platform_lib.environment import JOB_VARIABLE
from platform_lib.errors import ConfigError, HomeError
from platform_lib.home import Home
from platform_lib.storage import publish_bytes
from ray_jobs import cluster_job, local_cluster
from ray_jobs.job_records import (
    JobRecord,
    JobStatus,
    State,
    add_job,
    job_folders,
    packages_folder,
    read_job,
    set_status,
)
from ray_jobs.launch_check import Checked, check_image, check_local
from ray_jobs.launch_price import Ask, Price, cluster_price, local_price
from ray_jobs.local_cluster import CLUSTER, standing
from ray_jobs.named import needs_data, training_data, valid_name
from ray_jobs.packaging import Package, pack
from ray_jobs.recipes import recipe_named
from ray_jobs.recipes.config import TrainConfig
from ray_jobs.session import ADDRESS_VARIABLE

RAYJOB = "rayjob.yaml"
_AGENT_S = 120.0
_NO_AGENT = "No available agent"  # Source: ray 2.60, dashboard/modules/job/job_head.py


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What somebody wants to run.

    Attributes:
        cluster: ``local``, or an environment's name.
        code: The working tree.
        pool: Of a named cluster; None: the first that can.
        hours: How long, for the price; None: unknown.
        spot: What `drivetrain cost spot` wrote; None without.
        nodes: Node processes of a local cluster that has to be started first.
    """

    recipe: str
    dataset: str | None
    run: str
    cluster: str
    code: Path
    pool: str | None = None
    hours: float | None = None
    spot: Path | None = None
    nodes: int = 1


@dataclass(frozen=True, slots=True)
class Plan:
    """A launch that was checked and priced, and has not happened.

    Attributes:
        manifest: Of a named cluster the RayJob without its name and code; None for a local one.
    """

    request: Request
    config: TrainConfig
    package: Package
    checked: Checked
    price: Price
    pool: str | None = None
    form: Mapping[str, Any] | None = None
    nodes: int = 1


def plan(home: Home, request: Request, ask: Ask) -> Plan:
    """Pack, check and price; nothing is launched.

    Raises:
        ConfigError: The recipe, the run's name, the cluster or the request itself cannot be.
        MissingPartError: There is no such dataset.
    """
    config = recipe_named(request.recipe)
    valid_name(request.run, what="--run")
    needs_data(config, request.dataset)
    if request.cluster == CLUSTER:
        training_data(home, config, request.dataset)
    for folder in job_folders(home):
        record, status = read_job(folder)[0], standing(home, folder)
        if record.run == request.run and not status.state.over:
            raise ConfigError(
                f"job '{record.id}' is at work on run '{request.run}'",
                where="--run",
                remedy=f"take another name, or `drivetrain jobs cancel {record.id}`",
            )
    package = pack(request.code, packages_folder(home))
    if request.cluster == CLUSTER:
        checked = check_local(config.processes, home.root, compiled=config.fit.compiled)
        return Plan(request, config, package, checked, local_price())
    return _cluster_plan(request, config, package, ask)


def _cluster_plan(request: Request, config: TrainConfig, package: Package, ask: Ask) -> Plan:
    with tempfile.TemporaryDirectory(prefix="drivetrain-manifests-") as folder:
        ask(("infra", "manifests", "--env", request.cluster, "--out", folder))
        cluster = cluster_job.read_cluster(Path(folder))
    pools = cluster_job.able_pools(cluster, config.processes, request.pool)
    plans = [_on_pool(request, config, package, ask, cluster, pool) for pool in pools]
    chosen = cheapest(plans)
    if len(plans) == 1:
        return chosen
    why = (
        f"pool {chosen.pool} is taken of {', '.join(pools)}: what fits the quotas first, then the cheapest known price"
    )
    return replace(chosen, checked=replace(chosen.checked, notes=(why, *chosen.checked.notes)))


def _on_pool(
    request: Request, config: TrainConfig, package: Package, ask: Ask, cluster: cluster_job.ClusterView, pool: str
) -> Plan:
    form = cluster.forms[pool]
    nodes = cluster_job.nodes_for(form, config.processes)
    checked = cluster_job.check_cluster(cluster, pool, nodes)
    instance_types, zones = _made_of(request.cluster, pool)
    price = cluster_price(
        ask,
        instance_types=instance_types,
        region=cluster.region,
        nodes=nodes,
        hours=request.hours,
        spot=request.spot,
    )
    notes = [*checked.notes, f"pool {pool} lies in {', '.join(zones) or f'all zones of {cluster.region}'}"]
    problems = checked.problems
    if config.processes.gpu:
        versions = check_image(instance_types, request.code / "constraints.txt")
        notes += versions.notes
        problems += versions.problems
    return Plan(request, config, package, Checked(tuple(notes), problems), price, pool, form, nodes)


def cheapest(plans: Sequence[Plan]) -> Plan:
    """Return the plan to take: one that fits the quotas before one that does not, a known price before an unknown one.

    Of equals the first: pools come in the environment's order.
    """

    def rank(planned: Plan) -> tuple[bool, float]:
        usd = planned.price.document["on_demand_usd_per_hour"]
        return bool(planned.checked.problems), float(usd) if isinstance(usd, float) else math.inf

    return min(plans, key=rank)


def _made_of(environment: str, pool: str) -> tuple[list[str], list[str]]:
    """Read a pool's instance types and zones from the environment's file; no zones: all of the region."""
    room = importlib.util.find_spec("cdk")
    for folder in (room.submodule_search_locations or ()) if room is not None else ():
        path = Path(folder, "environments", f"{environment}.yaml")
        if path.exists():
            found = [item for item in yaml.safe_load(path.read_text())["pools"] if item["name"] == pool]
            types = [str(name) for item in found for name in item["instance_types"]]
            return types, [str(name) for item in found for name in item.get("zones", ())]
    return [], []


def launch(home: Home, planned: Plan) -> tuple[JobRecord, JobStatus]:
    """Start what was planned; return at once, not when it is done.

    Raises:
        ConfigError: Something speaks against it.
        HomeError: The local cluster does not come up.
    """
    request = planned.request
    planned.checked.refuse(f"drivetrain submit train {request.recipe}")
    now = datetime.now(UTC)
    record = JobRecord(
        id=f"{request.run}-{now:%Y%m%d-%H%M%S}-{secrets.token_hex(2)}",
        kind="train",
        cluster=request.cluster,
        run=request.run,
        recipe=request.recipe,
        dataset=request.dataset,
        arguments=_arguments(home, planned),
        code_sha256=planned.package.sha256,
        code_commit=planned.package.commit,
        code_dirty=planned.package.dirty,
        price=planned.price.document,
        submitted_utc=now,
    )
    folder = add_job(home, record)
    if request.cluster == CLUSTER:
        return record, send(home, folder, record, attempts=1, nodes=request.nodes)
    publish_bytes(folder / RAYJOB, yaml.safe_dump(_manifest(planned, record), sort_keys=False).encode())
    return record, set_status(folder, State.RENDERED, submission="", attempts=0, message=str(folder / RAYJOB))


def send(home: Home, folder: Path, record: JobRecord, *, attempts: int, nodes: int = 1) -> JobStatus:
    """Hand a job to the local cluster, which is started where there is none."""
    cluster = local_cluster.ensure_cluster(home, nodes=nodes)
    submission = f"{record.id}-{attempts}"
    set_status(folder, State.PENDING, submission="", attempts=attempts)
    request = {
        "entrypoint": shlex.join((sys.executable, "-m", "platform_lib.cli", *record.arguments)),
        "submission_id": submission,
        "runtime_env": {
            "working_dir": str(packages_folder(home) / f"{record.code_sha256}.zip"),
            "env_vars": {
                JOB_VARIABLE: record.id,
                ADDRESS_VARIABLE: cluster.file.gcs,
                "DRIVETRAIN_HOME": str(home.root),
            },
        },
        "metadata": {"run": record.run, "recipe": record.recipe, "code_sha256": record.code_sha256},
    }
    try:
        _submit(cluster.jobs(), request)
    except Exception as error:
        set_status(folder, State.FAILED, submission="", attempts=attempts, message=f"not taken: {error}")
        raise
    return set_status(folder, State.PENDING, submission=submission, attempts=attempts)


def _submit(jobs: Any, request: Mapping[str, Any]) -> None:
    """Hand a request to Ray; a cluster that has just come up has no agent for some seconds.

    Raises:
        HomeError: It does not take it.
    """
    deadline = time.monotonic() + _AGENT_S
    while True:
        try:
            jobs.submit_job(**request)
        except RuntimeError as error:
            if _NO_AGENT not in str(error):
                raise HomeError(f"the cluster does not take the job: {_first_line(error)}", where=CLUSTER) from error
            if time.monotonic() > deadline:
                raise HomeError(f"the cluster takes no jobs: {_first_line(error)}", where=CLUSTER) from error
            time.sleep(0.5)
        else:
            return


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _arguments(home: Home, planned: Plan) -> tuple[str, ...]:
    request = planned.request
    found = ["train", request.recipe, "--run", request.run]
    if request.dataset is not None:
        found += ["--dataset", request.dataset]
    if planned.price.checkpoint_every_s is not None:
        found += ["--checkpoint-every-s", f"{planned.price.checkpoint_every_s:g}"]
    if request.cluster == CLUSTER:
        found += ["--home", str(home.root)]
    return tuple(found)


def _manifest(planned: Plan, record: JobRecord) -> dict[str, Any]:
    form = planned.form or {}
    bucket = cluster_job.code_bucket(form)
    return cluster_job.fill(
        form,
        name=record.id,
        arguments=record.arguments,
        nodes=planned.nodes,
        code_uri=f"s3://{bucket}/jobs/packages/{record.code_sha256}.zip",
        variables={JOB_VARIABLE: record.id},
        labels={"drivetrain.io/run": cluster_job.object_name(record.run)},
    )


def document_of(planned: Plan) -> dict[str, Any]:
    """Return a plan for machines."""
    package = planned.package
    return {
        "recipe": planned.request.recipe,
        "run": planned.request.run,
        "cluster": planned.request.cluster,
        "pool": planned.pool,
        "nodes": planned.nodes,
        "processes": planned.config.processes.count,
        "code": {
            "sha256": package.sha256,
            "files": package.files,
            "bytes": package.bytes,
            "commit": package.commit,
            "dirty": package.dirty,
        },
        "checked": list(planned.checked.notes),
        "problems": list(planned.checked.problems),
        "price": planned.price.document,
    }


def lines_of_plan(planned: Plan) -> Sequence[str]:
    """Return a plan for people."""
    package, request = planned.package, planned.request
    tree = "no commit" if package.commit is None else package.commit[:12]
    where = "this machine" if request.cluster == CLUSTER else f"cluster {request.cluster}, pool {planned.pool}"
    return (
        f"job:    train {request.recipe} -> run {request.run}, on {where}",
        f"code:   {package.files} files, {package.bytes / 1e6:.1f} MB, {tree}"
        f"{' with changes' if package.dirty else ''}, digest {package.sha256[:12]}",
        *(f"check:  {note}" for note in planned.checked.notes),
        *(f"refuse: {problem}" for problem in planned.checked.problems),
        *(f"price:  {line}" for line in planned.price.lines),
    )
