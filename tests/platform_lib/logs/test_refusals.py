"""What a refusal advises: recovery only where it gives rows, and the option that was meant."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mcap_layouts import write_layout
from typer.testing import CliRunner

from platform_lib.errors import ConfigError, CorruptLog
from platform_lib.logs import open_log
from platform_lib.logs.commands import app
from platform_lib.logs.describing import describe
from platform_lib.logs.door import advised
from platform_lib.logs.export.exporting import export_log
from platform_lib.logs.export.model import Form
from platform_lib.logs.model import Window


def frames(kind: Any, count: int) -> Any:
    """Frames at irregular times: one gap among them if they were judged."""
    time_s = np.arange(count) * 0.01 + (np.arange(count) > count // 2) * 5.0
    return kind(time_s, np.full(count, 5), np.zeros(count), np.zeros((count, 8), np.uint8), np.full(count, 8))


def refusal(path: Path) -> CorruptLog:
    with pytest.raises(CorruptLog) as caught:
        open_log(path)
    return advised(caught.value, path)


def test_recovery_is_offered_where_it_gives_rows_only(tmp_path: Path) -> None:
    path = write_layout(tmp_path / "log.mcap", "zstd")
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    assert "--recover" in refusal(path).remedy
    path.write_bytes(data[:60])  # the header, and no chunk
    assert "nothing in it can be read" in refusal(path).remedy
    done = CliRunner().invoke(app, ["info", str(path)])
    assert isinstance(done.exception, CorruptLog)
    assert "--recover" not in done.exception.remedy


def test_other_remedies_stay(tmp_path: Path) -> None:
    path = tmp_path / "log.mcap"
    path.write_bytes(b"")
    assert refusal(path).remedy == "fetch it again from its source"


@pytest.mark.parametrize("name", ["", "CAN2=", " "])
def test_a_database_without_a_name_is_refused(write_can: Any, frames_type: Any, name: str) -> None:
    path = write_can(frames(frames_type, 1))
    with pytest.raises(ConfigError, match="without a name") as caught:
        open_log(path, dbc=[name])
    assert caught.value.where == "--dbc or --arxml"


def test_frames_of_a_bus_are_not_judged_for_gaps_in_an_mcap_either(
    tmp_path: Path, write_can: Any, frames_type: Any
) -> None:
    path = write_can(frames(frames_type, 50))
    quiet: Any = lambda *_: None  # noqa: E731
    with open_log(path) as log:
        before = describe(log, quiet, deep=False)["streams"]
        export_log(
            log, log.streams, tmp_path / "out.mcap", Form.MCAP, window=Window(), decode=True, force=True, note=quiet
        )
    with open_log(tmp_path / "out.mcap") as log:
        assert [(stream.kind, stream.raw_frames) for stream in log.streams] == [("message", True)]
        after = describe(log, quiet, deep=False)["streams"]
    for described in (before, after):
        assert [(item["rows"], item["median_step_s"], item["gaps"]) for item in described] == [(50, None, 0)]
