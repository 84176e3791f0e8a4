"""GPU duty and memory, from CSV and from Prometheus as NVIDIA's dcgm-exporter fills it; histograms alone stay in memory."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from cost.rightsize.csv_rows import read_rows, time_of
from cost.rightsize.gpu_pools import GpuDuty
from cost.rightsize.model import BrokenCounter, BrokenRows
from cost.rightsize.prometheus import Server, Span, query_range
from platform_lib.errors import ConfigError

COLUMNS = ("timestamp", "pool", "node", "gpu", "model", "util_percent", "fb_used_mib")
OPTIONAL = ("fb_free_mib", "sm_active")
ACTIVE, UTIL = "DCGM_FI_PROF_SM_ACTIVE", "DCGM_FI_DEV_GPU_UTIL"
USED, FREE = "DCGM_FI_DEV_FB_USED", "DCGM_FI_DEV_FB_FREE"
_REMEDY = f"columns: {', '.join(COLUMNS)}, and {', '.join(OPTIONAL)} if known; see docs/reference/cost-rightsize.md"
_MOST_BROKEN = 0.05

Duties = dict[tuple[str, str, str], GpuDuty]
"""By (pool, node, GPU)."""


@dataclass(frozen=True, slots=True, eq=False)
class GpuMeasured:
    """What was read."""

    duties: Duties
    broken: BrokenRows
    source: str


def read_gpu_csv(path: Path, *, step_s: float) -> GpuMeasured:
    """Read a row a GPU and window; `sm_active` (a share) counts before `util_percent` where it is given.

    Raises:
        ConfigError: It cannot be read, has no sound row, or more than a twentieth is broken.
    """
    duties: Duties = {}
    counter = BrokenCounter()
    rows = 0
    for line, row in read_rows(path, COLUMNS, remedy=_REMEDY):
        rows += 1
        try:
            time_of(row["timestamp"])
            active = row.get("sm_active") or ""
            duty = float(active) if active.strip() else float(row["util_percent"]) / 100
            used = float(row["fb_used_mib"])
            free = float(row.get("fb_free_mib") or 0)
            if not 0 <= duty <= 1 or not 0 <= used < math.inf or not 0 <= free < math.inf:
                raise ValueError("out of range")
        except (TypeError, ValueError) as error:
            counter.add(f"no number ({error})" if "range" in str(error) else "no number", f"line {line}")
            continue
        key = (row["pool"], row["node"], row["gpu"])
        gpu = duties.setdefault(key, GpuDuty(row["node"], row["model"], step_s=step_s))
        gpu.add(duty)
        gpu.memory_peak_mib = max(gpu.memory_peak_mib, used)
        if free:
            gpu.memory_total_mib = max(gpu.memory_total_mib, used + free)
    broken = counter.found()
    if not duties or broken.total > _MOST_BROKEN * rows:
        raise ConfigError(f"{broken.total} of {rows} rows are broken: {dict(broken.first)}", where=path, remedy=_REMEDY)
    return GpuMeasured(duties, broken, str(path))


def read_gpu_prometheus(server: Server, span: Span, types: Mapping[str, tuple[str, str | None]]) -> GpuMeasured:
    """Read what dcgm-exporter gave; of each GPU the SMs' activity where it is measured, else its duty.

    Args:
        server: Where.
        span: What.
        types: Node -> (pool, instance type); a node that is not in it is in a pool named after its GPUs.

    Raises:
        ConfigError: There are no such series, or the server refuses.
        PlatformError: The server cannot be reached.
    """
    duties: Duties = {}
    counter = BrokenCounter()
    step = f"{span.step_s:g}s"
    active: set[tuple[str, str, str]] = set()
    for metric, scale in ((ACTIVE, 1.0), (UTIL, 0.01)):
        for key, model, points in _series(server, span, f"avg_over_time({metric}[{step}])", types, counter):
            if metric == UTIL and key in active:
                continue
            gpu = duties.setdefault(key, GpuDuty(key[1], model, step_s=span.step_s))
            for at, value in points:
                if not 0 <= value * scale <= 1:
                    counter.add("no share", f"{metric} of {'/'.join(key)} at {at:.0f}")
                    continue
                gpu.add(value * scale)
        if metric == ACTIVE:
            active = set(duties)
    for metric in (USED, FREE):
        for key, _, points in _series(server, span, f"max_over_time({metric}[{step}])", types, counter):
            if key in duties and points:
                most = max(value for _, value in points)
                if metric == USED:
                    duties[key].memory_peak_mib = max(duties[key].memory_peak_mib, most)
                else:
                    duties[key].memory_total_mib = max(duties[key].memory_total_mib, most)
    if not duties:
        raise ConfigError(
            f"has neither {ACTIVE} nor {UTIL} in this range",
            where=server.url,
            remedy="look whether dcgm-exporter runs and is scraped; else use --usage with a CSV file",
        )
    return GpuMeasured(duties, counter.found(), server.url)


def _series(
    server: Server, span: Span, inner: str, types: Mapping[str, tuple[str, str | None]], counter: BrokenCounter
) -> Iterator[tuple[tuple[str, str, str], str, list[tuple[float, float]]]]:
    query = f"max by (Hostname, gpu, modelName) ({inner})"
    for series in query_range(server, query, span.first_s, span.last_s, span.step_s):
        node, gpu = series.labels.get("Hostname", ""), series.labels.get("gpu", "")
        if not node or not gpu:
            counter.add("a series without Hostname or gpu", str(dict(series.labels)))
            continue
        model = series.labels.get("modelName", "")
        pool = types[node][0] if node in types else f"all {model or 'GPUs'}"
        yield (pool, node, gpu), model, [(at, value) for at, value in series.points if math.isfinite(value)]
