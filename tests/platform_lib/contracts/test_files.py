"""A simulated drive against the shipped contracts: sound it keeps them, and each planted fault is found where it is."""

from __future__ import annotations

import shutil
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from mcap.reader import make_reader
from mcap.writer import CompressionType, Writer
from sqlalchemy import event, text

from platform_lib.catalog.committing import complete_drive
from platform_lib.catalog.model import ContractRun, DriveIdentity, FileKey, FoundFile
from platform_lib.contracts.admission import Admission, admit
from platform_lib.contracts.document import read_contracts
from platform_lib.contracts.files import check_files
from platform_lib.contracts.rules import rules_of
from platform_lib.contracts.state import check_home, recorded_state
from platform_lib.contracts.streams import refuse_missing_columns
from platform_lib.contracts.tables import check_lake
from platform_lib.errors import IntegrityError
from platform_lib.home import open_home
from platform_lib.lake.intake import FileStamp, LogJob, Place, ReadOptions, Taken, take_in
from platform_lib.lake.lake import Lake
from platform_lib.lake.tables import PACKED_SCHEMA
from platform_lib.manifest import Step
from platform_lib.storage import sha256_file

pytestmark = pytest.mark.slow

CONTRACTS = read_contracts(None)
Message = tuple[int, int, bytes]
"""Log time, publish time, payload."""
Change = Callable[[str, float, Message], Message | None]
CAMERA, LIDAR = "/camera/front/image/compressed", "/lidar/points"


def _stuck() -> Change:
    held: list[bytes] = []

    def change(topic: str, at_s: float, message: Message) -> Message:
        if topic != "/imu" or not 3.0 <= at_s < 4.0:
            return message
        held.append(message[2])
        return (*message[:2], message[2][:12] + held[0][12:])  # the stamp goes on, the values do not

    return change


def _stamp(message: Message, seconds: int) -> Message:
    (stamp,) = struct.unpack("<i", message[2][4:8])
    return (*message[:2], message[2][:4] + struct.pack("<i", stamp + seconds) + message[2][8:])


def _later(message: Message, log_ns: int, publish_ns: int) -> Message:
    return (message[0] + log_ns, message[1] + publish_ns, message[2])


# What is planted, contract, rule, what the sentence says of it.
FAULTS: list[tuple[str, str, str, str, Change]] = [
    ("gap", "ego-motion", "odometry.no_long_gap", ": 20", lambda t, s, m: None if t == "/odom" and 3 <= s < 5 else m),
    ("dropout", "camera-samples", "front_camera.few_dropouts", "percent", lambda t, s, m: None if t == CAMERA and round(s * 10) % 4 == 0 else m),
    ("skew", "camera-samples", "lidar.clock_agrees", "300 ms", lambda t, s, m: _later(m, 300_000_000, 0) if t == LIDAR else m),
    ("sync", "camera-samples", "lidar.in_step_with_the_camera", "15 ms", lambda t, s, m: _later(m, 15_000_000, 15_000_000) if t == LIDAR else m),
    ("stuck", "ego-motion", "imu.angular_velocity_z.not_stuck", "0.99 s", _stuck()),
    ("backwards", "ego-motion", "odometry.no_row_goes_back", "1 rows", lambda t, s, m: _stamp(m, -2) if t == "/odom" and 3.999 < s < 4.015 else m),
    ("range", "ego-motion", "route_command.command.in_range", "7 in data", lambda t, s, m: (*m[:2], m[2][:4] + b"\x07") if t == "/route/command" and s > 6 else m),
    ("no_lidar", "camera-samples", "lidar.present", "no stream /lidar/points", lambda t, s, m: None if t == LIDAR else m),
]  # fmt: skip


def _rewrite(source: Path, target: Path, change: Change, session: str) -> None:
    """Copy a simulated log with its messages changed, and a session of its own."""
    target.parent.mkdir()
    with source.open("rb") as read, target.open("wb") as write:
        reader, writer = make_reader(read), Writer(write, compression=CompressionType.NONE)
        summary = reader.get_summary()
        assert summary is not None
        assert summary.statistics is not None
        start_ns = summary.statistics.message_start_time
        writer.start(profile="ros2")
        for record in reader.iter_metadata():
            writer.add_metadata(record.name, {**record.metadata, "session": session})
        channels: dict[int, int] = {}
        for schema, channel, message in reader.iter_messages():
            changed = change(
                channel.topic,
                (message.log_time - start_ns) / 1e9,
                (message.log_time, message.publish_time, message.data),
            )
            if changed is None or schema is None:
                continue
            if channel.id not in channels:
                number = writer.register_schema(schema.name, schema.encoding, schema.data)
                channels[channel.id] = writer.register_channel(channel.topic, channel.message_encoding, number)
            writer.add_message(channels[channel.id], changed[0], changed[2], changed[1])
        writer.finish()


@dataclass(frozen=True)
class Held:
    """A lake of simulated drives, one fault each, and what contracts found of each drive."""

    lake: Lake
    runs: dict[str, list[ContractRun]]
    first: list[ContractRun]
    dbc: str


def _take(lake: Lake, path: Path, dbc: str | None = None) -> None:
    key = FileKey(sha256_file(path), "1", 1, "0")
    lake.catalog.note_files([FoundFile(key, path.stat().st_size, (str(path),))])
    (ingest_id,) = lake.catalog.begin([key])
    place = Place(lake.store.signals_data, lake.store.samples_uri)
    options = ReadOptions(dbc=() if dbc is None else (dbc,))
    taken = take_in(LogJob(ingest_id, path, key, FileStamp.of(path)), options, place)
    assert isinstance(taken, Taken)
    lake.catalog.commit(lake.store.append([taken.written]), [taken.record])


def _by_session(lake: Lake) -> dict[str, list[ContractRun]]:
    drives = {item.drive_id: item.session for item in lake.drives()}
    ids = {item.ingest_id: drives[item.drive_id] for item in lake.catalog.view().ingests}
    found: dict[str, list[ContractRun]] = {}
    for run in lake.catalog.contract_runs(ingest_ids=list(ids)):
        found.setdefault(ids[run.ingest_id or 0], []).append(run)
    return found


@pytest.fixture(scope="module")
def held() -> Iterator[Held]:
    import tempfile

    from platform_lib.scenario.can_bus import DBC_PATH
    from platform_lib.scenario.drive_files import write_drive
    from platform_lib.scenario.model import DriveSpec

    with tempfile.TemporaryDirectory(prefix="drivetrain-test-", ignore_cleanup_errors=True) as made:
        folder = Path(made)
        folder.chmod(0o711)
        start_ns = 1_780_300_800_000_000_000
        spec = DriveSpec(11, "dt-001", "sound", start_ns, duration_s=8.0, weather="clear", event="cruise")
        write_drive(spec, folder / "drive", folder / "truth.parquet")
        with Lake.open(open_home(folder / "home")) as lake:
            lake.store.create()
            _take(lake, folder / "drive" / "can.mf4", str(DBC_PATH))
            _take(lake, folder / "drive" / "sensors.mcap")
            for name, *_, change in FAULTS:
                _rewrite(folder / "drive" / "sensors.mcap", folder / name / "sensors.mcap", change, name)
                _take(lake, folder / name / "sensors.mcap")
            first = check_files(lake, CONTRACTS)
            yield Held(lake, _by_session(lake), first, str(DBC_PATH))


def _errors(runs: list[ContractRun]) -> dict[tuple[str, str], str]:
    return {(run.contract_id, item.rule): item.sentence for run in runs for item in run.findings if item.is_error}


def test_a_simulated_drive_keeps_every_contract(held: Held) -> None:
    runs = held.runs["sound"]
    assert {
        (run.contract_id, item.sentence) for run in runs for item in run.findings if item.severity == "error"
    } == set()
    bound = {run.contract_id: len(run.figures) for run in runs if run.figures}
    assert set(bound) == {"camera-samples", "drives", "ego-motion", "vehicle-signals"}
    assert bound["vehicle-signals"] > 100


@pytest.mark.parametrize(
    ("name", "contract", "rule", "said"), [fault[:4] for fault in FAULTS], ids=[fault[0] for fault in FAULTS]
)
def test_a_planted_fault_is_an_error_with_its_figure_and_place(
    held: Held, name: str, contract: str, rule: str, said: str
) -> None:
    errors = _errors(held.runs[name])
    assert (contract, rule) in errors, errors
    assert said in errors[contract, rule]
    assert len({key[0] for key in errors}) == 1, "no other contract is broken by it"


def test_a_file_is_checked_once_for_each_content_of_a_contract(held: Held) -> None:
    assert check_files(held.lake, CONTRACTS) == []
    changed = [
        type(item)(item.document, "f" * 64, item.path) if item.id == "ego-motion" else item for item in CONTRACTS
    ]
    again = check_files(held.lake, changed)
    assert {run.contract_id for run in again} == {"ego-motion"}
    assert len(check_files(held.lake, CONTRACTS)) == len(again)
    assert len(check_files(held.lake, CONTRACTS, again=True)) == len(held.first)


def test_a_drive_with_an_error_stays_out_and_says_why(held: Held) -> None:
    admission: Admission = admit(held.lake, CONTRACTS, held.lake.drives())
    assert {item.session for item in admission.drives} == {"sound"}
    assert "odometry.no_long_gap" in admission.left_out["dt-001_gap"]
    assert admission.uncovered == {f"dt-001_{name}" for name, *_ in FAULTS}, "they lack their bus"
    evidence = admission.evidence(["dt-001_sound"], [])
    assert (evidence.drives, evidence.uncovered, len(evidence.left_out)) == (1, (), len(FAULTS))
    assert sum(item.errors for item in evidence.contracts) == 0
    assert {item.level for item in evidence.contracts} == {"file", "lake"}


def test_one_contract_alone_cannot_tell_who_lacks_files(held: Held) -> None:
    home = open_home(held.lake.store.signals_folder.parents[1])
    alone = check_home(home, contract_id="drives", drive_ids=None, dataset=None, again=False)
    assert alone.uncovered is None
    every = check_home(home, contract_id=None, drive_ids=None, dataset=None, again=False)
    assert every.uncovered is not None
    assert len(every.uncovered) == len(FAULTS)


def test_the_runs_on_datasets_that_lie_there_are_told(held: Held) -> None:
    home = open_home(held.lake.store.signals_folder.parents[1])
    step = Step("dataset", inputs={}, config={}, modules=())
    (home.datasets / "small").mkdir(parents=True)
    step.finish(home.datasets / "small" / "manifest.json", {})
    contract = next(item for item in CONTRACTS if item.id == "dataset-samples")
    figures = {rule.id: 0.0 for rule in rules_of(contract)}
    (run,) = check_lake(held.lake, CONTRACTS)
    run = replace(
        run,
        contract_id=contract.id,
        contract_version=contract.version,
        contract_sha256=contract.sha256,
        artefact_sha256=step.sha256,
        figures=figures,
        findings=(),
    )
    held.lake.catalog.record_contract_runs([run])
    for state in (
        recorded_state(home),
        check_home(home, contract_id=None, drive_ids=None, dataset=None, again=False),
    ):
        (found,) = (item for item in state.contracts if item.contract_id == "dataset-samples")
        assert len(found.rows) == len(figures) > 10
        assert {row.where for row in found.rows} == {"dataset small"}
    shutil.rmtree(home.datasets / "small")
    (found,) = (item for item in recorded_state(home).contracts if item.contract_id == "dataset-samples")
    assert found.rows == ()


def test_views_are_asked_in_sql_and_a_rule_that_cannot_be_asked_fails(held: Held) -> None:
    from copy import deepcopy

    (run,) = check_lake(held.lake, CONTRACTS)
    assert run.count("error") == run.count("error", "not_run") == 0
    assert run.count("warning") >= 1, "few drives of each weather"
    drives = next(item for item in CONTRACTS if item.id == "drives")
    document = deepcopy(drives.document)
    view = next(item for item in document.schema_ or () if item.name == "drives")
    rules = view.quality or []
    rules[0].type, rules[0].metric, rules[0].query = "sql", None, "SELECT no_such_column FROM drives"
    (view.properties or [])[0].name = "driver_id"
    (broken,) = check_lake(held.lake, [type(drives)(document, "e" * 64, drives.path)])
    said = {item.rule: item.sentence for item in broken.findings if item.is_error}
    assert "no_such_column" in said["drives.there_are_drives"]
    assert "drives.driver_id.present" in said
    assert not any(name.startswith("drives.driver_id.") and "present" not in name for name in broken.figures)


def test_a_file_that_lacks_a_column_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    whole, lacking = tmp_path / "whole.parquet", tmp_path / "lacking.parquet"
    pq.write_table(PACKED_SCHEMA.empty_table(), whole)
    pq.write_table(pa.Table.drop_columns(PACKED_SCHEMA.empty_table(), ["unit"]), lacking)
    refuse_missing_columns([str(whole)])
    with pytest.raises(IntegrityError, match="unit"):
        refuse_missing_columns([str(whole), str(lacking)])


def test_a_changed_unit_and_type_are_errors(held: Held) -> None:
    from copy import deepcopy

    signals = next(item for item in CONTRACTS if item.id == "vehicle-signals")
    document: Any = deepcopy(signals.document)
    column = next(item for item in document.schema_[0].properties if item.name == "WheelSpeedRearLeft")
    column.customProperties[0].value, column.physicalType = "m/s", "float"
    runs = check_files(held.lake, [type(signals)(document, "d" * 64, signals.path)], drive_ids=["dt-001_sound"])
    said = {item.rule: item.sentence for run in runs for item in run.findings if item.is_error}
    assert said["wheel_speeds.WheelSpeedRearLeft.unit"].startswith("wheel_speeds.WheelSpeedRearLeft.unit: km/h")
    assert "double" in said["wheel_speeds.WheelSpeedRearLeft.type"]


def test_an_ingest_reads_of_a_checked_lake_neither_files_nor_rows_of_the_catalogue(
    held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_files(held.lake, CONTRACTS)
    opened: list[object] = []
    monkeypatch.setattr(type(held.lake.store), "partitioned_files", lambda *args, **named: opened.append(args) or [])
    rows = 0

    def count(*args: Any) -> None:
        nonlocal rows
        rows += max(args[1].rowcount, 0)

    event.listen(held.lake.catalog.engine, "after_cursor_execute", count)
    try:
        assert check_files(held.lake, CONTRACTS) == []
    finally:
        event.remove(held.lake.catalog.engine, "after_cursor_execute", count)
    assert rows == 0, "rows of the catalogue were read"
    assert opened == []


def test_a_file_whose_drive_gets_a_vehicle_later_is_checked_by_its_contracts(held: Held) -> None:
    """A log of a folder names no vehicle; another one of that drive does, and binds both."""
    check_files(held.lake, CONTRACTS)
    (ingest_id, drive_id), *_ = [(item.ingest_id, item.drive_id) for item in held.lake.catalog.view().ingests]
    with held.lake.catalog.engine.begin() as connection:
        before = connection.execute(
            text("SELECT vehicle FROM drives WHERE drive_id = :d"), {"d": drive_id}
        ).scalar_one()
        connection.execute(text("UPDATE drives SET vehicle = NULL WHERE drive_id = :d"), {"d": drive_id})
        connection.execute(text("DELETE FROM contract_runs WHERE ingest_id = :i"), {"i": ingest_id})
        identity = DriveIdentity(drive_id, before, "s")
        complete_drive(connection, identity)
    assert {run.ingest_id for run in check_files(held.lake, CONTRACTS)} == {ingest_id}
