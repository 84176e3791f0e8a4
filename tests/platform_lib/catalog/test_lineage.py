"""From a log down to the bundle, and what must not be taken for having seen it."""

from __future__ import annotations

import json
import shutil
import uuid
from datetime import datetime
from pathlib import Path

import pytest
from pydantic import JsonValue

from platform_lib.catalog.catalog import Catalog
from platform_lib.catalog.elsewhere import note_elsewhere
from platform_lib.catalog.erasures import Erasures
from platform_lib.catalog.lineage import Lineage
from platform_lib.catalog.lineage_commands import _made_from, _show_marks
from platform_lib.catalog.model import DriveIdentity, FileKey, FoundFile, IngestRecord, LakeHead
from platform_lib.catalog.openlineage import run_events
from platform_lib.catalog.records import LAKE
from platform_lib.home import open_home
from platform_lib.manifest import Input, Step, manifest_path_of

pytestmark = pytest.mark.slow
FILE, OTHER = "f" * 64, "e" * 64


@pytest.fixture
def known(catalog: Catalog) -> Lineage:
    """Two logs of two drives; a dataset of the first, a run of it, a model; another dataset of the second alone."""
    for number, digest in enumerate((FILE, OTHER)):
        key = FileKey(digest, "1", 1, "0")
        catalog.note_files([FoundFile(key, 1, (f"/logs/{number}",))])
        (ingest_id,) = catalog.begin([key])
        drive = DriveIdentity(f"drive-{number}", None, "s")
        record = IngestRecord(ingest_id, drive, (), 0, 0, None, None, "none_present", {})
        catalog.commit(LakeHead(None, 1), [record])
    catalog.record_artefact("lake", "1" * 64, "lake", {"a": FILE, "b": OTHER})
    catalog.record_artefact("dataset", "2" * 64, "/h/datasets/city", {"lake": "1" * 64, "train/drive-0/0": FILE})
    catalog.record_artefact("run", "3" * 64, "/h/runs/first", {"dataset": "2" * 64})
    catalog.record_artefact("model", "4" * 64, "/h/runs/first/model.onnx", {"run": "3" * 64})
    catalog.record_artefact("dataset", "5" * 64, "/h/datasets/land", {"lake": "1" * 64, "train/drive-1/0": OTHER})
    return Lineage(catalog.engine)


def test_all_that_saw_a_drive_and_nothing_that_only_shares_its_lake(known: Lineage) -> None:
    (digest,) = known.files_of("drive-0")
    found = known.descendants([digest])
    assert [(item.kind, item.sha256[0]) for item in found] == [("dataset", "2"), ("run", "3"), ("model", "4")]
    assert (found[0].roles, found[0].via) == (("train/drive-0/0",), (FILE,))
    assert [item.sha256[0] for item in known.descendants([OTHER])] == ["5"]
    assert known.descendants(["9" * 64]) == []


def test_logs_are_logs_and_other_files_are_files(known: Lineage, catalog: Catalog) -> None:
    catalog.record_artefact("bundle", "6" * 64, "/h/bundles/b", {"model": "4" * 64, "thresholds": "7" * 64})
    above = catalog.ancestors("6" * 64, beyond=LAKE)
    assert above[FILE] == "log"
    assert above["7" * 64] == "file"
    assert _made_from(above) == "1 log file, 1 other file, dataset, lake, model, run"


def test_a_dataset_built_again_is_not_the_erased_one_of_its_name(
    known: Lineage, catalog: Catalog, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = open_home(tmp_path / "home").datasets / "town"
    folder.mkdir(parents=True)
    made = []
    for lake, logs in (("a", [FILE, OTHER]), ("b", [OTHER])):  # the second from a version that an erasure left
        proof: dict[str, JsonValue] = {"split_proof": {"files": {"train": {"drive": list(logs)}}}}
        step = Step("dataset", inputs={"lake": Input(sha256=lake * 64, uri="lake")}, config={}, modules=())
        made.append(step.finish(folder / "manifest.json", {}, proof))
        catalog.record(made[-1], folder)
    first, second = (item.step_sha256 for item in made)
    assert known.named("town") == sorted([first, second])
    assert known.newest([first, second]) == known.newest([second, first]) == [second]
    assert known.newest([first]) == [first]
    assert catalog.ancestors(second, beyond=LAKE) == {OTHER: "log", "b" * 64: "lake"}
    _show_marks("dataset", first, (3,), earlier=True)
    said = capsys.readouterr().out
    assert "an earlier dataset of that name" in said
    assert "touched by erasure 3" in said


def test_names_digests_and_their_beginnings(known: Lineage) -> None:
    assert known.named("city") == known.named("2" * 64) == known.named("222222") == ["2" * 64]
    assert known.named("2222") == []  # too short to mean one
    assert known.named("ity") == []
    assert known.files_of("nobody") == []


def test_bundles_and_compiles_are_learnt_from_their_manifests(known: Lineage, tmp_path: Path) -> None:
    home = open_home(tmp_path / "home")
    folder = home.compiled / "planner"
    folder.mkdir(parents=True)
    (folder / "report.json").write_text("{}")
    step = Step("compile", inputs={"onnx": Input(sha256="4" * 64, uri="x")}, config={}, modules=())
    compiled = step.finish(folder / "manifest.json", {"report.json": folder / "report.json"})
    bundle = home.bundles / "v1"
    bundle.mkdir(parents=True)
    (bundle / "manifest.json").write_text(json.dumps({"another": "document"}))
    report = compiled.outputs["report.json"].sha256
    step = Step("bundle", inputs={"report": Input(sha256=report, uri="x")}, config={}, modules=())
    step.finish(home.bundles / "v1.manifest.json", {"bundle": bundle})
    assert known.note_folders(home) == known.note_folders(home) == 2
    found = known.descendants([FILE])
    assert ["bundle", "compile", "compile file"] == sorted(
        {item.kind for item in found} & {"bundle", "compile", "compile file"}
    )
    (packed,) = [item for item in found if item.kind == "bundle"]
    assert packed.uri == str(bundle)
    assert known.descendants([OTHER])[0].kind == "dataset"


def test_what_was_written_outside_the_home_stays_known(known: Lineage, tmp_path: Path) -> None:
    home, out = open_home(tmp_path / "home"), tmp_path / "out" / "compiled"
    out.mkdir(parents=True)
    (out / "report.json").write_text("{}")
    step = Step("compile", inputs={"onnx": Input(sha256="4" * 64, uri="x")}, config={}, modules=())
    compiled = step.finish(out / "manifest.json", {"report.json": out / "report.json"})
    note_elsewhere(home, compiled, out)
    bundle = tmp_path / "out" / "vehicle"
    bundle.mkdir()
    (bundle / "bundle.sig").write_text("signed")
    step = Step(
        "bundle", inputs={"r": Input(sha256=compiled.outputs["report.json"].sha256, uri="x")}, config={}, modules=()
    )
    packed = step.finish(manifest_path_of(bundle), {"bundle": bundle})
    note_elsewhere(home, packed, bundle)
    inside = home.bundles / "own"
    inside.mkdir(parents=True)
    note_elsewhere(home, packed, inside)
    shutil.rmtree(tmp_path / "out")  # it has left
    assert known.note_folders(home) == known.note_folders(home) == 2
    found = {item.kind: item for item in known.descendants(known.named("first"))}
    assert (found["bundle"].sha256, found["bundle"].uri) == (packed.outputs["bundle"].sha256, str(bundle))
    assert known.named("vehicle") == [found["bundle"].sha256]
    assert found["compile"].uri == str(out)


def test_an_erasure_marks_what_it_touched_and_takes_the_drive_out_of_roles(known: Lineage, catalog: Catalog) -> None:
    erasures = Erasures(catalog.engine)
    visible = [item for item in catalog.view().ingests if item.key.file_sha256 == FILE]
    number = erasures.begin(
        scope_sha256="0",
        requested_by="x",
        reason="y",
        plan={},
        needles=b"",
        files=[FILE],
        hidden=[visible[0].ingest_id],
    )
    assert [item.key.file_sha256 for item in catalog.view().ingests] == [OTHER]
    erasures.mark(number, [("2" * 64, "dataset", True), ("3" * 64, "run", False)])
    erasures.remove(number, erasures.ingests_of([FILE]), [FILE], [])
    found = {item.kind: item for item in known.descendants([FILE])}  # the digest still answers
    assert (found["dataset"].erased, found["run"].erased, found["model"].erased) == ((number,), (number,), ())
    assert found["dataset"].roles[0].startswith(f"erased/{number}/")
    assert [item.drive_id for item in catalog.drives()] == ["drive-1"]
    assert erasures.erased_files()[FILE].erasure_id == number
    assert [item.removed for item in erasures.marks()] == [True, False]


def test_every_artefact_is_a_run_with_its_inputs_in_openlineage(known: Lineage) -> None:
    events = [json.loads(event.to_json()) for event in run_events(known._engine)]
    assert [event["eventType"] for event in events] == ["START", "COMPLETE"] * 5
    assert [event["job"]["name"] for event in events[::2]] == ["lake", "dataset", "run", "model", "dataset"]
    for start, complete in zip(events[::2], events[1::2], strict=True):
        assert start == {**complete, "eventType": "START"}
        assert start.keys() == {*("eventType", "eventTime", "run", "job", "inputs", "outputs", "producer", "schemaURL")}
        assert datetime.fromisoformat(start["eventTime"]).tzinfo is not None
        uuid.UUID(start["run"]["runId"])
        assert {*start["job"]} == {"namespace", "name", "facets"}
    city = events[2]
    assert [item["name"] for item in city["inputs"]] == [f"lake/{'1' * 64}", f"file/{FILE}"]
    assert [item["name"] for item in city["outputs"]] == [f"dataset/{'2' * 64}"]
    assert [item["name"] for item in events[4]["inputs"]] == [city["outputs"][0]["name"]]
    again = [event.to_json() for event in run_events(known._engine)]
    assert again == [json.dumps(event, separators=(",", ":")) for event in events]  # the same runs on every call
