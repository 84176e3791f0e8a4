from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_compile.job import EMULATED_AT_MOST, Job, Settings, check_job, check_precisions, step_of
from edge_compile.targets.table import find_target
from platform_lib.errors import ConfigError, ContractError


def job(path: Path, calibration: Any, frozen: Any = None, **settings: Any) -> Job:
    target = find_target("sa8255p")
    return check_job(path, target, Settings(**settings), calibration=calibration, frozen=frozen, reference=None)


@pytest.mark.parametrize(
    ("given", "asked", "emulated"),
    [(3, None, 3), (64, None, 64), (65, None, EMULATED_AT_MOST), (100, 70, 70), (3, 70, 3), (3, 1, 1)],
)
def test_the_emulator_runs_all_frozen_inputs_up_to_a_bound(
    linear: Path, samples: Any, given: int, asked: int | None, emulated: int
) -> None:
    frozen = {"x": np.ones((given, 4), np.float32)}
    assert job(linear, samples, frozen, emulator_samples=asked).emulated == emulated


def test_what_the_emulator_ran_decides_whether_a_compile_is_up_to_date(linear: Path, samples: Any) -> None:
    count = len(samples["x"])
    all_of_them, as_many, fewer = (job(linear, samples, emulator_samples=n) for n in (None, count, count - 1))
    assert step_of(all_of_them).sha256 == step_of(as_many).sha256 != step_of(fewer).sha256


WRONG: dict[str, tuple[Callable[[Any], Any], str]] = {
    "an array alone": (lambda x: x, "calibration is a ndarray, not arrays by name"),
    "another name": (lambda x: {"input": x}, "calibration lacks 'x'"),
    "a name too many": (lambda x: {"x": x, "y": x}, "calibration has 'y', which the model does not"),
    "another shape": (lambda x: {"x": x[:, :3]}, "shape is (8, 3), not (N, 1, 4) or (N, 4)"),
    "one sample without N": (lambda x: {"x": x[0]}, "shape is (4,), not"),
    "doubles": (lambda x: {"x": x.astype(np.float64)}, "dtype is float64, not float32"),
    "a list": (lambda x: {"x": x.tolist()}, "dtype is float64, not float32"),
    "objects": (lambda _: {"x": None}, "dtype is object, not float32"),
    "no samples": (lambda x: {"x": x[:0]}, "there is no sample"),
    "NaN": (lambda x: {"x": np.where(x == x[2], np.float32(np.nan), x)}, "sample 2 holds NaN or infinity"),
    "infinity": (lambda x: {"x": np.where(x == x[5], np.float32(np.inf), x)}, "sample 5 holds NaN or infinity"),
    "a sentinel": (lambda x: {"x": x + np.float32(1e9)}, "out of range"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_calibration_is_refused_with_what_is_right(linear: Path, samples: Any, name: str) -> None:
    change, said = WRONG[name]
    with pytest.raises(ContractError) as caught:
        job(linear, change(samples["x"]))
    assert said in str(caught.value)
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (("w8a8", "w2a2"), "unknown precision 'w2a2'"),
        ((), "no precision to make"),
        (("w8a8", "w8a8"), "precision 'w8a8' is named twice"),
    ],
)
def test_a_refused_precision_is_named_with_what_there_is(asked: tuple[str, ...], said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        Settings(precisions=asked)
    assert (caught.value.where, "w8mixed" in str(caught.value.remedy)) == ("--precision", True)
    check_precisions(("w8a8", "w8a16"), ("w8a16", "w8a8"))


def test_a_refused_option_is_named() -> None:
    with pytest.raises(ConfigError, match="'w8a16' is not among the precisions to make") as caught:
        Settings(precisions=("w8a8",), choose="w8a16")
    assert caught.value.where == "--choose"
    with pytest.raises(ConfigError, match="a tolerance of nan dB") as caught:
        Settings(tolerance_db=float("nan"))
    assert caught.value.where == "--tolerance-db"
