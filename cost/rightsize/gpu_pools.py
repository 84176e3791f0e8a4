"""GPU pools by duty and memory: what idles, what a smaller type would hold, what could share a GPU, and what each saves. Pure.

Duty is what DCGM calls it: the share of time in which any kernel ran, or, where profiling is on, in which the SMs were active. A kernel that
keeps one SM busy shows a full duty and little activity; so with `DCGM_FI_PROF_SM_ACTIVE` the advice rests on that.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

import numpy as np

from cost.plan.model import HOURS
from cost.rightsize.accelerators import GPUS, TYPES, Gpu
from cost.rightsize.model import DAY_S, Floats

LEAST_DAYS = 7.0
"""A week holds every hour of every weekday once."""
IDLE_DUTY, IDLE_SHARE = 0.01, 0.99
"""Idle: a duty of at most 1 % in at least 99 % of the windows."""
MEMORY_HEADROOM = 1.10
"""Peak memory and a tenth: frameworks keep pools of their own that a smaller GPU gives less room."""
MOST_DUTY = 0.8
"""Expected duty (99th percentile) on another type, or of several tenants together, at most."""
HIGH = 0.99
_BINS = 101


@dataclass(slots=True, eq=False)
class GpuDuty:
    """One GPU's duty, as a histogram of percents, so that any length of history takes the same room.

    Attributes:
        node: Its node.
        model: As DCGM names it.
        windows: (101,) how many windows had each percent.
        memory_peak_mib: The most that was used.
        memory_total_mib: What it has; 0 where that was not measured.
        step_s: Seconds a window.
    """

    node: str
    model: str
    windows: Floats = field(default_factory=lambda: np.zeros(_BINS))
    memory_peak_mib: float = 0.0
    memory_total_mib: float = 0.0
    step_s: float = 60.0

    def add(self, duty: float) -> None:
        """Count a window; `duty` is a share."""
        self.windows[min(max(math.ceil(duty * 100 - 1e-9), 0), _BINS - 1)] += 1

    @property
    def days(self) -> float:
        """Days that were measured, gaps not counted."""
        return float(self.windows.sum()) * self.step_s / DAY_S

    @property
    def mean(self) -> float:
        """Mean duty, rounded up to percents window by window."""
        total = float(self.windows.sum())
        return float(self.windows @ np.arange(_BINS)) / 100 / total if total else 0.0

    def quantile(self, share: float) -> float:
        """Return the duty that at most 1 - share of the windows pass."""
        reached = np.cumsum(self.windows) >= share * self.windows.sum() - 1e-9
        return int(reached.argmax()) / 100

    @property
    def idle(self) -> bool:
        """Whether it did next to nothing."""
        return self.quantile(IDLE_SHARE) <= IDLE_DUTY


@dataclass(frozen=True, slots=True, eq=False)
class Pool:
    """The GPUs of one pool.

    Attributes:
        name: Its name.
        instance_type: Of its nodes; None where not known.
        gpus: By (node, GPU).
    """

    name: str
    instance_type: str | None
    gpus: Mapping[tuple[str, str], GpuDuty]

    @property
    def nodes(self) -> dict[str, list[GpuDuty]]:
        """GPUs by node."""
        found: dict[str, list[GpuDuty]] = {}
        for (node, _), gpu in sorted(self.gpus.items()):
            found.setdefault(node, []).append(gpu)
        return found


@dataclass(frozen=True, slots=True)
class Advice:
    """What could be done with a pool.

    Attributes:
        kind: `idle`, `smaller-type`, `mig`, `time-slicing`, or `refused`.
        what: In one line.
        saves_usd_a_month: None where a price is not known.
        certainty: What it rests on, in words.
        refused: Why nothing is advised; else None.
        nodes: The nodes that would go.
        to_type: The type to take instead.
    """

    kind: str
    what: str
    saves_usd_a_month: Decimal | None
    certainty: str
    refused: str | None = None
    nodes: tuple[str, ...] = ()
    to_type: str | None = None


def advise(pool: Pool, usd_per_hour: Mapping[str, Decimal], model: Gpu | None) -> tuple[Advice, ...]:
    """Return what could be done with a pool, the greatest saving first; savings of one pool do not add up.

    Args:
        pool: What was measured.
        usd_per_hour: Prices by type; what is missing is unknown.
        model: Its GPU; None where not known.
    """
    days = min((gpu.days for gpu in pool.gpus.values()), default=0.0)
    if days < LEAST_DAYS:
        why = f"{days:.1f} days measured, and a week is needed: another weekday may be the busy one"
        return (Advice("refused", f"pool {pool.name}: nothing is advised", None, "measured too briefly", why),)
    own = None if pool.instance_type is None else usd_per_hour.get(pool.instance_type)
    found = [*_idle(pool, own), *_smaller(pool, usd_per_hour, own, model), *_shared(pool, own, model)]
    if not found:
        why = f"no GPU idles, and {_busy_words(pool)} leave no room for sharing or a smaller type that is known"
        return (Advice("refused", f"pool {pool.name}: stays as it is", None, f"{days:.0f} days measured", why),)
    return tuple(sorted(found, key=lambda item: (item.saves_usd_a_month is None, -(item.saves_usd_a_month or 0))))


def _busy_words(pool: Pool) -> str:
    duty = max(gpu.quantile(HIGH) for gpu in pool.gpus.values())
    memory = max(gpu.memory_peak_mib for gpu in pool.gpus.values()) / 1024
    return f"a duty of {duty:.0%} (99th percentile) and {memory:.1f} GiB"


def _saved(own: Decimal | None, nodes: int) -> Decimal | None:
    return None if own is None else own * HOURS * nodes


def _idle(pool: Pool, own: Decimal | None) -> Iterator[Advice]:
    idle = tuple(node for node, gpus in pool.nodes.items() if all(gpu.idle for gpu in gpus))
    if not idle:
        return
    loaded = sum(gpu.memory_peak_mib > 1024 for node in idle for gpu in pool.nodes[node])
    held = f"; {loaded} of their GPUs hold over 1 GiB: something is loaded and never asked" if loaded else ""
    days = min(gpu.days for node in idle for gpu in pool.nodes[node])
    yield Advice(
        "idle",
        f"pool {pool.name}: {len(idle)} of {len(pool.nodes)} nodes idle",
        _saved(own, len(idle)),
        f"duty at most {IDLE_DUTY:.0%} in {IDLE_SHARE:.0%} of the windows of {days:.0f} days{held}",
        nodes=idle,
    )


def _smaller(
    pool: Pool, usd_per_hour: Mapping[str, Decimal], own: Decimal | None, model: Gpu | None
) -> Iterator[Advice]:
    """The cheapest type whose GPUs hold the memory and, by datasheet, would do the same work below the duty that is allowed."""
    if model is None or own is None or pool.instance_type not in TYPES:
        return
    vcpu, gib, count, _ = TYPES[pool.instance_type]
    needed_gib = max(gpu.memory_peak_mib for gpu in pool.gpus.values()) / 1024 * MEMORY_HEADROOM
    duty = max(gpu.quantile(HIGH) for gpu in pool.gpus.values())
    best: tuple[Decimal, str, float] | None = None
    for name, (other_vcpu, other_gib, other_count, other_model) in TYPES.items():
        price, gpu = usd_per_hour.get(name), GPUS[other_model]
        if price is None or price >= own or other_count != count or gpu.memory_gib < needed_gib:
            continue
        # Without measurements of the host's CPU and memory half of each is the least that is taken to do.
        if other_vcpu < vcpu / 2 or other_gib < gib / 2:
            continue
        expected = duty * max(model.tflops / gpu.tflops, model.gb_per_s / gpu.gb_per_s, 1.0)
        if expected <= MOST_DUTY and (best is None or price < best[0]):
            best = price, name, expected
    if best is None:
        return
    price, name, expected = best
    yield Advice(
        "smaller-type",
        f"pool {pool.name}: {name} instead of {pool.instance_type}",
        (own - price) * HOURS * len(pool.nodes),
        f"peak {needed_gib / MEMORY_HEADROOM:.1f} GiB; duty {duty:.0%} would be {expected:.0%} by datasheet (the slower of tensor "
        "FLOPS and bandwidth): an estimate, to be tried on one node; host CPU and memory were not looked at",
        to_type=name,
    )


def _shared(pool: Pool, own: Decimal | None, model: Gpu | None) -> Iterator[Advice]:
    duty = max(gpu.quantile(HIGH) for gpu in pool.gpus.values())
    peak_gib = max(gpu.memory_peak_mib for gpu in pool.gpus.values()) / 1024 * MEMORY_HEADROOM
    per_node = max(len(gpus) for gpus in pool.nodes.values())
    for kind, tenants, words in (_mig(model, duty, peak_gib), _sliced(pool, model, duty, peak_gib)):
        left = math.ceil(math.ceil(len(pool.gpus) / tenants) / per_node)
        if tenants < 2 or left >= len(pool.nodes):
            continue
        nodes = tuple(sorted(pool.nodes, key=lambda node: sum(gpu.mean for gpu in pool.nodes[node])))
        gone = nodes[: len(nodes) - left]
        yield Advice(
            kind,
            f"pool {pool.name}: {tenants} pods a GPU by {words}, {left} nodes instead of {len(nodes)}",
            _saved(own, len(gone)),
            f"peak memory with a tenth more {peak_gib:.1f} GiB, duty {duty:.0%} (99th percentile); each pod is taken to use one GPU today",
            nodes=gone,
        )


def _mig(model: Gpu | None, duty: float, peak_gib: float) -> tuple[str, int, str]:
    if model is not None:
        for slices, gib, tenants in model.mig:
            if peak_gib <= gib and duty <= MOST_DUTY * slices / 7:
                return "mig", tenants, f"MIG {slices}g.{gib:g}gb"
    return "mig", 1, ""


def _sliced(pool: Pool, model: Gpu | None, duty: float, peak_gib: float) -> tuple[str, int, str]:
    """Time slicing parts neither memory nor faults: what all tenants may use at once has to fit."""
    total_gib = model.memory_gib if model else min(gpu.memory_total_mib for gpu in pool.gpus.values()) / 1024
    by_duty = math.floor(MOST_DUTY / duty + 1e-9) if duty > 0 else 8
    by_memory = math.floor(total_gib / peak_gib + 1e-9) if peak_gib > 0 else 8
    tenants = max(min(by_duty, by_memory, 8), 1)
    return "time-slicing", tenants, "time slicing (no isolation of memory or of faults)"


def pools_by_name(duties: Mapping[tuple[str, str, str], GpuDuty], types: Mapping[str, str]) -> Sequence[Pool]:
    """Return pools from (pool, node, GPU) -> duty and pool -> instance type."""
    found: dict[str, dict[tuple[str, str], GpuDuty]] = {}
    for (pool, node, gpu), duty in duties.items():
        found.setdefault(pool, {})[node, gpu] = duty
    return [Pool(name, types.get(name), gpus) for name, gpus in sorted(found.items())]
