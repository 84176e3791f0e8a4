"""The pipelines' files, held against rules: rights, pins, identities, and that every command and role they name exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from spoken_commands import refusal_of
from workflow_rules import PINS, Workflow, commands_of, lint, pipelines_of

from cdk.blocks.registry import IMAGE_ROLES
from cdk.config import environment_names
from cdk.operating.pipelines import Pipeline

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / ".github" / "workflows"
NAMES = sorted(path.name for path in FOLDER.glob("*.yml"))


def read(name: str) -> Workflow:
    return Workflow.parse(name, (FOLDER / name).read_text())


def test_every_pipeline_is_there() -> None:
    assert NAMES == ["apply.yml", "drift.yml", "images.yml", "plan.yml", "scan.yml"]


@pytest.mark.parametrize("name", NAMES)
def test_the_files_hold_the_rules(name: str) -> None:
    assert lint(read(name)) == []


APPLY, PLAN, IMAGES, DRIFT = (
    (FOLDER / name).read_text() for name in ("apply.yml", "plan.yml", "images.yml", "drift.yml")
)
CHECKOUT = "actions/checkout@df4cb1c069e1874edd31b4311f1884172cec0e10 # v6.0.3"
FAULTS = {
    "a tag": (PLAN, CHECKOUT, "actions/checkout@v6", "which can be moved"),
    "another commit": (PLAN, CHECKOUT, CHECKOUT.replace("df4c", "aaaa"), "is not the commit of v6.0.3"),
    "an unknown action": (PLAN, CHECKOUT, f"some/thing@{'a' * 40} # v1", "is not the commit of v1"),
    "rights for all": (PLAN, "permissions: {}", "permissions: write-all", "gives rights to every job"),
    "a job's rights wholesale": (
        DRIFT,
        "    permissions:\n      issues: write",
        "    permissions: write-all",
        "wholesale",
    ),
    "more than reading": (PLAN, "contents: read", "contents: write", "takes contents: write"),
    "identity and pen": (
        PLAN,
        "id-token: write",
        "id-token: write\n      pull-requests: write",
        "foreign code has both",
    ),
    "identity for nothing": (DRIFT, "issues: write", "id-token: write", "id-token without"),
    "a secret": (PLAN, "${{ github.token }}", "${{ secrets.PAT }}", "names a secret"),
    "a key": (PLAN, "ENVIRONMENT: ${{ matrix.env }}", "API_KEY: abc", "API_KEY holds something secret"),
    "foreign text in a script": (PLAN, '--env "$ENVIRONMENT"', "--env ${{ github.head_ref }}", "hand it over in env"),
    "a token left behind": (PLAN, "persist-credentials: false", "fetch-depth: 1", "leaves its token behind"),
    "foreign code with rights": (PLAN, "  pull_request:", "  pull_request_target:", "runs foreign code"),
    "no end": (PLAN, "    timeout-minutes: 45\n", "", "has no 'timeout-minutes'"),
    "any machine": (PLAN, "ubuntu-24.04", "ubuntu-latest", "whatever machine is newest"),
    "a misspelt key": (PLAN, "    needs: plan", "    neds: plan", "'neds' is no key"),
    "a job that is not": (PLAN, "    needs: plan", "    needs: plans", "needs 'plans', which is no job"),
    "nobody asked": (APPLY, "    environment: ${{ matrix.env }}\n", "", "without a protected environment"),
    "any branch": (APPLY, "branches: [main]", "branches: ['**']", "applies what is not the main branch's"),
    "nothing reviewed": (APPLY, " --reviewed reviewed/plan.json", "", "not held against the reviewed one"),
    "no signature": (IMAGES, 'cosign sign --yes "$built"', "true", "without bill of materials"),
    "no bill": (IMAGES, "--sbom true", "", "without bill of materials"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found(fault: str) -> None:
    text, old, new, what = FAULTS[fault]
    assert old in text
    assert any(what in item for item in lint(Workflow.parse("w.yml", text.replace(old, new))))


def test_every_role_that_a_workflow_takes_is_made_and_every_made_one_is_known() -> None:
    text = (ROOT / "terraform" / "bootstrap" / "pipelines.tf").read_text()
    made = set(re.findall(r"^    (\w+) = \{$", text, re.MULTILINE))
    assert made == {item.value for item in Pipeline}
    taken = {name for file in NAMES for name in pipelines_of(read(file))}
    assert taken == made - {"release"}  # the team's own release job takes that one
    assert pipelines_of(Workflow.parse("w", PLAN.replace("pipeline plan", "pipeline plans"))) - made == {"plans"}


def test_the_role_that_deploys_is_taken_by_the_apply_alone() -> None:
    assert [name for name in NAMES if "apply" in pipelines_of(read(name))] == ["apply.yml"]
    for name in ("plan.yml", "drift.yml"):
        assert all("--read-only" in line for line in commands_of(read(name)) if re.match(r"infra (plan|drift)\b", line))


@pytest.mark.parametrize("name", NAMES)
def test_the_commands_they_run_exist(name: str) -> None:
    lines = commands_of(read(name))
    assert lines
    assert [found for line in lines if (found := refusal_of(line)) is not None] == []


@pytest.mark.parametrize("line", ["infra plam", "infra plan --read", "infra pipeline everything", "infra approve"])
def test_a_command_that_is_not_is_found(line: str) -> None:
    assert refusal_of(line) is not None


def test_they_build_every_image_and_name_every_real_environment() -> None:
    assert yaml.safe_load(IMAGES)["jobs"]["image"]["strategy"]["matrix"]["role"] == list(IMAGE_ROLES)
    real = sorted(set(environment_names()) - {"local"})
    for name in ("plan.yml", "apply.yml", "drift.yml"):
        for job in read(name).jobs.values():
            assert job.get("strategy", {}).get("matrix", {}).get("env", real) == real


def test_the_shared_steps_hold_the_pins_too() -> None:
    text = (ROOT / ".github" / "actions" / "infra" / "action.yml").read_text()
    for action, ref, version in re.findall(r"uses:\s+([^@\s]+)@(\S+)\s+#\s*(\S+)", text):
        assert PINS[action] == (ref, version)
    assert "secrets." not in text
