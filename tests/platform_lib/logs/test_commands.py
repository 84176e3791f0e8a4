from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from typer.main import get_command
from typer.testing import CliRunner

from platform_lib.errors import CorruptLog
from platform_lib.logs.commands import app


def run(*arguments: object) -> str:
    result = CliRunner().invoke(app, list(map(str, arguments)), catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


def test_info_describes_streams_and_health(mcap_maker: Any) -> None:
    path = mcap_maker.write()
    document = json.loads(run("info", path, "--json"))
    assert {stream["name"]: stream["rows"] for stream in document["streams"]} == {"/a": 80, "/b": 40}
    assert document["metadata"]["vehicle"] == "dt-001"
    assert document["report"]["recovered"] is False
    shown = run("info", path)
    assert "/a" in shown
    assert "sound" in shown


def test_info_refuses_a_damaged_log_and_recovers_on_request(mcap_maker: Any) -> None:
    path = mcap_maker.write(enable_data_crcs=False)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(CorruptLog):
        run("info", path, "--json")
    document = json.loads(run("info", path, "--recover", "--json"))
    assert document["report"]["recovered"] is True
    assert "DAMAGED" in run("info", path, "--recover")


def test_head_shows_the_first_rows(mcap_maker: Any) -> None:
    path = mcap_maker.write()
    rows = json.loads(run("head", path, "/a", "-n", 2, "--json"))["rows"]
    assert [row["timestamp_ns"] for row in rows] == [7, 3_000_007]
    assert "blob" in rows[0]
    raw = json.loads(run("head", path, "/a", "-n", 1, "--raw", "--json"))["rows"]
    assert list(raw[0]) == ["timestamp_ns", "publish_ns", "data"]
    assert "2 of 80 rows" in run("head", path, "/a", "-n", 2)


def test_export_writes_what_is_read(mcap_maker: Any, tmp_path: Path) -> None:
    path = mcap_maker.write()
    out = tmp_path / "out"
    written = json.loads(run("export", path, "--out", out, "--json"))["written"]
    assert [entry["rows"] for entry in written] == [80, 40]
    table = pq.read_table(out / "a.parquet")
    assert table.num_rows == 80
    assert {"header", "path", "size"} <= set(table.schema.names)
    run("export", path, "/b", "--raw", "--out", out)
    assert pq.read_schema(out / "b.parquet").names == ["timestamp_ns", "publish_ns", "data"]
    assert not [item for item in out.iterdir() if item.name.startswith(".tmp-")]


def test_names_that_are_no_text_are_read_and_written(mcap_maker: Any, tmp_path: Path) -> None:
    odd = os.fsdecode(b"caf\xff \x1b[31m [bold]")
    path = mcap_maker.write().rename(tmp_path / f"{odd}.mcap")
    command = [sys.executable, "-m", "platform_lib.cli", "log", "info", path]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "caf\\udcff \\x1b[31m [bold].mcap" in shown
    assert len(json.loads(run("info", path, "--json"))["streams"]) == 2
    written = json.loads(run("export", path, "/a", "--out", tmp_path / odd, "--json"))["written"]
    assert Path(written[0]["path"]).is_file()


def test_the_three_commands_share_what_says_how_a_log_is_read() -> None:
    shared = {"--dbc", "--arxml", "--recover", "--timezone", "--json"}
    for command in get_command(app).commands.values():  # type: ignore[attr-defined]  # a group has them
        assert shared <= {name for parameter in command.params for name in parameter.opts}, command.name
        assert command.params[0].name == "file"
        assert command.help


def test_export_of_a_log_that_breaks_while_read_leaves_nothing(mcap_maker: Any, tmp_path: Path) -> None:
    path = mcap_maker.write()
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(CorruptLog):
        run("export", path, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()
