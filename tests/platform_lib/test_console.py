from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from datetime import UTC, datetime
from decimal import Decimal
from io import StringIO
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest
from rich.console import Console

from platform_lib import console
from platform_lib.console import print_error, print_json, progress
from platform_lib.errors import ConfigError


@pytest.fixture(autouse=True)
def _plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "ERR", Console(stderr=True, soft_wrap=True, emoji=False, no_color=True))


def test_an_error_for_people_goes_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    print_error(ConfigError("misspelt", where="a.yaml", remedy="mend it"), as_json=False)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "error misspelt\n  where:  a.yaml\n  remedy: mend it\n"


def test_what_stands_in_names_is_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    print_error(ConfigError("[/red] in [bold]x[/] :key:", where="[/a]/:smile:", remedy="'.[data]'"), as_json=False)
    err = capsys.readouterr().err
    assert "[/red] in [bold]x[/] :key:" in err
    assert "[/a]/:smile:" in err
    assert "'.[data]'" in err


def test_a_name_from_a_file_cannot_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    print_error(ConfigError("two\nlines \x1b[2J", where="a\nerror b\u202e", remedy="\x9b"), as_json=False)
    err = capsys.readouterr().err
    assert err == "error two\nlines \\x1b[2J\n  where:  a\\nerror b\\u202e\n  remedy: \\x9b\n"


def test_an_error_for_machines_is_one_document(capsys: pytest.CaptureFixture[str]) -> None:
    print_error(ConfigError("misspelt", where="a.yaml"), as_json=True)
    captured = capsys.readouterr()
    assert captured.err == ""
    expected = {"kind": "ConfigError", "what": "misspelt", "where": "a.yaml", "remedy": None}
    assert json.loads(captured.out) == {"error": expected}


def test_json_writes_array_scalars_as_numbers_and_times_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"n": np.int64(3), "x": np.float32(0.5), "yes": np.True_, "at": datetime(2026, 6, 1, tzinfo=UTC)})
    document = json.loads(capsys.readouterr().out)
    assert document == {"n": 3, "x": 0.5, "yes": True, "at": "2026-06-01 00:00:00+00:00"}
    print_json({"sum": Decimal("1e30"), "labels": MappingProxyType({"weather": "rain"})})
    assert json.loads(capsys.readouterr().out) == {"sum": "1E+30", "labels": {"weather": "rain"}}


@pytest.mark.parametrize("value", [{1, 2}, object(), np.zeros(2), np.float32("nan")])
def test_what_has_no_form_in_json_is_refused(value: object) -> None:
    with pytest.raises((TypeError, ValueError)):
        print_json({"value": value})


def test_json_takes_paths_and_refuses_what_is_no_number(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"path": Path("a"), "name": "caf\udce9"})
    assert json.loads(capsys.readouterr().out) == {"path": "a", "name": "caf\udce9"}
    with pytest.raises(ValueError, match="JSON compliant"):
        print_json({"loss": float("nan")})


def test_progress_goes_to_standard_error_and_counts(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("reading logs", 2) as task:
        task.advance(note="first")
        task.advance()
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "reading logs" in captured.err
    assert "2/2" in captured.err


def test_a_total_may_be_known_late_and_nothing_is_cut(capsys: pytest.CaptureFixture[str]) -> None:
    note = "files, 1,234,567 rows, 3 quarantined, the last [red] one of a rather long name\x1b[2J.mcap"
    with progress("ingest", None) as task:
        assert task.line == "  ingest 0/? 0:00:00"
        task.expect(8)
        task.advance(3, note=note)
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "ingest 3/8" in err
    assert err.rstrip("\n").endswith("[red] one of a rather long name\\x1b[2J.mcap")


def test_a_terminal_of_eighty_columns_shows_the_whole_line(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = StringIO()
    terminal = Console(file=shown, width=80, force_terminal=True, no_color=True, soft_wrap=True)
    monkeypatch.setattr(console, "ERR", terminal)
    words = "1,234,567 rows, 3 quarantined, and many more words than eighty columns hold"
    with progress("training a recipe", 1200) as task:
        task.advance(1200, note=words)
    last = shown.getvalue().rpartition("\x1b[2K")[2]
    assert "training a recipe" in last
    assert "1200/1200" in last
    assert all(word in last for word in words.split()), "planted: a no-wrap column drops the last words"
    assert "…" not in last


def test_a_log_file_shows_life_every_ten_seconds(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = 0.0
    monkeypatch.setattr(console, "monotonic", lambda: now_s)
    with progress("training", 30) as task:
        for epoch in range(30):
            now_s = float(epoch)
            task.advance(note=f"epoch {epoch}")
    lines = capsys.readouterr().err.splitlines()
    assert [line.split()[-1] for line in lines] == ["10", "20", "29"]


def test_a_log_file_shows_life_though_nothing_moves(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console, "_LINE_EVERY_S", 0.1)
    with progress("drives", 131) as task:
        time.sleep(1.0)
        task.advance()
    lines = capsys.readouterr().err.splitlines()
    assert sum(line.startswith("  drives 0/131") for line in lines) >= 2
    assert lines[-1].startswith("  drives 1/131")


@pytest.mark.parametrize(("columns", "width"), [(None, "160"), ("90", "90"), ("0", "80")])
def test_a_pipe_is_wide_enough_for_a_row_of_a_table(columns: str | None, width: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    environment |= {} if columns is None else {"COLUMNS": columns}
    code = "from platform_lib.console import OUT; print(OUT.width)"
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == width
