"""The manifest beside every artefact: what it was made from, by which code and configuration, and what it is.

A step is skipped when an artefact with the same inputs, resolved configuration and code content exists and its
outputs still have the digests the manifest names.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path, PurePosixPath
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, field_validator

from platform_lib.code_digest import code_sha256
from platform_lib.errors import IntegrityError
from platform_lib.refusals import first_problem
from platform_lib.storage import publish_bytes, sha256_file, sha256_tree

SCHEMA_VERSION: Literal[1] = 1


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Input(_Strict):
    """One thing an artefact was made from.

    Attributes:
        sha256: Content digest; for a table the digest of its pinned version.
        uri: Where it was read, for people; never part of the skip digest.
    """

    sha256: str
    uri: str


class Output(_Strict):
    """One file (or folder, digested as a tree) that a step wrote; `path` is relative to the manifest."""

    path: str
    sha256: str
    bytes: int

    @field_validator("path")
    @classmethod
    def _inside(cls, value: str) -> str:
        path = PurePosixPath(value)
        if path.is_absolute() or ".." in path.parts or "\0" in value:
            raise ValueError("an output lies beside its manifest or below it")
        return value


class Code(_Strict):
    """The code that ran: content digest (decides skipping) and git state (for people)."""

    sha256: str
    git_sha: str | None
    dirty: bool | None


class Manifest(_Strict):
    """Provenance of one artefact, stored as JSON beside it.

    Attributes:
        kind: What the artefact is: ``drives``, ``dataset``, ``run``, ``evaluation``, ``compile``, ``bundle``, ...
        config: The resolved configuration, as JSON values.
        metrics: Measured results, counts and lists of what was refused; unknown is ``None``.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    kind: str
    created_utc: datetime
    inputs: dict[str, Input]
    code: Code
    config: dict[str, JsonValue]
    config_sha256: str
    environment: dict[str, str]
    outputs: dict[str, Output]
    metrics: dict[str, JsonValue] = Field(default_factory=dict)

    @property
    def step_sha256(self) -> str:
        """Digest of inputs, configuration and code: two artefacts that share it are interchangeable."""
        return _digest(
            {
                "kind": self.kind,
                "inputs": {name: item.sha256 for name, item in self.inputs.items()},
                "config": self.config_sha256,
                "code": self.code.sha256,
            }
        )

    def write(self, path: Path) -> None:
        """Publish this manifest atomically at `path`."""
        publish_bytes(path, (self.model_dump_json(indent=2) + "\n").encode())


class Step:
    """One step about to run: knows its digest before it runs, and writes the manifest after.

    Args:
        kind: The artefact's kind.
        inputs: Name -> what goes in.
        config: Resolved configuration as JSON values (no paths of the machine, no clock).
        modules: Dotted names of the modules that do the work; what they import is found.
    """

    def __init__(
        self, kind: str, *, inputs: Mapping[str, Input], config: Mapping[str, JsonValue], modules: tuple[str, ...]
    ) -> None:
        self.kind = kind
        self.inputs = dict(sorted(inputs.items()))
        self.config = dict(config)
        self.code_sha256 = code_sha256(*modules)

    @property
    def sha256(self) -> str:
        """The digest that `Manifest.step_sha256` of the finished artefact will have."""
        return self._manifest({}, {}, root=Path()).step_sha256

    @property
    def told(self) -> Manifest:
        """The manifest of what this step made in a form that others read, so that none lies beside it."""
        return self._manifest({}, {}, root=Path())

    def done(self, manifest_path: Path) -> Manifest | None:
        """Return the manifest of a finished, intact artefact of this very step, or None if it has to run."""
        try:
            found = read_manifest(manifest_path)
        except (FileNotFoundError, IntegrityError):
            return None
        if found.step_sha256 != self.sha256:
            return None
        return found if not changed_outputs(found, manifest_path.parent) else None

    def finish(
        self, manifest_path: Path, outputs: Mapping[str, Path], metrics: Mapping[str, JsonValue] | None = None
    ) -> Manifest:
        """Digest the outputs and publish the manifest; call it last, when every output is in place."""
        manifest = self._manifest(outputs, metrics or {}, root=manifest_path.parent)
        manifest.write(manifest_path)
        return manifest

    def _manifest(self, outputs: Mapping[str, Path], metrics: Mapping[str, JsonValue], *, root: Path) -> Manifest:
        return Manifest(
            kind=self.kind,
            created_utc=datetime.now(UTC),
            inputs=self.inputs,
            code=Code(sha256=self.code_sha256, git_sha=git_state()[0], dirty=git_state()[1]),
            config=self.config,
            config_sha256=_digest(self.config),
            environment=environment(),
            outputs=describe_outputs(outputs, root),
            metrics=dict(metrics),
        )


def up_to_date(step_sha256: str) -> str:
    """Say that a step was skipped, in the one form that every command uses."""
    return f"up to date, skipped (digest {step_sha256[:12]})"


def manifest_path_of(artefact: Path) -> Path:
    """Return the manifest's place for an artefact: ``<artefact>.manifest.json``."""
    return artefact.with_name(artefact.name + ".manifest.json")


def read_manifest(path: Path) -> Manifest:
    """Read and validate a manifest.

    Raises:
        FileNotFoundError: There is none.
        IntegrityError: It is not JSON, or not a manifest of a schema version this release knows.
    """
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise IntegrityError(
            f"not a manifest of schema version {SCHEMA_VERSION}: {first_problem(error)}",
            where=path,
            remedy="run the step that makes it again",
        ) from error


def input_of(path: Path) -> Input:
    """Describe a file or folder as an input."""
    return Input(sha256=sha256_tree(path) if path.is_dir() else sha256_file(path), uri=str(path))


def describe_outputs(outputs: Mapping[str, Path], root: Path) -> dict[str, Output]:
    """Describe files and folders below `root` as outputs, by name."""
    return {name: _describe(path, root) for name, path in sorted(outputs.items())}


def changed_outputs(manifest: Manifest, root: Path) -> list[str]:
    """Name the outputs that are missing under `root` or whose bytes differ from the manifest."""
    changed = []
    for output in manifest.outputs.values():
        path = root / output.path
        if not path.exists() or (sha256_tree(path) if path.is_dir() else sha256_file(path)) != output.sha256:
            changed.append(output.path)
    return changed


@cache
def environment() -> dict[str, str]:
    """Name -> version of every installed distribution."""
    found = {item.metadata["Name"]: item.version for item in metadata.distributions() if item.metadata["Name"]}
    return dict(sorted(found.items(), key=lambda pair: pair[0].lower()))


@cache
def git_state() -> tuple[str | None, bool | None]:
    """Return the checkout's commit and whether it is dirty; both None outside a checkout."""
    root = Path(__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return None, None
    try:
        sha = _git(root, "rev-parse", "HEAD").strip()
        return sha, bool(_git(root, "status", "--porcelain").strip())
    except (OSError, subprocess.SubprocessError):
        return None, None


def _git(root: Path, *arguments: str) -> str:
    # Without the option `status` takes the index lock, and a commit at that moment would fail.
    command = ["git", "--no-optional-locks", "-C", str(root), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=20).stdout  # noqa: S603


def _describe(path: Path, root: Path) -> Output:
    item = input_of(path)
    size = sum(f.stat().st_size for f in path.rglob("*") if f.is_file()) if path.is_dir() else path.stat().st_size
    return Output(path=path.relative_to(root).as_posix(), sha256=item.sha256, bytes=size)


def _digest(value: Mapping[str, JsonValue] | Mapping[str, object]) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
