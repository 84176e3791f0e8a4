"""A signal changes its unit or its type, a topic its definition: quarantine or a new version, and never a silent cast."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from mcap.writer import CompressionType, Writer
from sqlalchemy import create_engine, text
from typer.testing import CliRunner

from platform_lib.contracts.document import HOME_FOLDER, PRODUCTS, SUFFIX
from platform_lib.datasets.mixed_units import mixed_units
from platform_lib.erasure.erasing import erase
from platform_lib.erasure.scope import make_scope
from platform_lib.errors import ContractError
from platform_lib.home import Home, open_home
from platform_lib.lake.lake import Lake
from platform_lib.scenario.can_bus import DBC_PATH
from platform_lib.scenario.drive_files import write_drive
from platform_lib.scenario.model import DriveSpec
from ray_jobs.commands.quarantine import app
from ray_jobs.dataset import build_dataset
from ray_jobs.ingest import ingest, reprocess
from ray_jobs.ingest_report import IngestReport
from ray_jobs.mending import check
from ray_jobs.session import local_ray

pytestmark = [
    pytest.mark.slow,
    # Ray leaves some of its own files and sockets to the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

_CDR = b"\x00\x01\x00\x00"
_DOUBLE = ("float64 data", struct.pack("<d", 1.0))
_MORE = ("float64 data # metres a second\nfloat64 accuracy", struct.pack("<dd", 1.0, 0.1))
_FLOAT = ("float32 data", struct.pack("<f", 1.0))
_TEXT = ("string data", struct.pack("<I", 2) + b"a\0")


@pytest.fixture(scope="module")
def _ray(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with local_ray(open_home(tmp_path_factory.mktemp("ray") / "ray"), cpus=2):
        yield


@pytest.fixture
def home(reachable_tmp: Path, _ray: None) -> Iterator[Home]:
    opened = open_home(reachable_tmp / "home")
    with Lake.open(opened):
        yield opened


def _log(path: Path, definition: tuple[str, bytes], vehicle: str | None, *, topic: str = "/speed") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as stream:
        writer = Writer(stream, compression=CompressionType.NONE)
        writer.start(profile="ros2")
        if vehicle is not None:
            told = {"vehicle": vehicle, "session": path.parent.name, "pii_state": "none_present"}
            writer.add_metadata("drive", told)
        number = writer.register_schema("team_msgs/msg/Speed", "ros2msg", definition[0].encode())
        channel = writer.register_channel(topic, "cdr", number)
        for i in range(5):
            at = 1000 + i + hash_of(path)
            writer.add_message(channel, at, _CDR + definition[1], at)
        writer.finish()
    return path


def hash_of(path: Path) -> int:
    """A number of each path, so that no two logs have the same content."""
    return int.from_bytes(path.parent.name.encode()[-6:], "big") % 100_000


def _held(report: IngestReport) -> list[tuple[str, str, str | None]]:
    return [(item.kind, item.reason, item.remedy) for item in report.quarantined]


def _versions(home: Home) -> dict[str, tuple[str | None, int | None]]:
    with Lake.open(home) as lake:
        rows = lake.query("SELECT drive_id, schema_scope, schema_version FROM streams WHERE kept_as <> 'nothing'").table
    return {row["drive_id"]: (row["schema_scope"], row["schema_version"]) for row in rows.to_pylist()}


def test_a_topic_that_changes_its_definition(home: Home, reachable_tmp: Path) -> None:
    logs = reachable_tmp / "logs"
    assert _held(ingest(home, [_log(logs / "s1" / "a.mcap", _DOUBLE, "v")])) == []
    more = ingest(home, [_log(logs / "s2" / "a.mcap", _MORE, "v")])
    assert (more.ingested, list(more.schema_changes.values())) == (
        1,
        [("/speed: version 2 of vehicle:v (compatible): accuracy: is new (double, unit none)",)],
    )
    narrowed = _log(logs / "s3" / "a.mcap", _FLOAT, "v")
    report = ingest(home, [logs])
    ((kind, reason, remedy),) = _held(report)
    assert kind == "ChangedSchema"
    assert reason == ("stream '/speed' is not what it was (vehicle:v, version 2): data: type double, now float")
    assert "--accept-schema" in str(remedy)
    # The same topic of another vehicle, and of nobody's: other streams, each taken in as it is.
    others = [_log(logs / "w1" / "a.mcap", _FLOAT, "w"), _log(logs / "nobody1" / "a.mcap", _TEXT, None)]
    others.append(_log(logs / "nobody2" / "a.mcap", _FLOAT, None))
    assert (ingest(home, others).ingested, len(ingest(home, [logs]).quarantined)) == (3, 1)
    assert _versions(home) == {
        "v_s1": ("vehicle:v", 1),
        "v_s2": ("vehicle:v", 2),
        "w_w1": ("vehicle:w", 1),
        "nobody1": (None, None),
        "nobody2": (None, None),
    }
    assert check(home).clean, "nothing of the refused log is left"
    assert CliRunner().invoke(app, ["retry", str(narrowed), "--home", str(home.root)]).exit_code == 1
    answer = CliRunner().invoke(app, ["retry", str(narrowed), "--accept-schema", "--home", str(home.root), "--json"])
    assert answer.exit_code == 0, answer.output
    told = json.loads(answer.stdout)["schema_changes"]
    assert list(told.values()) == [
        ["/speed: version 3 of vehicle:v (accepted): data: type double, now float; accuracy: is no longer there"]
    ]
    late = [_log(logs / "s4" / "a.mcap", _FLOAT, "v"), _log(logs / "s5" / "a.mcap", _DOUBLE, "v")]
    assert ingest(home, late).ingested == 2, "what is known is taken in, the old and the new"
    found = _versions(home)
    assert {name: found[f"v_{name}"][1] for name in ("s3", "s4", "s5")} == {"s3": 3, "s4": 3, "s5": 1}
    with Lake.open(home) as lake:
        rows = lake.query(
            "SELECT DISTINCT schema_version, cause FROM schemas WHERE schema_scope = 'vehicle:v' ORDER BY ALL"
        ).table
    assert rows.to_pylist() == [
        {"schema_version": 1, "cause": "first"},
        {"schema_version": 2, "cause": "compatible"},
        {"schema_version": 3, "cause": "accepted"},
    ]


def test_a_log_that_is_read_again_is_not_refused_for_how_it_is_read_now(home: Home, reachable_tmp: Path) -> None:
    log = _log(reachable_tmp / "logs" / "s1" / "a.mcap", _DOUBLE, "v")
    ingest(home, [log])
    with Lake.open(home) as lake:
        engine = create_engine(lake.store.database_uri)
        with engine.begin() as connection:
            connection.execute(text("UPDATE ingests SET reader_version = '1'"))
            connection.execute(
                text("UPDATE stream_schemas SET fields = CAST(:f AS JSONB), sha256 = 'x'"),
                {"f": json.dumps([["data", "double", "mph"]])},
            )
        engine.dispose()
    report = reprocess(home)
    assert (report.ingested, report.left, _held(report)) == (1, {}, [])
    assert list(report.schema_changes.values()) == [
        ("/speed: version 2 of vehicle:v (reader): data: unit mph, now none",)
    ]
    assert _scopes(home) == {"vehicle:v"}
    ingest(home, [_log(reachable_tmp / "logs" / "w1" / "a.mcap", _DOUBLE, "w")])
    erase(home, make_scope("v_s1", None, None, None), reason="request 1", requested_by="x")
    assert _scopes(home) == {"vehicle:w"}, "the name of a vehicle without drives is forgotten"


def _scopes(home: Home) -> set[str]:
    with Lake.open(home) as lake:
        return set(lake.query("SELECT schema_scope FROM schemas").table["schema_scope"].to_pylist())


def test_a_field_that_a_contract_promises(home: Home, reachable_tmp: Path) -> None:
    logs, topic = reachable_tmp / "logs", "/route/command"
    wrong = _log(logs / "s0" / "a.mcap", _DOUBLE, "dt-001", topic=topic)
    ((_, reason, _),) = _held(ingest(home, [wrong]))
    assert reason.endswith("(contract:ego-motion): data: type double, contract ego-motion 1.0.0 says uint8")
    one, two = ("uint8 data", b"\x01"), ("uint8 data\nuint8 spare", b"\x01\x01")
    assert ingest(home, [_log(logs / "s1" / "a.mcap", one, "dt-001", topic=topic)]).ingested == 1
    assert ingest(home, [_log(logs / "s2" / "a.mcap", two, "dt-002", topic=topic)]).ingested == 1
    assert ingest(home, [_log(logs / "s3" / "a.mcap", one, "dt-003", topic=topic)]).ingested == 1, "an older version"
    without = _log(logs / "s4" / "a.mcap", ("uint8 spare", b"\x01"), "dt-003", topic=topic)
    ((kind, reason, _),) = _held(ingest(home, [without]))
    assert kind == "ChangedSchema"
    assert (
        "(contract:ego-motion, version 2): data: is no longer there, and contract ego-motion 1.0.0 promises" in reason
    )
    assert _versions(home) == {f"dt-00{n}_s{n}": ("contract:ego-motion", v) for n, v in ((1, 1), (2, 2), (3, 1))}


def _bus(folder: Path, vehicle: str, session: str) -> Path:
    spec = DriveSpec(11, vehicle, session, 1_780_300_800_000_000_000, duration_s=2.0, weather="clear", event="cruise")
    folder.mkdir(exist_ok=True)
    write_drive(spec, folder / session, folder / f"{session}.parquet")
    (folder / session / "sensors.mcap").unlink()
    return folder / session


def _database(folder: Path, unit: str) -> str:
    path = folder / f"{unit.replace('/', '')}.dbc"
    path.write_bytes(DBC_PATH.read_bytes().replace(b'"km/h"', f'"{unit}"'.encode()))
    return str(path)


def test_a_signal_that_changes_its_unit_against_the_contract(home: Home, reachable_tmp: Path) -> None:
    logs = reachable_tmp / "logs"
    mph = _database(reachable_tmp, "mph")
    first = _bus(logs, "dt-001", "s1")
    ((kind, reason, _),) = _held(ingest(home, [first], dbc=[mph]))
    assert kind == "ChangedSchema"
    assert "(contract:vehicle-signals)" in reason
    assert "WheelSpeedFrontLeft: unit mph, contract vehicle-signals 1.0.0 says km/h" in reason
    assert ingest(home, [first], dbc=[str(DBC_PATH)]).ingested == 1
    # Another vehicle of the same contract, so the same scope.
    second = _bus(logs, "dt-002", "s2")
    ((_, reason, _),) = _held(ingest(home, [second], dbc=[mph]))
    assert "(contract:vehicle-signals, version 1): WheelSpeedFrontLeft: unit km/h, now mph" in reason
    own = home.root / HOME_FOLDER / f"vehicle-signals{SUFFIX}"
    own.parent.mkdir(exist_ok=True)
    shipped = (PRODUCTS / own.name).read_text()
    own.write_text(shipped.replace("value: km/h", "value: mph").replace("version: 1.0.0", "version: 2.0.0"))
    report = ingest(home, [second], dbc=[mph])
    assert report.ingested == 1, "the contract states the new unit"
    assert any(
        "(contract): WheelSpeedFrontLeft: unit km/h, now mph, as contract vehicle-signals 2.0.0 states" in sentence
        for told in report.schema_changes.values()
        for sentence in told
    )


def test_a_dataset_does_not_mix_units_unasked(home: Home, reachable_tmp: Path) -> None:
    logs = reachable_tmp / "logs"
    ingest(home, [_bus(logs, "x-1", "s1")], dbc=[str(DBC_PATH)])
    second = _bus(logs, "x-1", "s2")
    assert len(_held(ingest(home, [second], dbc=[_database(reachable_tmp, "mph")]))) == 1
    with Lake.open(home) as lake:
        assert mixed_units(lake, {item.drive_id for item in lake.drives()}) == []
    retried = CliRunner().invoke(app, ["retry", "--all", "--accept-schema", "--home", str(home.root)])
    assert retried.exit_code == 0, retried.output
    with Lake.open(home) as lake:
        found = mixed_units(lake, {item.drive_id for item in lake.drives()})
        assert [(item.stream, item.signal) for item in found] == [
            ("CAN1/Powertrain", "VehicleSpeed"),
            ("CAN1/WheelSpeeds", "WheelSpeedRearLeft"),
            ("CAN1/WheelSpeeds", "WheelSpeedRearRight"),
        ]
        assert found[0].drives == {"km/h": ("x-1_s1",), "mph": ("x-1_s2",)}
        assert mixed_units(lake, {"x-1_s1"}) == []
    with pytest.raises(ContractError, match=r"km/h in 1 drives .* mph in 1 drives.*--mixed-units"):
        build_dataset(home, "d")
    with pytest.raises(ContractError, match="a split needs at least 3"):
        build_dataset(home, "d", mix_units=True)
