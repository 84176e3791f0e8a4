"""Rows of what steps made, from their manifests: the manifest is the truth, and every row can be written again from it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import JsonValue
from sqlalchemy import Connection, Table
from sqlalchemy.dialects import postgresql

from platform_lib.catalog.clip_schema import BUNDLES, DATASETS, MODELS, RUNS
from platform_lib.catalog.schema import ARTEFACTS, EDGES
from platform_lib.manifest import Manifest

LAKE = "lake"
"""An artefact kind that holds everything: made from a file it says nothing about who looked at that file."""
MODEL_FILES = ("weights.pt", "model.onnx")
"""Outputs of a run that are models."""
_EVALUATION = "evaluation.json"


def write_artefact(connection: Connection, kind: str, sha256: str, uri: str, inputs: Mapping[str, str]) -> None:
    """Write an artefact and what it was made from; written again, only its place changes."""
    statement = postgresql.insert(ARTEFACTS).values(sha256=sha256, kind=kind, uri=uri)
    connection.execute(statement.on_conflict_do_update(index_elements=["sha256"], set_={"uri": uri}))
    edges = [
        {"sha256": sha256, "input_sha256": digest, "role": role} for role, digest in inputs.items() if digest != sha256
    ]
    if edges:
        connection.execute(postgresql.insert(EDGES).on_conflict_do_nothing(), edges)


def write_manifest(connection: Connection, manifest: Manifest, place: Path, root: Path) -> None:
    """Write the rows of one artefact.

    Args:
        connection: In a transaction.
        manifest: Of a dataset, run, evaluation, compile or bundle.
        place: Where the artefact lies.
        root: What the manifest's outputs are relative to.
    """
    inputs = {name: item.sha256 for name, item in manifest.inputs.items()}
    if manifest.kind == "evaluation" and _EVALUATION in manifest.outputs:
        made = manifest.outputs[_EVALUATION]
        write_artefact(connection, manifest.kind, made.sha256, str(root / made.path), inputs)
        return
    digest = manifest.step_sha256
    if manifest.kind == "dataset":
        inputs |= _logs_of(manifest)
        _note_lake(connection, manifest)
    write_artefact(connection, manifest.kind, digest, str(place), inputs)
    told = {"sha256": digest, "name": place.name, "created_utc": manifest.created_utc}
    size = sum(item.bytes for item in manifest.outputs.values())
    if manifest.kind == "dataset":
        _upsert(connection, DATASETS, {**told, **_samples_of(manifest), "bytes": size})
    elif manifest.kind == "run":
        _write_run(connection, manifest, told, root)
    else:
        if manifest.kind == "bundle":
            _upsert(connection, BUNDLES, {**told, "bytes": size})
        for name, output in manifest.outputs.items():
            kind = f"{manifest.kind} file"
            write_artefact(connection, kind, output.sha256, str(root / output.path), {name: digest})


def _note_lake(connection: Connection, manifest: Manifest) -> None:
    """Let a dataset's lake be known as one: an erasure makes a version that no ingest recorded."""
    lake = manifest.inputs.get(LAKE)
    if lake is not None:
        row = postgresql.insert(ARTEFACTS).values(sha256=lake.sha256, kind=LAKE, uri=lake.uri)
        connection.execute(row.on_conflict_do_nothing())


def _write_run(connection: Connection, manifest: Manifest, told: Mapping[str, object], root: Path) -> None:
    measured = {name: manifest.metrics.get(name) for name in ("epochs", "val_ade_m")}
    _upsert(connection, RUNS, {**told, **measured, "recipe": manifest.config.get("recipe")})
    for name in MODEL_FILES:
        output = manifest.outputs.get(name)
        if output is not None:
            write_artefact(connection, "model", output.sha256, str(root / output.path), {"run": manifest.step_sha256})
            model = {"sha256": output.sha256, "run_sha256": manifest.step_sha256, "file": name, "bytes": output.bytes}
            _upsert(connection, MODELS, model)


def _logs_of(manifest: Manifest) -> dict[str, str]:
    """Return split/drive/number -> digest of the logs that a dataset was made from, as its proof says."""
    proof = manifest.metrics.get("split_proof")
    files = proof.get("files") if isinstance(proof, dict) else None
    found = {}
    for split, drives in files.items() if isinstance(files, dict) else ():
        for drive_id, digests in drives.items() if isinstance(drives, dict) else ():
            for number, digest in enumerate(digests if isinstance(digests, list) else ()):
                found[f"{split}/{drive_id}/{number}"] = str(digest)
    return found


def _samples_of(manifest: Manifest) -> dict[str, JsonValue]:
    samples = manifest.metrics.get("samples")
    return {split: samples.get(split) if isinstance(samples, dict) else None for split in ("train", "val", "test")}


def _upsert(connection: Connection, table: Table, values: Mapping[str, object]) -> None:
    changed = {name: value for name, value in values.items() if name != "sha256"}
    statement = postgresql.insert(table).values(**values)
    connection.execute(statement.on_conflict_do_update(index_elements=["sha256"], set_=changed))
