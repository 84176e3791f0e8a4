"""What the stages made stays as they made it until the demo ends, or the demo refuses to go on."""

from __future__ import annotations

import hashlib
from pathlib import Path

from platform_lib.demo.runner import StageOutcome
from platform_lib.demo.stages import Stage
from platform_lib.errors import PlatformError
from platform_lib.manifest import read_manifest


class DisturbedError(PlatformError):
    """Another command changed what a stage of this demo had made, so what follows would be of something else."""


class Witness:
    """Remembers the manifest every stage left, to its last byte: a step that runs again writes another."""

    def __init__(self) -> None:
        self._seen: dict[Path, tuple[Stage, str]] = {}
        self._lake_sha256: str | None = None

    def see(self, stage: Stage, outcome: StageOutcome) -> None:
        """Check what the stages before left, and remember what this one did.

        Raises:
            DisturbedError: It is not what its stage made, or this stage read another lake than was ingested.
        """
        self.require_unchanged()
        if stage.manifest is None:
            self._lake_sha256 = outcome.digest or self._lake_sha256
            return
        digest = _digest(stage.manifest)
        if digest is None:
            raise _disturbed(stage)
        manifest = read_manifest(stage.manifest)
        told = outcome.result.get("step_sha256", outcome.result.get("sha256", manifest.step_sha256))
        if manifest.step_sha256 != told:
            raise _disturbed(stage)
        lake = manifest.inputs.get("lake")
        if lake is not None and lake.sha256 != self._lake_sha256:
            raise DisturbedError(
                "the lake changed between the demo's ingest and its dataset: another command took logs in or out",
                where=lake.uri,
                remedy="run the demo again when that command has ended, or give it a --home of its own",
            )
        self._seen[stage.manifest] = (stage, digest)

    def require_unchanged(self) -> None:
        """Check that everything seen so far is as it was.

        Raises:
            DisturbedError: A manifest is gone or another.
        """
        for path, (stage, digest) in self._seen.items():
            if _digest(path) != digest:
                raise _disturbed(stage)


def _digest(manifest: Path) -> str | None:
    try:
        return hashlib.sha256(manifest.read_bytes()).hexdigest()
    except FileNotFoundError:
        return None


def _disturbed(stage: Stage) -> DisturbedError:
    return DisturbedError(
        f"another command changed what the demo's stage '{stage.title}' had made",
        where=stage.writes,
        remedy="leave what is named 'demo' alone while a demo runs, and run the demo again: it makes that stage anew",
    )
