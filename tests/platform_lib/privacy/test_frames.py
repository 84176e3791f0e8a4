"""Every way into a dataset, tried with frames that may show people."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import lance
import numpy as np
import pyarrow as pa
import pytest
from mcap.writer import Writer

from platform_lib.catalog.model import PII_STATES
from platform_lib.errors import ContractError
from platform_lib.lake.intake import Place
from platform_lib.logs import open_log
from platform_lib.logs.mdf import header_metadata
from platform_lib.logs.model import Report
from platform_lib.privacy.frames import ADMITTED, AdmittedFrames, admit_pii, is_raw_frame


def _table(states: list[str]) -> pa.Table:
    data = pa.array([bytes([65 + row]) * 4 for row in range(len(states))], pa.large_binary())
    return pa.table({"data": data, "pii_state": states})


def test_the_type_holds_no_bytes_of_a_frame_that_is_not_admitted() -> None:
    frames = AdmittedFrames.of(_table(["blurred", "unknown", "none_present", "present"]))
    assert frames.data.to_pylist() == [b"AAAA", b"", b"CCCC", b""]
    assert AdmittedFrames.of(_table([])).pii_state == ()
    with pytest.raises(ContractError, match="'unknown'"):
        AdmittedFrames(pa.chunked_array([pa.array([b"x"], pa.large_binary())]), ("unknown",))
    with pytest.raises(ContractError, match="1 frames and 2 states"):
        AdmittedFrames(pa.chunked_array([pa.array([b"x"], pa.large_binary())]), ("blurred", "blurred"))
    with pytest.raises(dataclasses.FrozenInstanceError):
        frames.pii_state = ("blurred",) * 4  # type: ignore[misc]  # the planted fault


@pytest.mark.parametrize("state", [*PII_STATES, "", "fine", "BLURRED"])
def test_only_two_states_are_admitted(state: str) -> None:
    if state in ("blurred", "none_present"):
        assert admit_pii(state, where="here") == state
    else:
        with pytest.raises(ContractError):
            admit_pii(state, where="here")
    assert is_raw_frame("sensor_msgs/msg/CompressedImage", state) == (state not in ADMITTED)
    assert not is_raw_frame("std_msgs/msg/Float64", state)


def test_of_two_states_that_a_log_tells_neither_is_believed(tmp_path: Path) -> None:
    def state(*told: str) -> str:
        path = tmp_path / "log.mcap"
        with path.open("wb") as stream:
            writer = Writer(stream)
            writer.start(profile="ros2")
            for one in told:
                writer.add_metadata("drive", {"vehicle": "v", "session": "s", "pii_state": one})
            writer.finish()
        with open_log(path) as log:
            return log.metadata["pii_state"]

    assert state("blurred") == state("blurred", "blurred") == "blurred"
    for told in (("present", "none_present"), ("blurred", "unknown"), ("blurred", "none_present", "blurred")):
        assert state(*told) not in PII_STATES
    twice = "<HDcomment><common_properties><e name='pii_state'>present</e><e name='pii_state'>blurred</e></common_properties></HDcomment>"
    assert header_metadata("a.mf4", twice, Report("MDF 4.10"))["pii_state"] not in PII_STATES


def test_raw_frames_have_a_store_of_their_own(tmp_path: Path) -> None:
    place = Place(tmp_path / "data", tmp_path / "samples.lance")
    assert place.raw_uri == tmp_path / "raw.lance"


def test_a_dataset_that_holds_a_raw_frame_is_not_opened(small_dataset: Path, tmp_path: Path) -> None:
    from platform_lib.datasets.reader import SAMPLES, DrivingDataset
    from platform_lib.errors import IntegrityError
    from platform_lib.manifest import Step, read_manifest
    from platform_lib.storage import publish_folder

    DrivingDataset.open(small_dataset)
    table = lance.dataset(str(small_dataset / SAMPLES)).to_table()
    for state in ("unknown", "present", "fine"):
        states = np.array(table["pii_state"].to_pylist(), dtype=object)
        states[7] = state
        place = table.schema.get_field_index("pii_state")
        planted = table.set_column(place, table.schema.field(place), pa.array(states, pa.string()))
        folder = tmp_path / state
        with publish_folder(folder) as temporary:  # a whole dataset with a manifest that agrees with every byte of it
            lance.write_dataset(planted, str(temporary / SAMPLES))
            for name in ("split.json", "stats.json"):
                (temporary / name).write_bytes((small_dataset / name).read_bytes())
            told = read_manifest(small_dataset / "manifest.json")
            step = Step(told.kind, inputs=told.inputs, config=told.config, modules=("platform_lib.datasets.table",))
            step.finish(temporary / "manifest.json", {name: temporary / name for name in told.outputs})
        with pytest.raises(IntegrityError, match="not admitted"):
            DrivingDataset.open(folder)
