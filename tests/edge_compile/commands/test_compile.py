from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge_compile.commands.compile import compile_command
from platform_lib.errors import ConfigError, ContractError, MissingPartError, PlatformError


def call(model: Path, calibration: Path, out: Path, **changes: Any) -> None:
    compile_command(model, "sa8255p", calibration, out, **changes)


@pytest.fixture
def calibration(tmp_path: Path, samples: dict[str, np.ndarray]) -> Path:
    path = tmp_path / "calibration.npz"
    np.savez(path, **samples)
    return path


def test_a_missing_npz_is_refused(linear: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingPartError, match="no such NPZ"):
        call(linear, tmp_path / "none.npz", tmp_path / "out")


def test_what_is_no_npz_is_refused(linear: Path, tmp_path: Path) -> None:
    lone, text, pickled = (tmp_path / name for name in ("lone.npy", "text.npz", "pickled.npz"))
    np.save(lone, np.ones((2, 4), np.float32))
    text.write_text("x = 1")
    np.savez(pickled, x=np.array([{"a": 1}], dtype=object))
    for path in (lone, text, pickled):
        with pytest.raises(ContractError, match="not a readable NPZ"):
            call(linear, path, tmp_path / "out")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_npz_never_crashes(linear: Path, calibration: Path, tmp_path: Path, data: st.DataObject) -> None:
    content = bytearray(calibration.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    damaged = tmp_path / "damaged.npz"
    damaged.write_bytes(content)
    # The unknown option is refused after the arrays were read, so that no tool starts.
    with pytest.raises(PlatformError):
        call(linear, damaged, tmp_path / "out", option=["turbo=1"])


def test_an_unknown_array_is_named_with_what_is_known(
    linear: Path, tmp_path: Path, samples: dict[str, np.ndarray]
) -> None:
    path = tmp_path / "frozen.npz"
    np.savez(path, **samples, z=np.ones(3), sample_id=np.array(["a"]))
    with pytest.raises(ContractError, match="'z' is neither an input nor an output") as caught:
        call(linear, path, tmp_path / "out")
    assert caught.value.remedy == "inputs: x; outputs: y"


@pytest.mark.parametrize("option", [["vtcm_mb"], ["vtcm_mb=8", "vtcm_mb=4"], ["vtcm_mb=16"], ["turbo=1"]])
def test_a_wrong_option_is_refused(linear: Path, calibration: Path, tmp_path: Path, option: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        call(linear, calibration, tmp_path / "out", option=option)
    assert caught.value.remedy
    assert not (tmp_path / "out").exists()


def test_what_the_target_would_not_hear_is_refused(linear: Path, calibration: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--compiler would be ignored for 'sa8255p'") as caught:
        call(linear, calibration, tmp_path / "out", compiler=tmp_path / "trtexec")
    assert caught.value.where == "--compiler"
    refused: dict[str, dict[str, Any]] = {
        "--task-metric": {"task_metric": "ade", "task_tolerance": 0.3},
        "--technique": {"technique": ["cle"]},
        "--also": {"also": ["sa8797p"]},
        "--layers": {"layers": True},
        "--minimise": {"minimise": "size"},
    }
    for name, changes in refused.items():
        with pytest.raises(ConfigError, match=f"{name} would be ignored for 'orin'"):
            compile_command(linear, "orin", calibration, tmp_path / "out", **changes)
    assert not (tmp_path / "out").exists()


def test_a_missing_file_of_waivers_is_called_one(linear: Path, calibration: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingPartError, match="no such file of waivers"):
        call(linear, calibration, tmp_path / "out", waivers=tmp_path / "none.yaml")
