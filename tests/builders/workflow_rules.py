"""Rules on GitHub Actions files; a finding is `file: job: what`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

# What was seen pinned so in many public repositories on 2026-11-30, each with its version beside it; none was fetched.
PINS = {
    "actions/checkout": ("df4cb1c069e1874edd31b4311f1884172cec0e10", "v6.0.3"),
    "actions/download-artifact": ("3e5f45b2cfb9172054b4087a40e8e0b5a5461e7c", "v8.0.1"),
    "actions/setup-python": ("a309ff8b426b58ec0e2a45f0f869d46889d02405", "v6.2.0"),
    "actions/upload-artifact": ("043fb46d1a93c77aae656e7c1c64a875d1fc6a0a", "v7.0.1"),
    "aws-actions/configure-aws-credentials": ("8df5847569e6427dd6c4fb1cf565c83acfa8afa7", "v6.0.0"),
    "sigstore/cosign-installer": ("d58896d6a1865668819e1d91763c7751a165e159", "v3.9.2"),
}
_TOP = {"name", "on", "permissions", "concurrency", "jobs"}
_JOB = {"needs", "if", "runs-on", "timeout-minutes", "permissions", "strategy", "environment", "steps"}
_STEP = {"name", "id", "if", "uses", "with", "run", "env", "shell"}
_MOST = {
    "contents": "read", "id-token": "write", "actions": "read", "pull-requests": "write", "issues": "write",
}  # fmt: skip
_SECRET = re.compile(r"secrets\.|AWS_ACCESS_KEY|AWS_SECRET|AWS_SESSION", re.IGNORECASE)
# What anybody who opens a pull request chooses: as text of a script it would be run.
_FOREIGN = re.compile(r"\$\{\{[^}]*\}\}")


@dataclass(frozen=True, slots=True)
class Workflow:
    """A workflow.

    Attributes:
        name: Its file's name.
        text: The file.
        content: What it says.
    """

    name: str
    text: str
    content: Mapping[str, Any]

    @classmethod
    def parse(cls, name: str, text: str) -> Workflow:
        content = yaml.safe_load(text)
        # YAML 1.1 takes `on` for a truth value.
        return cls(name, text, {("on" if key is True else key): value for key, value in content.items()})

    @property
    def jobs(self) -> Mapping[str, Any]:
        return dict(self.content.get("jobs", {}))


def lint(workflow: Workflow) -> list[str]:
    """Return what breaks a rule."""
    found = [*_keys(workflow), *_pins(workflow), *_rights(workflow), *_texts(workflow), *_identity(workflow)]
    return sorted(f"{workflow.name}: {item}" for item in found)


def _keys(workflow: Workflow) -> Iterator[str]:
    for key in set(workflow.content) ^ _TOP:
        yield f"'{key}' is missing, or no key that is used here"
    for name, job in workflow.jobs.items():
        for key in set(job) - _JOB:
            yield f"{name}: '{key}' is no key that is used here"
        for key in {"runs-on", "timeout-minutes", "permissions", "steps"} - set(job):
            yield f"{name}: has no '{key}'"
        if "latest" in str(job.get("runs-on")):
            yield f"{name}: runs on whatever machine is newest"
        for needed in _many(job.get("needs")):
            if needed not in workflow.jobs:
                yield f"{name}: needs '{needed}', which is no job"
        for step in job.get("steps", ()):
            yield from (f"{name}: step: '{key}' is no key that is used here" for key in set(step) - _STEP)
            if ("uses" in step) == ("run" in step):
                yield f"{name}: a step has to use or to run, one of them"


def _pins(workflow: Workflow) -> Iterator[str]:
    for action, ref, comment in re.findall(r"uses:\s+([^@\s]+)(?:@(\S+))?(?:\s+#\s*(\S+))?", workflow.text):
        if action.startswith("./"):
            continue
        if not re.fullmatch(r"[0-9a-f]{40}", ref):
            yield f"{action} is pinned by '{ref}', which can be moved"
        elif PINS.get(action) != (ref, comment):
            yield f"{action}@{ref} is not the commit of {comment or 'a version'} that is known here"


def _rights(workflow: Workflow) -> Iterator[str]:
    if workflow.content.get("permissions") != {}:
        yield "gives rights to every job: write `permissions: {}` and give each job its own"
    for name, job in workflow.jobs.items():
        rights = job.get("permissions", {})
        if not isinstance(rights, dict):
            yield f"{name}: takes rights wholesale: {rights}"
            continue
        for right, value in rights.items():
            if right not in _MOST or (value == "write" and _MOST[right] == "read"):
                yield f"{name}: takes {right}: {value}"
        signs_in = any("configure-aws-credentials" in step.get("uses", "") for step in job.get("steps", ()))
        if signs_in != ("id-token" in rights):
            yield f"{name}: id-token without coming into AWS, or the other way round"
        writes = [item for item in ("pull-requests", "issues") if rights.get(item) == "write"]
        if writes and "id-token" in rights:
            yield f"{name}: has an identity in AWS and may write {writes[0]}: two jobs, or foreign code has both"


def _texts(workflow: Workflow) -> Iterator[str]:
    if _SECRET.search(workflow.text):
        yield "names a secret or a key of AWS: pipelines come in by OIDC"
    if "pull_request_target" in workflow.text:
        yield "runs foreign code with the repository's rights"
    for name, job in workflow.jobs.items():
        for step in job.get("steps", ()):
            for found in _FOREIGN.findall(step.get("run", "")):
                yield f"{name}: a script has {found} in its text: hand it over in env"
            if "checkout@" in step.get("uses", "") and step.get("with", {}).get("persist-credentials") is not False:
                yield f"{name}: the checkout leaves its token behind"
        for step in job.get("steps", ()):
            for variable, value in step.get("env", {}).items():
                if re.search(r"SECRET|PASSWORD|TOKEN|KEY", variable) and value != "${{ github.token }}":
                    yield f"{name}: {variable} holds something secret"


def _identity(workflow: Workflow) -> Iterator[str]:
    """Whoever applies waits for the environment's approvers, on the main branch."""
    for name, job in workflow.jobs.items():
        scripts = "\n".join(step.get("run", "") for step in job.get("steps", ()))
        if "infra pipeline apply" in scripts and "environment" not in job:
            yield f"{name}: applies without a protected environment"
        if "infra pipeline apply" in scripts and workflow.content.get("on", {}).get("push", {}).get("branches") != [
            "main"
        ]:
            yield f"{name}: applies what is not the main branch's"
        if re.search(r"infra apply\b", scripts) and "--reviewed" not in scripts:
            yield f"{name}: applies a plan that is not held against the reviewed one"
        if "docker buildx build" in scripts and not all(
            word in scripts for word in ("--sbom", "--provenance", "cosign sign", "cosign attest", "cosign verify")
        ):
            yield f"{name}: an image without bill of materials, provenance and a verified signature"


def pipelines_of(workflow: Workflow) -> set[str]:
    """Return the pipelines whose roles a workflow takes."""
    return set(re.findall(r"drivetrain infra pipeline (\S+)", workflow.text))


def commands_of(workflow: Workflow) -> list[str]:
    """Return the lines of scripts that run our commands, without what a shell does around them."""
    found = []
    for job in workflow.jobs.values():
        for step in job.get("steps", ()):
            for line in step.get("run", "").replace("\\\n", " ").splitlines():
                for match in re.finditer(r"\.venv/bin/drivetrain ([^|>;&]+)", line):
                    found.append(match[1].strip())
    return found


def _many(value: Any) -> list[str]:
    return [] if value is None else value if isinstance(value, list) else [value]
