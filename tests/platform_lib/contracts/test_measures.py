"""What is measured of a stream: each measure with sound data that keeps its rule and a planted fault that does not."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from platform_lib.contracts.measures import ColumnData, StreamData, measure
from platform_lib.contracts.model import Limit, Rule

TIMES = np.arange(200, dtype=np.int64) * 10_000_000 + 1_000
"""100 Hz for two seconds."""


def _rule(check: str, most: float, column: str | None = None, **arguments: object) -> Rule:
    limit = Limit("mustBeLessOrEqualTo", most)
    return Rule("o.r", "error", "stream", "/s", column, check, limit, "", tuple(sorted(arguments.items())))


def _stream(times: Any = TIMES, stamps: Any = None, values: Any = None, unit: str | None = "m/s") -> StreamData:
    made = None if values is None else pa.chunked_array([pa.array(values)])
    column = ColumnData("double" if made is None else str(made.type), unit, made)
    return StreamData("/s", np.asarray(times), stamps, {"v": column})


def _with(row: int, value: int) -> Any:
    changed = TIMES.copy()
    changed[row] = value
    return changed


NOISE = np.sin(np.arange(200.0) * 7.0)
STUCK = np.concatenate([NOISE[:50], np.full(101, NOISE[50]), NOISE[151:]])

CASES = [
    ("one row logged before the last", _rule("non_monotonic", 0), _stream(), _stream(_with(100, 5)), 1.0),
    ("one stamp before the last", _rule("non_monotonic", 0), _stream(stamps=TIMES), _stream(stamps=_with(9, 7)), 1.0),
    ("half a second lost", _rule("gap", 100), _stream(), _stream(np.delete(TIMES, range(60, 110))), 510.0),
    ("a gap in rows that go back too", _rule("gap", 100), _stream(_with(3, 0)), _stream(np.delete(TIMES, range(60, 110))[::-1]), 510.0),
    ("a tenth of the rows lost", _rule("dropout", 5, rate_hz=100), _stream(), _stream(np.delete(TIMES, range(5, 195, 10))), 9.5),
    ("half the rate", _rule("dropout", 5, rate_hz=100), _stream(), _stream(TIMES[::2]), 49.748744),
    ("stamps two seconds off", _rule("clock_skew", 50), _stream(stamps=TIMES - 1_000_000), _stream(stamps=TIMES - 2_000_000_000), 2000.0),
    ("a value out of range", _rule("invalidValues", 0, "v", minimum=-1, maximum=1), _stream(values=NOISE), _stream(values=np.append(NOISE[1:], 1e30)), 1.0),
    ("not a number", _rule("invalidValues", 0, "v", minimum=-1), _stream(values=NOISE), _stream(values=np.append(NOISE[1:], math.nan)), 1.0),
    ("an integer out of range", _rule("invalidValues", 0, "v", maximum=15), _stream(values=[1] * 200), _stream(values=[16] * 200), 200.0),
    ("a text that is none of the valid", _rule("invalidValues", 0, "v", validValues=("jpeg",)), _stream(values=["jpeg"] * 200), _stream(values=["jpeg"] * 199 + ["raw"]), 1.0),
    ("the same value for a second", _rule("stuck", 0.5, "v"), _stream(values=NOISE), _stream(values=STUCK), 1.0),
    ("stuck beyond where it may rest", _rule("stuck", 0.5, "v", **{"except": 0}), _stream(values=np.zeros(200)), _stream(values=np.ones(200)), 1.99),
    ("nulls", _rule("nullValues", 0, "v"), _stream(values=NOISE), _stream(values=[None] * 3 + [1.0] * 197), 3.0),
    ("nulls and nothing else", _rule("nullValues", 0, "v"), _stream(values=NOISE), _stream(), 200.0),
    ("missing: not a number", _rule("missingValues", 0, "v"), _stream(values=NOISE), _stream(values=[math.nan, None] + [1.0] * 198), 2.0),
    ("missing: empty texts", _rule("missingValues", 0, "v"), _stream(values=["a"] * 200), _stream(values=[""] * 200), 200.0),
]  # fmt: skip


@pytest.mark.parametrize(("name", "rule", "sound", "faulty", "figure"), CASES, ids=[case[0] for case in CASES])
def test_a_planted_fault_is_measured(
    name: str, rule: Rule, sound: StreamData, faulty: StreamData, figure: float
) -> None:
    assert measure(rule, sound).verdict == "pass", name
    found = measure(rule, faulty)
    assert (found.verdict, found.is_error) == ("fail", True)
    assert found.figure == pytest.approx(figure)
    assert "/s" in found.where or rule.check in ("dropout",)


@pytest.mark.parametrize(("unit", "said"), [("km/h", "km/h"), (None, "no unit")])
def test_a_changed_unit_or_type_is_named_and_never_converted(unit: str | None, said: str) -> None:
    rule = Rule("o.v.unit", "error", "stream", "/s", "v", "unit", Limit("mustBe", "m/s"), "")
    assert measure(rule, _stream()).verdict == "pass"
    assert (measure(rule, _stream(unit=unit)).verdict, measure(rule, _stream(unit=unit)).figure) == ("fail", said)
    kind = Rule("o.v.type", "error", "stream", "/s", "v", "type", Limit("mustBe", "double"), "")
    assert measure(kind, _stream(values=NOISE)).verdict == "pass"
    assert measure(kind, _stream(values=[1] * 200)).verdict == "fail"
    changing = StreamData("/s", TIMES, None, {"v": ColumnData("double", "m/s", None, steady=False)})
    assert measure(rule, changing).figure == "m/s, changing"


def test_a_column_that_is_not_there_fails_its_presence_and_nothing_is_measured_of_it() -> None:
    present = Rule("o.w.present", "error", "stream", "/s", "w", "present", Limit("mustBe", 1.0), "columns")
    assert measure(present, _stream()).verdict == "fail"
    assert measure(_rule("nullValues", 0, "w"), _stream()).verdict == "not_run"


def _sync(camera: Any, lidar: Any) -> Any:
    rule = _rule("sensor_sync", 10, **{"with": "/camera"})
    return measure(rule, StreamData("/s", np.asarray(lidar)), StreamData("/camera", np.asarray(camera)))


def test_sensors_out_of_step_are_found_and_a_lost_frame_is_not_taken_for_it() -> None:
    camera, lidar = np.arange(200) * 100_000_000, np.arange(100) * 200_000_000
    assert _sync(camera, lidar).figure == 0.0
    lost = _sync(np.delete(camera, [20, 40, 60]), lidar)
    assert (lost.verdict, lost.where) == ("pass", "97 of 100 rows have a partner")
    late = _sync(camera, lidar + 12_000_000)
    assert (late.verdict, late.figure) == ("fail", pytest.approx(12.0))


def test_too_few_pairs_or_no_partner_is_nothing_to_measure() -> None:
    assert _sync(np.arange(10) * 100, np.arange(10) * 100).verdict == "not_run"
    rule = _rule("sensor_sync", 10, **{"with": "/camera"})
    assert measure(rule, _stream(), None).verdict == "not_run"
    assert measure(_rule("gap", 10), _stream(TIMES[:1])).verdict == "not_run"
    assert measure(_rule("clock_skew", 10), _stream()).verdict == "not_run"


@given(st.lists(st.integers(-(2**40), 2**40), min_size=2, max_size=50))
def test_the_longest_gap_is_that_of_the_sorted_times(times: list[int]) -> None:
    found = measure(_rule("gap", 1e9), _stream(np.array(times, np.int64))).figure
    ordered = sorted(times)
    assert found == pytest.approx(max(b - a for a, b in pairwise(ordered)) / 1e6)


@given(st.lists(st.sampled_from([0.0, 1.0, 2.0]), min_size=2, max_size=40))
def test_the_longest_run_is_that_of_a_plain_loop(values: list[float]) -> None:
    times, longest, start = TIMES[: len(values)], 0, 0
    for row in range(1, len(values)):
        if values[row] != values[row - 1]:
            start = row
        longest = max(longest, int(times[row] - times[start]))
    found = measure(_rule("stuck", 1e9, "v"), _stream(times, values=values)).figure
    assert found == pytest.approx(longest / 1e9)


@pytest.mark.parametrize(
    ("limit", "good", "bad"),
    [
        (Limit("mustBe", 0.0), 0.0, 1.0),
        (Limit("mustBe", "m"), "m", "ft"),
        (Limit("mustNotBe", 0.0), 1.0, 0.0),
        (Limit("mustBeGreaterThan", 1.0), 2.0, 1.0),
        (Limit("mustBeGreaterOrEqualTo", 1.0), 1.0, 0.5),
        (Limit("mustBeLessThan", 1.0), 0.5, 1.0),
        (Limit("mustBeLessOrEqualTo", 1.0), 1.0, 1.5),
        (Limit("mustBeBetween", 1.0, 2.0), 1.5, 2.5),
        (Limit("mustNotBeBetween", 1.0, 2.0), 2.5, 1.5),
    ],
)
def test_a_limit_holds_or_not_and_never_for_what_is_no_number(limit: Limit, good: Any, bad: Any) -> None:
    assert (limit.holds(good), limit.holds(bad)) == (True, False)
    assert not limit.holds(None)
    assert not limit.holds(math.nan)
    assert str(limit)
