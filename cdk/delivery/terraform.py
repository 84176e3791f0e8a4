"""Terraform, or OpenTofu, as a program: found, checked, run, and its failures said in one sentence."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from cdk.delivery.failures import explain
from cdk.delivery.mirrors import HOSTS, configuration
from platform_lib.errors import ConfigError, MissingPartError
from platform_lib.processes import end_with_parent
from platform_lib.storage import publish_bytes

logger = logging.getLogger(__name__)

# State locks of the S3 backend's own came with these.
_LEAST = {"terraform": (1, 11), "tofu": (1, 10)}
_TIME_LIMIT_S = 3600.0
INPUTS = "inputs.auto.tfvars.json"
_CONTENT = "cdk.tf.json"
# Of the garbage collector of Terraform and its provider, per cent: with their own 100, `show` took 2.8 s of computing and
# 367 MB; with 400, 2.5 s and 384 MB (1.11.4, provider 5.100.0, measured 2026-11-30).
_GOGC = "400"


@dataclass(frozen=True, slots=True)
class Program:
    """The program that plans and applies.

    Attributes:
        path: The executable.
        name: `terraform` or `tofu`.
        version: As it says, `1.11.4`.
    """

    path: Path
    name: str
    version: str


@dataclass(frozen=True, slots=True)
class Done:
    """How a run ended: its exit status and what it wrote."""

    returncode: int
    stdout: str
    stderr: str


def find_program() -> Program:
    """Return Terraform, or else OpenTofu, from PATH or from the project's tools.

    Raises:
        MissingPartError: Neither is there, or they are too old.
    """
    found = []
    for name, least in _LEAST.items():
        path = shutil.which(name, path=os.pathsep.join((os.environ.get("PATH", ""), str(tools_folder()))))
        if path is None:
            continue
        version = _version(Path(path))
        if tuple(map(int, version.split(".")[:2])) >= least:
            return Program(Path(path), name, version)
        found.append(f"{name} {version}")
    raise MissingPartError(
        f"only {', '.join(found)}, which is too old" if found else "neither terraform nor tofu is on PATH",
        where="infrastructure",
        remedy="install terraform 1.11 or OpenTofu 1.10, or run `make tools`, which fetches a pinned release",
    )


def tools_folder() -> Path:
    """Return where `make tools` puts programs."""
    return Path(__file__).resolve().parents[2] / ".venv-tools" / "bin"


def _version(path: Path) -> str:
    said = ""
    try:
        done = subprocess.run(  # noqa: S603 - the program of that name on PATH
            [path, "version", "-json"], capture_output=True, text=True, check=False, timeout=60, env=_quiet(os.environ)
        )
        said = done.stderr.strip()[:200] or "nothing"
        version = str(json.loads(done.stdout)["terraform_version"])
    except (OSError, subprocess.TimeoutExpired, ValueError, KeyError, TypeError) as error:
        raise _voiceless(path, said or str(error)) from error
    if re.match(r"[0-9]+\.[0-9]+\.", version) is None:
        raise _voiceless(path, version[:200])
    return version


def _voiceless(path: Path, said: str) -> MissingPartError:
    return MissingPartError(
        f"does not say its version; it says: {said}", where=path, remedy="install it anew, or run `make tools`"
    )


def _quiet(environment: Mapping[str, str]) -> dict[str, str]:
    # What a person's shell sets for their own use of Terraform would change ours.
    kept = {name: value for name, value in environment.items() if not re.match(r"TF_(?!CLI_CONFIG_FILE)", name)}
    if not Path(kept.get("TF_CLI_CONFIG_FILE", "/")).is_file():
        kept.pop("TF_CLI_CONFIG_FILE", None)
    return {**kept, "TF_IN_AUTOMATION": "1", "TF_INPUT": "0", "CHECKPOINT_DISABLE": "1"}


class Terraform:
    """Runs the program on one stack's folder.

    Args:
        program: Which.
        folder: The stack's working folder, with its `cdk.tf.json`.
        environment: Variables beside the process's own: credentials, an emulator's address.
    """

    def __init__(self, program: Program, folder: Path, environment: Mapping[str, str]) -> None:
        self._program = program
        self.folder = folder
        shared = folder.parent.parent
        self._environment = {**_quiet(os.environ), **configuration(program.name, shared), **environment}
        self._environment.setdefault("TF_PLUGIN_CACHE_MAY_BREAK_DEPENDENCY_LOCK_FILE", "1")
        self._environment.setdefault("GOGC", _GOGC)

    def init(self) -> None:
        """Make the folder ready: providers, backend. Nothing is done where it was made ready for the same ones."""
        mark, wanted = self.folder / ".terraform" / "ready", self._ready_for()
        if wanted and mark.is_file() and mark.read_text() == wanted and self._has_provider():
            return
        mark.unlink(missing_ok=True)
        if self._locked() and HOSTS[self._program.name] not in self._lock_file.read_text():
            self._lock_file.unlink()  # the other program's, which means another registry by the same name
        self._run("init", "-input=false", "-no-color", "-reconfigure", "-lockfile=readonly" if self._locked() else "")
        if wanted:
            publish_bytes(mark, wanted.encode())

    def _ready_for(self) -> str:
        """Return a digest of what decides how the folder is made ready; empty where that is more than one JSON file."""
        if [path.name for path in (*self.folder.glob("*.tf"), *self.folder.glob("*.tf.json"))] != [_CONTENT]:
            return ""
        document = json.loads((self.folder / _CONTENT).read_bytes())
        rules = Path(self._environment.get("TF_CLI_CONFIG_FILE") or os.devnull)
        parts = [
            document.get("terraform"),
            sorted(document.get("provider", {})),
            self._program.name,
            self._program.version,
        ]
        parts.append(rules.read_text() if rules.is_file() else "")
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def _has_provider(self) -> bool:
        found = (self.folder / ".terraform" / "providers").glob("*/*/*/*/*/terraform-provider-*")
        return self._locked() and any(path.is_file() for path in found)

    def move_state(self) -> None:
        """Move the state from where it is to where the folder's backend says, and read it there from now on."""
        self._run("init", "-input=false", "-no-color", "-migrate-state", "-force-copy")

    def _locked(self) -> bool:
        return self._lock_file.is_file()

    @property
    def _lock_file(self) -> Path:
        return self.folder / ".terraform.lock.hcl"

    def plan(self, out: Path, *, refresh_only: bool = False, destroy: bool = False) -> bool:
        """Write a plan; return whether it changes anything."""
        flags = ["-refresh-only"] if refresh_only else []
        flags += ["-destroy"] if destroy else []
        done = self._run(
            "plan",
            "-input=false",
            "-no-color",
            "-detailed-exitcode",
            "-lock=false",
            *flags,
            f"-out={out}",
            allowed=(0, 2),
        )
        return done.returncode == 2

    def show(self, plan: Path) -> dict[str, Any]:
        """Return a plan as Terraform's JSON."""
        done = self._run("show", "-json", "-no-color", str(plan))
        document: dict[str, Any] = json.loads(done.stdout)
        return document

    def apply(self, plan: Path) -> None:
        """Apply a plan."""
        self._run("apply", "-input=false", "-no-color", "-lock-timeout=10s", str(plan))

    def settle(self) -> None:
        """Write into the state what other resources made of each: without it, all of that would pass for drift."""
        self._run("apply", "-input=false", "-no-color", "-refresh-only", "-auto-approve", "-lock-timeout=10s")

    def refreshed(self, inputs: Mapping[str, object]) -> dict[str, Any]:
        """Return a plan that changes nothing and says what was changed outside, as Terraform's JSON."""
        publish_bytes(self.folder / INPUTS, json.dumps(inputs).encode())
        self.init()
        out = self.folder / "drift.bin"
        self.plan(out, refresh_only=True)
        return self.show(out)

    def outputs(self) -> dict[str, Any]:
        """Return the outputs of what is applied, by name; empty where nothing is."""
        done = self._run("output", "-json", "-no-color")
        return {name: item["value"] for name, item in json.loads(done.stdout).items()}

    def state(self) -> dict[str, Any]:
        """Return what is applied, as Terraform's JSON."""
        done = self._run("show", "-json", "-no-color")
        document: dict[str, Any] = json.loads(done.stdout)
        return document

    def validate(self) -> list[dict[str, Any]]:
        """Return what the providers' schemas object to; empty where all is well."""
        done = self._run("validate", "-json", "-no-color", allowed=(0, 1))
        found: list[dict[str, Any]] = json.loads(done.stdout)["diagnostics"]
        return [item for item in found if item["severity"] == "error"]

    def schemas(self) -> dict[str, Any]:
        """Return the schemas of the providers this stack uses."""
        document: dict[str, Any] = json.loads(self._run("providers", "schema", "-json").stdout)
        return document

    def unlock(self, lock_id: str) -> None:
        """Take away a lock that a dead process left."""
        self._run("force-unlock", "-force", lock_id)

    def _run(self, *words: str, allowed: Sequence[int] = (0,)) -> Done:
        command = [str(self._program.path), *(word for word in words if word)]
        logger.info("stack=%s %s", self.folder.name, " ".join(command[1:3]))
        # SIGINT lets Terraform write its state and give its lock back, should this process be killed.
        child = partial(end_with_parent, sent=signal.SIGINT, parent=os.getpid())
        # Into files, not pipes: a pipe whose reader was killed would end Terraform before it has written its state.
        out, err = self.folder / "stdout.txt", self.folder / "stderr.txt"
        try:
            with out.open("wb") as out_stream, err.open("wb") as err_stream:
                ended = subprocess.run(  # noqa: S603 - the program found above, no shell
                    command,
                    cwd=self.folder,
                    env=self._environment,
                    stdin=subprocess.DEVNULL,
                    stdout=out_stream,
                    stderr=err_stream,
                    check=False,
                    timeout=_TIME_LIMIT_S,
                    start_new_session=True,
                    preexec_fn=child,  # one system call; no lock is taken in between
                )
        except subprocess.TimeoutExpired as error:
            raise ConfigError(
                f"{words[0]} took longer than {_TIME_LIMIT_S / 60:g} minutes",
                where=self.folder.name,
                remedy="see what hangs with TF_LOG=INFO in its folder",
            ) from error
        done = Done(ended.returncode, out.read_text(errors="replace"), err.read_text(errors="replace"))
        if done.returncode not in allowed:
            raise explain(done.stderr or done.stdout, stack=self.folder.name, action=words[0])
        return done
