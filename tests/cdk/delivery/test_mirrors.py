"""Terraform and OpenTofu find one and the same provider, each under its own registry's name, without a network."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from cdk.delivery import mirrors
from cdk.delivery.mirrors import HOSTS, configuration, find_mirror, mirror_for, mirrored_versions
from cdk.delivery.terraform import Program, Terraform, find_program
from platform_lib.errors import MissingPartError

VERSION = "5.100.0"


def a_mirror(folder: Path, host: str) -> Path:
    aws = folder / host / "hashicorp" / "aws"
    (aws / VERSION / "linux_amd64").mkdir(parents=True)
    (aws / VERSION / "linux_amd64" / f"terraform-provider-aws_v{VERSION}_x5").write_text("program")
    (aws / "terraform-provider-aws_6.69.1_linux_amd64.zip").write_text("zip")
    return folder


@pytest.fixture
def no_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A person who has configured neither program."""
    monkeypatch.delenv("TF_CLI_CONFIG_FILE", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "person"))


@pytest.mark.parametrize("host", list(HOSTS.values()))
@pytest.mark.parametrize("program", list(HOSTS))
def test_each_program_is_led_to_its_own_name_of_what_is_there(
    program: str, host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_own: None
) -> None:
    mirror = a_mirror(tmp_path / "plugins", host)
    monkeypatch.setenv("DRIVETRAIN_PROVIDER_MIRROR", str(mirror))
    assert find_mirror() == mirror
    assert mirrored_versions(mirror) == [VERSION, "6.69.1"]
    for _ in range(2):  # the second time, links are there
        named = Path(configuration(program, tmp_path / "work")["TF_CLI_CONFIG_FILE"])
        text = named.read_text()
    own = HOSTS[program]
    assert f'include = ["{own}/hashicorp/aws"]' in text
    place = mirror_for(program, mirror, tmp_path / "work")
    assert f'path = "{place}"' in text
    assert (place == mirror) is (host == own)
    packed = place / own / "hashicorp" / "aws" / "terraform-provider-aws_6.69.1_linux_amd64.zip"
    loose = place / own / "hashicorp" / "aws" / VERSION / "linux_amd64" / f"terraform-provider-aws_v{VERSION}_x5"
    assert (packed.read_text(), loose.read_text()) == ("zip", "program")


def test_links_follow_a_mirror_that_moved(tmp_path: Path) -> None:
    first = a_mirror(tmp_path / "a", HOSTS["terraform"])
    second = a_mirror(tmp_path / "b", HOSTS["terraform"])
    mirror_for("tofu", first, tmp_path)
    shutil.rmtree(first)
    place = mirror_for("tofu", second, tmp_path)
    program = place / HOSTS["tofu"] / "hashicorp" / "aws" / VERSION / "linux_amd64"
    assert program.resolve() == (second / HOSTS["terraform"] / "hashicorp" / "aws" / VERSION / "linux_amd64").resolve()


@pytest.mark.parametrize(
    ("program", "name"), [("terraform", ".terraformrc"), ("tofu", ".tofurc"), ("tofu", ".terraformrc")]
)
def test_what_a_person_configured_is_left_alone(
    program: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_own: None
) -> None:
    monkeypatch.setenv("DRIVETRAIN_PROVIDER_MIRROR", str(a_mirror(tmp_path / "plugins", HOSTS["terraform"])))
    (tmp_path / "person").mkdir()
    (tmp_path / "person" / name).write_text("")
    assert configuration(program, tmp_path / "work") == {}


def test_without_a_mirror_nothing_is_configured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, no_own: None) -> None:
    monkeypatch.delenv("DRIVETRAIN_PROVIDER_MIRROR", raising=False)
    monkeypatch.setattr(mirrors, "_ROOTS", ())
    assert configuration("tofu", tmp_path) == {}


def test_the_other_programs_lock_is_not_held_against_this_one(tmp_path: Path) -> None:
    program = tmp_path / "tofu"
    program.write_text('#!/bin/sh\necho "$@" >> calls\n')
    program.chmod(0o755)
    folder = tmp_path / "work" / "stack"
    folder.mkdir(parents=True)
    (folder / "cdk.tf.json").write_text("{}")
    lock = folder / ".terraform.lock.hcl"
    for host, readonly in (("registry.terraform.io", False), ("registry.opentofu.org", True)):
        lock.write_text(f'provider "{host}/hashicorp/aws" {{}}\n')
        Terraform(Program(program, "tofu", "1.10.0"), folder, {}).init()
        assert ("-lockfile=readonly" in (folder / "calls").read_text().splitlines()[-1]) is readonly
        assert lock.is_file() is readonly


@pytest.mark.slow
def test_real_terraform_takes_a_provider_through_the_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_own: None
) -> None:
    """The way OpenTofu goes on a machine whose mirror was made for Terraform; gone the other way round, with Terraform."""
    monkeypatch.delenv("DRIVETRAIN_PROVIDER_MIRROR", raising=False)
    try:
        program = find_program()
    except MissingPartError as missing:
        pytest.skip(f"links not tried: {missing.what}")
    real = find_mirror()
    other = next(host for name, host in HOSTS.items() if name != program.name)
    if real is None or VERSION not in mirrored_versions(real):
        pytest.skip(f"links not tried: no local mirror holds hashicorp/aws {VERSION}")
    turned = tmp_path / "plugins" / other / "hashicorp"
    turned.mkdir(parents=True)
    (turned / "aws").symlink_to(real / HOSTS[program.name] / "hashicorp" / "aws")
    monkeypatch.setenv("DRIVETRAIN_PROVIDER_MIRROR", str(tmp_path / "plugins"))
    folder = tmp_path / "work" / "stack"
    folder.mkdir(parents=True)
    needed = {"terraform": {"required_providers": {"aws": {"source": "hashicorp/aws", "version": VERSION}}}}
    (folder / "cdk.tf.json").write_text(json.dumps(needed))
    Terraform(program, folder, {}).init()
    assert f'"{HOSTS[program.name]}/hashicorp/aws"' in (folder / ".terraform.lock.hcl").read_text()
