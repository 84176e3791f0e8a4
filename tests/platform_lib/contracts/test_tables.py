"""A dataset's rows against its contract: sound rows pass, and each planted fault keeps the dataset from being published."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lance
import pyarrow as pa
import pytest

from platform_lib.contracts.admission import refuse_broken
from platform_lib.contracts.document import read_contracts
from platform_lib.contracts.tables import check_dataset
from platform_lib.datasets.table import SCHEMA
from platform_lib.errors import ContractError

CONTRACTS = read_contracts(None)


def _rows() -> list[dict[str, Any]]:
    rows = []
    for drive, split in (("a", "train"), ("b", "val"), ("c", "test")):
        for number in range(4):
            rows.append(
                {
                    "sample_id": f"{drive}/{number}",
                    "drive_id": drive,
                    "split": split,
                    "timestamp_ns": number,
                    "image": b"\xff\xd8",
                    "ego_history": [0.0] * 30,
                    "command": 0,
                    "future": [0.0] * 12,
                    "slices": ["clear", "cruise"],
                    "objects": [],
                    "ego_yaw_future": [0.0] * 6,
                    "speed_mps": 3.0,
                    "pii_state": "none_present",
                }
            )
    return rows


def _check(folder: Path, table: pa.Table) -> dict[str, str]:
    lance.write_dataset(table, str(folder / "samples.lance"))
    (run,) = check_dataset(folder / "samples.lance", CONTRACTS, sha256="0" * 64)
    errors = {item.rule: item.sentence for item in run.findings if item.is_error}
    if errors:
        with pytest.raises(ContractError, match="dataset-samples"):
            refuse_broken([run], where="d")
    else:
        refuse_broken([run], where="d")
        assert run.count("error", "not_run") == 0
    return errors


def test_sound_rows_keep_the_contract(tmp_path: Path) -> None:
    assert _check(tmp_path, pa.Table.from_pylist(_rows(), SCHEMA)) == {}


FAULTS: list[tuple[str, str, Callable[[list[dict[str, Any]]], object]]] = [
    ("a drive in two splits", "samples.no_group_spans_splits", lambda rows: rows[0].update(split="test")),
    ("no test split", "samples.three_splits", lambda rows: [row.update(split="val") for row in rows if row["split"] == "test"]),
    ("a frame twice", "samples.one_sample_a_moment", lambda rows: rows[1].update(timestamp_ns=0)),
    ("an id twice", "samples.sample_id.duplicateValues", lambda rows: rows[1].update(sample_id="a/0")),
    ("a person in it", "samples.pii_state.valid", lambda rows: rows[5].update(pii_state="present")),
    ("nobody knows", "samples.pii_state.valid", lambda rows: rows[5].update(pii_state="unknown")),
    ("a command that is none", "samples.command.in_range", lambda rows: rows[5].update(command=3)),
    ("not a speed", "samples.speed_mps.in_range", lambda rows: rows[5].update(speed_mps=400.0)),
    ("a speed that is no number", "samples.speed_mps.in_range", lambda rows: rows[5].update(speed_mps=float("nan"))),
    ("a split of our own", "samples.split.valid", lambda rows: rows[5].update(split="holdout")),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "plant"), [fault[1:] for fault in FAULTS], ids=[fault[0] for fault in FAULTS])
def test_a_planted_fault_is_an_error(
    tmp_path: Path, rule: str, plant: Callable[[list[dict[str, Any]]], object]
) -> None:
    rows = _rows()
    plant(rows)
    assert rule in _check(tmp_path, pa.Table.from_pylist(rows, SCHEMA))


def test_a_column_that_is_missing_or_of_another_type_is_told_before_any_query(tmp_path: Path) -> None:
    table = pa.Table.from_pylist(_rows(), SCHEMA)
    retyped = table.set_column(
        table.schema.get_field_index("command"), "command", table["command"].cast(pa.int64())
    ).drop_columns(["speed_mps"])
    errors = _check(tmp_path, retyped)
    assert "int64" in errors["samples.command.type"]
    assert "samples.speed_mps.present" in errors
    assert "samples.speed_mps.in_range" not in errors
