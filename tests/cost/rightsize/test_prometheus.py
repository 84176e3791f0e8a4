from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from fake_prometheus import LIMIT, FakePrometheus, of_container, serving
from promql_parser import parse

from cost.rightsize.prometheus import Server, Span, queries, query_range, read_usage, windows
from cost.rightsize.workloads import guessed_workload
from platform_lib.cli import run
from platform_lib.errors import ConfigError, PlatformError

STOP_S = 1_793_577_600.0


@pytest.fixture
def fake() -> Iterator[tuple[FakePrometheus, str]]:
    prometheus = FakePrometheus()
    with serving(prometheus) as url:
        yield prometheus, url


def span_of(days: float, step_s: float = 300.0) -> Span:
    return Span(STOP_S, days, step_s)


def filled(span: Span, value: str = "0.5") -> dict[float, str]:
    steps = round((span.last_s - span.first_s) / span.step_s) + 1
    return {span.first_s + at * span.step_s: value for at in range(steps)}


def test_the_queries_are_promql() -> None:
    for query in queries(span_of(1)).values():
        assert parse(query)


def test_windows_meet_without_a_gap_or_a_point_twice() -> None:
    found = [at for first, last in windows(0, 99 * 15, 15, 7) for at in np.arange(first, last + 1, 15).tolist()]
    assert found == [at * 15.0 for at in range(100)]


def test_a_range_beyond_the_limit_is_read_in_windows_whole(fake: tuple[FakePrometheus, str]) -> None:
    prometheus, url = fake
    span = span_of(50)  # 14,400 points
    points = filled(span)
    prometheus.samples = {
        "container_cpu_usage": {
            of_container("a", "web-6b7c8d9f4-x2b4z", "main"): points,
            of_container("a", "web-6b7c8d9f4-kkkkk", "main"): {STOP_S: "2"},
        },
        "container_memory": {
            of_container("a", "web-6b7c8d9f4-x2b4z", "main"): {**points, STOP_S: "NaN", STOP_S - 300: "+Inf"}
        },
        "restarts_total": {of_container("a", "web-6b7c8d9f4-x2b4z", "main"): {STOP_S - 3000: "1"}},
        "throttled": {of_container("a", "web-6b7c8d9f4-x2b4z", "main"): {STOP_S: "0.25"}},
    }
    found = read_usage(Server(url), span, lambda _, pod: guessed_workload(pod))
    (usage,) = found.usages
    assert str(usage.key) == "a/Deployment/web/main"
    assert np.isfinite(usage.cpu_cores).sum() == 14_400 == len(usage.cpu_cores)
    assert usage.cpu_cores[-1] == 2.0  # the busiest pod
    assert np.isnan(usage.memory_bytes[-1])  # stale is not measured
    assert np.isnan(usage.memory_bytes[-2])
    assert found.broken.counts == {"no number": 1}
    assert usage.oom_kills_utc_s == (STOP_S - 3000,)
    assert usage.throttled == 0.25
    assert len([form for form in prometheus.asked if "cpu_usage" in form["query"]]) == 2


def test_the_limit_that_windows_keep_to_is_really_the_servers(fake: tuple[FakePrometheus, str]) -> None:
    with pytest.raises(ConfigError, match="400 Bad Request: exceeded maximum resolution of 11,000 points"):
        list(query_range(Server(fake[1], most_points=LIMIT + 1), "up", 0, LIMIT * 15, 15))


def test_an_answer_that_is_too_long_is_asked_for_in_halves(fake: tuple[FakePrometheus, str]) -> None:
    prometheus, url = fake
    span = span_of(1)
    prometheus.samples = {"up": {of_container("a", "b", "c"): filled(span)}}
    server = Server(url, most_bytes=3000)
    found = [at for series in query_range(server, "up", span.first_s, span.last_s, 300) for at, _ in series.points]
    assert found == sorted(filled(span))
    assert len(prometheus.asked) > 2
    with pytest.raises(PlatformError, match="one step's answer is longer than 10 bytes"):
        list(query_range(Server(url, most_bytes=10), "up", 0, 600, 300))


def test_a_busy_server_is_asked_again(fake: tuple[FakePrometheus, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cost.rightsize.prometheus.time.sleep", lambda _: None)
    fake[0].busy = 2
    assert list(query_range(Server(fake[1]), "up", 0, 600, 300)) == []
    fake[0].busy = 3
    with pytest.raises(ConfigError, match="503"):
        list(query_range(Server(fake[1]), "up", 0, 600, 300))


def test_a_token_opens_and_its_absence_says_how(fake: tuple[FakePrometheus, str]) -> None:
    word = "open"
    fake[0].token = word
    assert list(query_range(Server(fake[1], token=word), "up", 0, 600, 300)) == []
    with pytest.raises(ConfigError, match="401 Unauthorized") as caught:
        list(query_range(Server(fake[1]), "up", 0, 600, 300))
    assert "DRIVETRAIN_PROMETHEUS_TOKEN" in str(caught.value)
    with pytest.raises(ConfigError, match="unencrypted"):
        Server("http://prometheus.example:9090", token=word)
    with pytest.raises(ConfigError, match="no address"):
        Server("prometheus:9090")


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b"<html>", "answers no JSON"),
        (b'{"status": "success", "data": {"resultType": "vector", "result": []}}', "a vector, not a matrix"),
        (
            b'{"status": "success", "data": {"resultType": "matrix", "result": [{"values": []}]}}',
            "no range of Prometheus",
        ),
        (b'{"status": "error", "error": "query timed out"}', "query timed out"),
    ],
)
def test_what_is_no_answer_is_said(fake: tuple[FakePrometheus, str], raw: bytes, says: str) -> None:
    fake[0].raw = raw
    with pytest.raises(PlatformError, match=says):
        list(query_range(Server(fake[1]), "up", 0, 600, 300))


def test_a_server_that_is_not_there_is_said() -> None:
    with pytest.raises(PlatformError, match="cannot be reached"):
        list(query_range(Server("http://127.0.0.1:9"), "up", 0, 600, 300))


def test_an_empty_prometheus_is_no_fleet_of_nothing(fake: tuple[FakePrometheus, str]) -> None:
    with pytest.raises(ConfigError, match="no series of containers"):
        read_usage(Server(fake[1]), span_of(1), lambda _, pod: pod)


def test_the_command_reads_from_prometheus(
    fake: tuple[FakePrometheus, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    prometheus, url = fake
    word = "secret"
    prometheus.token = word
    span = Span(STOP_S, 28, 3600.0)
    random = np.random.default_rng(1)
    points = {
        f"web{at}-6b7c8d9f4-x2b4z": {time_s: f"{random.uniform(0.5, 1):.3f}" for time_s in filled(span)}
        for at in range(12)
    }
    named = {of_container("a", pod, "main"): found for pod, found in points.items()}
    prometheus.samples = {
        "container_cpu_usage": named,
        "container_memory": {
            key: {at: f"{float(value) * 1e9:.0f}" for at, value in found.items()} for key, found in named.items()
        },
    }
    monkeypatch.setenv("DRIVETRAIN_PROMETHEUS_TOKEN", word)
    arguments = ["--prometheus", url, "--until", "2026-11-02T00:00:00Z", "--days", "28", "--step", "3600"]
    assert (
        run(["cost", "rightsize", "requests", *arguments, "--oom-chance", "0.1", "--throttled-chance", "0.1", "--json"])
        == 0
    )
    told = json.loads(capsys.readouterr().out)
    assert told["source"] == url
    assert word not in json.dumps(told)
    assert [item["workload"] for item in told["containers"]][:2] == ["Deployment/web0", "Deployment/web1"]
    assert 0.9 < told["containers"][0]["cpu"]["recommended"] < 1.2
