"""Terraform's failures in one clear sentence each, with the remedy. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from platform_lib.errors import PlatformError


class InfrastructureError(PlatformError):
    """A plan or an apply that could not be done; nothing of it is half written."""

    usual_remedy = "read the message, mend it, and run the same command again: what was applied stays and is skipped"


class StateLockedError(InfrastructureError):
    """Another process holds a state's lock.

    Attributes:
        lock_id: The lock's id.
        holder: Who holds it, as Terraform wrote down: user@host.
    """

    def __init__(
        self, what: str, *, where: object | None = None, remedy: str | None = None, lock_id: str = "", holder: str = ""
    ) -> None:
        super().__init__(what, where=where, remedy=remedy)
        self.lock_id = lock_id
        self.holder = holder


@dataclass(frozen=True, slots=True)
class _Known:
    pattern: re.Pattern[str]
    what: str
    remedy: str
    # How the paragraphs begin that say it; Terraform shows the whole document, one line, before them.
    saying: str | None = None


def _known(pattern: str, what: str, remedy: str, *, saying: str | None = None) -> _Known:
    return _Known(re.compile(pattern, re.IGNORECASE | re.DOTALL), what, remedy, saying)


# The first that matches counts. Lines of Terraform are wrapped, so patterns take any white space.
_KNOWN = (
    _known(
        r"ExpiredToken|token\s+(included\s+in\s+the\s+request\s+)?(has\s+|is\s+)expired|RequestExpired|SSO\s+session.*expired|"
        r"loading\s+SSO\s+Token",
        "the AWS credentials have expired",
        "sign in again (`aws sso login`, or fetch a new session), then run the same command",
    ),
    _known(
        r"No\s+valid\s+credential\s+sources|failed\s+to\s+refresh\s+cached\s+credentials|no\s+EC2\s+IMDS\s+role|"
        r"Unable\s+to\s+locate\s+credentials|retrieving\s+credentials\s+from",
        "there are no AWS credentials",
        "sign in (`aws sso login`, AWS_PROFILE, or a role in CI), then run the same command",
    ),
    _known(
        r"config\s+profile.*could\s+not\s+be\s+found|failed\s+to\s+get\s+shared\s+config\s+profile",
        "AWS_PROFILE names a profile that this machine does not have",
        "see `aws configure list-profiles`, set AWS_PROFILE to one of them, then run the same command",
    ),
    _known(
        r"InvalidClientTokenId|UnrecognizedClient|SignatureDoesNotMatch|AuthFailure",
        "AWS does not know these credentials",
        "sign in again: the key was deleted, mistyped, or is another account's",
    ),
    _known(
        r"Cannot\s+assume\s+IAM\s+Role|not\s+authorized\s+to\s+perform:?\s+sts:AssumeRole",
        "the deploy role of an account cannot be assumed",
        "apply terraform/bootstrap for that account first, and check that your identity may assume its role",
    ),
    _known(
        r"AWS\s+account\s+ID\s+not\s+allowed",
        "the credentials lead to another account than the environment names",
        "check `accounts` in the environment's file, and AWS_PROFILE",
    ),
    _known(
        r"NoSuchBucket|S3\s+bucket.*does\s+not\s+exist",
        "the bucket of Terraform's state does not exist",
        "run `drivetrain infra bootstrap --env ENV` first: it makes bucket, key and roles",
    ),
    _known(
        r"Failed\s+to\s+query\s+available\s+provider\s+packages|could\s+not\s+query\s+provider\s+registry|"
        r"no\s+available\s+releases\s+match|provider.*was\s+not\s+found\s+in\s+any\s+of\s+the\s+search\s+locations",
        "the AWS provider of the version that the environment names cannot be had",
        "let this machine reach the registry, or name a mirror that holds it: DRIVETRAIN_PROVIDER_MIRROR=DIR",
    ),
    _known(
        r"connection\s+refused|could\s+not\s+connect\s+to\s+the\s+endpoint|connect:\s+cannot\s+assign|no\s+such\s+host|i/o\s+timeout",
        "AWS, or its emulator, does not answer",
        "check the network; for an emulated environment run the same command again, which starts the emulator",
    ),
    _known(
        r"BucketNotEmpty|bucket\s+you\s+tried\s+to\s+delete\s+is\s+not\s+empty",
        "a bucket still holds objects, which no destroy deletes",
        "copy out what is worth keeping, empty the bucket by hand, then run the same command: the rest is skipped",
    ),
    _known(
        r"Cannot\s+delete\s+protected\s+(DB|Cluster)|DeletionProtection|deletion\s+protection",
        "the database is protected against deletion",
        "take a last backup, lift the protection by an applied change of its own, then destroy",
    ),
    _known(
        r"DependencyViolation|has\s+a?\s*dependen(t|cy)\s+object",
        "something that Terraform did not make still lies in it: a network interface or load balancer of a cluster, mostly",
        "`cdk/runbooks/half-applied-stack.md` says how to find it; delete it, then run the same command",
    ),
    _known(
        r"AccessDenied|UnauthorizedOperation|is\s+not\s+authorized\s+to\s+perform",
        "the deploy role may not do this",
        "the message names the action: add it to the role in terraform/bootstrap, or use the right role",
    ),
    _known(
        r"Saved\s+plan\s+is\s+stale|plan\s+file\s+.*stale",
        "the state has changed since this plan was made",
        "plan again, look at it, and apply that",
    ),
    _known(
        r"AlreadyExists|AlreadyOwnedByYou|EntityAlreadyExists|already\s+exists",
        "something of that name is there already, and is not in the state",
        "if a killed apply left it, take it in (`terraform import` in the stack's folder) or delete it; else rename yours",
    ),
    _known(
        r"postcondition\s+failed.*Not\s+offered:",
        "AWS does not have a pool's instance types where the pool is to lie",
        "ask `aws ec2 describe-instance-type-offerings --location-type availability-zone --filters "
        "Name=instance-type,Values=TYPE` in that account, and name such zones in the pool, or other types",
        saying="Not offered:",
    ),
    _known(
        r"no\s+space\s+left\s+on\s+device",
        "the disk is full",
        "free space where the home lies, then run the same command",
    ),
)
_LOCK_ID = re.compile(r"^\s*ID:\s+(\S+)", re.MULTILINE)  # not the RequestID of S3's answer
_LOCK_WHO = re.compile(r"Who:\s+(\S+)")
_LOCK_SINCE = re.compile(r"Created:\s+(\S+ \S+)")
_BOX = re.compile(r"[│╷╵]")
_MESSAGE_CHARS = 600


def explain(text: str, *, stack: str, action: str, where: str | None = None) -> InfrastructureError:
    """Return the error that Terraform's output, or AWS's answer, means.

    Args:
        text: What it wrote.
        stack: Whose plan or apply it was.
        action: The subcommand.
        where: What to say instead of those two.
    """
    plain = _BOX.sub("", text)
    if re.search(r"Error\s+acquiring\s+the\s+state\s+lock|state\s+lock.*PreconditionFailed", plain, re.DOTALL):
        return _locked(plain, stack)
    where = where or f"stack {stack}, terraform {action}"
    for known in _KNOWN:
        if known.pattern.search(plain):
            said = _first_error(plain) if known.saying is None else _saying(plain, known.saying)
            return InfrastructureError(f"{known.what}: {said}", where=where, remedy=known.remedy)
    return InfrastructureError(_first_error(plain), where=where)


def _locked(text: str, stack: str) -> StateLockedError:
    lock_id, who, since = (
        found[1] if (found := item.search(text)) else "" for item in (_LOCK_ID, _LOCK_WHO, _LOCK_SINCE)
    )
    return locked(stack, lock_id=lock_id, holder=who, since=since)


def locked(stack: str, *, lock_id: str, holder: str, since: str) -> StateLockedError:
    """Return the error of a state whose lock somebody else holds."""
    return StateLockedError(
        f"its state is locked by {holder or 'an unknown process'}{f' since {since} UTC' if since else ''}",
        where=f"stack {stack}",
        remedy=f"wait for it to end; if it is dead: `drivetrain infra unlock --stack {stack} --lock-id {lock_id or 'ID'}`",
        lock_id=lock_id,
        holder=holder,
    )


def _saying(text: str, beginning: str) -> str:
    paragraphs = [" ".join(item.split()) for item in re.split(r"\n\s*\n", text)]
    return " ".join(dict.fromkeys(item for item in paragraphs if item.startswith(beginning)))


def _first_error(text: str) -> str:
    found = re.search(r"Error:\s+(.*?)(?=\n\s*Error:|\Z)", text, re.DOTALL)
    message = " ".join((found[1] if found else text).split())
    return message[:_MESSAGE_CHARS] or "it said nothing"
