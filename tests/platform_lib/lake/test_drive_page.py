"""One drive for people, and rows written to files."""

from __future__ import annotations

import csv
import json
import struct
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from mcap.writer import CompressionType, Writer
from typer.testing import CliRunner

from platform_lib.cli import app
from platform_lib.home import Home, open_home
from platform_lib.lake.drive_page import _place
from platform_lib.lake.lake import Lake
from platform_lib.lake.route import route_of
from ray_jobs.ingest import ingest

pytestmark = [
    pytest.mark.slow,
    # Ray leaves some of its own files and sockets to the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
_CDR = b"\x00\x01\x00\x00"


def _write(path: Path, session: str | None, positions: list[tuple[float, float]], start_ns: int = 1000) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as stream:
        writer = Writer(stream, compression=CompressionType.NONE)
        writer.start(profile="ros2")
        if session is None:
            writer.add_metadata("drive", {"comment": "first line\r\n\tsecond line\n" + "long " * 60})
        else:
            writer.add_metadata("drive", {"vehicle": "v", "session": session, "pii_state": "none_present"})
        schema = writer.register_schema("a/msg/Fix", "ros2msg", b"float64 latitude\nfloat64 longitude")
        channel = writer.register_channel("/fix", "cdr", schema)
        for number, position in enumerate(positions):
            writer.add_message(channel, start_ns + number, _CDR + struct.pack("<dd", *position), start_ns + number)
        writer.finish()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    import tempfile

    folder = Path(tempfile.mkdtemp(prefix="drivetrain-test-"))
    folder.chmod(0o755)
    # A thousandth of a degree is 111 m; the second fix is that of a receiver without one.
    _write(folder / "a" / "a.mcap", "north", [(50.0, 7.0), (0.0, 0.0), (50.001, 7.0), (50.002, 7.0)])
    _write(folder / "b" / "b.mcap", "nowhere", [(0.0, 0.0), (float("nan"), 1.0)])
    made = open_home(folder / "home")
    for name, day in (("old", 10_000), ("new", 20_000)):
        _write(folder / "heap" / f"{name}.mcap", None, [(10.0, 7.0), (10.001, 7.0)], day * 86_400_000_000_000)
    (folder / "links").mkdir()
    (folder / "links" / "b.mcap").symlink_to(folder / "b" / "b.mcap")
    ingest(made, [folder / "a", folder / "links", folder / "heap"], cpus=1)
    return made


def test_a_route_is_made_of_known_positions(home: Home) -> None:
    with Lake.open(home) as lake:
        route = route_of(lake, "v_north")
        assert route is not None
        assert (route.stream, len(route.north_m)) == ("/fix", 3)
        assert route.length_m == pytest.approx(222.6, abs=0.1)
        assert route.east_m.tolist() == [0.0, 0.0, 0.0]
        assert route_of(lake, "v_nowhere") is None


def test_one_drive_is_shown_by_its_id_or_session(home: Home) -> None:
    def run(*arguments: str) -> str:
        result = CliRunner().invoke(app, ["drives", *arguments, "--home", str(home.root)], catch_exceptions=False)
        assert result.exit_code == 0
        return result.stdout

    assert "0.22 km, 0 m from west to east, 223 m from south to north" in run("v_north")
    assert "no log of it says where it was" in run("nowhere")
    told = json.loads(run("north", "--json"))
    assert (told["drive_id"], told["route"]["positions"]) == ("v_north", 3)
    assert [item["stream"] for item in told["stream_list"]] == ["/fix"]
    assert {"v_north", "v_nowhere"} <= {
        line.split()[0] for line in run().splitlines()
    }  # by the name that `erase` takes
    with pytest.raises(Exception, match="no drive 'south'"):
        run("south")


def test_a_folder_whose_logs_lie_years_apart_is_shown_as_recordings_with_a_warning(home: Home) -> None:
    def run(*arguments: str) -> str:
        return CliRunner().invoke(app, ["drives", *arguments, "--home", str(home.root)], catch_exceptions=False).stdout

    listed = run()
    assert "0.0 in 2 recordings *" in listed
    assert "* heap: no log names its vehicle and session" in listed
    assert "27.4 years" in listed
    page = run("heap")
    assert "note: no log names its vehicle" in page
    assert "from 1997-05-19 00:00:00 UTC" in page
    assert "from 2024-10-04 00:00:00 UTC" in page
    assert "864,000,000.00" not in page, "a time that counts from another recording"
    told = next(item for item in json.loads(run("--json"))["drives"] if item["drive_id"] == "heap")
    assert (told["recordings"], told["recorded_s"]) == (2, 4e-9)
    assert told["doubt"].startswith("no log names")


def test_a_comment_of_several_lines_is_one_cut_line_and_a_size_is_never_nought(home: Home) -> None:
    page = CliRunner().invoke(app, ["drives", "heap", "--home", str(home.root)], catch_exceptions=False).stdout
    head = page.splitlines()[0]
    assert head.startswith("heap: comment=first line second line long long")
    assert head.endswith("…")
    assert "0.0 MB" not in page
    assert "bytes" in page or "kB" in page


def test_a_log_behind_a_link_is_called_as_it_was_named(home: Home) -> None:
    page = CliRunner().invoke(app, ["drives", "nowhere", "--home", str(home.root)], catch_exceptions=False).stdout
    assert "links/b.mcap" in page


def test_a_log_and_its_copies_are_one_place_and_how_many_more() -> None:
    assert _place(("/logs/sensors.mcap",)) == "/logs/sensors.mcap"
    copies = ("/logs/a/copy of can.mf4", "/logs/a/can.mf4", "/logs/b/can (1).mf4")
    assert _place(copies) == "/logs/a/can.mf4 and 2 more of the same content"


@pytest.mark.parametrize("suffix", ["parquet", "csv", "jsonl"])
def test_all_rows_of_a_query_go_into_a_file(home: Home, tmp_path: Path, suffix: str) -> None:
    out = tmp_path / f"rows.{suffix}"
    sql = "SELECT drive_id, [value] v FROM signals WHERE value BETWEEN 40 AND 90 ORDER BY timestamp_ns"
    asked = ["query", sql, "--out", str(out), "--limit", "1", "--home", str(home.root), "--json"]
    result = CliRunner().invoke(app, asked, catch_exceptions=False)
    assert json.loads(result.stdout)["row_count"] == 3
    if suffix == "parquet":
        rows = pq.read_table(out).to_pylist()
    elif suffix == "csv":
        with out.open(newline="") as stream:
            rows = [{**row, "v": json.loads(row["v"])} for row in csv.DictReader(stream)]
    else:
        rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert rows == [{"drive_id": "v_north", "v": [value]} for value in (50.0, 50.001, 50.002)]


def test_a_form_that_nobody_knows_is_refused(home: Home, tmp_path: Path) -> None:
    asked = ["query", "SELECT 1", "--out", str(tmp_path / "rows.xlsx"), "--home", str(home.root)]
    with pytest.raises(Exception, match="no form"):
        CliRunner().invoke(app, asked, catch_exceptions=False)
    assert not (tmp_path / "rows.xlsx").exists()
