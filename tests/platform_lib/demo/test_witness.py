"""What another command changes while the demo runs is noticed, whatever the moment."""

from __future__ import annotations

from pathlib import Path

import pytest

from platform_lib.demo.runner import StageOutcome
from platform_lib.demo.stages import Stage
from platform_lib.demo.witness import DisturbedError, Witness
from platform_lib.manifest import Input, Step, manifest_path_of, read_manifest

LAKE = "a" * 64


def made(artefact: Path, *, seed: int = 7, lake: str | None = None) -> tuple[Stage, StageOutcome]:
    """Make an artefact as a step does, and say what the demo saw of it."""
    artefact.write_text(f"made with {seed}")
    inputs = {} if lake is None else {"lake": Input(sha256=lake, uri="/home/lake")}
    step = Step("dataset", inputs=inputs, config={"seed": seed}, modules=("platform_lib.errors",))
    step.finish(manifest_path_of(artefact), {"it": artefact})
    stage = Stage("Dataset", ("dataset",), artefact, "why", manifest_path_of(artefact))
    return stage, outcome(digest=step.sha256, result={"step_sha256": step.sha256})


def outcome(*, digest: str | None, result: dict | None = None) -> StageOutcome:
    return StageOutcome("t", "drivetrain t", 1.0, 1.0, skipped=False, digest=digest, path="p", result=result or {})


def ingested(folder: Path) -> tuple[Stage, StageOutcome]:
    return Stage("Ingest", ("ingest",), folder, "why"), outcome(digest=LAKE)


def verified(folder: Path) -> tuple[Stage, StageOutcome]:
    return Stage("Verify", ("verify",), folder, "why"), outcome(digest=None)


def test_what_nobody_touches_is_as_it_was(tmp_path):
    witness = Witness()
    witness.see(*ingested(tmp_path))
    witness.see(*made(tmp_path / "dataset", lake=LAKE))
    witness.see(*made(tmp_path / "run"))
    witness.see(*verified(tmp_path))
    witness.require_unchanged()


def test_a_step_run_again_by_hand_is_noticed_after_the_next_stage(tmp_path):
    witness = Witness()
    witness.see(*made(tmp_path / "dataset"))
    made(tmp_path / "dataset", seed=8)
    with pytest.raises(DisturbedError, match="'Dataset'"):
        witness.see(*made(tmp_path / "run"))


def test_even_the_same_step_run_again_is_noticed(tmp_path):
    witness = Witness()
    stage, seen = made(tmp_path / "dataset")
    witness.see(stage, seen)
    made(tmp_path / "dataset", seed=8)
    made(tmp_path / "dataset")  # and back, before anybody looked
    assert read_manifest(manifest_path_of(tmp_path / "dataset")).step_sha256 == seen.digest
    with pytest.raises(DisturbedError):
        witness.require_unchanged()


def test_a_step_overwritten_before_the_demo_looked_is_noticed(tmp_path):
    stage, seen = made(tmp_path / "dataset")
    made(tmp_path / "dataset", seed=8)
    with pytest.raises(DisturbedError):
        Witness().see(stage, seen)


def test_an_artefact_that_is_gone_is_noticed(tmp_path):
    witness = Witness()
    stage, seen = made(tmp_path / "dataset")
    witness.see(stage, seen)
    manifest_path_of(tmp_path / "dataset").unlink()
    with pytest.raises(DisturbedError, match="changed what"):
        witness.require_unchanged()
    with pytest.raises(DisturbedError):
        Witness().see(stage, seen)


def test_logs_taken_in_between_ingest_and_dataset_are_noticed(tmp_path):
    witness = Witness()
    witness.see(*ingested(tmp_path))
    with pytest.raises(DisturbedError, match="lake changed"):
        witness.see(*made(tmp_path / "dataset", lake="b" * 64))
