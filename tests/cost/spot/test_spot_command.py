"""`drivetrain cost spot` as people type it: a job's file in; an order, prices with source and date, a forecast or why none."""

import json
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
import yaml

from cost.spot.advice import advise
from cost.spot.jobfile import read_job
from platform_lib.cli import run
from platform_lib.errors import ConfigError

TODAY = datetime(2026, 11, 30, tzinfo=UTC).date()


def history(path, *, share=0.5, hours=120.0, seed=0):
    """Spells of half an hour to some hours, up for about a share of the time."""
    random = np.random.default_rng(seed)
    up, start = [], datetime(2026, 11, 20, tzinfo=UTC)
    while len(up) < hours * 6:
        for state, mean in ((1, 18 * share), (0, 18 * (1 - share))):
            up += [state] * int(1 + random.exponential(mean))
    lines = [
        f"{start + timedelta(minutes=10 * at):%Y-%m-%d %H:%M:%S},{value}"
        for at, value in enumerate(up[: round(hours * 6)])
    ]
    path.write_text("\n".join(["date,availability", *lines]) + "\n")
    return path.name


def pool(name, spot_usd=1.0, **more):
    price = {"source": "spot history", "date": "2026-11-20"}
    return {
        "name": name,
        "instance_type": "p3.2xlarge",
        "spot": {"usd_per_hour": spot_usd, **price},
        "on_demand": {"usd_per_hour": 3.0, "source": "price list", "date": "2026-11-21"},
        **more,
    }


def write(folder, *pools, **job):
    path = folder / "job.yaml"
    numbers = {"work_h": 10, "deadline_h": 14, "restart_min": 10, **job}
    path.write_text(yaml.safe_dump({"tick_s": 600, "job": numbers, "pools": list(pools)}))
    return path


def test_what_is_said_has_sources_dates_chances_and_what_it_assumes(tmp_path, capsys):
    job = write(tmp_path, pool("us-east-1a", history=history(tmp_path / "a.csv")))
    assert run(["cost", "spot", "--job", str(job), "--runs", "20"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    for words in (
        "spot of spot history, 2026-11-20; on demand $3.0000/h of price list, 2026-11-21",
        "on demand alone $30.50",
        "14 h 100.0%",
        "policy survival; 20 futures drawn from the fitted hazards; an interruption costs its restart alone",
        "a checkpoint every",
    ):
        assert words in said
    found = json.loads((tmp_path / "job.spot.json").read_text())
    quantiles = list(found["forecast"]["cost_usd_quantiles"].values())
    assert quantiles == sorted(quantiles)
    assert 10 * 1.0 < found["forecast"]["expected_usd"] < 30.5
    assert found["spot_order"] is None
    assert not (tmp_path / "job.spot.order.json").exists()


def test_a_pool_without_history_comes_after_one_that_has_it(tmp_path):
    job = write(
        tmp_path,
        pool("us-east-1a", 0.5),
        pool("us-east-1b", 1.0, history=history(tmp_path / "b.csv")),
        pool("us-east-1c", 0.9, history=history(tmp_path / "c.csv", seed=1)),
    )
    found = advise(read_job(job), TODAY)
    assert found["pool_order"] == ["us-east-1c", "us-east-1b", "us-east-1a"]
    assert [line["available_share"] is None for line in found["pools"]] == [False, False, True]
    assert found["pools"][0]["checkpoint_interval_s"] is not None
    assert found["policy"] == "uniform-progress"
    assert found["forecast"] is None
    assert found["no_forecast"] == "no history of us-east-1a: give `history`"


def test_one_short_history_makes_no_forecast(tmp_path, capsys):
    job = write(tmp_path, pool("us-east-1a", history=history(tmp_path / "a.csv", hours=6)))
    assert run(["cost", "spot", "--job", str(job)]) == 0
    assert "no forecast: 6.0 h of history, and the job may run for 14" in capsys.readouterr().out
    longer = write(tmp_path, pool("us-east-1a", history=history(tmp_path / "a.csv", hours=30)))
    assert advise(read_job(longer), TODAY)["forecast"]["source"] == "that are overlapping windows of the history"


def test_a_deadline_that_cannot_be_met_is_no_success(tmp_path, capsys):
    job = write(tmp_path, pool("us-east-1a", history=history(tmp_path / "a.csv")), deadline_h=10)
    assert run(["cost", "spot", "--job", str(job)]) == 5
    assert "the deadline cannot be met: on demand alone takes 10.1667 h, and there are 10" in capsys.readouterr().out
    assert json.loads((tmp_path / "job.spot.json").read_text())["feasible"] is False


@pytest.mark.parametrize(("day", "said"), [("2025-01-01", "698 days ago"), ("2027-01-01", "which is to come")])
def test_a_price_of_another_time_is_named(tmp_path, day, said):
    old = pool("us-east-1a")
    old["spot"]["date"] = day
    (line,) = advise(read_job(write(tmp_path, old)), TODAY)["odd_prices"]
    assert line.startswith("us-east-1a: the spot price is of")
    assert said in line
    assert advise(read_job(write(tmp_path, pool("us-east-1a"))), TODAY)["odd_prices"] == []


def test_an_unknown_price_leaves_its_pool_out_and_says_so(tmp_path):
    found = advise(read_job(write(tmp_path, pool("us-east-1a", None), pool("us-east-1b"))), TODAY)
    assert found["pool_order"] == ["us-east-1b"]
    assert found["unknown"] == ["us-east-1a: spot price not known, left out of the order"]


@pytest.mark.parametrize("usd", [0, -1, float("nan"), float("inf")])
def test_a_price_that_is_none_is_refused(tmp_path, usd):
    with pytest.raises(ConfigError):
        advise(read_job(write(tmp_path, pool("us-east-1a", usd))), TODAY)


@pytest.mark.parametrize("job", [{"deadline_h": 1e9}, {"work_h": -1}, {"gang": 0}, {"deadlines": 3}])
def test_a_job_that_is_none_is_refused(tmp_path, job):
    with pytest.raises(ConfigError, match="job"):
        read_job(write(tmp_path, pool("us-east-1a"), **job))


def test_the_order_names_node_pools_once_by_their_best_zone(tmp_path):
    pools = [
        pool("us-east-1a", 1.0, node_pool="east"),
        pool("us-east-1b", 0.8, node_pool="east"),
        pool("us-west-2a", 0.9, node_pool="west"),
    ]
    path = write(tmp_path, *pools)
    path.write_text(path.read_text() + "environment: prod\n")
    found = advise(read_job(path), TODAY)
    assert found["spot_order"] == {
        "environment": "prod",
        "pools": [{"name": "east", "weight": 100}, {"name": "west", "weight": 90}],
    }
    assert found["kueue_flavor_order"] == ["spot/us-east-1b", "spot/us-west-2a", "spot/us-east-1a", "on-demand"]
