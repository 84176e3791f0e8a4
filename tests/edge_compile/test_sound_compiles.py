"""Models of other people, of every kind, opset and target: all sound, so that any alarm is a false one."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from edge_models import KINDS, bring

from edge_compile import compile_model
from edge_compile.checks import CHECK_NAMES
from edge_compile.targets.table import targets
from edge_compile.worker import Limits

pytestmark = [pytest.mark.soak, pytest.mark.timeout(3600)]
OPSETS = (11, 13, 17, 20, 22)
CONFIRMED = sorted(name for name, target in targets().items() if target.confirmed)
# 20 compiles: every kind in every opset, the targets in turn, every second one with its batch left open.
# Of a transformer, what is sound: below opset 17 a LayerNormalization is written out and computes in float (the check for it
# is right to fail), and the v68 generation refuses the net in 16 bits.
TRANSFORMER_OPSETS = {11: 18, 13: 19}
TRANSFORMER_TARGETS = [name for name in CONFIRMED if targets()[name].architecture != "v68"]


def _case(row: int, kind: str, opset: int):
    attention = kind == "vit_bev"
    names = TRANSFORMER_TARGETS if attention else CONFIRMED
    opset = TRANSFORMER_OPSETS.get(opset, opset) if attention else opset
    return pytest.param(kind, opset, names[row % len(names)], row % 2 == 1, id=f"{kind}-{opset}")


CASES = [_case(row, kind, opset) for row, (kind, opset) in enumerate(itertools.product(KINDS, OPSETS))]


@pytest.mark.parametrize(("kind", "opset", "target", "dynamic_batch"), CASES)
def test_a_sound_model_raises_no_alarm(kind: str, opset: int, target: str, dynamic_batch: bool, tmp_path: Path) -> None:
    brought = bring(kind, tmp_path, opset=opset, dynamic_batch=dynamic_batch)
    report = compile_model(
        brought.path,
        target,
        brought.calibration,
        tmp_path / "out",
        frozen=brought.frozen,
        reference=brought.reference,
        precisions=("w8a16",),
        emulator_samples=4,
        limits=Limits(time_s=1800.0),
    ).report
    assert report.chosen == "w8a16", report.notes
    alarms = [
        (item.precision, check.name, check.detail)
        for item in report.precisions
        for check in item.checks
        if check.status != "pass" and (item.precision, check.name) != ("fp16", "no_float_islands")
    ]
    assert alarms == []
    assert all(len(item.checks) == len(CHECK_NAMES) for item in report.precisions)
    assert {rung.status for rung in report.parity} == {"pass"}
    assert report.soc_model == targets()[target].soc_model
    proven = {rung.name for rung in report.parity if rung.precision == "fp32"}
    assert ("original->onnx" in proven) == bool(report.rewrites)
