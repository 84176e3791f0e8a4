"""Capacity on paper: figures that can be followed by hand, and a scheduler that saturates where it must."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from platform_lib.capacity.model import Assumptions, Measured, need_of
from platform_lib.capacity.saturation import Load, curve, saturation, simulate
from platform_lib.errors import ConfigError
from ray_jobs.commands.capacity import capacity, read_assumptions

MEASURED = Measured(
    core_s_per_gb=10.0,
    core_s_per_file=0.5,
    lake_share=0.5,
    objects_per_file=3.0,
    rows_per_file=20.0,
    commit_s=0.05,
    commit_s_per_file=0.01,
    dispatch_s=0.001,
)
ASSUMED = read_assumptions(None)


def test_two_hundred_vehicles_of_eight_hours_make_a_petabyte_a_week() -> None:
    need = need_of(200, 8.0, MEASURED, ASSUMED)
    assert need.value("recorded a week") == pytest.approx(1.0, rel=1e-3)
    assert need.value("files") == 200 * 8 * 60
    gb = 200 * 8 * 89.3
    assert need.value("core hours") == pytest.approx((gb * 10 + 96_000 * 0.5) / 3600)
    assert need.value("network") == pytest.approx(gb * 8e3 * 1.5 / 86_400 * 1.3)
    assert need.value("nodes") == 3  # by network 25.8 Gbit/s of 12.5 each; by cores 22 of 32 each
    assert need.value("node hours") == pytest.approx(gb * 8e3 * 1.5 / 12_500 / 3600)
    assert need.value("lake") == pytest.approx(gb / 2)
    assert need.value("S3 GET") == pytest.approx(gb * 1e9 / (8 << 20))
    assert need.value("catalogue rows") == 96_000 * 20
    assert need.dollars_a_month == pytest.approx(sum(item.value for item in need.dollars))
    dollars = {item.name: item.value for item in need.dollars}
    assert dollars["logs, Standard"] == pytest.approx(gb * 30 * 0.023)


@settings(max_examples=50)
@given(st.integers(1, 1000), st.floats(0.1, 12.0))
def test_twice_the_hours_need_twice_of_all_that_is_not_fixed(vehicles: int, hours: float) -> None:
    one, two = (need_of(vehicles, factor * hours, MEASURED, ASSUMED) for factor in (1, 2))
    for before, after in zip(one.figures, two.figures, strict=True):
        assert before.name == after.name
        if before.name != "nodes":
            assert after.value == pytest.approx(2 * before.value)
    for before, after in zip(one.dollars, two.dollars, strict=True):
        if before.name != "catalogue":
            assert after.value == pytest.approx(2 * before.value)


def test_spot_costs_less_and_nothing_else_changes() -> None:
    spot = ASSUMED.model_copy(update={"ingest": ASSUMED.ingest.model_copy(update={"spot_share": 1.0})})
    plain, cheap = (need_of(10, 8.0, MEASURED, item) for item in (ASSUMED, spot))
    assert plain.figures == cheap.figures
    assert cheap.dollars[0].value == pytest.approx(0.35 * plain.dollars[0].value)
    assert [item.value for item in cheap.dollars[1:]] == [item.value for item in plain.dollars[1:]]


def _load(files: int = 1000, **changes: float) -> Load:
    return Load(**{"files": files, "file_gb": 1.0, "batch_files": 1, "worker_mbps": 1e9, **changes})


def test_few_workers_take_as_long_as_their_work_and_many_as_long_as_the_driver() -> None:
    one = simulate(_load(), 1, MEASURED)
    assert one.seconds == pytest.approx(1000 * 10.5, rel=0.01)
    assert one.worker_busy > 0.99
    many = simulate(_load(), 1000, MEASURED)
    assert many.seconds == pytest.approx(1000 * 0.061 + 10.5, rel=0.1)
    assert many.driver_busy > 0.8
    batched = simulate(_load(batch_files=10), 1000, MEASURED)
    assert batched.driver_busy < many.driver_busy


def test_a_slow_network_is_what_workers_wait_for() -> None:
    slow = simulate(_load(100, worker_mbps=100.0), 1, MEASURED)
    assert slow.by_network
    assert slow.seconds == pytest.approx(100 * 8e3 * 1.5 / 100.0, rel=0.01)
    assert not simulate(_load(100), 1, MEASURED).by_network


def test_saturation_is_where_the_driver_is_busy_or_files_run_out() -> None:
    points = curve(_load(10_000), MEASURED)
    at, why = saturation(points)
    assert "driver" in why
    assert 64 <= at.workers <= 256  # 10.5 s of reading against 0.061 s of the driver: 172
    at, why = saturation(curve(_load(8), MEASURED.model_copy(update={"commit_s": 1e-6, "commit_s_per_file": 0.0})))
    assert "too few files" in why
    assert at.workers == 8


def test_every_file_is_committed_once_whatever_the_batches() -> None:
    for files, batch in ((7, 3), (1, 5), (10, 10)):
        point = simulate(_load(files, batch_files=batch), 2, MEASURED)
        assert point.files_per_s * point.seconds == pytest.approx(files)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("ingest: {node_vcpu: 3}", "node_vcpu"),
        ("ingest: {node_vcpus: 0}", "node_vcpus"),
        ("- 1", "no sections"),
        ("ingest: [", "not YAML"),
    ],
)
def test_assumptions_that_mean_nothing_are_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=said):
        read_assumptions(path)
    path.write_text("recording: {gb_per_hour: 1.5}")
    assert read_assumptions(path).recording.gb_per_hour == 1.5
    assert read_assumptions(path).ingest == ASSUMED.ingest


def test_the_command_works_with_figures_measured_elsewhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "measured.json"
    path.write_text(MEASURED.model_dump_json())
    capacity(fleet=200, hours_per_day=8.0, files=10_000, assume=None, measured=path, home=None, as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert told["measured"] == MEASURED.model_dump()
    assert Assumptions.model_validate(told["assumed"]) == ASSUMED
    assert "driver" in told["saturates"]["because"]
    capacity(fleet=200, hours_per_day=8.0, files=10_000, assume=None, measured=path, home=None, as_json=False)
    text = capsys.readouterr().out
    for word in ("nodes", "$/month", "recording.gb_per_hour", "worth doubling up to"):
        assert word in text


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_this_machine_is_measured(reachable_tmp: Path) -> None:
    from ray_jobs.measuring import measure

    found = measure(reachable_tmp)
    assert 0.5 < found.core_s_per_gb < 500
    assert 0.05 < found.lake_share < 5
    assert found.rows_per_file > 10
    assert 1e-4 < found.dispatch_s < 0.1
    assert not list(reachable_tmp.iterdir())
