"""A step is skipped exactly when the same step's artefact is there, intact; every planted change makes it run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from pydantic import JsonValue, ValidationError

from platform_lib import manifest
from platform_lib.errors import IntegrityError
from platform_lib.manifest import (
    Input,
    Manifest,
    Output,
    Step,
    changed_outputs,
    environment,
    git_state,
    input_of,
    manifest_path_of,
    read_manifest,
)

SOURCE = Input(sha256="ab" * 32, uri="somewhere")


def _step(
    kind: str = "dataset", inputs: Mapping[str, Input] | None = None, config: Mapping[str, JsonValue] | None = None
) -> Step:
    return Step(
        kind,
        inputs={"source": SOURCE} if inputs is None else inputs,
        config={"rate_hz": 10, "names": ["a", "b"]} if config is None else config,
        modules=("platform_lib.storage",),
    )


def _run(folder: Path) -> Path:
    """Run a step that writes a file and a folder; return its manifest's path."""
    (folder / "parts").mkdir(parents=True)
    (folder / "table.bin").write_bytes(b"table")
    (folder / "parts" / "one").write_bytes(b"one")
    path = folder / "manifest.json"
    _step().finish(path, {"table": folder / "table.bin", "parts": folder / "parts"}, {"rows": 3, "unknown": None})
    return path


def test_a_finished_step_is_done_and_tells_its_metrics(tmp_path: Path) -> None:
    path = _run(tmp_path)
    found = _step().done(path)
    assert found is not None
    assert found.step_sha256 == _step().sha256
    assert found.metrics == {"rows": 3, "unknown": None}
    assert {item.path: item.bytes for item in found.outputs.values()} == {"parts": 3, "table.bin": 5}


def test_a_moved_artefact_is_still_done(tmp_path: Path) -> None:
    _run(tmp_path / "one")
    (tmp_path / "one").rename(tmp_path / "other")
    assert _step().done(tmp_path / "other" / "manifest.json") is not None


def test_where_an_input_was_read_and_in_which_order_keys_come_does_not_matter(tmp_path: Path) -> None:
    path = _run(tmp_path)
    assert _step(inputs={"source": Input(sha256=SOURCE.sha256, uri="elsewhere")}).done(path) is not None
    assert _step(config={"names": ["a", "b"], "rate_hz": 10}).done(path) is not None


@pytest.mark.parametrize(
    "other",
    [
        _step(kind="run"),
        _step(inputs={"source": Input(sha256="cd" * 32, uri="somewhere")}),
        _step(inputs={}),
        _step(inputs={"another name": SOURCE}),
        _step(config={"rate_hz": 11, "names": ["a", "b"]}),
        _step(config={"rate_hz": 10, "names": ["b", "a"]}),
        Step(
            "dataset",
            inputs={"source": SOURCE},
            config={"rate_hz": 10, "names": ["a", "b"]},
            modules=("platform_lib.manifest",),
        ),
    ],
    ids=["kind", "input", "no input", "input name", "config", "config order", "code"],
)
def test_another_step_has_to_run(tmp_path: Path, other: Step) -> None:
    assert other.done(_run(tmp_path)) is None


@pytest.mark.parametrize("fault", ["changed", "missing", "added in a folder", "file for a folder"])
def test_a_changed_output_has_to_be_made_again(tmp_path: Path, fault: str) -> None:
    path = _run(tmp_path)
    if fault == "changed":
        (tmp_path / "table.bin").write_bytes(b"tablE")
    elif fault == "missing":
        (tmp_path / "table.bin").unlink()
    elif fault == "added in a folder":
        (tmp_path / "parts" / "two").write_bytes(b"")
    else:
        (tmp_path / "parts" / "one").unlink()
        (tmp_path / "parts").rmdir()
        (tmp_path / "parts").write_bytes(b"one")
    assert _step().done(path) is None
    assert len(changed_outputs(read_manifest(path), tmp_path)) == 1


def test_a_manifest_cut_short_anywhere_is_refused_and_the_step_runs(tmp_path: Path) -> None:
    path = _run(tmp_path)
    whole = path.read_bytes()
    for length in range(0, len(whole) - 3, max(1, len(whole) // 40)):
        path.write_bytes(whole[:length])
        assert _step().done(path) is None
        with pytest.raises(IntegrityError, match="not a manifest"):
            read_manifest(path)


def test_no_manifest_means_the_step_runs(tmp_path: Path) -> None:
    assert _step().done(tmp_path / "manifest.json") is None
    with pytest.raises(FileNotFoundError):
        read_manifest(tmp_path / "manifest.json")


@pytest.mark.parametrize(
    ("key", "value"), [("schema_version", 2), ("misspelt", 1), ("outputs", None), ("created_utc", "yesterday")]
)
def test_a_manifest_of_another_shape_is_refused(tmp_path: Path, key: str, value: object) -> None:
    path = _run(tmp_path)
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
    with pytest.raises(IntegrityError, match=f"{key}.*Remedy"):
        read_manifest(path)


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    path.write_bytes(b"\xff\xfe{}")
    with pytest.raises(IntegrityError):
        read_manifest(path)


@pytest.mark.parametrize("path", ["/etc/passwd", "../secret", "a/../../b", "a\0b"])
def test_an_output_outside_its_manifests_folder_is_refused(path: str) -> None:
    with pytest.raises(ValidationError, match="beside its manifest"):
        Output(path=path, sha256="", bytes=0)


def test_an_output_elsewhere_cannot_be_finished(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="not in the subpath"):
        _step().finish(tmp_path / "folder" / "manifest.json", {"file": tmp_path / "file"})


def test_a_configuration_that_is_no_json_is_refused() -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        _ = _step(config={"rate_hz": float("nan")}).sha256


def test_an_input_is_a_file_or_a_tree(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a").write_text("1")
    file, folder = input_of(tmp_path / "folder" / "a"), input_of(tmp_path / "folder")
    assert file.sha256 != folder.sha256
    assert folder.uri == str(tmp_path / "folder")


def test_the_manifest_names_the_environment_and_the_code(tmp_path: Path) -> None:
    found = read_manifest(_run(tmp_path))
    assert found.environment == environment()
    assert "pydantic" in found.environment
    assert (found.code.git_sha, found.code.dirty) == git_state()
    assert found.created_utc.utcoffset() is not None


def test_outside_a_checkout_the_commit_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifest, "__file__", str(tmp_path / "lib" / "platform_lib" / "manifest.py"))
    git_state.cache_clear()
    assert git_state() == (None, None)
    git_state.cache_clear()


def test_the_manifests_place() -> None:
    assert manifest_path_of(Path("a/model.onnx")) == Path("a/model.onnx.manifest.json")


def test_writing_twice_reads_back_the_same(tmp_path: Path) -> None:
    found = read_manifest(_run(tmp_path))
    found.write(tmp_path / "again.json")
    assert read_manifest(tmp_path / "again.json") == found
    assert isinstance(found, Manifest)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"kind": 1}'])
def test_what_is_no_manifest_is_told_without_an_empty_place(tmp_path: Path, text: str) -> None:
    path = tmp_path / "manifest.json"
    path.write_text(text)
    with pytest.raises(IntegrityError) as refused:
        read_manifest(path)
    assert ": :" not in refused.value.what
    assert refused.value.what.startswith("not a manifest of schema version 1: ")
