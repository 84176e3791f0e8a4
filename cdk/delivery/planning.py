"""Plans of every stack, side by side, also before anything is applied."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from cdk.delivery.assuming import assume_instead
from cdk.delivery.failures import InfrastructureError, explain
from cdk.delivery.layout import Layout
from cdk.delivery.plan_file import Plan, StackPlan, count_changes
from cdk.delivery.terraform import INPUTS, Program, Terraform
from cdk.emulator import NOT_EMULATED, apart, together
from cdk.model import Account, Environment, StandIn
from cdk.wiring import StackWiring
from platform_lib.code_digest import code_sha256
from platform_lib.storage import publish_bytes

logger = logging.getLogger(__name__)

# Terraform with the AWS provider takes 0.6 GB; two at once keep two cores busy.
_AT_ONCE = 2
_ABSENT = "absent"
Progress = Callable[[str, str], None]


@dataclass(frozen=True, slots=True)
class Session:
    """What planning and applying of one environment work with.

    Attributes:
        environment: What is built.
        layout: Where it lies in the home.
        program: Terraform.
        variables: Environment variables: an emulator's address; empty for real accounts.
        wiring: Every stack's.
        read_only: Whether the role that reads is assumed, which changes nothing.
        left_out: The environment's other stacks, where only some were asked for.
    """

    environment: Environment
    layout: Layout
    program: Program
    variables: Mapping[str, str]
    wiring: Mapping[str, StackWiring]
    read_only: bool = False
    left_out: Mapping[str, StackWiring] = field(default_factory=dict)

    @property
    def role(self) -> str:
        """The role that is assumed in each account."""
        return self.environment.read_role if self.read_only else self.environment.deploy_role

    def document(self, stack: str) -> bytes:
        """Return a stack's synthesised Terraform JSON, as it is applied."""
        return (self.layout.synthesis / "stacks" / stack / "cdk.tf.json").read_bytes()

    def whole_document(self, stack: str) -> bytes:
        """Return it with what the emulator lacks of the stack: what a real account would get, planned in one run."""
        content = self.document(stack)
        if not self.lacks(stack):
            return content
        further = json.loads(self._further(stack).read_bytes())
        return json.dumps(together(json.loads(content), further), indent=2).encode() + b"\n"

    def lacks(self, stack: str) -> bool:
        """Whether the emulator lacks something of a stack."""
        return self._further(stack).is_file()

    def _further(self, stack: str) -> Path:
        return self.layout.synthesis / NOT_EMULATED / stack / "cdk.tf.json"

    def terraform(self, stack: str, *, whole: bool = False) -> Terraform:
        """Return Terraform in a stack's working folder, with the stack's synthesised content in it.

        Args:
            stack: Which.
            whole: With what the emulator lacks, which may be planned and not applied.
        """
        folder = self.layout.work(stack)
        folder.mkdir(parents=True, exist_ok=True)
        content = self.whole_document(stack) if whole else self.document(stack)
        if self.read_only:
            content = assume_instead(content, role=self.environment.deploy_role, instead=self.role)
        target = folder / "cdk.tf.json"
        if not target.is_file() or target.read_bytes() != content:
            publish_bytes(target, content)
        return Terraform(self.program, folder, self.variables)


class Purpose(StrEnum):
    """What a stack is planned for.

    An emulated stack is judged as a real one would be, with what the emulator lacks; what is applied is without it.
    """

    JUDGE = "judge"
    APPLY = "apply"
    DESTROY = "destroy"


@dataclass(frozen=True, slots=True)
class Lock:
    """Who is at work on a state, as Terraform wrote it down.

    Attributes:
        lock_id: What takes it away.
        holder: `user@host`.
        since: When it was taken, UTC.
    """

    lock_id: str
    holder: str
    since: str


class States:
    """Reads what the stacks' states say, straight from their bucket.

    Raises:
        InfrastructureError: The bucket cannot be read.
    """

    def __init__(self, session: Session) -> None:
        environment = session.environment
        self._bucket = environment.state.bucket
        self._prefix = environment.environment
        address = session.variables.get("AWS_ENDPOINT_URL")
        keys = {
            "aws_access_key_id": session.variables.get("AWS_ACCESS_KEY_ID"),
            "aws_secret_access_key": session.variables.get("AWS_SECRET_ACCESS_KEY"),
        }
        settings = Config(
            retries={"max_attempts": 3}, connect_timeout=10, s3={"addressing_style": "path"} if address else {}
        )
        try:
            sts = boto3.client(
                "sts", endpoint_url=address, region_name=environment.state.region, config=settings, **keys
            )
            role = f"arn:aws:iam::{environment.accounts.of(Account.MANAGEMENT)}:role/{session.role}"
            given = sts.assume_role(RoleArn=role, RoleSessionName="drivetrain")["Credentials"]
        except (BotoCoreError, ClientError) as error:
            raise _unreadable(error, self._bucket) from error
        self._s3 = boto3.client(
            "s3",
            endpoint_url=address,
            region_name=environment.state.region,
            config=settings,
            aws_access_key_id=given["AccessKeyId"],
            aws_secret_access_key=given["SecretAccessKey"],
            aws_session_token=given["SessionToken"],
        )

    def read(self, stack: str) -> tuple[str, dict[str, Any]]:
        """Return a digest of a stack's state, and its outputs by name; `absent` and none where there is no state."""
        body = self._object(f"{stack}.tfstate")
        if body is None:
            return _ABSENT, {}
        outputs = {name: item["value"] for name, item in self._parsed(stack, body).get("outputs", {}).items()}
        return hashlib.sha256(body).hexdigest(), outputs

    def holds_resources(self, stack: str) -> bool:
        """Whether anything of a stack is applied."""
        body = self._object(f"{stack}.tfstate")
        return body is not None and any(
            item["mode"] == "managed" for item in self._parsed(stack, body).get("resources", ())
        )

    def resources(self, stack: str, kind: str) -> list[dict[str, Any]]:
        """Return the attributes of each applied resource of a kind."""
        body = self._object(f"{stack}.tfstate")
        state = {} if body is None else self._parsed(stack, body)
        return [
            one.get("attributes", {})
            for item in state.get("resources", ())
            if (item["mode"], item["type"]) == ("managed", kind)
            for one in item["instances"]
        ]

    def lock(self, stack: str) -> Lock | None:
        """Return who holds the lock of a stack's state; None where nobody does."""
        body = self._object(f"{stack}.tfstate.tflock")
        if body is None:
            return None
        try:
            told = json.loads(body)
            return Lock(str(told["ID"]), str(told["Who"]), str(told["Created"])[:19].replace("T", " "))
        except (ValueError, KeyError, TypeError) as error:
            raise InfrastructureError(
                "its lock says not whose it is",
                where=f"stack {stack}",
                remedy=f"see that nobody applies it, then delete s3://{self._bucket}/{self._prefix}/{stack}.tfstate.tflock",
            ) from error

    def _parsed(self, stack: str, body: bytes) -> dict[str, Any]:
        try:
            found = json.loads(body)
        except ValueError:
            found = None
        if not _is_state(found):
            raise InfrastructureError(
                "its state in the bucket is no state of Terraform's",
                where=f"stack {stack}",
                remedy=f"bring back an older version of s3://{self._bucket}/{self._prefix}/{stack}.tfstate: the bucket keeps them",
            )
        return {**found}

    def _object(self, name: str) -> bytes | None:
        try:
            body: bytes = self._s3.get_object(Bucket=self._bucket, Key=f"{self._prefix}/{name}")["Body"].read()
        except ClientError as error:
            if error.response["Error"]["Code"] in {"NoSuchKey", "404"}:
                return None
            raise _unreadable(error, self._bucket) from error
        except BotoCoreError as error:
            raise _unreadable(error, self._bucket) from error
        return body


def _is_state(found: Any) -> bool:
    """Whether a document has what is read of a state here."""
    try:
        return all("value" in item for item in found.get("outputs", {}).values()) and all(
            isinstance(one.get("attributes", {}), dict) and {"mode", "type"} <= item.keys()
            for item in found.get("resources", ())
            for one in item["instances"]
        )
    except (AttributeError, KeyError, TypeError):
        return False


def _unreadable(error: Exception, bucket: str) -> InfrastructureError:
    return explain(f"Error: {error}", stack=bucket, action="state", where=f"Terraform's state in {bucket}")


def plan_all(
    session: Session,
    *,
    destroy: bool = False,
    told: Progress = lambda _stack, _word: None,
) -> Plan:
    """Plan every stack, two at once; those whose content, inputs and state are as last time are taken from there.

    Args:
        session: The environment.
        destroy: Plan to take everything away.
        told: Called with a stack's name and what became of it.

    Raises:
        InfrastructureError: A stack cannot be planned; all others are planned first, and each failure is named.
    """
    states = States(session)
    known = {name: states.read(name) for name in session.wiring}
    failures: list[InfrastructureError] = []
    done: dict[str, StackPlan] = {}

    def one(stack: str) -> None:
        try:
            inputs, provisional = resolve(
                session.wiring[stack], {name: outputs for name, (_, outputs) in known.items()}
            )
            done[stack] = plan_stack(
                session,
                stack,
                inputs,
                known[stack][0],
                provisional=provisional,
                purpose=Purpose.DESTROY if destroy else Purpose.JUDGE,
            )
            told(stack, _summary(done[stack]))
        except InfrastructureError as error:
            failures.append(error)
            told(stack, "failed")

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        list(pool.map(one, session.wiring))
    if failures:
        raise _all(failures)
    return Plan(
        environment=session.environment.environment,
        environment_sha256=digest(session.environment.model_dump(mode="json")),
        code_sha256=code_sha256("cdk.synthesis"),
        program=f"{session.program.name} {session.program.version}",
        destroy=destroy,
        left_out=tuple(session.left_out),
        stacks={name: done[name] for name in session.wiring},
    )


def resolve(wiring: StackWiring, outputs: Mapping[str, Mapping[str, Any]]) -> tuple[dict[str, StandIn], bool]:
    """Return a stack's inputs from what others gave, and whether a stand-in had to be taken for any."""
    inputs: dict[str, StandIn] = {}
    provisional = False
    for wire in wiring.takes:
        value = outputs.get(wire.stack, {}).get(wire.output)
        if value is None:
            provisional = True
            inputs[wire.variable] = wire.stand_in
        else:
            inputs[wire.variable] = value if isinstance(value, str) else tuple(value)
    return inputs, provisional


def plan_stack(
    session: Session,
    stack: str,
    inputs: Mapping[str, StandIn],
    state: str,
    *,
    provisional: bool,
    purpose: Purpose = Purpose.JUDGE,
) -> StackPlan:
    """Plan one stack, or return the last plan of the very same content, inputs and state.

    Args:
        session: The environment.
        stack: Its name.
        inputs: Values of its variables.
        state: Digest of its state.
        provisional: Whether some input is a stand-in.
        purpose: What it is planned for.
    """
    found = last_plan(session, stack, inputs, state, purpose)
    if found is not None:
        return found
    terraform = session.terraform(stack, whole=purpose is Purpose.JUDGE)
    kept, binary = _files(session, stack, purpose)
    publish_bytes(terraform.folder / INPUTS, json.dumps(inputs).encode())
    kept.unlink(missing_ok=True)
    terraform.init()
    terraform.plan(binary, destroy=purpose is Purpose.DESTROY)
    document, lacking = terraform.show(binary), None
    if purpose is Purpose.JUDGE and session.lacks(stack):
        document, lacking = apart(document, json.loads(session.document(stack)))
    wiring = session.wiring[stack]
    planned = StackPlan(
        account=wiring.account,
        region=wiring.region,
        depends_on=wiring.depends_on,
        provisional=provisional,
        key=_key(session, stack, inputs, state, purpose),
        inputs=dict(inputs),
        changes=count_changes(document),
        terraform=document,
        not_emulated=lacking,
    )
    publish_bytes(kept, planned.model_dump_json().encode())
    return planned


def last_plan(
    session: Session, stack: str, inputs: Mapping[str, StandIn], state: str, purpose: Purpose
) -> StackPlan | None:
    """Return the last plan of a stack for a purpose, if content, inputs and state are as they were then."""
    kept, binary = _files(session, stack, purpose)
    found = _kept(kept, _key(session, stack, inputs, state, purpose))
    return found if binary.is_file() else None


def forget_plans(session: Session, stack: str) -> None:
    """Forget a stack's last plans: its state is another one now."""
    for purpose in Purpose:
        _files(session, stack, purpose)[0].unlink(missing_ok=True)


def plan_binary(session: Session, stack: str, purpose: Purpose) -> Path:
    """Return Terraform's own file of a stack's last plan for a purpose."""
    return _files(session, stack, purpose)[1]


def _files(session: Session, stack: str, purpose: Purpose) -> tuple[Path, Path]:
    folder, word = session.layout.work(stack), _same_as(session, stack, purpose).value
    return folder / f"{word}.plan.json", folder / f"{word}.plan.bin"


def _key(session: Session, stack: str, inputs: Mapping[str, StandIn], state: str, purpose: Purpose) -> str:
    same = _same_as(session, stack, purpose)
    content = session.whole_document(stack) if same is Purpose.JUDGE else session.document(stack)
    program = f"{session.program.name} {session.program.version}"
    return digest([content.decode(), dict(inputs), state, program, session.role, same.value])


def _same_as(session: Session, stack: str, purpose: Purpose) -> Purpose:
    """What was judged is what is applied, save where the emulator lacks a part of it."""
    return Purpose.JUDGE if purpose is Purpose.APPLY and not session.lacks(stack) else purpose


def _kept(path: Path, key: str) -> StackPlan | None:
    try:
        found = StackPlan.model_validate_json(path.read_bytes())
    except (OSError, ValueError):
        return None
    return found if found.key == key else None


def digest(content: object) -> str:
    """Return the sha256 of plain content."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=list).encode()).hexdigest()


def _summary(plan: StackPlan) -> str:
    changes = plan.changes
    parts = [f"{count} {word}" for word, count in changes.model_dump().items() if count]
    return f"{', '.join(parts) or 'no changes'}{', provisional' if plan.provisional else ''}"


def _all(failures: list[InfrastructureError]) -> InfrastructureError:
    if len(failures) == 1:
        return failures[0]
    lines = "\n".join(f"  {error.where}: {error.what}" for error in failures)
    remedies = sorted({error.remedy or error.usual_remedy for error in failures})
    return InfrastructureError(f"{len(failures)} stacks cannot be planned\n{lines}", remedy="; ".join(remedies))
