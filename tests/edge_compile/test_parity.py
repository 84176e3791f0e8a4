from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_compile import parity
from edge_compile.parity import distance, rung, sqnr_db, thresholds_db


def array(*values: float) -> np.ndarray:
    return np.array(values, np.float32).reshape(len(values), 1)


def test_sqnr_of_a_known_error() -> None:
    assert sqnr_db(array(10.0), array(9.0)) == pytest.approx(20.0)
    assert sqnr_db(array(3.0, 4.0), array(3.0, 3.5)) == pytest.approx(20.0)


def test_no_difference_has_no_ratio_and_no_signal_has_the_lowest() -> None:
    assert sqnr_db(array(1.0), array(1.0)) is None
    assert sqnr_db(array(0.0), array(0.0)) is None
    assert sqnr_db(array(0.0), array(1.0)) == -300.0


@settings(deadline=None)
@given(scale=st.floats(1e-3, 1e3), noise=st.floats(1e-3, 0.5))
def test_sqnr_does_not_depend_on_the_unit(scale: float, noise: float) -> None:
    reference = np.array([[1.0], [-2.0], [3.0]])
    other = reference * (1 + noise)
    expected = -20 * np.log10(noise)
    assert sqnr_db(reference * scale, other * scale) == pytest.approx(expected, abs=1e-6)


def test_the_worst_output_counts() -> None:
    reference = {"good": array(10.0), "bad": array(10.0)}
    found = distance(reference, {"good": array(9.99), "bad": array(5.0)})
    assert found.sqnr_db == pytest.approx(20 * np.log10(2.0))
    assert found.max_abs_error == 5.0


def test_cosine_is_that_of_the_worst_output_over_all_its_samples() -> None:
    good = np.array([[1, 0], [0, 0], [1, 1]], np.float32)
    reference, other = {"good": good, "bad": good}, {"good": good, "bad": -good}
    assert distance(reference, other).cosine == pytest.approx(-1.0)
    assert distance({"y": 0 * good}, {"y": 0 * good}).cosine == 1.0
    assert distance({"y": 0 * good}, {"y": good}).cosine == 0.0


def test_a_sample_of_hardly_any_length_does_not_turn_the_cosine() -> None:
    """A standing car's plan of a millimetre may point anywhere."""
    reference = {"y": np.array([[30, 1], [1e-3, 0]], np.float32)}
    other = {"y": np.array([[30, 1], [0, 1e-3]], np.float32)}
    assert distance(reference, other).cosine == pytest.approx(1.0, abs=1e-6)


def test_a_rung_passes_at_its_threshold_and_fails_below() -> None:
    kind = {"name": parity.ONNX_TARGET, "precision": "w8a8"}
    ratio = sqnr_db(array(10.0), array(9.0))
    assert rung(**kind, reference={"y": array(10.0)}, other={"y": array(9.0)}, threshold_db=ratio).status == "pass"
    failed = rung(**kind, reference={"y": array(10.0)}, other={"y": array(9.0)}, threshold_db=ratio + 0.1)
    assert failed.status == "fail"
    assert "below" in failed.reason


def test_identical_outputs_pass_any_threshold() -> None:
    found = rung("a->b", "w8a8", {"y": array(1.0)}, {"y": array(1.0)}, threshold_db=250.0)
    assert (found.status, found.sqnr_db) == ("pass", None)


def test_nan_fails_and_is_named() -> None:
    found = rung("a->b", "w8a8", {"y": array(1.0)}, {"y": array(float("nan"))}, threshold_db=-300.0)
    assert found.status == "fail"
    assert "'y' holds NaN" in found.reason


def test_an_engine_that_did_not_run_is_no_pass() -> None:
    found = rung("a->b", "w8a8", {"y": array(1.0)}, None, threshold_db=0.0, missing="the board is not here")
    assert (found.status, found.reason, found.samples) == ("not_run", "the board is not here", 0)


def test_only_the_samples_both_engines_saw_are_compared() -> None:
    found = rung("a->b", "w8a8", {"y": array(1.0, 2.0, 99.0)}, {"y": array(1.0, 2.0)}, threshold_db=0.0)
    assert (found.samples, found.status) == (2, "pass")


def test_a_tolerance_replaces_the_last_threshold_and_loosens_the_simulation() -> None:
    strict, loose = thresholds_db("w8a8", 45.0), thresholds_db("w8a8", 5.0)
    assert strict[parity.ONNX_TARGET] == 45.0
    assert strict[parity.ONNX_SIMULATION] == parity.DEFAULT_THRESHOLDS_DB["w8a8"][parity.ONNX_SIMULATION]
    assert (loose[parity.ONNX_TARGET], loose[parity.ONNX_SIMULATION]) == (5.0, 5.0)
    assert thresholds_db("fp32", 45.0) == parity.DEFAULT_THRESHOLDS_DB["fp32"]


def test_w8a8_is_held_to_less_than_w8a16() -> None:
    for name, threshold in parity.DEFAULT_THRESHOLDS_DB["w8a8"].items():
        assert threshold < parity.DEFAULT_THRESHOLDS_DB["w8a16"][name]
