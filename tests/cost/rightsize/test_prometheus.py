from __future__ import annotations

import json
import math
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import numpy as np
import pytest
from promql_parser import parse

from cost.rightsize.prometheus import Server, Span, queries, query_range, read_usage, windows
from cost.rightsize.workloads import guessed_workload
from platform_lib.cli import run
from platform_lib.errors import ConfigError, PlatformError

STOP_S = 1_793_577_600.0
LIMIT = 11_000


@dataclass
class Fake:
    """A small Prometheus: evaluates nothing, but speaks the protocol, its limit, its errors and its NaN."""

    samples: dict[str, dict[tuple[str, str, str], dict[float, str]]] = field(default_factory=dict)
    token: str | None = None
    busy: int = 0
    raw: bytes | None = None
    asked: list[dict[str, str]] = field(default_factory=list)

    def answer(self, form: dict[str, str], sent: str | None) -> tuple[int, bytes]:
        self.asked.append(form)
        if self.busy:
            self.busy -= 1
            return 503, b"busy"
        if self.token and sent != f"Bearer {self.token}":
            return 401, b"who are you?"
        if self.raw is not None:
            return 200, self.raw
        first, last, step = (float(form[name]) for name in ("start", "end", "step"))
        if math.floor((last - first) / step) + 1 > LIMIT:
            said = "exceeded maximum resolution of 11,000 points per timeseries."
            return 400, json.dumps({"status": "error", "errorType": "bad_data", "error": said}).encode()
        result: list[dict[str, Any]] = []
        for (namespace, pod, container), points in self._of(form["query"]).items():
            values = [[at, value] for at, value in sorted(points.items()) if first <= at <= last]
            if values:
                result.append(
                    {"metric": {"namespace": namespace, "pod": pod, "container": container}, "values": values}
                )
        data = {"resultType": "matrix", "result": result}
        return 200, json.dumps({"status": "success", "data": data}).encode()

    def _of(self, query: str) -> dict[tuple[str, str, str], dict[float, str]]:
        return next((found for part, found in self.samples.items() if part in query), {})


@pytest.fixture
def fake() -> Iterator[tuple[Fake, str]]:
    prometheus = Fake()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            form = {name: values[0] for name, values in parse_qs(body).items()}
            assert self.path == "/api/v1/query_range"
            status, content = prometheus.answer(form, self.headers.get("Authorization"))
            self.send_response(status)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield prometheus, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


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


def test_a_range_beyond_the_limit_is_read_in_windows_whole(fake: tuple[Fake, str]) -> None:
    prometheus, url = fake
    span = span_of(50)  # 14,400 points
    points = filled(span)
    prometheus.samples = {
        "container_cpu_usage": {
            ("a", "web-6b7c8d9f4-x2b4z", "main"): points,
            ("a", "web-6b7c8d9f4-kkkkk", "main"): {STOP_S: "2"},
        },
        "container_memory": {("a", "web-6b7c8d9f4-x2b4z", "main"): {**points, STOP_S: "NaN", STOP_S - 300: "+Inf"}},
        "restarts_total": {("a", "web-6b7c8d9f4-x2b4z", "main"): {STOP_S - 3000: "1"}},
        "throttled": {("a", "web-6b7c8d9f4-x2b4z", "main"): {STOP_S: "0.25"}},
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


def test_the_limit_that_windows_keep_to_is_really_the_servers(fake: tuple[Fake, str]) -> None:
    with pytest.raises(ConfigError, match="400 Bad Request: exceeded maximum resolution of 11,000 points"):
        list(query_range(Server(fake[1], most_points=LIMIT + 1), "up", 0, LIMIT * 15, 15))


def test_an_answer_that_is_too_long_is_asked_for_in_halves(fake: tuple[Fake, str]) -> None:
    prometheus, url = fake
    span = span_of(1)
    prometheus.samples = {"up": {("a", "b", "c"): filled(span)}}
    server = Server(url, most_bytes=3000)
    found = [at for series in query_range(server, "up", span.first_s, span.last_s, 300) for at, _ in series.points]
    assert found == sorted(filled(span))
    assert len(prometheus.asked) > 2
    with pytest.raises(PlatformError, match="one step's answer is longer than 10 bytes"):
        list(query_range(Server(url, most_bytes=10), "up", 0, 600, 300))


def test_a_busy_server_is_asked_again(fake: tuple[Fake, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cost.rightsize.prometheus.time.sleep", lambda _: None)
    fake[0].busy = 2
    assert list(query_range(Server(fake[1]), "up", 0, 600, 300)) == []
    fake[0].busy = 3
    with pytest.raises(ConfigError, match="503"):
        list(query_range(Server(fake[1]), "up", 0, 600, 300))


def test_a_token_opens_and_its_absence_says_how(fake: tuple[Fake, str]) -> None:
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
def test_what_is_no_answer_is_said(fake: tuple[Fake, str], raw: bytes, says: str) -> None:
    fake[0].raw = raw
    with pytest.raises(PlatformError, match=says):
        list(query_range(Server(fake[1]), "up", 0, 600, 300))


def test_a_server_that_is_not_there_is_said() -> None:
    with pytest.raises(PlatformError, match="cannot be reached"):
        list(query_range(Server("http://127.0.0.1:9"), "up", 0, 600, 300))


def test_an_empty_prometheus_is_no_fleet_of_nothing(fake: tuple[Fake, str]) -> None:
    with pytest.raises(ConfigError, match="no series of containers"):
        read_usage(Server(fake[1]), span_of(1), lambda _, pod: pod)


def test_the_command_reads_from_prometheus(
    fake: tuple[Fake, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
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
    named = {("a", pod, "main"): found for pod, found in points.items()}
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
