"""Asks Prometheus for ranges, in windows that it answers, and puts what comes on a grid.

Source: Prometheus, "HTTP API", Range queries (POST form, matrix result, errorType), and its limit of 11,000 points a series, 2026-11.
"""

from __future__ import annotations

import json
import math
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from http.client import HTTPException, HTTPMessage
from typing import IO, Any

from cost.rightsize.grid import MOST_CELLS, Grid, GridFullError
from cost.rightsize.model import BrokenCounter, ContainerKey, Measured, Resource
from platform_lib.errors import ConfigError, PlatformError

MOST_POINTS = 10_000
"""Of one series in one answer; Prometheus refuses more than 11,000."""
MOST_ANSWER_BYTES = 128 << 20
TOKEN_VARIABLE = "DRIVETRAIN_PROMETHEUS_TOKEN"  # noqa: S105 - the name of the variable, not what it holds
WorkloadOf = Callable[[str, str], str]
"""(namespace, pod) -> workload."""
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}
_BUSY = {429, 502, 503, 504}
_TRIES = 3
_OF_CONTAINER = '{container!="",container!="POD"}'
_BY = "max by (namespace, pod, container)"
_REMEDIES = {
    401: f"give a token that may query: {TOKEN_VARIABLE}, or --token-file",
    403: "the token may not query: ask for query rights",
    404: "the address is that of Prometheus itself, without /api/v1: http://prometheus:9090",
    422: "the query took too long or too much: read fewer days at once (--days) or a longer step (--step)",
}


class _AnswerTooLongError(Exception):
    """An answer beyond the bound; half the window gives half of it."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would carry the token to whoever it names."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> None:
        return None


@dataclass(frozen=True, slots=True)
class Server:
    """A Prometheus, or what speaks its API.

    Attributes:
        url: `http://prometheus:9090`, with a prefix where there is one.
        token: Sent as a bearer token; over https, or to this machine, alone.
        timeout_s: For one answer.
        most_points: Of one series in one answer.
        most_bytes: Of one answer.
    """

    url: str
    token: str | None = None
    timeout_s: float = 120.0
    most_points: int = MOST_POINTS
    most_bytes: int = MOST_ANSWER_BYTES

    def __post_init__(self) -> None:
        parts = urllib.parse.urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(
                "is no address of Prometheus", where=self.url, remedy="such as --prometheus http://prometheus:9090"
            )
        if self.token and parts.scheme == "http" and parts.hostname not in _LOOPBACK:
            raise ConfigError(
                "the token would go over the network unencrypted", where=self.url, remedy="use https, or a port-forward"
            )


@dataclass(frozen=True, slots=True)
class Series:
    """One series of an answer: its labels, its times and values; NaN is a stale or absent value."""

    labels: Mapping[str, str]
    points: tuple[tuple[float, float], ...]


def windows(start_s: float, stop_s: float, step_s: float, most_points: int) -> Iterator[tuple[float, float]]:
    """Yield (first, last) times of answers: both ends belong to an answer, so that the next begins a step later."""
    first = start_s
    while first <= stop_s:
        last = min(first + (most_points - 1) * step_s, stop_s)
        yield first, last
        first = last + step_s


def query_range(server: Server, query: str, start_s: float, stop_s: float, step_s: float) -> Iterator[Series]:
    """Yield what a query gives, window after window; an answer that is too long is asked for in halves.

    Raises:
        ConfigError: The server refuses the query.
        PlatformError: It cannot be reached, or answers what is no answer.
    """
    for first, last in windows(start_s, stop_s, step_s, server.most_points):
        yield from _window(server, query, first, last, step_s)


def _window(server: Server, query: str, first: float, last: float, step_s: float) -> Iterator[Series]:
    try:
        answer = _ask(server, query, first, last, step_s)
    except _AnswerTooLongError:
        steps = round((last - first) / step_s)
        if steps < 1:
            raise PlatformError(
                f"one step's answer is longer than {server.most_bytes} bytes",
                where=server.url,
                remedy="choose fewer series: --namespace",
            ) from None
        middle = first + steps // 2 * step_s
        yield from _window(server, query, first, middle, step_s)
        yield from _window(server, query, middle + step_s, last, step_s)
        return
    yield from _series(answer, server)


def _series(answer: Any, server: Server) -> Iterator[Series]:
    try:
        data = answer["data"]
        if data["resultType"] != "matrix":
            raise ValueError(f"a {data['resultType']}, not a matrix")
        for item in data["result"]:
            labels = {str(name): str(value) for name, value in item["metric"].items()}
            yield Series(labels, tuple((float(at), float(value)) for at, value in item.get("values", ())))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise PlatformError(
            f"answers what is no range of Prometheus: {error}", where=server.url, remedy="name Prometheus itself"
        ) from error


def _ask(server: Server, query: str, first: float, last: float, step_s: float) -> Any:
    form = urllib.parse.urlencode(
        {"query": query, "start": f"{first:.3f}", "end": f"{last:.3f}", "step": f"{step_s:g}"}
    )
    request = urllib.request.Request(  # noqa: S310 - the scheme is checked above
        f"{server.url.rstrip('/')}/api/v1/query_range",
        data=form.encode(),
        headers={"Accept": "application/json", **({"Authorization": f"Bearer {server.token}"} if server.token else {})},
    )
    opener = urllib.request.build_opener(_NoRedirect)
    for attempt in range(1, _TRIES + 1):
        try:
            with opener.open(request, timeout=server.timeout_s) as stream:
                body = stream.read(server.most_bytes + 1)
            break
        except urllib.error.HTTPError as error:
            with error:
                if error.code not in _BUSY or attempt == _TRIES:
                    raise _refusal(server, error) from error
            time.sleep(0.5 * attempt)
        except (OSError, HTTPException) as error:
            raise PlatformError(
                f"cannot be reached: {error}",
                where=server.url,
                remedy="look at the address; from outside: kubectl port-forward svc/prometheus 9090",
            ) from error
    if len(body) > server.most_bytes:
        raise _AnswerTooLongError
    return _document(server, body)


def _document(server: Server, body: bytes) -> Any:
    try:
        answer = json.loads(body)
    except ValueError as error:
        raise PlatformError(
            "answers no JSON", where=server.url, remedy="name Prometheus itself, not its page"
        ) from error
    if not isinstance(answer, dict) or answer.get("status") != "success":
        said = answer.get("error", answer) if isinstance(answer, dict) else answer
        raise ConfigError(f"refuses: {said}", where=server.url, remedy="mend the query's range or step")
    return answer


def _refusal(server: Server, error: urllib.error.HTTPError) -> PlatformError:
    try:
        said = json.loads(error.read(1 << 16)).get("error", "")
    except (ValueError, AttributeError, OSError):
        said = ""
    what = f"answers {error.code} {error.reason}" + (f": {said}" if said else "")
    remedy = _REMEDIES.get(
        error.code, "look at the server's log; a shorter range (--days) or a longer step (--step) asks for less"
    )
    return ConfigError(what, where=server.url, remedy=remedy)


@dataclass(frozen=True, slots=True)
class Span:
    """What to read: up to when, how far back, in what steps, of which namespaces (a regular expression of PromQL)."""

    stop_s: float
    days: float
    step_s: float
    namespace: str = ".+"

    @property
    def last_s(self) -> float:
        """The last step that is over."""
        return math.floor(self.stop_s / self.step_s) * self.step_s

    @property
    def first_s(self) -> float:
        """The first one."""
        return self.last_s - round(self.days * 86400 / self.step_s) * self.step_s + self.step_s


def queries(span: Span) -> dict[str, str]:
    """Return the queries: CPU as mean cores over a step, the step's highest working set, kills for memory, throttled periods."""
    step = f"{span.step_s:g}s"
    chosen = _OF_CONTAINER[:-1] + f',namespace=~"{span.namespace}"' + "}"
    throttled = f"increase(container_cpu_cfs_throttled_periods_total{chosen}[1d])"
    periods = f"increase(container_cpu_cfs_periods_total{chosen}[1d])"
    restarts = f'increase(kube_pod_container_status_restarts_total{{namespace=~"{span.namespace}"}}[{step}]) > 0'
    reason = (
        f'kube_pod_container_status_last_terminated_reason{{reason="OOMKilled",namespace=~"{span.namespace}"}} == 1'
    )
    # A rate over less than four scrapes of a minute comes and goes with each that is missed.
    rate = f"{max(span.step_s, 240):g}s"
    return {
        "cpu": f"{_BY} (rate(container_cpu_usage_seconds_total{chosen}[{rate}]))",
        "memory": f"{_BY} (max_over_time(container_memory_working_set_bytes{chosen}[{step}]))",
        "oom": f"{_BY} ({restarts}) and {_BY} ({reason})",
        "throttled": f"{_BY} ({throttled} / {periods})",
    }


def read_usage(server: Server, span: Span, workload_of: WorkloadOf, *, most_cells: int = MOST_CELLS) -> Measured:
    """Read usage of every container.

    A sample at time t speaks of the step that ends there. Stale values (`NaN`) are "not measured"; infinite ones and series without
    names are counted.

    Args:
        server: Where.
        span: What.
        workload_of: (namespace, pod) -> workload.
        most_cells: Containers times steps, at most.

    Raises:
        ConfigError: The server refuses, there is nothing, or more than memory is kept for.
        PlatformError: The server cannot be reached or answers nonsense.
    """
    grid = Grid(span.first_s, span.last_s + span.step_s, span.step_s, most_cells=most_cells)
    counter = BrokenCounter()
    asked = queries(span)
    try:
        for resource in ("cpu", "memory"):
            _fill(
                grid,
                counter,
                resource,
                query_range(server, asked[resource], span.first_s, span.last_s, span.step_s),
                workload_of,
            )
    except GridFullError as error:
        raise ConfigError(
            str(error),
            where=server.url,
            remedy="read fewer namespaces at once (--namespace), or a longer step (--step)",
        ) from error
    for series in query_range(server, asked["oom"], span.first_s, span.last_s, span.step_s):
        key = _key(series, counter, workload_of)
        for at, _ in series.points if key else ():
            grid.put_kill(key, at)  # type: ignore[arg-type]
    for series in query_range(server, asked["throttled"], span.first_s + 86400, span.last_s, 86400.0):
        key = _key(series, counter, workload_of)
        shares = [value for _, value in series.points if math.isfinite(value)]
        if key and shares:
            grid.put_throttled(key, sum(shares) / len(shares))
    found = grid.usages()
    if not found:
        raise ConfigError(
            "has no series of containers in this range",
            where=server.url,
            remedy="look whether cAdvisor's container_cpu_usage_seconds_total is scraped; else use --usage with a CSV file",
        )
    return Measured(found, counter.found(), server.url)


def _fill(
    grid: Grid, counter: BrokenCounter, resource: Resource | str, found: Iterator[Series], workload_of: WorkloadOf
) -> None:
    for series in found:
        key = _key(series, counter, workload_of)
        if key is None:
            continue
        for at, value in series.points:
            if math.isnan(value):
                continue
            if math.isinf(value) or value < 0:
                counter.add("no number", f"{key} at {at:.0f}")
                continue
            grid.put(key, "cpu" if resource == "cpu" else "memory", at, value)


def _key(series: Series, counter: BrokenCounter, workload_of: WorkloadOf) -> ContainerKey | None:
    names = [series.labels.get(name, "") for name in ("namespace", "pod", "container")]
    if not all(names):
        counter.add("a series without namespace, pod or container", str(dict(series.labels)))
        return None
    return ContainerKey(names[0], workload_of(names[0], names[1]), names[2])
