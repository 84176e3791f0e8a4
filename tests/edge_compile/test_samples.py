from __future__ import annotations

import numpy as np
import pytest

from edge_compile.samples import (
    TensorSpec,
    beyond_calibration,
    check_outputs,
    check_samples,
    check_varied,
    samples_sha256,
)
from platform_lib.errors import ContractError

SPECS = (TensorSpec("image", (1, 3, 4)), TensorSpec("speed", (1, 2)))


def good(count: int = 5) -> dict[str, np.ndarray]:
    return {"image": np.ones((count, 3, 4), np.float32), "speed": np.zeros((count, 2), np.float32)}


def test_the_batch_axis_may_be_left_out_or_given() -> None:
    short = check_samples("calibration", good(), SPECS)
    full = check_samples("calibration", {"image": np.ones((5, 1, 3, 4), np.float32), "speed": good()["speed"]}, SPECS)
    assert short["image"].shape == full["image"].shape == (5, 1, 3, 4)
    assert samples_sha256(short) == samples_sha256(full)


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("image", np.ones((5, 3, 5), np.float32), r"shape is \(5, 3, 5\)"),
        ("image", np.ones((3, 4), np.float32), r"shape is \(3, 4\)"),
        ("image", np.float32(1.0), "shape is"),
        ("image", np.ones((5, 3, 4)), "dtype is float64"),
        ("image", np.ones((5, 3, 4), np.uint8), "dtype is uint8"),
        ("image", np.ones((0, 3, 4), np.float32), "no sample"),
        ("image", np.ones((4, 3, 4), np.float32), "differing numbers of samples"),
        ("speed", np.full((5, 2), np.nan, np.float32), "sample 0 holds NaN"),
        ("speed", np.full((5, 2), -np.inf, np.float32), "sample 0 holds NaN or infinity"),
        ("speed", np.full((5, 2), 3e38, np.float32), "out of range"),
    ],
)
def test_a_wrong_array_is_refused_by_name(name: str, array: np.ndarray, message: str) -> None:
    with pytest.raises(ContractError, match=message) as caught:
        check_samples("calibration", {**good(), name: array}, SPECS)
    assert caught.value.remedy


def test_a_missing_and_an_unknown_name_are_refused() -> None:
    with pytest.raises(ContractError, match="lacks 'speed'"):
        check_samples("frozen", {"image": good()["image"]}, SPECS)
    with pytest.raises(ContractError, match="has 'speeed'"):
        check_samples("frozen", {**good(), "speeed": good()["speed"]}, SPECS)


def test_the_sample_that_holds_nan_is_named() -> None:
    arrays = good()
    arrays["speed"][3, 1] = np.nan
    with pytest.raises(ContractError, match="sample 3"):
        check_samples("calibration", arrays, SPECS)


def test_reference_outputs_may_be_large_but_must_match_in_number() -> None:
    outputs = {"logit": np.full((5, 2), -1e9, np.float32)}
    assert check_outputs(outputs, (TensorSpec("logit", (1, 2)),), count=5)["logit"].shape == (5, 1, 2)
    with pytest.raises(ContractError, match="reference has 5 samples, the frozen inputs 6"):
        check_outputs(outputs, (TensorSpec("logit", (1, 2)),), count=6)


def test_the_digest_sees_every_value_and_name() -> None:
    base = check_samples("frozen", good(), SPECS)
    changed = {**base, "speed": base["speed"] + np.float32(1e-6)}
    renamed = {"image": base["image"], "pace": base["speed"]}
    assert len({samples_sha256(item) for item in (base, changed, renamed)}) == 3


def test_frozen_values_beyond_the_calibrated_range_are_reported() -> None:
    base = check_samples("frozen", good(), SPECS)
    bright = {**base, "image": base["image"] * 255}
    assert beyond_calibration(base, base) == {}
    assert beyond_calibration(base, bright) == {"image": 1.0}


def test_an_input_that_never_changes_is_refused_and_a_single_number_is_not() -> None:
    check_varied({"gain": np.ones((8, 1), np.float32), "x": np.arange(16, dtype=np.float32).reshape(8, 2)})
    with pytest.raises(ContractError, match="every value is 0") as caught:
        check_varied({"x": np.zeros((8, 1, 3), np.float32)})
    assert "calibration 'x'" in str(caught.value.where)
