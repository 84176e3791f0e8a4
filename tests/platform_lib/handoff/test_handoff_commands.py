from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

# What a base installation has, by import name, beside the standard library and our own packages.
HEAVY = (
    *("numpy", "onnx", "onnxruntime", "cyclonedx", "packageurl", "jsonschema", "torch", "ray", "pyarrow", "pandas"),
    *("lance", "pyiceberg", "sqlalchemy", "mlflow", "duckdb", "scipy", "matplotlib", "boto3", "jinja2"),
)


def _run(*arguments: str, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "platform_lib.cli", "verify", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env={**os.environ, **environment},
        timeout=60,
    )


def test_the_home_that_signed_it_verifies_it(signed: Any) -> None:
    done = _run(str(signed.folder), "--home", str(signed.home.root))
    assert done.returncode == 0, done.stderr
    assert "VERIFIED" in done.stdout
    for said in ("planner-sa8255p-w8a16-", "candidate", "G7 approval", "sa8255p (v73)", "evidence/gates.json"):
        assert said in done.stdout
    assert done.stderr == ""


def test_a_machine_with_nothing_but_the_bundle_and_the_key(signed: Any, tmp_path: Path) -> None:
    machine = tmp_path / "machine"
    machine.mkdir()
    shutil.copytree(signed.folder, machine / "bundle")
    shutil.copyfile(signed.key.path, machine / "signer.pem")
    before = sorted(path for path in machine.rglob("*"))
    done = _run("bundle", "--public-key", "signer.pem", "--json", cwd=machine, DRIVETRAIN_HOME=str(machine / "none"))
    document = json.loads(done.stdout)
    assert (done.returncode, document["verdict"], document["state"]) == (0, "verified", "candidate")
    assert "G5 device" in document["blocking"]
    assert sorted(path for path in machine.rglob("*")) == before, "verification wrote something"


def test_only_the_base_packages_are_imported(signed: Any) -> None:
    program = f"""
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {HEAVY!r}:
            raise ModuleNotFoundError(f"not in a base installation: {{name}}", name=name)
sys.meta_path.insert(0, Refuse())
sys.argv = ["drivetrain", "verify", {str(signed.folder)!r}, "--public-key", {str(signed.key.path)!r}, "--json"]
from platform_lib.cli import main
main()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr + done.stdout
    assert json.loads(done.stdout)["verdict"] == "verified"


def test_the_key_in_the_bundle_alone_leaves_it_unauthenticated(signed: Any, tmp_path: Path) -> None:
    done = _run(str(signed.folder), "--home", str(tmp_path / "nobody"))
    assert done.returncode == 1
    assert "UNAUTHENTICATED" in done.stdout
    assert "--public-key" in done.stdout
    assert not (tmp_path / "nobody").exists(), "verification made a home"
    told = json.loads(_run(str(signed.folder), "--home", str(tmp_path / "nobody"), "--json").stdout)
    assert (told["verdict"], told["trusted_key"]) == ("unauthenticated", None)


def test_the_bundle_s_own_key_named_on_the_command_line_is_refused(signed: Any) -> None:
    done = _run(str(signed.folder), "--public-key", str(signed.folder / "public-key.pem"))
    assert done.returncode == 1
    assert "lies in the bundle" in done.stderr


def test_a_link_shows_where_it_leads_and_what_is_no_bundle_says_so(signed: Any, tmp_path: Path) -> None:
    (tmp_path / "latest").symlink_to(signed.folder)
    done = _run(str(tmp_path / "latest"), "--public-key", str(signed.key.path))
    assert f"latest -> {signed.folder}" in done.stdout.replace("\n", "")
    done = _run(str(tmp_path), "--json")
    error = json.loads(done.stdout)["error"]
    assert (done.returncode, error["kind"], error["what"]) == (1, "MissingPartError", "no manifest.json: not a bundle")


def test_a_home_planted_in_the_bundle_is_refused(signed: Any) -> None:
    planted = signed.folder / ".drivetrain/keys"
    planted.mkdir(parents=True)
    shutil.copyfile(signed.folder / "public-key.pem", planted / "bundle-signing.pub.pem")
    environment = {name: value for name, value in os.environ.items() if name != "DRIVETRAIN_HOME"}
    done = subprocess.run(
        [sys.executable, "-m", "platform_lib.cli", "verify", "."],
        capture_output=True,
        text=True,
        check=False,
        cwd=signed.folder,
        env=environment,
    )
    assert done.returncode == 1
    assert "VERIFIED" not in done.stdout


def test_a_key_put_into_the_trusted_folder_is_trusted(signed: Any, tmp_path: Path) -> None:
    trusted = tmp_path / "integrator/keys/trusted"
    trusted.mkdir(parents=True)
    shutil.copyfile(signed.key.path, trusted / "supplier.pem")
    done = _run(str(signed.folder), "--home", str(tmp_path / "integrator"), "--json")
    assert (done.returncode, json.loads(done.stdout)["trusted_key"]) == (0, str(trusted / "supplier.pem"))
    (trusted / "broken.pem").write_text("-----BEGIN PUBLIC KEY-----\nnope\n-----END PUBLIC KEY-----\n")
    done = _run(str(signed.folder), "--home", str(tmp_path / "integrator"))
    assert (done.returncode, "broken.pem" in done.stderr) == (1, True)


@pytest.mark.parametrize("as_json", [False, True])
def test_a_harmed_bundle_ends_with_status_1_and_names_the_file(signed: Any, as_json: bool) -> None:
    (signed.folder / "compiled/w8a16.ctx.bin").write_bytes(b"[bold]evil[/]")
    done = _run(str(signed.folder), "--public-key", str(signed.key.path), *(["--json"] if as_json else []))
    assert done.returncode == 1
    assert "compiled/w8a16.ctx.bin was changed" in done.stdout
    if as_json:
        assert "state" not in json.loads(done.stdout), "a broken bundle's word is passed on"
    else:
        assert "do not install" in done.stdout


def test_the_signing_library_s_own_command_agrees(signed: Any) -> None:
    """An integrator may use it alone; the README says so."""
    folder, signature = str(signed.folder), str(signed.folder / "bundle.sig")
    words = ["verify", "key", folder, "--signature", signature, "--public_key", str(signed.key.path)]

    def run() -> int:
        command = [str(Path(sys.executable).parent / "model_signing"), *words, "--no-ignore-git-paths"]
        return subprocess.run(command, capture_output=True, check=False).returncode

    assert "--no-ignore-git-paths" in (signed.folder / "README.txt").read_text()
    assert run() == 0
    (signed.folder / ".gitignore").write_text("*")
    assert run() != 0


def test_the_private_key_is_its_owner_s_alone(signed: Any) -> None:
    private = signed.home.keys / "bundle-signing.pem"
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    assert stat.S_IMODE(signed.home.keys.stat().st_mode) == 0o700
    assert private.read_bytes()[60:120] not in b"".join(p.read_bytes() for p in signed.folder.rglob("*") if p.is_file())
