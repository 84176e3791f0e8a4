"""Erasing on real stores: what is gone is gone from every byte, what stays is whole, and a kill changes nothing of that."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import lance
import numpy as np
import pyarrow as pa
import pytest
from sqlalchemy import text

from platform_lib.catalog.elsewhere import EXPORT, note_export
from platform_lib.catalog.erasures import ERASED, Erasures, refusal_of
from platform_lib.catalog.lineage import Lineage
from platform_lib.datasets.reader import DrivingDataset
from platform_lib.erasure.erasing import _remedy, erase, prove
from platform_lib.erasure.needles import Needles
from platform_lib.erasure.scope import make_scope
from platform_lib.erasure.targets import find_targets, needles_of
from platform_lib.errors import ConfigError, ContractError, HomeBusyError, IntegrityError
from platform_lib.lake.check import check_lake
from platform_lib.manifest import Input, Step
from platform_lib.privacy.retention import expire_raw
from platform_lib.storage import walk_files

pytestmark = pytest.mark.slow

MONDAY, TUESDAY, FRIDAY = "car-17_monday-0001", "car-17_tuesday-0002", "car-17_friday-0003"
COUNT, T0, SECOND = 20, 1_780_000_000_000_000_000, 1_000_000_000
WHOLE = (COUNT, COUNT, COUNT, COUNT)
_KILLED_AT = {
    "keep": "platform_lib.erasure.erasing._keep_rests",
    "datasets": "platform_lib.erasure.erasing.remove_datasets",
    "pieces": "platform_lib.erasure.erasing.remove_pieces",
    "rows": "platform_lib.erasure.erasing.drop_rows",
    "between the stores": "platform_lib.privacy.zone.FrameStore.drop",
    "history": "platform_lib.erasure.erasing.forget_older",
    "lance history": "platform_lib.erasure.history.forget_history",
    "names": "platform_lib.catalog.erasures.Erasures.remove",
    "shred": "platform_lib.catalog.erasures.Erasures.shred",
    "proof": "platform_lib.erasure.erasing.prove",
    "done": "platform_lib.catalog.erasures.Erasures.done",
}


def _grep(home: Path, *pieces: bytes) -> list[str]:
    """Look for bytes in every file in the plainest way there is."""
    wanted = re.compile(b"|".join(re.escape(piece) for piece in set(pieces)))
    return [str(path) for path in walk_files(home) if wanted.search(path.read_bytes())]


def _pictures(town: Any, drive: str) -> list[bytes]:
    samples = town.lake.samples(drive, "/camera")["data"].to_pylist()
    return [data[at : at + 40] for whole in samples for data in (whole, whole[::-1]) for at in (100, 1500, 2500)]


def _dataset(town: Any, name: str, drive: str) -> Path:
    """A dataset as another release might have left it: rows and no manifest that can be read."""
    rows = town.lake.samples(drive, "/camera").select(["timestamp_ns", "data"])
    drives = pa.array([drive] * len(rows))
    folder = town.home.datasets / name
    lance.write_dataset(rows.append_column("drive_id", drives), str(folder / "samples.lance"))
    return folder


def _erase(town: Any, **options: Any) -> Any:
    asked = {"drive": None, "start": None, "stop": None, "area": None, **options}
    report = erase(town.home, make_scope(**asked), reason="request 4711", requested_by="the data officer")
    assert check_lake(town.lake, digests=True).findings == ()
    return report


def test_an_erased_drive_is_in_no_byte_of_the_home_and_the_others_are_whole(own_town: Any) -> None:
    town = own_town
    pictures = _pictures(town, MONDAY)
    digest = town.lake.drives()[1].files[0].file_sha256
    assert town.counts(MONDAY) == WHOLE
    dataset = _dataset(town, "city", MONDAY)
    kept = _dataset(town, "other", TUESDAY)
    (town.home.reports / "page.html").parent.mkdir()
    (town.home.reports / "page.html").write_text(f"<td>{MONDAY}</td>")
    shown = base64.b64encode(town.lake.samples(MONDAY, "/camera")["data"][7].as_py()).decode()
    (town.home.reports / "demo.html").write_text(f'<img src="data:image/jpeg;base64,{shown}">')
    fetched = town.home.scratch / "fetched-abc" / "log.mcap"
    fetched.parent.mkdir(parents=True)
    fetched.write_bytes(zlib.compress(town.logs["a"].read_bytes()))
    town.lake.catalog.record_artefact("dataset", "d" * 64, str(dataset), {f"train/{MONDAY}/0": digest})
    town.lake.catalog.record_artefact("run", "e" * 64, "runs/city", {"dataset": "d" * 64})
    before = _grep(town.home.root, *pictures, MONDAY.encode())
    assert {Path(path).relative_to(town.home.root).parts[0] for path in before} >= {
        "lake",
        "postgres",
        "drives",
        "datasets",
    }

    report = _erase(town, drive=MONDAY)

    assert (report.files, report.files_in_part, report.gone, report.datasets) == (1, 0, (MONDAY,), ("city",))
    assert _grep(town.home.root, *pictures, MONDAY.encode(), b"monday-0001") == []
    assert report.proof.needles > 3 * COUNT
    assert not (town.home.reports / "demo.html").exists()
    assert not fetched.exists()
    assert not dataset.exists()
    assert kept.exists()
    assert [item.drive_id for item in town.lake.drives()] == [FRIDAY, TUESDAY]
    assert town.counts(TUESDAY) == WHOLE
    assert town.counts(FRIDAY) == (COUNT, COUNT, COUNT, 0)
    tombstone = report.tombstone
    assert (tombstone.state, tombstone.reason, tombstone.requested_by) == ("done", "request 4711", "the data officer")
    assert tombstone.counts["rows"] == 3 * COUNT  # lidar, raw and blurred frames
    marked = {item.sha256[0]: item.erased for item in Lineage(town.lake.catalog.engine).descendants([digest])}
    assert marked == {"d": (1,), "e": (1,)}
    with town.lake.catalog.engine.connect() as connection:
        rows = connection.execute(text("SELECT plan, needles FROM erasures")).all()
        assert [tuple(row) for row in rows] == [(None, None)]
    store = town.lake.store
    assert len(store.signal_table().snapshots()) == 1
    assert all(
        len(lance.dataset(str(uri)).versions()) == 1 for uri in (store.samples_uri, store.raw.uri, store.blurred.uri)
    )


def test_the_same_content_is_not_taken_in_again_by_any_way(town: Any) -> None:
    key = town.lake.catalog.view().ingests[0].key
    drive = town.lake.catalog.view().ingests[0].drive_id
    _erase(town, drive=drive)
    with pytest.raises(ContractError, match="was erased"):
        town.lake.catalog.begin([key])
    refusal = refusal_of(Erasures(town.lake.catalog.engine).erased_files()[key.file_sha256], key)
    assert refusal.kind == ERASED
    assert "for good" in refusal.reason


def test_a_time_window_goes_and_what_lies_beside_it_stays_bit_for_bit(town: Any) -> None:
    def rows(drive: str) -> list[tuple[int, bytes]]:
        table = town.lake.samples(drive, "/camera")
        return list(zip(table["timestamp_ns"].to_pylist(), table["data"].to_pylist(), strict=True))

    before, speeds = rows(TUESDAY), town.lake.signals(TUESDAY)
    start, stop = T0 + 5 * SECOND, T0 + 9 * SECOND
    report = _erase(town, drive=TUESDAY, start=str(start), stop=str(stop))
    assert (report.files, report.files_in_part, report.gone) == (0, 1, ())
    inside = [row for row in before if start <= row[0] < stop]
    assert len(inside) == 4
    assert rows(TUESDAY) == [row for row in before if row not in inside]
    assert town.counts(TUESDAY) == (16, 16, 16, 16)
    assert town.counts(MONDAY) == WHOLE
    after = town.lake.signals(TUESDAY)
    outside = [not start <= time < stop for time in speeds["timestamp_ns"].to_pylist()]
    assert after.equals(speeds.filter(pa.array(outside)))
    assert _grep(town.home.root, *(data[at : at + 40] for _, data in inside for at in (100, 1500, 2500))) == []
    drive = next(item for item in town.lake.drives() if item.drive_id == TUESDAY)
    assert (drive.sample_rows, drive.signal_rows) == (32, 48)
    told = town.lake.query("select drive_id, count(*) n from signals group by 1").table.to_pylist()
    assert {"drive_id": TUESDAY, "n": 48} in told


def test_an_area_goes_and_a_drive_without_a_position_is_named_and_stays(town: Any) -> None:
    # 0.001 degrees of latitude are 111 m: 8 s to 12 s of Tuesday's drive lie within 250 m of its 10th second.
    report = _erase(town, area="49.010,8.5,250")
    assert (report.drives, report.unplaced, report.files_in_part) == ((TUESDAY,), (FRIDAY,), 1)
    kept = [(time - T0) // SECOND for time in town.lake.samples(TUESDAY, "/camera")["timestamp_ns"].to_pylist()]
    assert kept == [*range(7), *range(14, COUNT)]  # rather too much: up to the nearest fixes that are surely outside
    assert town.counts(MONDAY) == WHOLE
    with pytest.raises(ConfigError, match="nothing in the lake lies"):
        _erase(town, area="10.0,10.0,500")


def test_dry_run_changes_nothing(town: Any) -> None:
    before = {path: path.read_bytes() for path in walk_files(town.home.lake)}
    report = erase(town.home, make_scope(MONDAY, None, None, None), reason="-", requested_by="x", dry_run=True)
    assert (report.dry_run, report.files, report.tombstone) == (True, 1, None)
    assert {path: path.read_bytes() for path in walk_files(town.home.lake)} == before
    assert Erasures(town.lake.catalog.engine).tombstones() == []
    assert town.counts(MONDAY) == WHOLE


def test_what_would_tell_or_mean_nothing_is_refused(town: Any) -> None:
    with pytest.raises(ConfigError, match="the reason names what is erased"):
        erase(town.home, make_scope(MONDAY, None, None, None), reason=f"{MONDAY} shows me", requested_by="x")
    with pytest.raises(ConfigError, match="no drive 'nobody'"):
        _erase(town, drive="nobody")
    rows = pa.table({"drive_id": ["arm/0001"]})
    lance.write_dataset(rows, str(town.home.datasets / "arm" / "samples.lance"))
    with pytest.raises(ConfigError, match="the imported datasets arm hold it"):
        _erase(town, drive="arm/0001")
    with pytest.raises(ConfigError, match="nothing is named"):
        make_scope(None, None, None, None)
    assert town.counts(MONDAY) == WHOLE


def test_a_dataset_in_use_keeps_everything_until_it_is_free(town: Any) -> None:
    _dataset(town, "city", MONDAY)
    with town.home.lock("dataset-city", shared=True), pytest.raises(HomeBusyError, match="is in use"):
        _erase(town, drive=MONDAY)
    assert town.counts(MONDAY) == WHOLE
    assert Erasures(town.lake.catalog.engine).tombstones() == []


def test_what_a_killed_ingest_had_not_committed_goes_too(town: Any) -> None:
    """Its log is the drive's as well, but nobody knows that yet: its content is not blocked, what lies on the disk goes."""
    pieces = town.take_killed(9, "monday-0001")
    assert _grep(town.home.lake, *pieces)
    _erase(town, drive=MONDAY)
    assert _grep(town.home.lake, *pieces) == []


def _arrays(path: Path, *sample_ids: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    named = {"sample_id": np.array(sample_ids)} if sample_ids else {}
    np.savez_compressed(path, image=np.zeros((2, 3, 4, 4), np.float32), **named)
    return path


def test_frames_that_training_decoded_go_with_the_drive(town: Any) -> None:
    home = town.home
    digest = town.lake.drives()[1].files[0].file_sha256
    town.lake.catalog.record_artefact("dataset", "d" * 64, "datasets/city", {f"train/{MONDAY}/0": digest})
    going, staying = [], []
    for name, drive, dataset in (("city", MONDAY, "d" * 64), ("other", TUESDAY, "e" * 64)):
        step = Step("run", inputs={"dataset": Input(sha256=dataset, uri="datasets/city")}, config={}, modules=())
        files = [
            _arrays(home.runs / name / "calibration.npz"),
            _arrays(home.runs / name / "frozen.npz", f"{drive}/1"),
            _arrays(home.bundles / name / "inputs" / "frozen.npz", f"{TUESDAY}/9", f"{drive}/1"),
            _arrays(home.compiled / name / "frozen.npz", f"{drive}/1"),
        ]
        manifest = step.finish(home.runs / name / "manifest.json", {"calibration.npz": files[0]})
        town.lake.catalog.record_artefact("run", manifest.step_sha256, f"runs/{name}", {"dataset": dataset})
        (going if drive == MONDAY else staying).extend(files)
    report = _erase(town, drive=MONDAY)
    assert {kind for _, kind in report.marked} == {"dataset", "run"}
    assert not any(path.exists() for path in going)
    assert not (home.bundles / "city").exists()
    assert all(path.exists() for path in staying)
    assert (home.runs / "city" / "manifest.json").exists()


def test_exports_and_imported_copies_go_or_are_named(town: Any, tmp_path: Path) -> None:
    """An export packs its pictures, so no search finds them; an import of one was made from no log."""
    home, catalog = town.home, town.lake.catalog
    digest = town.lake.drives()[1].files[0].file_sha256
    catalog.record_artefact("dataset", "d" * 64, "datasets/city", {f"train/{MONDAY}/0": digest})
    exported = Step(
        EXPORT, inputs={"dataset": Input(sha256="d" * 64, uri="x")}, config={"form": "mcap"}, modules=()
    ).told
    other = Step(EXPORT, inputs={"dataset": Input(sha256="e" * 64, uri="x")}, config={"form": "mcap"}, modules=()).told
    inside, outside, kept = home.root / "exports" / "a", tmp_path / "a", home.root / "exports" / "b"
    packed = zlib.compress(b"".join(town.lake.samples(MONDAY, "/camera")["data"].to_pylist()))
    for manifest, place in ((exported, inside), (exported, outside), (other, kept)):
        place.mkdir(parents=True)
        (place / "drive.mcap").write_bytes(packed)
        note_export(home, manifest, place)
    folder = _dataset(town, "again", MONDAY)
    step = Step("dataset", inputs={"source": Input(sha256="5" * 64, uri="x")}, config={}, modules=())
    imported = step.finish(folder / "manifest.json", {"samples.lance": folder / "samples.lance"})
    catalog.record_artefact("run", "a" * 64, "runs/again", {"dataset": imported.step_sha256})
    shutil.copytree(folder, tmp_path / "backup")

    report = _erase(town, drive=MONDAY, start=str(T0 + 5 * SECOND), stop=str(T0 + 9 * SECOND))

    assert report.datasets == ("again",)
    assert sorted(kind for _, kind in report.marked) == ["dataset", "dataset", "export", "export", "run"]
    assert report.exports_outside == (str(outside),)
    assert (inside.exists(), outside.exists(), kept.exists()) == (False, True, True)
    shutil.copytree(tmp_path / "backup", folder)
    for read in (DrivingDataset.open, DrivingDataset.digest):  # loaders ask for the digest
        with pytest.raises(IntegrityError, match="came back from a copy"):
            read(folder)
    assert {item.sha256 for item in Erasures(catalog.engine).marks()} >= {imported.step_sha256, "a" * 64}


def test_a_name_that_an_import_or_a_place_brought_into_the_catalogue_goes_too(own_town: Any, tmp_path: Path) -> None:
    """Its edge is of a digest that is no log's, so that nothing but the name tells."""
    town, catalog = own_town, own_town.lake.catalog
    catalog.record_artefact(
        "dataset", "d" * 64, "datasets/arm", {f"train/{MONDAY}/0": "5" * 64, f"val/{TUESDAY}/0": "6" * 64}
    )
    catalog.record_artefact("export", "e" * 64, f"/srv/{MONDAY}", {"dataset": "d" * 64})
    report = _erase(town, drive=MONDAY)
    assert report.proof.files == ()
    lineage = Lineage(catalog.engine)
    assert next(item.roles for item in lineage.descendants(["6" * 64])) == (f"val/{TUESDAY}/0",)
    (role,) = lineage.descendants(["5" * 64])[0].roles
    assert role.startswith("erased/1/")
    assert lineage.kind_of(["e" * 64])["e" * 64][1].startswith("erased/1/")


def test_what_the_database_holds_is_not_to_be_deleted_by_hand(town: Any) -> None:
    home = town.home
    assert "delete none of them" in _remedy(home, [str(home.postgres / "data" / "base" / "1")])
    assert "delete those files" in _remedy(home, [str(home.runs / "a")])


def test_only_whole_pictures_count_as_the_same_pictures(town: Any) -> None:
    """One row that two lidar streams share is no picture; the same lidar sample is told as what it is."""
    search = needles_of(town.lake, find_targets(town.lake, make_scope(MONDAY, None, None, None)))
    assert (search.pictures, search.samples, search.shared, search.bare, search.of) == ((), {}, 0, 0, 3 * COUNT)
    town.take_with_lidar_of(1, 7, "again-0007")
    search = needles_of(town.lake, find_targets(town.lake, make_scope(MONDAY, None, None, None)))
    assert (search.pictures, search.samples) == ((), {"/lidar": ("car-17_again-0007",)})
    assert (search.bare, search.of, search.shared > 0) == (COUNT, 3 * COUNT, True)


def test_the_proof_finds_what_somebody_kept(town: Any) -> None:
    needles = needles_of(town.lake, find_targets(town.lake, make_scope(MONDAY, None, None, None))).needles
    picture = town.lake.samples(MONDAY, "/camera")["data"][3].as_py()
    kept = town.home.keys / "holiday.bin"
    kept.parent.mkdir(exist_ok=True)
    kept.write_bytes(b"x" * 8_388_601 + picture)  # across the boundary of what is read at once
    assert Needles.from_bytes(needles.to_bytes()).to_bytes() == needles.to_bytes()
    with pytest.raises(IntegrityError, match=r"holiday\.bin"):
        _erase(town, drive=MONDAY)
    assert Erasures(town.lake.catalog.engine).tombstones()[0].state == "removed"
    kept.unlink()
    report = erase(town.home, None, reason="-", requested_by="x")
    assert report.finished == (1,)
    assert Erasures(town.lake.catalog.engine).tombstones()[0].state == "done"
    assert prove(town.home, needles).files == ()


_CHILD = """
import importlib, os, signal, sys
from pathlib import Path
from platform_lib.erasure.erasing import erase
from platform_lib.erasure.scope import make_scope
from platform_lib.home import open_home
home, point, *asked = sys.argv[1:]
module, _, name = point.rpartition(".")
try:
    owner = importlib.import_module(module)
except ModuleNotFoundError:
    module, _, kind = module.rpartition(".")
    owner = getattr(importlib.import_module(module), kind)
def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)
setattr(owner, name, die)
scope = make_scope(*[item or None for item in asked]) if asked else None
erase(open_home(Path(home)), scope, reason="request 4711", requested_by="x")
"""


@pytest.mark.parametrize("window", [False, True])
def test_killed_at_every_step_it_is_finished_by_running_again(town: Any, window: bool) -> None:
    pictures = town.lake.samples(TUESDAY, "/camera")["data"].to_pylist()
    going = pictures[5:9] if window else pictures
    _dataset(town, "city", TUESDAY)
    asked = [TUESDAY, str(T0 + 5 * SECOND), str(T0 + 9 * SECOND), ""] if window else [TUESDAY, "", "", ""]
    for number, point in enumerate(list(_KILLED_AT.values())[window::2]):
        command = [sys.executable, "-c", _CHILD, str(town.home.root), point, *(asked if number == 0 else [])]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=120, env=dict(os.environ))
        assert ended.returncode == -signal.SIGKILL, ended.stderr
        if not window:  # from the first step on nobody sees it
            assert TUESDAY not in [item.drive_id for item in town.lake.drives()]
    report = erase(town.home, None, reason="-", requested_by="x")
    assert report.finished == (1,)
    assert _grep(town.home.root, *(data[at : at + 40] for data in going for at in (100, 1500, 2500))) == []
    assert town.counts(MONDAY) == WHOLE
    if window:
        assert town.counts(TUESDAY) == (16, 16, 16, 16)
    else:
        assert _grep(town.home.root, TUESDAY.encode()) == []


def test_the_command_says_what_went_and_is_one_json_document(town: Any) -> None:
    command = [
        sys.executable,
        "-m",
        "platform_lib.cli",
        "erase",
        "--home",
        str(town.home.root),
        "--drive",
        TUESDAY,
        "--json",
    ]
    refused = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert refused.returncode == 1
    assert "no reason" in json.loads(refused.stdout)["error"]["what"]
    done = subprocess.run([*command, "--reason", "request 4711"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["files"], told["proof"]["files"]) == (1, [])
    assert [Path(path).name for path in told["logs_outside"]] == ["b.mcap"]
    shutil.rmtree(town.home.scratch, ignore_errors=True)


def test_raw_frames_have_a_retention_of_their_own(town: Any) -> None:
    def expire(days: int, *, dry_run: bool = False) -> tuple[int, int, int]:
        now_ns = T0 + 90 * 86_400 * SECOND + 5 * SECOND  # five frames of each of two drives are a day too old
        found = expire_raw(town.home, now_ns=now_ns, days=days, dry_run=dry_run)
        return found.frames, found.unblurred, found.kept

    old = town.lake.store.raw.rows([1, 2], columns=["data"], condition=f"timestamp_ns < {T0 + 5 * SECOND}")
    pieces = [data[100:140] for data in old["data"].to_pylist()]
    assert expire(90, dry_run=True) == (10, 0, 30)
    assert town.counts(MONDAY) == WHOLE
    assert len(_grep(town.home.lake, *pieces)) > 0
    assert expire(90) == (10, 0, 30)
    assert _grep(town.home.lake, *pieces) == []
    assert town.counts(MONDAY) == (COUNT, COUNT, COUNT, 15)  # every blurred frame is still there
    assert expire(90) == (0, 0, 30)
    assert check_lake(town.lake, digests=True).findings == ()
    with pytest.raises(ConfigError, match="cannot be kept"):
        expire(-1)
