"""What was recommended, as a JSON document and as rows of a table. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cost.rightsize import krr, vpa
from cost.rightsize.model import MIB, ContainerKey, Measured, Requested, Sizes, Usage
from cost.rightsize.recommend import Bound, Recommendation, Refused, Risk


def baselines(usage: Usage, requested: Requested | None) -> dict[str, Sizes]:
    """Return what VPA (target) and KRR would give the same container."""
    limit = (requested.memory_limit_bytes if requested else None) or 0.0
    target = vpa.recommend(usage, requested_bytes=limit).target
    return {"vpa": target, "krr": krr.recommend(usage)}


def promise(risk: Risk) -> dict[str, str]:
    """Return what is promised, in words."""
    return {
        "cpu": (
            f"in at most {risk.throttled_chance:.3g} of weeks more than {risk.throttled_windows:.3g} of the windows lie "
            "above the request"
        ),
        "memory": f"in at most {risk.oom_chance:.3g} of weeks the working set passes the limit",
    }


def document_of(
    measured: Measured, risk: Risk, found: Sequence[Recommendation], others: Mapping[ContainerKey, Mapping[str, Sizes]]
) -> dict[str, Any]:
    """Return all of it."""
    return {
        "format": "drivetrain-rightsize/1",
        "source": measured.source,
        "broken": measured.broken.document(),
        "risk": {
            "throttled_windows": risk.throttled_windows,
            "throttled_chance": risk.throttled_chance,
            "oom_chance": risk.oom_chance,
            "promise": promise(risk),
        },
        "containers": [_container(item, others.get(item.key, {})) for item in found],
    }


def _container(item: Recommendation, others: Mapping[str, Sizes]) -> dict[str, Any]:
    asked = item.requested
    return {
        "namespace": item.key.namespace,
        "workload": item.key.workload,
        "container": item.key.container,
        "replicas": None if asked is None else asked.replicas,
        "cpu": _resource(item.cpu),
        "memory": _resource(item.memory),
        "requested": None
        if asked is None
        else {
            "cpu_request_cores": asked.cpu_request_cores,
            "cpu_limit_cores": asked.cpu_limit_cores,
            "memory_request_bytes": asked.memory_request_bytes,
            "memory_limit_bytes": asked.memory_limit_bytes,
        },
        "baselines": {
            name: {"cpu_cores": sizes.cpu_cores, "memory_bytes": sizes.memory_bytes} for name, sizes in others.items()
        },
    }


def _resource(found: Bound | Refused) -> dict[str, Any]:
    if isinstance(found, Refused):
        return {"recommended": None, "refused": found.reason, "remedy": found.remedy}
    return {
        "recommended": round(found.value, 6),
        "refused": None,
        "growth_a_week": round(found.growth_a_week, 4),
        "held_out_weeks": found.scores,
        "weeks_of_each": found.weeks_each,
        "notes": list(found.notes),
    }


def rows_of(found: Sequence[Recommendation], others: Mapping[ContainerKey, Mapping[str, Sizes]]) -> list[list[str]]:
    """Return a row a container: name, CPU and memory as requested, recommended, by VPA, by KRR."""
    rows = []
    for item in found:
        sizes = others.get(item.key, {})
        asked = item.requested or Requested()
        rows.append(
            [
                str(item.key),
                _cores(asked.cpu_request_cores),
                _cores(item.cpu.value) if isinstance(item.cpu, Bound) else "refused",
                *(_cores(sizes[name].cpu_cores) if name in sizes else "" for name in ("vpa", "krr")),
                _mib(asked.memory_request_bytes),
                _mib(item.memory.value) if isinstance(item.memory, Bound) else "refused",
                *(_mib(sizes[name].memory_bytes) if name in sizes else "" for name in ("vpa", "krr")),
            ]
        )
    return rows


def refusals(found: Sequence[Recommendation]) -> dict[str, list[str]]:
    """Return which containers are refused, by reason and remedy."""
    grouped: dict[str, list[str]] = {}
    for item in found:
        for name, size in (("CPU", item.cpu), ("memory", item.memory)):
            if isinstance(size, Refused):
                grouped.setdefault(f"{name}: {size.reason}; {size.remedy}", []).append(str(item.key))
    return grouped


def _cores(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _mib(value: float | None) -> str:
    return "-" if value is None else f"{value / MIB:,.0f}"
