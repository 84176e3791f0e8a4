from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cost.spot import load_traces
from platform_lib.errors import ConfigError

REAL = Path(__file__).resolve().parents[4] / "shared" / "data" / "spot"


def write(path, values, column="availability", step_s=195):
    start = datetime(2023, 2, 15, 22, 8, 16, tzinfo=UTC)
    lines = [f"date,{column}"]
    lines += [f"{start + timedelta(seconds=at * step_s):%Y-%m-%d %H:%M:%S},{value}" for at, value in enumerate(values)]
    path.write_text("\n".join(lines) + "\n")
    return path


def load(path, **options):
    return load_traces({"us-east-1a": path}, spot_usd_per_hour=1.0, on_demand_usd_per_hour=3.0, **options)


def test_what_one_means_is_the_columns(tmp_path):
    assert load(write(tmp_path / "a.csv", [1, 0, 0])).available[:, 0].tolist() == [True, False, False]
    turned = write(tmp_path / "b.csv", [1, 0, 0], "preempted")
    assert load(turned).available[:, 0].tolist() == [False, True, True]


def test_a_convention_that_is_not_said_is_refused(tmp_path):
    path = write(tmp_path / "a.csv", [1, 0], "state")
    with pytest.raises(ConfigError, match="does not say what 1 means"):
        load(path)
    assert load(path, one_means="preempted").available[:, 0].tolist() == [False, True]


def test_a_contradicted_convention_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="1 = available"):
        load(write(tmp_path / "a.csv", [1, 0]), one_means="preempted")


def test_a_file_that_is_turned_around_falls_out(tmp_path):
    path = write(tmp_path / "a.csv", [1] * 4 + [0] * 96)
    with pytest.raises(ConfigError, match="other way round"):
        load(path, expected_share={"us-east-1a": (0.9, 1.0)})
    assert load(path, expected_share={"us-east-1a": (0.0, 0.1)}).ticks == 100


@pytest.mark.parametrize("values", [[1, 2], [1, ""], []])
def test_points_that_are_no_bits_are_refused(tmp_path, values):
    with pytest.raises(ConfigError, match="0 or 1"):
        load(write(tmp_path / "a.csv", values))


def test_a_gap_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="apart"):
        load(write(tmp_path / "a.csv", [1, 0, 1], step_s=900))


@pytest.mark.skipif(not REAL.is_dir(), reason="the real traces are not beside this checkout")
def test_real_traces_read_as_published():
    files = {zone: REAL / f"{zone}_v100_1.csv" for zone in ("us-east-1a", "us-west-2a")}
    trace = load_traces(files, prices=REAL / "prices_v100.csv", on_demand_usd_per_hour=3.06)
    assert trace.available.mean(axis=0) == pytest.approx([0.167, 0.883], abs=0.001)
    assert trace.prices("spot", 1).tolist() == [[1.6703, trace.prices("spot", 1)[0, 1]]]


def test_a_date_with_a_zone_is_of_that_zone(tmp_path):
    path = write(tmp_path / "a.csv", [1, 0])
    zoned = tmp_path / "b.csv"
    zoned.write_text(path.read_text().replace("16,", "16+02:00,").replace("31,", "31+02:00,"))
    utc, east = load(path).start_utc_s, load(zoned).start_utc_s
    assert utc is not None
    assert east == utc - 2 * 3600


@pytest.mark.parametrize("line", ["yesterday,1", "2023-02-15 22:11:31", "2023-02-15 22:11:31,1,x"])
def test_a_line_that_is_no_point_is_refused_with_its_number(tmp_path, line):
    path = tmp_path / "a.csv"
    path.write_text(f"date,availability\n2023-02-15 22:08:16,1\n{line}\n")
    with pytest.raises(ConfigError, match="is no date with a point") as caught:
        load(path)
    assert str(caught.value.where) == f"{path}:3"


def test_what_is_no_text_is_refused_and_an_empty_line_is_none(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="UTF-8"):
        load(path)
    assert load_with_blank(tmp_path).ticks == 2


def load_with_blank(folder):
    path = write(folder / "b.csv", [1, 0])
    path.write_text(path.read_text().replace("\n", "\n\n"))
    return load(path)


@pytest.mark.parametrize(
    "text", ["zone,first_tick\nus-east-1a,0\n", "zone,first_tick,spot_usd_per_hour\nus-east-1a,5,1\nus-east-1a,0,2\n"]
)
def test_prices_that_cannot_be_read_are_refused(tmp_path, text):
    prices = tmp_path / "prices.csv"
    prices.write_text(text)
    with pytest.raises(ConfigError, match=r"cannot be read|do not ascend"):
        load_traces({"us-east-1a": write(tmp_path / "a.csv", [1, 0])}, prices=prices, on_demand_usd_per_hour=3.0)
