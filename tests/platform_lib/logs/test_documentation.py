"""The examples of the reference page run, and would fail if they did not."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mdf4_writer import Channel, Data, Group, time_channel, write_mdf4

PAGE = Path(__file__).resolve().parents[3] / "docs" / "reference" / "logs.md"


def examples(text: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def run(blocks: list[str]) -> None:
    names: dict[str, Any] = {}
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), names)  # noqa: S102 - the repository's own page


def test_the_examples_run(
    mcap_maker: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = mcap_maker.write("drive.mcap", enable_data_crcs=False)
    (tmp_path / "cut.mcap").write_bytes(whole.read_bytes()[:-200])
    layout = [time_channel(), Channel("speed", 4, 64, 8, unit="m/s")]
    table = np.zeros((10, 2)).tobytes()
    write_mdf4(tmp_path / "drive.mf4", [Data([Group(layout, 10, 16, name="powertrain")], data=table)])
    monkeypatch.chdir(tmp_path)
    run(examples(PAGE.read_text()))
    shown = capsys.readouterr().out
    assert "speed m/s" in shown
    assert "Counter({'/a': 80, '/b': 40})" in shown


def test_an_example_that_fails_would_be_found() -> None:
    (block,) = examples("text\n```python\nassert 1 == 2\n```\n")
    with pytest.raises(AssertionError):
        run([block])
