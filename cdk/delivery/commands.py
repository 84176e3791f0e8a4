"""`drivetrain infra`: plan, approve, apply, destroy, drift, and what goes with them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cdk.cluster.commands import manifests
from cdk.config import ENVIRONMENTS, environment_names
from cdk.delivery import emulator, reviewing
from cdk.delivery.applying import apply_all
from cdk.delivery.bootstrap import make_ready
from cdk.delivery.drift import Drifted, find_drift
from cdk.delivery.page import document_of
from cdk.delivery.page_text import print_page
from cdk.delivery.plan_file import Plan, read_plan, write_plan
from cdk.delivery.planning import Session, States, plan_all
from cdk.delivery.release import TERRAFORM, fetch_release
from cdk.delivery.reviewed import require_reviewed
from cdk.delivery.scope import require_planned, require_unused
from cdk.delivery.sessions import open_session
from cdk.delivery.terraform import find_program, tools_folder
from cdk.operating.commands import add_to
from platform_lib.console import OUT, print_json, progress
from platform_lib.errors import ConfigError, MissingPartError
from platform_lib.home import open_home
from platform_lib.options import HomeOption, JsonOption
from platform_lib.storage import publish_bytes
from platform_lib.table import Column, print_table

app = typer.Typer(no_args_is_help=True, help="Plan, judge, approve and apply the AWS infrastructure.")
emulator_app = typer.Typer(no_args_is_help=True, help="The AWS emulator of ENV=local.")
app.add_typer(emulator_app, name="emulator")
app.command()(manifests)
add_to(app)

EnvOption = Annotated[str, typer.Option("--env", help="The environment; `local` needs no AWS account.")]
FolderOption = Annotated[
    Path, typer.Option("--environments", help="Where environments' files lie.", show_default=False, hidden=True)
]
PortOption = Annotated[
    int | None,
    typer.Option("--port", help="Where the emulator is to listen; any free port by default.", show_default=False),
]
OnlyOption = Annotated[
    list[str] | None,
    typer.Option("--only", help="A stack, with all that it takes from; repeat it for more.", show_default=False),
]
ReadOnlyOption = Annotated[
    bool, typer.Option("--read-only", help="Assume the role that changes nothing, as pipelines of pull requests do.")
]
_DRIFT_STATUS = 3
_REFUSED_STATUS = 4


@app.command()
def plan(
    env: EnvOption = "local",
    home: HomeOption = None,
    folder: FolderOption = ENVIRONMENTS,
    port: PortOption = None,
    only: OnlyOption = None,
    *,
    destroy: Annotated[bool, typer.Option("--destroy", help="Plan to take everything away.")] = False,
    read_only: ReadOnlyOption = False,
    as_json: JsonOption = False,
) -> None:
    """Plan every stack, also on a fresh account: what would change, what is dangerous, what policy says, what it costs.

    The exit status is 4 when policy or a dangerous change without a waiver forbids an approval.
    """
    with open_session(open_home(home), env, folder=folder, port=port, only=only or (), read_only=read_only) as session:
        page = reviewing.review(session, _plan(session, destroy=destroy))
    layout = session.layout
    if as_json:
        print_json({"plan": layout.plan, **document_of(page), "pages": [layout.page_markdown, layout.page_html]})
    else:
        print_page(page)
        OUT.print(f"plan: {layout.plan}\npage: {layout.page_html}", highlight=False)
    if page.judgement.refusals:
        raise typer.Exit(_REFUSED_STATUS)


@app.command()
def approve(
    by: Annotated[str, typer.Option("--by", help="Who approves.")],
    env: EnvOption = "local",
    home: HomeOption = None,
    *,
    reviewed: Annotated[
        Path | None,
        typer.Option("--reviewed", help="The plan that reviewers saw; refused where this one does more."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Approve the plan that `plan` made last; `apply` runs that one and no other."""
    with open_session(open_home(home), env) as session:
        made = read_plan(session.layout.plan)
        if reviewed is not None:
            require_reviewed(made, read_plan(reviewed))
        approval = reviewing.approve(session, made, by=by)
    if as_json:
        print_json(approval.model_dump())
    else:
        OUT.print(
            f"approved until {approval.expires_utc:%Y-%m-%d %H:%M} UTC: {session.layout.approval}", highlight=False
        )


@app.command()
def apply(
    env: EnvOption = "local",
    home: HomeOption = None,
    folder: FolderOption = ENVIRONMENTS,
    port: PortOption = None,
    only: OnlyOption = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Apply the approved plan, stack after stack; after a failure it goes on where it ended."""
    with open_session(open_home(home), env, folder=folder, port=port, only=only or ()) as session:
        if session.environment.emulated and not session.layout.approval.is_file():
            _require_no_other(session)
            reviewing.approve_emulated(session, _plan(session))
        done = _apply_approved(session)
    _show_done(done, as_json=as_json)


@app.command()
def destroy(
    env: EnvOption = "local",
    home: HomeOption = None,
    folder: FolderOption = ENVIRONMENTS,
    only: OnlyOption = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Take everything away: at once in an emulated environment, elsewhere only what an approved `plan --destroy` says."""
    with open_session(open_home(home), env, folder=folder, only=only or ()) as session:
        if session.environment.emulated:
            reviewing.approve_emulated(session, _plan(session, destroy=True))
        done = _apply_approved(session)
    _show_done(done, as_json=as_json)


@app.command()
def drift(
    env: EnvOption = "local",
    home: HomeOption = None,
    folder: FolderOption = ENVIRONMENTS,
    only: OnlyOption = None,
    *,
    read_only: ReadOnlyOption = False,
    as_json: JsonOption = False,
) -> None:
    """Say what was changed outside of Terraform; status 3 if anything was."""
    with open_session(open_home(home), env, folder=folder, only=only or (), read_only=read_only) as session:
        with progress("comparing", len(session.wiring)) as task:
            found = find_drift(session, told=lambda stack, word: task.advance(note=f"{stack}: {word}"))
    if as_json:
        print_json({"drifted": [_drift_row(item) for item in found]})
    else:
        _show_drift(found, env)
    if found:
        raise typer.Exit(_DRIFT_STATUS)


@app.command()
def bootstrap(
    env: EnvOption = "local",
    home: HomeOption = None,
    folder: FolderOption = ENVIRONMENTS,
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Apply it; without, it is planned alone.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Make what must exist first: the bucket and key of Terraform's state. Its own state stays in the home: keep it."""
    with open_session(open_home(home), env, folder=folder) as session:
        changes = make_ready(session, apply=yes)
    counts = changes.model_dump()
    if as_json:
        print_json({"applied": yes, **counts})
    else:
        word = "applied" if yes else "planned; --yes applies it"
        OUT.print(f"{word}: {', '.join(f'{count} {name}' for name, count in counts.items())}", highlight=False)


@app.command()
def unlock(
    stack: Annotated[str, typer.Option("--stack", help="Whose state.")],
    lock_id: Annotated[str, typer.Option("--lock-id", help="The lock, as the refusal named it.")],
    env: EnvOption = "local",
    home: HomeOption = None,
    folder: FolderOption = ENVIRONMENTS,
    *,
    as_json: JsonOption = False,
) -> None:
    """Take away the lock that a dead apply on another machine left on a stack's state."""
    with open_session(open_home(home), env, folder=folder, only=[stack]) as session:
        terraform = session.terraform(stack)
        terraform.init()
        terraform.unlock(lock_id)
    if as_json:
        print_json({"unlocked": stack})
    else:
        OUT.print(f"unlocked: {stack}", highlight=False)


@app.command()
def environments(*, as_json: JsonOption = False) -> None:
    """List the environments."""
    names = environment_names()
    if as_json:
        print_json({"environments": names})
    else:
        OUT.print("\n".join(names), highlight=False)


@app.command()
def tools(
    source: Annotated[
        str | None,
        typer.Option("--source", help="Where the release lies, in a closed network.", show_default=False),
    ] = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Fetch a pinned release of Terraform where neither it nor OpenTofu is there; its digest is checked."""
    try:
        program = find_program()
    except MissingPartError:
        fetch_release(TERRAFORM, tools_folder(), source=source)
        program = find_program()
    if as_json:
        print_json({"program": program.name, "version": program.version, "path": program.path})
    else:
        OUT.print(f"{program.name} {program.version}: {program.path}", highlight=False)


@emulator_app.command()
def stop(home: HomeOption = None, *, as_json: JsonOption = False) -> None:
    """Stop the emulator; what was applied in it is gone then."""
    stopped = emulator.stop(open_home(home))
    if as_json:
        print_json({"stopped": stopped})
    else:
        OUT.print("stopped" if stopped else "it did not run", highlight=False)


def _require_no_other(session: Session) -> None:
    """Refuse to plan and apply everything where some stacks alone were looked at: whoever looked meant those."""
    try:
        looked_at = read_plan(session.layout.plan)
    except ConfigError:
        return  # nobody has looked at anything
    applied = session.layout.applied
    if not applied.is_file() or applied.read_text() != looked_at.sha256:
        require_planned(session, looked_at)


def _plan(session: Session, *, destroy: bool = False) -> Plan:
    if destroy:
        require_unused(session, States(session))
    with progress("planning", len(session.wiring)) as task:
        made = plan_all(
            session,
            destroy=destroy,
            told=lambda stack, word: task.advance(note=f"{stack}: {word}"),
        )
    write_plan(session.layout.plan, made)
    session.layout.approval.unlink(missing_ok=True)  # it was another plan's
    return made


def _apply_approved(session: Session) -> dict[str, str]:
    made = read_plan(session.layout.plan)
    require_planned(session, made)
    if made.destroy:
        require_unused(session, States(session))
    reviewing.require(session, made)
    with progress("applying", len(session.wiring)) as task:
        done = apply_all(session, made, told=lambda stack, word: task.advance(note=f"{stack}: {word}"))
    if set(done) == set(made.stacks):
        publish_bytes(session.layout.applied, made.sha256.encode())
        session.layout.approval.unlink()
    return done


def _show_done(done: dict[str, str], *, as_json: bool) -> None:
    if as_json:
        print_json({"stacks": done})
    else:
        print_table([Column("stack"), Column("result")], [[name, word] for name, word in done.items()])


def _drift_row(item: Drifted) -> dict[str, object]:
    return {
        "stack": item.stack,
        "address": item.address,
        "gone": item.gone,
        "attributes": {name: {"was": was, "is": now} for name, (was, now) in item.attributes.items()},
    }


def _show_drift(found: list[Drifted], env: str) -> None:
    if not found:
        OUT.print("everything is as it was applied", highlight=False)
        return
    rows = [[item.stack, item.address, "gone" if item.gone else ", ".join(item.attributes)] for item in found]
    print_table([Column("stack"), Column("resource"), Column("what differs")], rows)
    OUT.print(
        f"next: make plan ENV={env} shows what an apply would take back; what it does not show, a route or a rule put beside"
        " ours, is taken away by hand. Or write what is wanted into the code.",
        highlight=False,
        soft_wrap=True,
    )
