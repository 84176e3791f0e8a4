"""A folder is made ready once for the same backend and providers, and again where anything of it is gone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from cdk.delivery.terraform import Program, Terraform, find_program
from platform_lib.errors import MissingPartError

PROGRAM = """#!/bin/sh
echo "$1" >> calls
mkdir -p .terraform/providers/registry/hashicorp/aws/5.100.0/linux_amd64
touch .terraform/providers/registry/hashicorp/aws/5.100.0/linux_amd64/terraform-provider-aws .terraform.lock.hcl
"""
CONTENT = {"terraform": {"backend": {"s3": {"key": "a"}}}, "provider": {"aws": [{"region": "us-east-1"}]}}


@pytest.fixture
def terraform(tmp_path: Path) -> Terraform:
    program = tmp_path / "terraform"
    program.write_text(PROGRAM)
    program.chmod(0o755)
    folder = tmp_path / "work" / "stack"
    folder.mkdir(parents=True)
    (folder / "cdk.tf.json").write_text(json.dumps({**CONTENT, "resource": {}}))
    return Terraform(Program(program, "terraform", "1.11.4"), folder, {})


def runs(terraform: Terraform) -> int:
    terraform.init()
    return len((terraform.folder / "calls").read_text().split())


def test_it_is_made_ready_once_while_resources_change(terraform: Terraform) -> None:
    assert runs(terraform) == 1
    (terraform.folder / "cdk.tf.json").write_text(json.dumps({**CONTENT, "resource": {"aws_vpc": {"vpc": {}}}}))
    assert runs(terraform) == 1


def test_it_is_made_ready_again_for_another_backend_and_where_something_is_gone(terraform: Terraform) -> None:
    assert runs(terraform) == 1
    moved = {**CONTENT, "terraform": {"backend": {"s3": {"key": "b"}}}}
    (terraform.folder / "cdk.tf.json").write_text(json.dumps(moved))
    assert runs(terraform) == 2
    shutil.rmtree(terraform.folder / ".terraform" / "providers")
    assert runs(terraform) == 3
    (terraform.folder / ".terraform.lock.hcl").unlink()
    assert runs(terraform) == 4
    assert runs(terraform) == 4


def test_a_folder_of_several_files_is_made_ready_each_time(terraform: Terraform) -> None:
    (terraform.folder / "main.tf").write_text("")
    assert (runs(terraform), runs(terraform)) == (1, 2)


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("#!/bin/sh\nexit 1\n", "it says: nothing"),
        ('#!/bin/sh\necho \'{"terraform_version": "weird"}\'\n', "it says: weird"),
        ("#!/bin/sh\necho '[]'\n", "it says: nothing"),
        ("#!/no/such/shell\n", "No such file"),
    ],
)
def test_a_program_that_does_not_say_its_version_is_named(
    script: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "terraform"
    program.write_text(script)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    with pytest.raises(MissingPartError) as refused:
        find_program()
    assert said in refused.value.what
    assert str(program) in str(refused.value.where)
